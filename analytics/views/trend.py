"""The page of one therapy: its course, told by a chart, a sentence and a table of the same numbers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

import vl_convert
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _

from analytics import charts, wording
from analytics.dataset import CODINGS, LINEAR, TimeCoding
from analytics.dip_selectors import TherapyDips, therapy_dips
from analytics.look import PICTURE
from analytics.selectors import AllianceForm, Outlook, Trend, therapy_trend
from analytics.views.dips import dips_context
from analytics.views.writing import writing_of_the_page
from surveys import audit
from surveys.access import Actor, get_therapy_or_404
from surveys.selectors import OUTCOME_SCALE

PERSPECTIVES = ("patient", "therapist")
# Of the scales that alliance forms have in common, in this order; others are called as their form calls them.
SCALES = {"total": _("Alliance"), "goal": _("Goal"), "task": _("Task"), "bond": _("Bond")}
TIMES = {"linear": _("steady from session to session"), "log": _("most in the first sessions")}


@dataclass(frozen=True)
class Choice:
    """What of a therapy is looked at; the address holds it."""

    perspective: str
    scale: str
    time: str

    @classmethod
    def of(cls, query: QueryDict) -> "Choice":
        """Raises Http404 for what no form has; a scale that the chosen rater's form lacks is the total."""
        perspective = query.get("perspective", PERSPECTIVES[0])
        time = query.get("time", LINEAR.code)
        if perspective not in PERSPECTIVES or time not in CODINGS:
            raise Http404("There is no such perspective or coding of time.")
        return cls(perspective, query.get("scale", OUTCOME_SCALE), time)

    @property
    def coding(self) -> TimeCoding:
        return CODINGS[self.time]


@transaction.atomic
def _trend(request: HttpRequest, therapy_id: UUID) -> Trend:
    choice = Choice.of(request.GET)
    therapy = get_therapy_or_404(request.user, therapy_id)
    audit.record("therapy.view", subject=therapy, actor=request.user, clinic=therapy.study.clinic)
    return therapy_trend(request.user, therapy, choice.perspective, choice.scale, choice.coding)


def _panel(trend: Trend, form: AllianceForm, scale: str, dips: Collection[int] = ()) -> charts.Panel:
    return charts.Panel(
        patient=trend.of("patient", scale),
        therapist=trend.of("therapist", scale),
        expected=trend.outlook(scale).expected,
        planned=trend.plan.sessions,
        perspective=trend.perspective,
        minimum=form.minimum,
        maximum=form.maximum,
        horizon=trend.plan.horizon,
        pauses=trend.pauses,
        has_one_scale=trend.has_one_scale,
        dips=dips,
    )


def _dips(user: Actor, trend: Trend) -> TherapyDips | None:
    """Rules look at the patient's ratings of the total alone, and stand where these are looked at."""
    return therapy_dips(user, trend.therapy) if trend.perspective == PERSPECTIVES[0] else None


def _sentence(trend: Trend, scale: str) -> str:
    ratings, expected = trend.of(trend.perspective, scale), trend.outlook(scale).expected
    return wording.sentence(trend.perspective, ratings, expected, trend.plan.n_held, writing_of_the_page())


@dataclass(frozen=True)
class Facet:
    """One scale of the form: its picture, None where there is nothing to draw, and the same in words, as a
    table, and what it rests on."""

    code: str
    query: str
    """The address of this view of the therapy."""
    title: str
    chart: dict[str, object] | None
    sentence: str
    rows: Sequence[charts.Row]
    outlook: Outlook

    @property
    def spec_id(self) -> str:
        return f"spec-{self.code}"


def _title(form: AllianceForm, scale: str) -> str:
    return str(SCALES.get(scale, form.scales[scale]))


def _facet(
    trend: Trend, form: AllianceForm, scale: str, dips: TherapyDips | None, *, is_small: bool
) -> Facet:
    panel = _panel(trend, form, scale, dips.sessions if dips and scale == OUTCOME_SCALE else ())
    writing = writing_of_the_page()
    query = {"perspective": trend.perspective, "scale": scale, "time": trend.coding.code}
    return Facet(
        code=scale,
        query=urlencode(query),
        title=_title(form, scale),
        chart=None if panel.is_empty else charts.panel_spec(panel, is_small=is_small, writing=writing),
        sentence=_sentence(trend, scale),
        rows=charts.table(panel),
        outlook=trend.outlook(scale),
    )


def therapy(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    trend = _trend(request, therapy_id)
    dips = _dips(request.user, trend)
    context: dict[str, object] = {
        "trend": trend,
        "therapy": trend.therapy,
        "clinic": trend.therapy.study.clinic,
        "perspectives": [rater for rater in PERSPECTIVES if rater in trend.forms],
        "times": TIMES,
        "dips": dips_context(dips) if dips else None,
    }
    if trend.form is not None:
        known = [scale for scale in SCALES if scale in trend.form.scales]
        scales = dict.fromkeys([*known, *trend.form.scales])
        others = [scale for scale in scales if scale != trend.scale]
        context |= {
            "scales": {scale: _title(trend.form, scale) for scale in scales},
            "main": _facet(trend, trend.form, trend.scale, dips, is_small=False),
            "others": [_facet(trend, trend.form, scale, dips, is_small=True) for scale in others],
        }
    return render(request, "analytics/therapy.html", context)


def chart(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """One of its charts as a picture, for a browser without script and for print."""
    trend = _trend(request, therapy_id)
    if trend.form is None:
        raise Http404("There is nothing to draw.")
    dips = _dips(request.user, trend) if trend.scale == OUTCOME_SCALE else None
    panel = _panel(trend, trend.form, trend.scale, dips.sessions if dips else ())
    if panel.is_empty:
        raise Http404("There is nothing to draw yet.")
    spec = charts.panel_spec(panel, colours=PICTURE, writing=writing_of_the_page())
    return HttpResponse(vl_convert.vegalite_to_svg({**spec, "width": 760}), content_type="image/svg+xml")
