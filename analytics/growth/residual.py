"""The covariance R of a lowest unit's residuals, relative to sigma^2, and the unit's rows reduced by it.

Independent residuals have R = I.  Two raters of the same sessions have, for the residuals of a session that
both rated,

    R = [[1, rho w], [rho w, w^2]],   w = sigma_2 / sigma_1,   psi = (log w, atanh rho)

and 1 or w^2 where only one of them rated; sigma is that of the first rater.  The sums that a fit needs are
linear in the elements of R^-1, so they are kept apart by session pattern and element ("parts") and combined
with weights (both-11, both-12, both-22, first alone, second alone): the rows are read once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import blocks
from .covariance import Array

Pattern = tuple[Array, float, float]
# A correlation of 1 - 8e-11; beyond it R has no inverse to working precision.
LARGEST_PSI = 12.0


@dataclass(frozen=True, eq=False)
class Reduced:
    """Triangular form of each lowest unit's rows: Z_j = O_j root_j', r_j = O_j beta_j + rest.

    root (u, u, J) lower, beta (u, J), `within`: sum over units of rest'R^-1 rest.  `log_det`: log|R|.
    """

    root: Array
    beta: Array
    within: float
    log_det: float = 0.0


class Independent:
    """R = I."""

    n_parameters = 0

    def __init__(self, reduced: Reduced) -> None:
        self.reduced = reduced

    def reduce(self, psi: Array) -> Reduced:
        """The units' triangular form; psi is empty."""
        return self.reduced

    def start(self) -> tuple[float, ...]:
        """psi to start from."""
        return ()


@dataclass(frozen=True, eq=False)
class Paired:
    """Two raters of the same sessions.

    `A` (5, u, u, J), `B` (5, u, J), `S` (5,): Z_j'O Z_j, Z_j'O r_j and r'O r for the five parts O.
    `n_both`, `n_first`, `n_second`: sessions of each pattern.
    """

    A: Array
    B: Array
    S: Array
    n_both: int
    n_first: int
    n_second: int

    n_parameters = 2

    def start(self) -> tuple[float, ...]:
        """psi to start from: the ratio of the raters' spread about the fixed effects, no correlation."""
        first = (self.S[0] + self.S[3]) / (self.n_both + self.n_first)
        second = (self.S[2] + self.S[4]) / (self.n_both + self.n_second)
        return (float(np.log(second / first)) / 2, 0.0)

    @staticmethod
    def patterns(psi: Array) -> Pattern:
        """R of a session that both rated (2, 2), the first alone, the second alone."""
        w, rho = np.exp(psi[0]), np.tanh(psi[1])
        return np.array([[1.0, rho * w], [rho * w, w * w]]), 1.0, float(w * w)

    def first_derivatives(self, psi: Array) -> list[Pattern]:
        """dR / d log w and dR / d atanh rho, per pattern."""
        w, rho = float(np.exp(psi[0])), float(np.tanh(psi[1]))
        by_rho = (1 - rho**2) * w
        return [
            (np.array([[0.0, rho * w], [rho * w, 2 * w * w]]), 0.0, 2 * w * w),
            (np.array([[0.0, by_rho], [by_rho, 0.0]]), 0.0, 0.0),
        ]

    def second_derivatives(self, psi: Array) -> list[list[Pattern]]:
        """d2R / dpsi_a dpsi_b, per pattern."""
        w, rho = float(np.exp(psi[0])), float(np.tanh(psi[1]))
        off = (1 - rho**2) * w
        mixed = (np.array([[0.0, off], [off, 0.0]]), 0.0, 0.0)
        return [
            [(np.array([[0.0, rho * w], [rho * w, 4 * w * w]]), 0.0, 4 * w * w), mixed],
            [mixed, (np.array([[0.0, -2 * rho * off], [-2 * rho * off, 0.0]]), 0.0, 0.0)],
        ]

    def linear(self, psi: Array) -> tuple[list[Pattern], Array]:
        """Directions and values of the elements of R that are parameters beside sigma^2: R_12 and R_22."""
        both, _, second = self.patterns(psi)
        cross = np.array([[0.0, 1.0], [1.0, 0.0]])
        own = np.array([[0.0, 0.0], [0.0, 1.0]])
        return [(cross, 0.0, 0.0), (own, 0.0, 1.0)], np.array([both[0, 1], second])

    @staticmethod
    def weights(pattern: Pattern) -> Array:
        """Weights of the five parts for a symmetric form that has these values per pattern."""
        both, first, second = pattern
        return np.array([both[0, 0], both[0, 1], both[1, 1], first, second])

    @staticmethod
    def inverse(psi: Array) -> Pattern:
        """R^-1 per pattern."""
        w, rho, scale = float(np.exp(psi[0])), float(np.tanh(psi[1])), float(np.cosh(psi[1]) ** 2)
        both = scale * np.array([[1.0, -rho / w], [-rho / w, 1 / w**2]])
        return both, 1.0, 1 / w**2

    def counted(self, pattern: Pattern) -> float:
        """Trace of a form that has these values per pattern, over all sessions."""
        both, first, second = pattern
        return self.n_both * float(np.trace(both)) + self.n_first * first + self.n_second * second

    def combined(self, weights: Array) -> tuple[Array, Array, float]:
        """Z'OZ (u, u, J), Z'Or (u, J) and r'Or for the form with these weights of the parts."""
        return (
            np.tensordot(weights, self.A, axes=1),
            np.tensordot(weights, self.B, axes=1),
            float(weights @ self.S),
        )

    def reduce(self, psi: Array) -> Reduced | None:
        """The units' triangular form at psi; None where R is singular to working precision."""
        if np.abs(psi).max() > LARGEST_PSI:
            return None
        A, B, S = self.combined(self.weights(self.inverse(psi)))
        root = blocks.root(A)
        beta = blocks.solve_lower(root, B[:, None])[:, 0]
        within = S - float(np.vdot(beta, beta))
        log_det = 2 * (self.n_both + self.n_second) * psi[0] - 2 * self.n_both * np.log(np.cosh(psi[1]))
        return Reduced(root, beta, within, float(log_det))


Residual = Independent | Paired


def product(*factors: Pattern) -> Pattern:
    """Product of forms, pattern by pattern, made symmetric."""
    both, first, second = factors[0]
    for other in factors[1:]:
        both, first, second = both @ other[0], first * other[1], second * other[2]
    return (both + both.T) / 2, first, second
