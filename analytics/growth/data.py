"""Ratings as the engine reads them: complete rows, sorted by unit, one array per used column.

Units are put in the order of their labels, so that the same ratings give the same result in whatever order
they came; rows that are in order already, as a database gives them, are not moved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .fingerprint import INTEGER, fingerprint_of_rows, fingerprints_of_rows
from .spec import GrowthSpec, RandomTerm

Label = tuple[str, ...]
LARGEST = 1e100


@dataclass(frozen=True, eq=False)
class Units:
    """Units of one level: `start` (n_units,) is the first row of each.

    `codes`: per grouping column the place (n_units,) of each unit's label in `names`.
    """

    group: str
    start: NDArray[np.intp]
    codes: tuple[NDArray[np.intp], ...]
    names: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """Label of each unit, one text per grouping column."""
        columns = (
            map(str, names[codes].tolist()) for names, codes in zip(self.names, self.codes, strict=True)
        )
        return tuple(zip(*columns, strict=True))


@dataclass(frozen=True, eq=False)
class LongData:
    """Complete rows of the columns that one GrowthSpec uses, sorted by unit.

    `columns`: name to N floats (outcome, predictors) or N strings (categories).  `units`: one entry per
    level, the highest first.  `row_numbers` (N,): position of each row in the data as given, from 1.
    `n_dropped`: rows left out because a used column was missing.
    """

    columns: Mapping[str, NDArray[Any]]
    units: tuple[Units, ...]
    row_numbers: NDArray[np.intp]
    n_dropped: int

    def __len__(self) -> int:
        return len(self.row_numbers)

    @property
    def n_rows(self) -> int:
        """Rows used."""
        return len(self.row_numbers)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of units and rows, whatever the order in which the rows came."""
        return fingerprint_of_rows(self.columns, self.units, self.units[-1].start)

    def fingerprints(self, outcome: str) -> dict[str, str]:
        """Of the outcome, of each other column with it, and of each level's units with it.

        They tell whether models with different predictors rest on the same ratings, predictors and units.
        """
        return fingerprints_of_rows(
            self.columns, self.units, self.units[-1].start, self.columns[outcome], outcome
        )

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, ArrayLike] | pd.DataFrame,
        spec: GrowthSpec,
        *,
        labels: Collection[str] = (),
    ) -> Self:
        """Check and sort columns of equal length (a dict of arrays, or a DataFrame); others are ignored.

        `labels`: predictors that are names, read as text even where they are numbers.

        Missing is None, NaN or an empty string.  Units are keyed by all their grouping columns, so a patient
        label under two therapists is two units of `therapist:patient`.  Raises DataError, with column and
        row, for a column that is not there, text where a number is needed, infinite numbers, and groups that
        are not nested.
        """
        used = _used_columns(columns, spec)
        values: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys((*spec.numeric, *spec.predictors)):
            if name in labels:
                codes, names = _labels(used[name])
                values[name] = np.array([*names.astype(str).tolist(), None], dtype=object)[codes]
            else:
                values[name] = _measure(name, used[name], must_be_number=name in spec.numeric)
        units = {name: _labels(used[name]) for name in spec.groups}
        complete = np.ones(len(next(iter(used.values()))), dtype=bool)
        for column in values.values():
            complete &= ~np.isnan(column) if column.dtype.kind == "f" else ~np.asarray(pd.isna(column))
        for codes, _ in units.values():
            complete &= codes >= 0
        n_dropped = len(complete) - int(np.count_nonzero(complete))
        row_numbers = np.flatnonzero(complete) + 1
        if n_dropped:
            values = {name: column[complete] for name, column in values.items()}
            units = {name: (codes[complete], names) for name, (codes, names) in units.items()}
        return cls._sorted(spec, values, units, row_numbers, n_dropped)

    @classmethod
    def _sorted(
        cls,
        spec: GrowthSpec,
        values: dict[str, NDArray[Any]],
        labels: Mapping[str, tuple[NDArray[np.intp], NDArray[Any]]],
        row_numbers: NDArray[np.intp],
        n_dropped: int,
    ) -> Self:
        terms, codes = _levels(spec.random, labels, row_numbers)
        rank = codes[-1]
        if len(codes) == 2 and len(rank):
            high_of_low = np.empty(int(rank.max()) + 1, dtype=np.intp)
            high_of_low[rank] = codes[0]
            place = np.empty_like(high_of_low)
            place[np.argsort(high_of_low, kind="stable")] = np.arange(len(high_of_low))
            rank = place[rank]
        if (rank[1:] < rank[:-1]).any():
            order = _stable_order(rank)
            values = {name: column[order] for name, column in values.items()}
            labels = {name: (column[order], names) for name, (column, names) in labels.items()}
            codes = [column[order] for column in codes]
            row_numbers = row_numbers[order]
        units = tuple(_units(term, code, labels) for term, code in zip(terms, codes, strict=True))
        return cls(values, units, row_numbers, n_dropped)


def _stable_order(rank: NDArray[np.intp]) -> NDArray[np.intp]:
    """Stable argsort of ranks below 2^32, by 16 bits at a time: those NumPy counts instead of comparing."""
    order = np.argsort((rank & 0xFFFF).astype(np.uint16), kind="stable")
    if rank.max() > 0xFFFF:
        order = order[np.argsort((rank[order] >> 16).astype(np.uint16), kind="stable")]
    return order


def _used_columns(
    columns: Mapping[str, ArrayLike] | pd.DataFrame, spec: GrowthSpec
) -> dict[str, pd.Series | NDArray[Any]]:
    used: dict[str, pd.Series | NDArray[Any]] = {}
    for name in dict.fromkeys((*spec.numeric, *spec.predictors, *spec.groups)):
        if name not in columns:
            there = ", ".join(str(column) for column in columns)
            raise DataError(f"there is no column {name!r} (there are: {there})", column=name)
        column = columns[name]
        if isinstance(column, pd.DataFrame) or np.ndim(column) != 1:
            raise DataError(f"column {name!r} stands more than once in the data", column=name)
        if isinstance(column, pd.Series) and column.dtype.kind in "fiu":
            column = column.to_numpy()
        if not (isinstance(column, np.ndarray) and column.dtype.kind in "fiu" and column.ndim == 1):
            column = pd.Series(column).reset_index(drop=True)
        used[name] = column
        if len(used[name]) != len(used[spec.outcome]):
            raise DataError(
                f"column {name!r} has {len(used[name])} rows, {spec.outcome!r} has {len(used[spec.outcome])}",
                column=name,
            )
    return used


def _measure(name: str, column: pd.Series | NDArray[Any], *, must_be_number: bool) -> NDArray[Any]:
    """Floats with NaN for missing, or strings with None for missing if nothing in the column is a number."""
    if isinstance(column, np.ndarray):
        numbers = np.ascontiguousarray(column, dtype=np.float64)
    else:
        if pd.api.types.is_complex_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
            raise DataError(f"column {name!r} holds {column.dtype} values, not numbers", column=name)
        codes, uniques = pd.factorize(column, use_na_sentinel=True)
        values = pd.Series(
            [None if isinstance(v, str) and not v.strip() else v for v in uniques.tolist()] + [None],
            dtype=object,
        )
        each = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        is_text = np.isnan(each) & ~values.isna().to_numpy()
        if is_text.any() and not must_be_number and is_text[~values.isna().to_numpy()].all():
            texts = np.array([None if value is None else str(value) for value in values], dtype=object)
            return texts[codes]
        if is_text.any():
            row = int(np.flatnonzero(is_text[codes])[0])
            raise DataError(
                f"column {name!r}, row {row + 1}: {column.iloc[row]!r} is not a number",
                column=name,
                row=row + 1,
            )
        numbers = each[codes]
    _require_size(name, numbers)
    infinite = np.isinf(numbers)
    if infinite.any():
        row = int(np.flatnonzero(infinite)[0]) + 1
        raise DataError(f"column {name!r}, row {row}: the value is infinite", column=name, row=row)
    return numbers


def _require_size(name: str, numbers: NDArray[Any]) -> None:
    """Refuse numbers whose squares floating point does not hold."""
    size = np.abs(numbers[np.isfinite(numbers)])
    size = size[size > 0]
    if len(size) and (size.max() > LARGEST or size.max() < 1 / LARGEST):
        what = "large" if size.max() > LARGEST else "small"
        raise DataError(
            f"column {name!r}: {size.max():.0e} is too {what} to compute with: change its unit", column=name
        )


def _labels(column: pd.Series | NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Code of each row, -1 where missing, and the names coded; 7, 7.0 and "7" are one label."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "iu":
        return _coded_integers(column)
    found, uniques = pd.factorize(column, use_na_sentinel=True)
    names = [_label(value) for value in np.asarray(uniques, dtype=object).tolist()]
    unique = {name for name in names if name is not None}
    # Numbers written as text come in the order of the numbers: the same data have one order.
    all_integers = all(INTEGER.fullmatch(name) for name in unique)
    ordered = np.array(sorted(unique, key=int if all_integers else None), dtype=object)
    places = {name: i for i, name in enumerate(ordered.tolist())}
    codes = np.array([*(-1 if name is None else places[name] for name in names), -1], dtype=np.intp)
    return codes[found], ordered


def _coded_integers(column: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Rows of a unit mostly stand together: then only the first of each run is looked up."""
    first = np.flatnonzero(np.diff(column, prepend=column[:1] - 1))
    if 2 * len(first) < len(column):
        names, codes = np.unique(column[first], return_inverse=True)
        return np.repeat(codes, np.diff(first, append=len(column))), names
    codes, names = pd.factorize(column)
    order = np.argsort(names)
    place = np.empty(len(names), dtype=np.intp)
    place[order] = np.arange(len(names))
    return place[codes], np.asarray(names)[order]


def _label(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _levels(
    terms: tuple[RandomTerm, ...],
    labels: Mapping[str, tuple[NDArray[np.intp], NDArray[Any]]],
    row_numbers: NDArray[np.intp],
) -> tuple[list[RandomTerm], list[NDArray[np.intp]]]:
    """Terms from the highest level down, and the unit of each row (N,) at each level."""
    coded = [(term, _unit_codes([labels[name] for name in term.groups])) for term in terms]
    if len(coded) == 2 and len(row_numbers):
        # Identical partitions are refused later; until then the one with fewer columns is the higher.
        coded.sort(key=lambda entry: (int(entry[1].max()), len(entry[0].groups)))
        (high, high_codes), (low, low_codes) = coded
        high_of_low = np.empty(int(low_codes.max()) + 1, dtype=np.intp)
        high_of_low[low_codes[::-1]] = high_codes[::-1]
        is_astray = high_codes != high_of_low[low_codes]
        if is_astray.any():
            at, column = int(np.flatnonzero(is_astray)[0]), low.groups[-1]
            label = ":".join(str(labels[name][1][labels[name][0][at]]) for name in low.groups)
            raise DataError(
                f"column {column!r}, row {row_numbers[at]}: {label!r} of {low.group!r} is under more than "
                f"one {high.group!r}: the groups are not nested. Where codes repeat, join them to the higher "
                f"unit: '{high.group}:{column}', or '{low.group}:{high.groups[-1]}' if that is {low.group!r}",
                column=column,
                row=int(row_numbers[at]),
            )
    return [term for term, _ in coded], [codes for _, codes in coded]


def _unit_codes(columns: list[tuple[NDArray[np.intp], NDArray[Any]]]) -> NDArray[np.intp]:
    """Unit number of each row, counted in the order of the labels, without gaps."""
    codes, names = columns[0]
    size = max(len(names), 1)
    for inner, names in columns[1:]:
        codes = codes * max(len(names), 1) + inner
        size *= max(len(names), 1)
    if len(codes) == 0 or (len(columns) == 1 and np.bincount(codes, minlength=size).all()):
        return codes
    is_new = np.diff(codes, prepend=codes[0])
    if (is_new >= 0).all():
        return np.cumsum(is_new != 0)
    found, uniques = pd.factorize(codes)
    place = np.empty(len(uniques), dtype=np.intp)
    place[np.argsort(uniques)] = np.arange(len(uniques))
    return place[found]


def _units(
    term: RandomTerm,
    codes: NDArray[np.intp],
    labels: Mapping[str, tuple[NDArray[np.intp], NDArray[Any]]],
) -> Units:
    start = np.flatnonzero(np.diff(codes, prepend=-1))
    own = [labels[name] for name in term.groups]
    return Units(
        term.group, start, tuple(column[start] for column, _ in own), tuple(names for _, names in own)
    )
