"""Which of a clinic's rows the rules of retention are about, since when the clock of each runs, and what a
rule would delete: questions over rows for the page, and for the job that deletes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest, TruncDate
from django.utils import timezone

from surveys import hindrances
from surveys.models import (
    Clinic,
    ImportBatch,
    ImportChunk,
    ImportRejection,
    KeepRule,
    Message,
    Patient,
    Response,
    Therapy,
)
from surveys.models.people import UNKNOWN_DAY
from surveys.retention import CHOSEN, SOON, before, years
from surveys.sentences import Sentence

Kind = KeepRule.Kind


@dataclass(frozen=True)
class Rows:
    """The rows of a class, each with `clock`, since when it is counted; a day where `is_day`."""

    of: Callable[[Clinic], QuerySet[Any]]
    is_day: bool

    def limit(self, before: datetime) -> datetime | date:
        return timezone.localdate(before) if self.is_day else before

    def due(self, clinic: Clinic, before: datetime) -> QuerySet[Any]:
        return self.of(clinic).filter(clock__lt=self.limit(before)).order_by("clock", "pk")


def _ended(patient: str, **same: Any) -> Subquery:
    """The end of the last therapy of a patient."""
    rows = Therapy.objects.filter(patient=OuterRef(patient), **same).values("patient")
    return Subquery(rows.annotate(last=Max("ended_on")).values("last"))


def _answers(clinic: Clinic) -> QuerySet[Therapy]:
    """Therapies that have answers, of patients who have none open in the study. Where no file says when the
    last one ended, the clock does not run."""
    running = Therapy.objects.filter(patient=OuterRef("patient"), study=OuterRef("study"), ended_on=None)
    answers = Response.objects.filter(assignment__session__therapy=OuterRef("pk"))
    rows = Therapy.objects.filter(
        ~Exists(running), Exists(answers), study__clinic=clinic, study__test_of=None
    )
    return rows.annotate(clock=_ended("patient", study=OuterRef("study"))).filter(clock__gt=UNKNOWN_DAY)


def _contacts(clinic: Clinic) -> QuerySet[Patient]:
    """Of patients without a running therapy. The address of somebody who comes back is entered before their
    new therapy begins: it is counted from then on."""
    running = Therapy.objects.filter(patient=OuterRef("pk"), ended_on=None)
    rows = Patient.objects.filter(~Exists(running), clinic=clinic).exclude(contact="")
    known = rows.annotate(ended=_ended("pk")).filter(ended__gt=UNKNOWN_DAY)
    # PostgreSQL's GREATEST passes over what is null: an address of which nobody wrote down when it came.
    return known.annotate(clock=Greatest("ended", TruncDate("contact_at")))


def _messages(clinic: Clinic) -> QuerySet[Message]:
    busy = [Message.State.WAITING, Message.State.SENDING]
    rows = Message.objects.filter(assignment__study__clinic=clinic).exclude(state__in=busy)
    return rows.annotate(clock=F("due_at"))


def _imports(clinic: Clinic) -> QuerySet[ImportBatch]:
    chunks = ImportChunk.objects.filter(batch=OuterRef("pk"))
    rejected = ImportRejection.objects.filter(batch=OuterRef("pk"))
    rows = ImportBatch.objects.filter(Exists(chunks) | Exists(rejected), clinic=clinic)
    return rows.annotate(clock=Coalesce("ended_at", "stored_at", "uploaded_at"))


ROWS: dict[str, Rows] = {
    Kind.ANSWERS: Rows(_answers, is_day=True),
    Kind.CONTACTS: Rows(_contacts, is_day=True),
    Kind.MESSAGES: Rows(_messages, is_day=False),
    Kind.IMPORTS: Rows(_imports, is_day=False),
}


def rules_in_force(clinic: Clinic) -> dict[str, int | None]:
    """By class, after how many days its rows go; None, or no entry: never."""
    rows = KeepRule.objects.filter(clinic=clinic, approved_at__isnull=False).order_by("pk")
    return dict(rows.values_list("kind", "days"))


def rule_in_force(clinic: Clinic, kind: str) -> int | None:
    return rules_in_force(clinic).get(kind)


def waiting_rules(clinic: Clinic) -> QuerySet[KeepRule]:
    """Wishes that nobody has approved, and that none has replaced."""
    newer = KeepRule.objects.filter(clinic=OuterRef("clinic"), kind=OuterRef("kind"), pk__gt=OuterRef("pk"))
    return KeepRule.objects.filter(~Exists(newer), clinic=clinic, approved_at=None).order_by("pk")


@dataclass(frozen=True)
class DryRun:
    """What a rule would delete: now, and in the 90 days from then on."""

    days: int | None
    n_today: int
    n_soon: int


@dataclass(frozen=True)
class Kept:
    """A class of a clinic: how many rows its clock runs for, the oldest of them, the rule in force, and the
    wish that waits for approval."""

    kind: KeepRule.Kind
    n: int
    oldest: date | None
    rule: DryRun
    waiting: KeepRule | None
    wish: DryRun | None
    remarks: list[Sentence]


def kept(clinic: Clinic, now: datetime) -> list[Kept]:
    """Every class, each counted in one query."""
    latest = {row.kind: row for row in clinic.keep_rules.select_related("proposed_by").order_by("pk")}
    in_force = rules_in_force(clinic)
    found = []
    for kind in map(Kind, CHOSEN):
        rule, last = in_force.get(kind), latest.get(kind)
        waiting = last if last is not None and last.approved_at is None else None
        found.append(_kept(clinic, kind, rule, waiting, now))
    return found


def _kept(clinic: Clinic, kind: Kind, days: int | None, waiting: KeepRule | None, now: datetime) -> Kept:
    rows = ROWS[kind]
    asked = {"rule": days, "wish": waiting.days if waiting else None}
    limits = {name: before(value, now) for name, value in asked.items() if value is not None}
    counts = {f"{name}_today": _count(rows.limit(limit)) for name, limit in limits.items()}
    counts |= {f"{name}_soon": _count(rows.limit(limit + SOON)) for name, limit in limits.items()}
    numbers = rows.of(clinic).aggregate(n=Count("pk"), oldest=Min("clock"), **counts)
    dry = {
        name: DryRun(
            value,
            numbers.get(f"{name}_today", 0),
            numbers.get(f"{name}_soon", 0) - numbers.get(f"{name}_today", 0),
        )
        for name, value in asked.items()
    }
    oldest = numbers["oldest"]
    return Kept(
        kind=kind,
        n=numbers["n"],
        oldest=timezone.localdate(oldest) if isinstance(oldest, datetime) else oldest,
        rule=dry["rule"],
        waiting=waiting,
        wish=dry["wish"] if waiting else None,
        remarks=_remarks(clinic, kind, limits["wish"]) if waiting and "wish" in limits else [],
    )


def _count(limit: datetime | date) -> Count:
    return Count("pk", filter=Q(clock__lt=limit))


def _remarks(clinic: Clinic, kind: Kind, limit: datetime) -> list[Sentence]:
    """What was made of answers that would go."""
    if kind != Kind.ANSWERS:
        return []
    patients: dict[Any, list[Any]] = {}
    for study, patient in ROWS[kind].due(clinic, limit).values_list("study", "patient"):
        patients.setdefault(study, []).append(patient)
    return [sentence for study, ids in patients.items() for sentence in hindrances.found(study, ids)]


def in_years(days: int) -> int | None:
    """How many years a rule is, where it is so many; None where it is days."""
    n = round(days / 365.25)
    return n if n and years(n) == days else None
