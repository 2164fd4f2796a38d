"""Pure: the numbers of one therapy as a Vega-Lite picture and a table.

One place says how each mark looks. Every picture has its table, and its sentence (`analytics.wording`), from
the same numbers.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from analytics.look import PAGE, marks, title_above
from analytics.wording import (
    ENGLISH,
    PATIENT,
    THERAPIST,
    Expected,
    Pause,
    Rating,
    Writing,
    mark_words,
    pause_words,
)


class Planned(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...


@dataclass(frozen=True)
class Panel:
    """What one picture and its table show: the ratings of one scale of a therapy, the course that is expected
    of one rater's, the sessions at which that rater's form is asked for, and where the sessions paused."""

    patient: Sequence[Rating]
    therapist: Sequence[Rating]
    expected: Sequence[Expected]
    planned: Sequence[Planned]
    perspective: str
    minimum: int
    maximum: int
    horizon: int
    pauses: Sequence[Pause] = ()
    has_one_scale: bool = True
    """Whether both raters answer on the same range; else the other rater stands in the table alone."""
    dips: Collection[int] = ()
    """Sessions whose patient's rating is a possible dip."""

    @property
    def is_empty(self) -> bool:
        return not (self.patient or self.therapist or self.expected)

    def drawn(self, rater: str) -> Sequence[Rating]:
        series = self.patient if rater == PATIENT else self.therapist
        return series if self.has_one_scale or rater == self.perspective else ()


@dataclass(frozen=True)
class Row:
    """One line of the table twin; None where there is no such number."""

    session: int
    patient: float | None
    therapist: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    state: str


def table(panel: Panel) -> tuple[Row, ...]:
    """A row for every session that was rated or asked about; the course in between is left to the picture."""
    by_patient = {point.session: point.value for point in panel.patient}
    by_therapist = {point.session: point.value for point in panel.therapist}
    course = {point.session: point for point in panel.expected}
    states = {row.number: row.state for row in panel.planned}
    rows = []
    for session in sorted({*by_patient, *by_therapist, *states}):
        point = course.get(session)
        rows.append(
            Row(
                session=session,
                patient=by_patient.get(session),
                therapist=by_therapist.get(session),
                expected=point.mean if point else None,
                lower=point.lower if point else None,
                upper=point.upper if point else None,
                state=states.get(session, "received"),
            )
        )
    return tuple(rows)


def panel_spec(
    panel: Panel, *, is_small: bool = False, colours: dict[str, str] = PAGE, writing: Writing = ENGLISH
) -> dict[str, Any]:
    """The chart of one scale: session number by item mean, the full scale of the form, never cut. Where the
    page is read from right to left, so are the sessions. A small one stands beside others and has no names
    at its lines."""
    _ = writing.translate
    look = marks(colours, panel.perspective)
    lines = [
        layer
        for rater in (PATIENT, THERAPIST)
        for layer in _rater_layers(
            rater, panel.drawn(rater), panel.expected if rater == panel.perspective else (), look, writing
        )
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": _("Alliance by session, with the course that is expected of the patient’s ratings.")
        if panel.perspective == PATIENT
        else _("Alliance by session, with the course that is expected of the therapist’s ratings."),
        "width": "container",
        "height": 150 if is_small else 320,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": [
            *_pause_layers(panel, look, writing, is_small),
            *_course_layers(panel.expected, look),
            *lines,
            *_dip_layers(panel, look, writing),
            *_missing_layer(panel, look, writing),
            *([] if is_small else _label_layers(panel, look, writing)),
        ],
        "encoding": {"x": _x(panel, writing, is_small), "y": _y(panel, writing, is_small)},
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }


def _x(panel: Panel, writing: Writing, is_small: bool) -> dict[str, Any]:
    _ = writing.translate
    numbers = [row.number for row in panel.planned]
    ticks = numbers if len(numbers) <= (4 if is_small else 8) else list(range(5, panel.horizon + 1, 5))
    return {
        "field": "session",
        "type": "quantitative",
        "scale": {"domain": [0, _end(panel)], "nice": False, "reverse": writing.is_rtl},
        "axis": {
            "title": None if is_small else writing.in_picture(_("Session")),
            "values": ticks,
            "format": "d",
            "grid": False,
            "labelPadding": 14,
        },
    }


def _end(panel: Panel) -> float:
    return max(panel.horizon, 3) + 0.5


def _y(panel: Panel, writing: Writing, is_small: bool) -> dict[str, Any]:
    _ = writing.translate
    ends = {"minimum": panel.minimum, "maximum": panel.maximum}
    title = _("Item mean, %(minimum)d to %(maximum)d (stronger alliance ↑)") % ends
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [panel.minimum, panel.maximum], "nice": False, "zero": False},
        "axis": {
            "title": None if is_small else writing.in_picture(title),
            **title_above(writing),
            "values": list(range(panel.minimum, panel.maximum + 1, 2 if is_small else 1)),
            "domain": False,
            "ticks": False,
        },
    }


def _course_layers(expected: Sequence[Expected], look: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if not expected:
        return []
    rows = [
        {"session": point.session, "value": point.mean, "lower": point.lower, "upper": point.upper}
        for point in expected
    ]
    if len(rows) == 1:
        # A line and an area need two points; one expected rating is a bar with its middle.
        return [
            {
                "name": "band",
                "data": {"values": rows},
                "mark": {"type": "rule", "strokeWidth": 12, "aria": False, **look["lone-band"]},
                "encoding": {"y": {"field": "lower", "type": "quantitative"}, "y2": {"field": "upper"}},
            },
            {
                "name": "course",
                "data": {"values": rows},
                "mark": {"type": "tick", "color": look["course-label"]["fill"], "aria": False},
            },
        ]
    return [
        {
            "name": "band",
            "data": {"values": rows},
            "mark": {"type": "area", "clip": True, "aria": False, **look["band"]},
            "encoding": {"y": {"field": "lower", "type": "quantitative"}, "y2": {"field": "upper"}},
        },
        {
            "name": "course",
            "data": {"values": rows},
            "mark": {"type": "line", "clip": True, "aria": False, **look["course-line"]},
        },
    ]


def _rater_layers(
    rater: str,
    series: Sequence[Rating],
    expected: Sequence[Expected],
    look: dict[str, dict[str, Any]],
    writing: Writing,
) -> list[dict[str, Any]]:
    if not series:
        return []
    course = {point.session: point for point in expected}
    rows = [
        {
            "session": point.session,
            "value": point.value,
            "words": mark_words(rater, point, course.get(point.session), writing),
        }
        for point in series
    ]
    return [
        {
            "name": f"{rater}_line",
            "data": {"values": rows},
            "mark": {"type": "line", "aria": False, **look[f"{rater}-line"]},
        },
        _points(f"{rater}_points", rows, look[f"{rater}-point"]),
    ]


def _points(name: str, rows: list[dict[str, Any]], look: dict[str, Any]) -> dict[str, Any]:
    words = {"field": "words", "type": "nominal"}
    return {
        "name": name,
        "data": {"values": rows},
        "mark": {"type": "point", "opacity": 1, **look},
        "encoding": {"description": words, "tooltip": words},
    }


def _pause_layers(
    panel: Panel, look: dict[str, dict[str, Any]], writing: Writing, is_small: bool
) -> list[dict[str, Any]]:
    """Hairlines where the sessions paused or the therapist changed, each with a word at its top."""
    places = [(pause.after + 0.5, pause_words(pause, writing)) for pause in panel.pauses]
    if not places:
        return []
    words = {"field": "words", "type": "nominal"}
    line = {
        "name": "pauses",
        "data": {"values": [{"session": at, "words": told} for at, told in places]},
        "mark": {"type": "rule", **look["pause"]},
        "encoding": {"y": {"value": 0}, "y2": {"value": "height"}, "description": words, "tooltip": words},
    }
    text = {
        "data": {"values": [{"session": at, "words": writing.in_picture(told)} for at, told in places]},
        "mark": {
            "type": "text",
            "aria": False,
            "baseline": "bottom",
            "align": "right" if writing.is_rtl else "left",
            "dx": -4 if writing.is_rtl else 4,
            **look["pause-label"],
        },
        "encoding": {"y": {"value": 10}, "text": words},
    }
    return [line] if is_small else [line, text]


def _dip_layers(panel: Panel, look: dict[str, dict[str, Any]], writing: Writing) -> list[dict[str, Any]]:
    """A mark and a word under each rating that is a possible dip."""
    _ = writing.translate
    rows: list[dict[str, Any]] = [
        {
            "session": point.session,
            "value": point.value,
            "words": _("Session %(session)s: possible dip, worth asking about") % {"session": point.session},
            "short": writing.in_picture(_("possible dip")),
        }
        for point in panel.drawn(PATIENT)
        if point.session in panel.dips
    ]
    if not rows:
        return []
    # A word takes the room of some sessions; the mark of one beside another goes without.
    room, last = _end(panel) / 7, math.inf
    named = []
    for row in reversed(rows):
        if last - row["session"] >= room:
            named.append(row)
            last = row["session"]
    text = {
        "type": "text",
        "aria": False,
        "align": "center",
        "baseline": "top",
        "dy": 18,
        **look["dip-label"],
    }
    return [
        _points("dips", rows, look["dip"]),
        {
            "data": {"values": named},
            "mark": text,
            "encoding": {"text": {"field": "short", "type": "nominal"}},
        },
    ]


def _missing_layer(panel: Panel, look: dict[str, dict[str, Any]], writing: Writing) -> list[dict[str, Any]]:
    """Marks under the axis: a cross for a form that did not come, a ring for one that is not shown."""
    _ = writing.translate
    shown = {point.session for point in panel.drawn(panel.perspective)}
    reasons = {
        "missing": _("Session %(session)d: no form came in"),
        "declined": _("Session %(session)d: the form was left empty"),
    }
    unseen = {"received": _("Session %(session)d: received, not shown")}
    layers = []
    for name, words in (("missing", reasons), ("hidden", unseen)):
        rows = [
            {
                "session": row.number,
                "value": panel.minimum,
                "words": words[row.state] % {"session": row.number},
            }
            for row in panel.planned
            if row.state in words and row.number not in shown
        ]
        if rows:
            layers.append(_points(name, rows, look[name]))
    return layers


def _label_layers(panel: Panel, look: dict[str, dict[str, Any]], writing: Writing) -> list[dict[str, Any]]:
    """Names beside the ends of the lines instead of a legend, pushed apart where they would overlap."""
    _ = writing.translate
    names = ((PATIENT, _("patient")), (THERAPIST, _("therapist")))
    ends = [
        (name, panel.drawn(rater)[-1].value, f"{rater}-label") for rater, name in names if panel.drawn(rater)
    ]
    if panel.expected:
        ends.append((_("expected"), panel.expected[-1].mean, "course-label"))
    gap = (panel.maximum - panel.minimum) / 16
    layers: list[dict[str, Any]] = []
    floor = float(panel.minimum)
    for words, value, style in sorted(ends, key=lambda end: end[1]):
        at = max(value, floor)
        floor = at + gap
        row = {"session": _end(panel), "value": at}
        away = {"align": "right", "dx": -8} if writing.is_rtl else {"align": "left", "dx": 8}
        mark = {"type": "text", "text": writing.in_picture(words), "aria": False, **away, **look[style]}
        layers.append({"data": {"values": [row]}, "mark": mark})
    return layers
