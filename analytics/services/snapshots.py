"""Asking for a study's data to be frozen, and what of a snapshot may not be said of a handful of people.

Nothing leaves with a snapshot, but its numbers are read; so a selection is refused that is of few people, or
that together with an earlier one tells of few: what is in one and not in the other began, ended or was
treated in the one way that sets the two selections apart. The same selection may be frozen again however few
are new in it: each of its patients stands in it row by row, and that somebody new began is all that it tells.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from analytics.disclosure import MIN_PATIENTS, MIN_THERAPISTS, differ_by_few
from analytics.models import Snapshot
from analytics.selection import Selection
from analytics.services.freeze import JOB
from surveys import audit, jobs
from surveys.models import Study, Therapy, User

OPEN = ("pending", "running")


@dataclass
class SelectionRefused(Exception):
    """`rule`: key (the site has no key for pseudonyms), busy (another is being frozen), patients, therapists,
    difference (to the snapshot `other`, by `n` patients)."""

    rule: str
    n: int = 0
    other: int = 0


@dataclass(frozen=True)
class Chosen:
    patients: frozenset[UUID]
    therapists: frozenset[UUID]
    n_therapies: int


def chosen(study: Study, selection: Selection) -> Chosen:
    """Whom a selection is of now; as `frozen_sql.condition` has it, which a test holds it to."""
    rows = Therapy.objects.filter(study=study, excluded_at=None).values_list(
        "patient_id", "therapist_id", "arm", "started_on", "ended_on"
    )
    own = [row for row in rows if _is_chosen(selection, *row[2:])]
    return Chosen(frozenset(row[0] for row in own), frozenset(row[1] for row in own), len(own))


def _is_chosen(selection: Selection, arm: str, started_on: date, ended_on: date | None) -> bool:
    return (
        (selection.started_from is None or started_on >= selection.started_from)
        and (selection.started_until is None or started_on <= selection.started_until)
        and (not selection.arms or arm in selection.arms)
        and (not selection.only_ended or ended_on is not None)
    )


@transaction.atomic
def snapshot_ask(*, study: Study, selection: Selection, actor: User) -> Snapshot:
    """Asks for the data to be frozen; the job does it. Raises SelectionRefused."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    if _is_busy(study.snapshots.all()):
        raise SelectionRefused("busy")
    snapshot = snapshot_new(study=study, selection=selection, actor=actor)
    audit.record(
        "snapshot.ask", subject=snapshot, actor=actor, clinic=study.clinic, selection=selection.to_dict()
    )
    jobs.request(JOB, snapshot.pk)
    return snapshot


@transaction.atomic
def snapshot_new(*, study: Study, selection: Selection, actor: User | None) -> Snapshot:
    """One that is still to be read; whoever needs it sees to that. `actor` None: the operator. Raises
    SelectionRefused."""
    if not settings.PSEUDONYM_KEY:
        raise SelectionRefused("key")
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    earlier = list(study.snapshots.order_by("number"))
    _check(chosen(study, selection), selection, earlier)
    return Snapshot.objects.create(
        study=study,
        number=earlier[-1].number + 1 if earlier else 1,
        selection=selection.to_dict(),
        asked_by=actor,
        asked_at=timezone.now(),
    )


def _is_busy(snapshots: Iterable[Snapshot]) -> bool:
    waiting = [row.pk for row in snapshots if row.read_at is None]
    return any(job.state in OPEN for job in jobs.latest_of(JOB, waiting).values())


def _check(found: Chosen, selection: Selection, earlier: Collection[Snapshot]) -> None:
    if len(found.patients) < MIN_PATIENTS:
        raise SelectionRefused("patients", len(found.patients))
    if len(found.therapists) < MIN_THERAPISTS:
        raise SelectionRefused("therapists", len(found.therapists))
    gone = left_out_of(earlier)
    for other in earlier:
        is_another = other.read_at is not None and other.selection != selection.to_dict()
        if is_another and (n := _few_apart(found, other, gone[other.pk])):
            raise SelectionRefused("difference", n, other.number)


def _few_apart(found: Chosen, other: Snapshot, gone: frozenset[UUID]) -> int:
    """By how many patients a selection and an earlier snapshot differ, where these are few; else 0. Of the
    same patients by how many therapies: one may have begun another, and that alone sets them apart. `gone`
    are still in what is computed from the snapshot, and in no file of it."""
    frozen = frozenset(other.patients)
    if found.patients == frozen:
        n = abs(found.n_therapies - other.counts["n_episodes"])
        return n if n < MIN_PATIENTS else 0
    return differ_by_few(found.patients, frozen) or differ_by_few(found.patients, frozen - gone)


@transaction.atomic
def snapshot_cancel(*, snapshot: Snapshot, actor: User) -> None:
    """Stops the freezing; what is frozen stays."""
    jobs.cancel(JOB, snapshot.pk)
    audit.record("snapshot.cancel", subject=snapshot, actor=actor, clinic=snapshot.study.clinic)


def left_out_since(snapshot: Snapshot) -> frozenset[UUID]:
    """Patients of a snapshot whose data are in no dataset any more, by their own will."""
    return left_out_of([snapshot])[snapshot.pk]


def left_out_of(snapshots: Collection[Snapshot]) -> dict[UUID, frozenset[UUID]]:
    """The same of many."""
    rows = Therapy.objects.filter(
        study__in={row.study_id for row in snapshots}, excluded_at__isnull=False
    ).values_list("study_id", "patient_id")
    gone: dict[UUID, set[UUID]] = {}
    for study, patient in rows:
        gone.setdefault(study, set()).add(patient)
    return {row.pk: frozenset(gone.get(row.study_id, set()).intersection(row.patients)) for row in snapshots}
