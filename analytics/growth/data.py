"""Ratings as the engine reads them: complete rows, sorted by unit, one array per used column.

Rows are put in an order that depends on their content alone, so the same ratings give the same fingerprint
and the same fit to the last bit, in whatever order they came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .spec import GrowthSpec, RandomTerm

Label = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Units:
    """Units of one level: `start` (n_units,) is the first row of each, `labels` one per grouping column."""

    group: str
    start: NDArray[np.intp]
    labels: tuple[Label, ...]

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, eq=False)
class LongData:
    """Complete rows of the columns that one GrowthSpec uses, sorted by unit.

    `columns`: name to N floats (outcome, predictors) or N strings (categories).  `units`: one entry per
    level, the highest first.  `row_numbers` (N,): position of each row in the data as given, from 1.
    `n_dropped`: rows left out because a used column was missing.  `fingerprint`: SHA-256 of the sorted data.
    """

    columns: Mapping[str, NDArray[Any]]
    units: tuple[Units, ...]
    row_numbers: NDArray[np.intp]
    n_dropped: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.row_numbers)

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike] | pd.DataFrame, spec: GrowthSpec) -> Self:
        """Check and sort columns of equal length (a dict of arrays, or a DataFrame); others are ignored.

        Missing is None, NaN or an empty string.  Units are keyed by all their grouping columns, so a patient
        label under two therapists is two units of `therapist:patient`.  Raises DataError, with column and
        row, for a column that is not there, text where a number is needed, infinite numbers, and groups that
        are not nested.
        """
        used = _used_columns(columns, spec)
        values: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys((*spec.numeric, *spec.predictors)):
            values[name] = _measure(name, used[name], must_be_number=name in spec.numeric)
        labels = {name: _labels(used[name]) for name in spec.groups}
        complete = np.ones(len(next(iter(used.values()))), dtype=bool)
        for column in (*values.values(), *labels.values()):
            complete &= ~np.asarray(pd.isna(column))
        row_numbers = np.flatnonzero(complete) + 1
        values = {name: column[complete] for name, column in values.items()}
        labels = {name: column[complete].astype(str) for name, column in labels.items()}

        terms, codes = _levels(spec.random, labels, row_numbers)
        keys = [np.unique(column, return_inverse=True)[1] for column in values.values()]
        order = np.lexsort([*reversed(keys), *reversed(codes)])
        values = {name: column[order] for name, column in values.items()}
        labels = {name: column[order] for name, column in labels.items()}
        units = tuple(_units(term, code[order], labels) for term, code in zip(terms, codes, strict=True))
        return cls(
            columns=values,
            units=units,
            row_numbers=row_numbers[order],
            n_dropped=len(complete) - len(row_numbers),
            fingerprint=_fingerprint(
                {**{f"group {name}": column for name, column in labels.items()}, **values}
            ),
        )


def _used_columns(columns: Mapping[str, ArrayLike] | pd.DataFrame, spec: GrowthSpec) -> dict[str, pd.Series]:
    used: dict[str, pd.Series] = {}
    for name in dict.fromkeys((*spec.numeric, *spec.predictors, *spec.groups)):
        if name not in columns:
            there = ", ".join(str(column) for column in columns)
            raise DataError(f"there is no column {name!r} (there are: {there})", column=name)
        used[name] = pd.Series(columns[name]).reset_index(drop=True)
        if len(used[name]) != len(used[spec.outcome]):
            raise DataError(
                f"column {name!r} has {len(used[name])} rows, {spec.outcome!r} has {len(used[spec.outcome])}",
                column=name,
            )
    return used


def _measure(name: str, column: pd.Series, *, must_be_number: bool) -> NDArray[Any]:
    """Floats with NaN for missing, or strings with None for missing if nothing in the column is a number."""
    if pd.api.types.is_complex_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        raise DataError(f"column {name!r} holds {column.dtype} values, not numbers", column=name)
    text = column.map(lambda value: None if isinstance(value, str) and not value.strip() else value)
    numbers = pd.to_numeric(text, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    missing = text.isna().to_numpy()
    not_numbers = np.flatnonzero(np.isnan(numbers) & ~missing)
    if len(not_numbers) and not must_be_number and len(not_numbers) == np.count_nonzero(~missing):
        return text.map(lambda value: None if pd.isna(value) else str(value)).to_numpy(dtype=object)
    if len(not_numbers):
        row = int(not_numbers[0])
        raise DataError(
            f"column {name!r}, row {row + 1}: {column.iloc[row]!r} is not a number", column=name, row=row + 1
        )
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        row = int(infinite[0]) + 1
        raise DataError(f"column {name!r}, row {row}: the value is infinite", column=name, row=row)
    return numbers


def _labels(column: pd.Series) -> NDArray[Any]:
    """Group labels as strings, None where missing; 7, 7.0 and "7" are one label."""

    def label(value: object) -> str | None:
        if value == "":
            return None
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        return str(value)

    codes, uniques = pd.factorize(column, use_na_sentinel=True)
    names = np.array([*(label(value) for value in uniques), None], dtype=object)
    return names[codes]


def _levels(
    terms: Iterable[RandomTerm], labels: Mapping[str, NDArray[Any]], row_numbers: NDArray[np.intp]
) -> tuple[list[RandomTerm], list[NDArray[np.intp]]]:
    """Terms from the highest level down, and the unit of each row (N,) at each level."""
    coded = [(term, _unit_codes([labels[name] for name in term.groups])) for term in terms]
    if len(coded) == 2 and len(row_numbers):
        # Identical partitions are refused later; until then the one with fewer columns is the higher.
        coded.sort(key=lambda entry: (int(entry[1].max()), len(entry[0].groups)))
        (high, high_codes), (low, low_codes) = coded
        first_row = np.unique(low_codes, return_index=True)[1]
        astray = np.flatnonzero(high_codes != high_codes[first_row][low_codes])
        if len(astray):
            at, column = int(astray[0]), low.groups[-1]
            label = ":".join(labels[name][at] for name in low.groups)
            raise DataError(
                f"column {column!r}, row {row_numbers[at]}: {label!r} of {low.group!r} is under more than "
                f"one {high.group!r}: the groups are not nested. Where codes repeat, join them to the higher "
                f"unit: '{high.group}:{column}', or '{low.group}:{high.groups[-1]}' if that is {low.group!r}",
                column=column,
                row=int(row_numbers[at]),
            )
    return [term for term, _ in coded], [codes for _, codes in coded]


def _unit_codes(columns: list[NDArray[Any]]) -> NDArray[np.intp]:
    """Unit number of each row, counted in the order of the labels."""
    codes = np.zeros(len(columns[0]), dtype=np.intp)
    for column in columns:
        uniques, inner = np.unique(column, return_inverse=True)
        codes = np.unique(codes * max(len(uniques), 1) + inner, return_inverse=True)[1]
    return codes


def _units(term: RandomTerm, codes: NDArray[np.intp], labels: Mapping[str, NDArray[Any]]) -> Units:
    start = np.flatnonzero(np.diff(codes, prepend=-1))
    keys = zip(*(labels[name][start].tolist() for name in term.groups), strict=True)
    return Units(term.group, start, tuple(keys))


def _fingerprint(columns: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        column = columns[name]
        is_text = column.dtype.kind != "f"
        content = "\x1f".join(column).encode() if is_text else column.astype("<f8").tobytes()
        digest.update(f"{name}\x1e{len(column)}\x1e{'text' if is_text else 'float'}\x1e".encode())
        digest.update(content)
    return digest.hexdigest()
