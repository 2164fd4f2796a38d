"""What the database holds encrypted, found from the models, and rewritten while the site is in use.

A batch is read without a lock first; only rows that need it are locked, read again and written, in the order
of their keys and in a transaction of their own. Whoever ends it in the middle calls it again: what is done is
left as it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from surveys.fields import EncryptedBytes, EncryptedText, EncryptedWithin, renewed

# A piece of a file is about a megabyte.
BATCH, BATCH_OF_BYTES = 200, 8

Change = Callable[[bytes], bytes | None]


@dataclass(frozen=True)
class Cell:
    """A column with encrypted values: text, bytes, or JSON whose values under these names are encrypted. The
    key of its table is called id."""

    table: str
    column: str
    is_bytes: bool = False
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.table}.{self.column}"


@dataclass(frozen=True)
class Rewritten:
    """How many rows hold something, how many of them were written anew, and how many no key can read."""

    n_rows: int = 0
    n_changed: int = 0
    n_unreadable: int = 0


def encrypted_cells() -> list[Cell]:
    """Every encrypted column of the models, and those that the site names in ENCRYPTED_IN_JSON."""
    found = [
        Cell(
            model._meta.db_table,
            str(field.column),
            is_bytes=isinstance(field, EncryptedBytes),
            names=field.names if isinstance(field, EncryptedWithin) else (),
        )
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, EncryptedText | EncryptedBytes | EncryptedWithin)
    ]
    return found + [Cell(table, column, names=names) for table, column, names in settings.ENCRYPTED_IN_JSON]


def rekey(cell: Cell) -> Rewritten:
    """Puts every value of a column under the first of the site's field keys."""
    return rewrite(cell, renewed)


def rewrite(cell: Cell, change: Change) -> Rewritten:
    """Writes what `change` makes of each value that is not empty; None leaves it. A value that `change`
    cannot read (ImproperlyConfigured) stays and is counted."""
    n_rows = n_changed = 0
    unreadable: set[Any] = set()
    for rows in _batches(cell):
        n_rows += len(rows)
        wanted = []
        for key, value in rows:
            try:
                if _changed(cell, value, change) is not None:
                    wanted.append(key)
            except ImproperlyConfigured:
                unreadable.add(key)
        n_changed += _write(cell, wanted, change)
    return Rewritten(n_rows, n_changed, len(unreadable))


def _batches(cell: Cell) -> Iterator[list[tuple[Any, Any]]]:
    n = BATCH_OF_BYTES if cell.is_bytes else BATCH
    some = f'SELECT id, "{cell.column}" FROM "{cell.table}" WHERE {_filled(cell)}'
    rows = _select(f"{some} ORDER BY id LIMIT %s", [n])
    while rows:
        yield rows
        rows = _select(f"{some} AND id > %s ORDER BY id LIMIT %s", [rows[-1][0], n])


def _filled(cell: Cell) -> str:
    """What is worth reading; of JSON everything, for what is in it is only known then."""
    if cell.names:
        return f'"{cell.column}" IS NOT NULL'
    return f'octet_length("{cell.column}") > 0'


def _write(cell: Cell, keys: list[Any], change: Change) -> int:
    """Of these rows those that still need it when they are locked; how many."""
    n = 0
    if not keys:
        return n
    kind = "uuid[]" if hasattr(keys[0], "hex") else "bigint[]"
    with transaction.atomic(), connection.cursor() as cursor:
        # Records that refuse every change let this one pass, which changes nothing of what they say.
        cursor.execute("SELECT set_config('alliance.rekey', 'on', true)")
        locked = _select(
            f'SELECT id, "{cell.column}" FROM "{cell.table}" WHERE id = ANY(%s::{kind})'
            f" ORDER BY id FOR NO KEY UPDATE",
            [[str(key) for key in keys]],
        )
        for key, value in locked:
            new = _changed(cell, value, change)
            if new is not None:
                cursor.execute(f'UPDATE "{cell.table}" SET "{cell.column}" = %s WHERE id = %s', [new, key])
                n += 1
        cursor.execute("SELECT set_config('alliance.rekey', '', true)")
    return n


def _changed(cell: Cell, value: Any, change: Change) -> Any:
    """The stored value as it shall be; None where it stays."""
    if cell.names:
        return _changed_json(value if isinstance(value, dict) else json.loads(value), cell.names, change)
    if not value:
        return None
    new = change(bytes(value) if cell.is_bytes else value.encode())
    return new if new is None or cell.is_bytes else new.decode()


def _changed_json(found: Mapping[str, Any], names: tuple[str, ...], change: Change) -> str | None:
    new = {}
    for name in names:
        values = found.get(name)
        texts = values if isinstance(values, list) else [values]
        made = [change(text.encode()) if isinstance(text, str) and text else None for text in texts]
        if any(made):
            kept = [text if one is None else one.decode() for text, one in zip(texts, made, strict=True)]
            new[name] = kept if isinstance(values, list) else kept[0]
    return json.dumps({**found, **new}) if new else None


def _select(sql: str, values: list[Any]) -> list[tuple[Any, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
