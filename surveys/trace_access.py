"""The doors to the trace (`surveys.audit`): a clinic's for its administrators, everybody's own acts, and for
patients on which days their answers were looked at.

An administrator sees no rating, so also not that there was a possible dip to look at: that somebody opened
one stands as that the therapy was opened.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import groupby
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

from surveys import scope
from surveys.access import Actor, administered_clinics, person
from surveys.clinic_access import clinic_patients, clinic_staff
from surveys.models import (
    Assignment,
    AuditEvent,
    Channel,
    Clinic,
    Consent,
    EmergencyAccess,
    Fields,
    Message,
    Patient,
    Rater,
    Response,
    Session,
    Therapy,
    User,
    Withdrawal,
)

READ, CHANGED, REFUSED = "read", "changed", "refused"
KINDS: Mapping[str, Q] = {
    READ: ~Q(fields="") & Q(status=None),
    CHANGED: Q(fields="", status=None),
    REFUSED: Q(status__isnull=False),
}
OF_DIPS = ("dip.view", "dip.review")
# Where the rows that are about one patient keep them.
_OF_PATIENT: Mapping[type[Model], str] = {
    Patient: "pk",
    Therapy: "patient",
    Session: "therapy__patient",
    Assignment: "session__therapy__patient",
    Response: "assignment__session__therapy__patient",
    Message: "assignment__session__therapy__patient",
    Consent: "patient",
    Withdrawal: "patient",
}
# Reading that was written before rows said what was read.
_FORMERLY = ("therapy.view", "therapy.pdf", "answers.view")


@dataclass(frozen=True)
class Wish:
    """What of the trace is looked at; `before` is the id above which the rows were seen already."""

    person: UUID | None = None
    kind: str = ""
    code: str = ""
    since: date | None = None
    until: date | None = None
    before: int | None = None


@dataclass(frozen=True)
class Line:
    """A row and what stands beside it: the patient's code, and whether its person is of the clinic."""

    event: AuditEvent
    kind: str
    patient: str
    is_stranger: bool
    act: str
    reason: str = ""
    """Why it was opened in an emergency, as the operator said."""


@dataclass(frozen=True)
class Part:
    """Some rows, the latest on top; `before` leads to those before them, None where there are none."""

    lines: list[Line]
    before: int | None


def clinic_trace(user: Actor, clinic: Clinic, wish: Wish, n: int) -> Part:
    """Of a clinic that the user administers, at most `n` rows."""
    rows = AuditEvent.objects.filter(clinic=clinic, clinic__in=administered_clinics(user))
    rows = rows.exclude(act="dip.review")
    if wish.code:
        patients = clinic_patients(user).filter(clinic=clinic)
        named = Q(code__iexact=wish.code) | Q(therapies__code__iexact=wish.code)
        rows = rows.filter(_about(patients.filter(named).distinct()))
    found, before = _part(rows, wish, n)
    known = set(clinic_staff(clinic).values_list("pk", flat=True))
    codes = _codes(Patient.objects.filter(clinic=clinic), found)
    reasons = _reasons(clinic, found)
    return Part(
        [
            Line(
                row,
                _kind(row),
                codes.get(row.patient, ""),
                row.status is not None and row.actor_id not in known,
                "therapy.view" if row.act in OF_DIPS else row.act,
                reasons.get(str(row.detail.get("emergency")), ""),
            )
            for row in found
        ],
        before,
    )


@scope.everything()
def own_trace(user: Actor, wish: Wish, n: int) -> Part:
    """What the user did and read themselves. Of a patient that was refused to them, not even the code."""
    found, before = _part(AuditEvent.objects.filter(actor=person(user)), wish, n)
    shown = [row for row in found if row.status is None]
    codes = _codes(Patient.objects.all(), shown)
    return Part(
        [
            Line(row, _kind(row), codes.get(row.patient, "") if row.status is None else "", False, row.act)
            for row in found
        ],
        before,
    )


def trace_people(clinic: Clinic) -> QuerySet[User]:
    """Whose acts may be chosen: everybody with a role in the clinic."""
    return clinic_staff(clinic).order_by("email")


def _part(rows: QuerySet[AuditEvent], wish: Wish, n: int) -> tuple[list[AuditEvent], int | None]:
    if wish.person:
        rows = rows.filter(actor=wish.person)
    if wish.kind:
        rows = rows.filter(KINDS[wish.kind])
    if wish.since:
        rows = rows.filter(at__gte=_moment(wish.since, time.min))
    if wish.until:
        rows = rows.filter(at__lte=_moment(wish.until, time.max))
    if wish.before:
        rows = rows.filter(pk__lt=wish.before)
    found = list(rows.select_related("actor").order_by("-pk")[: n + 1])
    return found[:n], found[n - 1].pk if len(found) > n else None


def _moment(day: date, at: time) -> datetime:
    return timezone.make_aware(datetime.combine(day, at))


def _about(patients: QuerySet[Patient]) -> Q:
    """Rows about these patients: that name them, or one of the rows that hang on them."""
    keys = list(patients.values_list("pk", flat=True))
    names = [
        f"{model._meta.model_name}:{key}"
        for model, path in _OF_PATIENT.items()
        for key in model._default_manager.filter(**{f"{path}__in": keys}).values_list("pk", flat=True)
    ]
    return Q(patient__in=keys) | Q(subject__in=names)


def _codes(patients: QuerySet[Patient], rows: Iterable[AuditEvent]) -> dict[UUID | None, str]:
    keys = {row.patient for row in rows if row.patient}
    return dict(patients.filter(pk__in=keys).values_list("pk", "code"))


def _reasons(clinic: Clinic, rows: Iterable[AuditEvent]) -> dict[str, str]:
    keys = {row.detail["emergency"] for row in rows if "emergency" in row.detail}
    found = EmergencyAccess.objects.filter(clinic=clinic, pk__in=keys)
    return {str(key): reason for key, reason in found.values_list("pk", "reason")} if keys else {}


def _kind(row: AuditEvent) -> str:
    if row.status is not None:
        return REFUSED
    return READ if row.fields else CHANGED


def reading_days(patient: Patient) -> list[tuple[str, list[date]]]:
    """On which days pages with the patient's answers were opened, the latest first, by the role of who opened
    them; the administration, where it typed in a form from paper; "" where the role was not written yet."""
    names = [f"therapy:{key}" for key in patient.therapies.values_list("pk", flat=True)]
    now = Q(patient=patient.pk, fields=Fields.RATINGS, status=None)
    formerly = Q(subject__in=names, act__in=_FORMERLY, fields="")
    rows = AuditEvent.objects.filter(now | formerly).annotate(day=TruncDate("at")).order_by("role", "-day")
    found = [
        (role, [day for _, day in days])
        for role, days in groupby(rows.values_list("role", "day").distinct(), lambda row: row[0])
    ]
    typed = Response.objects.filter(
        assignment__session__therapy__patient=patient, channel=Channel.PAPER, assignment__rater=Rater.PATIENT
    )
    names = [f"response:{key}" for key in typed.values_list("pk", flat=True)]
    entries = AuditEvent.objects.filter(act="response.submit", subject__in=names)
    days = entries.annotate(day=TruncDate("at")).order_by("-day").values_list("day", flat=True).distinct()
    return [*found, ("paper", list(days))] if days else found
