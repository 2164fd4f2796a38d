"""Writing the trace: in the same transaction as the act, so that no act is without one."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Model

from surveys import scope
from surveys.access import Actor
from surveys.models import AuditEvent, Clinic, Fields, Patient, Therapy, User


@dataclass(frozen=True)
class Trail:
    """What the rows of one request have in common. `role` says in which role a person acts in it."""

    request: UUID
    role: Callable[[User], str]


_trail: ContextVar[Trail | None] = ContextVar("trail", default=None)


@contextmanager
def trail(of: Trail) -> Iterator[None]:
    """Within it, what is recorded belongs to this request."""
    token = _trail.set(of)
    try:
        yield
    finally:
        _trail.reset(token)


def record(
    act: str,
    *,
    subject: Model | str,
    actor: Actor | None = None,
    clinic: Clinic | UUID | None = None,
    **detail: object,
) -> AuditEvent:
    """`subject` is a row; its kind and id are kept. Where there is no row, it is what is kept.
    `clinic` is one or the id of one. `detail` never holds an answer, a score or a token."""
    return record_each(act, [(subject, detail)], actor=actor, clinic=clinic)[0]


@scope.everything()
def record_each(
    act: str,
    subjects: Iterable[tuple[Model | str, Mapping[str, object]]],
    *,
    actor: Actor | None = None,
    clinic: Clinic | UUID | None = None,
    read: Fields | None = None,
) -> list[AuditEvent]:
    """One event for every (subject, detail), as `record` writes it. `read`: of what the act is a reading, and
    no change."""
    person = actor if isinstance(actor, User) else None
    now = _trail.get()
    role = now.role(person) if now and person else ""
    return AuditEvent.objects.bulk_create(
        AuditEvent(
            act=act,
            actor=person,
            role=role,
            clinic_id=clinic.pk if isinstance(clinic, Clinic) else clinic,
            subject=_name(subject),
            patient=_patient(subject),
            fields=read or "",
            request=now.request if now else None,
            detail=dict(detail),
        )
        for subject, detail in subjects
    )


@dataclass(frozen=True)
class Reading:
    """That a person read something, or was refused it (`status`: 403 or 404)."""

    act: str
    fields: Fields | str
    actor: User
    role: str
    clinic: UUID | None
    subject: str
    """Kind and id of the row; of a list, the reader's own."""
    patient: UUID | None
    status: int | None
    detail: Mapping[str, object]


@scope.everything()
def record_reading(read: Reading) -> AuditEvent:
    now = _trail.get()
    return AuditEvent.objects.create(
        act=read.act,
        fields=read.fields,
        actor_id=read.actor.pk,
        role=read.role,
        clinic_id=read.clinic,
        subject=read.subject,
        patient=read.patient,
        status=read.status,
        request=now.request if now else None,
        detail=dict(read.detail),
    )


def _name(subject: Model | str) -> str:
    return subject if isinstance(subject, str) else f"{subject._meta.model_name}:{subject.pk}"


def _patient(subject: Model | str) -> UUID | None:
    """Of what names its patient itself; `surveys.trace_access` finds the others by the subject."""
    if isinstance(subject, Therapy):
        return subject.patient_id
    return subject.pk if isinstance(subject, Patient) else None
