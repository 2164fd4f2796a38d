"""Pure: what a therapist said of their own practice as Vega-Lite pictures. The tables of the page have the
same numbers.

The scale of every picture is the whole answer scale of the form; composites run from 0 to 1. In the plane of
both composites no place has a name, as there are no cut-offs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analytics.look import PAGE, marks, title_above
from analytics.practice_bands import Band
from analytics.wording import ENGLISH, THERAPIST, Writing

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_WORDS = {"field": "words", "type": "nominal"}
# The lines of the plane are fifths: a line in the middle would cut it into four.
_FIFTHS = [0, 0.2, 0.4, 0.6, 0.8, 1]
_ENDS_ONLY = "datum.value === 0 || datum.value === 1 ? format(datum.value, 'd') : ''"


@dataclass(frozen=True)
class Spot:
    """One place on the axis of time: its short name, its value where it has one, and what it says."""

    label: str
    value: float | None
    words: str
    is_missing: bool = False
    """A form came in, and had too few answers."""


@dataclass(frozen=True)
class Spread:
    """The others' middle half, drawn at the last place of the axis."""

    band: Band
    words: str


def scale_spec(
    spots: Sequence[Spot],
    *,
    minimum: int,
    maximum: int,
    description: str,
    spread: Spread | None = None,
    n_labels: int = 6,
    colours: dict[str, str] = PAGE,
    writing: Writing = ENGLISH,
) -> dict[str, Any]:
    """One scale over time. Neighbours with a value are joined; nothing is drawn across a gap."""
    look = marks(colours, THERAPIST)
    labels = [writing.in_picture(spot.label) for spot in spots]
    return {
        **_frame(description, 180, colours, look),
        "layer": [
            *_spread_layer(labels[-1], spread, look),
            *_line_layer(_runs(spots, labels), look),
            _points_layer(spots, labels, look),
            *_missing_layer(spots, labels, minimum, look),
        ],
        "encoding": {
            "x": {
                "field": "label",
                "type": "nominal",
                "scale": {"type": "point", "domain": labels, "padding": 0.5, "reverse": writing.is_rtl},
                "axis": {
                    "title": None,
                    "values": _few(labels, n_labels),
                    "labelAngle": 0,
                    "labelPadding": 14,
                    "labelOverlap": False,
                },
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": [minimum, maximum], "nice": False, "zero": False},
                "axis": {
                    "title": None,
                    "orient": "right" if writing.is_rtl else "left",
                    "values": list(range(minimum, maximum + 1)),
                    "domain": False,
                    "ticks": False,
                },
            },
        },
    }


def _frame(description: str, height: int, colours: dict[str, str], look: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": _SCHEMA,
        "description": description,
        "width": "container",
        "height": height,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }


def _few(labels: Sequence[str], most: int) -> list[str]:
    """At most so many of them (at least 2), evenly spread, with the first and the last."""
    if len(labels) <= most:
        return list(labels)
    last = len(labels) - 1
    return [labels[round(at * last / (most - 1))] for at in range(most)]


def _runs(spots: Sequence[Spot], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The values, each with the number of the unbroken stretch that it belongs to."""
    rows, run = [], 0
    for spot, label in zip(spots, labels, strict=True):
        if spot.value is None:
            run += 1
        else:
            rows.append({"label": label, "value": spot.value, "run": run})
    return rows


def _line_layer(rows: list[dict[str, Any]], look: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) < 2:
        return []
    # Nominal places are joined in the order of the alphabet unless an order is given.
    placed = [row | {"at": at} for at, row in enumerate(rows)]
    return [
        {
            "name": "line",
            "data": {"values": placed},
            "mark": {"type": "line", "aria": False, **look["therapist-line"]},
            "encoding": {
                "detail": {"field": "run", "type": "nominal"},
                "order": {"field": "at", "type": "quantitative"},
            },
        }
    ]


def _points_layer(
    spots: Sequence[Spot], labels: Sequence[str], look: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    rows = [
        {"label": label, "value": spot.value, "words": spot.words}
        for spot, label in zip(spots, labels, strict=True)
        if spot.value is not None
    ]
    return _marks("points", rows, look["therapist-point"])


def _marks(name: str, rows: list[dict[str, Any]], look: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "data": {"values": rows},
        "mark": {"type": "point", "opacity": 1, **look},
        "encoding": {"description": _WORDS, "tooltip": _WORDS},
    }


def _missing_layer(
    spots: Sequence[Spot], labels: Sequence[str], minimum: int, look: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """A cross under the axis for a form without a value on this scale."""
    rows = [
        {"label": label, "value": minimum, "words": spot.words}
        for spot, label in zip(spots, labels, strict=True)
        if spot.is_missing
    ]
    return [_marks("missing", rows, look["missing"])] if rows else []


def _spread_layer(label: str, spread: Spread | None, look: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    if spread is None:
        return []
    row = {"label": label, "value": spread.band.lower, "upper": spread.band.upper, "words": spread.words}
    return [
        {
            "name": "others",
            "data": {"values": [row]},
            "mark": {"type": "rule", "strokeWidth": 22, **look["lone-band"]},
            "encoding": {"y2": {"field": "upper"}, "description": _WORDS, "tooltip": _WORDS},
        }
    ]


def plane_spec(
    places: Sequence[tuple[str, float, float, str]],
    *,
    description: str,
    colours: dict[str, str] = PAGE,
    writing: Writing = ENGLISH,
) -> dict[str, Any]:
    """Healing by stressful involvement: (period, healing, stressful, words) in the order of time, joined."""
    _ = writing.translate
    look = marks(colours, THERAPIST)
    rows = [
        {"label": writing.in_picture(label), "value": healing, "across": stressful, "words": words, "at": at}
        for at, (label, healing, stressful, words) in enumerate(places)
    ]
    line = {
        "name": "line",
        "data": {"values": rows},
        "mark": {"type": "line", "aria": False, **look["therapist-line"]},
        "encoding": {"order": {"field": "at", "type": "quantitative"}},
    }
    return {
        **_frame(description, 340, colours, look),
        "layer": [
            *([line] if len(rows) > 1 else []),
            _marks("points", rows, look["therapist-point"]),
            _names_layer(rows, look, writing),
        ],
        "encoding": {
            "x": {
                "field": "across",
                "type": "quantitative",
                "scale": {"domain": [0, 1], "nice": False, "reverse": writing.is_rtl},
                "axis": {
                    "title": writing.in_picture(_("Stressful involvement, 0 to 1")),
                    "values": _FIFTHS,
                    "labelExpr": _ENDS_ONLY,
                    "grid": True,
                },
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": [0, 1], "nice": False},
                "axis": {
                    "title": writing.in_picture(_("Healing involvement, 0 to 1")),
                    **title_above(writing),
                    "values": _FIFTHS,
                    "labelExpr": _ENDS_ONLY,
                    "domain": False,
                    "ticks": False,
                },
            },
        },
    }


def _names_layer(
    rows: Sequence[dict[str, Any]], look: dict[str, dict[str, Any]], writing: Writing
) -> dict[str, Any]:
    """The name of each period beside its point, pushed apart where two would overlap, and past a point that
    would lie under it."""
    named, floor = [], 0.02
    for row in sorted(rows, key=lambda row: (row["value"], row["at"])):
        height = max(row["value"], floor)
        floor = height + 0.055
        under = [
            other["across"]
            for other in rows
            if 0 <= other["across"] - row["across"] < 0.2 and abs(other["value"] - height) < 0.06
        ]
        named.append({"label": row["label"], "value": height, "across": max([row["across"], *under])})
    away = {"align": "right", "dx": -12} if writing.is_rtl else {"align": "left", "dx": 12}
    return {
        "name": "names",
        "data": {"values": named},
        "mark": {"type": "text", "aria": False, **away, **look["therapist-label"]},
        "encoding": {"text": {"field": "label", "type": "nominal"}},
    }
