"""Django's PostgreSQL backend, which says in the message of a statement within which clinics it is asked.

The database shows rows of the tables that `alliance_site.database.tables` protects only within
`app.clinics`. That is set for one transaction at a time (SET LOCAL), so nothing of it is left on a connection
that a pooler hands to somebody else; and in the same message as the statement, so it costs no round trip.
Two statements in one message are one transaction also where there is none around them.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations
from psycopg2 import extensions, sql

from alliance_site.database.tables import names_protected
from alliance_site.database.unfinished import refuse_unfinished
from surveys import scope

# What may stand in a transaction whether or not there is one around it; VACUUM, for one, may not.
_ROWS = re.compile(r"[\s(]*(?:SELECT|INSERT|UPDATE|DELETE|WITH|MERGE|EXPLAIN)\b", re.IGNORECASE)
_UNDOES = re.compile(r"\s*(?:ROLLBACK|SET|RESET|DISCARD)\b", re.IGNORECASE)
_PREFIX = re.compile(r"\ASET LOCAL app\.clinics = '[^']*'; ")


class ScopedConnection(extensions.connection):
    """It knows which scope the transaction that is open on it has."""

    told: str | None = None

    def is_idle(self) -> bool:
        return bool(self.get_transaction_status() == extensions.TRANSACTION_STATUS_IDLE)


class ScopedCursor(extensions.cursor):
    """Says the scope where the database does not know it yet."""

    connection: ScopedConnection

    def execute(self, query: Any, vars: Any = None) -> None:
        text = self._text(query)
        if self.name is not None:
            with self._told_apart(text):
                super().execute(text, vars)
            return
        try:
            super().execute(self._prefix(text) + text, vars)
        except BaseException:
            # What the driver refused to write never reached the database.
            self.connection.told = None
            raise
        if _UNDOES.match(text):
            # A savepoint that is rolled back takes with it what was set after it.
            self.connection.told = None

    def executemany(self, query: Any, vars_list: Sequence[Any]) -> None:
        for values in vars_list:
            self.execute(query, values)

    def copy_expert(self, sql: Any, file: Any, size: int = 8192) -> None:
        text = self._text(sql)
        with self._told_apart(text):
            super().copy_expert(text, file, size)

    def _text(self, query: Any) -> str:
        if isinstance(query, sql.Composable):
            return query.as_string(self)
        return query.decode() if isinstance(query, bytes) else str(query)

    def _prefix(self, text: str) -> str:
        """What goes before this statement; empty where it names no protected table, or all is said."""
        line = self.connection
        if line.is_idle():
            # Whatever this statement names, the transaction that knew is over.
            line.told = None
        if not names_protected(text):
            return ""
        # Found out first: that may ask the database itself, in this transaction.
        wanted = scope.now()
        if line.is_idle() and line.autocommit:
            return _set_local(wanted) if _ROWS.match(text) else ""
        if line.told == wanted:
            return ""
        line.told = wanted
        return _set_local(wanted)

    @contextmanager
    def _told_apart(self, text: str) -> Iterator[None]:
        """For what must be alone in its message: in the same transaction, if need be one of its own."""
        line = self.connection
        is_alone = line.autocommit and line.is_idle() and names_protected(text)
        with line.cursor(cursor_factory=extensions.cursor) as helper:
            if is_alone:
                helper.execute("BEGIN; " + _set_local(scope.now()))
            elif prefix := self._prefix(text):
                helper.execute(prefix)
            try:
                yield
            except BaseException:
                if is_alone and not line.closed:
                    helper.execute("ROLLBACK")
                raise
            if is_alone:
                helper.execute("COMMIT")


def _set_local(wanted: str) -> str:
    return f"SET LOCAL app.clinics = '{wanted}'; "


class DatabaseOperations(PostgresOperations):
    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        found = super().last_executed_query(cursor, sql, params)
        return _PREFIX.sub("", found) if isinstance(found, str) else found


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations

    def get_connection_params(self) -> dict[str, Any]:
        return {
            **super().get_connection_params(),
            "connection_factory": ScopedConnection,
            "cursor_factory": ScopedCursor,
        }

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        line = super().get_new_connection(conn_params)
        refuse_unfinished(line)
        return line
