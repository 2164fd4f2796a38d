"""The cache, a table of JSON: what stands in it can be wrong, but is never run.

Django's own keeps pickles in it: whoever writes a row of it would have the web processes run what they like,
and read their keys. Times are those of the database's clock.
"""

import json
import random
from collections.abc import Iterable
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

# One write in so many clears up.
CLEARS = 200
FOR_EVER = 10 * 365 * 86_400
HAS = "SELECT 1 FROM cache WHERE cache_key = ANY(%(keys)s) AND expires > statement_timestamp()"
GET = "SELECT cache_key, value FROM cache WHERE cache_key = ANY(%(keys)s) AND expires > statement_timestamp()"
SET = """
    INSERT INTO cache (cache_key, value, expires)
    VALUES (%(key)s, %(value)s, statement_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (cache_key) DO UPDATE SET value = excluded.value, expires = excluded.expires
"""
ADD = SET + " WHERE cache.expires <= statement_timestamp()"
TOUCH = """
    UPDATE cache SET expires = statement_timestamp() + make_interval(secs => %(seconds)s)
    WHERE cache_key = %(key)s AND expires > statement_timestamp()
"""
DELETE = "DELETE FROM cache WHERE cache_key = ANY(%(keys)s)"
OVER = "DELETE FROM cache WHERE expires <= statement_timestamp()"
# What ends soonest is missed least; counters of a minute go before those of a day.
TOO_MANY = """
    DELETE FROM cache WHERE cache_key IN
        (SELECT cache_key FROM cache ORDER BY expires DESC OFFSET %(most)s)
"""


class JsonCache(BaseCache):
    """Values are what JSON has, a tuple comes back as a list; others raise TypeError when they are set."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.get_many([key], version).get(key, default)

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        names = {self.make_and_validate_key(key, version): key for key in keys}
        with connection.cursor() as cursor:
            cursor.execute(GET, {"keys": list(names)})
            rows = cursor.fetchall()
        return {names[name]: value for name, text in rows for value in _read(text)}

    def has_key(self, key: str, version: int | None = None) -> bool:
        return self._run(HAS, keys=[self.make_and_validate_key(key, version)]) > 0

    def set(
        self, key: str, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> None:
        self._write(SET, key, timeout, version, value=json.dumps(value))
        if random.randrange(CLEARS) == 0:  # noqa: S311  it decides nothing
            self.clear_up()

    def add(
        self, key: str, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None
    ) -> bool:
        return self._write(ADD, key, timeout, version, value=json.dumps(value)) > 0

    def touch(self, key: str, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._write(TOUCH, key, timeout, version) > 0

    def delete(self, key: str, version: int | None = None) -> bool:
        return self._run(DELETE, keys=[self.make_and_validate_key(key, version)]) > 0

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        self._run(DELETE, keys=[self.make_and_validate_key(key, version) for key in keys])

    def clear(self) -> None:
        self._run("DELETE FROM cache")

    def clear_up(self) -> None:
        """Drops what is over, and of more than there may be what ends soonest."""
        self._run(OVER)
        self._run(TOO_MANY, most=self._max_entries)

    def _write(
        self, statement: str, key: str, timeout: float | None, version: int | None, **values: str
    ) -> int:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        name = self.make_and_validate_key(key, version)
        return self._run(statement, key=name, seconds=FOR_EVER if seconds is None else seconds, **values)

    def _run(self, statement: str, **values: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return int(cursor.rowcount)


def _read(text: str) -> list[Any]:
    """The value, if it is one: an earlier version of the product wrote others."""
    try:
        return [json.loads(text)]
    except ValueError:
        return []
