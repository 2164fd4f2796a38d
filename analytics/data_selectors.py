"""What the pages about frozen data and files read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from analytics.access import administered_exports, visible_exports
from analytics.models import Export, Snapshot
from analytics.selection import Selection
from analytics.services import exports, freeze
from analytics.services.exports import State, export_state
from analytics.services.snapshots import left_out_of
from surveys import jobs
from surveys.access import Actor, administered_clinics
from surveys.ids import first_uuid7
from surveys.models import AuditEvent, Clinic, Job, Response, Study, Withdrawal
from surveys.selectors import with_counts


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot as a list shows it. `identical_to`: the earlier one with the same bytes; `n_left`: its
    patients who have asked to be left out since."""

    snapshot: Snapshot
    n_left: int
    identical_to: int | None = None
    job: Job | None = None

    @property
    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.snapshot.counts
        return found

    @property
    def n_forms(self) -> int:
        return self.counts.get("n_ratings", 0) + self.counts.get("n_practice", 0)


@dataclass(frozen=True)
class DataDesk:
    """`now`: the study with its counts of this moment; `n_new`: forms received since the last snapshot of the
    whole study, None where there is none; `unread`: the newest snapshot while it is being frozen, or where
    that did not succeed."""

    now: Study
    n_new: int | None
    last: Snapshot | None
    snapshots: list[SnapshotRow]
    unread: SnapshotRow | None
    arms: list[str]


def data_desk(study: Study) -> DataDesk:
    now = with_counts(Study.objects.filter(pk=study.pk)).get()
    rows = snapshot_rows(study.snapshots.select_related("asked_by", "study__clinic"))
    everybody = Selection().to_dict()
    frozen = (row.snapshot for row in rows if row.snapshot.read_at)
    whole = next((row for row in frozen if row.selection == everybody), None)
    arms = study.therapies.exclude(arm="").values_list("arm", flat=True).distinct().order_by("arm")
    return DataDesk(
        now=now,
        n_new=_n_received_since(study, whole.read_at) if whole and whole.read_at else None,
        last=whole,
        snapshots=rows,
        unread=rows[0] if rows and rows[0].job else None,
        arms=list(arms),
    )


def _n_received_since(study: Study, at: datetime) -> int:
    """By when they came into the database: a sheet has the day that is written on it."""
    rows = Response.objects.filter(assignment__study=study, assignment__session__therapy__excluded_at=None)
    return rows.filter(pk__gte=first_uuid7(at)).count()


def snapshot_rows(snapshots: QuerySet[Snapshot]) -> list[SnapshotRow]:
    """The latest first."""
    unread = list(snapshots.filter(read_at=None).values_list("pk", flat=True))
    running = jobs.latest_of(freeze.JOB, unread) if unread else {}
    known = snapshots.filter(Q(pk__in=unread) | Q(read_at__isnull=False))
    found = list(known.annotate(n_exports=Count("exports")).order_by("-number"))
    left = left_out_of(found)
    first: dict[str, int] = {}
    for row in reversed(found):
        if row.sha256:
            first.setdefault(row.sha256, row.number)
    return [
        SnapshotRow(
            row,
            len(left[row.pk]),
            number if (number := first.get(row.sha256)) != row.number else None,
            running.get(str(row.pk)),
        )
        for row in found
    ]


@dataclass(frozen=True)
class SnapshotPage:
    row: SnapshotRow
    exports: "list[ExportRow]"
    n_erased: int


def snapshot_page(user: Actor, snapshot: Snapshot) -> SnapshotPage:
    rows = snapshot_rows(snapshot.study.snapshots.select_related("asked_by", "study__clinic"))
    own = next(row for row in rows if row.snapshot.pk == snapshot.pk)
    erased = 0
    if snapshot.erased_at and snapshot.read_at:
        erased = Withdrawal.objects.filter(
            study=snapshot.study, choice=Withdrawal.Choice.ERASE, at__gt=snapshot.read_at
        ).count()
    rows_of = visible_exports(user).filter(snapshot=snapshot).order_by("-asked_at")
    return SnapshotPage(own, export_rows(rows_of), erased)


class Fetched(NamedTuple):
    n: int
    last_at: datetime


@dataclass(frozen=True)
class ExportRow:
    """A file asked for, as a page shows it; `alarm`: of somebody who fetched it very often."""

    export: Export
    state: State
    fetched: Fetched | None
    alarm: AuditEvent | None = None

    @property
    def n_missing(self) -> int:
        return exports.n_missing(self.export)


def export_rows(rows: QuerySet[Export]) -> list[ExportRow]:
    found = list(rows)
    names = [f"export:{row.pk}" for row in found]
    trace = AuditEvent.objects.filter(act="export.download", status=None, subject__in=names).values("subject")
    fetched = {
        row["subject"]: Fetched(row["n"], row["at"]) for row in trace.annotate(n=Count("pk"), at=Max("at"))
    }
    alarms = AuditEvent.objects.filter(act="export.alarm", subject__in=names).order_by("at")
    left = left_out_of([row.snapshot for row in found])
    by_name = {event.subject: event for event in alarms}
    return [
        ExportRow(row, export_state(row, left[row.snapshot_id]), fetched.get(name), by_name.get(name))
        for row, name in zip(found, names, strict=True)
    ]


def export_row(export: Export) -> ExportRow:
    return export_rows(
        Export.objects.filter(pk=export.pk)
        .select_related("snapshot__study__clinic", "asked_by", "decided_by")
        .prefetch_related("approvals__by__memberships")
    )[0]


def export_job(export: Export) -> Job | None:
    """Building the file, while it is building or has failed."""
    return jobs.latest(exports.JOB, export.pk) if export.decision == Export.Decision.APPROVED else None


@dataclass(frozen=True)
class Requests:
    """`waiting` for a decision, the longest on top; `settled`, the latest on top."""

    waiting: Sequence[ExportRow]
    settled: Sequence[ExportRow]


def clinic_requests(user: Actor, clinic: Clinic) -> Requests:
    rows = export_rows(
        administered_exports(user).filter(snapshot__study__clinic=clinic).order_by("-asked_at")
    )
    waiting = [row for row in rows if row.state is State.WAITING]
    return Requests(waiting[::-1], [row for row in rows if row.state is not State.WAITING])


class RequestNews(NamedTuple):
    """Of the clinics that somebody administers: files that wait for approval, and notes of this week that one
    was fetched very often."""

    n_waiting: int
    n_alarms: int


def request_news(user: Actor) -> RequestNews:
    waiting = administered_exports(user).filter(decision="", snapshot__erased_at=None)
    alarms = AuditEvent.objects.filter(
        act="export.alarm", clinic__in=administered_clinics(user), at__gte=timezone.now() - timedelta(days=7)
    )
    return RequestNews(waiting.count(), alarms.count())
