"""The deviance as a function of theta: per level the elements of Lambda, then psi of the residuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .covariance import Array
from .curvature import Curvature, ResidualDirections
from .deviance import Evaluation, evaluate
from .residual import Independent, Paired, Pattern
from .statistics import Level, Statistics


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Derivatives of the deviance in theta (m,), and what Satterthwaite's method takes from them.

    `hessian`: sigma profiled out.  `hessian_fixed_sigma` and `slope_sigma` (m,): second derivatives in
    (theta, theta) and (theta, sigma) of the deviance that is not profiled over sigma.  `Y` (m, p, p):
    dC/dtheta_i = C Y_i C.
    """

    gradient: Array
    hessian: Array
    hessian_fixed_sigma: Array
    slope_sigma: Array
    Y: Array


class Objective:
    """The deviance as a function of theta, the concatenated theta of the levels in their order, and psi."""

    def __init__(self, statistics: Statistics, levels: tuple[Level, ...], *, reml: bool) -> None:
        self.statistics = statistics
        self.levels = levels
        self.reml = reml
        self.residual = statistics.residual
        ends = np.cumsum([len(level.shape.cells) for level in levels])
        self.slices = [
            slice(end - len(level.shape.cells), end) for level, end in zip(levels, ends, strict=True)
        ]
        self.psi_slice = slice(int(ends[-1]), int(ends[-1]) + self.residual.n_parameters)
        self.n_theta = self.psi_slice.stop

    def factors(self, theta: Array) -> list[Array]:
        """Lambda (q, q) of each level."""
        return [level.shape.factor(theta[part]) for level, part in zip(self.levels, self.slices, strict=True)]

    def psi(self, theta: Array) -> Array:
        """Parameters of the residual covariance; none where residuals are independent."""
        return theta[self.psi_slice]

    def theta(self, factors: Sequence[Array], psi: Sequence[float] | Array = ()) -> Array:
        """theta of one lower triangular Lambda per level and psi."""
        parts = [level.shape.theta(Lambda) for level, Lambda in zip(self.levels, factors, strict=True)]
        return np.concatenate([*parts, np.asarray(psi, dtype=np.float64)])

    def evaluate(self, theta: Array) -> Evaluation | None:
        """Evaluation at theta; None where the deviance does not exist to working precision."""
        u = len(self.levels[0].P)
        low, high = np.zeros((u, 1)), np.zeros((u, 1))
        for level, Lambda in zip(self.levels, self.factors(theta), strict=True):
            if level.is_high:
                high = level.P @ Lambda
            else:
                low = level.P @ Lambda
        with np.errstate(all="ignore"):
            reduced = self.residual.reduce(self.psi(theta))
        if reduced is None:
            return None
        return evaluate(self.statistics, reduced, low, high, reml=self.reml)

    def covariance_gradients(self, ev: Evaluation) -> list[Array]:
        """d deviance / dT (q, q) of each level, in its own working columns."""
        return [
            level.P.T @ (ev.high_gradient if level.is_high else ev.low_gradient) @ level.P
            for level in self.levels
        ]

    def gradient(self, theta: Array, ev: Evaluation) -> Array:
        """d deviance / dtheta (m,) at theta, where `ev` was taken."""
        by_level = [
            2 * G @ Lambda
            for G, Lambda in zip(self.covariance_gradients(ev), self.factors(theta), strict=True)
        ]
        psi = self.psi(theta)
        if isinstance(self.residual, Independent):
            return self.theta(by_level)
        directions = self.residual.first_derivatives(psi)
        return self.theta(by_level, ResidualDirections(ev, self.residual, psi, directions).slopes)

    def curvature(
        self, theta: Array, ev: Evaluation, directions: Sequence[Sequence[Array]], patterns: Sequence[Pattern]
    ) -> tuple[Curvature, list[int]]:
        """Curvature for directions per level as (q, q) matrices and patterns of R, and their order in it."""
        flat = [
            (2 if level.is_high else 0, level.P @ D @ level.P.T)
            for level, Ds in zip(self.levels, directions, strict=True)
            for D in Ds
        ]
        residual = None
        if isinstance(self.residual, Paired):
            residual = ResidualDirections(ev, self.residual, self.psi(theta), patterns)
        places = sorted(range(len(flat) + len(patterns)), key=lambda i: flat[i][0] if i < len(flat) else 1)
        low = [D for rank, D in flat if rank == 0]
        high = [D for rank, D in flat if rank == 2]
        return Curvature(ev, low, residual, high), [int(i) for i in np.argsort(places)]

    def derivatives(self, theta: Array, ev: Evaluation) -> Derivatives:
        """Exact first and second derivatives in theta at theta, where `ev` was taken."""
        factors, psi = self.factors(theta), self.psi(theta)
        units = [level.shape.unit_factors() for level in self.levels]
        directions = [
            [dL @ Lambda.T + Lambda @ dL.T for dL in dLs] for dLs, Lambda in zip(units, factors, strict=True)
        ]
        patterns = [] if isinstance(self.residual, Independent) else self.residual.first_derivatives(psi)
        curvature, order = self.curvature(theta, ev, directions, patterns)
        mo = curvature.moments.reordered(order)
        hessian_fixed = -mo.trace + 2 * mo.qq / ev.s2
        gradients = self.covariance_gradients(ev)
        for part, level, G in zip(self.slices, self.levels, gradients, strict=True):
            # <G, d2T> with d2T = dL_i dL_j' + dL_j dL_i', each dL one element of Lambda
            rows, columns = np.array(level.shape.cells).T
            hessian_fixed[part, part] += 2 * G[np.ix_(rows, rows)] * (columns[:, None] == columns)
        gradient = self.theta(
            [2 * G @ Lambda for G, Lambda in zip(gradients, factors, strict=True)],
            () if curvature.residual is None else curvature.residual.slopes,
        )
        if isinstance(self.residual, Paired):
            (ww, wz), (_, zz) = self.residual.second_derivatives(psi)
            of_w, mixed, of_z = ResidualDirections(ev, self.residual, psi, [ww, wz, zz]).slopes
            hessian_fixed[self.psi_slice, self.psi_slice] += [[of_w, mixed], [mixed, of_z]]
        return Derivatives(
            gradient=gradient,
            hessian=hessian_fixed - np.outer(mo.q, mo.q) / (ev.s2**2 * ev.dof),
            hessian_fixed_sigma=hessian_fixed,
            slope_sigma=2 * mo.q / ev.s2**1.5,
            Y=mo.Y,
        )
