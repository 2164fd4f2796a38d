"""Writing the trace: in the same transaction as the act, so that no act is without one."""

from collections.abc import Iterable, Mapping

from surveys.models import AuditEvent, Clinic, User


def record(
    act: str, *, subject: object, actor: User | None = None, clinic: Clinic | None = None, **detail: object
) -> None:
    """`subject` is a row; its kind and id are kept. `detail` never holds an answer, a score or a token."""
    record_each(act, [(subject, detail)], actor=actor, clinic=clinic)


def record_each(
    act: str,
    subjects: Iterable[tuple[object, Mapping[str, object]]],
    *,
    actor: User | None = None,
    clinic: Clinic | None = None,
) -> None:
    """One event for every (subject, detail), as `record` writes it."""
    AuditEvent.objects.bulk_create(
        AuditEvent(act=act, actor=actor, clinic=clinic, subject=_name(subject), detail=dict(detail))
        for subject, detail in subjects
    )


def _name(subject: object) -> str:
    return f"{subject._meta.model_name}:{subject.pk}"  # type: ignore[attr-defined]
