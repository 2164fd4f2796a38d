"""A supervisor's board as a file: the rows that are on the screen, in their order, and no rating."""

import csv
from collections.abc import Iterator
from io import StringIO

from django.utils import timezone

from analytics.board import BoardRow
from analytics.export.cells import harmless
from surveys.board import needs

COLUMNS = (
    "therapy",
    "therapist",
    "state",
    "ended_on",
    "sessions",
    "last_session",
    "therapist_forms_received",
    "therapist_forms_asked",
    "patient_forms_received",
    "patient_forms_asked",
    "attention",
    "possible_dips",
)


def board_lines(rows: list[BoardRow]) -> Iterator[str]:
    """CSV (UTF-8, RFC 4180) line by line, header first; `attention`: the filters that a therapy is in."""
    yield _line(COLUMNS)
    for row in rows:
        yield _line(_cells(row))


def _cells(row: BoardRow) -> tuple[object, ...]:
    therapy, facts, counted = row.therapy, row.facts, vars(row.therapy)
    return (
        facts.code,
        facts.therapist,
        "running" if facts.is_running else "ended",
        therapy.ended_on.isoformat() if therapy.ended_on else "",
        facts.n_sessions,
        timezone.localdate(facts.last_session).isoformat() if facts.last_session else "",
        counted["n_therapist_received"],
        counted["n_therapist_due"],
        counted["n_patient_received"],
        counted["n_patient_due"],
        " ".join(needs(facts)),
        facts.n_dips,
    )


def _line(cells: tuple[object, ...]) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([harmless(cell) for cell in cells])
    return buffer.getvalue()
