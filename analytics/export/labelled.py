"""Writes tables as SPSS (.sav) and Stata (.dta) files, with labels and declared missing codes.

A program of its own, `python -m analytics.export.labelled JOBS.json` in the folder of the files: pyreadstat
takes a whole table at once, and what that needs goes back to the system when this program ends. Nothing of
the time of writing stays in a file, so that the same data give the same bytes.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat

MAX_NAME = 32
# Of which SPSS allows 256 and Stata 80 bytes.
MAX_LABEL = {"sav": 250, "dta": 80}
MAX_VALUE_LABEL = 120
DAY = {"sav": "DATE11", "dta": "%td"}
# SPSS allows three single missing codes; Stata has letters of its own for them.
LETTERS = "abc"


def names_of(columns: Sequence[str]) -> list[str]:
    """Names that SPSS and Stata take, one for each: ASCII, a letter first, at most 32 characters, none twice
    however capitals are read."""
    taken: set[str] = set()
    names = []
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column)
        name = (name if re.match(r"[A-Za-z]", name) else f"v_{name.lstrip('_')}")[:MAX_NAME].rstrip("_")
        tail = 2
        unique = name
        while unique.lower() in taken:
            unique = f"{name[: MAX_NAME - len(str(tail)) - 1]}_{tail}"
            tail += 1
        taken.add(unique.lower())
        names.append(unique)
    return names


def write(job: Mapping[str, Any], root: Path) -> None:
    """One file. `job`: as `tables.labelled` makes it. For HLM also: `rater`, whose rows alone; `numbers`,
    columns of names that become numbers, the same in every file; `once`, each row once; `sort`."""
    wanted = [column["name"] for column in job["columns"]]
    frame = pd.read_parquet(root / job["source"], columns=[*wanted, *(["rater"] if "rater" in job else [])])
    for name in job.get("numbers", ()):
        # In the order of the names: of all rows, so that they agree between files.
        frame[name] = frame[name].astype("category").cat.codes + 1
    if "rater" in job:
        frame = frame[frame["rater"] == job["rater"]][wanted]
    if job.get("once"):
        frame = frame.drop_duplicates(subset=job["numbers"])
    if job.get("sort"):
        frame = frame.sort_values(job["sort"], kind="stable", ignore_index=True)
    names = names_of([column["name"] for column in job["columns"]])
    renamed = dict(zip(frame.columns, names, strict=True))
    for column in job["columns"]:
        frame[column["name"]] = _plain(frame[column["name"]], column["kind"])
    frame = frame.rename(columns=renamed)
    limit = MAX_LABEL[job["kind"]]
    labels = {renamed[column["name"]]: _cut(column["label"], limit) for column in job["columns"]}
    target = root / job["target"]
    (_write_sav if job["kind"] == "sav" else _write_dta)(frame, target, job, renamed, labels)
    _forget_the_time(target, job["kind"])


def _plain(column: "pd.Series[Any]", kind: str) -> "pd.Series[Any]":
    """As pyreadstat takes it: floats with NaN, dates, or text with nothing for what is missing."""
    if kind == "text":
        return column.astype("object").where(column.notna(), "")
    # Days without any would be text to pyreadstat: they are written as numbers in the format of days.
    if kind == "date" and column.notna().any():
        return column.astype("object").where(column.notna(), None)
    return column.astype("float64")


def _write_sav(
    frame: pd.DataFrame,
    target: Path,
    job: Mapping[str, Any],
    names: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    values, measures, formats = {}, {}, {}
    missing: dict[str, list[Any]] = {}
    for column in job["columns"]:
        name, pairs = names[column["name"]], [*column["labels"], *column["missing"]]
        if pairs:
            values[name] = {float(number): _cut(words, MAX_VALUE_LABEL) for number, words in pairs}
        if column["missing"]:
            missing[name] = [float(number) for number, _words in column["missing"]]
        is_scale = column["kind"] in ("number", "date")
        measures[name] = "scale" if is_scale else "nominal" if column["kind"] == "text" else "ordinal"
        if column["kind"] == "integer":
            formats[name] = "F8.0"
        elif column["kind"] == "date":
            formats[name] = DAY["sav"]
    pyreadstat.write_sav(
        frame,
        target,
        file_label=job["label"],
        column_labels=dict(labels),
        row_compress=True,
        variable_value_labels=values,
        missing_ranges=missing,
        variable_measure=measures,
        variable_format=formats,
    )


def _write_dta(
    frame: pd.DataFrame,
    target: Path,
    job: Mapping[str, Any],
    names: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    values: dict[str, dict[Any, str]] = {}
    missing: dict[str, list[str]] = {}
    for column in job["columns"]:
        name = names[column["name"]]
        if column["labels"]:
            values[name] = {int(number): _cut(words, MAX_VALUE_LABEL) for number, words in column["labels"]}
        if column["missing"]:
            letters = {
                float(n): letter for (n, _words), letter in zip(column["missing"], LETTERS, strict=True)
            }
            own = frame[name]
            if own.isin(letters).any():
                frame[name] = own.astype("object").replace(letters)
            missing[name] = list(letters.values())
            named = {letter: words for (_n, words), letter in zip(column["missing"], LETTERS, strict=True)}
            values[name] = {**values.get(name, {}), **named}
    pyreadstat.write_dta(
        frame,
        target,
        file_label=job["label"],
        column_labels=dict(labels),
        version=14,
        variable_value_labels=values,
        variable_format={
            names[column["name"]]: DAY["dta"] for column in job["columns"] if column["kind"] == "date"
        },
        missing_user_values=missing,
    )


def _forget_the_time(target: Path, kind: str) -> None:
    """Both formats have a place for the time of writing; it is set to the beginning of 1980."""
    with target.open("r+b") as file:
        head = file.read(4096)
        if kind == "sav":
            # Bytes 92 to 108 of the header: creation date and time.
            file.seek(92)
            file.write(b"01 Jan 8000:00:00")
            return
        at = head.index(b"<timestamp>\x11") + len(b"<timestamp>\x11")
        file.seek(at)
        file.write(b"01 Jan 1980 00:00")


def _cut(text: str, most: int) -> str:
    """No more than so many bytes of UTF-8, and no space at the end, which SPSS would not give back."""
    return text.encode()[:most].decode(errors="ignore").rstrip()


def main(path: Path) -> None:
    for job in json.loads(path.read_text(encoding="utf-8")):
        write(job, path.parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
