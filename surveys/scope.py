"""Which clinics' rows the database may show to what runs now: the second net, behind `surveys.access`.

`surveys.access` decides who sees what, and it alone; this only says within which clinics it decides, so that
a question that forgot to ask it finds nothing of another clinic. The database holds to it by policies of its
tables (`alliance_site.database`). Nothing is in scope unless somebody says so.

A scope is written as the database reads it: `{}` is nothing, `{id,id}` are clinics, `*` is everything.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

Piece = TypeVar("Piece")

NOTHING, EVERYTHING = "{}", "*"


def of(clinics: Iterable[UUID]) -> str:
    return "{" + ",".join(sorted(map(str, clinics))) + "}"


@dataclass
class _Request:
    """What a request may see: found out when a protected table is first named, or what its secret opened."""

    find: Callable[[], str]
    opened: str = ""


_now: ContextVar[str | _Request] = ContextVar("scope", default=NOTHING)


def now() -> str:
    scope = _now.get()
    if isinstance(scope, str):
        return scope
    return scope.opened or scope.find()


@contextmanager
def everything() -> Iterator[None]:
    """For jobs, commands, figures of the whole site, the trace, and the one look-up by which a secret tells
    whose it is. What is asked for must be fetched within it: a queryset that leaves it is asked outside."""
    with _set(EVERYTHING):
        yield


@contextmanager
def clinics(found: Iterable[UUID]) -> Iterator[None]:
    with _set(of(found)):
        yield


@contextmanager
def request(find: Callable[[], str]) -> Iterator[None]:
    """The scope of one request; `find` is asked late, and each time: who it is may change within it."""
    with _set(_Request(find)):
        yield


def open_only(clinic: UUID) -> None:
    """A secret of this clinic opens the rest of the request to its rows, and to no others, whoever is signed
    in beside it. Outside of a request it says nothing: there somebody else does."""
    scope = _now.get()
    if isinstance(scope, _Request):
        scope.opened = of([clinic])


def kept(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces of an answer, each made in the scope of now: a streamed one is made after its request."""
    return _each(_now.get(), iter(pieces))


def _each(scope: str | _Request, rest: Iterator[Piece]) -> Iterator[Piece]:
    while True:
        with _set(scope):
            try:
                piece = next(rest)
            except StopIteration:
                return
        yield piece


@contextmanager
def _set(scope: str | _Request) -> Iterator[None]:
    token = _now.set(scope)
    try:
        yield
    finally:
        _now.reset(token)
