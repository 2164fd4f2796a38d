"""Ratings that were collected before this site, brought in from a file: uploaded, mapped, checked as a whole,
stored all or nothing, and taken out again.

1. The file is kept, encrypted and in pieces, until it is stored or dropped; then its name and hash are left.
2. A check reads it all and says of every form whether it is accepted, stands here already or is rejected, and
   why. Storing reads it again: what is stored is what was checked, or nothing.
3. Who stores it says in words under which consent they were given; nobody is shown them (`Sharing.NONE`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit, hindrances, jobs
from surveys.access import Actor
from surveys.imports import mapping as mappings
from surveys.imports import source
from surveys.imports.mapping import MappingRefused, columns_sha256
from surveys.imports.reasons import FileRefused
from surveys.models import (
    Assignment,
    Consent,
    ImportBatch,
    ImportChunk,
    ImportedPerson,
    ImportMapping,
    Job,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
    Withdrawal,
)
from surveys.sentences import Sentence, translated
from surveys.services.import_rows import Report, Staged, batch_lock, chosen_forms, stage
from surveys.services.import_rows import pieces as stored_pieces
from surveys.services.import_sql import KEEP_FAULTS
from surveys.services.import_store import batch_take_out, staged_store
from surveys.uploads import MAX_FILE

CHECK, STORE, UNDO = "import_check", "import_store", "import_undo"
KINDS = (CHECK, STORE, UNDO)
PIECE = 1 << 20
# What storing must find as the check found it.
FIGURES = ("rows", "forms", "accepted", "known", "rejected")
State = ImportBatch.State


class ImportRefused(Exception):
    """Nothing was changed; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


def first_version(study: Study) -> StudyVersion | None:
    """The version that imported forms belong to: the first that was in force. None of its visibility holds
    for them, for they are shared with nobody."""
    return study.versions.filter(active_from__lte=timezone.now()).order_by("active_from").first()


@transaction.atomic
def import_upload(
    *, study: Study, name: str, pieces: Iterable[bytes], actor: Actor | None = None
) -> ImportBatch:
    """Keeps a file with what its first rows are. Raises ImportRefused for what is no table of ratings."""
    if first_version(study) is None:
        raise ImportRefused(
            _("The study {code} is not active yet. Activate it first.").format(code=study.code)
        )
    batch = ImportBatch(
        clinic_id=study.clinic_id,
        study=study,
        file_name=name[-200:],
        n_bytes=0,
        kind=source.CSV,
        uploaded_by=actor if isinstance(actor, User) else None,
    )
    batch.save(force_insert=True)
    digest, first = hashlib.sha256(), b""
    for number, piece in enumerate(_of_one_size(pieces)):
        first = first or piece
        digest.update(piece)
        batch.n_bytes += len(piece)
        if batch.n_bytes > MAX_FILE:
            raise ImportRefused(
                _("The file is larger than {n} MB. Split it and upload the parts one after another.").format(
                    n=MAX_FILE // 1_000_000
                ),
                "file",
            )
        ImportChunk.objects.create(batch=batch, number=number, content=piece)
    batch.sha256, batch.kind = digest.hexdigest(), source.kind_of(first)
    try:
        # An SPSS file says at its end how many rows it has.
        begin = first if len(first) == batch.n_bytes else source.whole_lines(first)
        head = source.head([begin] if batch.kind == source.CSV else stored_pieces(batch))
    except FileRefused as refusal:
        raise ImportRefused(translated(refusal.sentence, _), "file") from refusal
    batch.head = json.dumps(head.to_dict())
    batch.save(update_fields=["sha256", "kind", "n_bytes", "head"])
    audit.record(
        "import.upload",
        subject=batch,
        actor=actor,
        clinic=study.clinic,
        sha256=batch.sha256,
        study=study.code,
    )
    return batch


@transaction.atomic
def mapping_set(
    *, batch: ImportBatch, mapping: mappings.Mapping, save_as: str = "", actor: Actor | None = None
) -> None:
    """How the file is read; what an earlier check found is gone with it. Raises ImportRefused, and
    MappingRefused where it does not fit the file."""
    row = _lock(batch, State.OPEN)
    head = read_head(row)
    forms = {rater: form.form for rater, form in chosen_forms(mapping).items()}
    mappings.read(mapping, head.columns.names, forms)
    row.mapping, row.counts = mapping.to_dict(), {}
    row.save(update_fields=["mapping", "counts"])
    row.rejections.all().delete()
    if save_as:
        ImportMapping.objects.update_or_create(
            clinic_id=row.clinic_id,
            name=save_as,
            defaults={
                "columns_sha256": columns_sha256(head.columns.names),
                "mapping": row.mapping,
                "saved_by": actor if isinstance(actor, User) else None,
            },
        )
    audit.record("import.map", subject=row, actor=actor, clinic=row.clinic, saved_as=save_as)


def read_head(batch: ImportBatch) -> source.Head:
    """The beginning of a file that is still there."""
    return source.Head.from_dict(json.loads(batch.head))


@transaction.atomic
def check_ask(*, batch: ImportBatch, actor: Actor | None = None) -> None:
    """A job reads the whole file and stores nothing of it. Raises ImportRefused."""
    row = _lock(batch, State.OPEN)
    if not row.mapping:
        raise ImportRefused(_("Say first what the columns are."))
    audit.record("import.check", subject=row, actor=actor, clinic=row.clinic)
    jobs.request(CHECK, row.pk)


@transaction.atomic
def store_ask(*, batch: ImportBatch, consent: str, actor: Actor | None = None) -> None:
    """A job stores what the check accepted. Raises ImportRefused."""
    row = _lock(batch, State.OPEN)
    if not row.counts.get("accepted"):
        raise ImportRefused(_("There is nothing to store. Check the file first."))
    if not consent.strip():
        raise ImportRefused(_("Say under which consent these ratings were collected."), "consent")
    row.consent, row.stored_by = consent.strip(), actor if isinstance(actor, User) else None
    row.save(update_fields=["consent", "stored_by"])
    audit.record("import.ask", subject=row, actor=actor, clinic=row.clinic)
    jobs.request(STORE, row.pk)


@transaction.atomic
def batch_drop(*, batch: ImportBatch, actor: Actor | None = None) -> None:
    """Deletes a file that was not stored. Raises ImportRefused."""
    row = _lock(batch, State.OPEN)
    _forget_file(row)
    row.rejections.all().delete()
    _end(row, State.DROPPED, actor)
    audit.record("import.drop", subject=row, actor=actor, clinic=row.clinic)


@transaction.atomic
def undo_ask(*, batch: ImportBatch, actor: Actor | None = None) -> None:
    """A job takes everything out again, where nothing hangs on it. Raises ImportRefused."""
    row = _lock(batch, State.STORED)
    row.ended_by = actor if isinstance(actor, User) else None
    row.counts.pop("kept", None)
    row.save(update_fields=["ended_by", "counts"])
    audit.record("import.undo.ask", subject=row, actor=actor, clinic=row.clinic)
    jobs.request(UNDO, row.pk)


@transaction.atomic
def job_cancel(*, batch: ImportBatch, actor: Actor | None = None) -> None:
    """Ends what a job is doing with the file; nothing of it is kept."""
    for kind in KINDS:
        jobs.cancel(kind, batch.pk)
    audit.record("import.cancel", subject=batch, actor=actor, clinic=batch.clinic)


def latest_job(batch_id: UUID) -> Job | None:
    """A page reads it before the import, as `jobs.latest` says."""
    return Job.objects.filter(kind__in=KINDS, scope=str(batch_id)).order_by("-id").first()


def batch_check(scope: str, progress: Report) -> jobs.Write:
    """The job behind `check_ask`."""
    batch = ImportBatch.objects.filter(pk=UUID(scope), state=State.OPEN).exclude(mapping={}).first()
    if batch is None:
        return _nothing
    read = batch.mapping
    try:
        with transaction.atomic():
            counts: dict[str, Any] = stage(batch, progress).counts
    except (FileRefused, MappingRefused) as refusal:
        counts = {"refused": [_kept(one) for one in _sentences(refusal)]}

    def write() -> None:
        row = ImportBatch.objects.select_for_update().get(pk=batch.pk)
        # Somebody may have mapped the columns anew meanwhile.
        if row.state == State.OPEN and row.mapping == read:
            _keep_check(row, counts)

    return write


def batch_store(scope: str, progress: Report) -> jobs.Write:
    """The job behind `store_ask`: one transaction of its own, so that its progress is seen. Whoever runs it a
    second time finds the batch stored."""
    with transaction.atomic():
        batch = batch_lock(UUID(scope))
        version = first_version(batch.study)
        if batch.state != State.OPEN or not batch.consent or version is None:
            return _nothing
        staged = stage(batch, progress)
        if any(staged.counts[name] != batch.counts.get(name) for name in FIGURES):
            counts = staged.counts | {"changed": True}

            def write() -> None:
                _keep_check(ImportBatch.objects.select_for_update().get(pk=batch.pk), counts)

            return write
        _store(batch, staged, version, progress)
    return _nothing


def _store(batch: ImportBatch, staged: Staged, version: StudyVersion, progress: Report) -> None:
    made = staged_store(batch, staged, version, progress)
    batch.counts = staged.counts | made
    batch.state, batch.stored_at = State.STORED, timezone.now()
    batch.save(update_fields=["counts", "state", "stored_at"])
    _forget_file(batch)
    audit.record(
        "import.store",
        subject=batch,
        actor=batch.stored_by,
        clinic=batch.clinic,
        study=batch.study.code,
        **{name: batch.counts[name] for name in (*FIGURES, "therapies", "sessions")},
    )
    jobs.request("refit", batch.study_id)
    # Another worker may have the job by now; it then stores the file, and this one nothing.
    progress("finishing", 0, 0)


def batch_undo(scope: str, progress: Report) -> jobs.Write:
    """The job behind `undo_ask`, in one transaction of its own."""
    with transaction.atomic():
        batch = batch_lock(UUID(scope))
        if batch.state != State.STORED:
            return _nothing
        kept = what_hangs_on(batch)
        if kept:
            batch.counts["kept"] = [_kept(sentence) for sentence in kept]
            batch.save(update_fields=["counts"])
            return _nothing
        batch_take_out(batch, progress)
        batch.rejections.all().delete()
        _end(batch, State.UNDONE, batch.ended_by)
        audit.record("import.undo", subject=batch, actor=batch.ended_by, clinic=batch.clinic)
        jobs.request("refit", batch.study_id)
        progress("finishing", 0, 0)
    return _nothing


def what_hangs_on(batch: ImportBatch) -> list[Sentence]:
    """Why the batch cannot be taken out again; empty where it can."""
    found = []
    therapies = Therapy.objects.filter(sessions__assignments__batch=batch).values("pk")
    people = ImportedPerson.objects.filter(batch=batch)
    patients, therapists = people.values("patient"), people.values("therapist")
    not_own = Q(batch=None) | ~Q(batch=batch)
    own_sessions = Session.objects.filter(batch=batch)
    earlier = own_sessions.filter(therapy=OuterRef("therapy"), held_at__lt=OuterRef("held_at"))
    if (
        Assignment.objects.filter(not_own, session__in=own_sessions).exists()
        or Session.objects.filter(not_own, Exists(earlier)).exists()
    ):
        found.append(
            Sentence(
                "Later forms or sessions stand in its therapies. Take out first what came later: an import "
                "that was made after this one."
            )
        )
    other = Therapy.objects.filter(not_own)
    if (
        other.filter(patient__in=patients).exists()
        or other.filter(therapist__in=therapists).exists()
        or Assignment.objects.filter(therapist__in=therapists).exists()
        or Therapist.objects.filter(pk__in=therapists, user__isnull=False).exists()
    ):
        found.append(Sentence("People whom it brought have therapies or forms by now that it did not bring."))
    if (
        Withdrawal.objects.filter(patient__in=patients).exists()
        or Consent.objects.filter(patient__in=patients).exists()
    ):
        found.append(Sentence("Patients whom it brought have decided about their data by now."))
    touched = list(Therapy.objects.filter(pk__in=therapies).values_list("patient", flat=True))
    return [*found, *hindrances.found(batch.study_id, touched)]


def kept_sentences(found: Iterable[Mapping[str, Any]]) -> list[Sentence]:
    """Sentences that a job wrote down, as sentences again."""
    return [Sentence(str(one["template"]), **one["values"]) for one in found]


def _kept(sentence: str) -> dict[str, Any]:
    if isinstance(sentence, Sentence):
        return {"template": sentence.template, "values": dict(sentence.values)}
    return {"template": sentence.replace("%", "%%"), "values": {}}


def _sentences(refusal: FileRefused | MappingRefused) -> list[str]:
    if isinstance(refusal, FileRefused):
        return [refusal.sentence]
    return [sentence for _, sentence in refusal.problems]


def _keep_check(batch: ImportBatch, counts: dict[str, Any]) -> None:
    """What a check found, in place of what an earlier one did."""
    batch.rejections.all().delete()
    batch.counts = counts
    batch.save(update_fields=["counts"])
    if "refused" in counts:
        return
    with connection.cursor() as cursor:
        cursor.execute(KEEP_FAULTS, [batch.pk])


def _lock(batch: ImportBatch, state: str) -> ImportBatch:
    """The row as it is now; refused where it is in another state or a job works on it."""
    _refuse_while_at_work(batch)
    row = (
        ImportBatch.objects.select_for_update(of=("self",)).select_related("clinic", "study").get(pk=batch.pk)
    )
    _refuse_while_at_work(row)
    if row.state != state:
        raise ImportRefused(_("This import has changed meanwhile. Look at what stands here now."))
    return row


def _refuse_while_at_work(batch: ImportBatch) -> None:
    """Asked before the row is locked as well: a job that stores a large file holds it for minutes."""
    job = latest_job(batch.pk)
    if job is not None and job.is_open:
        raise ImportRefused(_("Something is being done with this file. Wait for it, or cancel it."))


def _forget_file(batch: ImportBatch) -> None:
    batch.chunks.all().delete()
    batch.head = ""
    batch.save(update_fields=["head"])


def _end(batch: ImportBatch, state: str, actor: Actor | None) -> None:
    batch.state, batch.ended_at = state, timezone.now()
    batch.ended_by = actor if isinstance(actor, User) else None
    batch.save(update_fields=["state", "ended_at", "ended_by"])


def _nothing() -> None:
    """Where there is nothing left to write."""


def _of_one_size(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """The same bytes in pieces of about a megabyte."""
    kept = b""
    for piece in pieces:
        kept += piece
        for start in range(0, len(kept) - PIECE + 1, PIECE):
            yield kept[start : start + PIECE]
        kept = kept[len(kept) // PIECE * PIECE :]
    if kept:
        yield kept
