"""Pure: the received forms of a bundle as FHIR R4, one resource a line.

People stand under the pseudonyms of the file, in a system of their own: none is a code of the site. Forms
are numbers throughout, also those whose wording anybody may read. An id is the table and the row in it:
`ratings-17` is the seventeenth of `data/ratings.csv`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analytics.export.tables import read_blocks
from surveys import fhir
from surveys.packs import InstrumentFile

SYSTEM = f"{fhir.SYSTEM}:pseudonym"
TABLES = ("ratings", "practice")
# Code, version, rater and language: what tells a form from every other one of a study.
Key = tuple[str, str, str, str]
KEY = ("instrument", "instrument_version", "rater", "language")
# Of each form the id of its Questionnaire, a UUID.
Forms = Mapping[Key, tuple[str, InstrumentFile]]


def write_fhir(data: Path, folder: Path, forms: Forms, heard: Callable[[], object]) -> None:
    """`Questionnaire.ndjson`, of the forms that were received, and `QuestionnaireResponse.ndjson`, from the
    written tables block by block; `heard` is called after each block."""
    used: set[Key] = set()
    with (folder / "QuestionnaireResponse.ndjson").open("w", encoding="utf-8") as lines:
        for table in TABLES:
            n = 0
            for block in read_blocks(data, table):
                lines.writelines(map(_line, responses(table, n, block, forms, used)))
                n += len(block)
                heard()
    with (folder / "Questionnaire.ndjson").open("w", encoding="utf-8") as lines:
        for key in sorted(used):
            id, form = forms[key]
            lines.write(_line(fhir.questionnaire(form, id, with_wording=False)))


def responses(
    table: str, n_before: int, block: pd.DataFrame, forms: Forms, used: set[Key]
) -> Iterator[fhir.Resource]:
    """Of the rows of a block, which `n_before` rows of the table come before; their forms are added to
    `used`."""
    # Plain values, None where there is none: Int32 would give what JSON does not know.
    columns = {str(name): _values(block[name]) for name in block}
    for place, cells in enumerate(zip(*columns.values(), strict=True), start=n_before + 1):
        row = dict(zip(columns, cells, strict=True))
        code, version, rater, language = (row[name] for name in KEY)
        used.add((code, version, rater, language))
        id, form = forms[code, version, rater, language]
        yield fhir.questionnaire_response(form, _given(f"{table}-{place}", id, form, row), system=SYSTEM)


def _values(column: "pd.Series[Any]") -> list[Any]:
    return column.astype("object").where(column.notna(), None).tolist()


def _given(id: str, questionnaire: str, form: InstrumentFile, row: Mapping[str, Any]) -> fhir.Given:
    answers = {item.number: row[f"item_{item.number}"] for item in form.items}
    day = row["submitted_on"]
    return fhir.Given(
        id=id,
        questionnaire=questionnaire,
        authored=None if day is None else day.isoformat(),
        rater=row["rater"],
        therapist=row["therapist"],
        answers={number: value for number, value in answers.items() if value is not None},
        scores={scale.code: row[scale.code] for scale in form.scales},
        patient=row["patient"],
        therapy=row["therapy"],
        session=row["session"],
    )


def _line(resource: fhir.Resource) -> str:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
