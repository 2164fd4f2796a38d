"""Search for the theta of least deviance: start values, Newton steps, and an account of how it ended.

Two EM steps bring any start into scale (Laird & Ware 1982; Lindstrom & Bates 1988, sec. 4), then Newton steps
with the exact Hessian, its eigenvalues made positive.  No bounds are needed: the deviance is even in each
column of Lambda, so a variance of zero is a stationary point, and an ordinary minimum where it is the
optimum.

It may also be a saddle, or a corner out of which no second derivative in theta leads.  The covariance
matrices form a cone, and at a minimum on its edge dev/dT must be positive semidefinite: where it has a
negative eigenvalue, growing T along its eigenvector lowers the deviance, and the search goes on from there.
A singular result is tried again from other starts, and the best is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from .covariance import Array, factor_of, lower_factor
from .deviance import Derivatives, Evaluation, Objective

MAX_STEPS = 100
CONVERGED = 1e-11
ACCEPTABLE = 1e-7
RUNAWAY = 1e6
SMALL = 1e-2
# SDs relative to sigma of the first random coefficient and the others, at the highest and lowest level.
STARTS = (((0.5, 0.15), (1.0, 0.3)), ((1.0, 1.0), (0.3, 0.3)), ((0.1, 0.1), (0.1, 0.1)))


@dataclass(frozen=True, eq=False)
class Search:
    """Where the search ended.

    `decrease`: what a further Newton step promises, in deviance units.  `smallest_curvature`: smallest
    eigenvalue of the Hessian relative to the largest.  `is_minimum`: no way down was found.  `ran_away`:
    the residual variance went to zero beside the random effects.  `singular` names the levels whose
    covariance matrix is singular.
    """

    theta: Array
    evaluation: Evaluation
    derivatives: Derivatives
    decrease: float
    smallest_curvature: float
    is_minimum: bool
    ran_away: bool
    steps: int
    singular: tuple[int, ...]

    @property
    def converged(self) -> bool:
        """Whether gradient and Hessian are those of a minimum."""
        return self.is_minimum and self.decrease < ACCEPTABLE and self.smallest_curvature > -1e-6


def search(objective: Objective, theta0: Array | None = None) -> Search | None:
    """Best minimum found from theta0 or the first start, or from all where that is singular or no minimum.

    None where the deviance does not exist at any start.
    """
    best: Search | None = None
    starts = ([theta0] if theta0 is not None else []) + [_start(objective, sds) for sds in STARTS]
    for start in starts:
        found = _descend(objective, start)
        if found is not None and (best is None or _rank(found) < _rank(best)):
            best = found
        if best is not None and (best.ran_away or (best.converged and not best.singular)):
            break
    return best


def _rank(found: Search) -> tuple[bool, float]:
    return not found.converged, found.evaluation.deviance


def _start(objective: Objective, sds: tuple[tuple[float, float], tuple[float, float]]) -> Array:
    factors = []
    for level in objective.levels:
        first, others = sds[0] if level.is_high else sds[1]
        factors.append(np.diag([first] + [others] * (level.shape.q - 1)))
    theta = objective.theta(factors)
    for _ in range(2):
        theta = _em_step(objective, theta)
    return theta


def _em_step(objective: Objective, theta: Array) -> Array:
    """T + T (-d dev/dT) T / n units, which is the EM update of T."""
    ev = objective.evaluate(theta)
    if ev is None:
        return theta
    factors = []
    gradients = objective.covariance_gradients(ev)
    for level, Lambda, G in zip(objective.levels, objective.factors(theta), gradients, strict=True):
        T = Lambda @ Lambda.T
        T = T - T @ G @ T / level.n_units
        factors.append(factor_of(T if level.shape.correlated else np.diag(np.diag(T))))
    return objective.theta(factors)


def _descend(objective: Objective, theta: Array) -> Search | None:
    steps = 0
    is_minimum = False
    if objective.evaluate(theta) is None:
        return None
    while steps < MAX_STEPS and not is_minimum:
        theta, taken = _newton(objective, theta, MAX_STEPS - steps)
        steps += taken + 1
        theta = _zero_if_negligible(objective, theta)
        way_down = _way_down(objective, theta)
        if way_down is None:
            is_minimum = True
        else:
            theta = way_down
    theta = _with_positive_diagonals(objective, theta)
    ev = objective.evaluate(theta)
    if ev is None:
        return None
    derivatives = objective.derivatives(theta, ev)
    _, decrease, curvature = _newton_step(derivatives)
    return Search(
        theta=theta,
        evaluation=ev,
        derivatives=derivatives,
        decrease=decrease,
        smallest_curvature=curvature,
        is_minimum=is_minimum,
        ran_away=bool(np.abs(theta).max() > RUNAWAY),
        steps=steps,
        singular=tuple(i for i, Lambda in enumerate(objective.factors(theta)) if _is_singular(Lambda)),
    )


def _newton(objective: Objective, theta: Array, max_steps: int) -> tuple[Array, int]:
    """Newton steps until one promises less than CONVERGED, or none leads down."""
    ev = objective.evaluate(theta)
    for taken in range(max_steps):
        if ev is None or np.abs(theta).max() > RUNAWAY:
            return theta, taken
        step, decrease, _ = _newton_step(objective.derivatives(theta, ev))
        if decrease < CONVERGED:
            return theta, taken
        length = 1.0
        while length > 1e-8:
            tried = objective.evaluate(theta + length * step)
            # Near the minimum rounding hides a decrease: a rise of its size is let pass.
            allowed = ev.deviance - 2e-4 * length * decrease + 1e-13 * abs(ev.deviance)
            if tried is not None and tried.deviance <= allowed:
                break
            length *= 0.35
        else:
            return theta, taken
        theta, ev = theta + length * step, tried
    return theta, max_steps


def _newton_step(derivatives: Derivatives) -> tuple[Array, float, float]:
    """Step -|H|^-1 g, the decrease g'|H|^-1 g / 2 that it promises, and H's smallest eigenvalue / largest."""
    w, U = linalg.eigh(derivatives.hessian)
    largest = float(np.abs(w).max())
    if largest == 0.0:
        return np.zeros_like(w), 0.0, 0.0
    g = U.T @ derivatives.gradient
    scaled = g / np.maximum(np.abs(w), 1e-7 * largest)
    return -U @ scaled, 0.5 * float(g @ scaled), float(w[0]) / largest


def _way_down(objective: Objective, theta: Array) -> Array | None:
    """A theta of lower deviance, along a negative eigenvector of some level's d dev/dT; None at a minimum."""
    ev = objective.evaluate(theta)
    if ev is None:
        return None
    factors = objective.factors(theta)
    gradients = objective.covariance_gradients(ev)
    for i, (level, Lambda, G) in enumerate(zip(objective.levels, factors, gradients, strict=True)):
        w, U = linalg.eigh(G if level.shape.correlated else np.diag(np.diag(G)))
        if w[0] > -1e-9 * objective.statistics.n_rows:
            continue
        for size in 10.0 ** -np.arange(7):
            grown = factor_of(Lambda @ Lambda.T + size * np.outer(U[:, 0], U[:, 0]))
            tried_theta = objective.theta([*factors[:i], grown, *factors[i + 1 :]])
            tried = objective.evaluate(tried_theta)
            if tried is not None and tried.deviance < ev.deviance - 1e-8 - 1e-12 * abs(ev.deviance):
                return tried_theta
    return None


def _zero_if_negligible(objective: Objective, theta: Array) -> Array:
    """theta with the small directions of each Lambda set to exact zeros where the deviance agrees."""
    ev = objective.evaluate(theta)
    if ev is None:
        return theta
    allowed = ev.deviance + 1e-9 + 1e-13 * abs(ev.deviance)
    for i, level in enumerate(objective.levels):
        factors = objective.factors(theta)
        for smaller in _smaller_ranks(factors[i], correlated=level.shape.correlated):
            tried_theta = objective.theta([*factors[:i], smaller, *factors[i + 1 :]])
            tried = objective.evaluate(tried_theta)
            if tried is not None and tried.deviance <= allowed:
                theta = tried_theta
                break
    return theta


def _smaller_ranks(Lambda: Array, *, correlated: bool) -> list[Array]:
    """Lambda without its small directions, the fewest directions first."""
    if not correlated:
        small = np.diag(Lambda)[np.abs(np.diag(Lambda)) < SMALL]
        return [
            np.where(np.abs(Lambda) <= bound, 0.0, Lambda) for bound in sorted(np.abs(small), reverse=True)
        ]
    U, singular, _ = linalg.svd(Lambda)
    n_small = int(np.count_nonzero(singular < SMALL))
    return [
        lower_factor(U * np.where(np.arange(len(singular)) < rank, singular, 0.0))
        for rank in range(len(singular) - n_small, len(singular))
    ]


def _is_singular(Lambda: Array) -> bool:
    """lme4's tolerance, here for the smallest direction of Lambda and in working units."""
    return bool(linalg.svdvals(Lambda)[-1] < 1e-4)


def _with_positive_diagonals(objective: Objective, theta: Array) -> Array:
    """The same T with each diagonal element of Lambda >= 0."""
    return objective.theta([L * np.where(np.diag(L) < 0, -1.0, 1.0) for L in objective.factors(theta)])
