"""The store of sums: what is in it, what is made again and when, and who notices where it is wrong."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import numpy as np
import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F
from django.utils import timezone

import analytics.tasks
from alliance_site.celery import app
from analytics.models import RatingChange, RatingCount, TherapySums
from analytics.selectors import AllianceForm, n_ratings_now
from analytics.services import sums
from surveys import jobs
from surveys.models import Assignment, AuditEvent, Job, Response, Score, Session, Study, Therapist, Therapy
from surveys.selectors import study_ratings
from surveys.services.sessions import session_close
from tests import factories
from tests.analytics.clinics import fits, rate, rated_clinic

SCALES = ("total", "task", "bond", "goal")
Key = tuple[str, UUID, str]
Sums = tuple[UUID, int, float, float, float, float, float, float, float, float]


def stored(study: Study) -> dict[Key, Sums]:
    rows = TherapySums.objects.filter(study=study, instrument="wai-s").values_list(
        *("perspective", "therapy", "scale", "therapist", "n", "mean_time", "mean_y", "css_time", "csp"),
        *("css_y", "mean_log", "css_log", "csp_log"),
    )
    return {row[:3]: row[3:] for row in rows}


def by_hand(study: Study) -> dict[Key, Sums]:
    ratings: dict[Key, list[dict]] = {}
    for row in study_ratings(study.pk, SCALES):
        ratings.setdefault((row["perspective"], row["therapy"], row["scale"]), []).append(row)
    found = {}
    for key, rows in ratings.items():
        session, y = (np.array([row[name] for row in rows], float) for name in ("session", "value"))
        t, ln, dy = (session - 3) / 10, np.log(session) - np.log(3), y - y.mean()
        dt, dl = t - t.mean(), ln - ln.mean()
        straight = (t.mean(), y.mean(), dt @ dt, dt @ dy, dy @ dy)
        found[key] = (rows[0]["therapist"], len(rows), *straight, ln.mean(), dl @ dl, dl @ dy)
    return found


def assert_sums_are_those_of_the_ratings(study: Study) -> None:
    expected, found = by_hand(study), stored(study)
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        assert found[key][:2] == row[:2]
        assert found[key][2:] == pytest.approx(row[2:], rel=1e-12, abs=1e-12)


def session_of(study: Study, number: int) -> Session:
    return Session.objects.filter(therapy__study=study, number=number).order_by("pk").first()


def new_rating(study: Study) -> Therapy:
    """A patient's rating of a new therapy."""
    therapy = factories.make_therapy(study)
    rate(therapy)
    return therapy


class Elsewhere(threading.Thread):
    """Does something in another connection."""

    def __init__(self, deed: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.deed = deed
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.deed()
        except Exception as error:
            self.error = error
        finally:
            connections.close_all()

    def wait(self) -> None:
        """Until it is done; raises what it raised."""
        self.join(20)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


@pytest.mark.django_db
def test_the_sums_of_the_database_are_those_of_numpy() -> None:
    study, _ = rated_clinic()
    missing = Response.objects.filter(assignment__session__number=2, assignment__rater="patient")[:2]
    for response in missing:
        response.delete()
    assert sums.sums_refresh(study.pk) == 12
    assert len(stored(study)) == 24 * len(SCALES)
    assert {row[1] for row in stored(study).values()} == {2, 3}
    assert_sums_are_those_of_the_ratings(study)


@pytest.mark.django_db
def test_how_many_ratings_there_are_is_known_with_the_sums_and_right_at_once_after_a_change() -> None:
    study, _ = rated_clinic()
    form = AllianceForm("wai-s", 1, 7, dict.fromkeys(SCALES, ""))

    def counted() -> dict[str, int]:
        return dict(n_ratings_now(study.pk, "patient", form))

    assert counted() == dict.fromkeys(SCALES, 36), "before any sums"
    sums.sums_refresh(study.pk)
    assert counted() == dict.fromkeys(SCALES, 36)
    new_rating(study)
    Response.objects.filter(assignment__session__number=2, assignment__rater="patient")[0].delete()
    Response.objects.filter(assignment__session__number=3, assignment__rater="patient")[0].delete()
    assert counted() == dict.fromkeys(SCALES, 35)
    sums.sums_refresh(study.pk)
    assert counted() == dict.fromkeys(SCALES, 35)
    assert RatingCount.objects.filter(study=study).count() == 2 * len(SCALES)


@pytest.mark.django_db
def test_many_changed_therapies_are_summed_in_several_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    monkeypatch.setattr(sums, "BATCH", 3)
    assert sums.sums_refresh(study.pk) == 4
    assert_sums_are_those_of_the_ratings(study)


@pytest.mark.django_db
def test_only_therapies_whose_ratings_changed_are_summed_again() -> None:
    study, user = rated_clinic(n_therapies=2)
    sums.sums_refresh(study.pk)
    before = dict(TherapySums.objects.values_list("pk", "therapy"))
    changed = study.therapies.filter(therapist__user=user).first()
    Response.objects.filter(assignment__session__therapy=changed).first().delete()
    added = new_rating(study)
    assert sums.sums_refresh(study.pk) == 2
    after = dict(TherapySums.objects.values_list("pk", "therapy"))
    assert {before[pk] for pk in before.keys() - after.keys()} == {changed.pk}
    assert {after[pk] for pk in after.keys() - before.keys()} == {changed.pk, added.pk}
    assert_sums_are_those_of_the_ratings(study)
    assert sums.sums_refresh(study.pk) == 0


def delete_form(study: Study) -> Therapy:
    response = Response.objects.filter(assignment__session=session_of(study, 2)).first()
    response.delete()
    return response.assignment.session.therapy


def delete_response_before_its_scores(study: Study) -> Therapy:
    response = Response.objects.filter(assignment__session=session_of(study, 2)).first()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM surveys_response WHERE id = %s", [response.pk])
        cursor.execute("DELETE FROM surveys_score WHERE response_id = %s", [response.pk])
    return response.assignment.session.therapy


def delete_score(study: Study) -> Therapy:
    score = Score.objects.filter(response__assignment__session=session_of(study, 3), scale="total").first()
    score.delete()
    return score.response.assignment.session.therapy


def enter_an_earlier_session(study: Study) -> Therapy:
    session = session_of(study, 1)
    session_close(therapy=session.therapy, held_at=session.held_at - timedelta(days=1), status="held")
    return session.therapy


def change_therapist(study: Study) -> Therapy:
    therapy = session_of(study, 1).therapy
    therapy.therapist = Therapist.objects.create(clinic=study.clinic)
    therapy.save(update_fields=["therapist"])
    return therapy


def give_another_form(study: Study) -> Therapy:
    return new_rating(study)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        delete_form,
        delete_response_before_its_scores,
        delete_score,
        enter_an_earlier_session,
        change_therapist,
        give_another_form,
    ],
)
def test_whoever_changes_a_rating_marks_its_therapy(change: Callable[[Study], Therapy]) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    sums.sums_refresh(study.pk)
    before = stored(study)
    therapy = change(study)
    assert set(RatingChange.objects.values_list("study", "therapy")) == {(study.pk, therapy.pk)}
    sums.sums_refresh(study.pk)
    assert not RatingChange.objects.exists()
    assert_sums_are_those_of_the_ratings(study)
    assert {key[1] for key, row in stored(study).items() if before.get(key) != row} == {therapy.pk}


@pytest.mark.django_db
def test_what_changes_no_rating_leaves_no_mark() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    sums.sums_refresh(study.pk)
    therapy = study.therapies.first()
    therapy.ended_on, therapy.end_reason = timezone.localdate(), "completed"
    therapy.save()
    factories.open_form(factories.form_of(factories.hold_session(factories.make_therapy(study)), "patient"))
    Response.objects.update(sharing="none")
    assert not RatingChange.objects.exists()


@pytest.mark.django_db
def test_a_therapy_whose_ratings_are_all_gone_has_no_sums() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    sums.sums_refresh(study.pk)
    therapy = study.therapies.first()
    for response in Response.objects.filter(assignment__session__therapy=therapy):
        response.delete()
    sums.sums_refresh(study.pk)
    assert len(stored(study)) == 6 * len(SCALES)
    assert therapy.pk not in {key[1] for key in stored(study)}


@pytest.mark.django_db
def test_a_study_does_not_touch_another_s_sums() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=1)
    other = factories.make_study(study.clinic, code="S2")
    new_rating(other)
    sums.sums_refresh(study.pk)
    assert stored(other) == {}
    assert RatingChange.objects.filter(study=other).count() == 1
    sums.sums_refresh(other.pk)
    assert_sums_are_those_of_the_ratings(study)
    assert_sums_are_those_of_the_ratings(other)


@pytest.mark.django_db
def test_the_same_ratings_have_the_same_sums_to_the_last_digit_in_whatever_order_they_came() -> None:
    study, _ = rated_clinic(n_therapies=2)
    sums.sums_refresh(study.pk)
    before = stored(study)
    scores = list(Score.objects.order_by("-pk"))
    Score.objects.all().delete()
    Score.objects.bulk_create(scores)
    for number in (3, 2, 1):
        Session.objects.filter(number=number).update(closed_at=timezone.now())
        Assignment.objects.filter(session__number=number).update(opens_at=F("opens_at"))
        Response.objects.filter(assignment__session__number=number).update(sharing="none")
    assert sums.sums_refresh(study.pk) == 8
    assert stored(study) == before


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", [{"n": 0}, {"css_time": -1e-9}, {"css_y": -1e-9}, {"css_log": -1e-9}])
def test_sums_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1, raters=("patient",))
    sums.sums_refresh(study.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        TherapySums.objects.update(**wrong)
    row = TherapySums.objects.get(scale="total")
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


@pytest.mark.django_db(transaction=True)
def test_a_form_that_comes_in_while_sums_are_made_keeps_its_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=2, raters=("patient",))
    first, second = study.therapies.order_by("pk")
    replace = sums._replace

    def replace_slowly(study_id: UUID, therapies: set[UUID]) -> None:
        Elsewhere(lambda: rate(first)).wait()  # after the marks, before the ratings are read
        replace(study_id, therapies)
        Elsewhere(lambda: rate(second)).wait()  # after the ratings are read

    factories.replan(study, sessions=[1, 2, 3, 4])
    monkeypatch.setattr(sums, "_replace", replace_slowly)
    assert sums.sums_refresh(study.pk) == 2
    assert {key[1]: row[1] for key, row in stored(study).items()} == {first.pk: 4, second.pk: 3}
    assert set(RatingChange.objects.values_list("therapy", flat=True)) == {first.pk, second.pk}
    monkeypatch.setattr(sums, "_replace", replace)
    assert sums.sums_refresh(study.pk) == 2
    assert_sums_are_those_of_the_ratings(study)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_what_was_rated_before_there_were_sums_is_summed_by_the_next_refit() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=1)
    call_command("migrate", "analytics", "0002", verbosity=0)
    call_command("migrate", "analytics", verbosity=0)
    assert sums.sums_refresh(study.pk) == 2
    assert_sums_are_those_of_the_ratings(study)


@pytest.mark.django_db(transaction=True)
def test_a_repair_waits_for_a_refit_that_makes_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1, raters=("patient",))
    factories.replan(study, sessions=[1, 2, 3, 4])
    sums.sums_refresh(study.pk)
    TherapySums.objects.all().delete()
    repair = sums.study_sums_check(str(study.pk))
    rate(study.therapies.get())
    replace = sums._replace
    others: list[Elsewhere] = []

    def replace_slowly(study_id: UUID, therapies: set[UUID]) -> None:
        replace(study_id, therapies)
        monkeypatch.setattr(sums, "_replace", replace)
        others.append(Elsewhere(transaction.atomic(repair)))
        others[0].join(0.5)
        assert others[0].is_alive()

    monkeypatch.setattr(sums, "_replace", replace_slowly)
    sums.sums_refresh(study.pk)
    others[0].wait()
    assert_sums_are_those_of_the_ratings(study)
    assert repairs() == [{"n_therapies": 1}]


@pytest.mark.django_db
def test_marks_outlive_a_worker_that_dies_while_it_makes_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=1)
    n_marks = RatingChange.objects.count()

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sums, "_replace", die)
        sums.sums_refresh(study.pk)
    assert RatingChange.objects.count() == n_marks > 0
    assert sums.sums_refresh(study.pk) == 2
    assert_sums_are_those_of_the_ratings(study)


def check(study: Study) -> None:
    """Asks for the nightly check alone and does it."""
    Job.objects.all().delete()
    jobs.request("check_sums", study.pk)
    assert jobs.run_due(seconds=20) >= 1
    assert Job.objects.get(kind="check_sums").state == "done"


def repairs() -> list[dict[str, int]]:
    return [event.detail for event in AuditEvent.objects.filter(act="sums.repair")]


def corrupt_mean(row: TherapySums) -> None:
    TherapySums.objects.filter(pk=row.pk).update(mean_y=row.mean_y * (1 + 1e-8))


def corrupt_number(row: TherapySums) -> None:
    TherapySums.objects.filter(pk=row.pk).update(n=row.n + 1)


def corrupt_with_nan(row: TherapySums) -> None:
    TherapySums.objects.filter(pk=row.pk).update(csp=float("nan"))


def corrupt_therapist(row: TherapySums) -> None:
    TherapySums.objects.filter(pk=row.pk).update(therapist=Therapist.objects.exclude(pk=row.therapist_id)[0])


def lose_row(row: TherapySums) -> None:
    row.delete()


def add_row(row: TherapySums) -> None:
    row.pk, row.scale = None, "nothing"
    row.save(force_insert=True)


def lose_mark(row: TherapySums) -> None:
    Score.objects.filter(response__assignment__session__therapy=row.therapy, scale="total").first().delete()
    RatingChange.objects.all().delete()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "corrupt",
    [
        corrupt_mean,
        *(
            pytest.param(change, marks=pytest.mark.slow)
            for change in (corrupt_number, corrupt_therapist, lose_row, add_row)
        ),
        corrupt_with_nan,
        lose_mark,
    ],
)
def test_the_nightly_check_repairs_wrong_sums_and_says_so(
    corrupt: Callable[[TherapySums], None], caplog: pytest.LogCaptureFixture
) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    sums.sums_refresh(study.pk)
    row = TherapySums.objects.order_by("pk")[3]
    corrupt(row)
    untouched = set(TherapySums.objects.exclude(therapy=row.therapy_id).values_list("pk", flat=True))
    with caplog.at_level(logging.ERROR):
        check(study)
    assert_sums_are_those_of_the_ratings(study)
    assert TherapySums.objects.filter(scale="nothing").count() == 0
    assert untouched <= set(TherapySums.objects.values_list("pk", flat=True)), "only the wrong ones are made"
    assert repairs() == [{"n_therapies": 1}]
    event = AuditEvent.objects.get(act="sums.repair")
    assert (event.subject, event.clinic, event.actor) == (f"study:{study.pk}", study.clinic, None)
    assert f"study {study.pk}: sums of 1 therapies were wrong" in caplog.text
    assert str(row.therapy_id) not in caplog.text
    assert Job.objects.filter(kind="refit", scope=str(study.pk)).count() == 1
    check(study)
    assert len(repairs()) == 1


@pytest.mark.django_db
def test_the_nightly_check_has_nothing_to_say_of_right_sums() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    sums.sums_refresh(study.pk)
    row = TherapySums.objects.first()
    TherapySums.objects.filter(pk=row.pk).update(css_y=row.css_y * (1 + 1e-13), csp=row.csp + 1e-14)
    check(study)
    assert repairs() == []
    assert not Job.objects.filter(kind="refit").exists()


@pytest.mark.django_db
def test_a_change_that_waits_for_its_refit_is_no_error_and_gets_one() -> None:
    """A change that no service made asks for no refit; the nightly check does."""
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    sums.sums_refresh(study.pk)
    change_therapist(study)
    check(study)
    assert repairs() == []
    jobs.run_due()
    assert Job.objects.get(kind="refit").state == "done"
    assert fits("patient").get().n_therapists == 3
    assert_sums_are_those_of_the_ratings(study)


@pytest.mark.django_db
def test_the_nightly_bell_asks_for_the_check_of_every_study_once() -> None:
    clinic = factories.make_clinic()
    studies = [factories.make_study(clinic, code=f"S{number}") for number in range(3)]
    for _ in range(2):
        analytics.tasks.request_sums_checks()
    waiting = Job.objects.filter(kind="check_sums", state="pending").values_list("scope", flat=True)
    assert sorted(waiting) == sorted(str(study.pk) for study in studies)
    rung = app.conf.beat_schedule["sums-checks"]
    assert rung["task"] == analytics.tasks.request_sums_checks.name
    assert (rung["schedule"].hour, rung["schedule"].minute) == ({3}, {17})


@pytest.mark.django_db
def test_the_check_of_a_worker_that_lost_its_lease_repairs_nothing() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=1)
    sums.sums_refresh(study.pk)
    TherapySums.objects.update(csp=5.0)
    Job.objects.all().delete()
    jobs.request("check_sums", study.pk)
    late = jobs.claim()
    write = sums.study_sums_check(late.scope)
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.claim() is not None
    with pytest.raises(jobs.LeaseLost):
        jobs.finish(late, write)
    assert repairs() == []
    assert set(TherapySums.objects.values_list("csp", flat=True)) == {5.0}
