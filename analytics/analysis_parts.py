"""Parts of the page of an answered analysis: its pictures, and what would change the answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.models import Analysis
from analytics.research import chart, table
from analytics.research import words as say
from analytics.research.spec import AnalysisSpec
from analytics.research.words import Words, interval, number, p_value

Values = Mapping[str, Any]


def sensitivity_rows(row: Values, titles: Mapping[str, str], result: Values, words: Words) -> dict[str, Any]:
    out: dict[str, Any] = {
        "rater": say.rater_title(row["rater"], words),
        "title": say.sensitivity_title(row["name"], words),
        "name": row["name"],
        "message": "",
    }
    found = row["found"]
    if found is None:
        return {**out, "message": say.sensitivity_failure(row["code"], row["detail"], words)}
    names = [(part["term"], say.term_title(part, titles, result["time"], words)) for part in _terms(result)]
    return {**out, **_SENSITIVITY[row["name"]](found, names, words)}


def _terms(result: Values) -> list[dict[str, str]]:
    """Predictors' effects by the terms of a model of one rater."""
    return [
        {
            "term": column["name"] if effect == "level" else f"{effect}:{column['name']}",
            "predictor": column["name"],
            "effect": effect,
        }
        for column in result["predictors"]
        for effect in ("level", *result["time"]["names"])
    ]


Named = Sequence[tuple[str, str]]


def _serial(found: Values, names: Named, words: Words) -> dict[str, Any]:
    fixed, independent = ({row["term"]: row for row in found[key]} for key in ("fixed", "independent"))
    return {
        "phi": number(found["phi"], words),
        "phi_interval": interval(found["lower"], found["upper"], words),
        "p": p_value(found["p"], words),
        "rows": [
            (title, [_with_interval(independent[term], words), _with_interval(fixed[term], words)])
            for term, title in names
        ],
    }


def _dropout(found: Values, names: Named, words: Words) -> dict[str, Any]:
    rows = [{row["term"]: row for row in part["fixed"]} for part in found["rows"]]
    return {
        "n": found["n_imputed"],
        "n_therapies": found["n_therapies"],
        "m": found["m"],
        "deltas": [number(part["delta"], words, 1) for part in found["rows"]],
        "rows": [
            (title, [_with_interval(row[term], words) if row else "–" for row in rows])
            for term, title in names
        ],
    }


def _leave_one_out(found: Values, names: Named, words: Words) -> dict[str, Any]:
    rows = {row["term"]: row for row in found["rows"]}
    return {
        "n": found["n"],
        "n_failed": found["n_failed"],
        "bound": number(found["bound"], words, 2),
        "rows": [
            (
                title,
                [
                    interval(rows[term]["lowest"], rows[term]["highest"], words),
                    f"{p_value(rows[term]['smallest_p'], words)} – {p_value(rows[term]['largest_p'], words)}",
                    number(rows[term]["change"], words, 2),
                ],
            )
            for term, title in names
        ],
    }


_SENSITIVITY = {"serial": _serial, "dropout": _dropout, "leave_one_out": _leave_one_out}


def _with_interval(row: Values, words: Words) -> str:
    return f"{number(row['estimate'], words)} ({interval(row['lower'], row['upper'], words)})"


def pictures(
    analysis: Analysis,
    rows: Sequence[table.Row],
    titles: Mapping[str, str],
    words: Words,
    chosen: str,
) -> dict[str, Any]:
    result: Values = analysis.result or {}
    spec = AnalysisSpec.from_dict(analysis.spec)
    effects = [
        {
            "key": f"effects-{place}",
            "title": say.effect_title(effect, result["time"], words),
            "chart": chart.effects_spec(rows, result, effect, words),
        }
        for place, effect in enumerate(("level", *result["time"]["names"]))
        if titles
    ]
    chosen = chosen if chosen in titles else _first(result, titles)
    column = next((row for row in result["predictors"] if row["name"] == chosen), None)
    steps = say.step_titles(column, words)
    courses = [
        {
            "key": f"course-{course['rater']}",
            "title": say.rater_title(course["rater"], words),
            "chart": chart.course_spec(course, steps, _ends(spec, course["rater"]), words),
            "lines": [steps[line["step"]] for line in course["lines"]],
            "rows": [
                (
                    words.digits(session, 0),
                    [
                        f"{number(mean, words, 2)} ({number(low, words, 2)}–{number(high, words, 2)})"
                        for mean, low, high in points
                    ],
                )
                for session, *points in zip(
                    course["sessions"], *(line["points"] for line in course["lines"]), strict=True
                )
            ],
        }
        for course in result["courses"]
        if course["predictor"] == (chosen or None)
    ]
    return {
        "effects": effects,
        "courses": courses,
        "chosen": chosen,
        "choices": list(titles.items()),
        "normal": [_normal(row, place, words) for place, row in enumerate(result["diagnostics"])],
        "along": [
            (say.rater_title(row["rater"], words), row["along"])
            for row in result["diagnostics"]
            if "along" in row
        ],
    }


def _first(result: Values, titles: Mapping[str, str]) -> str:
    """The predictor with the clearest difference, else the first."""
    joint = next((model["result"] for model in result["models"] if model["kind"] == "joint"), None)
    contrasts = joint["contrasts"] if joint else []
    if contrasts:
        return str(min(contrasts, key=lambda row: row["p"])["predictor"])
    return next(iter(titles), "")


def _ends(spec: AnalysisSpec, rater: str) -> tuple[int, int]:
    low, high = spec.ranges[spec.instruments[rater]]
    return low, high


def _normal(row: Values, place: int, words: Words) -> dict[str, Any]:
    title = say.diagnostic_title(row, words)
    return {
        "key": f"normal-{place}",
        "title": title,
        "n": row["n"],
        "chart": chart.normal_spec(row, title, words),
        "rows": [
            (number(quantile * row["sd"], words, 2), number(value, words, 2))
            for quantile, value in row["points"]
        ],
    }
