"""Pure: the middle half of the others' values, or why it is not told.

The range must not tell what a single person said. So it is made of at least `LEAST_OTHERS` people; its ends
are quartiles that lie between two values and never on one (Hyndman & Fan's definition 8: position
(n + 1/3) p + 1/3 in the sorted values, which is no whole number for p = 1/4 or 3/4 and any n); they are
rounded to one decimal; and a range without width is not told, as it would be the answer of half of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import floor

LEAST_OTHERS = 5
# The reader is one of them.
LEAST_BASIS = 1 + LEAST_OTHERS


class NoBand(Enum):
    TOO_FEW = "too_few"
    TOO_CLOSE = "too_close"
    KNOWN = "known"


@dataclass(frozen=True)
class Band:
    """The middle half of n people's values, rounded."""

    lower: float
    upper: float
    n: int


def band(values: Sequence[float], n_known: int = 0) -> Band | NoBand:
    """Of the others' values, one of each; `n_known` of them the reader may have read as a supervisor, and
    could take them out."""
    if len(values) < LEAST_OTHERS:
        return NoBand.TOO_FEW
    if len(values) - n_known < LEAST_OTHERS:
        return NoBand.KNOWN
    ordered = sorted(values)
    lower, upper = (round(_quantile(ordered, share), 1) for share in (0.25, 0.75))
    return Band(lower, upper, len(ordered)) if lower < upper else NoBand.TOO_CLOSE


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = (len(ordered) + 1 / 3) * share + 1 / 3
    below = floor(place)
    low, high = ordered[below - 1], ordered[below]
    return low + (place - below) * (high - low)
