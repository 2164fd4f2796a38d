"""The API of the models: therapies of one's own caseload, their trend, and the datasets of a study."""

from collections.abc import Iterator
from uuid import UUID

from django.db import transaction
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics.dataset import CODINGS, LINEAR
from analytics.export.composites import composite_lines
from analytics.export.long import csv_lines
from analytics.selectors import therapy_trend
from analytics.views.trend import PERSPECTIVES
from surveys import audit
from surveys.access import get_study_or_404, get_therapy_or_404, visible_studies, visible_therapies
from surveys.selectors import OUTCOME_SCALE


class TherapySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    code = serializers.CharField()
    study = serializers.CharField(source="study.code")
    started_on = serializers.DateField()
    ended_on = serializers.DateField(allow_null=True)


class Therapies(APIView):
    @extend_schema(responses=TherapySerializer(many=True), summary="The therapies of your caseload")
    def get(self, request: Request) -> Response:
        rows = visible_therapies(request.user).select_related("study").order_by("code")
        return Response(TherapySerializer(rows, many=True).data)


class RatingSerializer(serializers.Serializer):
    session = serializers.IntegerField(help_text="Number of the session")
    perspective = serializers.ChoiceField(PERSPECTIVES)
    instrument = serializers.CharField()
    scale = serializers.CharField()
    value = serializers.FloatField(help_text="Item mean on the form's own response scale")
    submitted_on = serializers.DateField()


class ExpectedSerializer(serializers.Serializer):
    session = serializers.IntegerField()
    mean = serializers.FloatField(help_text="A new rating, expected from the ratings before this session")
    lower = serializers.FloatField(help_text="Lower end of the range that holds 80 % of such ratings")
    upper = serializers.FloatField(help_text="Upper end of that range")


class FitSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    status = serializers.CharField(help_text="ok, or singular: a variance is estimated as zero")
    fitted_at = serializers.DateTimeField()
    n_newer = serializers.IntegerField(
        help_text="Ratings by this rater in the study that the model does not know yet"
    )
    n_therapists = serializers.IntegerField()
    n_therapies = serializers.IntegerField()
    n_ratings = serializers.IntegerField()


class TrendSerializer(serializers.Serializer):
    ratings = RatingSerializer(many=True)
    expected = ExpectedSerializer(many=True)
    fit = FitSerializer(allow_null=True, help_text="The last good model; null while there is none")


class TherapyTrend(APIView):
    @extend_schema(
        responses=TrendSerializer,
        summary="Ratings and expected course of one therapy",
        parameters=[
            OpenApiParameter(
                "perspective",
                enum=PERSPECTIVES,
                default="patient",
                description="Whose ratings the course is expected of",
            ),
            OpenApiParameter(
                "scale", default=OUTCOME_SCALE, description="Of the form; the course is that of this scale"
            ),
            OpenApiParameter(
                "time", enum=list(CODINGS), default=LINEAR.code, description="How the model counts time"
            ),
        ],
    )
    @transaction.atomic
    def get(self, request: Request, therapy_id: UUID) -> Response:
        asked = request.query_params
        perspective, time = asked.get("perspective", "patient"), asked.get("time", LINEAR.code)
        if perspective not in PERSPECTIVES:
            raise serializers.ValidationError({"perspective": ["Give patient or therapist."]})
        if time not in CODINGS:
            raise serializers.ValidationError({"time": [f"Give {' or '.join(CODINGS)}."]})
        therapy = get_therapy_or_404(request.user, therapy_id)
        audit.record("therapy.view", subject=therapy, actor=request.user, clinic=therapy.study.clinic)
        scale = asked.get("scale", OUTCOME_SCALE)
        trend = therapy_trend(request.user, therapy, perspective, scale, CODINGS[time])
        if trend.form is not None and scale not in trend.form.scales:
            raise serializers.ValidationError({"scale": [f"Give one of {', '.join(trend.form.scales)}."]})
        return Response(TrendSerializer(trend).data)


class StudySerializer(serializers.Serializer):
    id = serializers.UUIDField()
    code = serializers.CharField()
    name = serializers.CharField()
    visibility = serializers.CharField(help_text="blind, delayed or feedback")
    is_open_to_supervisors = serializers.BooleanField(
        source="current.is_open_to_supervisors",
        help_text="Whether supervisors may see of the patients' ratings what therapists see",
    )


class Studies(APIView):
    @extend_schema(responses=StudySerializer(many=True), summary="Studies whose coded data you may download")
    def get(self, request: Request) -> Response:
        return Response(StudySerializer(visible_studies(request.user).order_by("code"), many=True).data)


class CsvRenderer(BaseRenderer):
    """Lets a caller ask for text/csv; the view streams the lines itself, and only a refusal comes here."""

    media_type = "text/csv"
    format = "csv"

    def render(
        self, data: object, accepted_media_type: str | None = None, renderer_context: object = None
    ) -> bytes:
        return f"{data['detail'] if isinstance(data, dict) else data}\r\n".encode()


def csv_download(name: str, lines: Iterator[str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


class StudyRatings(APIView):
    renderer_classes = [CsvRenderer, JSONRenderer]

    @extend_schema(
        responses={(200, "text/csv"): OpenApiTypes.STR},
        summary="Every received form of a study under codes, one row a form",
    )
    def get(self, request: Request, study_id: UUID) -> StreamingHttpResponse:
        study = get_study_or_404(request.user, study_id)
        audit.record("ratings.export", subject=study, actor=request.user, clinic=study.clinic)
        return csv_download(f"{study.code}-ratings", csv_lines(study))


class StudyComposites(APIView):
    renderer_classes = [CsvRenderer, JSONRenderer]

    @extend_schema(
        responses={(200, "text/csv"): OpenApiTypes.STR},
        summary="Composites of the therapist questionnaires, one row a therapist and period",
    )
    def get(self, request: Request, study_id: UUID) -> StreamingHttpResponse:
        study = get_study_or_404(request.user, study_id)
        audit.record("composites.export", subject=study, actor=request.user, clinic=study.clinic)
        return csv_download(f"{study.code}-composites", composite_lines(study))
