"""Pure: what of a therapy needs attention, and by it the order, the filters and the counts of a list of
therapies. List and count go by the same rule, so that a filter holds as many rows as it says."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar
from urllib.parse import urlencode


class Need(StrEnum):
    """What may ask for attention, the first first."""

    DIP = "dip"
    OVERDUE = "overdue"
    DUE = "due"
    NONE = "none"


ALL = "all"
SHOWN = (ALL, *Need)


@dataclass(frozen=True)
class Facts:
    """What is known of one therapy beside its ratings.

    `n_dips`: possible dips that the reader may see and nobody has said anything about; `late`: raters whose
    last form ran out unanswered; `n_open`: forms that can be filled now; `is_quiet`: the log has been silent
    for more than a week; `is_stopped`: the patient wants to be asked no more.
    """

    code: str
    therapist: str
    is_running: bool
    n_sessions: int = 0
    last_session: datetime | None = None
    is_stopped: bool = False
    is_quiet: bool = False
    n_dips: int = 0
    late: tuple[str, ...] = ()
    n_open: int = 0
    n_received: int = 0
    n_therapist_missing: int = 0
    n_patient_missing: int = 0


def needs(facts: Facts) -> tuple[Need, ...]:
    """All that applies, the first first. After the end only a form that is still open asks for anything."""
    found = {
        Need.DIP: facts.is_running and facts.n_dips > 0,
        Need.OVERDUE: facts.is_running and (bool(facts.late) or facts.is_quiet),
        Need.DUE: facts.n_open > 0,
        Need.NONE: facts.is_running and not facts.is_stopped and facts.n_received == 0,
    }
    return tuple(need for need in Need if found[need])


def belongs(facts: Facts, show: str) -> bool:
    """Whether a therapy stands in this list."""
    return show == ALL or show in needs(facts)


def _attention(facts: Facts) -> tuple[int, bool, float, str]:
    """By the first need; then what runs before what has ended, and the last session first."""
    order = list(Need)
    first = next(iter(needs(facts)), None)
    rank = len(order) if first is None else order.index(first)
    return rank, not facts.is_running, -_time(facts), facts.code


def _time(facts: Facts) -> float:
    return facts.last_session.timestamp() if facts.last_session else float("-inf")


ATTENTION = "attention"
SORTS: Mapping[str, Callable[[Facts], tuple[object, ...]]] = {
    ATTENTION: _attention,
    "therapy": lambda facts: (facts.code,),
    "therapist": lambda facts: (facts.therapist,),
    "state": lambda facts: (not facts.is_running, facts.n_sessions),
    "session": lambda facts: (_time(facts),),
    "therapist-forms": lambda facts: (facts.n_therapist_missing,),
    "patient-forms": lambda facts: (facts.n_patient_missing,),
}
_ORDERS = {ATTENTION, *(f"{turn}{key}" for key in SORTS if key != ATTENTION for turn in ("", "-"))}
# The latest and the most stand on top when somebody first sorts by them.
DESCENDING_FIRST = frozenset({"session", "therapist-forms", "patient-forms"})


@dataclass(frozen=True)
class Choice:
    """What of a list is looked at and in which order; the address holds it. A `-` before `sort` turns it."""

    show: str = ALL
    therapist: str = ""
    sort: str = ATTENTION

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Choice":
        """Raises ValueError for a filter or an order that there is not."""
        choice = cls(query.get("show", ALL), query.get("therapist", ""), query.get("sort", ATTENTION))
        if choice.show not in SHOWN or choice.sort not in _ORDERS:
            raise ValueError("There is no such filter or order.")
        return choice

    @property
    def query(self) -> str:
        """The part of the address after the question mark; empty for what is shown without one."""
        said = {"show": self.show, "therapist": self.therapist, "sort": self.sort}
        usual = {"show": ALL, "therapist": "", "sort": ATTENTION}
        return urlencode({key: value for key, value in said.items() if value != usual[key]})

    def sorted_by(self, column: str) -> "Choice":
        """What the head of a column leads to: this order, or turned where it is there already."""
        first, second = f"-{column}", column
        if column not in DESCENDING_FIRST:
            first, second = second, first
        return replace(self, sort=second if self.sort == first and column != ATTENTION else first)

    def direction(self, column: str) -> str:
        """As a table's head says it: `ascending`, `descending`, `other` for the order by needs, or empty."""
        if self.sort.removeprefix("-") != column:
            return ""
        if column == ATTENTION:
            return "other"
        return "descending" if self.sort.startswith("-") else "ascending"


class HasFacts(Protocol):
    @property
    def facts(self) -> Facts: ...


Row = TypeVar("Row", bound=HasFacts)


def listed(rows: Iterable[Row], choice: Choice) -> list[Row]:
    """The rows of a choice in its order; among equals by what needs attention."""
    found = sorted((row for row in rows if _is_chosen(row, choice)), key=lambda row: _attention(row.facts))
    key = SORTS[choice.sort.removeprefix("-")]
    return sorted(found, key=lambda row: key(row.facts), reverse=choice.sort.startswith("-"))


def n_by_show(rows: Sequence[HasFacts], choice: Choice) -> dict[str, int]:
    """How many rows each filter holds while the rest of the choice stays."""
    return {show: _count(rows, replace(choice, show=show)) for show in SHOWN}


def n_by_therapist(rows: Sequence[HasFacts], choice: Choice) -> dict[str, int]:
    """The same for each therapist of the list, and for all together under the empty code."""
    codes = sorted({row.facts.therapist for row in rows})
    return {code: _count(rows, replace(choice, therapist=code)) for code in ["", *codes]}


def _count(rows: Iterable[HasFacts], choice: Choice) -> int:
    return sum(_is_chosen(row, choice) for row in rows)


def _is_chosen(row: HasFacts, choice: Choice) -> bool:
    is_theirs = choice.therapist in ("", row.facts.therapist)
    return is_theirs and belongs(row.facts, choice.show)
