"""The page of an answered analysis, put together from its result: words, tables and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.http import Http404

from analytics.analysis_parts import pictures, sensitivity_rows
from analytics.models import Analysis
from analytics.research import table
from analytics.research import words as say
from analytics.research.refusals import caution
from analytics.research.spec import AnalysisSpec
from analytics.research.table import Effect, Heading
from analytics.research.words import Words, interval, number, p_value

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """A number of a table, with the model and the term that it is traced by."""

    text: str
    model: str
    term: str
    note: str = ""


def page(analysis: Analysis, words: Words, chosen: str) -> dict[str, Any]:
    """Context of the result; `chosen` is the predictor whose courses are shown, if it is one."""
    result: Values = analysis.result or {}
    titles = {column["name"]: say.predictor_title(column, words) for column in result["predictors"]}
    rows = table.rows(result)
    joint: Values = next((row["result"] for row in result["models"] if row["kind"] == "joint"), {})
    is_joint = bool(joint) and joint["status"] in ("ok", "singular")
    return {
        "raters": [(rater, say.rater_title(rater, words)) for rater in result["n"]],
        "short": say.in_short(result, words),
        "cautions": [caution(row, titles, words) for row in result["cautions"]],
        "n": [(say.rater_title(rater, words), row) for rater, row in result["n"].items()],
        "left_out": [(say.left_out_title(key, words), n) for key, n in result["left_out"].items() if n],
        "predictors": [
            (titles[column["name"]], column, say.unit_of_effect(column, words))
            for column in result["predictors"]
        ],
        "is_joint": is_joint,
        "joint_groups": _groups(
            [_joint_row(row, result, titles, words) for row in rows if is_joint and row.predictor]
        ),
        "separate_groups": _groups([_separate_row(row, result, titles, words) for row in rows]),
        "joint_tests": _joint_tests(joint, titles, words) if is_joint else [],
        "statuses": _statuses(result, words, [model["key"] for model in result["models"]]),
        "joint_status": _statuses(result, words, ["joint"]),
        "separate_status": _statuses(result, words, [table.reported(result, rater) for rater in result["n"]]),
        "variance": _variance(result, words),
        "correlations": _correlations(joint, result, words) if is_joint else [],
        "explained": _explained(result, words),
        "comparisons": [_comparison(row, words) for row in result["comparisons"]],
        "sensitivity": [sensitivity_rows(row, titles, result, words) for row in result["sensitivity"]],
        **pictures(analysis, rows, titles, words, chosen),
    }


def _statuses(result: Values, words: Words, keys: Sequence[str]) -> list[tuple[str, str, str]]:
    """Title, key and state of these models, as far as they were asked for."""
    return [
        (
            say.model_title(model["key"], words),
            model["key"],
            say.status_title(model["result"]["status"], words),
        )
        for model in result["models"]
        if model["key"] in keys
    ]


def _shown(effect: Effect, name: str, words: Words) -> Shown:
    value = effect.get(name)
    text = p_value(value, words) if name.startswith("p") else number(value, words)
    return Shown(text, effect.model, effect.term)


def _joint_row(row: table.Row, result: Values, titles: Mapping[str, str], words: Words) -> dict[str, Any]:
    gap = row.difference or Effect("joint", row.predictor, None)
    return {
        "predictor": titles[row.predictor],
        "effect": say.effect_title(row.effect, result["time"], words),
        "betas": [
            (
                say.rater_title(rater, words),
                _shown(effect, "estimate", words),
                interval(effect.get("lower"), effect.get("upper"), words),
            )
            for rater, effect in row.joint.items()
        ],
        "gap": _shown(gap, "estimate", words),
        "interval": interval(gap.get("lower"), gap.get("upper"), words),
        "p": _shown(gap, "p", words),
        "holm": _shown(gap, "p_holm", words),
        "bh": _shown(gap, "p_bh", words),
    }


def _separate_row(row: table.Row, result: Values, titles: Mapping[str, str], words: Words) -> dict[str, Any]:
    return {
        "predictor": titles.get(row.predictor, ""),
        "effect": say.effect_title(row.effect, result["time"], words),
        "cells": [
            {
                "rater": say.rater_title(rater, words),
                "estimate": _shown(effect, "estimate", words),
                "se": number(effect.get("se"), words),
                "interval": interval(effect.get("lower"), effect.get("upper"), words),
                "p": _shown(effect, "p", words),
            }
            for rater, effect in row.separate.items()
        ],
    }


def _groups(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows by predictor, in their order."""
    return [(title, list(own)) for title, own in groupby(rows, key=lambda row: str(row["predictor"]))]


def _joint_tests(joint: Values, titles: Mapping[str, str], words: Words) -> list[dict[str, str]]:
    return [
        {
            "predictor": titles[row["predictor"]],
            "F": number(row["F"], words, 2),
            "df": f"{row['q']}, {number(row['df'], words, 1)}",
            "p": p_value(row["p"], words),
            "lr": number(row["lr"], words, 2),
            "lr_p": p_value(row["lr_p"], words),
        }
        for row in joint["tests"]
    ]


def _variance(result: Values, words: Words) -> list[dict[str, Any]]:
    growth = {
        (row["rater"], row["model"], row["group"]): row["correlation"] for row in result["level_growth"]
    }
    return [
        {
            "model": say.model_title(f"{row['rater']}.{row['model']}", words),
            "key": f"{row['rater']}.{row['model']}",
            "level": say.level_title(part["group"], words),
            "variance": number(part["variance"], words),
            "share": number(100 * part["share"], words, 1),
            "icc": number(part["icc"], words, 2),
            "correlation": number(growth.get((row["rater"], row["model"], part["group"])), words, 2),
            "is_first": place == 0,
            "n_levels": len(row["rows"]),
        }
        for row in result["variance"]
        for place, part in enumerate(row["rows"])
    ]


def _correlations(joint: Values, result: Values, words: Words) -> list[dict[str, str]]:
    """Of the two perspectives' levels and growths, per level of the joint model."""
    time = result["time"]["names"][0]
    out = []
    for row in joint["random"]:
        place = {term: i for i, term in enumerate(row["terms"])}
        pairs = (("patient", "therapist"), (f"patient:{time}", f"therapist:{time}"))
        level, growth = (row["corr"][place[a]][place[b]] for a, b in pairs)
        out.append(
            {
                "level": say.level_title("therapist" if row["group"] == "therapist" else row["group"], words),
                "of_level": number(level, words, 2),
                "of_growth": number(growth, words, 2),
            }
        )
    return [
        *out,
        {
            "level": say.level_title(None, words),
            "of_level": number(joint["residual"]["rho"], words, 2),
            "of_growth": "–",
        },
    ]


def _explained(result: Values, words: Words) -> list[dict[str, str]]:
    return [
        {
            "rater": say.rater_title(row["rater"], words),
            "level": say.level_title(part["group"], words),
            "what": say.variance_title(part["what"], words),
            "before": number(part["before"], words),
            "after": number(part["after"], words),
            "drop": "–" if part["drop"] is None else number(100 * part["drop"], words, 0),
        }
        for row in result["explained"]
        for part in row["rows"]
    ]


def _comparison(row: Values, words: Words) -> dict[str, Any]:
    test = row["test"]
    common = {
        "rater": say.rater_title(row["rater"], words),
        "what": say.comparison_title(row["what"], words),
    }
    if test is None:
        return {**common, "message": row["message"]}
    return {
        **common,
        "message": "",
        "method": test["method"].upper(),
        "statistic": number(test["statistic"], words, 2),
        "df": " / ".join(map(str, test["mixture_of_df"])),
        "p": p_value(test["p"], words),
        "aic": number(test["aic_difference"], words, 1),
        "bic": number(test["bic_difference"], words, 1),
        "notes": test["notes"],
    }


def trace(analysis: Analysis, key: str, words: Words) -> dict[str, Any]:
    """Everything that one model's numbers rest on; 404 for a model that the analysis has not."""
    result: Values = analysis.result or {}
    model = next((model for model in result.get("models", ()) if model["key"] == key), None)
    if model is None:
        raise Http404("No such model.")
    found = model["result"]
    random = [
        {
            "title": say.level_title(level["group"], words),
            "lines": list(zip(level["terms"], level["sd"], level["corr"], strict=True)),
        }
        for level in found["random"]
    ]
    residual = found["residual"]["sd"].items() if found.get("residual") else [("", found.get("sigma"))]
    raters = model["rows"]["raters"]
    return {
        "model": model,
        "found": {**found, "random": random},
        "residual": list(residual),
        "title": say.model_title(key, words),
        "status": say.status_title(found["status"], words),
        "n": [(name, n) for name, n in found["n"].items() if name not in ("rows", "dropped")],
        "fixed": found["fixed"],
        "contrasts": found.get("contrasts", ()),
        "without_predictor": sum(result["n"][rater]["without_predictor"] for rater in raters),
        "left_out": [(say.left_out_title(name, words), n) for name, n in result["left_out"].items()],
        "libraries": found["libraries"].items(),
    }


def heading(analysis: Analysis, words: Words) -> Heading:
    """What stands around the table in a file."""
    result: Values = analysis.result or {}
    spec = AnalysisSpec.from_dict(analysis.spec)
    snapshot = analysis.snapshot
    sizes = (
        f"{say.rater_title(rater, words)}: {row['ratings']} ratings of {row['therapies']} therapies by"
        f" {row['therapists']} therapists (form {spec.instruments[rater]}, scale {spec.scale})."
        for rater, row in result["n"].items()
    )
    titles = {column["name"]: say.predictor_title(column, words) for column in result["predictors"]}
    scaled = any(column["is_scaled"] for column in result["predictors"])
    return Heading(
        title=f"{analysis.study.code}, analysis {analysis.number}: {analysis.title}",
        notes=(
            *table.about_columns(result),
            f"{result['time']['description']}"
            + (" Predictors are in standard deviations over their units." if scaled else ""),
            *sizes,
            *(caution(row, titles, words) for row in result["cautions"]),
            f"Snapshot {snapshot.number} of {snapshot.read_at:%Y-%m-%d %H:%M} UTC, SHA-256 {snapshot.sha256};"
            f" question SHA-256 {analysis.spec_sha256}; {analysis.engine_version}.",
        ),
    )


def table_lines(analysis: Analysis, words: Words) -> dict[str, Any]:
    """The study's table as the page for paper shows it: one group of lines a predictor."""
    result: Values = analysis.result or {}
    groups: list[dict[str, Any]] = []
    for title, effect, *cells in table.lines(result, words):
        if not groups or groups[-1]["title"] != title:
            groups.append({"title": title, "lines": []})
        groups[-1]["lines"].append((effect, cells))
    return {"lines": groups, "n_columns": len(table.head(result)) - 1}
