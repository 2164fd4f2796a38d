"""Text tables, read piece by piece: UTF-8 with commas, semicolons or tabs. Nothing is guessed twice.

The rows of a file are counted as a spreadsheet counts them: the names of the columns are row 1. What the file
as a whole gets wrong (another encoding, an unclosed quote, a cell without end) is refused with the line; what
one row gets wrong is for the check of that row.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from surveys.imports.reasons import FileRefused
from surveys.sentences import Sentence

# What least often stands in a cell comes first.
SEPARATORS = ("\t", ";", ",")
MAX_COLUMNS = 2_000
MAX_NAME = 120
MAX_LINE = 1 << 20


def separator(head: bytes) -> str:
    """What separates the cells: of the marks that stand equally often in the first two lines, the one least
    likely to stand inside of a cell; else the one that stands most often in the first."""
    first, second, *_rest = [*head.split(b"\n", 2), b"", b""]
    line = _text(first, 1)
    counts = {mark: line.count(mark) for mark in SEPARATORS}
    alike = [mark for mark in SEPARATORS if 0 < counts[mark] == second.count(mark.encode())]
    mark = next(iter(alike), max(SEPARATORS, key=lambda one: counts[one]))
    if not counts[mark]:
        raise FileRefused(
            Sentence(
                "The first line holds no comma, semicolon or tab: this is no table. Save it as CSV (UTF-8), "
                "with the names of the columns in its first row."
            )
        )
    return mark


def column_names(cells: Sequence[str]) -> tuple[str, ...]:
    """The names in the first row, without blanks around them; each must be there once."""
    names = [cell.strip() for cell in cells]
    # A row that ends with a separator has one nameless column more.
    while names and not names[-1]:
        names.pop()
    if not 2 <= len(names) <= MAX_COLUMNS:
        raise FileRefused(
            Sentence(
                "The first row names %(n)d columns; there must be 2 to %(most)d.",
                n=len(names),
                most=MAX_COLUMNS,
            )
        )
    if "" in names:
        raise FileRefused(Sentence("Column %(n)d has no name. Name every column.", n=names.index("") + 1))
    if long := next((name for name in names if len(name) > MAX_NAME), None):
        raise FileRefused(
            Sentence(
                "The name of a column is longer than %(most)d letters: “%(name)s…”",
                most=MAX_NAME,
                name=long[:40],
            )
        )
    doubled = [name for name, n in Counter(names).items() if n > 1]
    if doubled:
        raise FileRefused(
            Sentence(
                "These names stand over more than one column: %(names)s. Name every column once.",
                names=", ".join(doubled[:10]),
            )
        )
    return tuple(names)


def rows(pieces: Iterable[bytes], mark: str) -> Iterator[tuple[int, list[str]]]:
    """Row number and cells of every row that is not empty, the names of the columns first as row 1.

    Raises FileRefused where the text cannot be read on."""
    reader = csv.reader(_lines(pieces), delimiter=mark, strict=True)
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FileRefused(
                Sentence(
                    "Line %(line)d cannot be read: a quotation mark is not closed or stands in the middle of "
                    "a cell, or a cell is far too long. Mend it and upload the file again.",
                    line=line,
                )
            ) from error
        number += 1
        if any(cells):
            yield number, cells


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest, n = b"", 0
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            n += 1
            yield _text(line, n) + "\n"
        if len(rest) > MAX_LINE:
            raise FileRefused(
                Sentence("Line %(line)d is far too long: this is no table of ratings.", line=n + 1)
            )
    if rest:
        yield _text(rest, n + 1)


def _text(line: bytes, number: int) -> str:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise FileRefused(
            Sentence(
                "Line %(line)d is not UTF-8 text. Save the file as “CSV UTF-8” and upload it again.",
                line=number,
            )
        ) from error
    if "\0" in text:
        raise FileRefused(
            Sentence("Line %(line)d holds characters that stand in no text: this is no table.", line=number)
        )
    return text
