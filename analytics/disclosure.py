"""Pure: what may be said of a group of patients without saying it of one of them, or of one therapist.

A figure is shown of at least `MIN_PATIENTS` patients of at least `MIN_THERAPISTS` therapists, none of whom
has more than half of the patients. In a table by therapist, those with fewer patients stand together, and so
many with them that nobody's number is the rest of a sum.
"""

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Protocol, TypeVar

MIN_PATIENTS, MIN_THERAPISTS = 5, 3
# Figures are made again when forms of so many patients are new.
BATCH = 3
# Of so many patients one decimal of the mean leaves a patient's level open by five points and more.
ROUNDED_AWAY = 50

# 97.5 % point of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """k of n, with Wilson's interval of 95 % (1927, J Am Stat Assoc 22, 209-212), which stays within 0 and 1
    and has a width at both."""

    k: int
    n: int

    @property
    def value(self) -> float | None:
        """None of nothing."""
        return self.k / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        if not self.n:
            return None
        p, weight = self.k / self.n, Z**2 / self.n
        middle = (p + weight / 2) / (1 + weight)
        half = Z * math.sqrt(p * (1 - p) / self.n + weight / self.n / 4) / (1 + weight)
        return max(0.0, middle - half), min(1.0, middle + half)


def lacks(patients: Mapping[Hashable, Collection[Hashable]]) -> tuple[str, ...]:
    """Why a figure of these patients, by therapist, is not shown: patients, therapists, balance; empty where
    it may be."""
    everybody = {patient for own in patients.values() for patient in own}
    found = []
    if len(everybody) < MIN_PATIENTS:
        found.append("patients")
    if len([own for own in patients.values() if own]) < MIN_THERAPISTS:
        found.append("therapists")
    elif 2 * max(len(set(own)) for own in patients.values()) > len(everybody):
        found.append("balance")
    return tuple(found)


def differ_by_few(one: Collection[Hashable], other: Collection[Hashable]) -> int:
    """By how many patients two datasets differ, where these are too few to be told apart; else 0. Equal ones
    tell nothing of anybody."""
    n = len(set(one) ^ set(other))
    return n if n < MIN_PATIENTS else 0


class Group(Protocol):
    """A therapist in a table."""

    @property
    def code(self) -> str: ...
    @property
    def n_patients(self) -> int: ...


Row = TypeVar("Row", bound=Group)


def told_apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Therapists who may stand in a line of their own, by code, and those who stand together. The sum of all
    is known, so together they are nobody, or as many as a figure needs. No line at all where fewer than three
    are left."""
    own, small = put_together(rows)
    if len(own) < MIN_THERAPISTS:
        return [], list(rows)
    return sorted(own, key=lambda row: row.code), small


def put_together(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Those with patients enough, and those with few: nobody, or as many as hide each other. Where the small
    ones are fewer, those with the fewest patients of the others stand with them."""
    own = sorted(rows, key=lambda row: (-row.n_patients, row.code))
    small = [row for row in own if row.n_patients < MIN_PATIENTS]
    own = own[: len(own) - len(small)]
    while small and _is_few(small) and own:
        small.append(own.pop())
    return own, small


def _is_few(rows: Sequence[Group]) -> bool:
    return len(rows) < MIN_THERAPISTS or sum(row.n_patients for row in rows) < MIN_PATIENTS


@dataclass(frozen=True)
class Level:
    """The ratings of one therapy by one rater with one form: their sum and number, and what was left open in
    those forms."""

    therapist: Hashable
    patient: Hashable
    total: float
    n: int
    n_items: int = 0
    n_skipped: int = 0
    n_preferred_not: int = 0


@dataclass(frozen=True)
class Figures:
    """What a panel says: mean and SD over therapies of each therapy's mean rating, to one decimal, and of how
    many it is made; sessions with a form that came in, of those at which one was asked for."""

    mean: float
    sd: float
    n_patients: int
    n_therapists: int
    n_forms: int
    n_items: int
    n_skipped: int
    n_preferred_not: int
    patients: Mapping[str, int]
    """How many patients each therapist has whom no other has; never shown (`leaves_few_unknown`)."""
    n_due: int = 0
    n_received: int = 0


def figures(levels: Sequence[Level]) -> Figures | tuple[str, ...]:
    """Or why nothing may be said (`lacks`). Nothing finer than a decimal leaves this function."""
    rated = [level for level in levels if level.n]
    patients = by_therapist(rated)
    if missing := lacks(patients):
        return missing
    means = [level.total / level.n for level in rated]
    return Figures(
        mean=round(fmean(means), 1),
        sd=round(stdev(means), 1),
        n_patients=len({level.patient for level in rated}),
        n_therapists=len(patients),
        n_forms=sum(level.n for level in rated),
        n_items=sum(level.n_items for level in rated),
        n_skipped=sum(level.n_skipped for level in rated),
        n_preferred_not=sum(level.n_preferred_not for level in rated),
        patients=_alone(patients),
    )


def _alone(patients: Mapping[Hashable, Collection[Hashable]]) -> dict[str, int]:
    times = Counter(patient for own in patients.values() for patient in set(own))
    return {
        str(therapist): sum(times[patient] == 1 for patient in set(own))
        for therapist, own in patients.items()
    }


def change(before: int, both: int, now: int) -> float:
    """How much of a patient's level is another one: 0 where the same forms are counted, 1 where a patient
    comes or goes. So many forms were counted before, are counted now, and both."""
    return 1 - both / (before + now - both)


def is_hidden_among_others(changes: Iterable[float]) -> bool:
    """Whether at least `BATCH` patients' levels changed, each at least half as much as the one that changed
    most. Three new forms alone are not enough: who comes new beside two who have long been there makes nearly
    all of the difference, and it is known how many there are."""
    found = sorted(changes, reverse=True)
    return len(found) >= BATCH and 2 * found[BATCH - 1] >= found[0] > 0


def by_therapist(levels: Sequence[Level]) -> dict[Hashable, set[Hashable]]:
    """The patients of each therapist."""
    patients: dict[Hashable, set[Hashable]] = {}
    for level in levels:
        patients.setdefault(level.therapist, set()).add(level.patient)
    return patients


def leaves_few(levels: Sequence[Level], team: Collection[Hashable]) -> bool:
    """Whether the clinic without this team is somebody, but too few: who knows both figures would know
    theirs."""
    rest = by_therapist([level for level in levels if level.n and level.therapist not in team])
    everybody = {patient for own in rest.values() for patient in own}
    return bool(rest) and (len(rest) < MIN_THERAPISTS or len(everybody) < MIN_PATIENTS)


def leaves_few_unknown(patients: Mapping[str, int] | None, known: Collection[str]) -> bool:
    """Whether somebody who reads the ratings of these therapists' patients one by one could take them out of
    a figure and be left with somebody, but too few. `patients`: as `Figures` has them; not known of figures
    that were made without, and then only a reader who knows nobody may have them."""
    if patients is None:
        return bool(known)
    rest = {therapist: n for therapist, n in patients.items() if therapist not in known}
    if not rest or len(rest) == len(patients):
        return False
    return len(rest) < MIN_THERAPISTS or sum(rest.values()) < MIN_PATIENTS
