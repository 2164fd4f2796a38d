"""Pure: what the columns of a bundle mean, for people and for the programs of archives.

CSV and HTML; REDCap's data dictionary; Psych-DS (`dataset_description.json`); BIDS phenotype side cars; a
start for a DataCite record. Words are those of the data files, in English.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any

from analytics.export.cells import harmless
from analytics.frozen import Column, Table

REDCAP = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
VALIDATION = {"integer": "integer", "number": "number", "date": "date_ymd", "text": ""}
CONTENT = """`data/` holds each table as CSV, Parquet, SPSS (.sav) and Stata (.dta); `codebook.html` says what
every column means. `hlm/` holds the files of HLM, `phenotype/` the ratings as BIDS has them, `scripts/`
models for lme4, nlme, SPSS and jamovi; `read.R` and `read.py` read everything with its labels. Where single
answers are in it, `fhir/` holds the received forms as FHIR R4 resources, one a line."""
AGAIN = """`Rscript reproduce.R` (R with lme4 and jsonlite) and `python reproduce.py` (NumPy, SciPy, pandas)
compute every published number again and print PASS or FAIL beside each."""
NOT_AGAIN = """There are no numbers to compute again: the snapshot has no analysis, or this tier puts
therapists with few patients under one name, with which models come out differently."""
CHECK = "`sha256sum -c MANIFEST.sha256` checks that every file is as it was built."
LICENCE = "Coded personal data: to be used for the stated purpose alone and not to be passed on."

STYLE = """
:root { color-scheme: light dark; --line: #d9dee0; --muted: #55626b; }
@media (prefers-color-scheme: dark) { :root { --line: #33404a; --muted: #a7b3ba; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-block-end: 2rem; font-size: 0.9rem; }
th, td { text-align: start; vertical-align: top; padding: 0.4rem 0.6rem; }
tr { border-bottom: 1px solid var(--line); }
caption { text-align: start; color: var(--muted); padding-block: 0.4rem; }
code { font-size: 0.95em; }
.muted { color: var(--muted); }
@media print { body { margin: 0; font-size: 10pt; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class About:
    """What a bundle is of. `facts`: lines of name and value that every codebook begins with."""

    study: str
    title: str
    clinic: str
    snapshot: str
    read_at: str
    tier: str
    facts: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]


def codebook_csv(tables: Sequence[Table]) -> str:
    names = ("table", "column", "level", "kind", "meaning", "values", "labels", "missing_codes")
    rows = [
        (
            table.name,
            column.name,
            column.level,
            column.kind,
            column.meaning,
            column.values,
            _pairs(column.labels),
            _pairs(column.missing),
        )
        for table in tables
        for column in table.columns
    ]
    return _csv([names, *rows])


def redcap_csv(tables: Sequence[Table]) -> str:
    """One form a table. A name that stands in two tables has its table before it the second time: REDCap
    knows a name once."""
    rows: list[Sequence[str]] = [REDCAP]
    taken: set[str] = set()
    for table in tables:
        for column in table.columns:
            name = column.name if column.name not in taken else f"{table.name}_{column.name}"
            taken.add(name)
            is_choice = bool(column.labels) and column.kind == "integer"
            pairs = [*column.labels, *column.missing]
            rows.append(
                [
                    name[:100],
                    table.name,
                    "",
                    "radio" if is_choice else "text",
                    column.meaning,
                    " | ".join(_choice(*pair) for pair in pairs) if is_choice else "",
                    column.values,
                    "" if is_choice else VALIDATION[column.kind],
                    "",
                    "",
                    "y" if column.tells == "who" else "",
                    *[""] * 6,
                    f"Missing: {_pairs(column.missing)}" if column.missing and not is_choice else "",
                ]
            )
    return _csv(rows)


def _choice(number: int, words: str) -> str:
    # The line between two choices must stand in none of them.
    return f"{number}, {words.replace('|', '/')}"


def codebook_html(about: About, tables: Sequence[Table]) -> str:
    facts = "".join(f"<tr><th scope='row'>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in about.facts)
    parts = "".join(_table_html(table, about.counts.get(table.name)) for table in tables)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>Codebook of {escape(about.study)}</title><style>{STYLE}</style></head><body>"
        f"<h1>Codebook of {escape(about.study)}</h1><p>{escape(about.title)}</p>"
        f"<table><caption>What these data are</caption><tbody>{facts}</tbody></table>{parts}</body></html>\n"
    )


def _table_html(table: Table, n_rows: int | None) -> str:
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(column.name)}</code></th><td>{column.level}</td>"
        f"<td>{column.kind}</td><td>{escape(column.meaning)}</td><td>{escape(column.values)}"
        f"{_labels_html(column)}</td></tr>"
        for column in table.columns
    )
    size = "" if n_rows is None else f" {n_rows} rows."
    return (
        f"<h2 id='{table.name}'><code>{table.name}</code></h2>"
        f"<table><caption>{escape(table.meaning)}.{size}</caption><thead><tr><th scope='col'>Column</th>"
        "<th scope='col'>Level</th><th scope='col'>Kind</th><th scope='col'>Meaning</th>"
        f"<th scope='col'>Values</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _labels_html(column: Column) -> str:
    words = [_pairs(column.labels)] if column.labels else []
    words += [f"missing: {_pairs(column.missing)}"] if column.missing else []
    return "".join(f"<br><span class='muted'>{escape(part)}</span>" for part in words)


def psych_ds(about: About, tables: Sequence[Table]) -> str:
    """`dataset_description.json`: schema.org's Dataset as Psych-DS asks for it."""
    seen: dict[str, dict[str, Any]] = {}
    for table in tables:
        for column in table.columns:
            variable: dict[str, Any] = {
                "@type": "PropertyValue",
                "name": column.name,
                "description": f"{column.meaning} ({column.values})",
                "levelOfMeasurement": column.level,
            }
            if column.missing:
                variable["missingValues"] = [number for number, _words in column.missing]
            seen.setdefault(column.name, variable)
    return _json(
        {
            "@context": "https://schema.org/",
            "@type": "Dataset",
            "name": f"{about.study}: {about.title}",
            "description": f"Ratings of the working alliance, {about.snapshot} as of {about.read_at}.",
            "license": LICENCE,
            "schemaVersion": "Psych-DS 1.0",
            "variableMeasured": list(seen.values()),
        }
    )


def bids_sidecar(table: Table, tool: str) -> str:
    """What the columns of a `phenotype/*.tsv` mean, as BIDS writes it."""
    out: dict[str, Any] = {"MeasurementToolMetadata": {"Description": tool}}
    out["participant_id"] = {"Description": "The patient, as in column patient of the tables, after sub-"}
    for column in table.columns:
        if column.name == "patient":
            continue
        entry: dict[str, Any] = {"Description": column.meaning, "Units": column.values}
        pairs = [*column.labels, *column.missing]
        if pairs:
            entry["Levels"] = {str(number): words for number, words in pairs}
        out[column.name] = entry
    return _json(out)


def datacite(about: About) -> str:
    """What a deposit form asks for, as far as it is known here; names of people are left to the depositor."""
    return _json(
        {
            "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Coded questionnaire data"},
            "titles": [{"title": f"{about.study}: {about.title}"}],
            "publisher": {"name": about.clinic},
            "publicationYear": about.read_at[:4],
            "dates": [{"date": about.read_at, "dateType": "Collected"}],
            "version": about.snapshot,
            "descriptions": [
                {
                    "descriptionType": "Abstract",
                    "description": "Ratings of the working alliance by patients and therapists after sessions"
                    " of psychotherapy, under pseudonyms.",
                }
            ],
            "sizes": [f"{n} rows in {name}" for name, n in sorted(about.counts.items())],
            "rightsList": [{"rights": LICENCE}],
            "creators": [],
            "schemaVersion": "http://datacite.org/schema/kernel-4",
        }
    )


def _pairs(pairs: Iterable[tuple[int, str]]) -> str:
    return "; ".join(f"{number} {words}" for number, words in pairs)


def _csv(rows: Iterable[Sequence[str]]) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(map(harmless, row) for row in rows)
    return buffer.getvalue()


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
