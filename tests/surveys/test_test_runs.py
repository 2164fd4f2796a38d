"""A test run shows what a study will be, counts nowhere, and leaves nothing behind."""

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from analytics.models import GrowthFit
from analytics.services.refit import study_refit
from surveys.models import (
    Assignment,
    AuditEvent,
    Consent,
    Patient,
    Response,
    Score,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
)
from surveys.services.studies import (
    LineSpec,
    StudyRefused,
    plan_set,
    study_create,
    text_set,
    visibility_set,
)
from surveys.services.testruns import test_run_begin as begin
from surveys.services.testruns import test_run_clear as clear
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

MODELS = (Study, StudyVersion, Patient, Therapist, Therapy, Session, Assignment, Response, Score, Consent)


def n_rows() -> list[int]:
    return [model.objects.count() for model in MODELS]


@pytest.fixture
def version(cast: Cast) -> StudyVersion:
    row = study_create(clinic=cast.clinic, code="R27", name="Routine care 2027")
    form = factories.instrument("wai-s", "patient")
    plan_set(version=row, instruments=[form], lines=[LineSpec(sessions=(3, 12))])
    visibility_set(version=row, visibility="blind")
    text_set(version=row, language="en", information="What is collected.", declaration="I agree.")
    return StudyVersion.objects.get(pk=row.pk)


@pytest.fixture
def admin(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


def test_a_draft_is_tried_out_by_link_and_stored_row_and_cleared_without_a_rest(
    cast: Cast, version: StudyVersion, admin: Client
) -> None:
    before = n_rows()
    address = admin.post(f"/clinic/studies/{version.study_id}/test/", {"which": "draft"})["Location"]
    test = Study.objects.get(test_of=version.study)
    assert (address, test.code) == (f"/clinic/tests/{test.pk}/", "R27-test")
    form = Assignment.objects.get(study=test)
    assert (form.session.number, form.rater) == (3, "patient")
    page = admin.post(f"{address}link/").content.decode()
    link = page.split('href="http://testserver/r/')[1].split('"')[0]
    assert "data:image/svg" in page
    assert Client().get(f"/r/{link}").status_code == 200
    factories.give(form, 6)
    Consent.objects.create(
        patient=form.session.therapy.patient,
        text=form.version.texts.get(),
        agreed=True,
        at=form.opens_at,
        channel="link",
    )
    page = admin.get(address).content.decode()
    assert "12 of 12 answered" in page
    assert admin.post(f"{address}clear/")["Location"] == f"/clinic/studies/{version.study_id}/"
    assert n_rows() == before
    assert AuditEvent.objects.filter(act="test.clear", actor=cast.clinic_admin).exists()


def test_nothing_of_a_test_run_is_in_any_list_count_download_or_model(
    cast: Cast, version: StudyVersion, admin: Client
) -> None:
    paths = {
        cast.clinic_admin: ["/clinic/", "/clinic/patients/", "/clinic/staff/", "/clinic/studies/"],
        cast.researcher: ["/studies/", "/api/v1/studies/"],
        cast.supervisor: ["/supervision/"],
        cast.therapist: ["/caseload/", "/api/v1/therapies/"],
    }

    def pages() -> dict[str, str]:
        found = {}
        for user, own in paths.items():
            client = signed_in(user)
            for path in own:
                page = client.get(path).content.decode()
                found[path] = "".join(line for line in page.splitlines() if "csrfmiddlewaretoken" not in line)
        return found

    before = pages()
    test = begin(version=version)
    therapy = Therapy.objects.get(study=test)
    factories.give(Assignment.objects.get(study=test), 6)
    assert pages() == before
    researcher = signed_in(cast.researcher)
    for path in (f"/studies/{test.pk}/data/", f"/api/v1/studies/{test.pk}/snapshots/"):
        assert researcher.get(path).status_code == 404
    for path in (f"patients/{therapy.patient.pk}/", f"therapies/{therapy.pk}/", f"studies/{test.pk}/"):
        assert admin.get(f"/clinic/{path}").status_code == 404
    study_refit(str(test.pk))()
    assert not GrowthFit.objects.filter(study=test).exists()


def test_beginning_anew_replaces_the_test_run(cast: Cast, version: StudyVersion) -> None:
    first = begin(version=version)
    before = n_rows()
    second = begin(version=version)
    assert list(version.study.test_runs.all()) == [second]
    assert first.pk != second.pk
    assert n_rows() == before


@pytest.mark.parametrize("lack", ["visibility", "forms"])
def test_a_draft_that_asks_for_nothing_yet_cannot_be_tried_out(
    cast: Cast, version: StudyVersion, lack: str
) -> None:
    if lack == "forms":
        version.lines.all().delete()
    else:
        version.visibility = ""
        version.save()
    with pytest.raises(StudyRefused):
        begin(version=version)
    assert not version.study.test_runs.exists()


def test_only_test_runs_can_be_cleared_and_no_study_becomes_one(cast: Cast, version: StudyVersion) -> None:
    with pytest.raises(ValueError, match="Only a test run"):
        clear(test=cast.study)
    for change in (
        lambda: Study.objects.filter(pk=cast.study.pk).update(test_of=version.study),
        lambda: cast.study.current.delete(),
        lambda: cast.study.current.lines.all().delete(),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
    test = begin(version=version)
    with pytest.raises(IntegrityError), transaction.atomic():
        test.versions.update(visibility="feedback")
    with pytest.raises(IntegrityError), transaction.atomic():
        test.versions.get().lines.update(window_hours=1)


def test_another_clinic_s_test_run_does_not_exist(cast: Cast, version: StudyVersion) -> None:
    test = begin(version=version)
    other = factories.make_user("admin@hill.example", "clinic_admin", clinic=cast.stranger_study.clinic)
    client = signed_in(other)
    assert client.get(f"/clinic/tests/{test.pk}/").status_code == 404
    for act in ("link", "clear"):
        assert client.post(f"/clinic/tests/{test.pk}/{act}/").status_code == 404
    assert client.post(f"/clinic/studies/{version.study_id}/test/").status_code == 404


def test_a_study_in_use_is_no_test_run_to_read_or_to_clear(cast: Cast, admin: Client) -> None:
    factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"))
    address = f"/clinic/tests/{cast.study.pk}/"
    answers = [admin.get(address), admin.post(f"{address}link/"), admin.post(f"{address}clear/")]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert Response.objects.filter(assignment__study=cast.study).exists()


def test_what_was_sent_in_another_test_run_is_not_shown(
    cast: Cast, version: StudyVersion, admin: Client
) -> None:
    tests = [begin(version=version), begin(version=cast.study.current)]
    factories.give(Assignment.objects.filter(study=tests[0], rater="patient").first(), 6)
    pages = [admin.get(f"/clinic/tests/{test.pk}/").content.decode() for test in tests]
    assert ["12 of 12 answered" in page for page in pages] == [True, False]
