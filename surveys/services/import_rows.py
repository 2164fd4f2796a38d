"""From the stored file to rows that wait: read, checked one by one, and checked against each other and
against what the database holds.

Everything lies in temporary tables of this connection, so that memory does not grow with the file:
`import_key` (who, which session, which day), `import_payload` (answers and scores), `import_fault` (why a
form is not taken over; the first reason counts) and `import_known` (forms that stand here already with the
same content), `import_episode` (therapies that stand here). Codes of people are numbers there; what they are
called stays in Python.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from surveys.fields import encrypt_within
from surveys.ids import uuid7
from surveys.imports import source
from surveys.imports.mapping import Mapping
from surveys.imports.rows import Entry, Rejected, RowReader, looks_like_names
from surveys.models import ImportBatch, ImportedPerson, ImportRejection, Instrument
from surveys.services.import_sql import CHECKS, COMPARE, COUNTS, DIFFERENT, KNOWN, TABLES

Report = Callable[[str, int, int], None]
BLOCK = 20_000
# What COPY reads as nothing.
NULL = r"\N"


@dataclass(frozen=True)
class Person:
    """Somebody of the file: the code there, and who it is here; new people have no row yet."""

    code: str
    id: UUID
    is_new: bool


@dataclass(frozen=True)
class Staged:
    """What waits in the temporary tables: its numbers, and the people by their number there."""

    counts: dict[str, Any]
    people: dict[str, list[Person]]
    forms: dict[str, Instrument]


def batch_lock(pk: UUID) -> ImportBatch:
    """The batch, for one job until its transaction ends; of a clinic one job after another, so that a second
    file finds whom the first one brought. No row of clinic or study is locked: for minutes nobody could send
    a form there."""
    rows = ImportBatch.objects.select_related("study", "clinic")
    clinic = rows.get(pk=pk).clinic_id
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"import:{clinic}"])
    return rows.select_for_update(of=("self",)).get(pk=pk)


def pieces(batch: ImportBatch) -> Iterator[bytes]:
    """The file as it was uploaded, about a megabyte at a time."""
    number = 0
    while True:
        content = batch.chunks.filter(number=number).values_list("content", flat=True).first()
        if content is None:
            return
        yield bytes(content)
        number += 1


def chosen_forms(mapping: Mapping) -> dict[str, Instrument]:
    """The forms of a mapping by rater; whose they may be was asked when the mapping was chosen."""
    found = {str(row.pk): row for row in Instrument.objects.filter(pk__in=mapping.forms.values())}
    return {rater: found[key] for rater, key in mapping.forms.items() if key in found}


def stage(batch: ImportBatch, report: Report) -> Staged:
    """Reads and checks the whole file into temporary tables. Call it in a transaction, so that all is checked
    against one state. Raises FileRefused and MappingRefused."""
    mapping = Mapping.from_dict(batch.mapping)
    forms = chosen_forms(mapping)
    with connection.cursor() as cursor:
        # Of this transaction alone: a sort over a whole file would else go to disk in small pieces.
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute(TABLES)
        for rater, form in forms.items():
            cursor.execute("INSERT INTO import_form VALUES (%s, %s)", [rater, form.pk])
        codes, counts = _read(cursor, batch, mapping, forms, report)
        people = _people(cursor, batch, codes)
        _check(cursor, batch, mapping, report)
        counts |= _counts(cursor)
    counts["has_names"] = looks_like_names([*codes["patient"], *codes["therapist"]])
    return Staged(counts, people, forms)


def _read(
    cursor: CursorWrapper,
    batch: ImportBatch,
    mapping: Mapping,
    forms: dict[str, Instrument],
    report: Report,
) -> tuple[dict[str, dict[str, int]], dict[str, Any]]:
    codes: dict[str, dict[str, int]] = {"patient": {}, "therapist": {}}
    patients, therapists = codes["patient"], codes["therapist"]
    n, n_rows, done = 0, 0, 0
    keys, payloads, faults = io.StringIO(), io.StringIO(), io.StringIO()
    write_fault = csv.writer(faults).writerow
    total = batch.n_bytes // 1_000_000 + 1

    def counted() -> Iterator[bytes]:
        nonlocal done
        for piece in pieces(batch):
            yield piece
            done += len(piece)

    with source.opened(counted()) as (columns, rows):
        reader = RowReader(
            mapping,
            columns.names,
            {rater: row.form for rater, row in forms.items()},
            timezone.localdate(),
        )
        for number, cells in rows:
            n_rows += 1
            for found in reader(number, cells):
                n += 1
                if isinstance(found, Rejected):
                    reason = found.reason
                    values = json.dumps(encrypt_within(reason.values, ImportRejection.CELL))
                    write_fault((n, found.row, reason.column, reason.code, values))
                else:
                    patient = patients.setdefault(found.patient, len(patients))
                    therapist = therapists.setdefault(found.therapist, len(therapists))
                    day = found.day or NULL
                    who = f"{patient}\t{therapist}\t{found.session}\t{day}\t{found.rater}"
                    keys.write(f"{n}\t{found.row}\t{who}\n")
                    payloads.write(_payload(n, found))
            if n_rows % BLOCK == 0:
                _flush(cursor, keys, payloads, faults)
                report("reading", min(done // 1_000_000, total), total)
        _flush(cursor, keys, payloads, faults)
    return codes, {"rows": n_rows, "forms": n, "blank": reader.n_blank}


def _payload(n: int, entry: Entry) -> str:
    answers = json.dumps(entry.answers, separators=(",", ":"))
    scores = json.dumps({scale: rest for scale, *rest in entry.scores}, separators=(",", ":"))
    return f"{n}\t{answers}\t{scores}\n"


def _flush(cursor: CursorWrapper, keys: io.StringIO, payloads: io.StringIO, faults: io.StringIO) -> None:
    for buffer, target in (
        (keys, "COPY import_key FROM STDIN"),
        (payloads, "COPY import_payload FROM STDIN"),
        (
            faults,
            'COPY import_fault FROM STDIN WITH (FORMAT csv, FORCE_NOT_NULL ("column"))',
        ),
    ):
        buffer.seek(0)
        cursor.copy_expert(target, buffer)
        buffer.seek(0)
        buffer.truncate()


def _people(
    cursor: CursorWrapper, batch: ImportBatch, codes: dict[str, dict[str, int]]
) -> dict[str, list[Person]]:
    """Whom an earlier file of the clinic brought is found again; everybody else is new."""
    known: dict[tuple[str, str], UUID] = {}
    for row in ImportedPerson.objects.filter(batch__clinic=batch.clinic_id).iterator(chunk_size=5_000):
        if row.patient_id is not None:
            known["patient", row.code] = row.patient_id
        elif row.therapist_id is not None:
            known["therapist", row.code] = row.therapist_id
    people: dict[str, list[Person]] = {}
    for kind, numbered in codes.items():
        people[kind] = [
            Person(code, known.get((kind, code)) or uuid7(), (kind, code) not in known) for code in numbered
        ]
        lines = io.StringIO(
            "".join(f"{kind}\t{k}\t{one.id}\t{one.is_new}\n" for k, one in enumerate(people[kind]))
        )
        cursor.copy_expert("COPY import_person FROM STDIN", lines)
    return people


def _check(cursor: CursorWrapper, batch: ImportBatch, mapping: Mapping, report: Report) -> None:
    cursor.execute("ANALYZE import_key; ANALYZE import_payload; ANALYZE import_fault; ANALYZE import_person")
    values: dict[str, Any] = {
        "study": batch.study_id,
        "zone": settings.TIME_ZONE,
        "patient": mapping.patient,
        "therapist": mapping.therapist,
        "session": mapping.session,
        "day": mapping.day,
    }
    for place, check in enumerate(CHECKS):
        report("comparing", place, len(CHECKS) + 1)
        cursor.execute(check, values)
    report("comparing", len(CHECKS), len(CHECKS) + 1)
    cursor.execute(COMPARE, values)
    cursor.execute(KNOWN)
    cursor.execute(DIFFERENT)


def _counts(cursor: CursorWrapper) -> dict[str, int]:
    cursor.execute(COUNTS)
    names = ("rejected", "known", "accepted", "patients", "therapists")
    return dict(zip(names, cursor.fetchone(), strict=True))
