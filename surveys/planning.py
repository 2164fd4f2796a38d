"""Which forms a therapy owes: a pure function of the study's plan and the therapy's session log.

Sessions are numbered from the log, never by hand: held sessions count 1, 2, 3, … by time, whatever
the order in which they were entered. A correction of the log therefore corrects every number.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from surveys.packs import RATERS

HELD = "held"
CANCELLED = "cancelled"
NO_SHOW = "no_show"
STATUSES = (HELD, CANCELLED, NO_SHOW)

MAX_SESSION = 10_000
MAX_WINDOW_HOURS = 366 * 24

SessionId = TypeVar("SessionId", int, str, UUID)


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One instrument for one rater, at the listed sessions or at every n-th (n, 2n, 3n, …).

    A line without an arm holds for every therapy, a line with one only for therapies of that arm.
    """

    rater: str
    instrument: str
    sessions: tuple[int, ...] = ()
    every: int | None = None
    arm: str = ""
    window_hours: int = field(kw_only=True)

    def __post_init__(self) -> None:
        if self.rater not in RATERS:
            raise ValueError(f"The rater must be one of: {', '.join(RATERS)}.")
        if not self.instrument:
            raise ValueError("The plan line names no instrument.")
        if bool(self.sessions) == (self.every is not None):
            raise ValueError("A plan line needs either session numbers or an interval, not both.")
        if any(not 1 <= number <= MAX_SESSION for number in self.sessions):
            raise ValueError(f"Session numbers must lie between 1 and {MAX_SESSION}.")
        if len(set(self.sessions)) < len(self.sessions):
            raise ValueError("A session number stands twice in the plan line.")
        if self.every is not None and not 1 <= self.every <= MAX_SESSION:
            raise ValueError(f"The interval must lie between 1 and {MAX_SESSION} sessions.")
        if not 1 <= self.window_hours <= MAX_WINDOW_HOURS:
            raise ValueError(f"The window must lie between 1 and {MAX_WINDOW_HOURS} hours.")

    def asks_at(self, number: int) -> bool:
        return number in self.sessions if self.every is None else number % self.every == 0


@dataclass(frozen=True, slots=True)
class LoggedSession(Generic[SessionId]):
    """One line of a therapy's session log."""

    id: SessionId
    held_at: datetime
    status: str

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"The status of a session must be one of: {', '.join(STATUSES)}.")
        if self.held_at.utcoffset() is None:
            raise ValueError("The time of a session needs a time zone.")


@dataclass(frozen=True, slots=True)
class DueForm(Generic[SessionId]):
    """One form that a rater owes for a held session, open from the session to the end of the window."""

    session_id: SessionId
    number: int
    rater: str
    instrument: str
    opens_at: datetime
    closes_at: datetime


def number_sessions(log: Iterable[LoggedSession[SessionId]]) -> dict[SessionId, int]:
    """The number of every held session; a session that stands twice in the log raises ValueError."""
    return {session.id: number for number, session in enumerate(_held_in_order(log), start=1)}


def due_forms(
    plan: Iterable[PlanLine], log: Iterable[LoggedSession[SessionId]], arm: str
) -> tuple[DueForm[SessionId], ...]:
    """The forms due in a therapy of this arm, by session number, rater and instrument.

    Lines that ask one rater for the same instrument at the same session give one form with the
    longest of their windows.
    """
    lines = [line for line in plan if line.arm in ("", arm)]
    due = []
    for number, session in enumerate(_held_in_order(log), start=1):
        windows: dict[tuple[str, str], int] = {}
        for line in lines:
            if line.asks_at(number):
                form = (line.rater, line.instrument)
                windows[form] = max(line.window_hours, windows.get(form, 0))
        due += [
            DueForm(
                session_id=session.id,
                number=number,
                rater=rater,
                instrument=instrument,
                opens_at=session.held_at,
                closes_at=session.held_at + timedelta(hours=hours),
            )
            for (rater, instrument), hours in sorted(windows.items())
        ]
    return tuple(due)


def next_asked(lines: Iterable[PlanLine], after: int) -> int | None:
    """The first session number after `after` at which any of the lines asks for a form."""
    ahead = []
    for line in lines:
        if line.every is not None:
            ahead.append((after // line.every + 1) * line.every)
        else:
            ahead += [number for number in line.sessions if number > after]
    return min(ahead, default=None)


def _held_in_order(log: Iterable[LoggedSession[SessionId]]) -> list[LoggedSession[SessionId]]:
    sessions = list(log)
    if len({session.id for session in sessions}) < len(sessions):
        raise ValueError("A session stands twice in the log.")
    held = [session for session in sessions if session.status == HELD]
    return sorted(held, key=lambda session: (session.held_at, session.id))
