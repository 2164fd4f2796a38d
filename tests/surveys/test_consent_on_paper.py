"""A declaration that a patient signed on paper, entered by an administrator."""

from datetime import datetime, time, timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, Consent, ConsentText, Therapy
from surveys.parts import owed_consent
from surveys.services.consent import consent_give
from surveys.services.invitations import link_issue
from surveys.services.studies import draft_begin, text_set
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def text(cast: Cast, patient_form: Assignment) -> ConsentText:
    text = factories.ask_consent(cast.study)
    patient_form.refresh_from_db()
    return text


def address(cast: Cast) -> str:
    return reverse("consent-enter", args=[cast.therapy.patient.pk, cast.study.pk])


def day(n_ago: int) -> str:
    return (timezone.localdate() - timedelta(days=n_ago)).isoformat()


def enter(cast: Cast, agreed: str = "yes", signed_on: str = "") -> HttpResponse:
    fields = {"agreed": agreed, "signed_on": signed_on or day(3)}
    return signed_in(cast.clinic_admin).post(address(cast), fields, follow=True)


def test_a_paper_is_kept_with_its_day_and_who_typed_it_in_and_the_patient_is_not_asked(
    cast: Cast, text: ConsentText, patient_form: Assignment
) -> None:
    admin = signed_in(cast.clinic_admin)
    patient_page = reverse("people-patient", args=[cast.therapy.patient.pk])
    assert address(cast) in admin.get(patient_page).content.decode()
    shown = admin.get(address(cast)).content.decode()
    assert text.declaration in shown and text.information in shown
    assert "checked" not in shown
    page = enter(cast).content.decode()
    assert "It is entered. The patient is not asked for it again." in page
    assert "on paper, typed in on" in page and cast.clinic_admin.email in page
    consent = Consent.objects.get()
    assert (consent.agreed, consent.channel, consent.recorded_by) == (True, "paper", cast.clinic_admin)
    assert timezone.localtime(consent.at).isoformat()[:16] == f"{day(3)}T12:00"
    assert AuditEvent.objects.get(act="consent.give").actor == cast.clinic_admin
    assert owed_consent(patient_form, ["en"]) is None
    link = reverse("link", args=[link_issue(assignment=patient_form, via="paper")])
    assert 'name="consent"' not in Client().get(link).content.decode()


@pytest.mark.parametrize(
    ("agreed", "signed_on", "sentence"),
    [
        ("", day(1), "Choose what is ticked under the declaration of consent."),
        ("perhaps", day(1), "Choose what is ticked under the declaration of consent."),
        ("yes", "yesterday", "Enter the day like this"),
        ("yes", day(-1), "This day is still to come."),
    ],
)
def test_what_no_paper_says_is_refused_in_a_sentence(
    cast: Cast, text: ConsentText, agreed: str, signed_on: str, sentence: str
) -> None:
    answer = enter(cast, agreed, signed_on)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Consent.objects.exists()


def test_the_words_are_those_of_the_paper_s_language(cast: Cast, patient_form: Assignment) -> None:
    draft = draft_begin(study=cast.study)
    for language, declaration in (("en", "I take part."), ("de", "Ich nehme teil.")):
        text_set(version=draft, language=language, information="Who asks.", declaration=declaration)
    factories.activate(draft)
    admin = signed_in(cast.clinic_admin)
    assert "I take part." in admin.get(address(cast)).content.decode()
    assert "Ich nehme teil." in admin.get(f"{address(cast)}?language=de").content.decode()
    admin.post(address(cast), {"language": "de", "agreed": "yes", "signed_on": day(1)})
    assert Consent.objects.get().text.language == "de"


def test_a_no_leaves_the_therapy_out_of_the_research(cast: Cast, text: ConsentText) -> None:
    enter(cast, "no")
    assert Therapy.objects.get(pk=cast.therapy.pk).excluded_at is not None


def test_a_paper_from_before_the_patient_s_own_answer_changes_nothing(cast: Cast, text: ConsentText) -> None:
    consent_give(patient=cast.therapy.patient, text=text, agreed=False)
    page = enter(cast, "yes").content.decode()
    assert "the patient gave a later answer, and that one counts" in page
    assert Consent.objects.count() == 2
    assert Therapy.objects.get(pk=cast.therapy.pk).excluded_at is not None


def test_the_same_answer_again_is_the_first_one(cast: Cast, text: ConsentText) -> None:
    consent_give(patient=cast.therapy.patient, text=text, agreed=True)
    assert "Nothing has changed" in enter(cast, "yes").content.decode()
    assert Consent.objects.get().channel == "link"


def test_a_paper_of_today_is_not_from_the_future(cast: Cast, text: ConsentText) -> None:
    enter(cast, signed_on=day(0))
    noon = timezone.make_aware(datetime.combine(timezone.localdate(), time(12)))
    assert Consent.objects.get().at <= max(noon, timezone.now())
    assert Consent.objects.get().at <= timezone.now()


def test_there_is_nothing_to_enter_without_a_declaration_or_after_a_withdrawal(
    cast: Cast, patient_form: Assignment
) -> None:
    patient_page = reverse("people-patient", args=[cast.therapy.patient.pk])
    admin = signed_in(cast.clinic_admin)
    assert address(cast) not in admin.get(patient_page).content.decode()
    assert admin.get(address(cast))["Location"] == patient_page
    factories.ask_consent(cast.study)
    withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="exclude")
    assert address(cast) not in admin.get(patient_page).content.decode()
    enter(cast)
    assert not Consent.objects.exists()


def test_nothing_is_entered_for_a_patient_or_study_of_another_clinic(cast: Cast, text: ConsentText) -> None:
    client = signed_in(cast.clinic_admin)
    factories.ask_consent(cast.stranger_study)
    for patient, study in (
        (cast.stranger_therapy.patient, cast.stranger_study),
        (cast.therapy.patient, cast.stranger_study),
    ):
        url = reverse("consent-enter", args=[patient.pk, study.pk])
        assert client.post(url, {"agreed": "yes", "signed_on": day(1)}).status_code == 404
    assert not Consent.objects.exists()
