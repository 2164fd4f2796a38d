"""The rows that are frozen of the forms, their codebook and composites, and the API for programs."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken

from analytics.export.composites import composites_of
from surveys.models import Response
from surveys.selectors import study_instruments
from tests import factories
from tests.analytics.clinics import dataset
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


def test_the_row_the_score_the_frozen_line_and_the_api_agree(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    answers = {1: 6, 2: 5, 3: 7, 4: 1, 5: 6, 6: 5, 7: 6, 8: 4, 9: 7, 10: 3, 11: 5, 12: 6}
    response = factories.give(factories.form_of(session, "patient"), answers)
    factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)

    stored = Response.objects.get(pk=response.pk)
    assert stored.answers == {str(item): value for item, value in answers.items()}
    scores = {score.scale: score.mean for score in stored.scores.all()}
    assert scores == {"task": 21 / 4, "bond": 26 / 4, "goal": 22 / 4, "total": 69 / 12}

    line = next(row for row in dataset(cast.study) if row["rater"] == "patient")
    assert {scale: line[scale] for scale in scores} == scores
    assert [line[f"item_{item}"] for item in range(1, 13)] == [answers[item] for item in range(1, 13)]
    assert (line["therapy"], line["session"]) == (cast.therapy.code, 1)

    url = reverse("api-therapy-trend", kwargs={"therapy_id": cast.therapy.pk})
    ratings = signed_in(cast.therapist).get(url).json()["ratings"]
    shown = {row["scale"]: row for row in ratings if row["perspective"] == "patient"}
    assert {scale: row["value"] for scale, row in shown.items()} == scores
    assert {row["submitted_on"] for row in shown.values()} == {line["submitted_on"].isoformat()}


def test_every_frozen_column_is_in_the_codebook_and_no_person_in_the_data(cast: Cast) -> None:
    factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"), {1: 4})
    (line,) = dataset(cast.study)
    page = codebook(cast)
    for name in line:
        assert f"<code>{name}</code>" in page
    assert line["item_1"] == 4
    assert {line[f"item_{item}"] for item in range(2, 13)} == {-99}
    assert line["total"] is None and line["total_answered"] == 1
    for person in (cast.therapist.email, str(cast.therapist.pk), str(cast.therapy.patient_id)):
        assert person not in str(line)
    assert "The therapist sees the patient" in page and "-99 skipped" in page


def codebook(cast: Cast) -> str:
    url = reverse("study-codebook", kwargs={"study_id": cast.study.pk})
    return str(signed_in(cast.researcher).get(url).content.decode())


def test_a_form_that_was_asked_for_late_says_for_which_occasion(cast: Cast) -> None:
    factories.replan(cast.study, sessions=[1], tolerance=1, catch_up=True)
    factories.hold_session(cast.therapy, timezone.now() - timedelta(days=9))
    late = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(late, "patient"), 5)
    (line,) = dataset(cast.study)
    assert (line["session"], line["occasion"]) == (2, 1)
    assert line["study_version"] == cast.study.current.number


def test_a_form_with_one_answer_across_reversed_items_is_flagged(cast: Cast) -> None:
    first, second = cast.therapy, factories.make_therapy(cast.study, cast.therapist)
    factories.give(factories.form_of(factories.hold_session(first), "patient"), 7)
    factories.give(factories.form_of(factories.hold_session(second), "patient"), {1: 7, 2: 6, 4: 2})
    flags = {row["therapy"]: row["straight_lined"] for row in dataset(cast.study)}
    assert flags == {first.code: 1, second.code: 0}


def test_a_token_opens_the_api_and_nothing_else_does(cast: Cast) -> None:
    _, token = AuthToken.objects.create(cast.therapist)
    url = reverse("api-therapies")
    answer = Client().get(url, headers={"Authorization": f"Token {token}"})
    assert [row["id"] for row in answer.json()] == [str(cast.therapy.pk)]
    assert Client().get(url).status_code == 401
    assert Client().get(url, headers={"Authorization": "Token wrong"}).status_code == 401
    study = reverse("api-snapshots", kwargs={"study_id": cast.study.pk})
    assert Client().get(study, headers={"Authorization": f"Token {token}"}).status_code == 403


def test_an_unknown_perspective_is_refused(cast: Cast) -> None:
    url = reverse("api-therapy-trend", kwargs={"therapy_id": cast.therapy.pk})
    answer = signed_in(cast.therapist).get(url, {"perspective": "observer"})
    assert answer.status_code == 400
    assert answer.json() == {"perspective": ["Give patient or therapist."]}


def test_the_schema_describes_every_route_of_the_api(client: Client, db: None) -> None:
    schema = client.get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert schema.status_code == 200
    paths = schema.json()["paths"]
    assert set(paths) == {
        "/api/v1/patients/",
        "/api/v1/patients/{patient_id}/",
        "/api/v1/therapies/",
        "/api/v1/therapies/{therapy_id}/",
        "/api/v1/therapies/{therapy_id}/sessions/",
        "/api/v1/sessions/{session_id}/",
        "/api/v1/fhir/Questionnaire",
        "/api/v1/fhir/Questionnaire/{instrument_id}",
        "/api/v1/fhir/QuestionnaireResponse",
        "/api/v1/fhir/QuestionnaireResponse/{response_id}",
        "/api/v1/therapies/{therapy_id}/trend/",
        "/api/v1/studies/",
        "/api/v1/studies/{study_id}/snapshots/",
        "/api/v1/studies/{study_id}/exports/",
        "/api/v1/exports/{export_id}/",
        "/api/v1/exports/{export_id}/file",
    }


def composites_now(cast: Cast) -> list[dict[str, Any]]:
    practice = pd.DataFrame([row for row in dataset(cast.study) if "about" in row])
    forms = {(row.code, row.version): row.form for row in study_instruments(cast.study)}
    if practice.empty:
        return []
    found = composites_of(practice, forms).astype(object)
    return list(found.where(found.notna(), None).to_dict("records"))


def fill_trait_forms(cast: Cast, period: str, answer: int, *codes: str) -> None:
    for code in codes:
        form = factories.form_about_practice(cast.therapy.therapist, cast.study, code, period)
        factories.give(form, answer, user=cast.therapist)


HEALING_FORMS = ("dpccq-manner", "dpccq-feelings-general", "dpccq-coping")


def test_composites_come_by_therapist_and_period_and_are_empty_without_a_component(cast: Cast) -> None:
    fill_trait_forms(cast, "2025", 1, *HEALING_FORMS, "dpccq-difficulties")
    fill_trait_forms(cast, "2026", 2, *HEALING_FORMS)
    # About one patient: never part of a variable of the therapist.
    factories.give(factories.form_of(factories.hold_session(cast.therapy), "therapist"), user=cast.therapist)
    first, second = composites_now(cast)
    assert (first["therapist"], first["period"]) == (cast.therapy.therapist.code, "2025")
    assert (first["healing_involvement"]) == pytest.approx((4 / 3 + 1 / 5) / 5)
    assert (first["stressful_involvement"]) == pytest.approx((2 / 3 + 2 / 5) / 4)
    assert second["period"] == "2026"
    assert (second["invested"]) == pytest.approx(2 / 3)
    assert (second["healing_involvement"]) == pytest.approx((4 * 2 / 3 + 2 / 5) / 5)
    assert (second["difficulties"], second["stressful_involvement"]) == (None, None)


def test_a_scale_with_too_few_answers_leaves_the_composite_empty(cast: Cast) -> None:
    fill_trait_forms(cast, "2025", 1, "dpccq-feelings-general", "dpccq-coping")
    manner = factories.form_about_practice(cast.therapy.therapist, cast.study, "dpccq-manner", "2025")
    # Items 5, 11, 17 and 23 are the invested agency; two of four are too few.
    answers = dict.fromkeys(set(range(1, 25)) - {5, 11}, 2)
    factories.give(manner, answers, user=cast.therapist)
    (line,) = composites_now(cast)
    assert line["invested"] is None and (line["efficacious"]) == pytest.approx(2 / 3)
    assert line["healing_involvement"] is None


def test_the_codebook_names_every_column_of_the_composites(cast: Cast) -> None:
    fill_trait_forms(cast, "2025", 1, "dpccq-coping")
    (line,) = composites_now(cast)
    page = codebook(cast)
    for name in line:
        assert f"<code>{name}</code>" in page
    assert "(definition composites-1)" in page


def test_another_study_s_forms_are_not_in_the_composites(cast: Cast) -> None:
    other = factories.make_study(cast.clinic, code="S9")
    form = factories.form_about_practice(cast.therapy.therapist, other, "dpccq-coping", "2025")
    factories.give(form, 1, user=cast.therapist)
    assert composites_now(cast) == []
