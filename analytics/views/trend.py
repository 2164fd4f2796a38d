"""The page of one therapy: its course, told by a chart, a sentence and a table of the same numbers."""

from uuid import UUID

import vl_convert
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.formats import date_format, number_format
from django.utils.translation import get_language_bidi, gettext

from analytics import charts, wording
from analytics.selectors import Trend, therapy_trend
from surveys import audit
from surveys.access import get_therapy_or_404

PERSPECTIVES = ("patient", "therapist")


def _writing() -> wording.Writing:
    """As the language of the page has it."""
    return wording.Writing(
        translate=gettext,
        # Django's own formatting cuts a float off instead of rounding it.
        number=lambda value: number_format(f"{value:.1f}", 1),
        day=lambda day: date_format(day, "DATE_FORMAT"),
        is_rtl=get_language_bidi(),
    )


@transaction.atomic
def _trend(request: HttpRequest, therapy_id: UUID) -> Trend:
    perspective = request.GET.get("perspective", PERSPECTIVES[0])
    if perspective not in PERSPECTIVES:
        raise Http404("There is no such perspective.")
    therapy = get_therapy_or_404(request.user, therapy_id)
    audit.record("therapy.view", subject=therapy, actor=request.user, clinic=therapy.study.clinic)
    return therapy_trend(request.user, therapy, perspective)


def _chart(trend: Trend, colours: dict[str, str]) -> dict[str, object] | None:
    """None where there is nothing to draw. A rater on another answer scale is left to the table."""
    if trend.form is None or not (trend.ratings or trend.expected):
        return None
    lines = {
        rater: trend.of(rater) if rater == trend.perspective or trend.has_one_scale else ()
        for rater in PERSPECTIVES
    }
    return charts.therapy_spec(
        **lines,
        colours=colours,
        expected=trend.expected,
        planned=trend.plan.sessions,
        perspective=trend.perspective,
        minimum=trend.form.minimum,
        maximum=trend.form.maximum,
        horizon=trend.plan.horizon,
        writing=_writing(),
    )


def therapy(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    trend = _trend(request, therapy_id)
    ratings = trend.of(trend.perspective)
    context = {
        "trend": trend,
        "therapy": trend.therapy,
        "clinic": trend.therapy.study.clinic,
        "perspectives": [rater for rater in PERSPECTIVES if rater in trend.forms],
        "chart": _chart(trend, charts.PAGE),
        "sentence": wording.sentence(
            trend.perspective, ratings, trend.expected, trend.plan.n_held, _writing()
        ),
        "rows": charts.table(trend.of("patient"), trend.of("therapist"), trend.expected, trend.plan.sessions),
    }
    return render(request, "analytics/therapy.html", context)


def chart(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """The same chart as a picture, for a browser without script and for print."""
    spec = _chart(_trend(request, therapy_id), charts.PICTURE)
    if spec is None:
        raise Http404("There is nothing to draw yet.")
    return HttpResponse(vl_convert.vegalite_to_svg({**spec, "width": 760}), content_type="image/svg+xml")
