"""Pure: the study's table: what each perspective shows by itself, and the tested difference beside it.

Every number is a `Cell` that says from which model it is taken and where in its result it stands, so that a
script can find it again. The files are in English, as all data files are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any

from analytics.research.words import Words, effect_title, interval, number, p_value, predictor_title

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A number of a model's result. `name` is the only one in its table; `path` leads to the number from the
    result, rows of `fixed` and `contrasts` being named by their term."""

    name: str
    value: float
    model: str
    path: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """One fixed effect of one model, or one difference of two; None where the model has no estimates."""

    model: str
    term: str
    values: Values | None

    def get(self, name: str) -> float | None:
        return None if self.values is None else self.values.get(name)


@dataclass(frozen=True)
class Row:
    """One line: `predictor` is empty for the course itself. `separate` and `joint` by rater; `difference` is
    the first rater minus the second."""

    predictor: str
    effect: str
    separate: Mapping[str, Effect]
    joint: Mapping[str, Effect]
    difference: Effect | None


def rows(result: Values) -> list[Row]:
    """The course first, then the predictors in the order of the question, each with level and growth."""
    models = {model["key"]: model["result"] for model in result["models"]}
    names = [column["name"] for column in result["predictors"]]
    time = result["time"]["names"]
    out = []
    for predictor in ["", *names]:
        for effect in ["level", *time]:
            separate = {
                rater: _effect(models, reported(result, rater), _term(predictor, effect))
                for rater in result["n"]
            }
            joint, difference = {}, None
            if "joint" in models:
                joint = {
                    rater: _effect(models, "joint", _of_rater(rater, predictor, effect))
                    for rater in result["n"]
                }
                difference = _contrast(models["joint"], predictor, effect) if predictor else None
            out.append(Row(predictor, effect, separate, joint, difference))
    return out


def reported(result: Values, rater: str) -> str:
    """The key of the model that the columns of a rater are from."""
    models = {model["key"] for model in result["models"]}
    return next(key for key in (f"{rater}.conditional", f"{rater}.unconditional") if key in models)


def _term(predictor: str, effect: str) -> str:
    if effect == "level":
        return predictor or "Intercept"
    return f"{effect}:{predictor}" if predictor else effect


def _of_rater(rater: str, predictor: str, effect: str) -> str:
    parts = [rater, "" if effect == "level" else effect, predictor]
    return ":".join(part for part in parts if part)


def _effect(models: Values, key: str, term: str) -> Effect:
    found = next((row for row in models[key]["fixed"] if row["term"] == term), None)
    return Effect(key, term, found)


def _contrast(joint: Values, predictor: str, effect: str) -> Effect:
    name = "level" if effect == "level" else "growth"
    found = next(
        (row for row in joint["contrasts"] if (row["predictor"], row["effect"]) == (predictor, name)), None
    )
    return Effect("joint", f"{predictor}:{name}", found)


def cells(result: Values) -> Iterator[Cell]:
    """Every number of the table at full precision."""
    for row in rows(result):
        what = f"{row.predictor or 'course'}.{row.effect}"
        for rater, effect in row.separate.items():
            yield from _cells(f"{what}.{rater}", effect, "fixed", ("estimate", "se"))
        if row.difference is not None:
            names = ("estimate", "lower", "upper", "p", "p_holm", "p_bh")
            yield from _cells(f"{what}.difference", row.difference, "contrasts", names)


def _cells(what: str, effect: Effect, part: str, names: Sequence[str]) -> Iterator[Cell]:
    for name in names:
        value = effect.get(name)
        if value is not None:
            yield Cell(f"{what}.{name}", value, effect.model, (part, effect.term, name))


@dataclass(frozen=True)
class Heading:
    """What stands around the table in a file: who made it of what."""

    title: str
    notes: tuple[str, ...]


def about_columns(result: Values) -> tuple[str, ...]:
    """What the columns are, for the notes: of one rater or two, with the joint model or without."""
    model = next(model for model in result["models"] if model["rater"])
    levels = "three-level" if "| therapist)" in model["formula"] else "two-level"
    course = (
        "Lines without a predictor are the course where every predictor is 0: its mean, if it is in standard"
        " deviations, and the most frequent value of a category."
    )
    courses = (course,) if result["predictors"] else ()
    if len(result["n"]) == 1:
        return (
            f"The estimates (SE) are those of a {levels} growth model, all predictors together.",
            *courses,
        )
    notes = [
        f"Each perspective's estimates (SE) are those of its own {levels} growth model, all predictors"
        " together; comparing their significance is no test of a difference."
    ]
    joint = next((model["result"] for model in result["models"] if model["kind"] == "joint"), None)
    if joint is None:
        notes.append("The difference is not tested: there is no joint model of both.")
    elif joint["contrasts"]:
        notes.append(
            "The difference, patients minus therapists, is estimated and tested in the joint model of both,"
            " so it need not be the exact difference of the two columns. p is adjusted over all differences"
            " of the table by Holm and by Benjamini and Hochberg."
        )
    return *notes, *courses


def as_csv(result: Values) -> str:
    """One line a cell, at full precision."""
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(["name", "value", "model", "part", "term", "quantity"])
    writer.writerows([cell.name, repr(cell.value), cell.model, *cell.path] for cell in cells(result))
    return buffer.getvalue()


def lines(result: Values, words: Words) -> list[tuple[str, ...]]:
    """The table as text: predictor, effect, each rater's estimate (SE), difference, interval, p, Holm, BH."""
    titles = {column["name"]: predictor_title(column, words) for column in result["predictors"]}
    out = []
    for row in rows(result):
        shown = [_estimate(effect, words) for effect in row.separate.values()]
        gap = row.difference
        own = (
            ()
            if not row.joint
            else ("", "", "", "", "")
            if gap is None
            else (
                number(gap.get("estimate"), words),
                interval(gap.get("lower"), gap.get("upper"), words),
                *(p_value(gap.get(name), words) for name in ("p", "p_holm", "p_bh")),
            )
        )
        out.append(
            (
                titles.get(row.predictor, ""),
                effect_title(row.effect, result["time"], words),
                *shown,
                *own,
            )
        )
    return out


def _estimate(effect: Effect, words: Words) -> str:
    if effect.values is None:
        return "–"
    return f"{number(effect.get('estimate'), words)} ({number(effect.get('se'), words)})"


def head(result: Values) -> list[str]:
    titles = {"patient": "Patients (SE)", "therapist": "Therapists (SE)"}
    joint = any(model["kind"] == "joint" for model in result["models"])
    return [
        "Predictor",
        "Effect on",
        *(titles[rater] for rater in result["n"]),
        *(["Difference", "95 % interval", "p", "p (Holm)", "p (BH)"] if joint else []),
    ]


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": "$-$",
    "–": "--",
    "’": "'",
}


def tex(text: str) -> str:
    """Plain text as LaTeX shows it."""
    return "".join(_TEX.get(character, character) for character in text)


def as_tex(result: Values, heading: Heading, words: Words) -> str:
    """A document that compiles by itself; the table can be taken out of it."""
    columns = "ll" + "r" * (len(head(result)) - 2)
    body = []
    before = None
    for line in lines(result, words):
        if before not in (None, line[0]):
            body.append(r"\addlinespace")
        shown = ("" if line[0] == before else line[0], *line[1:])
        body.append(" & ".join(map(tex, shown)) + r" \\")
        before = line[0]
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage{booktabs}",
            r"\usepackage[landscape,margin=20mm]{geometry}",
            r"\begin{document}",
            r"\begin{table}[p]",
            r"\centering\small",
            rf"\caption{{{tex(heading.title)}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(tex, head(result))) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            r"\medskip",
            r"\begin{minipage}{0.95\linewidth}\footnotesize\raggedright",
            *(tex(note) + r"\par" for note in heading.notes),
            r"\end{minipage}",
            r"\end{table}",
            r"\end{document}",
            "",
        ]
    )


def as_html(result: Values, heading: Heading, words: Words) -> str:
    """A page by itself, without style or script."""
    cells_of = "".join(
        "<tr>"
        + "".join(f'<th scope="row">{escape(text)}</th>' for text in line[:2])
        + "".join(f"<td>{escape(text)}</td>" for text in line[2:])
        + "</tr>\n"
        for line in lines(result, words)
    )
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head(result))
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in heading.notes)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f"<title>{escape(heading.title)}</title></head>\n<body>\n"
        f"<table>\n<caption>{escape(heading.title)}</caption>\n<thead><tr>{names}</tr></thead>\n"
        f"<tbody>\n{cells_of}</tbody>\n</table>\n{notes}</body>\n</html>\n"
    )


def as_text(result: Values, heading: Heading, words: Words) -> str:
    """For a terminal."""
    table = [tuple(head(result)), *lines(result, words)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    body = [
        "  ".join(
            text.ljust(width) if i < 2 else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return "\n".join([heading.title, "", *body, "", *heading.notes])


def file_name(study: str, number_of: int, ending: str) -> str:
    return f"{re.sub(r'[^A-Za-z0-9-]', '-', study)}-analysis-{number_of}.{ending}"
