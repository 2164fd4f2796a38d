"""Sufficient statistics of a nested growth model: all that a fit needs of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .covariance import Array, Shape
from .residual import Residual
from .spec import RandomTerm


@dataclass(frozen=True, eq=False)
class Statistics:
    """J lowest units in K highest units, p fixed effects, N rows.

    `residual`: the units' rows in triangular form.  `span` (u, p, K): the fixed effects as X_k = U_k span_k.
    `high_start` (K,): first lowest unit of each highest unit.
    """

    residual: Residual
    span: Array
    high_start: NDArray[np.intp]
    n_low: int
    n_rows: int

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return int(self.span.shape[1])

    @property
    def n_inside(self) -> NDArray[np.intp]:
        """Lowest units in each highest unit (K,)."""
        return np.diff(self.high_start, append=self.n_low)


@dataclass(frozen=True, eq=False)
class Level:
    """Random effects of one level: Z_l = U P R with U the basis of the random columns, P (u, q), R (q, q).

    T(working) = R T R'.
    """

    term: RandomTerm
    shape: Shape
    is_high: bool
    n_units: int
    P: Array
    R: Array
