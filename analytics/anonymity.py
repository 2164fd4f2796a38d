"""Pure: in how small a group a patient stands in a file without dates, by what an outsider may know roughly.

An outsider may know of somebody: whether their therapist treats few or many, whether it was a short or a long
therapy, which language they speak, how it ended, and in which arm of the study they are. With k-anonymity
(Sweeney 2002, Int J Uncertain Fuzz 10, 557-570) every combination of these that is in the file is one of at
least K patients. Where it is not, columns are withheld in the order of `LADDER` until it is; where even that
does not help, the file is not made.

It says nothing of who knows exact numbers: the sessions of a therapy can be counted in every such file, and
`n_alone` says how many patients stand alone then.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from analytics.disclosure import MIN_PATIENTS, MIN_THERAPISTS

K = 5
# What can be withheld, the least needed first.
LADDER = ("patient_language", "end_reason", "is_ended", "arm")
SESSIONS = (20,)
PATIENTS = (14,)


@dataclass(frozen=True)
class Anonymity:
    """`smallest`: patients in the smallest group as the file is; `smallest_before`: with nothing withheld;
    `n_unique`: of the patients, those who stood alone with nothing withheld; `n_alone`: those who stand alone
    for somebody who knows the exact number of their sessions and of their therapist's patients."""

    n_patients: int
    n_therapists: int
    n_together: int
    smallest: int
    smallest_before: int
    n_unique: int
    n_alone: int
    withheld: tuple[str, ...]
    languages: frozenset[str]

    @property
    def lacks(self) -> tuple[str, ...]:
        """Why the file is not made: patients, therapists, groups; empty where it may be."""
        found = []
        if self.n_patients < MIN_PATIENTS:
            found.append("patients")
        if self.n_therapists < MIN_THERAPISTS:
            found.append("therapists")
        if not found and self.smallest < K:
            found.append("groups")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"withheld": list(self.withheld), "languages": sorted(self.languages)}


def anonymity(therapies: pd.DataFrame, together: frozenset[str]) -> Anonymity:
    """Of the frozen table of therapies, those that stay in the file, with these therapists under one name."""
    spoken = therapies.groupby("patient_language")["patient"].nunique()
    languages = frozenset(str(code) for code, n in spoken.items() if n >= K)
    known = _known(therapies, together, languages)
    withheld = _withheld(known)
    exact = pd.DataFrame(
        {"patient": therapies["patient"], "therapist": known["name"], "n": therapies["n_held"]}
    )
    exact["caseload"] = exact.groupby("therapist")["patient"].transform("nunique")
    return Anonymity(
        n_patients=therapies["patient"].nunique(),
        n_therapists=therapies["therapist"].nunique(),
        n_together=len(together),
        smallest=_smallest(known, withheld),
        smallest_before=_smallest(known, ()),
        n_unique=_n_alone(known, ["caseload", "sessions", *LADDER]),
        n_alone=_n_alone(exact, ["caseload", "n"]),
        withheld=withheld,
        languages=languages,
    )


def _known(therapies: pd.DataFrame, together: frozenset[str], languages: frozenset[str]) -> pd.DataFrame:
    """A row an episode: what may be known of it."""
    name = therapies["therapist"].where(~therapies["therapist"].isin(together), "together")
    caseload = therapies.groupby(name)["patient"].transform("nunique")
    shown = therapies["patient_language"].where(therapies["patient_language"].isin(languages), "other")
    return pd.DataFrame(
        {
            "patient": therapies["patient"],
            "name": name,
            "caseload": _band(caseload, PATIENTS).where(name != "together", "together"),
            "sessions": _band(therapies["n_held"], SESSIONS),
            "patient_language": shown,
            "end_reason": therapies["end_reason"].fillna(""),
            "is_ended": therapies["is_ended"],
            "arm": therapies["arm"].fillna(""),
        }
    )


def _band(numbers: "pd.Series[int]", limits: Sequence[int]) -> "pd.Series[str]":
    """Which of the spans a number is in: up to the first limit, up to the next …"""
    place = sum((numbers > limit).astype(int) for limit in limits)
    return pd.Series(place, index=numbers.index).astype(str)


def _withheld(known: pd.DataFrame) -> tuple[str, ...]:
    """As many as it takes, from the least needed on; then those are given back, from the most needed on, that
    it goes with."""
    steps = [LADDER[:n] for n in range(len(LADDER) + 1)]
    chosen = next((step for step in steps if _smallest(known, step) >= K), LADDER)
    for name in reversed(chosen):
        fewer = tuple(other for other in chosen if other != name)
        chosen = fewer if _smallest(known, fewer) >= K else chosen
    return chosen


def _smallest(known: pd.DataFrame, withheld: tuple[str, ...]) -> int:
    """Patients of the rarest combination of what is not withheld."""
    shown = ["caseload", "sessions", *(name for name in LADDER if name not in withheld)]
    groups = known.groupby(shown)["patient"].nunique()
    return int(groups.min()) if len(groups) else 0


def _n_alone(rows: pd.DataFrame, by: list[str]) -> int:
    """Patients with an episode whose combination nobody else has."""
    alone = rows.groupby(by)["patient"].transform("nunique") == 1
    return rows.loc[alone, "patient"].nunique()
