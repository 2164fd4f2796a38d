"""A patient ends their part: what each of the three choices does, at once and whole."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics.models import TherapySums
from surveys import jobs
from surveys.access import visible_scores
from surveys.models import (
    Assignment,
    AuditEvent,
    DraftAnswer,
    FormLink,
    Job,
    Message,
    Opening,
    Patient,
    Response,
    Score,
    Therapy,
    Withdrawal,
)
from surveys.services.consent import consent_give
from surveys.services.invitations import link_issue
from surveys.services.responses import FormClosed, Paradata, drafts_save, response_submit
from surveys.services.tablets import WrongCode, start_code_issue, start_code_use, tablet_enrol
from surveys.services.withdrawals import withdrawal_enter
from surveys.tokens import token_hash
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_responses import all_at_once

CANARY = "canary@example.org"


@pytest.fixture
def part(cast: Cast) -> Therapy:
    """A therapy with one rating of both, one form that the patient has begun and one that is only due."""
    now = timezone.now()
    first, second, third = (
        factories.hold_session(cast.therapy, now - timedelta(hours=hours)) for hours in (20, 10, 1)
    )
    factories.give(factories.form_of(first, "patient"), {1: 7, 2: 3, 5: 6}, sharing="answers")
    factories.give(factories.form_of(first, "therapist"), 5, user=cast.therapist)
    begun = factories.form_of(second, "patient")
    opening = factories.open_form(begun)
    drafts_save(opening=opening, answers={1: 2})
    due = factories.form_of(third, "patient")
    Message.objects.create(assignment=due, kind="reminder", number=1, due_at=now)
    Message.objects.create(assignment=begun, kind="invitation", number=1, due_at=now, state="sent")
    Patient.objects.filter(pk=cast.therapy.patient_id).update(contact=CANARY)
    return cast.therapy


def end(therapy: Therapy, choice: str, **fields: object) -> Withdrawal:
    return withdrawal_enter(patient=therapy.patient, study=therapy.study, choice=choice, **fields)


def patient_forms(therapy: Therapy) -> list[Assignment]:
    rows = Assignment.objects.filter(session__therapy=therapy, rater="patient")
    return list(rows.order_by("session__number"))


@pytest.mark.django_db
@pytest.mark.parametrize("choice", ["stop", "exclude", "erase"])
def test_every_choice_ends_all_that_is_asked_of_the_patient(cast: Cast, part: Therapy, choice: str) -> None:
    _, begun, due = patient_forms(part)
    tokens = [link_issue(assignment=form) for form in (begun, due)]
    tablet, _ = tablet_enrol(clinic=cast.clinic, name="Hall", pin="730915", actor=cast.clinic_admin)
    code, _ = start_code_issue(assignment=due, actor=cast.therapist)
    opening = Opening.objects.get(assignment=begun)
    end(part, choice)
    assert {form.state for form in patient_forms(part)[1:]} == {"withdrawn"}
    for token in tokens:
        answer = Client().get(f"/r/{token}/")
        assert answer.status_code == 200
        assert "Thank you, there is nothing to do" in answer.content.decode()
    assert not DraftAnswer.objects.exists()
    assert dict(Message.objects.values_list("kind", "state")) == {
        "reminder": "not_needed",
        "invitation": "sent",
    }
    with pytest.raises(WrongCode):
        start_code_use(tablet=tablet, code=code, browser_hash=token_hash("tablet"))
    part.refresh_from_db()
    assert part.stopped_at is not None
    with pytest.raises(FormClosed):
        drafts_save(opening=opening, answers={2: 1})
    later = factories.hold_session(part, timezone.now() - timedelta(minutes=5))
    states = dict(later.assignments.values_list("rater", "state"))
    assert "patient" not in states


@pytest.mark.django_db
def test_a_stop_keeps_what_was_sent_where_it_is(cast: Cast, part: Therapy) -> None:
    Job.objects.all().delete()
    withdrawal = end(part, "stop")
    part.refresh_from_db()
    assert part.excluded_at is None
    assert patient_forms(part)[0].state == "submitted"
    assert Response.objects.get(assignment__rater="patient").sharing == "answers"
    assert visible_scores(cast.therapist, part).filter(response__assignment__rater="patient").exists()
    assert not Job.objects.filter(kind="refit").exists()
    assert (withdrawal.n_erased, withdrawal.recorded_by) == (0, None)
    assert Patient.objects.get(pk=part.patient_id).contact == CANARY


@pytest.mark.django_db
def test_an_exclusion_also_hides_old_answers_from_the_therapist_and_asks_for_a_refit(
    cast: Cast, part: Therapy
) -> None:
    Job.objects.all().delete()
    end(part, "exclude")
    part.refresh_from_db()
    assert part.excluded_at is not None
    assert Response.objects.get(assignment__rater="patient").sharing == "none"
    seen = set(visible_scores(cast.therapist, part).values_list("response__assignment__rater", flat=True))
    assert seen == {"therapist"}
    assert Job.objects.filter(kind="refit", scope=str(part.study_id), state="pending").count() == 1
    assert Score.objects.filter(response__assignment__rater="patient").exists()


@pytest.mark.django_db
def test_an_erasure_deletes_what_the_patient_sent_and_keeps_the_therapist_s_own(
    cast: Cast, part: Therapy
) -> None:
    token = link_issue(assignment=patient_forms(part)[1])
    consent_text = factories.ask_consent(cast.study)
    consent = consent_give(patient=part.patient, text=consent_text, agreed=True)
    links = FormLink.objects.count()
    withdrawal = end(part, "erase")
    assert withdrawal.n_erased == 1
    assert list(Response.objects.values_list("assignment__rater", flat=True)) == ["therapist"]
    assert {form.state for form in patient_forms(part)} == {"withdrawn"}
    assert not Opening.objects.filter(assignment__rater="patient").exists()
    assert Patient.objects.get(pk=part.patient_id).contact == ""
    assert FormLink.objects.count() == links
    assert list(part.patient.consents.all()) == [consent]
    assert "nothing to do" in Client().get(f"/r/{token}/").content.decode()


@pytest.mark.django_db
def test_the_address_stays_while_another_study_asks_the_patient(cast: Cast, part: Therapy) -> None:
    other = factories.make_study(cast.clinic, code="S3")
    Therapy.objects.create(
        patient=part.patient, therapist=part.therapist, study=other, started_on=timezone.localdate()
    )
    end(part, "erase")
    assert Patient.objects.get(pk=part.patient_id).contact == CANARY


@pytest.mark.django_db
def test_it_holds_for_all_therapies_of_the_patient_in_the_study_and_for_no_other(
    cast: Cast, part: Therapy
) -> None:
    Therapy.objects.filter(pk=part.pk).update(ended_on=timezone.localdate(), end_reason="completed")
    second = Therapy.objects.create(
        patient=part.patient,
        therapist=cast.colleague_therapy.therapist,
        study=cast.study,
        started_on=timezone.localdate() - timedelta(days=3),
    )
    form = factories.form_of(factories.hold_session(second), "patient")
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    end(part, "exclude")
    form.refresh_from_db()
    other.refresh_from_db()
    assert (form.state, other.state) == ("withdrawn", "due")
    assert set(part.patient.therapies.values_list("excluded_at", flat=True)) == {Withdrawal.objects.get().at}
    assert Therapy.objects.get(pk=cast.colleague_therapy.pk).stopped_at is None


@pytest.mark.django_db
def test_a_choice_can_go_further_later_but_never_back(cast: Cast, part: Therapy) -> None:
    stop = end(part, "stop")
    assert end(part, "stop") == stop
    exclude = end(part, "exclude")
    assert exclude != stop
    assert end(part, "stop") == exclude
    assert end(part, "erase").n_erased == 1
    assert end(part, "erase").n_erased == 1
    assert Withdrawal.objects.count() == 3


@pytest.mark.django_db
def test_a_form_that_was_missed_stays_missed(cast: Cast, part: Therapy) -> None:
    _, _, due = patient_forms(part)
    Assignment.objects.filter(pk=due.pk).update(closes_at=timezone.now() - timedelta(minutes=1))
    end(part, "stop")
    due.refresh_from_db()
    assert due.state == "due"


@pytest.mark.django_db
def test_somebody_without_a_therapy_in_the_study_has_no_part_to_end(cast: Cast) -> None:
    with pytest.raises(ValueError):
        withdrawal_enter(patient=cast.stranger_therapy.patient, study=cast.study, choice="stop")
    with pytest.raises(ValueError):
        withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="all")


@pytest.mark.django_db
def test_the_trace_tells_the_event_without_an_answer(cast: Cast, part: Therapy) -> None:
    withdrawal = end(part, "erase", recorded_by=cast.clinic_admin)
    event = AuditEvent.objects.get(act="withdrawal.enter")
    assert (event.actor, event.clinic) == (cast.clinic_admin, cast.clinic)
    assert event.subject == f"withdrawal:{withdrawal.pk}"
    assert event.detail == {"choice": "erase", "n_closed": 2, "n_erased": 1}


def whole_database() -> str:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        texts = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
            texts += [f"{table} {row}" for (row,) in cursor.fetchall()]
    return "\n".join(texts)


@pytest.mark.django_db
def test_after_an_erasure_no_answer_is_anywhere_in_the_database(cast: Cast, part: Therapy) -> None:
    last = part.sessions.get(number=3)
    # Their mean has digits enough to stand nowhere by chance, as 5.75 does in times.
    answers = {**dict.fromkeys(range(1, 13), 7), 3: 6, 7: 6}
    response = factories.give(factories.form_of(last, "patient"), answers, sharing="answers")
    factories.give(factories.form_of(last, "therapist"), 5, user=cast.therapist)
    jobs.run_due()
    mean = response.scores.get(scale="total").mean
    canaries = ['"3": 6, "4": 7', repr(mean)[:10], CANARY]
    before = whole_database()
    assert [canary for canary in canaries[:2] if canary not in before] == []
    assert TherapySums.objects.get(therapy=part, perspective="patient", scale="total").mean_y == mean
    end(part, "erase")
    after = whole_database()
    assert [canary for canary in canaries if canary in after] == []
    # The trace keeps that a form was received, under the id of its row, and nothing that was in it.
    tables = {row.split(" ", 1)[0] for row in after.splitlines() if str(response.pk) in row}
    assert tables == {"surveys_auditevent"}
    assert not TherapySums.objects.filter(therapy=part).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("choice", ["exclude", "erase"])
def test_a_withdrawal_while_the_form_is_being_sent_leaves_no_half_state(cast: Cast, choice: str) -> None:
    for _ in range(6):
        therapy = factories.make_therapy(cast.study, cast.therapist)
        session = factories.hold_session(therapy)
        form = factories.form_of(session, "patient")
        opening = factories.open_form(form)

        def send(opening: Opening = opening) -> object:
            return response_submit(
                opening=opening,
                answers=dict.fromkeys(range(1, 13), 5),
                sharing="answers",
                client_key=opening.client_key,
                paradata=Paradata(device="phone", channel="link"),
            )

        def withdraw(therapy: Therapy = therapy) -> object:
            return end(therapy, choice)

        def hold(therapy: Therapy = therapy) -> object:
            return factories.hold_session(therapy, timezone.now() - timedelta(minutes=2))

        sent, withdrawn, held = all_at_once([send, withdraw, hold])
        assert isinstance(sent, Response | FormClosed | Opening.DoesNotExist), sent
        assert isinstance(withdrawn, Withdrawal), withdrawn
        assert not isinstance(held, Exception), held
        therapy.refresh_from_db()
        form.refresh_from_db()
        stored = Response.objects.filter(assignment=form).first()
        assert therapy.stopped_at == therapy.excluded_at == withdrawn.at
        assert not DraftAnswer.objects.filter(assignment=form).exists()
        if choice == "erase":
            assert (stored, form.state) == (None, "withdrawn")
        else:
            assert (form.state == "submitted") == (stored is not None) == isinstance(sent, Response)
            assert stored is None or stored.sharing == "none"
        open_forms = Assignment.objects.filter(
            session__therapy=therapy, rater="patient", state__in=["due", "opened"]
        )
        assert not open_forms.exists()


@pytest.mark.django_db(transaction=True)
def test_two_withdrawals_at_once_are_one_row_each_and_end_in_the_stronger(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), 6)
    work = [lambda choice=choice: end(cast.therapy, choice) for choice in ("stop", "erase") * 4]
    assert all(isinstance(result, Withdrawal) for result in all_at_once(work))
    counts = [row.choice for row in Withdrawal.objects.order_by("pk")]
    assert counts in (["erase"], ["stop", "erase"])
    assert not Response.objects.filter(assignment__rater="patient").exists()


@pytest.mark.django_db
def test_an_administrator_enters_a_request_on_paper_and_is_asked_twice(cast: Cast, part: Therapy) -> None:
    client = signed_in(cast.clinic_admin)
    url = reverse("withdrawal-enter", args=[part.patient.pk, cast.study.pk])
    patient_page = reverse("people-patient", args=[part.patient.pk])
    assert url in client.get(patient_page).content.decode()
    assert client.get(url).content.decode().count('name="choice"') == 3
    assert client.post(url, {"choice": ""}).status_code == 422
    assert "Is this what the paper says?" in client.post(url, {"choice": "exclude"}).content.decode()
    assert not Withdrawal.objects.exists()
    answer = client.post(url, {"choice": "exclude", "confirm": "yes"}, follow=True)
    assert "The patient’s part has ended. Please tell them so." in answer.content.decode()
    assert "Ended on" in answer.content.decode()
    row = Withdrawal.objects.get()
    assert (row.choice, row.recorded_by, row.patient) == ("exclude", cast.clinic_admin, part.patient)
    assert AuditEvent.objects.get(act="withdrawal.enter").actor == cast.clinic_admin


@pytest.mark.django_db
def test_no_request_is_entered_for_a_patient_or_study_of_another_clinic(cast: Cast, part: Therapy) -> None:
    client = signed_in(cast.clinic_admin)
    for patient, study in (
        (cast.stranger_therapy.patient, cast.stranger_study),
        (part.patient, cast.stranger_study),
    ):
        url = reverse("withdrawal-enter", args=[patient.pk, study.pk])
        assert client.post(url, {"choice": "stop", "confirm": "yes"}).status_code == 404
    assert not Withdrawal.objects.exists()
