"""Questions that every patient's form asks again, with other values: their SQL is written once in a process.

For a form that is sent, Django spent as long on writing the SQL of a row with its related rows as PostgreSQL
on the answer.
"""

from collections.abc import Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import Model, QuerySet
from django.db.models.query import get_related_populators
from django.db.transaction import TransactionManagementError

Row = TypeVar("Row", bound=Model)
Value = str | UUID


class NotCompiled(TypeError):
    """The question needs more than other values in the same SQL."""


class _Question:
    """What `QuerySet` finds out anew each time: the SQL, and how a row of its answer becomes an object."""

    def __init__(self, rows: Callable[..., QuerySet[Any]], kinds: tuple[type[Value], ...]) -> None:
        marks = [kind(str(uuid4())) for kind in kinds]
        queryset = rows(*marks)[:1]
        compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        self._sql, params = compiler.as_sql()
        self._is_locking = queryset.query.select_for_update
        self._params = list(params)
        self._places = [self._params.index(mark) if self._params.count(mark) == 1 else None for mark in marks]
        if None in self._places or queryset._prefetch_related_lookups:  # type: ignore[attr-defined]
            raise NotCompiled("Each value stands once in the SQL, as it is given; and nothing is prefetched.")
        found = compiler.klass_info["select_fields"]
        self._model, self._own = compiler.klass_info["model"], slice(found[0], found[-1] + 1)
        self._names = [column[0].target.attname for column in compiler.select[self._own]]
        self._related = get_related_populators(compiler.klass_info, compiler.select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg]
        self._annotated = list(compiler.annotation_col_map.items())
        columns = [column[0] for column in compiler.select]
        self._converters = list(compiler.get_converters(columns).items())

    def ask(self, values: tuple[Value, ...]) -> Any:
        params = list(self._params)
        for place, value in zip(self._places, values, strict=True):
            params[cast(int, place)] = value
        if self._is_locking and connection.get_autocommit() and not connection.in_atomic_block:
            raise TransactionManagementError("A lock outside of a transaction ends as it is taken.")
        with connection.cursor() as cursor:
            cursor.execute(self._sql, params)
            found = cursor.fetchone()
        if found is None:
            return None
        row = list(found)
        for place, (converters, column) in self._converters:
            for converter in converters:
                row[place] = converter(row[place], column, connection)
        made = self._model.from_db(DEFAULT_DB_ALIAS, self._names, row[self._own])
        for populator in self._related:
            populator.populate(row, made)
        for name, place in self._annotated:
            setattr(made, name, row[place])
        return made


@lru_cache(maxsize=100)
def _question(
    code: CodeType, rows: Callable[..., QuerySet[Any]], kinds: tuple[type[Value], ...]
) -> _Question:
    """By the function's code as well: a function may get another one (tools/mutants.py)."""
    return _Question(rows, kinds)


def first(rows: Callable[..., QuerySet[Row]], *values: Value) -> Row | None:
    """As `rows(*values).first()`, without an order where `rows` gives none; `rows` is a function of a module
    in which the values are compared with columns, each once, and nothing depends on what they are. Raises
    NotCompiled where that does not hold, at the first call."""
    code = cast(FunctionType, rows).__code__
    return cast("Row | None", _question(code, rows, tuple(map(type, values))).ask(values))
