"""Switching the second net on and off: the rules are there since a migration, and hold from then on."""

import time
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg2 import sql

from alliance_site.database.tables import PROTECTED

# Nobody waits long behind a table that is in use.
LOCK_TIMEOUT, TRIES, PAUSE, NOT_AVAILABLE = "2s", 30, 1.0, "55P03"
STATES = (
    "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s)"
)


def unguarded() -> list[str]:
    """The protected tables whose rules do not hold; empty where the net is whole."""
    with connection.cursor() as cursor:
        cursor.execute(STATES, [sorted(PROTECTED)])
        held = {name for name, is_held in cursor.fetchall() if is_held}
    return sorted(set(PROTECTED) - held)


def switch(*, on: bool) -> int:
    """All protected tables, one after the other, for their owner too; the number of those that changed."""
    loose = set(unguarded())
    changed = sorted(loose if on else set(PROTECTED) - loose)
    for table in changed:
        _switch(table, on=on)
    return len(changed)


def _switch(table: str, *, on: bool) -> None:
    words = "ENABLE ROW LEVEL SECURITY, FORCE" if on else "DISABLE ROW LEVEL SECURITY, NO FORCE"
    statement: Any = sql.SQL("ALTER TABLE {} " + words + " ROW LEVEL SECURITY").format(sql.Identifier(table))
    for left in reversed(range(TRIES)):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
                cursor.execute(statement)
            return
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", "") != NOT_AVAILABLE or not left:
                raise
            time.sleep(PAUSE)
