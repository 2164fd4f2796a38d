"""What the clock deletes: a clinic's rows by the rules that it approved, the site's technical rows always.

Each batch is a transaction of its own with its rows of the trace, so that a job that ends in the middle has
said what it did; the next one goes on.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from surveys import audit, echoes, jobs
from surveys.access import Actor, person
from surveys.grant_access import administrators
from surveys.keeping import ROWS, rule_in_force, rules_in_force, waiting_rules
from surveys.models import (
    Assignment,
    ClientKey,
    Clinic,
    DraftAnswer,
    FormLink,
    ImportBatch,
    ImportChunk,
    ImportRejection,
    Job,
    KeepRule,
    Message,
    Opening,
    Patient,
    Response,
    StartCode,
    Therapy,
    User,
)
from surveys.progress import silent
from surveys.retention import CHOSEN, FIXED, before, is_shorter

JOB, SITE = "retention", "site"
BATCH = 100

Kind = KeepRule.Kind


@transaction.atomic
def keep_propose(*, clinic: Clinic, kind: str, days: int | None, actor: Actor) -> KeepRule | None:
    """A wish of how long to keep a class. What keeps longer than the rule in force is in force at once; what
    deletes more waits for approval. None where it is what holds already; a wish that waited is dropped by
    it. Raises ValueError for a time that may not be chosen."""
    kind = Kind(kind)
    if days is not None and days not in CHOSEN[kind]:
        raise ValueError("This time is not among those to choose from.")
    Clinic.objects.select_for_update().get(pk=clinic.pk)
    now, holds = timezone.now(), rule_in_force(clinic, kind)
    latest = KeepRule.objects.filter(clinic=clinic, kind=kind).order_by("-pk").first()
    if days == (latest.days if latest else None):
        return None
    by = person(actor)
    waits = is_shorter(days, holds)
    rule = KeepRule.objects.create(
        clinic=clinic,
        kind=kind,
        days=days,
        proposed_by=by,
        proposed_at=now,
        approved_by=None if waits else by,
        approved_at=None if waits else now,
    )
    audit.record("retention.propose", subject=rule, actor=actor, clinic=clinic, kind=kind.value, days=days)
    return rule


@transaction.atomic
def keep_approve(*, clinic: Clinic, rules: list[int], actor: Actor) -> int:
    """Puts wishes in force that wait, by the ids that the person saw; how many. One's own, and one that was
    replaced since, stay as they are: two people delete."""
    Clinic.objects.select_for_update().get(pk=clinic.pk)
    by = person(actor)
    return _approve(waiting_rules(clinic).filter(pk__in=rules).exclude(proposed_by=by), by)


@transaction.atomic
def keep_approve_at_server(*, clinic: Clinic, rules: list[int]) -> int:
    """As `keep_approve`, by the operator: of those for which the clinic has nobody but who wished them."""
    Clinic.objects.select_for_update().get(pk=clinic.pk)
    alone = list(administrators(clinic).values_list("pk", flat=True)[:2])
    rows = waiting_rules(clinic).filter(pk__in=rules)
    return _approve(rows.filter(proposed_by__in=alone) if len(alone) == 1 else rows.none(), None)


def _approve(rows: QuerySet[KeepRule], by: User | None) -> int:
    n = 0
    for rule in rows:
        rule.approved_by, rule.approved_at = by, timezone.now()
        rule.save(update_fields=["approved_by", "approved_at"])
        audit.record(
            "retention.approve", subject=rule, actor=by, clinic=rule.clinic_id, kind=rule.kind, days=rule.days
        )
        n += 1
    return n


def retention_request() -> None:
    """Asks for the day's work: of every clinic that has a rule, and of the site."""
    for clinic in Clinic.objects.filter(keep_rules__approved_at__isnull=False).distinct():
        jobs.request(JOB, clinic.pk)
    jobs.request(JOB, SITE)


def retention_job(scope: str, progress: Callable[..., None]) -> jobs.Write:
    if scope == SITE:
        site_clean(now=timezone.now(), progress=progress)
    else:
        clinic_clean(clinic=Clinic.objects.get(pk=UUID(scope)), now=timezone.now(), progress=progress)
    return lambda: None


def clinic_clean(*, clinic: Clinic, now: datetime, progress: Callable[..., None] = silent) -> dict[str, int]:
    """Deletes what the clinic's rules say; by class, of how many therapies, patients, mails or files."""
    done = {}
    for kind, days in rules_in_force(clinic).items():
        if days is None:
            continue
        done[kind] = 0
        while (n := _batch_delete(clinic, kind, now)) is not None:
            done[kind] += n
            progress(kind, done[kind])
    return done


@transaction.atomic
def _batch_delete(clinic: Clinic, kind: str, now: datetime) -> int | None:
    """How many of the next rows went; None where nothing is due. The rule is the one in force now, and stays
    so until this is written: a clinic that keeps longer from now on loses nothing more."""
    # Rows that merely name the clinic are written meanwhile; a change of its rules waits.
    Clinic.objects.select_for_update(no_key=True).get(pk=clinic.pk)
    days = rule_in_force(clinic, kind)
    if days is None:
        return None
    due = ROWS[kind].due(clinic, before(days, now))
    found = list(due.values_list("pk", flat=True)[:BATCH])
    # Asked again behind the locks: of whom a therapy has begun meanwhile, nothing is due any more.
    _lock(due.model._default_manager.filter(pk__in=found))
    if kind == Kind.ANSWERS:
        patients = Therapy.objects.filter(pk__in=found).values_list("patient", flat=True)
        _lock(Patient.objects.filter(pk__in=list(patients)))
    still = list(due.filter(pk__in=found).values_list("pk", flat=True))
    if still:
        _DELETE[kind](clinic, still, days)
    return len(still) if found else None


def _lock(rows: QuerySet[Any]) -> None:
    list(rows.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))


def _answers_delete(clinic: Clinic, therapies: list[UUID], days: int) -> None:
    """As an erasure does, for both raters: responses with what hangs on them, and begun forms; what frozen
    data hold of these patients, too, and the models are fitted again."""
    locked = list(Therapy.objects.select_for_update(of=("self",)).filter(pk__in=therapies).order_by("pk"))
    own = Assignment.objects.filter(session__therapy__in=locked)
    forms = list(own.select_for_update(of=("self",)).order_by("pk").values_list("pk", "session__therapy"))
    keys = [form for form, _therapy in forms]
    received = Response.objects.filter(assignment__in=keys)
    gone = dict(received.values_list("assignment", "assignment__session__therapy"))
    received.delete()
    Assignment.objects.filter(pk__in=gone).update(state=Assignment.State.WITHDRAWN)
    DraftAnswer.objects.filter(assignment__in=keys).delete()
    Opening.objects.filter(assignment__in=keys).delete()
    numbers = list(gone.values())
    audit.record_each(
        "retention.delete",
        [(row, {"kind": "answers", "days": days, "n": numbers.count(row.pk)}) for row in locked],
        clinic=clinic,
    )
    for study in {row.study_id for row in locked}:
        echoes.forget(study, [row.patient_id for row in locked if row.study_id == study])
        jobs.request("refit", study)


def _contacts_delete(clinic: Clinic, patients: list[UUID], days: int) -> None:
    rows = list(Patient.objects.select_for_update(of=("self",)).filter(pk__in=patients).order_by("pk"))
    Patient.objects.filter(pk__in=patients).update(contact="", contact_at=None)
    details = {"kind": "contacts", "days": days, "n": 1}
    audit.record_each("retention.delete", [(row, details) for row in rows], clinic=clinic)


def _messages_delete(clinic: Clinic, messages: list[int], days: int) -> None:
    Message.objects.filter(pk__in=messages).delete()
    audit.record(
        "retention.delete", subject=clinic, clinic=clinic, kind="messages", days=days, n=len(messages)
    )


def _imports_delete(clinic: Clinic, batches: list[UUID], days: int) -> None:
    locked = ImportBatch.objects.select_for_update(of=("self",)).filter(pk__in=batches).order_by("pk")
    keys = [row.pk for row in locked]
    ImportChunk.objects.filter(batch__in=keys).delete()
    ImportRejection.objects.filter(batch__in=keys).delete()
    rows = ImportBatch.objects.filter(pk__in=keys)
    rows.filter(state=ImportBatch.State.OPEN).update(state=ImportBatch.State.DROPPED, ended_at=timezone.now())
    rows.update(head="")
    audit.record("retention.delete", subject=clinic, clinic=clinic, kind="imports", days=days, n=len(keys))


_DELETE: Mapping[str, Callable[[Clinic, list, int], None]] = {
    Kind.ANSWERS: _answers_delete,
    Kind.CONTACTS: _contacts_delete,
    Kind.MESSAGES: _messages_delete,
    Kind.IMPORTS: _imports_delete,
}


def site_clean(*, now: datetime, progress: Callable[..., None] = silent) -> dict[str, int]:
    """Deletes technical rows whose fixed time is over; by class, how many. No trace: they name nobody, and
    were there to be forgotten."""
    done = {}
    for kind, days in FIXED.items():
        if kind == "counters":
            done[kind] = _counters_delete(now)
            continue
        rows, done[kind] = _technical(kind, before(days, now)), 0
        while found := list(rows.values_list("pk", flat=True)[:BATCH]):
            # Rows of the same kind alone: nothing hangs on any of them.
            rows.model._default_manager.filter(pk__in=found).delete()
            done[kind] += len(found)
            progress(kind, done[kind])
    return done


def _technical(kind: str, limit: datetime) -> QuerySet:
    """The rows of a class whose clock began before this time."""
    if kind == "links":
        # The link of a form that was received leads its patient to their own page.
        unsent = FormLink.objects.filter(assignment__response=None)
        return unsent.filter(Q(assignment__closes_at__lt=limit) | Q(revoked_at__lt=limit))
    if kind == "drafts":
        return DraftAnswer.objects.filter(assignment__closes_at__lt=limit)
    if kind == "codes":
        return StartCode.objects.filter(expires_at__lt=limit)
    if kind == "keys":
        return ClientKey.objects.filter(at__lt=limit)
    newer = Job.objects.filter(kind=OuterRef("kind"), scope=OuterRef("scope"), pk__gt=OuterRef("pk"))
    over = Job.objects.filter(finished_at__lt=limit)
    return over.filter(
        Q(state=Job.State.DONE) | (Exists(newer) & Q(state__in=[Job.State.FAILED, Job.State.CANCELLED]))
    )


def _counters_delete(now: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM cache WHERE expires < %s", [now])
        return cursor.rowcount
