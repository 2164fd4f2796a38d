"""The API of the models: the trend of a therapy, and the studies whose data one may work with."""

from uuid import UUID

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.dataset import CODINGS, LINEAR
from analytics.selectors import therapy_trend
from analytics.views.trend import PERSPECTIVES
from surveys.access import get_therapy_or_404, visible_studies
from surveys.api.base import ApiView, listed
from surveys.api.schema import LINK, TOTAL, described
from surveys.api.strict import Choice, Slice, Strict, Text, parameters
from surveys.selectors import OUTCOME_SCALE


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


class TrendQuery(Strict):
    perspective = Choice(
        PERSPECTIVES,
        required=False,
        default="patient",
        help_text="Whose ratings the course is expected of",
        error_messages={"invalid_choice": "Give patient or therapist."},
    )
    scale = Text(
        required=False,
        default=OUTCOME_SCALE,
        max_length=40,
        help_text="Of the form; the course is that of this scale",
    )
    time = Choice(
        list(CODINGS),
        required=False,
        default=LINEAR.code,
        help_text="How the model counts time",
        error_messages={"invalid_choice": f"Give {' or '.join(CODINGS)}."},
    )


TREND = {
    "ratings": [
        {
            "session": 3,
            "perspective": "patient",
            "instrument": "wai-s",
            "scale": "total",
            "value": 5.5,
            "submitted_on": "2026-05-26",
        }
    ],
    "expected": [{"session": 3, "mean": 5.1, "lower": 4.4, "upper": 5.8}],
    "fit": {
        "id": "01932f70-7d1a-7c3e-9b55-0a4f5c1e2d3b",
        "status": "ok",
        "fitted_at": "2026-05-26T14:06:00Z",
        "n_newer": 0,
        "n_therapists": 70,
        "n_therapies": 370,
        "n_ratings": 1100,
    },
}


class TherapyTrend(ApiView):
    @described(
        "readTherapyTrend",
        "Ratings",
        "Ratings and expected course of one therapy",
        TrendSerializer,
        example=TREND,
        parameters=[TrendQuery],
        errors=[404],
        description="The ratings that you may see, and what the last good model expects of each next one.",
    )
    def get(self, request: Request, therapy_id: UUID) -> Response:
        asked = parameters(request, TrendQuery)
        therapy = get_therapy_or_404(request.user, therapy_id)
        coding = CODINGS[asked["time"]]
        trend = therapy_trend(request.user, therapy, asked["perspective"], asked["scale"], coding)
        if trend.form is not None and asked["scale"] not in trend.form.scales:
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


STUDY = {
    "id": "01932f40-7d1a-7c3e-9b55-0a4f5c1e2d3b",
    "code": "ROUTINE",
    "name": "Routine care",
    "visibility": "feedback",
    "is_open_to_supervisors": False,
}


class Studies(ApiView):
    @described(
        "listStudies",
        "Studies",
        "Studies whose coded data you may work with",
        StudySerializer(many=True),
        example=STUDY,
        parameters=[Slice, TOTAL, LINK],
    )
    def get(self, request: Request) -> Response:
        asked = parameters(request, Slice)
        return listed(request, visible_studies(request.user).order_by("code"), asked, StudySerializer)
