"""A form on paper: the sheet, and typing it in."""

from datetime import datetime, time, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from surveys.models import (
    Assignment,
    AuditEvent,
    Consent,
    ConsentText,
    Membership,
    Opening,
    Response,
    Role,
    StudyVersion,
    Therapist,
)
from surveys.services.paper import Sheet, moment_on, paper_enter
from surveys.services.responses import FormClosed, drafts_save
from surveys.services.therapies import therapy_transfer
from tests import factories
from tests.analytics.clinics import dataset
from tests.conftest import Cast, signed_in


def address(form: Assignment, entry: bool = True) -> str:
    return f"/forms/{form.pk}/paper/" + ("entry/" if entry else "")


def typed(form: Assignment, **others: str) -> dict[str, str]:
    answers = {f"item_{number}": "6" for number in range(1, 13)}
    day = timezone.localdate(form.opens_at).isoformat()
    return {"filled_on": day, "language": "en", "sharing": "scores", **answers, **others}


def enter(cast: Cast, form: Assignment, **others: str) -> HttpResponse:
    return signed_in(cast.clinic_admin).post(address(form), typed(form, **others))


def asks_consent(cast: Cast, form: Assignment, visibility: str = "feedback") -> ConsentText:
    """As if the study had asked for consent from the beginning."""
    old = form.version
    version = StudyVersion.objects.create(study=cast.study, number=old.number + 1, visibility=visibility)
    text = ConsentText.objects.create(
        version=version, language="en", information="Who collects what.", declaration="I take part."
    )
    factories.activate(version, old.active_from + timedelta(seconds=1))
    Assignment.objects.filter(pk=form.pk).update(version=version)
    form.refresh_from_db()
    return text


@pytest.mark.parametrize("actor", ["therapist", "clinic_admin"])
def test_the_sheet_has_every_item_and_no_patient(cast: Cast, patient_form: Assignment, actor: str) -> None:
    page = signed_in(getattr(cast, actor)).get(address(patient_form, entry=False)).content.decode()
    for item in patient_form.instrument.form.items:
        assert item.text in page
    assert page.count('class="tick"') == 12 * 8 + 3
    session = patient_form.session
    assert f"{session.therapy.code} / {session.number} / WAI-S" in page
    assert "Harbour Clinic" in page and "Demonstration wording" in page
    assert session.therapy.patient.code not in page


def test_the_sheet_speaks_the_patient_s_language_and_any_other_on_demand(
    cast: Cast, patient_form: Assignment
) -> None:
    patient = patient_form.session.therapy.patient
    patient.language = "de"
    patient.save(update_fields=["language"])
    german = factories.instrument("wai-s", "patient", "de").form.items[0].text
    norwegian = factories.instrument("wai-s", "patient", "nb").form.items[0].text
    client = signed_in(cast.therapist)
    assert german in client.get(address(patient_form, entry=False)).content.decode()
    assert norwegian in client.get(address(patient_form, entry=False) + "?language=nb").content.decode()


@pytest.mark.parametrize("actor", ["colleague", "stranger", "supervisor", "researcher", "superuser"])
def test_nobody_else_gets_the_sheet_or_types_it_in(cast: Cast, patient_form: Assignment, actor: str) -> None:
    client = signed_in(getattr(cast, actor))
    assert client.get(address(patient_form, entry=False)).status_code in (403, 404)
    assert client.post(address(patient_form), typed(patient_form)).status_code in (403, 404)
    assert not Response.objects.exists()


def test_the_treating_therapist_does_not_type_in_even_as_an_administrator(
    cast: Cast, patient_form: Assignment
) -> None:
    assert signed_in(cast.therapist).get(address(patient_form)).status_code == 403
    Membership.objects.create(clinic=cast.clinic, user=cast.therapist, role=Role.CLINIC_ADMIN)
    assert signed_in(cast.therapist).get(address(patient_form)).status_code == 404
    assert signed_in(cast.therapist).post(address(patient_form), typed(patient_form)).status_code == 404
    assert not Response.objects.exists()


def test_nor_does_who_treats_the_patient_after_a_transfer_or_did_before(
    cast: Cast, patient_form: Assignment
) -> None:
    """The sheet says what the patient thinks of the other therapist, and may be shared with nobody."""
    Membership.objects.create(clinic=cast.clinic, user=cast.colleague, role=Role.CLINIC_ADMIN)
    Membership.objects.create(clinic=cast.clinic, user=cast.therapist, role=Role.CLINIC_ADMIN)
    assert signed_in(cast.colleague).get(address(patient_form)).status_code == 200
    therapist = Therapist.objects.get(user=cast.colleague)
    new = therapy_transfer(therapy=cast.therapy, therapist=therapist, on=timezone.localdate())
    assert signed_in(cast.colleague).get(address(patient_form)).status_code == 404
    later = factories.form_of(factories.hold_session(new), "patient")
    assert signed_in(cast.therapist).get(address(later)).status_code == 404
    assert signed_in(cast.clinic_admin).get(address(later)).status_code == 200


def test_the_log_of_one_s_own_therapy_leads_to_no_sheet_to_type_in(
    cast: Cast, patient_form: Assignment
) -> None:
    Membership.objects.create(clinic=cast.clinic, user=cast.therapist, role=Role.CLINIC_ADMIN)
    log = f"/therapies/{cast.therapy.pk}/sessions/"
    assert address(patient_form) not in signed_in(cast.therapist).get(log).content.decode()
    assert address(patient_form) in signed_in(cast.clinic_admin).get(log).content.decode()


def test_an_administrator_of_another_clinic_does_not_type_in(cast: Cast, patient_form: Assignment) -> None:
    Membership.objects.create(clinic=cast.stranger_study.clinic, user=cast.stranger, role=Role.CLINIC_ADMIN)
    assert signed_in(cast.stranger).get(address(patient_form)).status_code == 404
    assert signed_in(cast.stranger).get(address(patient_form, entry=False)).status_code == 404


def test_a_sheet_is_stored_as_what_it_is(cast: Cast, patient_form: Assignment) -> None:
    answer = enter(cast, patient_form, item_2="", item_3="-", sharing="answers")
    assert (answer.status_code, answer["Location"]) == (303, address(patient_form))
    response = Response.objects.get()
    assert (response.channel, response.device, response.entered_by) == ("paper", "paper", cast.clinic_admin)
    assert (response.language, response.sharing) == ("en", "answers")
    assert (response.answers["1"], response.answers["2"], response.answers["3"]) == (6, -99, -98)
    assert timezone.localdate(response.submitted_at) == timezone.localdate(patient_form.opens_at)
    assert response.submitted_at <= timezone.now()
    assert response.scores.get(scale="total").n_answered == 10
    assert AuditEvent.objects.get(act="response.submit").actor == cast.clinic_admin


def test_after_storing_no_page_shows_the_answers_or_the_receipt_code(
    cast: Cast, patient_form: Assignment
) -> None:
    enter(cast, patient_form, item_1="3")
    client = signed_in(cast.clinic_admin)
    page = client.get(address(patient_form)).content.decode()
    response = Response.objects.get()
    assert "received" in page
    assert response.receipt_code not in page
    assert "item_1" not in page
    assert client.get(f"/f/{patient_form.pk}/").status_code == 404
    assert client.get(f"/f/{patient_form.pk}/receipt/").status_code == 404


def test_two_clicks_are_one_response_and_other_answers_do_not_replace_it(
    cast: Cast, patient_form: Assignment
) -> None:
    sheet = Sheet(
        patient_form.instrument, timezone.localdate(patient_form.opens_at), dict.fromkeys(range(1, 13), 6)
    )
    first = paper_enter(assignment=patient_form, sheet=sheet, actor=cast.clinic_admin)
    assert paper_enter(assignment=patient_form, sheet=sheet, actor=cast.clinic_admin) == first
    enter(cast, patient_form, item_1="1")
    assert Response.objects.get().answers["1"] == 6


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("item_4", "8", "A number from 1 to 7"),
        ("item_4", "0", "A number from 1 to 7"),
        ("item_4", "x", "A number from 1 to 7"),
        ("filled_on", "", "Enter the day"),
        ("filled_on", "2011-02-03", "was not open on this day"),
        ("sharing", "", "Choose what is ticked"),
        ("sharing", "everything", "Choose what is ticked"),
    ],
)
def test_a_slip_is_named_and_nothing_typed_is_lost(
    cast: Cast, patient_form: Assignment, field: str, value: str, sentence: str
) -> None:
    answer = enter(cast, patient_form, item_5="2", **{field: value})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert 'name="item_5" value="2"' in page
    assert not Response.objects.exists()


def test_a_day_to_come_is_refused(cast: Cast, patient_form: Assignment) -> None:
    tomorrow = (timezone.localdate() + timedelta(days=1)).isoformat()
    assert enter(cast, patient_form, filled_on=tomorrow).status_code == 422


def at_noon(day: datetime) -> datetime:
    return timezone.make_aware(datetime.combine(timezone.localdate(day), time(12)))


def test_the_moment_of_a_day_lies_within_the_time_the_form_was_open(patient_form: Assignment) -> None:
    day = timezone.make_aware(datetime(2026, 3, 9))
    patient_form.opens_at, patient_form.closes_at = day + timedelta(hours=15), day + timedelta(hours=63)
    days = [moment_on((day + timedelta(days=n)).date(), patient_form, timezone.now()) for n in range(-1, 4)]
    assert days == [
        None,
        patient_form.opens_at,
        at_noon(day + timedelta(days=1)),
        at_noon(day + timedelta(days=2)),
        None,
    ]
    now = day + timedelta(days=1, hours=2)
    assert moment_on(now.date(), patient_form, now) == now


def test_a_sheet_filled_in_time_may_be_typed_in_late(cast: Cast, patient_form: Assignment) -> None:
    long_ago = timezone.now() - timedelta(days=30)
    Assignment.objects.update(opens_at=long_ago, closes_at=long_ago + timedelta(hours=48))
    patient_form.refresh_from_db()
    assert enter(cast, patient_form).status_code == 303
    assert Response.objects.get().submitted_at < timezone.now() - timedelta(days=28)


def test_a_form_that_is_no_longer_needed_or_in_takes_no_sheet(cast: Cast, patient_form: Assignment) -> None:
    factories.give(patient_form, answers=5)
    assert "received" in enter(cast, patient_form).content.decode()
    assert Response.objects.get().answers["1"] == 5
    other = factories.form_of(factories.hold_session(cast.colleague_therapy), "patient")
    Assignment.objects.filter(pk=other.pk).update(state="withdrawn")
    assert "no longer needed" in enter(cast, other).content.decode()
    sheet = Sheet(other.instrument, timezone.localdate(other.opens_at), {1: 5})
    with pytest.raises(FormClosed):
        paper_enter(assignment=other, sheet=sheet, actor=cast.clinic_admin)


def test_the_sheet_replaces_what_was_begun_on_a_screen(cast: Cast, patient_form: Assignment) -> None:
    opening = factories.open_form(patient_form)
    drafts_save(opening=opening, answers={1: 2, 2: 2})
    page = signed_in(cast.clinic_admin).get(address(patient_form)).content.decode()
    assert "has answered 2 items of this form on a screen" in page
    assert 'value="2"' not in page.split("<tbody>")[1]
    enter(cast, patient_form, item_2="")
    assert Response.objects.get().answers["2"] == -99


def test_without_a_policy_that_shows_anything_nobody_asks_what_may_be_seen(
    cast: Cast, patient_form: Assignment
) -> None:
    factories.set_visibility(cast.study, "blind")
    assert 'name="sharing"' not in signed_in(cast.clinic_admin).get(address(patient_form)).content.decode()
    assert enter(cast, patient_form).status_code == 303
    assert Response.objects.get().sharing == "none"


def test_consent_on_paper_is_kept_with_who_typed_it_in(cast: Cast, patient_form: Assignment) -> None:
    text = asks_consent(cast, patient_form)
    sheet = signed_in(cast.therapist).get(address(patient_form, entry=False)).content.decode()
    assert "I take part." in sheet and "Who collects what." in sheet
    assert enter(cast, patient_form).status_code == 422
    assert not Consent.objects.exists()
    assert enter(cast, patient_form, agreed="yes").status_code == 303
    consent = Consent.objects.get()
    assert (consent.text, consent.agreed, consent.channel) == (text, True, "paper")
    assert consent.recorded_by == cast.clinic_admin
    assert Response.objects.count() == 1


def test_who_does_not_agree_to_research_alone_is_not_stored(cast: Cast, patient_form: Assignment) -> None:
    asks_consent(cast, patient_form, visibility="blind")
    assert enter(cast, patient_form, agreed="no").status_code == 303
    assert Consent.objects.get().agreed is False
    assert not Response.objects.exists()
    assert "no longer needed" in signed_in(cast.clinic_admin).get(address(patient_form)).content.decode()


def test_the_dataset_says_that_a_form_came_on_paper(cast: Cast, patient_form: Assignment) -> None:
    enter(cast, patient_form)
    [row] = dataset(cast.study)
    assert (row["channel"], row["device"], row["minutes"]) == ("paper", "paper", None)
    codebook = signed_in(cast.researcher).get(f"/studies/{cast.study.pk}/codebook/").content.decode()
    assert "typed in by the clinic" in codebook


def test_a_paper_response_names_who_typed_it_in(patient_form: Assignment) -> None:
    factories.give(patient_form)
    row = Response.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Response.objects.filter(pk=row.pk).update(channel="paper")


def test_the_opening_of_a_sheet_is_no_way_to_the_form(cast: Cast, patient_form: Assignment) -> None:
    form = Assignment.objects.get(pk=patient_form.pk)
    enter(cast, form)
    assert Opening.objects.get().channel == "paper"
    assert Client().get(f"/f/{form.pk}/").status_code == 404
