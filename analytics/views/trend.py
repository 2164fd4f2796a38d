"""The page of one therapy: its course, told by a chart, a sentence and a table of the same numbers."""

from uuid import UUID

import vl_convert
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from analytics import charts
from analytics.selectors import Trend, therapy_trend
from surveys import audit
from surveys.access import get_therapy_or_404

PERSPECTIVES = ("patient", "therapist")


def perspective_or_404(value: str) -> str:
    if value not in PERSPECTIVES:
        raise Http404("There is no such perspective.")
    return value


@transaction.atomic
def _trend(request: HttpRequest, therapy_id: UUID) -> Trend:
    perspective = perspective_or_404(request.GET.get("perspective", "patient"))
    therapy = get_therapy_or_404(request.user, therapy_id)
    audit.record("therapy.view", subject=therapy, actor=request.user, clinic=therapy.study.clinic)
    return therapy_trend(request.user, therapy, perspective)


def _chart(trend: Trend, colours: dict[str, str]) -> dict[str, object]:
    return charts.therapy_spec(
        colours=colours,
        patient=trend.of("patient"),
        therapist=trend.of("therapist"),
        expected=trend.expected,
        planned=trend.plan.sessions,
        perspective=trend.perspective,
        minimum=trend.minimum,
        maximum=trend.maximum,
        horizon=trend.plan.horizon,
    )


def therapy(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    trend = _trend(request, therapy_id)
    return render(
        request,
        "analytics/therapy.html",
        {
            "trend": trend,
            "therapy": trend.therapy,
            "perspectives": PERSPECTIVES,
            "chart": _chart(trend, charts.PAGE),
            "sentence": charts.sentence(trend.perspective, trend.of(trend.perspective), trend.expected),
            "rows": charts.table(
                trend.of("patient"), trend.of("therapist"), trend.expected, trend.plan.sessions
            ),
        },
    )


def chart(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """The same chart as a picture, for a browser without script and for print."""
    spec = {**_chart(_trend(request, therapy_id), charts.PICTURE), "width": 760}
    return HttpResponse(vl_convert.vegalite_to_svg(spec), content_type="image/svg+xml")
