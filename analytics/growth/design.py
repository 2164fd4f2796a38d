"""LongData and GrowthSpec to matrices in a working coding, and to sufficient statistics of the lowest units.

Model, with y, X and Z as the user coded them:

    y = X beta + sum over levels of Z_l b_l + e,   Cov(b_l) = sigma^2 T_l,   Cov(e) = sigma^2 I.

The engine works in a coding in which nothing is far from 1 and no origin is far from the data, so that time
may be counted from 0 or from the year 2000:

    X = Q R               Q'Q = N I        gamma = R beta
    Z_l = W_l R_l         W_l'W_l = N I    T_l(working) = R_l T_l R_l'      (uncorrelated: R_l only scales)
    y = Q gamma_ols + scale * r            r the least squares residual, mean square 1
    W_l = U P_l           U (N, u) an orthogonal basis of all random columns, U'U = N I

An orthogonal basis with the intercept first is time, centred and scaled.  The deviance in the user's coding
differs by `deviance_shift` only.  Needed from the rows are, per lowest unit j, U_j'U_j and U_j'[Q_j r_j], and
over all rows [Q r]'[Q r].
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from .covariance import Array, Shape
from .data import LongData
from .errors import DataError, SpecError, Unfittable
from .formula import model_columns
from .spec import GrowthSpec, RandomTerm

RANK_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Statistics:
    """Sufficient statistics of J lowest units in K highest units; u random columns, c = p + 1 columns [Q r].

    A (J, u, u): U_j'U_j.  B (J, u, c): U_j'[Q_j r_j].  S (c, c): [Q r]'[Q r].  `high_start` (K,): first
    lowest unit of each highest unit.
    """

    A: Array
    B: Array
    S: Array
    high_start: NDArray[np.intp]
    n_rows: int

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.S) - 1

    @property
    def n_inside(self) -> NDArray[np.intp]:
        """Lowest units in each highest unit (K,)."""
        return np.diff(self.high_start, append=len(self.A))


@dataclass(frozen=True, eq=False)
class Level:
    """Random effects of one level: Z (N, q) as the user coded it, R (q, q) and P (u, q) as in the head."""

    term: RandomTerm
    shape: Shape
    is_high: bool
    n_units: int
    Z: Array
    R: Array
    P: Array


@dataclass(frozen=True, eq=False)
class Design:
    """All that a fit needs; levels are in the order of the spec's random terms."""

    names: tuple[str, ...]
    y: Array
    X: Array
    R: Array
    gamma_ols: Array
    scale: float
    levels: tuple[Level, ...]
    statistics: Statistics

    def deviance_shift(self, *, reml: bool) -> float:
        """Deviance in the user's coding minus that in the working coding."""
        dof = len(self.y) - (len(self.names) if reml else 0)
        log_det_R = float(np.log(np.abs(np.diag(self.R))).sum())
        return 2 * dof * float(np.log(self.scale)) + (2 * log_det_R if reml else 0.0)


def build_design(data: LongData, spec: GrowthSpec) -> Design:
    """Design of the model on these data.

    Raises DataError for collinear columns and for values that are not finite, Unfittable where the data are
    too few or do not vary.
    """
    _require_rows(data, spec)
    names, X = model_columns(spec.fixed, data.columns)
    _require_predictors(names, X, data, spec)
    y = data.columns[spec.outcome]
    Q, R = _orthogonal(X, names)
    gamma_ols, r = _least_squares_residual(Q, y)
    scale = float(np.sqrt(np.mean(r**2)))
    if scale <= 1e-12 * float(np.sqrt(np.mean(y**2))):
        value = (
            f" (every value is {y[0]:g})" if np.ptp(y) == 0 else ": the fixed effects reproduce it exactly"
        )
        raise Unfittable("no_variation", f"outcome {spec.outcome!r} has no variation to explain{value}")

    high = data.units[0]
    coded = [(term, *_random_columns(term, data)) for term in spec.random]
    basis = _basis(np.hstack([W for *_, W in coded]))
    n_units = {units.group: len(units) for units in data.units}
    levels = tuple(
        Level(
            term=term,
            shape=Shape(len(term.columns), term.correlated),
            is_high=term.group == high.group and len(data.units) == 2,
            n_units=n_units[term.group],
            Z=Z,
            R=R_l,
            P=basis.T @ W / len(y),
        )
        for term, Z, R_l, W in coded
    )
    statistics = _statistics(basis, np.column_stack([Q, r / scale]), data)
    return Design(names, y, X, R, gamma_ols, scale, levels, statistics)


def _require_rows(data: LongData, spec: GrowthSpec) -> None:
    """lme4's conditions for telling random effects from the residual, and one for telling levels apart."""
    n_rows = len(data)
    if n_rows == 0:
        raise Unfittable(
            "insufficient_data", f"no row has a value in every used column ({data.n_dropped} dropped)"
        )
    n_units = {units.group: len(units) for units in data.units}
    for term in spec.random:
        if n_units[term.group] < 2:
            raise Unfittable(
                "insufficient_data", f"there is only one {term.group!r}; at least two are needed"
            )
        if n_units[term.group] * len(term.columns) >= n_rows:
            raise Unfittable(
                "insufficient_data",
                f"{n_rows} rows cannot support {len(term.columns)} random effects for each of "
                f"{n_units[term.group]} {term.group!r}: more rows per unit are needed",
            )
    if len(data.units) == 2 and len(data.units[0]) == len(data.units[1]):
        high, low = data.units
        raise Unfittable(
            "insufficient_data",
            f"every {high.group!r} holds one {low.group!r}: the levels cannot be told apart",
        )


def _require_predictors(names: tuple[str, ...], X: Array, data: LongData, spec: GrowthSpec) -> None:
    _require_finite(names, X, data)
    if not names:
        raise SpecError(f"{spec.fixed!r} leaves no fixed effect")
    # A factor with one category stands for no column at all.
    without_column = set(spec.predictors) - {word for name in names for word in re.findall(r"\w+", name)}
    constant = [name for name, column in zip(names, X.T, strict=True) if np.ptp(column) == 0]
    for name in [*sorted(without_column), *constant]:
        if name != "Intercept":
            raise Unfittable(
                "no_variation", f"predictor {name!r} has the same value in all {len(X)} rows used"
            )
    if X.shape[1] >= len(X):
        raise Unfittable("insufficient_data", f"{len(X)} rows cannot support {X.shape[1]} fixed effects")


def _require_finite(names: tuple[str, ...], M: Array, data: LongData) -> None:
    for name, column in zip(names, M.T, strict=True):
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            row = int(data.row_numbers[bad].min())
            raise DataError(f"column {name!r}, row {row}: the value is not finite", column=name, row=row)


def _orthogonal(M: Array, names: tuple[str, ...]) -> tuple[Array, Array]:
    """W (N, q) and R (q, q), upper triangular, with M = W R, W'W = N I and a positive diagonal of R."""
    W, R = linalg.qr(M, mode="economic")
    lengths = np.sqrt(np.einsum("ij,ij->j", M, M))
    for j, name in enumerate(names):
        if abs(R[j, j]) <= RANK_TOLERANCE * lengths[j]:
            weights = linalg.solve_triangular(R[:j, :j], R[:j, j]) * lengths[:j]
            others = [names[i] for i in np.flatnonzero(np.abs(weights) > 1e-6 * lengths[j])]
            raise DataError(
                f"column {name!r} is a linear combination of {', '.join(map(repr, others))}"
                if others
                else f"column {name!r} is zero in every row used",
                column=name,
            )
    signs = np.where(np.diag(R) < 0, -1.0, 1.0)
    root = np.sqrt(len(M))
    return W * signs * root, R * signs[:, None] / root


def _least_squares_residual(Q: Array, y: Array) -> tuple[Array, Array]:
    """Coefficients of y on Q and the residual; the second pass takes out what rounding left of an offset."""
    gamma = np.zeros(Q.shape[1])
    r = y
    for _ in range(2):
        step = Q.T @ r / len(y)
        gamma = gamma + step
        r = r - Q @ step
    return gamma, r


def _random_columns(term: RandomTerm, data: LongData) -> tuple[Array, Array, Array]:
    """Z, R and W of one level: Z = W R."""
    columns = []
    for name in term.columns:
        if name == "1":
            columns.append(np.ones(len(data)))
            continue
        expanded, values = model_columns(f"0 + {name}", data.columns)
        if len(expanded) != 1:
            raise DataError(
                f"random column {name!r} stands for {len(expanded)} columns, not one", column=name
            )
        columns.append(values[:, 0])
    Z = np.column_stack(columns)
    _require_finite(term.names, Z, data)
    for name, column in zip(term.names, Z.T, strict=True):
        if name != "Intercept" and np.ptp(column) == 0:
            raise Unfittable(
                "no_variation",
                f"random column {name!r} of {term.group!r} has the same value in all rows used",
            )
    if term.correlated:
        W, R = _orthogonal(Z, term.names)
        return Z, R, W
    sizes = np.sqrt(np.mean(Z**2, axis=0))
    return Z, np.diag(sizes), Z / sizes


def _basis(W: Array) -> Array:
    left, singular, _ = linalg.svd(W, full_matrices=False)
    kept: Array = left[:, singular > RANK_TOLERANCE * singular[0]] * np.sqrt(len(W))
    return kept


def _statistics(U: Array, Qr: Array, data: LongData) -> Statistics:
    low = data.units[-1].start
    # One pass per pair of columns: the products of all pairs at once would be many times the data.
    A = np.stack([[np.add.reduceat(a * b, low) for b in U.T] for a in U.T]).transpose(2, 0, 1)
    B = np.stack([[np.add.reduceat(a * b, low) for b in Qr.T] for a in U.T]).transpose(2, 0, 1)
    # One level alone: each unit is a highest unit of its own, with nothing random above it.
    high_start = np.searchsorted(low, data.units[0].start) if len(data.units) == 2 else np.arange(len(low))
    return Statistics(np.ascontiguousarray(A), np.ascontiguousarray(B), Qr.T @ Qr, high_start, len(Qr))
