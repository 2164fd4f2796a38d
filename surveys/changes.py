"""What a change of the session log did: made by the services, told again by the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from surveys.models import Assignment, AuditEvent, Session


@dataclass(frozen=True)
class FormChange:
    """Forms that were not asked for before and are now, and the other way round."""

    asked: Sequence[Assignment] = ()
    withdrawn: Sequence[Assignment] = ()


@dataclass(frozen=True)
class Moved:
    """Consecutive sessions whose numbers moved together."""

    first: int
    last: int
    by: int

    @property
    def now_first(self) -> int:
        return self.first + self.by

    @property
    def now_last(self) -> int:
        return self.last + self.by


@dataclass(frozen=True)
class LogChange:
    """The sessions entered or corrected, the other sessions whose numbers moved, and the forms that became
    due or are needed no more. `event` is the trace of it; None where nothing changed."""

    sessions: Sequence[Session]
    moved: Sequence[Moved] = ()
    forms: FormChange = FormChange()
    event: AuditEvent | None = None

    @property
    def session(self) -> Session:
        return self.sessions[0]


def moved_together(pairs: Sequence[tuple[int, int]]) -> list[Moved]:
    """Old and new numbers, any order, as runs."""
    runs: list[Moved] = []
    for old, new in sorted(pairs):
        if runs and runs[-1].last == old - 1 and runs[-1].by == new - old:
            runs[-1] = Moved(runs[-1].first, old, new - old)
        else:
            runs.append(Moved(old, old, new - old))
    return runs
