"""LongData (or UnitSums) and GrowthSpec to matrices in a working coding, and to sufficient statistics.

Model, with y, X and Z as the user coded them:

    y = X beta + sum over levels of Z_l b_l + e,   Cov(b_l) = sigma^2 T_l,   Cov(e) = sigma^2 R.

The engine works in a coding in which nothing is far from 1 and no origin is far from the data, so that time
may be counted from 0 or from the year 2000.  U (N, u) is an orthonormal basis (U'U = N I, intercept first)
of all functions of the rows that random or fixed effects use (`basis`):

    X_k = U_k span_k      one span (u, p) per highest unit: predictors that are constant in it are its weights
    X = Q R_X             Q'Q = N I        gamma = R_X beta,   y = Q gamma_ols + scale * r
    Z_l = U P_l R_l       T_l(working) = R_l T_l R_l'   (P_l orthonormal; uncorrelated: R_l only scales)

The deviance in the user's coding differs by `deviance_shift` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from . import blocks
from .basis import Basis
from .columns import Column, columns_of_matrices, columns_of_spec
from .covariance import Array, Shape
from .data import LongData
from .errors import DataError, SpecError, Unfittable
from .residual import Independent, Reduced
from .spec import GrowthSpec, RandomTerm
from .statistics import Level, Statistics
from .store import UnitSums

RANK_TOLERANCE = 1e-10


class Rows(Protocol):
    """The rows behind the sums, for the check of a fit."""

    def residual_sums(self, coefficients: Array, psi: Array) -> tuple[Array, float]:
        """U_j'R^-1e_j (u, J) and e'R^-1e of e = y - U c, c (u, J), y as the user gave it."""
        ...


@dataclass(frozen=True, eq=False)
class Design:
    """All that a fit needs; levels are in the order of the spec's random terms.

    `R` (p, p), `gamma_ols` (p,) and `scale` as in the head.  `rows`: None where only sums are at
    hand.  `shift`: deviance that a rater's own unit of the outcome takes away (`sessions`).
    """

    names: tuple[str, ...]
    R: Array
    gamma_ols: Array
    scale: float
    levels: tuple[Level, ...]
    statistics: Statistics
    rows: Rows | None
    shift: float = 0.0

    @cached_property
    def coding(self) -> Array:
        """(p, p): beta = coding gamma for coefficients gamma on Q in units of `scale`."""
        out: Array = self.scale * linalg.solve_triangular(self.R, np.eye(len(self.R)))
        return out

    def gamma(self, of_residual: Array) -> Array:
        """Coefficients (p,) on Q, in units of `scale`, of the outcome from those of the residual r."""
        return self.gamma_ols / self.scale + of_residual

    def deviance_shift(self, *, reml: bool) -> float:
        """Deviance in the user's coding minus that in the working coding."""
        dof = self.statistics.n_rows - (len(self.names) if reml else 0)
        log_det_R = float(np.log(np.abs(np.diag(self.R))).sum())
        return self.shift + 2 * dof * float(np.log(self.scale)) + (2 * log_det_R if reml else 0.0)


def build_design(data: LongData | UnitSums, spec: GrowthSpec) -> Design:
    """Design of the model on these data.

    Raises DataError for collinear columns and for values that are not finite, Unfittable where the data are
    too few or do not vary, SpecError where sums per unit are not enough for the model.
    """
    require_rows(data, spec.random)
    basis, fixed, random = columns_of_spec(data, spec)
    return _design(basis, fixed, random, data, spec.outcome, spec.random)


def design_of_matrices(
    names: Sequence[str],
    X: Array,
    y: Array,
    random: Sequence[tuple[RandomTerm, Array]],
    data: LongData,
    outcome: str,
) -> Design:
    """Design of given matrices X (N, p), y (N,) and Z (N, q) per random term, rows in the order of `data`."""
    basis, fixed, columns = columns_of_matrices(names, X, y, [Z for _, Z in random], data)
    return _design(basis, fixed, columns, data, outcome, tuple(term for term, _ in random))


def _design(
    basis: Basis,
    fixed: Sequence[Column],
    random: Sequence[Array],
    data: LongData | UnitSums,
    outcome: str,
    terms: Sequence[RandomTerm],
) -> Design:
    names = tuple(column.name for column in fixed)
    if len(names) >= basis.n_rows:
        raise Unfittable(
            "insufficient_data", f"{basis.n_rows} rows cannot support {len(names)} fixed effects"
        )
    high_start = high_start_of(data)
    span = span_of(fixed, len(high_start))
    root = basis.root
    R, span, gamma, beta = fixed_effects(root, basis.beta, span, high_start, basis.n_rows, names)
    squares = basis.within + float(np.vdot(beta, beta))
    scale = float(np.sqrt(squares / basis.n_rows))
    if scale <= 1e-12 * basis.size:
        value = (
            f" (every value is {basis.mean_y:g})"
            if basis.is_constant_y
            else ": the fixed effects reproduce it exactly"
        )
        raise Unfittable("no_variation", f"outcome {outcome!r} has no variation to explain{value}")
    reduced = Reduced(root, beta / scale, basis.within / scale**2)
    return Design(
        names=names,
        R=R,
        gamma_ols=gamma,
        scale=scale,
        levels=levels_of(terms, random, data),
        statistics=Statistics(
            residual=Independent(reduced),
            span=span,
            high_start=high_start,
            n_low=root.shape[-1],
            n_rows=basis.n_rows,
        ),
        rows=None if basis.y is None else basis,
    )


def fixed_effects(
    root: Array, beta_y: Array, span: Array, high_start: NDArray[np.intp], n_rows: int, names: tuple[str, ...]
) -> tuple[Array, Array, Array, Array]:
    """R_X, the span of Q, least squares coefficients on Q and beta of the residual, from triangles."""
    whole = blocks.root(blocks.sums(np.einsum("abj,cbj->acj", root, root), high_start))
    R = _triangle_of(blocks.tmul(whole, span), n_rows, names)
    inverse = linalg.solve_triangular(R, np.eye(len(R)))
    span = np.ascontiguousarray(np.einsum("upk,pq->uqk", span, inverse))
    return R, span, *_least_squares(root, beta_y, span, high_start, n_rows)


def levels_of(
    terms: Sequence[RandomTerm], random: Sequence[Array], data: LongData | UnitSums
) -> tuple[Level, ...]:
    """Levels with Z_l = U `random_l` (u, q) turned into P and R."""
    n_units = {units.group: len(units) for units in data.units}
    levels = []
    for term, columns in zip(terms, random, strict=True):
        if term.correlated:
            P, R = (np.asarray(M, dtype=np.float64) for M in linalg.qr(columns, mode="economic"))
            signs = np.where(np.diag(R) < 0, -1.0, 1.0)
            P, R = P * signs, R * signs[:, None]
            _require_rank(R, term.names)
        else:
            sizes = np.sqrt(np.einsum("uq,uq->q", columns, columns))
            P, R = columns / sizes, np.diag(sizes)
        is_high = len(data.units) == 2 and term.group == data.units[0].group
        levels.append(
            Level(term, Shape(len(term.columns), term.correlated), is_high, n_units[term.group], P, R)
        )
    return tuple(levels)


def require_rows(data: LongData | UnitSums, terms: Sequence[RandomTerm]) -> None:
    """lme4's conditions for telling random effects from the residual, and one for telling levels apart."""
    n_rows = data.n_rows
    if n_rows == 0:
        raise Unfittable(
            "insufficient_data", f"no row has a value in every used column ({data.n_dropped} dropped)"
        )
    n_units = {units.group: len(units) for units in data.units}
    for term in terms:
        if term.group not in n_units:
            raise SpecError(f"the data were not read for a model with random effects of {term.group!r}")
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


def high_start_of(data: LongData | UnitSums) -> NDArray[np.intp]:
    """First lowest unit of each highest unit; with one level each unit is a highest unit of its own."""
    n_low = len(data.units[-1])
    if len(data.units) == 1:
        return np.arange(n_low)
    if isinstance(data, UnitSums):
        return data.units[0].start
    return np.searchsorted(data.units[-1].start, data.units[0].start)


def span_of(fixed: Sequence[Column], n_high: int) -> Array:
    """X_k = U_k span_k, (u, p, K)."""
    span = np.zeros((len(fixed[0].coding), len(fixed), n_high))
    for i, column in enumerate(fixed):
        span[:, i] = (
            column.coding[:, None] if column.weight is None else column.coding[:, None] * column.weight
        )
    return span


def _triangle_of(stacked: Array, n_rows: int, names: tuple[str, ...]) -> Array:
    """R_X (p, p), upper triangular with a positive diagonal, of X in triangular form per highest unit."""
    u, p, K = stacked.shape
    rows = stacked.transpose(2, 0, 1).reshape(u * K, p)
    R: Array = np.asarray(linalg.qr(rows, mode="r", check_finite=False)[0][:p], dtype=np.float64)
    R = R / np.sqrt(n_rows)
    if len(R) < p:
        R = np.vstack([R, np.zeros((p - len(R), p))])
    R = R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None]
    _require_rank(R, names)
    return R


def _require_rank(R: Array, names: Sequence[str]) -> None:
    """Refuse a column that is a combination of those before it, by name."""
    lengths = np.asarray(linalg.norm(R, axis=0))
    for j, name in enumerate(names):
        if j >= len(R) or abs(R[j, j]) <= RANK_TOLERANCE * lengths[j]:
            weights = np.asarray(linalg.lstsq(R[:j, :j], R[:j, j])[0]) * lengths[:j]
            others = [names[i] for i in np.flatnonzero(np.abs(weights) > 1e-6 * lengths[j]).tolist()]
            raise DataError(
                f"column {name!r} is a linear combination of {', '.join(map(repr, others))}"
                if others
                else f"column {name!r} is zero in every row used",
                column=name,
            )


def _least_squares(
    root: Array, beta_y: Array, span: Array, high_start: NDArray[np.intp], n_rows: int
) -> tuple[Array, Array]:
    """Coefficients of y on Q, and beta of the residual; the second pass takes out what rounding left."""
    gamma = np.zeros(span.shape[1])
    beta = beta_y
    inside = np.diff(high_start, append=root.shape[-1])
    for _ in range(2):
        of_units = blocks.sums(np.einsum("abj,bj->aj", root, beta), high_start)
        step = np.einsum("upk,uk->p", span, of_units) / n_rows
        gamma = gamma + step
        fitted = np.repeat(np.einsum("upk,p->uk", span, step), inside, axis=-1)
        beta = beta - np.einsum("baj,bj->aj", root, fitted)
    return gamma, beta
