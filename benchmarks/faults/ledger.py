"""What patients were told against what the database holds. Values only: no site, no network.

The journal lies outside the system: a line is written when a patient's browser has the acknowledgement, and
before it does anything else.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

SHOWN = 5


@dataclass(frozen=True)
class Acknowledged:
    """One form that a browser was told is received. `receipt` is empty where it did not look at it."""

    key: str
    form: str
    answers: Mapping[str, int]
    sharing: str
    receipt: str = ""

    def with_receipt(self, code: str) -> "Acknowledged":
        return replace(self, receipt=code)


@dataclass(frozen=True)
class Stored:
    """One response, and how many rows belong to it."""

    key: str
    form: str
    answers: Mapping[str, int]
    sharing: str
    receipt: str
    form_state: str
    n_scores: int
    n_audited: int
    n_drafts: int


@dataclass(frozen=True)
class Verdict:
    """All but the first two must be 0: `lost` acknowledged and not there; `doubled` more than one of a key or
    form; `altered` other than it was sent; `untraced` without exactly one audit row; `torn` with other
    scores, state or drafts than a received form has; `untold` stored though no browser was told, when all
    have ended."""

    acknowledged: int
    stored: int
    lost: int
    doubled: int
    altered: int
    untraced: int
    torn: int
    untold: int
    examples: tuple[str, ...] = ()

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.altered or self.untraced or self.torn or self.untold)


class Journal:
    """Lines of JSON in a file that no part of the site knows of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("a")
        # By key, when its browser was told first, by this process's steady clock.
        self.at: dict[str, float] = {}

    @property
    def n(self) -> int:
        """Forms; one that is acknowledged twice, or whose receipt was read as well, counts once."""
        return len(self.at)

    def acknowledge(self, told: Acknowledged) -> None:
        with self._lock:
            self._file.write(json.dumps(asdict(told)) + "\n")
            self._file.flush()
            self.at.setdefault(told.key, time.monotonic())

    def read(self) -> list[Acknowledged]:
        with self._lock:
            return [Acknowledged(**json.loads(line)) for line in self.path.read_text().splitlines()]


def compare(told: Iterable[Acknowledged], stored: Iterable[Stored], n_scales: int) -> Verdict:
    """Two lines of the journal for one key (its receipt was read later) are one acknowledgement."""
    acknowledged: dict[str, list[Acknowledged]] = {}
    for line in told:
        acknowledged.setdefault(line.key, []).append(line)
    rows = list(stored)
    by_key = {row.key: row for row in rows}
    lost = [key for key in acknowledged if key not in by_key]
    doubled = [
        name
        for counted in (Counter(row.key for row in rows), Counter(row.form for row in rows))
        for name, n in counted.items()
        if n > 1
    ]
    altered = [
        key
        for key, lines in acknowledged.items()
        if key in by_key and any(_differs(line, by_key[key]) for line in lines)
    ]
    untraced = [row.key for row in rows if row.n_audited != 1]
    torn = [
        row.key
        for row in rows
        if row.form_state != "submitted" or row.n_scores != n_scales or row.n_drafts != 0
    ]
    untold = [row.key for row in rows if row.key not in acknowledged]
    found = {"lost": lost, "doubled": doubled, "altered": altered, "untraced": untraced}
    found |= {"torn": torn, "untold": untold}
    return Verdict(
        acknowledged=len(acknowledged),
        stored=len(rows),
        **{name: len(keys) for name, keys in found.items()},
        examples=tuple(f"{name}: {key}" for name, keys in found.items() for key in keys[:SHOWN]),
    )


def _differs(line: Acknowledged, row: Stored) -> bool:
    return (
        line.form != row.form
        or dict(line.answers) != dict(row.answers)
        or line.sharing != row.sharing
        or line.receipt not in ("", row.receipt)
    )


def p95(values: Iterable[float]) -> float:
    """The value that one in twenty exceeds, by rank; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-95 * len(ordered) // 100) - 1)] if ordered else 0.0
