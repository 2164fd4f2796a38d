"""The mark of a restoration that has not come to its end: while it is there, nobody gets a connection.

It is a table of its own, committed before the first of the data, and dropped in the transaction that says the
restoration went well. So there is no moment, whoever is killed in it, at which older data can be used before
the withdrawals that came after them were entered again. It is asked for with every new connection, as each
process of the site makes its own, however it was started.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import OperationalError

TABLE = "restoration_unfinished"
THERE = "SELECT to_regclass('public.restoration_unfinished') IS NOT NULL"
_finishing = ContextVar("finishing", default=False)


class RestorationUnfinished(OperationalError):
    """The database is closed; the text says why and what opens it."""

    def __init__(self) -> None:
        super().__init__(
            "A restoration into this database was not finished, so it stays closed: who withdrew since the "
            "backup could be back in it. Call manage.py restore again, with the same file: it goes on where "
            "it stopped, or says what is missing."
        )


@contextmanager
def finishing() -> Iterator[None]:
    """Inside, this thread may use such a database: it is the restoration."""
    token = _finishing.set(True)
    try:
        yield
    finally:
        _finishing.reset(token)


def refuse_unfinished(line: Any) -> None:
    """Closes a new connection to such a database. Raises RestorationUnfinished."""
    if _finishing.get():
        return
    line.autocommit = True
    with line.cursor() as cursor:
        cursor.execute(THERE)
        is_there = cursor.fetchone()[0]
    if is_there:
        line.close()
        raise RestorationUnfinished


def begin(cursor: Any, backup: str) -> None:
    """Before the first of the data: marks the database as being restored from the backup with this hash."""
    cursor.execute("CREATE TABLE public.restoration_unfinished (backup text, is_compared boolean)")
    cursor.execute("INSERT INTO public.restoration_unfinished VALUES (%s, false)", [backup])


def begun(cursor: Any) -> tuple[str, bool] | None:
    """Of a database with the mark, the hash of its backup and whether the data were found to be all there."""
    cursor.execute(THERE)
    if not cursor.fetchone()[0]:
        return None
    cursor.execute("SELECT backup, is_compared FROM public.restoration_unfinished")
    return cursor.fetchone() or ("", False)


def compared(cursor: Any) -> None:
    """From here on the data may differ from the backup: what comes next brings them up to date."""
    cursor.execute("UPDATE public.restoration_unfinished SET is_compared = true")


def end(cursor: Any) -> None:
    cursor.execute("DROP TABLE public.restoration_unfinished")
