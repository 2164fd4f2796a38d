"""The sessions of one therapy as an axis: which were held, at which a form is asked for, and what became of
it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from surveys.models import Assignment, Rater, Therapy
from surveys.planning import next_asked
from surveys.selectors import current_outcome_lines


@dataclass(frozen=True)
class PlannedSession:
    """One session at which the plan asks for a form, and what became of it."""

    number: int
    state: str
    """received, declined (by a therapist), missing (the window has closed), open, or planned."""


@dataclass(frozen=True)
class SessionPlan:
    """The x axis of a therapy: where ratings are asked for and how far the course is told."""

    first: int
    horizon: int
    held_at: Mapping[int, datetime]
    """Of every held session, by its number and in this order."""
    sessions: tuple[PlannedSession, ...]

    @property
    def n_held(self) -> int:
        return len(self.held_at)

    @classmethod
    def empty(cls) -> "SessionPlan":
        """Of a rater whom the study asks for no such form."""
        return cls(first=1, horizon=1, held_at={}, sessions=())


def session_plan(therapy: Therapy, rater: str, instrument_code: str) -> SessionPlan:
    """The sessions at which this form is or was asked for, up to the next one that is planned."""
    now = timezone.now()
    states: dict[str, str] = {
        Assignment.State.SUBMITTED: "received",
        # That a patient left a form empty is an answer, and not the therapist's to see.
        Assignment.State.DECLINED: "received" if rater == Rater.PATIENT else "declined",
    }
    rows = Assignment.objects.filter(
        ~Q(state=Assignment.State.WITHDRAWN),
        session__therapy=therapy,
        rater=rater,
        instrument__code=instrument_code,
        session__number__isnull=False,
    ).values_list("session__number", "state", "closes_at")
    asked: dict[int, str] = {
        number: states.get(state, "open" if closes_at >= now else "missing")
        for number, state, closes_at in rows
        if number is not None
    }
    numbered = therapy.sessions.filter(number__isnull=False).order_by("number")
    held_at = {number: at for number, at in numbered.values_list("number", "held_at") if number is not None}
    n_held = len(held_at)
    lines = [
        line.pure()
        for line in current_outcome_lines(therapy.study)
        if (line.instrument.rater, line.instrument.code) == (rater, instrument_code)
        and line.arm in ("", therapy.arm)
    ]
    is_over = therapy.ended_on or (rater == Rater.PATIENT and therapy.stopped_at)
    ahead = None if is_over else next_asked(lines, after=n_held)
    if ahead is not None:
        asked[ahead] = "planned"
    return SessionPlan(
        first=min(asked, default=1),
        horizon=max([n_held, *asked, 1]),
        held_at=held_at,
        sessions=tuple(PlannedSession(number, asked[number]) for number in sorted(asked)),
    )
