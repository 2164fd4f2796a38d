"""Pure: the numbers of one therapy as a Vega-Lite picture, a table, and a sentence.

The picture names what each mark is (its style), and one place says how a style looks. Every picture has its
table and its sentence from the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

PATIENT, THERAPIST = "patient", "therapist"

# In the page the colours are those of the style sheet, so that light, dark and print follow it by
# themselves. A picture made on the server has no style sheet.
TOKENS = ("accent", "therapist", "text", "muted", "line", "card")
PAGE = {name: f"var(--{name})" for name in TOKENS}
PICTURE = {
    "accent": "#0B6E6E",
    "therapist": "#A64B2A",
    "text": "#1F2A30",
    "muted": "#55626B",
    "line": "#D9DEE0",
    "card": "#FFFFFF",
}


class Rating(Protocol):
    @property
    def session(self) -> int: ...
    @property
    def value(self) -> float: ...


class Expected(Protocol):
    @property
    def session(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def lower(self) -> float: ...
    @property
    def upper(self) -> float: ...


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
    patient: Sequence[Rating], therapist: Sequence[Rating], expected: Sequence[Expected], planned: Sequence[Planned]
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


def sentence(perspective: str, ratings: Sequence[Rating], expected: Sequence[Expected]) -> str:
    """Reads the chart aloud; says no more than the last rating and its band carry."""
    if not ratings:
        return f"There is no {perspective} rating to show yet."
    last = ratings[-1]
    course = {point.session: point for point in expected}.get(last.session)
    text = f"The last {perspective} rating is {last.value:.1f}, at session {last.session}"
    if course is None:
        return f"{text}. There is no expected course to compare it with yet."
    gap = last.value - course.mean
    side = "as expected" if abs(gap) < 0.05 else f"{abs(gap):.1f} {'above' if gap > 0 else 'below'} the expected course"
    band = f"{course.lower:.1f} to {course.upper:.1f}"
    where = "within" if course.lower <= last.value <= course.upper else "outside"
    return f"{text}: {side} and {where} the range that holds 80 % of such ratings ({band})."


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
) -> dict[str, Any]:
    """The chart of one therapy: session number by item mean, the full scale of the form, never cut."""
    x_scale = {"domain": [0, max(horizon, 3) + 1], "nice": False}
    y_scale = {"domain": [minimum, maximum], "nice": False, "zero": False}
    ticks = sorted({row.number for row in planned} if len(planned) <= 12 else set(range(0, horizon + 2, 5)))
    x = {
        "field": "session",
        "type": "quantitative",
        "scale": x_scale,
        "axis": {"title": "Session", "values": ticks, "format": "d", "grid": False},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "scale": y_scale,
        "axis": {
            "title": f"Item mean, {minimum} to {maximum} (stronger alliance ↑)",
            "tickMinStep": 1,
            "tickCount": maximum - minimum,
            "domain": False,
            "ticks": False,
        },
    }
    points = [
        _described(rater, point, expected if rater == perspective else ())
        for rater, series in ((PATIENT, patient), (THERAPIST, therapist))
        for point in series
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "description": f"Alliance by session, with the course that is expected of the {perspective} ratings.",
        "width": "container",
        "height": 320,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": points},
        "layer": [
            *_course_layers(expected, x, y),
            *_rater_layers(PATIENT, patient, x, y, {"shape": "circle", "filled": True, "size": 70}),
            *_rater_layers(THERAPIST, therapist, x, y, {"shape": "triangle-up", "filled": False, "size": 80}),
            *_missing_layer(planned, minimum, x, y),
        ],
        "config": _config(colours),
    }


def _config(colours: dict[str, str]) -> dict[str, Any]:
    """The look of each style."""
    text = {"fontSize": 13, "font": "system-ui, sans-serif"}
    return {
        "background": "transparent",
        "view": {"stroke": None},
        "axis": {
            "labelColor": colours["muted"],
            "titleColor": colours["muted"],
            "gridColor": colours["line"],
            "domainColor": colours["line"],
            "tickColor": colours["muted"],
            "labelFontSize": 13,
            "titleFontSize": 13,
            "labelFont": text["font"],
            "titleFont": text["font"],
            "titleFontWeight": "normal",
            "titlePadding": 10,
        },
        "style": {
            "patient-line": {"stroke": colours["accent"], "strokeWidth": 2},
            "patient-point": {"fill": colours["accent"], "stroke": colours["card"], "strokeWidth": 1},
            "patient-label": {"fill": colours["accent"], **text},
            "therapist-line": {"stroke": colours["therapist"], "strokeWidth": 2, "strokeDash": [5, 4]},
            "therapist-point": {"fill": colours["card"], "stroke": colours["therapist"], "strokeWidth": 2},
            "therapist-label": {"fill": colours["therapist"], **text},
            "band": {"fill": colours["accent"], "fillOpacity": 0.14},
            "course-line": {"stroke": colours["muted"], "strokeWidth": 1},
            "course-label": {"fill": colours["muted"], **text},
            "missing": {"stroke": colours["muted"], "strokeWidth": 1.5},
        },
    }


def _described(rater: str, point: Rating, expected: Sequence[Expected]) -> dict[str, Any]:
    course = {row.session: row for row in expected}.get(point.session)
    words = f"Session {point.session}, {rater}, {point.value:.1f}"
    if course is not None:
        words += f", expected {course.mean:.1f} ({course.lower:.1f} to {course.upper:.1f})"
    return {"session": point.session, "value": point.value, "rater": rater, "words": words}


def _course_layers(expected: Sequence[Expected], x: dict[str, Any], y: dict[str, Any]) -> list[dict[str, Any]]:
    if not expected:
        return []
    rows = [
        {"session": point.session, "value": point.mean, "lower": point.lower, "upper": point.upper}
        for point in expected
    ]
    band_y = {**y, "field": "lower"}
    return [
        {
            "name": "band",
            "data": {"values": rows},
            "mark": {"type": "area", "style": "band", "clip": True, "aria": False},
            "encoding": {"x": x, "y": band_y, "y2": {"field": "upper"}},
        },
        {
            "name": "course",
            "data": {"values": rows},
            "mark": {"type": "line", "style": "course-line", "clip": True, "aria": False},
            "encoding": {"x": x, "y": y},
        },
        _end_label("expected", "course-label", rows[-1], x, y),
    ]


def _rater_layers(
    rater: str, series: Sequence[Rating], x: dict[str, Any], y: dict[str, Any], point: dict[str, Any]
) -> list[dict[str, Any]]:
    if not series:
        return []
    only = {"filter": {"field": "rater", "equal": rater}}
    last = {"session": series[-1].session, "value": series[-1].value}
    return [
        {
            "name": f"{rater}_line",
            "transform": [only],
            "mark": {"type": "line", "style": f"{rater}-line", "interpolate": "linear", "aria": False},
            "encoding": {"x": x, "y": y},
        },
        {
            "name": f"{rater}_points",
            "transform": [only],
            "mark": {"type": "point", "style": f"{rater}-point", **point, "tooltip": True},
            "encoding": {
                "x": x,
                "y": y,
                "description": {"field": "words", "type": "nominal"},
                "tooltip": {"field": "words", "type": "nominal"},
            },
        },
        _end_label(rater, f"{rater}-label", last, x, y, rise=-12 if rater == PATIENT else 14),
    ]


def _end_label(
    words: str, style: str, row: dict[str, Any], x: dict[str, Any], y: dict[str, Any], rise: int = 0
) -> dict[str, Any]:
    return {
        "data": {"values": [{**row, "words": words}]},
        "mark": {"type": "text", "style": style, "align": "right" if rise == 0 else "center", "dy": rise or 12},
        "encoding": {"x": x, "y": y, "text": {"field": "words", "type": "nominal"}},
    }


def _missing_layer(
    planned: Sequence[Planned], minimum: int, x: dict[str, Any], y: dict[str, Any]
) -> list[dict[str, Any]]:
    """A hollow mark at the foot for every form that was asked for and did not come."""
    reasons = {"missing": "no rating came in", "declined": "declined"}
    rows = [
        {"session": row.number, "value": minimum, "words": f"Session {row.number}: {reasons[row.state]}"}
        for row in planned
        if row.state in reasons
    ]
    if not rows:
        return []
    return [
        {
            "name": "missing",
            "data": {"values": rows},
            "mark": {"type": "point", "style": "missing", "shape": "cross", "filled": False, "size": 60},
            "encoding": {
                "x": x,
                "y": y,
                "description": {"field": "words", "type": "nominal"},
                "tooltip": {"field": "words", "type": "nominal"},
            },
        }
    ]
