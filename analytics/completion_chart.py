"""Pure: how many forms came in by session number, as a Vega-Lite picture: a mark with its interval for every
session at which a form was asked for. The table of the page has the same numbers."""

from collections.abc import Mapping
from typing import Any

from analytics.disclosure import Share
from analytics.look import PAGE, marks, title_above
from analytics.wording import ENGLISH, PATIENT, Writing

HEIGHT = 200


def completion_spec(
    rater: str, shares: Mapping[int, Share], colours: dict[str, str] = PAGE, writing: Writing = ENGLISH
) -> dict[str, Any]:
    """The chart of one rater's form; the scale goes from none to all, never cut."""
    _ = writing.translate
    look = marks(colours, rater)
    rows = [_row(number, share, writing) for number, share in shares.items() if share.n]
    words = {"field": "words", "type": "nominal"}
    interval = {"stroke": look[f"{rater}-line"]["stroke"], "strokeWidth": 1.5, "aria": False}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": _("Patients’ forms received by session, in percent.")
        if rater == PATIENT
        else _("Therapists’ forms received by session, in percent."),
        "width": "container",
        "height": HEIGHT,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": rows},
        "layer": [
            {
                "name": "interval",
                "mark": {"type": "rule", **interval},
                "encoding": {"y": {"field": "lower", "type": "quantitative"}, "y2": {"field": "upper"}},
            },
            {
                "name": "share",
                # Small: with a form at every session there are many.
                "mark": {"type": "point", "opacity": 1, **look[f"{rater}-point"], "size": 45},
                "encoding": {"description": words, "tooltip": words},
            },
        ],
        "encoding": {"x": _x(max(shares), writing), "y": _y(writing)},
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }


def _row(number: int, share: Share, writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    lower, upper = share.interval or (0.0, 0.0)
    numbers = {"lower": 100 * lower, "value": 100 * share.k / share.n, "upper": 100 * upper}
    words = _(
        "Session %(session)d: %(received)d of %(due)d received, %(share)d %% (%(lower)d to %(upper)d)"
    ) % {
        "session": number,
        "received": share.k,
        "due": share.n,
        "share": round(numbers["value"]),
        "lower": round(numbers["lower"]),
        "upper": round(numbers["upper"]),
    }
    return {"session": number, "words": words, **numbers}


def _x(last: int, writing: Writing) -> dict[str, Any]:
    _ = writing.translate
    return {
        "field": "session",
        "type": "quantitative",
        "scale": {"domain": [0.5, max(last, 3) + 0.5], "nice": False, "reverse": writing.is_rtl},
        "axis": {
            "title": writing.in_picture(_("Session")),
            "format": "d",
            "tickMinStep": 1,
            "tickCount": 8,
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
            "title": writing.in_picture(_("Received, in %")),
            **title_above(writing),
            "values": [0, 25, 50, 75, 100],
            "domain": False,
            "ticks": False,
        },
    }
