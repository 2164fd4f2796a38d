"""How long rows are kept, class by class: the one table, on plain values.

A class that somebody chose about (a clinic, for its own rows) is kept for good until then; the others hold
nothing that anybody reads again, and go after a fixed time, always. What is in neither is never deleted by
the clock. Which rows a class has, and since when the clock of each runs, say `surveys.keeping` and
`surveys.services.retention`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

YEAR = 365.25
# Of a dry run: what goes in the days to come.
SOON = timedelta(days=90)


def years(n: int) -> int:
    """In days, rounded up."""
    return -int(-n * YEAR // 1)


# By class, the times in days that a clinic may choose, rising. Not chosen: kept.
CHOSEN: Mapping[str, tuple[int, ...]] = {
    # Answers and scores of both raters; with the end of the patient's last therapy in the study.
    "answers": tuple(map(years, (1, 2, 3, 5, 10, 15, 20, 30))),
    # E-mail addresses; with the end of the patient's last therapy.
    "contacts": (30, 90, 180, *map(years, (1, 2, 3, 5, 10))),
    # Which mails were sent; with the time that each was due.
    "messages": (90, 180, *map(years, (1, 2, 3, 5, 10))),
    # Content and rejected rows of imported files; with the end of the work on each, or its upload.
    "imports": (30, 90, 180, *map(years, (1, 2, 3))),
}
# By class, after how many days its rows go.
FIXED: Mapping[str, int] = {
    # Hashes of links to forms that were not sent; since the form's end, or the link's.
    "links": 30,
    # Codes for tablets; since they were good.
    "codes": 30,
    # Answers that were saved and not sent; since the form's end.
    "drafts": 1,
    # Tries from an address, visits, what pages remember; since they count no more.
    "counters": 0,
    # Jobs that are over, but the last one of each that did not end well.
    "jobs": 30,
    # Keys under which programs sent something once.
    "keys": 30,
}


def before(days: int, now: datetime) -> datetime:
    """Rows whose clock began earlier than this go."""
    return now - timedelta(days=days)


def is_shorter(days: int | None, than: int | None) -> bool:
    """Whether this lets rows go that the other would keep; None keeps all."""
    return days is not None and (than is None or days < than)
