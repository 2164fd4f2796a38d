"""Which forms a therapy owes: a pure function of the study's plan, the session log and the forms received.

1. Sessions are numbered from the log, never by hand: held sessions count 1, 2, 3, … by time, whatever
   the order in which they were entered. A correction of the log therefore corrects every number.
2. A session follows the version of the plan that was active when it was held. That version alone says
   which occasion (planned session number) the session stands for: the nearest one within its tolerance,
   of two equally near the earlier. A session stands for one occasion, so does a form of it.
3. A form that was received covers its occasion: then no other session is asked for it.
4. Else it is asked at the session with the occasion's own number and, with catch-up, at the later ones
   that stand for it, once the time of every earlier form of it was over. A later version goes on
   catching up an occasion that it plans, too; it never asks for one that was not asked for in its time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from surveys.packs import RATERS

HELD = "held"
CANCELLED = "cancelled"
NO_SHOW = "no_show"
STATUSES = (HELD, CANCELLED, NO_SHOW)

MAX_SESSION = 10_000
MAX_WINDOW_HOURS = 366 * 24
MAX_TOLERANCE = 5

ENTRY = "entry"
YEARLY = "yearly"
PERIODS = (ENTRY, YEARLY)

SessionId = TypeVar("SessionId", int, str, UUID)


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One instrument for one rater, at the listed sessions or at every n-th (n, 2n, 3n, …).

    A line without an arm holds for every therapy, a line with one only for therapies of that arm.
    `tolerance` is how many sessions beside a listed one still stand for it; with `catch_up` those after
    it are asked when it was missed.
    """

    rater: str
    instrument: str
    sessions: tuple[int, ...] = ()
    every: int | None = None
    arm: str = ""
    tolerance: int = 0
    catch_up: bool = False
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
        if not 0 <= self.tolerance <= MAX_TOLERANCE:
            raise ValueError(f"The tolerance must lie between 0 and {MAX_TOLERANCE} sessions.")
        if self.tolerance and self.every is not None:
            raise ValueError("Only listed sessions have a tolerance; an interval has none.")
        if self.catch_up and not self.tolerance:
            raise ValueError("Catching up needs a tolerance of at least one session.")
        if not 1 <= self.window_hours <= MAX_WINDOW_HOURS:
            raise ValueError(f"The window must lie between 1 and {MAX_WINDOW_HOURS} hours.")

    def asks_at(self, number: int) -> bool:
        return number in self.sessions if self.every is None else number % self.every == 0


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """What a study asked for from this moment on, until its next version."""

    active_from: datetime
    lines: tuple[PlanLine, ...]

    def __post_init__(self) -> None:
        if self.active_from.utcoffset() is None:
            raise ValueError("The time from which a plan is active needs a time zone.")


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
        # Times of one zone with summer time are compared and added to by the clock on the wall: a window
        # over the change would be an hour off, and two sessions in the doubled hour the same moment.
        object.__setattr__(self, "held_at", self.held_at.astimezone(UTC))


@dataclass(frozen=True, slots=True)
class DueForm(Generic[SessionId]):
    """One form that a rater owes for a held session, open from the session to the end of the window.

    `occasion` is the planned session number that it stands for; another than `number` when it catches up.
    """

    session_id: SessionId
    number: int
    occasion: int
    rater: str
    instrument: str
    opens_at: datetime
    closes_at: datetime


def number_sessions(log: Iterable[LoggedSession[SessionId]]) -> dict[SessionId, int]:
    """The number of every held session; a session that stands twice in the log raises ValueError."""
    return {session.id: number for number, session in enumerate(_held_in_order(log), start=1)}


def version_at(plan: Iterable[PlanVersion], moment: datetime) -> PlanVersion | None:
    """The version that a session held at this moment follows; None before the first, which asks nothing."""
    return max(
        (version for version in plan if version.active_from <= moment),
        key=lambda version: version.active_from,
        default=None,
    )


def due_forms(
    plan: Iterable[PlanVersion],
    log: Iterable[LoggedSession[SessionId]],
    arm: str,
    given: Collection[tuple[SessionId, str, str]] = (),
) -> tuple[DueForm[SessionId], ...]:
    """The forms due in a therapy of this arm, by session number, rater and instrument.

    `given` names the forms that were received, also empty ones, by session, rater and instrument; those
    that stand for an occasion are among the result. Lines that ask one rater for the same instrument at
    the same occasion give one form with the longest of their windows.
    """
    versions = list(plan)
    if len({version.active_from for version in versions}) < len(versions):
        raise ValueError("Two versions of the plan are active from the same moment.")
    received = frozenset(given)
    places: dict[_Kind, list[_Place[SessionId]]] = {}
    for number, session in enumerate(_held_in_order(log), start=1):
        version = version_at(versions, session.held_at)
        for (rater, instrument), lines in _by_kind(version, arm).items():
            occasion = _occasion(lines, number)
            if occasion is not None:
                is_given = (session.id, rater, instrument) in received
                place = _Place(session, number, occasion, lines, is_given)
                places.setdefault((rater, instrument), []).append(place)
    due = [
        DueForm(
            session_id=place.session.id,
            number=place.number,
            occasion=place.occasion,
            rater=rater,
            instrument=instrument,
            opens_at=place.session.held_at,
            closes_at=place.closes_at,
        )
        for (rater, instrument), row in places.items()
        for place in _asked(row)
    ]
    return tuple(sorted(due, key=lambda form: (form.number, form.rater, form.instrument)))


_Kind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Place(Generic[SessionId]):
    """A session that stands for an occasion of one rater's instrument, and the lines of its version."""

    session: LoggedSession[SessionId]
    number: int
    occasion: int
    lines: Sequence[PlanLine]
    is_given: bool

    @property
    def closes_at(self) -> datetime:
        hours = max(line.window_hours for line in self.lines if line.asks_at(self.occasion))
        return self.session.held_at + timedelta(hours=hours)

    @property
    def catches_up(self) -> bool:
        late = self.number - self.occasion
        return late > 0 and any(
            line.catch_up and line.asks_at(self.occasion) and late <= line.tolerance for line in self.lines
        )


def _by_kind(version: PlanVersion | None, arm: str) -> Mapping[_Kind, Sequence[PlanLine]]:
    kinds: dict[_Kind, list[PlanLine]] = {}
    for line in version.lines if version else ():
        if line.arm in ("", arm):
            kinds.setdefault((line.rater, line.instrument), []).append(line)
    return kinds


def _occasion(lines: Iterable[PlanLine], number: int) -> int | None:
    """The nearest planned number within tolerance, of two equally near the earlier."""
    for distance in range(MAX_TOLERANCE + 1):
        near = [line for line in lines if line.tolerance >= distance]
        for occasion in (number - distance, number + distance):
            if any(line.asks_at(occasion) for line in near):
                return occasion
    return None


def _asked(places: Iterable[_Place[SessionId]]) -> Iterable[_Place[SessionId]]:
    """Of the sessions, in their order, that stand for occasions of one form: those that owe it."""
    places = list(places)
    covered = {place.occasion for place in places if place.is_given}
    asked_until: dict[int, datetime] = {}
    for place in places:
        occasion = place.occasion
        if place.is_given:
            yield place
        elif occasion not in covered and (
            place.number == occasion
            or (
                place.catches_up
                and occasion in asked_until
                and asked_until[occasion] <= place.session.held_at
            )
        ):
            # The last one asked closes last: it was asked only after the others had closed.
            asked_until[occasion] = place.closes_at
            yield place


def next_asked(lines: Iterable[PlanLine], after: int) -> int | None:
    """The first session number after `after` at which any of the lines asks for a form."""
    ahead = []
    for line in lines:
        if line.every is not None:
            ahead.append((after // line.every + 1) * line.every)
        else:
            ahead += [number for number in line.sessions if number > after]
    return min(ahead, default=None)


def trait_period(cadence: str, began_on: date, on: date) -> str | None:
    """The period for which a therapist owes a form about practice in general; None before they began.

    `entry` owes one form; `yearly` that one, too, and another from each anniversary on, so that a study
    with both lines asks once. Years count from the therapist's own beginning and not by the calendar, so
    that nobody who begins in November is asked twice within two months. Of the years only the running one
    is owed: a form about a year that is over is not asked for late.
    """
    if cadence not in PERIODS:
        raise ValueError(f"The period must be one of: {', '.join(PERIODS)}.")
    if on < began_on:
        return None
    years = on.year - began_on.year - ((on.month, on.day) < (began_on.month, began_on.day))
    return ENTRY if cadence == ENTRY or years == 0 else f"year-{years}"


def _held_in_order(log: Iterable[LoggedSession[SessionId]]) -> list[LoggedSession[SessionId]]:
    sessions = list(log)
    if len({session.id for session in sessions}) < len(sessions):
        raise ValueError("A session stands twice in the log.")
    held = [session for session in sessions if session.status == HELD]
    return sorted(held, key=lambda session: (session.held_at, session.id))
