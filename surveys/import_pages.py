"""What the pages about imports show: figures, the first forms as they would be stored, columns, reasons."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys.clinic_access import clinic_instruments
from surveys.imports.guess import guess
from surveys.imports.mapping import Mapping, columns_sha256, read
from surveys.imports.reasons import sentence
from surveys.imports.rows import Entry, Rejected, RowReader
from surveys.imports.source import Head
from surveys.models import (
    Clinic,
    ImportBatch,
    ImportedPerson,
    ImportMapping,
    ImportRejection,
    Instrument,
    PlanLine,
    Rater,
    Study,
)
from surveys.scoring import MISSING_CODES
from surveys.sentences import translated
from surveys.services.import_rows import chosen_forms

SHOWN_FORMS = 10
SHOWN_CELLS = 3
SHOWN_REJECTED = 50


@dataclass(frozen=True)
class Shown:
    """One form of the first rows: as it would be stored, or why it would not be."""

    row: int
    entry: Entry | None = None
    n_answered: int | None = None
    n_items: int = 0
    why: str = ""
    column: str = ""


@dataclass(frozen=True)
class Columns:
    """Columns that belong to one form of a row."""

    rater: str
    session: int | None
    first: str
    last: str
    n: int


def session_instruments(study: Study) -> dict[str, list[Instrument]]:
    """Forms about sessions that the clinic may use, by rater; those of the study's plan first."""
    planned = set(PlanLine.objects.filter(version__study=study).values_list("instrument", flat=True))
    rows = [row for row in clinic_instruments(study.clinic) if row.form.level == "session"]
    rows.sort(
        key=lambda row: (row.pk not in planned, row.code, row.language != "en", row.language, row.version)
    )
    return {rater.value: [row for row in rows if row.rater == rater] for rater in Rater}


def first_mapping(batch: ImportBatch, head: Head, instruments: dict[str, list[Instrument]]) -> Mapping:
    """What was chosen; else what was kept for files with these columns; else a guess, with the forms of the
    study's plan."""
    if batch.mapping:
        return Mapping.from_dict(batch.mapping)
    kept = kept_mappings(batch, head).first()
    if kept is not None:
        return Mapping.from_dict(kept.mapping)
    first = {rater: rows[0] for rater, rows in instruments.items() if rows}
    found = guess(head, {rater: row.form for rater, row in first.items()})
    return Mapping.from_dict(
        found.to_dict() | {"forms": {rater: str(row.pk) for rater, row in first.items()}}
    )


def kept_mappings(batch: ImportBatch, head: Head) -> QuerySet[ImportMapping]:
    """Of the clinic, for files with the same columns, the last one first."""
    rows = ImportMapping.objects.filter(
        clinic=batch.clinic_id, columns_sha256=columns_sha256(head.columns.names)
    )
    return rows.order_by("-saved_at")


def first_cells(head: Head) -> list[tuple[str, str, list[str]]]:
    """Name, label and first cells of every column."""
    rows = [cells for _number, cells in head.rows[:SHOWN_CELLS]]
    return [
        (name, head.columns.labels.get(name, ""), [cells[place] for cells in rows if place < len(cells)])
        for place, name in enumerate(head.columns.names)
    ]


def first_forms(batch: ImportBatch, head: Head) -> list[Shown]:
    """The first forms of the file as they would be stored."""
    mapping = Mapping.from_dict(batch.mapping)
    forms = {rater: row.form for rater, row in chosen_forms(mapping).items()}
    reader = RowReader(mapping, head.columns.names, forms, timezone.localdate())
    shown: list[Shown] = []
    for number, cells in head.rows:
        for found in reader(number, cells):
            if isinstance(found, Rejected):
                why = translated(sentence(found.reason.code, found.reason.values), _)
                shown.append(Shown(number, why=why, column=found.reason.column))
            else:
                given = [value for value in found.answers.values() if value not in MISSING_CODES]
                shown.append(Shown(number, found, len(given) if found.answers else None, len(found.answers)))
            if len(shown) == SHOWN_FORMS:
                return shown
    return shown


def recognised(batch: ImportBatch, head: Head) -> list[Columns]:
    """Which columns make up which form of a row."""
    mapping = Mapping.from_dict(batch.mapping)
    forms = {rater: row.form for rater, row in chosen_forms(mapping).items()}
    names = head.columns.names
    return [
        Columns(
            place.rater,
            place.session,
            names[place.cells[0][0]],
            names[place.cells[-1][0]],
            len(place.cells),
        )
        for place in read(mapping, names, forms).places
    ]


def rejected(batch: ImportBatch) -> QuerySet[ImportRejection]:
    return batch.rejections.order_by("row", "id")


@dataclass(frozen=True)
class RejectedForms:
    """Forms of one row that are rejected for one reason."""

    row: int
    column: str
    why: str
    n: int


def first_rejected(batch: ImportBatch) -> list[RejectedForms]:
    """Of so many forms at most, those of a row and reason together."""
    found = groupby((row.row, row.column, in_words(row)) for row in rejected(batch)[:SHOWN_REJECTED])
    return [RejectedForms(*one, sum(1 for _same in same)) for one, same in found]


def in_words(row: ImportRejection) -> str:
    return translated(sentence(row.reason, row.values), _)


def rejected_cells(batch: ImportBatch) -> Iterator[Sequence[object]]:
    """The rows of the file with every rejected form; a cell that a spreadsheet would take for a formula
    begins with an apostrophe."""
    yield (_("Row"), _("Column"), _("Reason"))
    for row in rejected(batch).iterator(chunk_size=5_000):
        yield (row.row, _harmless(row.column), _harmless(in_words(row)))


def _harmless(text: str) -> str:
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def clinic_imports(clinic: Clinic) -> QuerySet[ImportBatch]:
    rows = ImportBatch.objects.filter(clinic=clinic).select_related("study", "uploaded_by", "stored_by")
    return rows.order_by("-uploaded_at")


def person_of(batch: ImportBatch, code: str) -> ImportedPerson | None:
    """Who is called so in files of the batch's clinic. The codes are encrypted, so that all are looked at."""
    rows = ImportedPerson.objects.filter(batch__clinic=batch.clinic_id, patient__isnull=False)
    return next((row for row in rows.iterator(chunk_size=5_000) if row.code == code), None)


def stage_words(stage: str) -> str:
    words: dict[str, Any] = {
        "reading": _("Reading the file, in megabytes:"),
        "comparing": _("Comparing the forms with each other and with what stands here:"),
        "sessions": _("Storing sessions, patient by patient:"),
        "forms": _("Storing forms:"),
        "taking_out": _("Taking forms out:"),
        "finishing": _("Finishing."),
    }
    return str(words.get(stage, _("Beginning.")))
