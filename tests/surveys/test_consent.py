"""What a patient agrees to before a form, what no means, and who sees less later."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from surveys.access import visible_scores
from surveys.models import Assignment, AuditEvent, Consent, Job, Opening, Response
from surveys.parts import consent_of, owed_consent
from surveys.services.consent import consent_give, sharing_narrow
from surveys.services.invitations import link_issue
from surveys.services.tablets import start_code_issue
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.conftest import Cast
from tests.surveys.test_tablets import enrol, type_code

pytestmark = pytest.mark.django_db


def test_a_form_of_a_version_without_a_declaration_owes_no_consent(
    cast: Cast, patient_form: Assignment
) -> None:
    assert owed_consent(patient_form, ["en"]) is None
    factories.ask_consent(cast.study, declaration="")
    patient_form.refresh_from_db()
    assert owed_consent(patient_form, ["en"]) is None


def test_the_declaration_is_answered_once_for_each_patient_and_wording(
    cast: Cast, patient_form: Assignment
) -> None:
    text = factories.ask_consent(cast.study)
    patient_form.refresh_from_db()
    own = cast.therapy.patient
    assert owed_consent(patient_form, ["de", "en"]) == text
    consent_give(patient=own, text=text, agreed=True)
    assert owed_consent(patient_form, ["en"]) is None
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    assert owed_consent(other, ["en"]) == text
    # Another plan with the same words asks nobody again, other words ask everybody.
    factories.ask_consent(cast.study)
    patient_form.refresh_from_db()
    assert owed_consent(patient_form, ["en"]) is None
    changed = factories.ask_consent(cast.study, declaration="My answers may be published.")
    patient_form.refresh_from_db()
    assert owed_consent(patient_form, ["en"]) == changed


def test_a_therapist_s_form_owes_no_consent(cast: Cast, patient_form: Assignment) -> None:
    factories.ask_consent(cast.study)
    own = Assignment.objects.get(session=patient_form.session, rater="therapist")
    assert owed_consent(own, ["en"]) is None


def test_a_consent_keeps_the_text_that_was_shown_and_leaves_a_trace(
    cast: Cast, patient_form: Assignment
) -> None:
    text = factories.ask_consent(cast.study)
    row = consent_give(patient=cast.therapy.patient, text=text, agreed=True, channel="tablet")
    assert (row.text, row.agreed, row.channel, row.recorded_by) == (text, True, "tablet", None)
    event = AuditEvent.objects.get(act="consent.give")
    assert event.detail == {"agreed": True, "version": text.version.number}
    assert consent_give(patient=cast.therapy.patient, text=text, agreed=True) == row
    assert Consent.objects.count() == AuditEvent.objects.filter(act="consent.give").count() == 1


@pytest.mark.parametrize("visibility", ["feedback", "delayed"])
def test_who_does_not_agree_is_left_out_of_the_research_and_still_asked_for_the_treatment(
    cast: Cast, visibility: str
) -> None:
    factories.set_visibility(cast.study, visibility)
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    text = factories.ask_consent(cast.study)
    Job.objects.all().delete()
    consent_give(patient=cast.therapy.patient, text=text, agreed=False)
    cast.therapy.refresh_from_db()
    form.refresh_from_db()
    assert cast.therapy.excluded_at is not None
    assert cast.therapy.stopped_at is None
    assert form.state == "due"
    assert Job.objects.filter(kind="refit", scope=str(cast.study.pk)).count() == 1
    assert factories.give(form, 6, sharing="scores").sharing == "scores"


def test_under_the_blind_policy_no_leaves_nothing_to_fill(cast: Cast) -> None:
    factories.set_visibility(cast.study, "blind")
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    consent_give(patient=cast.therapy.patient, text=factories.ask_consent(cast.study), agreed=False)
    cast.therapy.refresh_from_db()
    form.refresh_from_db()
    assert form.state == "withdrawn"
    assert cast.therapy.stopped_at == cast.therapy.excluded_at is not None


def test_who_agrees_after_a_no_is_taken_in_again(cast: Cast, patient_form: Assignment) -> None:
    first = factories.ask_consent(cast.study)
    consent_give(patient=cast.therapy.patient, text=first, agreed=False)
    second = factories.ask_consent(cast.study, declaration="Other words.")
    Job.objects.all().delete()
    consent_give(patient=cast.therapy.patient, text=second, agreed=True)
    cast.therapy.refresh_from_db()
    assert cast.therapy.excluded_at is None
    assert Job.objects.filter(kind="refit").count() == 1
    latest = consent_of(cast.therapy.patient, second.version)
    assert latest is not None and latest.agreed


def test_a_withdrawal_outlasts_a_later_yes(cast: Cast, patient_form: Assignment) -> None:
    text = factories.ask_consent(cast.study)
    withdrawal = withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="exclude")
    consent_give(patient=cast.therapy.patient, text=text, agreed=True)
    cast.therapy.refresh_from_db()
    assert cast.therapy.excluded_at == withdrawal.at


def test_a_text_of_another_clinic_cannot_be_agreed_to(cast: Cast) -> None:
    text = factories.ask_consent(cast.stranger_study)
    with pytest.raises(ValueError):
        consent_give(patient=cast.therapy.patient, text=text, agreed=True)
    with pytest.raises(ValueError):
        consent_give(
            patient=cast.therapy.patient,
            text=factories.ask_consent(cast.study, declaration=""),
            agreed=True,
        )


@pytest.fixture
def sent(cast: Cast) -> list[Response]:
    """Three forms of a patient, shared more and more."""
    rows = []
    for hours, sharing in ((30, "none"), (20, "scores"), (10, "answers")):
        session = factories.hold_session(cast.therapy, timezone.now() - timedelta(hours=hours))
        rows.append(factories.give(factories.form_of(session, "patient"), 6, sharing=sharing))
        factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    return rows


def sharing_of(rows: list[Response]) -> list[str]:
    return [Response.objects.get(pk=row.pk).sharing for row in rows]


def test_sharing_is_narrowed_at_once_and_never_widened(cast: Cast, sent: list[Response]) -> None:
    patient = cast.therapy.patient
    shown = visible_scores(cast.therapist, cast.therapy).filter(response__assignment__rater="patient")
    assert shown.filter(scale="total").count() == 2
    assert sharing_narrow(patient=patient, choice="scores") == 1
    assert sharing_of(sent) == ["none", "scores", "scores"]
    assert sharing_narrow(patient=patient, choice="none", response_id=sent[2].pk) == 1
    assert sharing_of(sent) == ["none", "scores", "none"]
    assert sharing_narrow(patient=patient, choice="answers") == 0
    assert sharing_of(sent) == ["none", "scores", "none"]
    assert shown.filter(scale="total").count() == 1
    events = AuditEvent.objects.filter(act="sharing.narrow")
    assert [event.detail for event in events.order_by("pk")] == [{"to": "scores"}, {"to": "none"}]


def test_nobody_narrows_what_somebody_else_sent(cast: Cast, sent: list[Response]) -> None:
    other = cast.colleague_therapy.patient
    assert sharing_narrow(patient=other, choice="none", response_id=sent[2].pk) == 0
    assert sharing_narrow(patient=other, choice="none") == 0
    assert sharing_of(sent) == ["none", "scores", "answers"]


def test_the_information_is_on_the_start_page_and_on_the_form_and_asks_nothing_without_a_declaration(
    cast: Cast, patient_form: Assignment
) -> None:
    factories.ask_consent(cast.study, declaration="", information="The clinic asks.\n\nFor ten years.")
    token, client = link_issue(assignment=patient_form), Client()
    start = client.get(f"/r/{token}/").content.decode()
    assert "<p>The clinic asks.</p>" in start and 'name="consent"' not in start
    opened = client.post(f"/r/{token}/")
    assert opened.status_code == 303
    assert "<p>For ten years.</p>" in client.get(opened["Location"]).content.decode()


def test_nobody_starts_before_they_answered_the_declaration(cast: Cast, patient_form: Assignment) -> None:
    factories.ask_consent(cast.study, declaration="I say so.")
    token, client = link_issue(assignment=patient_form), Client()
    start = client.get(f"/r/{token}/").content.decode()
    assert "I say so." in start and start.count('name="consent"') == 2 and "checked" not in start
    for data in ({}, {"consent": "perhaps"}):
        answer = client.post(f"/r/{token}/", data)
        assert answer.status_code == 422
        assert "Please answer this question first" in answer.content.decode()
    assert not Opening.objects.exists() and not Consent.objects.exists()
    assert client.post(f"/r/{token}/", {"consent": "yes"}).status_code == 303
    row = Consent.objects.get()
    assert (row.patient, row.agreed, row.channel) == (cast.therapy.patient, True, "link")
    # Asked once: another browser, and the next form, just start.
    again = Client().get(f"/r/{token}/").content.decode()
    assert 'name="consent"' not in again and "The research team sees your answers under a code" in again


def test_no_opens_the_form_and_says_that_the_research_has_no_part_in_it(
    cast: Cast, patient_form: Assignment
) -> None:
    factories.ask_consent(cast.study)
    token, client = link_issue(assignment=patient_form), Client()
    assert client.post(f"/r/{token}/", {"consent": "no"}).status_code == 303
    page = client.get(f"/r/{token}/").content.decode()
    assert "Your answers are left out of the research." in page
    assert "The research team sees" not in page


def test_no_under_the_blind_policy_leads_to_thanks(cast: Cast) -> None:
    factories.set_visibility(cast.study, "blind")
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    factories.ask_consent(cast.study)
    token, client = link_issue(assignment=form), Client()
    assert "there is nothing to fill in" in client.get(f"/r/{token}/").content.decode()
    for answer in (client.post(f"/r/{token}/", {"consent": "no"}), client.get(f"/r/{token}/")):
        assert answer.status_code == 200
        assert "Thank you, there is nothing to do" in answer.content.decode()
    assert not Opening.objects.exists()


def test_a_tablet_asks_before_the_form_too(cast: Cast, patient_form: Assignment) -> None:
    factories.ask_consent(cast.study)
    tablet = enrol(cast)
    type_code(tablet, start_code_issue(assignment=patient_form, actor=cast.therapist)[0])
    form = f"/f/{patient_form.pk}/"
    skipped = tablet.get(form)
    assert (skipped.status_code, skipped["Location"]) == (303, f"{form}begin/")
    assert 'name="consent"' in tablet.get(f"{form}begin/").content.decode()
    assert tablet.post(f"{form}begin/").status_code == 422
    assert tablet.post(f"{form}begin/", {"consent": "yes"})["Location"] == form
    assert tablet.get(form).status_code == 200
    assert Consent.objects.get().channel == "tablet"
