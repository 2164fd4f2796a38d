"""Writing the trace: in the same transaction as the act, so that no act is without one."""

from collections.abc import Iterable, Mapping

from django.db.models import Model

from surveys.access import Actor
from surveys.models import AuditEvent, Clinic, User


def record(
    act: str, *, subject: Model, actor: Actor | None = None, clinic: Clinic | None = None, **detail: object
) -> AuditEvent:
    """`subject` is a row; its kind and id are kept. `detail` never holds an answer, a score or a token."""
    return record_each(act, [(subject, detail)], actor=actor, clinic=clinic)[0]


def record_each(
    act: str,
    subjects: Iterable[tuple[Model, Mapping[str, object]]],
    *,
    actor: Actor | None = None,
    clinic: Clinic | None = None,
) -> list[AuditEvent]:
    """One event for every (subject, detail), as `record` writes it."""
    person = actor if isinstance(actor, User) else None
    return AuditEvent.objects.bulk_create(
        AuditEvent(act=act, actor=person, clinic=clinic, subject=_name(subject), detail=dict(detail))
        for subject, detail in subjects
    )


def _name(subject: Model) -> str:
    return f"{subject._meta.model_name}:{subject.pk}"
