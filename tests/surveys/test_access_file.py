"""A patient asks what is kept about them: one file, whole, for who made sure that it is them."""

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  says which frozen data hold somebody
from analytics.models import Snapshot
from surveys.access_file import INCLUDED, LEFT_OUT, access_content
from surveys.models import (
    AuditEvent,
    ImportBatch,
    ImportedPerson,
    Message,
    Patient,
)
from surveys.services.access_files import access_file_make
from surveys.services.consent import consent_give
from surveys.services.invitations import link_issue
from surveys.services.responses import drafts_save
from surveys.services.withdrawals import withdrawal_enter
from surveys.trace_access import reading_days
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

# Rows about a patient that no foreign key joins to them.
BY_ID = {"surveys.AuditEvent"}


def about_patients() -> set[str]:
    """Every model from which foreign keys lead to a patient, in any number of steps."""
    found: set[type[models.Model]] = {Patient}
    ours = [model for name in ("surveys", "analytics") for model in apps.get_app_config(name).get_models()]
    while True:
        new = {
            model
            for model in ours
            for field in model._meta.local_fields
            if field.is_relation and field.related_model in found and model not in found
        }
        if not new:
            return {model._meta.label for model in found} | BY_ID
        found |= new


def test_every_model_about_patients_is_in_the_file_or_says_why_not() -> None:
    assert about_patients() == set(INCLUDED) | set(LEFT_OUT)
    assert set(INCLUDED) & set(LEFT_OUT) == set()


@pytest.fixture
def known(cast: Cast) -> Patient:
    """Somebody about whom there is a row of every kind."""
    now, patient = timezone.now(), cast.therapy.patient
    text = factories.ask_consent(cast.study, declaration="I let you use it.", information="We collect it.")
    consent_give(patient=patient, text=text, agreed=True)
    first, second = (factories.hold_session(cast.therapy, now - timedelta(hours=n)) for n in (20, 2))
    answered = factories.form_of(first, "patient")
    link_issue(assignment=answered)
    factories.give(answered, {1: 7, 2: -98, 3: 4}, sharing="answers")
    factories.give(factories.form_of(first, "therapist"), 3, user=cast.therapist)
    begun = factories.form_of(second, "patient")
    drafts_save(opening=factories.open_form(begun), answers={1: 2})
    Message.objects.create(assignment=begun, kind="reminder", number=1, due_at=now, state="sent", sent_at=now)
    Patient.objects.filter(pk=patient.pk).update(contact="me@example.org", contact_at=now)
    batch = ImportBatch.objects.create(
        clinic=cast.clinic, study=cast.study, file_name="old.csv", sha256="0" * 64, n_bytes=1, kind="csv"
    )
    ImportedPerson.objects.create(batch=batch, patient=patient, code="P-0815")
    Snapshot.objects.create(
        study=cast.study, number=3, asked_at=now, read_at=now, sha256="0" * 64, patients=[patient.pk]
    )
    return Patient.objects.select_related("clinic").get(pk=patient.pk)


def files(content: bytes) -> tuple[dict[str, Any], str]:
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        assert set(whole.namelist()) == {"data.json", "data.html"}
        return json.loads(whole.read("data.json")), whole.read("data.html").decode()


def test_the_file_holds_what_is_kept_in_both_forms(cast: Cast, known: Patient) -> None:
    withdrawal_enter(patient=known, study=cast.study, choice="stop")
    data, page = files(access_file_make(patient=known, asked="in_person", actor=cast.clinic_admin))
    assert data["patient"].pop("email_entered_at")[:19] == f"{known.contact_at:%Y-%m-%dT%H:%M:%S}"
    assert data["patient"] == {
        "code": known.code,
        "language": "en",
        "email": "me@example.org",
        "code_in_imported_file": "P-0815",
    }
    assert [row["declaration"] for row in data["consents"]] == ["I let you use it."]
    assert [row["choice"] for row in data["withdrawals"]] == ["Ask me no more; what I gave may be used"]
    (therapy,) = data["therapies"]
    forms = [form for session in therapy["sessions"] for form in session["forms"]]
    response = forms[0]["received"]
    wording = {item.number: item.text for item in factories.instrument("wai-s", "patient").form.items}
    assert [(row["item"], row["value"]) for row in response["answers"][:3]] == [(1, 7), (2, None), (3, 4)]
    assert {row["item"]: row["text"] for row in response["answers"]} == wording
    assert response["answers"][1]["answer"] == "Prefer not to answer"
    assert {row["scale"] for row in response["scores"]} and response["therapist_may_see"]
    assert forms[0]["links"] and forms[1]["messages"][0]["kind"] == "Reminder"
    assert [row["number"] for row in therapy["sessions"]] == [1, 2]
    assert "snapshot 3" in data["frozen"][0]
    for text in (known.code, "me@example.org", "P-0815", "I let you use it.", wording[3], "snapshot 3"):
        assert text in page, text
    for words in data["left_out"]:
        assert words in page or words.replace("’", "&#x27;") in page


def test_a_draft_is_in_the_file_while_it_is_open(cast: Cast, known: Patient) -> None:
    content = access_content(known, timezone.now())
    sessions = [session for row in content["therapies"] for session in row["sessions"]]
    begun = [form["begun"] for session in sessions for form in session["forms"]]
    assert [(row["item"], row["value"]) for rows in begun for row in rows] == [(1, 2)]


def test_nothing_of_others_nor_the_therapist_s_own_ratings_is_in_it(cast: Cast, known: Patient) -> None:
    other = factories.hold_session(cast.colleague_therapy)
    factories.give(factories.form_of(other, "patient"), 1)
    data, page = files(access_file_make(patient=known, asked="in_writing", actor=cast.clinic_admin))
    assert len(data["therapies"]) == 1
    forms = [form for session in data["therapies"][0]["sessions"] for form in session["forms"]]
    assert len(forms) == 2
    assert cast.colleague_therapy.code not in page
    assert "own ratings of the therapy" in page


def test_it_speaks_the_patient_s_language(cast: Cast, known: Patient) -> None:
    Patient.objects.filter(pk=cast.colleague_therapy.patient_id).update(language="ar")
    arabic = Patient.objects.select_related("clinic").get(pk=cast.colleague_therapy.patient_id)
    _, page = files(access_file_make(patient=arabic, asked="in_person", actor=cast.clinic_admin))
    assert '<html lang="ar" dir="rtl">' in page


def n_queries(patient: Patient) -> int:
    with CaptureQueriesContext(connection) as made:
        access_content(patient, timezone.now())
    return len(made)


def test_the_number_of_queries_does_not_grow_with_what_there_is(cast: Cast, known: Patient) -> None:
    before = n_queries(known)
    third = factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=50))
    factories.give(factories.form_of(third, "patient"), 4)
    assert n_queries(Patient.objects.select_related("clinic").get(pk=known.pk)) == before


def ask(client: Client, patient: Patient, **fields: str) -> Any:
    return client.post(reverse("people-access-file", args=[patient.pk]), fields)


SURE = {"asked": "in_person", "is_checked": "on"}


def test_an_administrator_gets_it_after_the_check_and_the_password(cast: Cast, known: Patient) -> None:
    refused = ask(signed_in(cast.clinic_admin, is_confirmed=False), known, **SURE)
    assert refused.status_code == 401 and "Nothing was done yet" in refused.content.decode()
    client = signed_in(cast.clinic_admin)
    unchecked = ask(client, known, asked="in_person")
    assert unchecked.status_code == 422 and "Check first who asks" in unchecked.content.decode()
    page = client.get(ask(client, known, **SURE)["Location"]).content.decode()
    address = page.split('button-primary" href="')[1].split('"')[0].replace("&amp;", "&")
    assert client.head(address).status_code == 200
    assert not AuditEvent.objects.filter(act="patient.access-file").exists()
    answer = client.get(address)
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("application/zip", "no-store")
    assert files(answer.content)[0]["patient"]["code"] == known.code
    event = AuditEvent.objects.get(act="patient.access-file")
    assert (event.actor, event.patient, event.fields) == (cast.clinic_admin, known.pk, "ratings")
    assert event.detail == {"asked": "in_person", "identity_checked": True}
    assert [role for role, _ in reading_days(known)] == ["clinic_admin"]


def test_the_link_is_for_one_patient_one_person_and_ten_minutes(
    cast: Cast, known: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(cast.clinic_admin)
    ticket = ask(client, known, **SURE)["Location"].split("ticket=")[1]
    other = cast.colleague_therapy.patient
    for patient in (known, other):
        wrong = client.get(reverse("people-access-file-zip", args=[patient.pk]) + "?ticket=made-up")
        assert wrong.status_code == 302
    elsewhere = reverse("people-access-file-zip", args=[other.pk]) + f"?ticket={ticket}"
    assert client.get(elsewhere).status_code == 302
    address = reverse("people-access-file-zip", args=[known.pk]) + f"?ticket={ticket}"
    monkeypatch.setattr("surveys.views.access_file.GOOD_FOR", -1)
    assert client.get(address).status_code == 302
    assert not AuditEvent.objects.filter(act="patient.access-file").exists()


def test_a_patient_of_another_clinic_does_not_exist(cast: Cast) -> None:
    stranger = cast.stranger_therapy.patient
    for name in ("people-access-file", "people-access-file-zip"):
        assert signed_in(cast.clinic_admin).get(reverse(name, args=[stranger.pk])).status_code == 404
