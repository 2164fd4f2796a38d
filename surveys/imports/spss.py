"""SPSS files (.sav), read by pyreadstat in a process of its own.

The bytes come from outside and the reader is written in C: what makes it crash, or take memory without end,
ends that process alone (`surveys.imports.spss_reader`). It is given nothing of the site.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surveys.imports.reasons import FileRefused
from surveys.sentences import Sentence

MAGIC = (b"$FL2", b"$FL3")


@dataclass(frozen=True, slots=True)
class Columns:
    """What an SPSS file says of its columns, in their order."""

    names: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def is_spss(head: bytes) -> bool:
    return head[:4] in MAGIC


@contextmanager
def opened(
    pieces: Iterable[bytes], limit: int = 0
) -> Iterator[tuple[Columns, Iterator[tuple[int, list[str]]]]]:
    """The columns and the rows as text, counted as a spreadsheet would: the first row of data is row 2.
    `limit`: so many rows at most. Raises FileRefused for what cannot be read, also while it is read."""
    with tempfile.NamedTemporaryFile(suffix=".sav") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        with subprocess.Popen(
            [sys.executable, "-m", "surveys.imports.spss_reader", file.name, str(limit)],
            cwd=Path(__file__).resolve().parents[2],
            env={"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        ) as reader:
            assert reader.stdout is not None, "asked for as a pipe"
            try:
                first = reader.stdout.readline()
                if not first:
                    raise _unreadable()
                yield _columns(json.loads(first)), _rows(reader)
            finally:
                reader.kill()


def _rows(reader: "subprocess.Popen[str]") -> Iterator[tuple[int, list[str]]]:
    assert reader.stdout is not None, "asked for as a pipe"
    for number, line in enumerate(reader.stdout, start=2):
        yield number, json.loads(line)
    if reader.wait() != 0:
        raise _unreadable()


def _columns(found: Mapping[str, Any]) -> Columns:
    return Columns(tuple(found["names"]), found["labels"], found["values"], tuple(found["missing"]))


def _unreadable() -> FileRefused:
    return FileRefused(
        Sentence(
            "This SPSS file cannot be read. Open it in SPSS or PSPP, save it anew as .sav, and upload "
            "that; or save it as CSV (UTF-8)."
        )
    )
