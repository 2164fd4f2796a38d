"""Freezing a study's data: one moment, read by the database as CSV, kept as Parquet under pseudonyms.

The rows never pass through Python objects: Postgres writes them (`COPY`), Arrow turns them into Parquet block
by block, so that memory does not grow with the study. Everything is read in one transaction of its own
snapshot, so that all tables are of one moment.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Q
from django.utils import timezone

from analytics.frozen import Kind, Table, is_outcome, tables
from analytics.models import Snapshot, StoredChunk, StoredFile
from analytics.selection import Pseudonyms, Selection
from analytics.services import frozen_sql
from analytics.storage import sha256, store
from surveys import jobs
from surveys.models import Patient, Withdrawal
from surveys.progress import Progress
from surveys.selectors import study_instruments
from surveys.sentences import Sentence

JOB = "freeze"
SCHEMA = "schema.json"
ARROW: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int32(),
    "number": pa.float64(),
    "date": pa.date32(),
}
Report = Callable[[str, int, int], None]


class NoKey(Exception):
    """The site has no key for pseudonyms: nothing can be frozen until the operator gives it one."""


def snapshot_freeze(snapshot_id: str, progress: Progress | Report) -> Callable[[], None]:
    """Reads the snapshot's data; returns the function that keeps them. A snapshot that is frozen already, or
    gone, is left as it is."""
    snapshot = Snapshot.objects.select_related("study").filter(pk=UUID(snapshot_id), read_at=None).first()
    if snapshot is None:
        return lambda: None
    folder = tempfile.TemporaryDirectory(prefix="freeze-")
    root = Path(folder.name)
    found = _read(snapshot, root, progress)
    names = [path.name for path in sorted(root.iterdir())]
    # Of names and hashes, so that a byte that moves from one table to another is seen.
    whole = hashlib.sha256("".join(f"{sha256(root / name)}  {name}\n" for name in names).encode()).hexdigest()

    def write() -> None:
        with folder:
            _check_none_erased(snapshot, found["patients"])
            for name in names:
                store(snapshot, name, root / name)
            Snapshot.objects.filter(pk=snapshot.pk).update(sha256=whole, **found)

    return write


def _check_none_erased(snapshot: Snapshot, patients: Sequence[UUID]) -> None:
    """An erasure while the tables were being read did not find them; one that comes now waits for them to be
    kept, and ends them. Raises TryAgain."""
    rows = Patient.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=patients)
    list(rows.order_by("pk").values_list("pk"))
    erased = Withdrawal.objects.filter(study=snapshot.study_id, choice=Withdrawal.Choice.ERASE)
    if erased.filter(patient__in=patients).exists():
        raise jobs.TryAgain("A patient had their data erased while they were being frozen.")


def _read(snapshot: Snapshot, root: Path, progress: Progress | Report) -> dict[str, Any]:
    """Writes the tables and their schema into the folder; what the snapshot's row says of them."""
    forms = [(instrument.pk, instrument.form) for instrument in study_instruments(snapshot.study)]
    schema = tables([form for _, form in forms])
    # Tests run inside a transaction that has read already.
    isolate = not connection.in_atomic_block
    with transaction.atomic(), connection.cursor() as cursor:
        if isolate:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE")
        read_at, patients = _choose(cursor, snapshot)
        outcome = [pk for pk, form in forms if is_outcome(form)]
        for place, table in enumerate(schema):
            progress("reading", place, len(schema))
            query = frozen_sql.query(table, settings.TIME_ZONE)
            _copy(cursor, query, {"study": snapshot.study_id, "outcome": outcome, "at": read_at}, root, table)
        counts = _counts(cursor, snapshot)
    for place, table in enumerate(schema):
        progress("writing", place, len(schema))
        counts[f"n_{table.name}"] = _to_parquet(root, table)
    description = {"study": snapshot.study.code, "tables": [table.to_dict() for table in schema]}
    (root / SCHEMA).write_text(json.dumps(description, sort_keys=True, indent=1, ensure_ascii=False))
    return {"read_at": read_at, "patients": patients, "counts": counts}


def _choose(cursor: CursorWrapper, snapshot: Snapshot) -> tuple[datetime, list[UUID]]:
    """Temporary tables of the chosen therapies and of everybody's pseudonym; the moment, and whose data."""
    names = pseudonyms(snapshot)
    where, values = frozen_sql.condition(Selection.from_dict(snapshot.selection))
    cursor.execute("DROP TABLE IF EXISTS pg_temp.chosen, pg_temp.name")
    cursor.execute(
        frozen_sql.CHOSEN.format(where=where),
        {"study": snapshot.study_id, **values},
    )
    cursor.execute("CREATE TEMP TABLE name (id uuid PRIMARY KEY, name text NOT NULL UNIQUE) ON COMMIT DROP")
    for prefix, query in frozen_sql.PEOPLE.items():
        cursor.execute(
            query, {"study": snapshot.study_id, "is_all": Selection.from_dict(snapshot.selection).is_all}
        )
        _insert(cursor, ((row[0], names(prefix, row[0])) for row in cursor.fetchall()))
    cursor.execute("ANALYZE chosen")
    cursor.execute("ANALYZE name")
    cursor.execute("SELECT DISTINCT patient_id FROM chosen ORDER BY 1")
    return timezone.now(), [row[0] for row in cursor.fetchall()]


def pseudonyms(snapshot: Snapshot) -> Pseudonyms:
    """Of the frozen tables: the same for the same study and selection, whenever they are frozen. Raises
    NoKey."""
    if not settings.PSEUDONYM_KEY:
        raise NoKey("PSEUDONYM_KEY is not set.")
    return Pseudonyms.of(
        settings.PSEUDONYM_KEY, snapshot.study_id, json.dumps(snapshot.selection, sort_keys=True)
    )


def _insert(cursor: CursorWrapper, rows: Iterable[tuple[UUID, str]]) -> None:
    with tempfile.TemporaryFile("w+") as lines:
        lines.writelines(f"{key}\t{name}\n" for key, name in rows)
        lines.seek(0)
        cursor.copy_from(lines, "name", columns=("id", "name"))


def _copy(cursor: CursorWrapper, query: str, values: dict[str, Any], root: Path, table: Table) -> None:
    with (root / f"{table.name}.csv").open("wb") as target:
        text = cursor.mogrify(query, values).decode()
        cursor.copy_expert(f"COPY ({text}) TO STDOUT WITH (FORMAT csv, HEADER)", target)


def _counts(cursor: CursorWrapper, snapshot: Snapshot) -> dict[str, int]:
    cursor.execute("SELECT count(*), count(DISTINCT patient_id), count(DISTINCT therapist_id) FROM chosen")
    n_therapies, n_patients, n_therapists = cursor.fetchone()
    cursor.execute(
        "SELECT count(*) FROM surveys_therapy WHERE study_id = %s AND excluded_at IS NOT NULL",
        [snapshot.study_id],
    )
    (n_left_out,) = cursor.fetchone()
    return {
        "n_episodes": n_therapies,
        "n_patients": n_patients,
        "n_treating": n_therapists,
        "n_left_out": n_left_out,
    }


def _to_parquet(root: Path, table: Table) -> int:
    """Turns the CSV into Parquet block by block and deletes it; how many rows there are."""
    source = root / f"{table.name}.csv"
    types = {column.name: ARROW[column.kind] for column in table.columns}
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    n = 0
    options = pa_csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    with (
        pq.ParquetWriter(root / f"{table.name}.parquet", schema, compression="zstd") as target,
        pa_csv.open_csv(source, convert_options=options) as blocks,
    ):
        for block in blocks:
            n += block.num_rows
            target.write_batch(block)
            del block
            pa.default_memory_pool().release_unused()
    source.unlink()
    return n


def snapshots_of(study_id: UUID, patients: Sequence[UUID]) -> list[Sentence]:
    """What keeps the ratings of these patients from being taken out of the study again: data that were
    frozen with them are there to be asked again, and a table that was published may rest on them."""
    rows = Snapshot.objects.filter(study=study_id, erased_at=None, patients__overlap=list(patients))
    numbers = [str(number) for number in rows.order_by("number").values_list("number", flat=True)]
    if not numbers:
        return []
    return [
        Sentence(
            "Frozen data of the study hold its ratings (snapshot %(numbers)s), and what was published may "
            "rest on them.",
            numbers=", ".join(numbers),
        )
    ]


def snapshots_forget(study_id: UUID, patients: Sequence[UUID]) -> None:
    """What an erasure does to frozen data, for answers that the clock deletes: snapshots that hold them go,
    with all files made of them."""
    rows = Snapshot.objects.filter(study=study_id, erased_at=None, patients__overlap=list(patients))
    hit = list(rows.select_for_update(of=("self",)))
    files = StoredFile.objects.filter(Q(snapshot__in=hit) | Q(export__snapshot__in=hit))
    StoredChunk.objects.filter(file__in=files).delete()
    files.delete()
    for row in hit:
        row.erased_at = timezone.now()
        row.patients = [patient for patient in row.patients if patient not in patients]
        row.save(update_fields=["erased_at", "patients"])


def frozen_names(schema: Sequence[Table]) -> list[str]:
    """Names of the stored files of a snapshot."""
    return [SCHEMA, *(f"{table.name}.parquet" for table in schema)]
