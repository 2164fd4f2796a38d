"""The columns of a model: which functions of the rows, and weights of units, each is the product of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .basis import ONE, Basis, Function, Wanted, make_basis
from .covariance import Array
from .data import LongData
from .errors import DataError, SpecError, Unfittable
from .formula import model_columns, simple_terms
from .spec import GrowthSpec, RandomTerm
from .store import UnitSums, is_constant

FixedColumn = tuple[str, Function, Array | None]


@dataclass(frozen=True, eq=False)
class Column:
    """One column of X: U `coding` (u,) times `weight` (K,) of each highest unit, or 1."""

    name: str
    coding: Array
    weight: Array | None


def columns_of_spec(
    data: LongData | UnitSums, spec: GrowthSpec
) -> tuple[Basis, tuple[Column, ...], tuple[Array, ...]]:
    """Basis of a model, its fixed columns, and per random term the coding (u, q) of its columns."""
    _require_columns(data, spec)
    wanted = Wanted()
    random = [
        [_random_function(data, term, column, wanted) for column in term.columns] for term in spec.random
    ]
    terms = simple_terms(spec.fixed)
    if terms is not None and all(_is_number(data, name) for term in terms for name in term):
        fixed = [_simple_column(data, term, wanted) for term in terms]
    elif isinstance(data, UnitSums):
        raise SpecError(
            f"{spec.fixed!r} needs the rows: sums per unit allow products of numeric columns only"
        )
    else:
        fixed = _formula_columns(data, spec, wanted)
    if not fixed:
        raise SpecError(f"{spec.fixed!r} leaves no fixed effect")
    basis, coding = make_basis(
        data, wanted, None if isinstance(data, UnitSums) else data.columns[spec.outcome]
    )
    return (
        basis,
        tuple(Column(name, coding[function], weight) for name, function, weight in fixed),
        tuple(np.column_stack([coding[function] for function in functions]) for functions in random),
    )


def columns_of_matrices(
    names: Sequence[str], X: Array, y: Array, random: Sequence[Array], data: LongData
) -> tuple[Basis, tuple[Column, ...], tuple[Array, ...]]:
    """The same for matrices X (N, p) and Z_l (N, q) whose columns have no structure."""
    wanted = Wanted()
    functions = []
    for level, Z in enumerate(random):
        keys = [f"{level}.{i}" for i in range(Z.shape[1])]
        wanted.rows.update(zip(keys, Z.T, strict=True))
        functions.append([wanted.add(key) for key in keys])
    wanted.rows.update({f"X.{name}": column for name, column in zip(names, X.T, strict=True)})
    fixed = [(name, wanted.add(f"X.{name}"), None) for name in names]
    basis, coding = make_basis(data, wanted, y)
    return (
        basis,
        tuple(Column(name, coding[function], weight) for name, function, weight in fixed),
        tuple(np.column_stack([coding[key] for key in keys]) for keys in functions),
    )


def _require_columns(data: LongData | UnitSums, spec: GrowthSpec) -> None:
    if isinstance(data, UnitSums):
        there = {data.time, data.outcome, *data.predictors}
        if spec.outcome != data.outcome:
            raise SpecError(f"the sums are of {data.outcome!r}, not of {spec.outcome!r}: sum that column")
    else:
        there = set(data.columns)
    missing = [name for name in (*spec.numeric, *spec.predictors) if name not in there]
    if missing:
        raise SpecError(f"the data were read for another model: they hold no {missing[0]!r}")


def _random_function(data: LongData | UnitSums, term: RandomTerm, column: str, wanted: Wanted) -> Function:
    if column == "1":
        return ONE, ONE
    if isinstance(data, UnitSums):
        if column != data.time:
            raise SpecError(f"random column {column!r} needs the rows: the sums hold {data.time!r} alone")
        is_flat = not data.css_time.any() and np.ptp(data.mean_time) == 0
    else:
        if column in data.columns:
            values = data.columns[column]
        else:
            expanded, matrix = model_columns(f"0 + {column}", data.columns)
            if len(expanded) != 1:
                raise DataError(
                    f"random column {column!r} stands for {len(expanded)} columns, not one", column=column
                )
            values = matrix[:, 0]
        _require_finite(column, values, data)
        wanted.rows.setdefault(column, values)
        is_flat = np.ptp(values) == 0
    if is_flat:
        raise Unfittable(
            "no_variation",
            f"random effects of {term.group!r}: {column!r} has the same value in all rows used",
        )
    return wanted.add(column)


def _is_number(data: LongData | UnitSums, name: str) -> bool:
    if isinstance(data, UnitSums):
        if name == data.time:
            return True
        if name not in data.predictors:
            raise DataError(f"there is no predictor {name!r} beside the sums", column=name)
        return data.predictors[name].dtype.kind == "f"
    return data.columns[name].dtype.kind == "f"


def _simple_column(data: LongData | UnitSums, term: tuple[str, ...], wanted: Wanted) -> FixedColumn:
    """A product of numeric columns: which of them vary inside a unit decides where it enters."""
    rows: list[str] = []
    low: list[str] = []
    weight: Array | None = None
    for name in term:
        if isinstance(data, UnitSums) and name == data.time:
            rows.append(name)
            continue
        values = data.predictors[name] if isinstance(data, UnitSums) else data.columns[name]
        if np.ptp(values) == 0:
            raise Unfittable(
                "no_variation", f"predictor {name!r} has the same value in all {data.n_rows} rows used"
            )
        low_start = np.arange(len(values)) if isinstance(data, UnitSums) else data.units[-1].start
        if is_constant(values, data.units[0].start):
            own = values[data.units[0].start]
            weight = own if weight is None else weight * own
        elif isinstance(data, UnitSums) or is_constant(values, low_start):
            low.append(name)
            wanted.weights.setdefault(name, values[low_start])
        else:
            rows.append(name)
    key = ":".join(rows) or ONE
    if rows and not isinstance(data, UnitSums) and key not in wanted.rows:
        wanted.rows[key] = np.prod([data.columns[name] for name in rows], axis=0)
        _require_finite(key, wanted.rows[key], data)
    if isinstance(data, UnitSums) and len(rows) > 1:
        raise SpecError(f"{':'.join(term)!r} needs the rows: the sums hold {data.time!r} alone")
    low_key = ":".join(low) or ONE
    if len(low) > 1:
        wanted.weights[low_key] = np.prod([wanted.weights[name] for name in low], axis=0)
    return ":".join(term) or "Intercept", wanted.add(key, low_key), weight


def _formula_columns(data: LongData, spec: GrowthSpec, wanted: Wanted) -> list[FixedColumn]:
    names, X = model_columns(spec.fixed, data.columns)
    words = {word for name in names for word in re.findall(r"[^\W\d]\w*", name)}
    for name, column in zip(names, X.T, strict=True):
        _require_finite(name, column, data)
    # A factor with one category stands for no column at all.
    alone = sorted(set(spec.predictors) - words)
    for name in [*alone, *(name for name, column in zip(names, X.T, strict=True) if np.ptp(column) == 0)]:
        if name != "Intercept":
            raise Unfittable(
                "no_variation", f"predictor {name!r} has the same value in all {len(X)} rows used"
            )
    values = dict(zip(names, X.T, strict=True))
    values |= {name: column for name, column in data.columns.items() if column.dtype.kind == "f"}
    return [_product_column(data, name, values, wanted) for name in names]


def _product_column(data: LongData, name: str, values: Mapping[str, Array], wanted: Wanted) -> FixedColumn:
    """A column that formulaic made, taken apart into what varies inside a highest unit and what does not."""
    high = data.units[0].start
    parts = name.split(":")
    if name == "Intercept" or not all(part in values for part in parts):
        parts = [name]
    weight: Array | None = None
    rows: list[str] = []
    for part in parts:
        if not is_constant(values[part], high):
            rows.append(part)
        elif name != "Intercept":
            weight = values[part][high] if weight is None else weight * values[part][high]
    key = ":".join(rows) or ONE
    if rows:
        wanted.rows.setdefault(key, np.prod([values[part] for part in rows], axis=0))
    return name, wanted.add(key), weight


def _require_finite(name: str, values: Array, data: LongData) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(data.row_numbers[bad].min())
        raise DataError(f"column {name!r}, row {row}: the value is not finite", column=name, row=row)
