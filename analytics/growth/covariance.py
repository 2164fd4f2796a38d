"""Covariance parameters of one level: theta <-> Lambda <-> T = Lambda Lambda', SDs, correlations.

theta holds the lower triangle of the relative Cholesky factor Lambda column by column, or its diagonal for
uncorrelated coefficients, and Cov(b) = sigma^2 T (Bates, Maechler, Bolker & Walker 2015, J Stat Softw 67(1),
eq. 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """Form of one level's covariance matrix: `q` coefficients, correlated or not."""

    q: int
    correlated: bool

    @property
    def cells(self) -> tuple[tuple[int, int], ...]:
        """(row, column) of Lambda that each element of theta fills."""
        if not self.correlated:
            return tuple((i, i) for i in range(self.q))
        return tuple((i, j) for j in range(self.q) for i in range(j, self.q))

    def factor(self, theta: Array) -> Array:
        """Lambda (q, q) of theta."""
        Lambda = np.zeros((self.q, self.q))
        for value, cell in zip(theta, self.cells, strict=True):
            Lambda[cell] = value
        return Lambda

    def theta(self, Lambda: Array) -> Array:
        """theta of a lower triangular Lambda."""
        return np.array([Lambda[cell] for cell in self.cells])

    def unit_factors(self) -> list[Array]:
        """dLambda/dtheta_i, one (q, q) matrix per element of theta."""
        return [self.factor(row) for row in np.eye(len(self.cells))]

    def unit_covariances(self) -> list[Array]:
        """dT/dT_i, one symmetric (q, q) matrix per free element of T, in the order of theta."""
        units = []
        for i, j in self.cells:
            E = np.zeros((self.q, self.q))
            E[i, j] = E[j, i] = 1.0
            units.append(E)
        return units


def lower_factor(M: Array) -> Array:
    """Lower triangular L with L L' = M M' and a diagonal >= 0; M need not have full rank."""
    R = linalg.qr(M.T, mode="r")[0][: M.shape[0]]
    L = np.asarray(R.T * np.where(np.diag(R) < 0, -1.0, 1.0), dtype=np.float64)
    lengths = linalg.norm(L, axis=0)
    L[:, lengths <= 1e-14 * lengths.max()] = 0.0
    return L


def factor_of(T: Array) -> Array:
    """Lower triangular L with L L' = T for a T that may be singular or, by rounding, slightly indefinite."""
    w, U = linalg.eigh(T)
    return lower_factor(U * np.sqrt(np.maximum(w, 0.0)))


def change_coding(R: Array, Lambda: Array) -> Array:
    """Factor of R T R' from that of T."""
    return lower_factor(R @ Lambda)


def sds_and_correlations(cov: Array) -> tuple[list[float], list[list[float | None]]]:
    """SDs and correlations of a covariance matrix; None for those of a coefficient without variance."""
    sd = np.sqrt(np.diag(cov))
    q = len(sd)
    corr: list[list[float | None]] = [[None] * q for _ in range(q)]
    for i in range(q):
        for j in range(q):
            if i == j:
                corr[i][j] = 1.0
            elif sd[i] > 0 and sd[j] > 0:
                corr[i][j] = float(np.clip(cov[i, j] / (sd[i] * sd[j]), -1.0, 1.0))
    return [float(value) for value in sd], corr
