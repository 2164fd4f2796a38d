"""Questionnaires and answers in FHIR R4; `surveys.fhir` makes the resources."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from surveys import fhir
from surveys.api.base import ApiView, part_links, part_of
from surveys.api.refusals import MEDIA
from surveys.api.schema import described
from surveys.api.strict import NoParameters, Number, Strict, parameters
from surveys.api_access import (
    get_readable_instrument_or_404,
    get_readable_response_or_404,
    get_treated_therapy_or_404,
    own_clinics,
    readable_instruments,
    readable_responses,
    shows_answers,
)
from surveys.licences import licences_that_count, standing
from surveys.models import Instrument
from surveys.models import Response as Received

PART = ("_count", "_offset")


class FhirRenderer(JSONRenderer):
    media_type = MEDIA
    format = "fhir"


class FhirView(ApiView):
    renderer_classes = [FhirRenderer, JSONRenderer]
    is_fhir = True


class Part(Strict):
    def get_fields(self) -> dict[str, Any]:
        """Names of FHIR's own begin with a line, which Python's class bodies would hide."""
        part = {
            "_count": Number(
                label="Count",
                required=False,
                default=50,
                min_value=1,
                max_value=200,
                help_text="How many, at most",
            ),
            "_offset": Number(
                label="Offset",
                required=False,
                default=0,
                min_value=0,
                max_value=1_000_000,
                help_text="After how many",
            ),
        }
        return {**super().get_fields(), **part}


class AnswersQuery(Part):
    therapy = serializers.UUIDField(help_text="Id of a therapy of your caseload")


QUESTIONNAIRE = {
    "resourceType": "Questionnaire",
    "id": "01932f50-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "url": "urn:uuid:01932f50-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "version": "demo-1",
    "name": "WaiSPatientEn",
    "title": "A questionnaire",
    "status": "active",
    "item": [
        {
            "linkId": "items",
            "type": "group",
            "item": [
                {
                    "linkId": "item-1",
                    "prefix": "1",
                    "text": "Item 1",
                    "type": "choice",
                    "answerOption": [
                        {
                            "valueCoding": {
                                "extension": [{"url": fhir.ORDINAL, "valueDecimal": 1}],
                                "system": "urn:alliance-tracker:options:wai-s",
                                "code": "1",
                            }
                        }
                    ],
                }
            ],
        }
    ],
}
ANSWERS = {
    "resourceType": "QuestionnaireResponse",
    "id": "01932f62-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "questionnaire": "urn:uuid:01932f50-7d1a-7c3e-9b55-0a4f5c1e2d3b|demo-1",
    "status": "completed",
    "subject": {
        "type": "Patient",
        "identifier": {"system": "urn:alliance-tracker:patient", "value": "K7MN4-X"},
    },
    "authored": "2026-05-26T14:05:00+00:00",
    "item": [
        {
            "linkId": "items",
            "item": [{"linkId": "item-1", "extension": [{"url": fhir.ABSENT, "valueCode": "masked"}]}],
        },
        {"linkId": "scores", "item": [{"linkId": "score-total", "answer": [{"valueDecimal": 5.5}]}]},
    ],
}


def fhir_described(operation: str, summary: str, example: dict[str, Any], **more: Any) -> Any:
    return described(operation, "FHIR", summary, OpenApiTypes.OBJECT, example=example, is_fhir=True, **more)


def bundle_of(example: dict[str, Any]) -> dict[str, Any]:
    address = f"https://alliance.example.org/api/v1/fhir/{example['resourceType']}"
    return fhir.search_bundle([example], total=1, address=address, links=[])


class Questionnaires(FhirView):
    @fhir_described(
        "searchQuestionnaires",
        "Forms that your clinics may use, as a Bundle",
        bundle_of(QUESTIONNAIRE),
        parameters=[Part],
    )
    def get(self, request: Request) -> Response:
        asked = parameters(request, Part)
        rows = readable_instruments(request.user).order_by("code", "rater", "language", "version", "pk")
        part, total = part_of(rows, *(asked[name] for name in PART))
        worded = with_wording(request, part)
        found = [fhir.questionnaire(row.form, str(row.pk), with_wording=row.pk in worded) for row in part]
        return bundle(request, found, asked, total)


class QuestionnaireView(FhirView):
    @fhir_described("readQuestionnaire", "One form as a Questionnaire", QUESTIONNAIRE, errors=[404])
    def get(self, request: Request, instrument_id: UUID) -> Response:
        parameters(request, NoParameters)
        row = get_readable_instrument_or_404(request.user, instrument_id)
        worded = with_wording(request, [row])
        return Response(fhir.questionnaire(row.form, str(row.pk), with_wording=row.pk in worded))


class Answers(FhirView):
    @fhir_described(
        "searchQuestionnaireResponses",
        "Received forms about one of your therapies that you may read, as a Bundle",
        bundle_of(ANSWERS),
        parameters=[AnswersQuery],
        errors=[404],
        description="Your own forms, and of the patient what the policy of the study, the patient’s choice "
        "and your own rating let you see: each answer only where the patient shares answers, else the "
        "scores, and each item with the data-absent-reason `masked`.",
    )
    def get(self, request: Request) -> Response:
        asked = parameters(request, AnswersQuery)
        therapy = get_treated_therapy_or_404(request.user, asked["therapy"])
        rows = readable_responses(request.user).filter(assignment__session__therapy=therapy)
        rows = rows.prefetch_related("scores").order_by("-submitted_at", "pk")
        part, total = part_of(rows, *(asked[name] for name in PART))
        return bundle(request, answers_of(request, part), asked, total)


class AnswersView(FhirView):
    @fhir_described("readQuestionnaireResponse", "One received form that you may read", ANSWERS, errors=[404])
    def get(self, request: Request, response_id: UUID) -> Response:
        parameters(request, NoParameters)
        row = get_readable_response_or_404(request.user, response_id)
        return Response(answers_of(request, [row])[0])


def bundle(request: Request, found: list[fhir.Resource], asked: dict[str, Any], total: int) -> Response:
    links = part_links(request, asked, total, PART)
    address = request.build_absolute_uri()
    return Response(fhir.search_bundle(found, total=total, address=address, links=links))


def with_wording(request: Request, instruments: Iterable[Instrument]) -> set[UUID]:
    """Which of these forms may be shown in their words: demonstration wording, and what a clinic of the
    reader's that may use the form holds a valid licence for."""
    today = timezone.localdate()
    licences = {clinic.pk: licences_that_count(clinic) for clinic in own_clinics(request.user)}
    return {
        row.pk
        for row in instruments
        if row.form.demonstration
        or any(
            standing(row, own, today).is_usable
            for clinic, own in licences.items()
            if row.clinic_id in (None, clinic)
        )
    }


def answers_of(request: Request, rows: Iterable[Received]) -> list[fhir.Resource]:
    rows = list(rows)
    worded = with_wording(request, {row.instrument for row in rows})
    return [
        fhir.questionnaire_response(row.instrument.form, given(row), with_wording=row.instrument_id in worded)
        for row in rows
    ]


def given(row: Received) -> fhir.Given:
    """A readable form about a session as `surveys.fhir` takes it, with the answers only where they may be
    read."""
    session = row.assignment.session
    assert session is not None, "readable forms are about sessions"
    therapy = session.therapy
    answers = {int(item): value for item, value in row.answers.items()} if shows_answers(row) else None
    return fhir.Given(
        id=str(row.pk),
        questionnaire=str(row.instrument_id),
        authored=row.submitted_at.isoformat(timespec="seconds"),
        rater=row.assignment.rater,
        therapist=therapy.therapist.code,
        answers=answers,
        scores={score.scale: score.mean for score in row.scores.all()},
        patient=therapy.patient.code,
        therapy=therapy.code,
        session=session.number,
    )
