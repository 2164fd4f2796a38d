"""Pure: power by number of therapists as a Vega-Lite picture; one line for each number of patients.

The table of the page has the same numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.look import PAGE, marks, title_above
from analytics.plan_words import share_words
from analytics.wording import ENGLISH, PATIENT, Writing

HEIGHT = 240
# Told apart without colour.
DASHES = ([1, 0], [6, 4], [2, 3], [8, 3, 2, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond")


def power_spec(
    designs: Sequence[Mapping[str, Any]],
    effect: str,
    colours: dict[str, str] = PAGE,
    writing: Writing = ENGLISH,
) -> dict[str, Any]:
    """Of one effect; designs without a fitted study are left out, and stand in the table."""
    _ = writing.translate
    look = marks(colours, PATIENT)
    rows = [_row(row, effect, writing) for row in designs if row["effects"][effect]["rejected"]]
    caseloads = sorted({row["patients"] for row in rows})
    kinds = {"field": "patients", "type": "ordinal", "legend": None}
    dash = {**kinds, "scale": {"domain": caseloads, "range": _first(DASHES, len(caseloads))}}
    shape = {**kinds, "scale": {"domain": caseloads, "range": _first(SHAPES, len(caseloads))}}
    words = {"field": "words", "type": "nominal"}
    line = {"stroke": colours["accent"], "aria": False}
    last = max((row["therapists"] for row in rows), default=1)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": _("Power in percent by number of therapists."),
        "width": "container",
        "height": HEIGHT,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": rows},
        "layer": [
            _aim(colours, writing),
            {
                "name": "line",
                "mark": {"type": "line", **line, "strokeWidth": 1.5},
                "encoding": {"strokeDash": dash, "detail": {"field": "patients"}},
            },
            {
                "name": "interval",
                "mark": {"type": "rule", **line, "strokeWidth": 1.5},
                "encoding": {"y": {"field": "lower", "type": "quantitative"}, "y2": {"field": "upper"}},
            },
            {
                "name": "power",
                "mark": {
                    "type": "point",
                    "opacity": 1,
                    "size": 60,
                    "fill": colours["accent"],
                    "stroke": colours["card"],
                },
                "encoding": {"shape": shape, "description": words, "tooltip": words},
            },
            _labels(last, look, writing),
        ],
        "encoding": {"x": _x(last, writing), "y": _y(writing)},
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }


def _first(kinds: Sequence[Any], n: int) -> list[Any]:
    return [kinds[place % len(kinds)] for place in range(max(n, 1))]


def _row(row: Mapping[str, Any], effect: str, writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    share = row["effects"][effect]["rejected"]
    words = _("%(therapists)d therapists with %(patients)d patients each: %(share)s") % {
        "therapists": row["n_therapists"],
        "patients": row["n_patients"],
        "share": share_words(row["effects"][effect], writing),
    }
    values = {key: 100 * share[key] for key in ("lower", "upper")}
    return {
        "therapists": row["n_therapists"],
        "patients": row["n_patients"],
        "value": 100 * share["share"],
        "words": words,
        "label": writing.in_picture(_("%(n)d patients each") % {"n": row["n_patients"]}),
        **values,
    }


def _aim(colours: dict[str, str], writing: Writing) -> dict[str, Any]:
    return {
        "name": "aim",
        "data": {"values": [{"value": 80}]},
        "mark": {
            "type": "rule",
            "stroke": colours["muted"],
            "strokeDash": [1, 3],
            "aria": False,
        },
        "encoding": {"x": None, "y": {"field": "value", "type": "quantitative"}},
    }


def _labels(last: int, look: Mapping[str, Any], writing: Writing) -> dict[str, Any]:
    return {
        "name": "label",
        "transform": [{"filter": f"datum.therapists === {last}"}],
        "mark": {
            "type": "text",
            **look["course-label"],
            "align": "right" if writing.is_rtl else "left",
            "dx": -8 if writing.is_rtl else 8,
            "aria": False,
        },
        "encoding": {"text": {"field": "label"}},
    }


def _x(last: int, writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    return {
        "field": "therapists",
        "type": "quantitative",
        # Room at the end for the labels of the lines.
        "scale": {"domain": [0, last * 1.3], "nice": False, "reverse": writing.is_rtl},
        "axis": {
            "title": writing.in_picture(_("Therapists")),
            "format": "d",
            "tickMinStep": 1,
            "grid": False,
        },
    }


def _y(writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, 100], "nice": False},
        "axis": {
            "title": writing.in_picture(_("Power, in %")),
            **title_above(writing),
            "values": [0, 20, 40, 60, 80, 100],
            "domain": False,
            "ticks": False,
        },
    }
