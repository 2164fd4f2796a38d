"""The table of bad inputs that the project answers to: each row is a function that sends the thing itself and
checks the answer; its parameters are fixtures.

Whatever is refused stores nothing and repeats nothing that was typed; `CANARY` stands in what is typed.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import pytest
from django.db import connection
from django.http import HttpResponse

CANARY = "canary6c1f"
# What a refusal may write: who asked, when, how often, and by which session.
TRACES = ("surveys_signin", "cache", "surveys_auditevent", "knox_authtoken")


@dataclass(frozen=True)
class Row:
    number: int
    title: str
    check: Callable[..., None]
    marks: tuple[pytest.MarkDecorator, ...]

    @property
    def id(self) -> str:
        return f"{self.number:02d} {self.title}"

    @property
    def needs(self) -> list[str]:
        return list(inspect.signature(self.check).parameters)


ROWS: list[Row] = []


def row(
    number: int, title: str, *marks: pytest.MarkDecorator
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def keep(check: Callable[..., None]) -> Callable[..., None]:
        ROWS.append(Row(number, title, check, marks))
        return check

    return keep


def refused(answer: HttpResponse, status: int, *words: str) -> str:
    """The text of a refusal that says these words and nothing that was typed."""
    text = answer.content.decode()
    assert answer.status_code == status, (answer.status_code, text[-800:])
    for word in words:
        assert word in text, word
    assert CANARY not in text
    assert "alert(1)" not in text
    return text


@cache
def _tables() -> tuple[str, ...]:
    names = connection.introspection.table_names()
    return tuple(name for name in sorted(names) if name not in TRACES)


def contents() -> dict[str, str]:
    """A hash of every table."""
    one = "SELECT '{0}', md5(string_agg(kept::text, ' ' ORDER BY kept::text)) FROM \"{0}\" kept"
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(one.format(name) for name in _tables()))
        return dict(cursor.fetchall())


@contextmanager
def nothing_stored() -> Iterator[None]:
    before = contents()
    yield
    after = contents()
    assert {name for name in before if before[name] != after[name]} == set()
