"""A file of either kind as columns and rows of text, and its beginning, which is kept for the pages."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from surveys.imports import csvfile, spss
from surveys.imports.reasons import FileRefused
from surveys.imports.spss import Columns
from surveys.sentences import Sentence

CSV, SAV = "csv", "sav"
# So many rows are kept to guess from and to show.
HEAD_ROWS = 50
MAX_CELL_SHOWN = 200

Row = tuple[int, list[str]]


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a file: its columns with their labels, and its first rows with their numbers."""

    columns: Columns
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        shown = [(number, [cell[:MAX_CELL_SHOWN] for cell in cells]) for number, cells in self.rows]
        return {
            "names": self.columns.names,
            "labels": self.columns.labels,
            "values": self.columns.values,
            "missing": self.columns.missing,
            "rows": shown,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> "Head":
        columns = Columns(tuple(found["names"]), found["labels"], found["values"], tuple(found["missing"]))
        return cls(columns, tuple((number, cells) for number, cells in found["rows"]))


def whole_lines(piece: bytes) -> bytes:
    """A piece without the row that it ends in the middle of. A line that goes on for half of it is no row of
    ratings and stays: whoever reads it refuses it."""
    end = piece.rfind(b"\n") + 1
    return piece if 2 * end < len(piece) else piece[:end]


def kind_of(start: bytes) -> str:
    """By its first bytes; its name is not looked at."""
    return SAV if spss.is_spss(start) else CSV


@contextmanager
def opened(pieces: Iterable[bytes], limit: int = 0) -> Iterator[tuple[Columns, Iterator[Row]]]:
    """Columns and rows of the file; `limit`: so many rows at most. Raises FileRefused, also while rows are
    read."""
    given = iter(pieces)
    start = next(given, b"")
    if not start.strip():
        raise FileRefused(Sentence("The file is empty."))
    whole = chain([start], given)
    if kind_of(start) == SAV:
        with spss.opened(whole, limit) as (columns, rows):
            csvfile.column_names(columns.names)
            yield columns, rows
    else:
        rows = csvfile.rows(whole, csvfile.separator(start))
        first = next(rows, None)
        if first is None:
            raise FileRefused(Sentence("The file is empty."))
        yield Columns(csvfile.column_names(first[1])), islice(rows, limit) if limit else rows


def head(pieces: Iterable[bytes]) -> Head:
    with opened(pieces, HEAD_ROWS) as (columns, rows):
        found = Head(columns, tuple(rows))
    if not found.rows:
        raise FileRefused(Sentence("There is no row below the names of the columns."))
    return found
