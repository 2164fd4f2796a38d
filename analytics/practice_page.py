"""What the pages about a therapist's own practice show: every picture with its sentence and its table, in the
words of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format

from analytics.look import PAGE
from analytics.practice import FormCourses, InMonth, Involvement, Period, Practice, ScaleCourse
from analytics.practice_bands import Band
from analytics.practice_chart import Spot, Spread, plane_spec, scale_spec
from analytics.practice_words import (
    band_sentence,
    course_sentence,
    missing_sentences,
    month_sentence,
    period_words,
    plane_sentence,
)
from analytics.wording import Writing
from surveys.packs import Option

HEALING, STRESSFUL = "healing_involvement", "stressful_involvement"
PLANE = "involvement"


@dataclass(frozen=True)
class Facet:
    """One scale: its picture, None where there is nothing to draw; the same in words and as a table."""

    key: str
    title: str
    chart: dict[str, Any] | None
    sentence: str
    others: str
    rows: Sequence[tuple[str, Any]]

    @property
    def spec_id(self) -> str:
        return f"spec-{self.key}"


@dataclass(frozen=True)
class Block:
    """The scales of one form."""

    found: FormCourses
    facets: tuple[Facet, ...]

    @property
    def key(self) -> str:
        return self.found.key

    @property
    def ends(self) -> tuple[Option, Option]:
        return self.found.form.options[0], self.found.form.options[-1]


@dataclass(frozen=True)
class Plane:
    """Both composites by period."""

    chart: dict[str, Any] | None
    sentence: str
    missing: Sequence[str]
    rows: Sequence[tuple[str, Involvement]]


@dataclass(frozen=True)
class Mirror:
    """The whole page."""

    plane: Plane
    in_general: tuple[Block, ...]
    in_sessions: tuple[Block, ...]

    @property
    def charts(self) -> dict[str, dict[str, Any] | None]:
        facets = [facet for block in (*self.in_general, *self.in_sessions) for facet in block.facets]
        return {PLANE: self.plane.chart, **{facet.key: facet.chart for facet in facets}}


def mirror(found: Practice, writing: Writing, colours: dict[str, str] = PAGE) -> Mirror:
    names = _names(found, writing)
    return Mirror(
        plane=_plane(found.involvement, names, writing, colours),
        in_general=tuple(
            Block(one, tuple(_by_period(one, scale, names, writing, colours) for scale in one.scales))
            for one in found.in_general
        ),
        in_sessions=tuple(
            Block(one, tuple(_by_month(one, scale, writing, colours) for scale in one.scales))
            for one in found.in_sessions
        ),
    )


def _names(found: Practice, writing: Writing) -> dict[Period, str]:
    """With the study's code only where the therapist takes part in several."""
    periods = [one.period for one in found.involvement]
    has_many = len({period.study for period in periods}) > 1
    return {
        period: f"{words} ({period.study})" if has_many else words
        for period in periods
        for words in [period_words(period.code, writing)]
    }


def _by_period(
    form: FormCourses,
    scale: ScaleCourse,
    names: dict[Period, str],
    writing: Writing,
    colours: dict[str, str],
) -> Facet:
    _ = writing.translate
    named = [(names[point.period], point) for point in scale.periods]
    compared = scale.others
    made_on = timezone.localdate(compared.made_at) if compared and compared.made_at else None
    others = band_sentence(compared.band, made_on, writing) if compared else ""
    spots = [
        Spot(
            name,
            point.value,
            _("%(period)s: too few items were answered for a value") % {"period": name}
            if point.value is None
            else _("%(period)s: %(value)s") % {"period": name, "value": writing.number(point.value)},
            is_missing=point.value is None,
        )
        for name, point in named
    ]
    is_drawn = any(spot.value is not None for spot in spots)
    chart = scale_spec(
        spots,
        minimum=form.form.minimum,
        maximum=form.form.maximum,
        description=_("%(scale)s by period") % {"scale": scale.title},
        spread=Spread(compared.band, others) if compared and isinstance(compared.band, Band) else None,
        n_labels=5 if len(set(names.values())) < 6 else 3,
        colours=colours,
        writing=writing,
    )
    return Facet(
        key=f"general.{form.key}.{scale.code}",
        title=scale.title,
        chart=chart if is_drawn else None,
        sentence=course_sentence(named, writing),
        others=others,
        rows=named,
    )


def _by_month(form: FormCourses, scale: ScaleCourse, writing: Writing, colours: dict[str, str]) -> Facet:
    _ = writing.translate
    named: list[tuple[str, InMonth]] = [
        (date_format(point.month, "YEAR_MONTH_FORMAT"), point) for point in scale.months
    ]
    spots = []
    for name, point in named:
        here = {"month": name, "n": point.n_scored}
        words = (
            _("%(month)s: no value") % here
            if point.value is None
            else _("%(month)s: mean %(value)s, number of forms %(n)s")
            % (here | {"value": writing.number(point.value)})
        )
        spots.append(Spot(name, point.value, words, is_missing=point.value is None and point.n_forms > 0))
    chart = scale_spec(
        spots,
        minimum=form.form.minimum,
        maximum=form.form.maximum,
        description=_("%(scale)s by month") % {"scale": scale.title},
        n_labels=2,
        colours=colours,
        writing=writing,
    )
    return Facet(
        key=f"sessions.{form.key}.{scale.code}",
        title=scale.title,
        chart=chart if any(spot.value is not None for spot in spots) else None,
        sentence=month_sentence(named, writing),
        others="",
        rows=[(name, point) for name, point in named if point.n_forms],
    )


def _plane(
    found: Sequence[Involvement], names: dict[Period, str], writing: Writing, colours: dict[str, str]
) -> Plane:
    _ = writing.translate
    # Between 0 and 1 one decimal is too coarse.
    fine = replace(writing, number=lambda value: number_format(f"{value:.2f}", 2))
    placed = [
        (names[one.period], healing, stressful)
        for one in found
        if (healing := one.values.get(HEALING)) is not None
        and (stressful := one.values.get(STRESSFUL)) is not None
    ]
    words = _("%(period)s: healing involvement %(healing)s, stressful involvement %(stressful)s")
    places = [
        (
            name,
            healing,
            stressful,
            words % {"period": name, "healing": fine.number(healing), "stressful": fine.number(stressful)},
        )
        for name, healing, stressful in placed
    ]
    description = _("Healing involvement by stressful involvement, period by period")
    return Plane(
        chart=plane_spec(places, description=description, colours=colours, writing=writing)
        if places
        else None,
        sentence=plane_sentence(placed, fine),
        missing=[
            sentence
            for one in found
            for sentence in missing_sentences(one.missing, names[one.period], writing)
        ],
        rows=[(names[one.period], one) for one in found],
    )
