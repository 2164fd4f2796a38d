"""The page of one therapy: its course, told by a chart, a sentence and a table of the same numbers; and the
same as a file."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import urlencode
from uuid import UUID

import vl_convert
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language, get_language_bidi, gettext
from django.utils.translation import gettext_lazy as _

from analytics import charts, wording
from analytics.dataset import CODINGS, LINEAR, TimeCoding
from analytics.dip_selectors import TherapyDips, therapy_dips
from analytics.look import PICTURE
from analytics.selectors import AllianceForm, Outlook, Trend, therapy_trend
from analytics.sheets import Sheet, pdf
from analytics.views.dips import dips_context
from analytics.views.writing import writing_of_the_page
from surveys.access import Actor, get_therapy_or_404, is_own
from surveys.selectors import OUTCOME_SCALE

PERSPECTIVES = ("patient", "therapist")
# Of the scales that alliance forms have in common, in this order; others are called as their form calls them.
SCALES = {"total": _("Alliance"), "goal": _("Goal"), "task": _("Task"), "bond": _("Bond")}
WIDTHS = {"large": 760, "small": 456}
MARGINS = {"left": 24, "right": 24}
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


def _trend(request: HttpRequest, therapy_id: UUID) -> Trend:
    choice = Choice.of(request.GET)
    therapy = get_therapy_or_404(request.user, therapy_id)
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
    table, and what it rests on (`state`: analytics.selectors.Trend.state)."""

    code: str
    query: str
    """The address of this view of the therapy."""
    title: str
    panel: charts.Panel
    is_small: bool
    sentence: str
    outlook: Outlook
    state: str

    @property
    def spec_id(self) -> str:
        return f"spec-{self.code}"

    @cached_property
    def chart(self) -> dict[str, object] | None:
        if self.panel.is_empty:
            return None
        return charts.panel_spec(self.panel, is_small=self.is_small, writing=writing_of_the_page())

    @property
    def rows(self) -> Sequence[charts.Row]:
        return charts.table(self.panel)


def _title(form: AllianceForm, scale: str) -> str:
    return str(SCALES.get(scale, form.scales[scale]))


def _facet(
    trend: Trend, form: AllianceForm, scale: str, dips: TherapyDips | None, *, is_small: bool
) -> Facet:
    query = {"perspective": trend.perspective, "scale": scale, "time": trend.coding.code}
    return Facet(
        code=scale,
        query=urlencode(query),
        title=_title(form, scale),
        panel=_panel(trend, form, scale, dips.sessions if dips and scale == OUTCOME_SCALE else ()),
        is_small=is_small,
        sentence=_sentence(trend, scale),
        outlook=trend.outlook(scale),
        state=trend.state(scale),
    )


def _facets(trend: Trend, form: AllianceForm, dips: TherapyDips | None) -> dict[str, Facet]:
    """By scale, the total first and then those that alliance forms have in common."""
    scales = dict.fromkeys([*(scale for scale in SCALES if scale in form.scales), *form.scales])
    return {scale: _facet(trend, form, scale, dips, is_small=scale != trend.scale) for scale in scales}


def _page(user: Actor, trend: Trend, dips: TherapyDips | None) -> dict[str, object]:
    """What the page and the file of a therapy say."""
    context: dict[str, object] = {
        "trend": trend,
        "therapy": trend.therapy,
        "is_own": is_own(user, trend.therapy),
        "dips": dips_context(dips) if dips else None,
    }
    if trend.form is not None:
        facets = _facets(trend, trend.form, dips)
        others = [facet for scale, facet in facets.items() if scale != trend.scale]
        context |= {"facets": facets, "main": facets[trend.scale], "others": others}
    return context


def therapy(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    trend = _trend(request, therapy_id)
    context = _page(request.user, trend, _dips(request.user, trend)) | {
        "clinic": trend.therapy.study.clinic,
        "perspectives": [rater for rater in PERSPECTIVES if rater in trend.forms],
        "times": TIMES,
    }
    return render(request, "analytics/therapy.html", context)


def _picture(panel: charts.Panel, *, is_small: bool = False) -> str:
    """As SVG, in colours of its own; a small one has the letters of a large one."""
    spec = charts.panel_spec(panel, is_small=is_small, colours=PICTURE, writing=writing_of_the_page())
    # A file may be set in wider letters than those that were measured.
    size = {"width": WIDTHS["small" if is_small else "large"], "padding": {**spec["padding"], **MARGINS}}
    return vl_convert.vegalite_to_svg(spec | size)


def chart(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """One of its charts as a picture, for a browser without script."""
    trend = _trend(request, therapy_id)
    if trend.form is None:
        raise Http404("There is nothing to draw.")
    dips = _dips(request.user, trend) if trend.scale == OUTCOME_SCALE else None
    panel = _panel(trend, trend.form, trend.scale, dips.sessions if dips else ())
    if panel.is_empty:
        raise Http404("There is nothing to draw yet.")
    return HttpResponse(_picture(panel), content_type="image/svg+xml")


def sheet(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """The page as a PDF file, for a record or for supervision."""
    trend = _trend(request, therapy_id)
    found = _dips(request.user, trend)
    # A file has nothing to click on.
    context = _page(request.user, trend, replace(found, may_review=False) if found else None)
    facets = context.get("facets", {})
    assert isinstance(facets, dict), "facets by scale"
    drawn = {code: facet for code, facet in facets.items() if not facet.panel.is_empty}
    code, study = trend.therapy.code, trend.therapy.study.name
    now = date_format(timezone.localtime(), "DATETIME_FORMAT")
    made = Sheet(
        title=gettext("Therapy %(code)s") % {"code": code},
        html=render_to_string("analytics/therapy_sheet.html", context),
        pictures={key: _picture(facet.panel, is_small=facet.is_small) for key, facet in drawn.items()},
        footer=" · ".join([code, study, gettext("as of %(time)s") % {"time": now}]),
        language=get_language() or "en",
        is_rtl=get_language_bidi(),
    )
    name = f"therapy-{code}.pdf"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(pdf(made), content_type="application/pdf", headers=headers)
