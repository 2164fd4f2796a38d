"""What the temporary tables of `import_rows` hold becomes rows, block by block in the caller's transaction;
and a whole batch is taken out again.

Numbers of sessions follow from held sessions in their order, so that every session up to the last one of the
file is made, each marked with what is known of its time: a day from the file stands as noon, the sessions
without one take the last known day before them (or the first after them, or the first of January 1900) and
keep their order by microseconds. `Session.timing` says that such a day is none; no page and no dataset shows
it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.backends.utils import CursorWrapper

from surveys.ids import new_code, uuid7
from surveys.models import (
    Assignment,
    ImportBatch,
    ImportedPerson,
    Patient,
    StudyVersion,
    Therapist,
    Therapy,
)
from surveys.models.people import UNKNOWN_DAY
from surveys.services.import_rows import Report, Staged
from surveys.services.import_sql import (
    ACCEPTED,
    ASSIGNMENTS,
    RESPONSES,
    SCORES,
    SESSIONS,
    SETTLE,
    TAKE_OUT_FORMS,
    TAKE_OUT_SESSIONS,
)

BLOCK = 20_000
# Rows that are deleted with what hangs on them, so many at a time.
PEOPLE = 5_000


def staged_store(batch: ImportBatch, staged: Staged, version: StudyVersion, report: Report) -> dict[str, int]:
    """Writes everything that was accepted; how many rows of each kind it made."""
    with connection.cursor() as cursor:
        # Else the database would check every key of every row at the very end, and be silent until then.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(ACCEPTED)
        cursor.execute("ANALYZE import_accepted")
        cursor.execute("SELECT DISTINCT patient, therapist FROM import_accepted")
        pairs = cursor.fetchall()
        made = _people(batch, staged, {"patient": {p for p, _ in pairs}, "therapist": {t for _, t in pairs}})
        made["therapies"] = _therapies(cursor, batch, staged)
        cursor.execute("ANALYZE import_therapy")
        n = int(staged.counts["accepted"])
        values: dict[str, Any] = {
            "study": batch.study_id,
            "version": version.pk,
            "batch": batch.pk,
            "actor": batch.stored_by_id,
            "zone": settings.TIME_ZONE,
        }
        n_patients = len(staged.people["patient"])
        made["sessions"] = 0
        for first in range(0, n_patients, BLOCK):
            report("sessions", first, n_patients)
            cursor.execute(SESSIONS, values | {"first": first, "last": first + BLOCK})
            made["sessions"] += cursor.rowcount
        for first in range(0, n, BLOCK):
            report("forms", first, n)
            block: dict[str, Any] = values | {"first": first, "last": first + BLOCK}
            cursor.execute(ASSIGNMENTS, block)
            cursor.execute(RESPONSES, block)
            cursor.execute(SCORES, block)
        cursor.execute("SELECT therapy FROM import_therapy")
        _settle(cursor, [row[0] for row in cursor.fetchall()])
        report("forms", n, n)
    return made


def _people(batch: ImportBatch, staged: Staged, used: dict[str, set[int]]) -> dict[str, int]:
    """New people under new codes, and the encrypted note of what they are called in the file."""
    clinic = batch.clinic
    language = staged.forms["patient"].language if "patient" in staged.forms else "en"
    patient_code = _fresh(clinic.patients.values_list("code", flat=True))
    therapist_code = _fresh(clinic.therapists.values_list("code", flat=True))
    patients, therapists, notes = [], [], []
    for k in sorted(used["patient"]):
        one = staged.people["patient"][k]
        if one.is_new:
            patients.append(Patient(id=one.id, clinic=clinic, code=patient_code(), language=language))
            notes.append(ImportedPerson(batch=batch, patient_id=one.id, code=one.code))
    for k in sorted(used["therapist"]):
        one = staged.people["therapist"][k]
        if one.is_new:
            therapists.append(Therapist(id=one.id, clinic=clinic, code=therapist_code()))
            notes.append(ImportedPerson(batch=batch, therapist_id=one.id, code=one.code))
    Patient.objects.bulk_create(patients, batch_size=PEOPLE)
    Therapist.objects.bulk_create(therapists, batch_size=PEOPLE)
    ImportedPerson.objects.bulk_create(notes, batch_size=PEOPLE)
    return {"new_patients": len(patients), "new_therapists": len(therapists)}


def _therapies(cursor: CursorWrapper, batch: ImportBatch, staged: Staged) -> int:
    """Therapies that are not there yet; those that are stay locked to the end."""
    code = _fresh(Therapy.objects.values_list("code", flat=True))
    cursor.execute("SELECT patient, therapist, therapy, is_new FROM import_therapy ORDER BY patient")
    rows = cursor.fetchall()
    list(
        Therapy.objects.select_for_update()
        .filter(pk__in=[therapy for _, _, therapy, is_new in rows if not is_new])
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    new = {
        patient: Therapy(
            id=uuid7(),
            code=code(),
            patient_id=staged.people["patient"][patient].id,
            therapist_id=staged.people["therapist"][therapist].id,
            study_id=batch.study_id,
            started_on=UNKNOWN_DAY,
            ended_on=UNKNOWN_DAY,
            end_reason=Therapy.EndReason.IMPORTED,
            batch=batch,
        )
        for patient, therapist, _, is_new in rows
        if is_new
    }
    Therapy.objects.bulk_create(new.values(), batch_size=PEOPLE)
    cursor.execute(
        "UPDATE import_therapy SET therapy = given.therapy FROM unnest(%s::int[], %s::uuid[])"
        " AS given (patient, therapy) WHERE import_therapy.patient = given.patient",
        [list(new), [row.pk for row in new.values()]],
    )
    return len(new)


def _fresh(taken: Iterable[str]) -> Callable[[], str]:
    """Draws codes that nobody has yet."""
    used = set(taken)

    def draw() -> str:
        while (code := new_code()) in used:
            pass
        used.add(code)
        return code

    return draw


def _settle(cursor: CursorWrapper, therapies: list[UUID]) -> None:
    cursor.execute(SETTLE, {"zone": settings.TIME_ZONE, "unknown": UNKNOWN_DAY, "therapies": therapies})


def batch_take_out(batch: ImportBatch, report: Report) -> None:
    """Deletes everything that the batch brought, in the caller's transaction; what hangs on it must have been
    looked for. What else points at one of these rows makes the database refuse the whole."""
    forms = Assignment.objects.filter(batch=batch)
    total, done = forms.count(), 0
    own = Therapy.objects.filter(sessions__assignments__batch=batch).distinct()
    therapies = list(own.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        while block := list(forms.values_list("pk", flat=True)[:BLOCK]):
            report("taking_out", done, total)
            for statement in TAKE_OUT_FORMS:
                cursor.execute(statement, [block])
            done += len(block)
        n = BLOCK
        while n:
            report("taking_out", total, total)
            cursor.execute(TAKE_OUT_SESSIONS, [batch.pk, BLOCK])
            n = cursor.rowcount
        for part in _blocks(list(Therapy.objects.filter(batch=batch).values_list("pk", flat=True))):
            report("taking_out", total, total)
            Therapy.objects.filter(pk__in=part).delete()
        people = ImportedPerson.objects.filter(batch=batch)
        patients = list(people.exclude(patient=None).values_list("patient", flat=True))
        therapists = list(people.exclude(therapist=None).values_list("therapist", flat=True))
        people.delete()
        for part in _blocks(patients):
            report("taking_out", total, total)
            Patient.objects.filter(pk__in=part).delete()
        for part in _blocks(therapists):
            Therapist.objects.filter(pk__in=part).delete()
        _settle(cursor, therapies)


def _blocks(keys: list[UUID]) -> Iterator[list[UUID]]:
    return (keys[first : first + PEOPLE] for first in range(0, len(keys), PEOPLE))
