"""Pure: a therapy's ratings as a line of a few millimetres, beside its row of a list. It has no axis and no
numbers; what it shows stands in words beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

WIDTH, HEIGHT, MARGIN = 96, 28, 3


class Rating(Protocol):
    @property
    def session(self) -> int: ...
    @property
    def value(self) -> float: ...


@dataclass(frozen=True)
class Sparkline:
    """A line through points in a box of WIDTH x HEIGHT; the last rating has a mark."""

    points: tuple[tuple[float, float], ...]

    @property
    def path(self) -> str:
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)

    @property
    def last(self) -> tuple[str, str]:
        x, y = self.points[-1]
        return f"{x:g}", f"{y:g}"


def sparkline(ratings: Sequence[Rating], minimum: int, maximum: int) -> Sparkline | None:
    """By session from the first to the last of these ratings, over the whole scale of the form: a small
    change must not look like a large one."""
    if not ratings:
        return None
    first, last = ratings[0].session, ratings[-1].session
    across, up = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    points = []
    for rating in ratings:
        x = (rating.session - first) / (last - first) if last > first else 0.5
        y = (maximum - rating.value) / (maximum - minimum)
        points.append((round(MARGIN + x * across, 1), round(MARGIN + y * up, 1)))
    return Sparkline(tuple(points))
