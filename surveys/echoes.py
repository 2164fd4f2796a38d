"""What rooms that the domain does not know have made of answers, and forget when these are deleted."""

from collections.abc import Callable, Sequence
from uuid import UUID

# Of a study and patients of it whose answers go.
Forget = Callable[[UUID, Sequence[UUID]], None]

_told: list[Forget] = []


def register(told: Forget) -> None:
    """Each app registers, in its `tasks.py`, what forgets there; in the transaction of the deletion."""
    if told not in _told:
        _told.append(told)


def forget(study_id: UUID, patients: Sequence[UUID]) -> None:
    for told in _told:
        told(study_id, patients)
