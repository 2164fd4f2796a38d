"""Questions locked beforehand, tables published for good, and the stone that a withdrawn one leaves."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, InternalError, connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils.formats import date_format

import analytics.tasks  # noqa: F401  registers the jobs
from analytics.access import usable_snapshot
from analytics.models import Analysis, AnalysisLock, PublishedTable, Snapshot, StoredFile
from analytics.research.spec import AnalysisSpec, Predictor
from analytics.services import publishing
from analytics.services.analyses import analysis_answer, analysis_ask
from analytics.services.locks import lock_make, lock_sha256
from analytics.services.publishing import content_sha256
from surveys.models import AuditEvent, Patient, Role, Study, User
from surveys.progress import silent
from tests import factories
from tests.analytics.clinics import follow, frozen, rated_clinic
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db
SPEC = AnalysisSpec(
    instruments={"patient": "wai-s", "therapist": "wai-s"},
    time={"name": "linear", "origin": 1.0, "unit": 1.0},
    therapist="intercept",
    therapy="intercept",
)


@pytest.fixture
def study() -> Study:
    return rated_clinic(n_therapists=6, n_therapies=3)[0]


@pytest.fixture
def researcher(study: Study) -> User:
    return factories.make_user("researcher@example.org", Role.RESEARCHER, clinic=study.clinic)


def answered(study: Study, snapshot: Snapshot | None = None, spec: AnalysisSpec = SPEC) -> Analysis:
    analysis = analysis_ask(study=study, spec=spec, title="The course", snapshot=snapshot, actor=None)
    analysis_answer(str(analysis.pk), silent)()
    analysis.refresh_from_db()
    assert analysis.status == "answered", analysis.message
    return analysis


def publish(client: Client, analysis: Analysis, code: str = "course", title: str = "The course") -> Any:
    return client.post(reverse("desk-publish", args=[analysis.pk]), {"code": code, "title": title})


def test_a_published_table_has_a_link_for_everybody_and_says_what_it_rests_on(
    study: Study, researcher: User
) -> None:
    analysis = answered(study)
    answer = publish(signed_in(researcher), analysis)
    assert answer.status_code == 302 and answer["Location"] == "/tables/course/v1/"
    page = Client().get("/tables/course/v1/").content.decode()
    row = PublishedTable.objects.get()
    assert row.sha256 == content_sha256(row.content) and row.sha256 in page
    assert "6 therapists are few" in page, "what limits the numbers goes with them"
    assert analysis.snapshot.sha256 in page and "not locked beforehand" in page
    fixed = analysis.result["models"][0]["result"]["fixed"][0]
    values = {cell["value"] for cell in row.content["cells"]}
    assert fixed["estimate"] in values
    for cell in row.content["cells"]:
        assert cell["name"] in page and str(cell["value"]) in page
    assert Client().get("/tables/course/")["Location"] == "/tables/course/v1/"
    assert AuditEvent.objects.filter(act="table.publish", actor=researcher).exists()


def test_every_cell_leads_to_its_number_in_the_result(study: Study, researcher: User) -> None:
    analysis = answered(study)
    publish(signed_in(researcher), analysis)
    models = {model["key"]: model["result"] for model in analysis.result["models"]}
    cells = PublishedTable.objects.get().content["cells"]
    assert len(cells) >= 8
    for cell in cells:
        part, term, name = cell["path"]
        found = models[cell["model"]][part]
        rows = {row.get("term") or f"{row['predictor']}:{row['effect']}": row for row in found}
        assert rows[term][name] == cell["value"]


def test_a_newer_version_is_added_and_the_older_one_stays(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    first = answered(study)
    publish(client, first)
    assert publish(client, first).status_code == 422, "the same analysis at the same address"
    publish(client, answered(study, first.snapshot), title="The course, again")
    assert Client().get("/tables/course/")["Location"] == "/tables/course/v2/"
    page = Client().get("/tables/course/v1/").content.decode()
    assert "Version 2" in page and Client().get("/tables/course/v3/").status_code == 404
    assert Client().get("/tables/other/").status_code == 404


def test_a_withdrawn_table_leaves_its_stone_and_no_number(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    publish(client, answered(study))
    row = PublishedTable.objects.get()
    url = reverse("desk-table-withdraw", args=[row.pk])
    assert client.post(url, {"reason": ""}).status_code == 422
    assert client.post(url, {"reason": "The time was coded wrongly."}).status_code == 302
    answer = Client().get("/tables/course/v1/")
    page = answer.content.decode()
    assert answer.status_code == 410
    assert "The time was coded wrongly." in page and "withdrawn" in page and row.sha256 in page
    assert not any(str(cell["value"]) in page for cell in row.content["cells"])
    client.post(url, {"reason": "Another reason."})
    row.refresh_from_db()
    assert row.reason == "The time was coded wrongly.", "once and for all"
    assert AuditEvent.objects.filter(act="table.withdraw").count() == 1


def test_a_table_of_few_people_is_not_published(
    study: Study, researcher: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MIN_PATIENTS", 19)
    answer = publish(signed_in(researcher), answered(study))
    assert answer.status_code == 422 and "more than half of the patients" in answer.content.decode()
    assert not PublishedTable.objects.exists()


@pytest.mark.slow
@pytest.mark.judge
def test_a_table_with_an_effect_of_one_patient_or_one_therapist_is_not_published(
    study: Study, researcher: User
) -> None:
    first = study.therapies.select_related("patient", "therapist").order_by("pk")[0]
    Patient.objects.filter(pk=first.patient_id).update(language="ar")
    factories.make_therapy(study, first.therapist.user)
    snapshot = frozen(study)
    for predictor in (Predictor("therapy", "patient_language"), Predictor("therapist", "n_therapies")):
        analysis = answered(study, snapshot, replace(SPEC, predictors=(predictor,)))
        assert len(analysis.result["predictors"]) == 1
        page = publish(signed_in(researcher), analysis)
        assert page.status_code == 422, predictor
        assert "each group that a predictor sets apart" in page.content.decode()
    assert not PublishedTable.objects.exists()
    assert publish(signed_in(researcher), answered(study, snapshot)).status_code == 302


def test_an_answer_that_differs_from_an_earlier_one_by_one_patient_is_not_published(
    study: Study, researcher: User
) -> None:
    client = signed_in(researcher)
    publish(client, answered(study))
    owner = User.objects.get(email="t1@example.org")
    follow(study, owner, (5, 6, 5))
    answer = publish(client, answered(study), code="other")
    assert answer.status_code == 422 and "1 to 4 came or went" in answer.content.decode()
    for value in (4, 5, 6, 7):
        follow(study, owner, (value, 6, value))
    assert publish(client, answered(study)).status_code == 302


def test_what_cannot_be_computed_again_is_not_published(study: Study, researcher: User) -> None:
    analysis = answered(study)
    StoredFile.objects.filter(snapshot=analysis.snapshot).delete()
    answer = publish(signed_in(researcher), analysis)
    assert answer.status_code == 422 and "erased" in answer.content.decode()


def test_another_clinic_cannot_publish_withdraw_or_take_an_address(study: Study, researcher: User) -> None:
    analysis = answered(study)
    publish(signed_in(researcher), analysis)
    row = PublishedTable.objects.get()
    other = factories.make_clinic("Hill Clinic")
    stranger = signed_in(factories.make_user("stranger@example.org", Role.RESEARCHER, clinic=other))
    assert stranger.get(reverse("desk-publish", args=[analysis.pk])).status_code == 404
    assert stranger.post(reverse("desk-table-withdraw", args=[row.pk]), {"reason": "x"}).status_code == 404
    assert stranger.get(reverse("desk-tables", args=[study.pk])).status_code == 404


def lock(study: Study, researcher: User) -> AnalysisLock:
    return lock_make(study=study, title="The course", spec=SPEC, exclusions="Nobody.", actor=researcher)


def test_a_locked_question_is_what_is_asked_and_says_so_where_it_is_published(
    study: Study, researcher: User
) -> None:
    row, client = lock(study, researcher), signed_in(researcher)
    assert row.sha256 == lock_sha256("The course", SPEC, "Nobody.")
    canonical = {"title": "The course", "spec": row.spec, "exclusions": "Nobody."}
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert row.sha256 == hashlib.sha256(text.encode()).hexdigest()
    url = reverse("desk-lock", args=[row.pk])
    assert row.sha256 in client.get(url).content.decode()
    answer = client.post(url, {"data": "now"})
    analysis = Analysis.objects.get()
    assert answer["Location"] == reverse("desk-analysis", args=[analysis.pk])
    assert analysis.lock == row and analysis.spec == row.spec
    analysis_answer(str(analysis.pk), silent)()
    publish(client, analysis)
    shown = Client().get("/tables/course/v1/").content.decode()
    assert f"The question was locked on {date_format(row.locked_at)}." in shown and row.sha256 in shown


@pytest.mark.parametrize(
    "statement", ["UPDATE analytics_analysislock SET title = 'x'", "DELETE FROM analytics_analysislock"]
)
def test_a_lock_cannot_be_changed_or_deleted(study: Study, researcher: User, statement: str) -> None:
    lock(study, researcher)
    with pytest.raises((InternalError, IntegrityError)), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_new_version_takes_the_latest_data_of_the_study_that_are_there(study: Study) -> None:
    kept, erased = frozen(study), frozen(study)
    Snapshot.objects.filter(pk=erased.pk).update(erased_at=erased.read_at)
    Snapshot.objects.create(study=study, number=3, asked_at=kept.asked_at)
    other = factories.make_study(study.clinic, code="OTHER")
    for _ in range(4):
        frozen(other)
    assert usable_snapshot(study) == kept
