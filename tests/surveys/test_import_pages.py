"""The administrator's pages about old ratings: what they take, show and refuse, and whose they are."""

from collections.abc import Sequence
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

import surveys.tasks  # noqa: F401  registers the jobs
from surveys import jobs
from surveys.models import AuditEvent, ImportBatch, ImportMapping, Job, Role
from surveys.uploads import upload_leave
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_import_store import form, stored, table

ACTS = ("check", "store", "find", "drop", "undo", "cancel")


@pytest.fixture
def admin(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


def send(client: Client, cast: Cast, content: bytes, leave: str | None = None, **more: str) -> HttpResponse:
    file = SimpleUploadedFile("../../etc/old.exe", content, "application/x-msdownload")
    address = f"/clinic/studies/{cast.study.pk}/import/"
    leave = upload_leave(cast.clinic_admin) if leave is None else leave
    return client.post(f"{address}?leave={leave}", {"file": file, **({"whole": "1"} | more)})


def mapped(client: Client, batch: ImportBatch, **changes: object) -> HttpResponse:
    """Sends the page of the columns as it stands, with these changes."""
    form = client.get(f"/clinic/imports/{batch.pk}/columns/").context["form"]
    values = {name: form[name].value() or "" for name in form.fields}
    return client.post(f"/clinic/imports/{batch.pk}/columns/", values | changes)


def brought(client: Client, cast: Cast, rows: Sequence[Sequence[object]]) -> ImportBatch:
    """Uploaded, mapped as guessed and checked, by pages alone."""
    assert send(client, cast, table(*rows)).status_code == 302
    batch = ImportBatch.objects.latest("uploaded_at")
    assert mapped(client, batch).status_code == 302
    client.post(f"/clinic/imports/{batch.pk}/check/")
    jobs.run_due(is_long=True)
    batch.refresh_from_db()
    return batch


def test_from_the_file_to_what_is_stored_by_pages_alone(admin: Client, cast: Cast) -> None:
    batch = brought(admin, cast, [form(), form(rater="T"), form(rater="aunt")])
    page = admin.get(f"/clinic/imports/{batch.pk}/").content.decode()
    assert "3 rows with 3 forms: 2 accepted + 0 there already + 1 rejected." in page
    assert "“aunt” is neither among the words" in page
    assert admin.post(f"/clinic/imports/{batch.pk}/store/", {"consent": " "}).status_code == 422
    admin.post(f"/clinic/imports/{batch.pk}/store/", {"consent": "Signed in 2015."})
    jobs.run_due(is_long=True)
    batch.refresh_from_db()
    assert (batch.state, batch.stored_by, batch.consent) == ("stored", cast.clinic_admin, "Signed in 2015.")
    acts = AuditEvent.objects.filter(subject=f"importbatch:{batch.pk}", fields="").order_by("id")
    expected = ["import.upload", "import.map", "import.check", "import.ask", "import.store"]
    assert list(acts.values_list("act", flat=True)) == expected
    assert "aunt" not in str([event.detail for event in acts])


def test_a_file_that_was_cut_off_is_not_taken_for_a_shorter_one(admin: Client, cast: Cast) -> None:
    address = f"/clinic/studies/{cast.study.pk}/import/?leave={upload_leave(cast.clinic_admin)}"
    answer = admin.post(address, {"file": SimpleUploadedFile("old.csv", table(form()))})
    assert answer.status_code == 422 and "cut off on the way" in answer.content.decode()
    assert not ImportBatch.objects.exists()


@pytest.mark.parametrize("leave", ["", "made-up"])
def test_nobody_sends_a_large_file_without_leave(admin: Client, cast: Cast, leave: str) -> None:
    large = table(form()) + b"\n" * 300_000
    assert send(admin, cast, large, leave=leave).status_code == 413
    assert send(Client(), cast, large, leave=leave).status_code == 413
    assert send(admin, cast, large).status_code == 302


def test_a_file_of_more_than_the_most_is_refused_and_nothing_is_kept(
    admin: Client, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surveys.services.imports.MAX_FILE", 100)
    answer = send(admin, cast, table(form(), form(rater="T")))
    assert answer.status_code == 422 and "Split it" in answer.content.decode()
    assert not ImportBatch.objects.exists()


def test_a_study_that_is_not_active_takes_no_ratings(admin: Client, cast: Cast) -> None:
    draft = factories.Study.objects.create(clinic=cast.clinic, code="DRAFT", name="Not yet")
    file = SimpleUploadedFile("old.csv", table(form()))
    answer = admin.post(f"/clinic/studies/{draft.pk}/import/", {"file": file, "whole": "1"})
    assert answer.status_code == 422 and "not active yet" in answer.content.decode()


def test_a_mapping_that_does_not_fit_keeps_what_was_typed(admin: Client, cast: Cast) -> None:
    send(admin, cast, table(form()))
    answer = mapped(admin, ImportBatch.objects.get(), pattern="wai_1, lost", patient="")
    page = answer.content.decode()
    assert answer.status_code == 422 and "no column of this name: lost" in page
    assert "who the patient is" in page and "wai_1, lost" in page
    assert ImportBatch.objects.get().mapping == {}


def test_a_number_in_other_signs_is_none_and_breaks_no_page(admin: Client, cast: Cast) -> None:
    send(admin, cast, table(form(day="1/²/2015")))
    address = f"/clinic/imports/{ImportBatch.objects.get().pk}/columns/"
    for kept in ("²", "1" * 40, "x"):
        assert admin.get(address, {"kept": kept}).status_code == 200, kept


def test_a_mapping_that_was_kept_is_offered_for_the_same_columns_alone(admin: Client, cast: Cast) -> None:
    send(admin, cast, table(form()))
    first = ImportBatch.objects.get()
    assert mapped(admin, first, save_as="Old study", missing="-99, 8=-98").status_code == 302
    assert ImportMapping.objects.get().clinic == cast.clinic
    send(admin, cast, table(form(), form(rater="T")))
    page = admin.get(f"/clinic/imports/{ImportBatch.objects.latest('uploaded_at').pk}/columns/")
    assert page.context["form"]["missing"].value() == "-99, 8=-98"
    assert [row.name for row in page.context["kept"]] == ["Old study"]
    head = ["patient", "therapist", "session", "date", "who", *(f"wai_{item}" for item in range(1, 13))]
    send(admin, cast, table(form(), head=head))
    page = admin.get(f"/clinic/imports/{ImportBatch.objects.latest('uploaded_at').pk}/columns/")
    assert not page.context["kept"]


def test_a_code_of_the_file_leads_to_the_patient_here(admin: Client, cast: Cast) -> None:
    batch = stored(cast, table(form(patient="K-17"), form(patient="K-18")))
    answer = admin.post(f"/clinic/imports/{batch.pk}/find/", {"code": " K-17 "})
    person = next(row for row in batch.people.exclude(patient=None) if row.code == "K-17")
    assert answer.url == f"/clinic/patients/{person.patient_id}/"
    assert admin.get(answer.url).status_code == 200
    assert admin.post(f"/clinic/imports/{batch.pk}/find/", {"code": "K-19"}).url.endswith(f"{batch.pk}/")


def test_what_waits_is_cancelled_and_what_runs_bars_the_rest(admin: Client, cast: Cast) -> None:
    send(admin, cast, table(form()))
    batch = ImportBatch.objects.get()
    mapped(admin, batch)
    admin.post(f"/clinic/imports/{batch.pk}/check/")
    assert (
        "Something is being done"
        in admin.post(f"/clinic/imports/{batch.pk}/drop/", follow=True).content.decode()
    )
    admin.post(f"/clinic/imports/{batch.pk}/cancel/")
    assert Job.objects.get(kind="import_check").state == "cancelled"
    admin.post(f"/clinic/imports/{batch.pk}/drop/")
    batch.refresh_from_db()
    assert (batch.state, batch.head) == ("dropped", "") and not batch.chunks.exists()
    assert admin.get("/clinic/imports/").status_code == 200


def test_an_import_of_another_clinic_does_not_exist(admin: Client, cast: Cast) -> None:
    batch = stored(cast, table(form()))
    other = factories.make_user("other@example.org", Role.CLINIC_ADMIN, clinic=cast.stranger_study.clinic)
    client = signed_in(other)
    for path in ("", "columns/", "rejected/"):
        assert client.get(f"/clinic/imports/{batch.pk}/{path}").status_code == 404
    for act in ACTS:
        assert client.post(f"/clinic/imports/{batch.pk}/{act}/", {"consent": "x"}).status_code == 404
        assert admin.post(f"/clinic/imports/{uuid4()}/{act}/").status_code == 404
    assert client.get(f"/clinic/studies/{cast.study.pk}/import/").status_code == 404
    assert batch.file_name not in client.get("/clinic/imports/").content.decode()


def test_no_therapist_and_no_supervisor_is_shown_what_patients_were_never_asked_to_share(cast: Cast) -> None:
    batch = stored(cast, table(form(), form(rater="T")))
    therapy = batch.therapies.get()
    # As if the operator had given the old therapist an account of today.
    therapist = therapy.therapist
    therapist.user = factories.make_user("back@example.org", Role.THERAPIST, clinic=cast.clinic)
    therapist.save(update_fields=["user"])
    answer = signed_in(therapist.user).get(f"/api/v1/therapies/{therapy.pk}/trend/")
    assert {row["perspective"] for row in answer.json()["ratings"]} == {"therapist"}
