"""What keeps an import from being taken out again, asked of rooms that the domain does not know."""

from collections.abc import Callable, Sequence
from uuid import UUID

from surveys.sentences import Sentence

# Of a study and patients of it: sentences that say what has been made of their ratings.
Hindrance = Callable[[UUID, Sequence[UUID]], Sequence[Sentence]]

_asked: list[Hindrance] = []


def register(asked: Hindrance) -> None:
    """Each app registers, in its `tasks.py`, what hangs on ratings there."""
    if asked not in _asked:
        _asked.append(asked)


def found(study_id: UUID, patients: Sequence[UUID]) -> list[Sentence]:
    return [sentence for asked in _asked for sentence in asked(study_id, patients)]
