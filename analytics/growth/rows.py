"""A fitted model at given values: its numbers, and its rows X and Z for values that need not be in the data.

Treatment contrasts depend on which categories there are, so text predictors need the `categories` of the fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .covariance import Array
from .data import LongData
from .errors import DataError, SpecError
from .formula import model_columns, simple_terms
from .results import FitResult
from .spec import GrowthSpec

Values = Mapping[str, Any]
Categories = Mapping[str, Sequence[Any]]
ModelRows = tuple[Array, tuple[Array, ...]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The numbers of a result: beta (p,), Cov(beta) (p, p), sigma, and per random term Cov(b) = T (q, q).

    `cov_variances`: covariance of the elements of every T and of sigma^2; None where the result has none.
    """

    result: FitResult
    names: tuple[str, ...]
    beta: Array
    cov: Array
    groups: tuple[str, ...]
    T: tuple[Array, ...]
    sigma: float
    cov_variances: Array | None

    @classmethod
    def of(cls, result: FitResult) -> Self:
        """Raises SpecError for a result without estimates."""
        if not result.is_fitted or result.sigma is None:
            raise SpecError(f"nothing can be expected from a fit with status {result.status!r}")
        return cls(
            result=result,
            names=tuple(row.term for row in result.fixed),
            beta=np.array([row.estimate for row in result.fixed]),
            cov=np.array(result.vcov_fixed),
            groups=tuple(row.group for row in result.random),
            T=tuple(np.array(row.cov) for row in result.random),
            sigma=result.sigma,
            cov_variances=np.array(result.vcov_variances) if result.vcov_variances else None,
        )

    def rows(self, spec: GrowthSpec, columns: Values, n: int, known: Categories | None) -> ModelRows:
        """X (n, p) and the Z (n, q) of `model_rows`; SpecError if they are not those of the result."""
        names, X, Z = model_rows(spec, columns, n, known)
        terms = [(row.group, row.terms) for row in self.result.random]
        if names != self.names or terms != [(term.group, term.names) for term in spec.random]:
            raise SpecError(
                f"the formula gives the columns {', '.join(names)}, the fit has {', '.join(self.names)}: "
                "pass the spec that was fitted, and the categories of its text predictors"
            )
        return X, Z


def categories(spec: GrowthSpec, data: LongData) -> dict[str, tuple[Any, ...]]:
    """The categories in `data` of each text predictor and of each column named in a C(...) of the formula."""
    named = set(re.findall(r"\bC\(\s*(\w+)", spec.fixed))
    return {
        name: tuple(np.unique(data.columns[name]).tolist())
        for name in spec.predictors
        if name in named or data.columns[name].dtype.kind != "f"
    }


def model_rows(
    spec: GrowthSpec, columns: Values, n: int, known: Categories | None = None
) -> tuple[tuple[str, ...], Array, tuple[Array, ...]]:
    """Names (p), X (n, p), and Z (n, q) of each random term, at n >= 1 given values of the spec's columns.

    A column holds n values, or one for all rows.  `known`: the `categories` that contrasts are made of, where
    the rows may not show them all.  Raises DataError for a column or a category that is not there and for
    values that are not finite.
    """
    known = known or {}
    used = dict.fromkeys(name for name in (*spec.predictors, *spec.numeric) if name != spec.outcome)
    # Rows below the given ones, cut off again, show every category to the contrasts.
    n_below = max((len(known[name]) for name in used if name in known), default=0)
    complete: dict[str, NDArray[Any]] = {"": np.ones(n + n_below)}
    for name in used:
        values = _values(column_of(columns, name), name, n)
        below = np.asarray(known.get(name, values[:1]))
        astray = set(values.tolist()) - set(below.tolist()) if name in known else set()
        if astray:
            raise DataError(f"{astray.pop()!r} is not a category of {name!r} in the fit", column=name)
        complete[name] = np.concatenate([values, np.resize(below, n_below)])
    names, X = _evaluated(spec.fixed, complete)
    Z = tuple(
        np.hstack([_random_column(column, complete)[:n] for column in term.columns]) for term in spec.random
    )
    if not all(np.isfinite(block).all() for block in (X[:n], *Z)):
        raise DataError("a column has no finite value in one of these rows")
    return names, X[:n], Z


def _random_column(column: str, complete: Mapping[str, NDArray[Any]]) -> Array:
    """Values (n, 1) of one random column."""
    return _evaluated("1" if column == "1" else f"0 + {column}", complete)[1]


def _evaluated(expression: str, complete: Mapping[str, NDArray[Any]]) -> tuple[tuple[str, ...], Array]:
    """`model_columns`, or products at once where the expression has nothing else."""
    terms = simple_terms(expression)
    if terms is None or any(complete[name].dtype.kind != "f" for term in terms for name in term):
        return model_columns(expression, complete)
    one = complete[""]
    products = [np.prod([one, *(complete[name] for name in term)], axis=0) for term in terms]
    return tuple(":".join(term) or "Intercept" for term in terms), np.column_stack(products)


def column_of(columns: Values, name: str) -> Any:
    """The column, or DataError with the names that there are."""
    if name not in columns:
        raise DataError(f"there is no column {name!r} (there are: {', '.join(columns)})", column=name)
    return columns[name]


def _values(values: Any, name: str, n: int) -> NDArray[Any]:
    """n floats, or n texts."""
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or len(array) not in (1, n):
        raise DataError(f"column {name!r} must hold {n} values, or one for all rows", column=name)
    is_number = array.dtype.kind in "iufb"
    return np.resize(array.astype(np.float64) if is_number else array.astype(str).astype(object), n)
