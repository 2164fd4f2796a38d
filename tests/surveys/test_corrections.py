"""Corrections of the session log, catching up, declining one's own rating: what they move and what they
never touch."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surveys import jobs
from surveys.models import Assignment, AuditEvent, DraftAnswer, Job, Response, Session, Therapy
from surveys.services.assignments import therapy_sync
from surveys.services.responses import drafts_save
from surveys.services.sessions import (
    Entry,
    LogRefused,
    SessionExists,
    rating_decline,
    session_close,
    session_correct,
    sessions_close,
)
from surveys.services.withdrawals import withdrawal_enter
from surveys.worklist import log_change
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db
NOW = timezone.now().replace(microsecond=0)


def day(number: int) -> datetime:
    return NOW - timedelta(days=60 - number)


def hold(therapy: Therapy, *days: int) -> list[Session]:
    return list(sessions_close(therapy=therapy, entries=[Entry(day(n), "held") for n in days]).sessions)


def log_of(therapy: Therapy) -> list[tuple[int, str, int | None]]:
    """Day, status and number of every line."""
    rows = therapy.sessions.order_by("held_at")
    return [((row.held_at - day(0)).days, row.status, row.number) for row in rows]


def asked(therapy: Therapy) -> set[tuple[int, str, str]]:
    """Session number, rater and state of the forms that are not withdrawn."""
    rows = Assignment.objects.filter(session__therapy=therapy).exclude(state="withdrawn")
    return set(rows.values_list("session__number", "rater", "state"))


def as_it_would_be(therapy: Therapy) -> tuple[list[object], set[object]]:
    rows = Assignment.objects.filter(session__therapy=therapy).exclude(state="withdrawn")
    forms = set(
        rows.values_list("session__held_at", "rater", "state", "occasion", "opens_at", "closes_at", "version")
    )
    return log_of(therapy), forms


def test_a_session_corrected_to_cancelled_gives_its_number_and_forms_back(cast: Cast) -> None:
    factories.replan(cast.study, sessions=[2], window_hours=24 * 90)
    first, second, third = hold(cast.therapy, 1, 8, 15)
    change = session_correct(
        session=first, held_at=first.held_at, status="cancelled", reason="illness", actor=cast.therapist
    )
    assert log_of(cast.therapy) == [(1, "cancelled", None), (8, "held", 1), (15, "held", 2)]
    assert asked(cast.therapy) == {(2, "patient", "due"), (2, "therapist", "due")}
    assert {row.session_id for row in change.forms.asked} == {third.pk}
    assert {row.session_id for row in change.forms.withdrawn} == {second.pk}
    assert [(run.first, run.last, run.by) for run in change.moved] == [(2, 3, -1)]
    first.refresh_from_db()
    assert first.reason == "illness"


def test_the_trace_of_a_correction_keeps_old_and_new_and_tells_the_change_again(cast: Cast) -> None:
    first, _ = hold(cast.therapy, 1, 8)
    change = session_correct(session=first, held_at=day(9), status="held", actor=cast.therapist)
    event = AuditEvent.objects.get(act="session.correct")
    assert (event.actor, event.subject) == (cast.therapist, f"session:{first.pk}")
    assert event.detail["was"] == {
        "held_at": day(1).isoformat(),
        "status": "held",
        "reason": "",
        "number": 1,
    }
    assert (event.detail["held_at"], event.detail["number"]) == (day(9).isoformat(), 2)
    told = log_change(cast.therapy, str(change.event.pk))
    assert (told.session, told.moved) == (first, [*change.moved])
    assert set(told.forms.asked) == set(change.forms.asked)
    assert log_change(cast.colleague_therapy, str(event.pk)) is None, "of another therapy"
    for wrong in ("", "x", "-1", "9" * 30, "²", str(event.pk + 10**6)):
        assert log_change(cast.therapy, wrong) is None


def test_a_correction_of_nothing_leaves_no_trace(cast: Cast) -> None:
    (first,) = hold(cast.therapy, 1)
    change = session_correct(session=first, held_at=first.held_at, status="held")
    assert (change.event, change.moved) == (None, ())
    assert not AuditEvent.objects.filter(act="session.correct").exists()


def test_renumbering_by_a_correction_asks_for_a_new_fit(cast: Cast) -> None:
    first, _ = hold(cast.therapy, 1, 8)
    session_correct(session=first, held_at=day(2), status="held")
    assert not Job.objects.filter(kind="refit").exists()
    session_correct(session=first, held_at=day(9), status="held")
    assert Job.objects.filter(kind="refit", scope=str(cast.study.pk)).exists()


def test_the_time_of_a_session_moves_the_time_of_its_forms(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 58)
    session_correct(session=session, held_at=day(59), status="held")
    for form in session.assignments.all():
        assert (form.opens_at, form.closes_at) == (day(59), day(61)), form.rater


def test_a_form_that_was_received_keeps_its_times(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    form = factories.form_of(session, "patient")
    factories.give(form)
    session_correct(session=session, held_at=day(58), status="held")
    form.refresh_from_db()
    assert (form.opens_at, form.closes_at) == (day(59), day(61))


def test_a_form_that_was_begun_never_closes_earlier_than_it_said(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    form = factories.form_of(session, "patient")
    factories.open_form(form)
    session_correct(session=session, held_at=day(50), status="held")
    form.refresh_from_db()
    assert form.closes_at == day(61)
    assert factories.form_of(session, "therapist").closes_at == day(52)


@pytest.mark.parametrize("rater", ["patient", "therapist"])
@pytest.mark.parametrize("answers", [5, {}])
def test_a_session_with_a_received_form_stays_held(cast: Cast, rater: str, answers: object) -> None:
    (session,) = hold(cast.therapy, 59)
    user = cast.therapist if rater == "therapist" else None
    factories.give(factories.form_of(session, rater), answers, user=user)
    with pytest.raises(LogRefused, match="was received, so it stays held") as refused:
        session_correct(session=session, held_at=session.held_at, status="no_show")
    assert refused.value.field == "status"
    session.refresh_from_db()
    assert (session.status, session.number) == ("held", 1)
    assert Response.objects.count() == 1


def test_a_session_whose_form_is_being_filled_stays_held_until_the_form_s_time_is_over(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    form = factories.form_of(session, "patient")
    drafts_save(opening=factories.open_form(form), answers={1: 3})
    with pytest.raises(LogRefused, match="filling in a form about this session just now"):
        session_correct(session=session, held_at=session.held_at, status="cancelled")
    Assignment.objects.filter(pk=form.pk).update(opens_at=day(1), closes_at=day(2))
    session_correct(session=session, held_at=session.held_at, status="cancelled")
    form.refresh_from_db()
    assert form.state == "withdrawn"
    assert DraftAnswer.objects.filter(assignment=form).count() == 1, "what was typed is not thrown away"


def test_a_form_that_was_only_opened_does_not_hold_a_correction_up(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    factories.open_form(factories.form_of(session, "patient"))
    session_correct(session=session, held_at=session.held_at, status="cancelled")
    assert asked(cast.therapy) == set()
    session_correct(session=session, held_at=session.held_at, status="held")
    assert asked(cast.therapy) == {(1, "patient", "due"), (1, "therapist", "due")}


def test_a_session_cannot_come_to_stand_after_its_answers_or_on_another_session(cast: Cast) -> None:
    first, _ = hold(cast.therapy, 50, 59)
    with pytest.raises(SessionExists):
        session_correct(session=first, held_at=day(59), status="held")
    form = factories.form_of(first, "patient")
    Assignment.objects.filter(pk=form.pk).update(closes_at=day(90))
    factories.give(form)
    with pytest.raises(LogRefused, match="Enter a time before that"):
        session_correct(session=first, held_at=timezone.now() + timedelta(hours=1), status="held")
    session_correct(session=first, held_at=day(49), status="held")
    assert log_of(cast.therapy) == [(49, "held", 1), (59, "held", 2)]


lines = st.lists(
    st.tuples(st.integers(1, 59), st.sampled_from(["held", "held", "cancelled", "no_show"])),
    unique_by=lambda line: line[0],
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=lines, data=st.data())
def test_a_log_entered_in_any_order_with_slips_and_corrections_is_the_log_entered_right(
    cast: Cast, log: list[tuple[int, str]], data: st.DataObject
) -> None:
    if cast.study.current.number == 1:
        factories.replan(cast.study, sessions=[1, 3], tolerance=1, catch_up=True)
    straight = factories.make_therapy(cast.study, cast.therapist)
    crooked = factories.make_therapy(cast.study, cast.therapist)
    for when, status in sorted(log):
        session_close(therapy=straight, held_at=day(when), status=status)
    for when, status in data.draw(st.permutations(log)):
        slip = data.draw(st.sampled_from([None, "time", "status"]))
        if slip == "time":
            wrong = session_close(therapy=crooked, held_at=day(when) - timedelta(hours=7), status=status)
        elif slip == "status":
            other = "cancelled" if status == "held" else "held"
            wrong = session_close(therapy=crooked, held_at=day(when), status=other)
        else:
            session_close(therapy=crooked, held_at=day(when), status=status)
            continue
        session_correct(session=wrong.session, held_at=day(when), status=status)
    assert as_it_would_be(crooked) == as_it_would_be(straight)


def test_a_missed_form_is_asked_again_at_the_next_session_and_stays_missed_when_that_is_given(
    cast: Cast,
) -> None:
    factories.replan(cast.study, keep=["patient"], sessions=[2], tolerance=2, catch_up=True)
    _, second, third = hold(cast.therapy, 30, 37, 59)
    assert asked(cast.therapy) == {(2, "patient", "due"), (3, "patient", "due")}
    form = factories.form_of(third, "patient")
    assert form.occasion == 2
    factories.give(form)
    fourth = hold(cast.therapy, 60)[0]
    assert not fourth.assignments.exists(), "the occasion is covered"
    missed = factories.form_of(second, "patient")
    assert (missed.state, missed.closes_at < timezone.now()) == ("due", True)


def test_a_form_that_covers_an_occasion_takes_the_question_for_another_back(cast: Cast) -> None:
    """A form opened in time is sent within its day of grace, after it was asked again at the next session."""
    factories.replan(cast.study, keep=["patient"], sessions=[1], tolerance=1, catch_up=True)
    first = session_close(therapy=cast.therapy, held_at=NOW - timedelta(hours=49), status="held").session
    form = factories.form_of(first, "patient")
    Assignment.objects.filter(pk=form.pk).update(state="opened")
    second = hold(cast.therapy, 60)[0]
    assert factories.form_of(second, "patient").state == "due"
    Assignment.objects.filter(pk=form.pk).update(closes_at=NOW + timedelta(hours=1))
    factories.give(form)
    assert Job.objects.filter(kind="forms", scope=str(cast.therapy.pk), state="pending").count() == 1
    assert jobs.latest("forms", cast.therapy.pk)
    therapy_sync(therapy_id=cast.therapy.pk)
    assert factories.form_of(second, "patient").state == "withdrawn"


def test_sending_a_form_asks_for_no_second_look_where_nothing_else_is_open(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    factories.give(factories.form_of(session, "patient"))
    assert not Job.objects.filter(kind="forms").exists()


def test_a_late_entry_does_not_ask_twice_for_an_occasion_that_is_covered_within_the_tolerance(
    cast: Cast,
) -> None:
    factories.replan(cast.study, sessions=[2], tolerance=1, window_hours=24 * 90)
    _, second = hold(cast.therapy, 30, 37)
    factories.give(factories.form_of(second, "patient"))
    factories.give(factories.form_of(second, "therapist"), user=cast.therapist)
    hold(cast.therapy, 23)
    assert asked(cast.therapy) == {(3, "patient", "submitted"), (3, "therapist", "submitted")}
    assert factories.form_of(second, "patient").occasion == 2


def test_a_session_follows_the_version_active_when_it_was_held(cast: Cast) -> None:
    old = cast.study.current
    factories.replan(cast.study, keep=["patient"], sessions=[2])
    new = cast.study.current
    # The factory's new version is active from a second after the old one.
    early = session_close(therapy=cast.therapy, held_at=old.active_from, status="held").session
    late = hold(cast.therapy, 59)[0]
    forms = Assignment.objects.filter(session__therapy=cast.therapy)
    assert set(forms.values_list("session", "version")) == {(early.pk, old.pk), (late.pk, new.pk)}


def test_a_patient_who_stopped_is_asked_no_more_and_the_therapist_still_is(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    factories.open_form(factories.form_of(session, "therapist"), user=cast.therapist)
    Therapy.objects.filter(pk=cast.therapy.pk).update(stopped_at=NOW)
    hold(cast.therapy, 60, 57)
    assert {(number, rater) for number, rater, _ in asked(cast.therapy)} == {
        (1, "therapist"),
        (2, "therapist"),
        (3, "therapist"),
    }


def test_what_was_missed_before_the_patient_stopped_stays_missed(cast: Cast) -> None:
    """Else the share of forms that came in would rise with the next session that is entered."""
    missed, still_open = hold(cast.therapy, 30, 59)
    withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="stop")
    expected = {(missed.pk, "due"), (still_open.pk, "withdrawn")}
    own = Assignment.objects.filter(session__therapy=cast.therapy, rater="patient")
    assert set(own.values_list("session", "state")) == expected
    hold(cast.therapy, 60)
    assert set(own.values_list("session", "state")) == expected


def test_declining_one_s_own_rating_shows_the_patient_s_also_after_the_time_is_over(cast: Cast) -> None:
    factories.replan(
        cast.study, extra=[{"instrument": factories.instrument("dpccq-feelings", "therapist"), "every": 1}]
    )
    (session,) = hold(cast.therapy, 59)
    response = factories.give(factories.form_of(session, "patient"))
    given = session.assignments.get(rater="therapist", instrument__code="wai-s")
    factories.give(given, user=cast.therapist)
    response.refresh_from_db()
    assert response.reveal_at is None, "one form of the therapist is open"
    Assignment.objects.filter(session=session, rater="therapist", state="due").update(
        opens_at=day(1), closes_at=day(2)
    )
    before = timezone.now()
    assert rating_decline(session=session, actor=cast.therapist) == 1
    response.refresh_from_db()
    assert response.reveal_at >= before
    states = session.assignments.values_list("instrument__code", "rater", "state")
    assert set(states) == {
        ("wai-s", "patient", "submitted"),
        ("wai-s", "therapist", "submitted"),
        ("dpccq-feelings", "therapist", "declined"),
    }
    assert AuditEvent.objects.get(act="rating.decline").actor == cast.therapist
    assert rating_decline(session=session, actor=cast.therapist) == 0
    assert AuditEvent.objects.filter(act="rating.decline").count() == 1


def test_a_patient_s_rating_that_comes_after_the_therapist_declined_shows_at_once(cast: Cast) -> None:
    (session,) = hold(cast.therapy, 59)
    rating_decline(session=session, actor=cast.therapist)
    response = factories.give(factories.form_of(session, "patient"))
    response.refresh_from_db()
    assert response.reveal_at == response.submitted_at
