"""Pure: differences between a therapist and their patients as a Vega-Lite picture.

One row for each therapy in the order of their codes, which ranks nobody: a dot at the mean of the therapist's
rating minus the patient's. Above them the mean difference with its interval, where there is one. The table of
the page has the same numbers.
"""

from math import ceil
from typing import Any

from analytics.agreement import Agreement
from analytics.agreement_words import difference_sentence, mark_words
from analytics.charts import PAGE
from analytics.wording import ENGLISH, Writing

ROW = 26


def agreement_spec(
    found: Agreement, colours: dict[str, str] = PAGE, writing: Writing = ENGLISH
) -> dict[str, Any]:
    """The chart of one form; both directions have the same room, so that the middle is no difference."""
    _ = writing.translate
    all_rows = writing.in_picture(_("All"))
    names = [dyad.therapy for dyad in found.dyads]
    if found.difference:
        names = [all_rows, *names]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": _("Your rating minus your patient’s, mean of each therapy."),
        "width": "container",
        "height": {"step": ROW},
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": [
            *_all_layers(found, all_rows, colours, writing),
            _dots(found, colours, writing),
        ],
        "encoding": {
            "x": _x(_reach(found), colours, writing),
            "y": {
                "field": "therapy",
                "type": "nominal",
                "scale": {"domain": names, "padding": 0.5},
                "axis": {
                    "title": None,
                    "orient": "right" if writing.is_rtl else "left",
                    "domain": False,
                    "ticks": False,
                    "grid": True,
                },
            },
        },
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": _axis(colours)},
    }


def _reach(found: Agreement) -> int:
    """The whole points that hold every mark, at least one."""
    ends = [dyad.difference for dyad in found.dyads]
    if found.difference:
        ends += [found.difference.lower, found.difference.upper]
    return max(1, ceil(max(abs(end) for end in ends)))


def _x(reach: int, colours: dict[str, str], writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    return {
        "field": "difference",
        "type": "quantitative",
        "scale": {"domain": [-reach, reach], "nice": False, "reverse": writing.is_rtl},
        "axis": {
            "title": writing.in_picture(_("You minus patient, in points")),
            "values": list(range(-reach, reach + 1)),
            # One line alone, where there is no difference.
            "grid": True,
            "gridColor": {
                "condition": {"test": "datum.value === 0", "value": colours["muted"]},
                "value": "transparent",
            },
            "labelExpr": "datum.value === 0 ? '0' : format(datum.value, '+d')",
        },
    }


def _axis(colours: dict[str, str]) -> dict[str, Any]:
    font = "system-ui, sans-serif"
    return {
        "labelColor": colours["muted"],
        "titleColor": colours["muted"],
        "gridColor": colours["line"],
        "domainColor": colours["line"],
        "tickColor": colours["muted"],
        "labelFontSize": 13,
        "titleFontSize": 13,
        "labelFont": font,
        "titleFont": font,
        "titleFontWeight": "normal",
        "titlePadding": 10,
    }


def _all_layers(
    found: Agreement, name: str, colours: dict[str, str], writing: Writing
) -> list[dict[str, Any]]:
    """The mean difference over all therapies, with its interval."""
    if found.difference is None:
        return []
    words = {"field": "words", "type": "nominal"}
    row = {
        "therapy": name,
        "difference": found.difference.value,
        "lower": found.difference.lower,
        "upper": found.difference.upper,
        "words": difference_sentence(found, writing),
    }
    data = {"values": [row]}
    accent = colours["therapist"]
    return [
        {
            "name": "interval",
            "data": data,
            "mark": {"type": "rule", "stroke": accent, "strokeWidth": 2, "aria": False},
            "encoding": {"x": {"field": "lower", "type": "quantitative"}, "x2": {"field": "upper"}},
        },
        {
            "name": "all",
            "data": data,
            "mark": {
                "type": "point",
                "shape": "diamond",
                "size": 130,
                "opacity": 1,
                "fill": accent,
                "stroke": colours["card"],
                "strokeWidth": 1,
            },
            "encoding": {"description": words, "tooltip": words},
        },
    ]


def _dots(found: Agreement, colours: dict[str, str], writing: Writing) -> dict[str, Any]:
    words = {"field": "words", "type": "nominal"}
    rows = [
        {"therapy": dyad.therapy, "difference": dyad.difference, "words": mark_words(dyad, writing)}
        for dyad in found.dyads
    ]
    return {
        "name": "therapies",
        "data": {"values": rows},
        "mark": {
            "type": "point",
            "shape": "triangle-up",
            "size": 70,
            "opacity": 1,
            "fill": colours["card"],
            "stroke": colours["therapist"],
            "strokeWidth": 2,
        },
        "encoding": {"description": words, "tooltip": words},
    }
