"""Pure: an analysis as Vega-Lite pictures. The tables of the page have the same numbers.

Shape and dash tell the perspectives apart without colour. The courses are drawn on the whole answer scale of
the form, so that a small effect looks small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.look import PAGE, marks, title_above
from analytics.research.table import Effect, Row
from analytics.research.words import Words, effect_title, interval, number, predictor_title, rater_title
from analytics.wording import PATIENT

Spec = dict[str, Any]
Values = Mapping[str, Any]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_WORDS = {"field": "words", "type": "nominal"}
DIFFERENCE = "difference"
ROW, LANE = 62, 15
DASHES = {-1: [2, 3], 0: [1, 0], 1: [8, 4]}


def effects_spec(
    rows: Sequence[Row], result: Values, effect: str, words: Words, colours: dict[str, str] = PAGE
) -> Spec:
    """Effects of each predictor on level or growth, by perspective, and their difference, with intervals."""
    _ = words.translate
    titles = {column["name"]: predictor_title(column, words) for column in result["predictors"]}
    own = [row for row in rows if row.predictor and row.effect == effect]
    shown = [words.in_picture(titles[row.predictor]) for row in own]
    values = [
        value
        for row, title in zip(own, shown, strict=True)
        for series, found in _series(row)
        if (value := _mark(title, series, found, words)) is not None
    ]
    look = marks(colours, PATIENT)
    names = [*result["n"], *([DIFFERENCE] if any(row.difference for row in own) else [])]
    return {
        "$schema": _SCHEMA,
        "description": _("Effects of the predictors with 95 %% intervals: %(what)s")
        % {"what": effect_title(effect, result["time"], words)},
        "width": "container",
        "height": ROW * len(own) + 40,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": values},
        "layer": [
            {
                "name": "zero",
                "data": {"values": [{"value": 0}]},
                "mark": {"type": "rule", "stroke": colours["muted"], "strokeWidth": 1, "aria": False},
                "encoding": {
                    "x": {"field": "value", "type": "quantitative"},
                    "y": {"value": 0},
                    "y2": {"value": "height"},
                },
            },
            *(layer for name in names for layer in _of_series(name, look, colours)),
        ],
        "encoding": {
            "y": {
                "field": "predictor",
                "type": "nominal",
                "scale": {"domain": shown, "paddingInner": 0.25},
                "axis": {
                    "title": None,
                    "orient": "right" if words.is_rtl else "left",
                    "domain": False,
                    "ticks": False,
                    "labelLimit": 180,
                },
            }
        },
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }


def _series(row: Row) -> list[tuple[str, Effect]]:
    effects = list((row.joint or row.separate).items())
    return effects if row.difference is None else [*effects, (DIFFERENCE, row.difference)]


def _mark(title: str, series: str, found: Effect, words: Words) -> Spec | None:
    _ = words.translate
    if found.values is None:
        return None
    name = _("Patients minus therapists") if series == DIFFERENCE else rater_title(series, words)
    ends = interval(found.get("lower"), found.get("upper"), words)
    return {
        "predictor": title,
        "series": series,
        "value": found.get("estimate"),
        "lower": found.get("lower"),
        "upper": found.get("upper"),
        "words": f"{title}, {name}: {number(found.get('estimate'), words)} ({ends})",
    }


def _of_series(name: str, look: Mapping[str, Spec], colours: dict[str, str]) -> list[Spec]:
    # By pixels: an offset scale inside a scale of steps makes Vega complain.
    point, stroke, away = {
        "patient": (look["patient-point"], colours["accent"], {"yOffset": -LANE}),
        "therapist": (look["therapist-point"], colours["therapist"], {}),
        DIFFERENCE: (
            {"shape": "diamond", "size": 90, "fill": colours["muted"], "strokeWidth": 0},
            colours["muted"],
            {"yOffset": LANE},
        ),
    }[name]
    only = [{"filter": f"datum.series === '{name}'"}]
    return [
        {
            "name": f"{name}-interval",
            "transform": only,
            "mark": {"type": "rule", "stroke": stroke, "strokeWidth": 2, "aria": False, **away},
            "encoding": {
                "x": {"field": "lower", "type": "quantitative", "axis": {"title": None, "grid": True}},
                "x2": {"field": "upper"},
            },
        },
        {
            "name": f"{name}-estimate",
            "transform": only,
            "mark": {"type": "point", "opacity": 1, **point, **away},
            "encoding": {
                "x": {"field": "value", "type": "quantitative"},
                "description": _WORDS,
                "tooltip": _WORDS,
            },
        },
    ]


def course_spec(
    course: Values,
    names: Mapping[int, str],
    ends: tuple[int, int],
    words: Words,
    colours: dict[str, str] = PAGE,
) -> Spec:
    """One rater's mean course at values of one predictor; `names` of the lines by their step."""
    _ = words.translate
    stroke = colours["accent" if course["rater"] == PATIENT else "therapist"]
    return {
        "$schema": _SCHEMA,
        "description": _("%(rater)s: mean course with 95 %% intervals")
        % {"rater": rater_title(course["rater"], words)},
        "width": "container",
        "height": 260,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": _course_values(course, names, words)},
        "layer": [
            {
                "name": "bands",
                "mark": {"type": "area", "aria": False, "fill": stroke, "fillOpacity": 0.07},
                "encoding": {
                    "y": {"field": "lower", "type": "quantitative"},
                    "y2": {"field": "upper"},
                    "detail": {"field": "line", "type": "nominal"},
                },
            },
            {
                "name": "lines",
                "mark": {"type": "line", "aria": False, "stroke": stroke, "strokeWidth": 2},
                "encoding": {"strokeDash": _dashes(course, names, stroke, words, colours)},
            },
            {
                "name": "points",
                "mark": {"type": "point", "opacity": 0, "size": 200, "fill": stroke},
                "encoding": {"description": _WORDS, "tooltip": _WORDS},
            },
        ],
        "encoding": {
            "x": {
                "field": "session",
                "type": "quantitative",
                "scale": {"reverse": words.is_rtl, "nice": False, "zero": False},
                "axis": {"title": words.in_picture(_("Session")), "format": "d", "grid": False},
            },
            "y": _answer_scale(ends, words),
        },
        "config": {
            "background": colours["ground"],
            "view": {"stroke": None},
            "axis": marks(colours, course["rater"])["axis"],
        },
    }


def _course_values(course: Values, names: Mapping[int, str], words: Words) -> list[Spec]:
    _ = words.translate
    of_session = _("Session")
    return [
        {
            "line": words.in_picture(names[line["step"]]),
            "session": session,
            "value": mean,
            "lower": lower,
            "upper": upper,
            "words": f"{names[line['step']]}, {of_session} {words.digits(session, 0)}: "
            f"{number(mean, words, 2)} ({number(lower, words, 2)}–{number(upper, words, 2)})",
        }
        for line in course["lines"]
        for session, (mean, lower, upper) in zip(course["sessions"], line["points"], strict=True)
    ]


def _dashes(
    course: Values, names: Mapping[int, str], stroke: str, words: Words, colours: dict[str, str]
) -> Spec:
    steps = [line["step"] for line in course["lines"]]
    legend = {
        "title": None,
        "orient": "bottom",
        "labelColor": colours["muted"],
        "labelFontSize": 13,
        "labelLimit": 220,
        "columns": 1,
        "symbolStrokeColor": stroke,
        "symbolStrokeWidth": 2,
        "symbolSize": 500,
        "aria": False,
    }
    return {
        "field": "line",
        "type": "nominal",
        "scale": {
            "domain": [words.in_picture(names[step]) for step in steps],
            "range": [DASHES[step] for step in steps],
        },
        "legend": legend,
    }


def _answer_scale(ends: tuple[int, int], words: Words) -> Spec:
    _ = words.translate
    title = _("Item mean, %(minimum)d to %(maximum)d (stronger alliance ↑)")
    return {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": list(ends), "nice": False, "zero": False},
        "axis": {
            "title": words.in_picture(title % {"minimum": ends[0], "maximum": ends[1]}),
            **title_above(words),
            "values": list(range(ends[0], ends[1] + 1)),
            "domain": False,
            "ticks": False,
        },
    }


def normal_spec(found: Values, title: str, words: Words, colours: dict[str, str] = PAGE) -> Spec:
    """Quantiles of residuals or effects against those of a normal distribution of their SD; on the line they
    are alike."""
    _ = words.translate
    sd = found["sd"]
    values = [
        {
            "normal": quantile * sd,
            "found": value,
            "words": _("normal %(normal)s, found %(found)s")
            % {"normal": number(quantile * sd, words, 2), "found": number(value, words, 2)},
        }
        for quantile, value in found["points"]
    ]
    reach = [values[0]["normal"], values[-1]["normal"]]
    look = marks(colours, found["rater"])
    axis = {"type": "quantitative", "scale": {"zero": False}}
    return {
        "$schema": _SCHEMA,
        "description": title,
        "width": "container",
        "height": 180,
        "padding": {"left": 4, "top": 8, "right": 8, "bottom": 4},
        "autosize": {"type": "fit", "contains": "padding"},
        "layer": [
            {
                "name": "normal",
                "data": {"values": [{"normal": end, "found": end} for end in reach]},
                "mark": {"type": "line", "aria": False, "stroke": colours["muted"], "strokeWidth": 1},
            },
            {
                "name": "found",
                "data": {"values": values},
                "mark": {"type": "point", "opacity": 1, **look[f"{found['rater']}-point"], "size": 40},
                "encoding": {"description": _WORDS, "tooltip": _WORDS},
            },
        ],
        "encoding": {
            "x": {
                "field": "normal",
                **axis,
                "axis": {"title": words.in_picture(_("Normal")), "grid": False, "tickCount": 5},
            },
            "y": {
                "field": "found",
                **axis,
                "axis": {
                    "title": words.in_picture(_("Found")),
                    **title_above(words),
                    "domain": False,
                    "ticks": False,
                    "tickCount": 5,
                },
            },
        },
        "config": {"background": colours["ground"], "view": {"stroke": None}, "axis": look["axis"]},
    }
