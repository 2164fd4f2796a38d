"""The way of a file out: asked for, approved by a second person, built, fetched by who asked, gone in a day.

1. `export_ask` checks what the file would tell of people and refuses what tells too much.
2. Scores need one approval, of an administrator of the clinic. Every answer needs an agreement and two: of
   two administrators, or of one and another researcher of the study. Nobody approves what they asked for.
3. The job `export` builds the file, without the patients who have left since the data were frozen.
4. `export_fetch` hands it out: to who asked, once they have confirmed by their password that it is them,
   while it has not expired, its approval stands, and nobody in it has left. Each time is one line of the
   trace.
"""

import tempfile
from collections.abc import Callable, Collection
from datetime import timedelta
from enum import Enum
from pathlib import Path
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from analytics.export.bundle import build_bundle
from analytics.export.source import TooFew, lacking, tier_rules
from analytics.models import Export, ExportApproval, Snapshot, StoredFile
from analytics.services.snapshots import left_out_since
from analytics.storage import sha256, store
from surveys import audit, jobs
from surveys.models import AuditEvent, Fields, Role, User
from surveys.progress import Progress

JOB = "export"
FILE = "file"
EXPIRES_AFTER = timedelta(hours=24)
# Fetched more often than this in a day, somebody is told.
ALARM_ABOVE = 10
N_APPROVALS = {Export.Tier.SCORES.value: 1, Export.Tier.ITEMS.value: 2}
Report = Callable[[str, int, int], None]


class State(Enum):
    """Of an export, for whoever asks for its file."""

    WAITING = "waiting"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"
    REFUSED = "refused"
    BUILDING = "building"
    READY = "ready"
    EXPIRED = "expired"
    OUTDATED = "outdated"


class ExportRefused(Exception):
    """`code`: frozen (the snapshot has no data), agreement, patients, therapists, groups (`Anonymity.lacks`),
    own (who asked may not approve), twice, decided (it is not waiting any more), state."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class NotConfirmed(Exception):
    """Who asked has not confirmed by their password yet that it is them."""


class Gone(Exception):
    """There is no file to fetch; `state` says why."""

    def __init__(self, state: State) -> None:
        super().__init__(state.value)
        self.state = state


@transaction.atomic
def export_ask(*, snapshot: Snapshot, tier: str, purpose: str, agreement: str, actor: User) -> Export:
    """Asks for a file; raises ExportRefused, and NoKey."""
    if snapshot.read_at is None or snapshot.erased_at is not None:
        raise ExportRefused("frozen")
    if tier == Export.Tier.ITEMS and not agreement:
        raise ExportRefused("agreement")
    rules = tier_rules(snapshot, tier)
    if lacks := lacking(rules):
        raise ExportRefused(lacks[0])
    export = Export.objects.create(
        snapshot=snapshot,
        tier=tier,
        purpose=purpose,
        agreement=agreement if tier == Export.Tier.ITEMS else "",
        asked_by=actor,
        asked_at=timezone.now(),
        report={"asked": rules.found.to_dict()},
    )
    _record("export.ask", export, actor, tier=tier)
    return export


@transaction.atomic
def export_approve(*, export: Export, actor: User, is_admin: bool) -> Export:
    """The approval of one person; the last that it takes begins the building. Raises ExportRefused."""
    row = _locked(export)
    if row.asked_by_id == actor.pk:
        raise ExportRefused("own")
    if row.decision or row.snapshot.erased_at is not None:
        raise ExportRefused("decided")
    if row.approvals.filter(by=actor).exists():
        raise ExportRefused("twice")
    ExportApproval.objects.create(export=row, by=actor, is_admin=is_admin, at=timezone.now())
    _record("export.approve", row, actor, is_admin=is_admin)
    if not n_missing(row):
        _decide(row, Export.Decision.APPROVED, actor, "")
        jobs.request(JOB, row.pk)
    return row


def n_missing(export: Export) -> int:
    """How many approvals it still takes; one at least is an administrator's. One of somebody who might not
    give it any more today does not count."""
    given = [row.is_admin for row in export.approvals.all() if _still_holds(row, export)]
    return max(N_APPROVALS[export.tier] - len(given), 0 if any(given) else 1)


def _still_holds(approval: ExportApproval, export: Export) -> bool:
    role = Role.CLINIC_ADMIN if approval.is_admin else Role.RESEARCHER
    place = (export.snapshot.study.clinic_id, role)
    return approval.by.is_active and any(
        (held.clinic_id, held.role) == place for held in approval.by.memberships.all()
    )


@transaction.atomic
def export_decline(*, export: Export, actor: User, reason: str) -> Export:
    row = _locked(export)
    if row.decision:
        raise ExportRefused("decided")
    if row.asked_by_id == actor.pk:
        raise ExportRefused("own")
    _decide(row, Export.Decision.DECLINED, actor, reason)
    _record("export.decline", row, actor)
    return row


@transaction.atomic
def export_withdraw(*, export: Export, actor: User, reason: str) -> Export:
    """Takes an approval back, or, by who asked, the wish; the file is gone at once."""
    row = _locked(export)
    if row.decision not in ("", Export.Decision.APPROVED):
        raise ExportRefused("decided")
    _decide(row, Export.Decision.WITHDRAWN, actor, reason)
    StoredFile.objects.filter(export=row).delete()
    jobs.cancel(JOB, row.pk)
    _record("export.withdraw", row, actor)
    return row


@transaction.atomic
def export_rebuild(*, export: Export, actor: User) -> None:
    """Has an approved file built again: to the same bytes, as long as nobody in it has left. Raises
    ExportRefused."""
    row = _locked(export)
    if export_state(row) not in (State.EXPIRED, State.OUTDATED, State.REFUSED, State.BUILDING):
        raise ExportRefused("state")
    jobs.request(JOB, row.pk)
    _record("export.rebuild", row, actor)


@transaction.atomic
def export_cancel(*, export: Export, actor: User) -> None:
    """Stops the building; the approval stands."""
    jobs.cancel(JOB, export.pk)
    _record("export.cancel", export, actor)


def export_state(export: Export, left: Collection[UUID] | None = None) -> State:
    """`left`: patients of its snapshot who are left out now, where that is known already."""
    if export.snapshot.erased_at is not None:
        return State.ERASED
    if export.decision != Export.Decision.APPROVED:
        return State(export.decision or State.WAITING.value)
    if export.report.get("refused"):
        return State.REFUSED
    if export.built_at is None or export.expires_at is None:
        return State.BUILDING
    if export.expires_at <= timezone.now():
        return State.EXPIRED
    gone = left_out_since(export.snapshot) if left is None else left
    # Not their number: one may have come back since, and another gone.
    return State.READY if _listed(gone) == export.report.get("left_out") else State.OUTDATED


def _listed(patients: Collection[UUID]) -> list[str]:
    return sorted(map(str, patients))


def export_build(export_id: str, progress: Progress | Report) -> Callable[[], None]:
    """Builds the file; returns the function that keeps it. One that is not approved is left as it is."""
    rows = Export.objects.select_related("snapshot__study__clinic")
    export = rows.filter(pk=UUID(export_id), decision="approved", snapshot__erased_at=None).first()
    if export is None:
        return lambda: None
    gone = left_out_since(export.snapshot)
    folder = tempfile.TemporaryDirectory(prefix="export-")
    try:
        path = build_bundle(export, Path(folder.name), progress)
    except TooFew as few:
        folder.cleanup()
        lacks = list(few.lacks)
        return lambda: _keep_refusal(export, lacks)

    def write() -> None:
        with folder:
            _keep(export, path, gone)

    return write


def _keep(export: Export, path: Path, gone: frozenset[UUID]) -> None:
    row = _locked(export)
    if row.decision != Export.Decision.APPROVED or row.snapshot.erased_at is not None:
        return
    if left_out_since(row.snapshot) != gone:
        raise jobs.TryAgain("Somebody left while the file was being built.")
    StoredFile.objects.filter(export=row).delete()
    store(row, FILE, path)
    row.built_at, row.sha256, row.confirmed_at = timezone.now(), sha256(path), None
    row.expires_at = row.built_at + EXPIRES_AFTER
    row.report = {"asked": row.report.get("asked", {}), "left_out": _listed(gone)}
    row.save(update_fields=["built_at", "sha256", "confirmed_at", "expires_at", "report"])
    _record("export.build", row, None, n_left_out=len(gone), sha256=row.sha256)


def _keep_refusal(export: Export, lacks: list[str]) -> None:
    row = _locked(export)
    StoredFile.objects.filter(export=row).delete()
    row.report = {**row.report, "refused": lacks}
    row.save(update_fields=["report"])
    _record("export.refuse", row, None, lacks=lacks)


@transaction.atomic
def export_confirm(*, export: Export) -> None:
    """Who asked has just given their password."""
    Export.objects.filter(pk=export.pk, confirmed_at=None).update(confirmed_at=timezone.now())


@transaction.atomic
def export_fetch(*, export: Export, actor: User) -> StoredFile:
    """The file, for who asked for it; `storage.pieces` reads its bytes. Raises Gone and NotConfirmed."""
    row = _locked(export)
    state = export_state(row)
    if state is not State.READY:
        raise Gone(state)
    if row.confirmed_at is None:
        raise NotConfirmed
    file = StoredFile.objects.get(export=row, name=FILE)
    _record("export.download", row, actor, read=Fields.CODED, sha256=row.sha256)
    since = timezone.now() - timedelta(days=1)
    n_today = _trace(row, "export.download").filter(at__gte=since).count()
    if n_today > ALARM_ABOVE and not _trace(row, "export.alarm").filter(at__gte=since).exists():
        _record("export.alarm", row, actor, n_downloads=n_today)
    return file


def _trace(export: Export, act: str) -> QuerySet[AuditEvent]:
    """What was done; a refused try has a row of the same act."""
    return AuditEvent.objects.filter(act=act, subject=f"export:{export.pk}", status=None)


def files_drop() -> int:
    """Deletes the bytes of files whose day is over; how many."""
    rows = StoredFile.objects.filter(export__expires_at__lte=timezone.now())
    n = rows.count()
    rows.delete()
    return n


def _locked(export: Export) -> Export:
    """With its snapshot: an erasure waits for what is kept now and ends it, or is seen."""
    rows = Export.objects.select_related("snapshot__study__clinic").select_for_update(of=("self", "snapshot"))
    return rows.get(pk=export.pk)


def _decide(export: Export, decision: str, actor: User, reason: str) -> None:
    export.decision, export.decided_by, export.decided_at = decision, actor, timezone.now()
    export.reason = reason
    export.save(update_fields=["decision", "decided_by", "decided_at", "reason"])


def _record(
    act: str, export: Export, actor: User | None, read: Fields | None = None, **detail: object
) -> None:
    clinic = export.snapshot.study.clinic
    audit.record_each(act, [(export, detail)], actor=actor, clinic=clinic, read=read)
