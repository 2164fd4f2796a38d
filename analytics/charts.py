"""Pure: the numbers of one therapy as a Vega-Lite picture and a table.

One place says how each mark looks. Every picture has its table, and its sentence (`analytics.wording`), from
the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from analytics.wording import ENGLISH, PATIENT, THERAPIST, Expected, Rating, Writing, mark_words

# In the page the colours are those of the style sheet, so that light, dark and print follow it by
# themselves. A picture made on the server has no style sheet.
TOKENS = ("accent", "therapist", "muted", "line", "card")
PAGE = {name: f"var(--{name})" for name in TOKENS} | {"ground": "transparent"}
PICTURE = {
    "ground": "#FFFFFF",
    "accent": "#0B6E6E",
    "therapist": "#A64B2A",
    "muted": "#55626B",
    "line": "#D9DEE0",
    "card": "#FFFFFF",
}


class Planned(Protocol):
    @property
    def number(self) -> int: ...
    @property
    def state(self) -> str: ...


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


def table(
    patient: Sequence[Rating],
    therapist: Sequence[Rating],
    expected: Sequence[Expected],
    planned: Sequence[Planned],
) -> tuple[Row, ...]:
    """A row for every session that was rated or asked about; the course in between is left to the picture."""
    by_patient = {point.session: point.value for point in patient}
    by_therapist = {point.session: point.value for point in therapist}
    course = {point.session: point for point in expected}
    states = {row.number: row.state for row in planned}
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


def therapy_spec(
    *,
    patient: Sequence[Rating],
    therapist: Sequence[Rating],
    expected: Sequence[Expected],
    planned: Sequence[Planned],
    perspective: str,
    minimum: int,
    maximum: int,
    horizon: int,
    colours: dict[str, str] = PAGE,
    writing: Writing = ENGLISH,
) -> dict[str, Any]:
    """The chart of one therapy: session number by item mean, the full scale of the form, never cut. Where
    the page is read from right to left, so are the sessions."""
    _ = writing.translate
    look = _look(colours, perspective)
    shown = {point.session for point in (patient if perspective == PATIENT else therapist)}
    ends = [
        (writing.in_picture(name), series[-1].value, f"{rater}-label")
        for rater, name, series in ((PATIENT, _("patient"), patient), (THERAPIST, _("therapist"), therapist))
        if series
    ]
    if expected:
        ends.append((writing.in_picture(_("expected")), expected[-1].mean, "course-label"))
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": _("Alliance by session, with the course that is expected of the patient’s ratings.")
        if perspective == PATIENT
        else _("Alliance by session, with the course that is expected of the therapist’s ratings."),
        "width": "container",
        "height": 320,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": [
            *_course_layers(expected, look),
            *_rater_layers(PATIENT, patient, expected if perspective == PATIENT else (), look, writing),
            *_rater_layers(THERAPIST, therapist, expected if perspective == THERAPIST else (), look, writing),
            *_missing_layer(planned, shown, minimum, look, writing),
            *_label_layers(ends, minimum, maximum, horizon, look, writing),
        ],
        "encoding": {"x": _x(planned, horizon, writing), "y": _y(minimum, maximum, writing)},
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }


def _x(planned: Sequence[Planned], horizon: int, writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    numbers = [row.number for row in planned]
    ticks = numbers if len(numbers) <= 8 else list(range(5, horizon + 1, 5))
    return {
        "field": "session",
        "type": "quantitative",
        "scale": {"domain": [0, max(horizon, 3) + 0.5], "nice": False, "reverse": writing.is_rtl},
        "axis": {
            "title": writing.in_picture(_("Session")),
            "values": ticks,
            "format": "d",
            "grid": False,
            "labelPadding": 14,
        },
    }


def _y(minimum: int, maximum: int, writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    title = _("Item mean, %(minimum)d to %(maximum)d (stronger alliance ↑)")
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [minimum, maximum], "nice": False, "zero": False},
        "axis": {
            "title": writing.in_picture(title % {"minimum": minimum, "maximum": maximum}),
            "orient": "right" if writing.is_rtl else "left",
            # Above the scale and upright: on its side an arrow would point elsewhere.
            "titleAngle": 0,
            "titleAlign": "right" if writing.is_rtl else "left",
            "titleAnchor": "end",
            "titleX": 24 if writing.is_rtl else -24,
            "titleY": -12,
            "values": list(range(minimum, maximum + 1)),
            "domain": False,
            "ticks": False,
        },
    }


def _look(colours: dict[str, str], perspective: str) -> dict[str, dict[str, Any]]:
    """How each kind of mark looks; shape and dash tell the raters apart without colour."""
    accent, therapist, muted, card = (colours[name] for name in ("accent", "therapist", "muted", "card"))
    font = {"fontSize": 13, "font": "system-ui, sans-serif"}
    return {
        "patient-line": {"stroke": accent, "strokeWidth": 2},
        "patient-point": {"shape": "circle", "size": 70, "fill": accent, "stroke": card, "strokeWidth": 1},
        "patient-label": {"fill": accent, **font},
        "therapist-line": {"stroke": therapist, "strokeWidth": 2, "strokeDash": [5, 4]},
        "therapist-point": {
            "shape": "triangle-up",
            "size": 80,
            "fill": card,
            "stroke": therapist,
            "strokeWidth": 2,
        },
        "therapist-label": {"fill": therapist, **font},
        "band": {"fill": accent if perspective == PATIENT else therapist, "fillOpacity": 0.14},
        "lone-band": {"stroke": accent if perspective == PATIENT else therapist, "strokeOpacity": 0.3},
        "course-line": {"stroke": muted, "strokeWidth": 1},
        "course-label": {"fill": muted, **font},
        "missing": {
            "shape": "cross",
            "size": 40,
            "fill": card,
            "stroke": muted,
            "strokeWidth": 1.5,
            "yOffset": 9,
        },
        "hidden": {
            "shape": "circle",
            "size": 40,
            "fill": card,
            "stroke": muted,
            "strokeWidth": 1.5,
            "yOffset": 9,
        },
        "axis": {
            "labelColor": muted,
            "titleColor": muted,
            "gridColor": colours["line"],
            "domainColor": colours["line"],
            "tickColor": muted,
            "labelFontSize": 13,
            "titleFontSize": 13,
            "labelFont": font["font"],
            "titleFont": font["font"],
            "titleFontWeight": "normal",
            "titlePadding": 10,
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


def _missing_layer(
    planned: Sequence[Planned],
    shown: set[int],
    minimum: int,
    look: dict[str, dict[str, Any]],
    writing: Writing,
) -> list[dict[str, Any]]:
    """Marks under the axis: a cross for a form that did not come, a ring for one that is not shown."""
    _ = writing.translate
    reasons = {
        "missing": _("Session %(session)d: no form came in"),
        "declined": _("Session %(session)d: the form was left empty"),
    }
    unseen = {"received": _("Session %(session)d: received, not shown")}
    layers = []
    for name, words in (("missing", reasons), ("hidden", unseen)):
        rows = [
            {"session": row.number, "value": minimum, "words": words[row.state] % {"session": row.number}}
            for row in planned
            if row.state in words and row.number not in shown
        ]
        if rows:
            layers.append(_points(name, rows, look[name]))
    return layers


def _label_layers(
    ends: list[tuple[str, float, str]],
    minimum: int,
    maximum: int,
    horizon: int,
    look: dict[str, dict[str, Any]],
    writing: Writing,
) -> list[dict[str, Any]]:
    """Names beside the ends of the lines instead of a legend, pushed apart where they would overlap."""
    gap = (maximum - minimum) / 16
    layers: list[dict[str, Any]] = []
    floor = float(minimum)
    for words, value, style in sorted(ends, key=lambda end: end[1]):
        at = max(value, floor)
        floor = at + gap
        row = {"session": max(horizon, 3) + 0.5, "value": at}
        away = {"align": "right", "dx": -8} if writing.is_rtl else {"align": "left", "dx": 8}
        mark = {"type": "text", "text": words, "aria": False, **away, **look[style]}
        layers.append({"data": {"values": [row]}, "mark": mark})
    return layers
