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

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from .covariance import Array, factor_of, lower_factor
from .deviance import Evaluation
from .objective import Derivatives, Objective

MAX_STEPS = 100
CONVERGED = 1e-11
ACCEPTABLE = 1e-7
# Of a decrease, and of steps towards it, once the deviance itself no longer tells one point from the next.
POLISHED, MAX_POLISH = 1e-20, 3
RUNAWAY = 1e6
# Steps after which a residual variance on its way to zero is no longer waited for.
PATIENCE = 25
SMALL = 1e-2
# SDs relative to sigma of the first random coefficient and the others, at the highest and lowest level.
STARTS = (((0.5, 0.15), (1.0, 0.3)), ((1.0, 1.0), (0.3, 0.3)), ((0.1, 0.1), (0.1, 0.1)))


@dataclass(frozen=True, eq=False)
class Search:
    """Where the search ended.

    `decrease`: what a further Newton step promises, in deviance units.  `smallest_curvature`: smallest
    eigenvalue of the Hessian relative to the largest.  `is_minimum`: no way down was found.  `timed_out`: the
    deadline passed before.  `ran_away`: the residual variance went to zero beside the random effects.
    `singular` names the levels whose covariance matrix is singular.
    """

    theta: Array
    evaluation: Evaluation
    derivatives: Derivatives
    decrease: float
    smallest_curvature: float
    is_minimum: bool
    timed_out: bool
    ran_away: bool
    steps: int
    singular: tuple[int, ...]

    @property
    def converged(self) -> bool:
        """Whether gradient and Hessian are those of a minimum."""
        return self.is_minimum and self.decrease < ACCEPTABLE and self.smallest_curvature > -1e-6


def search(
    objective: Objective, theta0: Array | None = None, *, deadline: float | None = None
) -> Search | None:
    """Best minimum found from theta0 or the first start, or from all where that is singular or no minimum.

    None where the deviance does not exist at any start.  `deadline`: when to stop, by `time.perf_counter`.
    """
    best: Search | None = None
    for start in _starts(objective, theta0):
        found = _descend(objective, start, deadline)
        if found is not None and (best is None or _rank(found) < _rank(best)):
            best = found
        if best is not None and (best.ran_away or best.timed_out or (best.converged and not best.singular)):
            break
    return best if best is None or not best.converged else _polished(objective, best)


def _polished(objective: Objective, found: Search) -> Search:
    """The minimum by its gradient: whole Newton steps as long as each leaves less to gain than that before.

    Where the deviance is flat beside a variance near zero, two thetas that differ by a percent agree in it to
    the last digits that it has, and Satterthwaite's degrees of freedom differ by half a percent.
    """
    step = _newton_step(found.derivatives)[0]
    for _ in range(MAX_POLISH):
        if found.decrease < POLISHED:
            break
        point = _point(objective, found.theta + step)
        if point is None:
            break
        step, decrease, curvature = _newton_step(point.derivatives)
        if decrease >= found.decrease:
            break
        found = replace(
            found,
            theta=point.theta,
            evaluation=point.evaluation,
            derivatives=point.derivatives,
            decrease=decrease,
            smallest_curvature=curvature,
            steps=found.steps + 1,
        )
    return found


def _rank(found: Search) -> tuple[bool, float]:
    return not found.converged, found.evaluation.deviance


def _starts(objective: Objective, theta0: Array | None) -> Iterator[Array]:
    if theta0 is not None:
        yield theta0
    for sds in STARTS:
        yield _start(objective, sds)


def _start(objective: Objective, sds: tuple[tuple[float, float], tuple[float, float]]) -> Array:
    factors = []
    for level in objective.levels:
        first, others = sds[0] if level.is_high else sds[1]
        factors.append(np.diag([first] + [others] * (level.shape.q - 1)))
    theta = objective.theta(factors, objective.residual.start())
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
    return objective.theta(factors, objective.psi(theta))


@dataclass(frozen=True, eq=False)
class _Point:
    """A theta with what is known there."""

    theta: Array
    evaluation: Evaluation
    derivatives: Derivatives


def _point(objective: Objective, theta: Array) -> _Point | None:
    ev = objective.evaluate(theta)
    return None if ev is None else _Point(theta, ev, objective.derivatives(theta, ev))


def _descend(objective: Objective, theta: Array, deadline: float | None) -> Search | None:
    steps = 0
    is_minimum = False
    point = _point(objective, theta)
    while point is not None and steps < MAX_STEPS and not is_minimum and not _is_over(deadline):
        point, taken = _newton(objective, point, MAX_STEPS - steps, deadline)
        steps += taken + 1
        if _is_over(deadline) or (taken >= PATIENCE and _is_running_away(objective, point)):
            break
        point = _zero_if_negligible(objective, point)
        way_down = _way_down(objective, point)
        if way_down is None:
            is_minimum = True
        else:
            point = _point(objective, way_down)
    if point is None:
        return None
    point = _with_positive_diagonals(objective, point) or point
    _, decrease, curvature = _newton_step(point.derivatives)
    settled = is_minimum and decrease < ACCEPTABLE and np.abs(point.theta).max() < RUNAWAY
    factors = objective.factors(point.theta)
    return Search(
        theta=point.theta,
        evaluation=point.evaluation,
        derivatives=point.derivatives,
        decrease=decrease,
        smallest_curvature=curvature,
        is_minimum=is_minimum,
        timed_out=not is_minimum and _is_over(deadline),
        ran_away=bool(not settled and _is_running_away(objective, point)),
        steps=steps,
        singular=tuple(i for i, Lambda in enumerate(factors) if _is_singular(Lambda)),
    )


def _newton(
    objective: Objective, point: _Point, max_steps: int, deadline: float | None
) -> tuple[_Point, int]:
    """Newton steps until one promises less than CONVERGED, or none leads down."""
    for taken in range(max_steps):
        theta, deviance = point.theta, point.evaluation.deviance
        is_lost = taken >= PATIENCE and _is_running_away(objective, point)
        if is_lost or np.abs(theta).max() > RUNAWAY or _is_over(deadline):
            return point, taken
        step, decrease, _ = _newton_step(point.derivatives)
        if decrease < CONVERGED:
            return point, taken
        length = 1.0
        while length > 1e-8:
            tried = objective.evaluate(theta + length * step)
            # Near the minimum rounding hides a decrease: a rise of its size is let pass.
            allowed = deviance - 2e-4 * length * decrease + 1e-13 * abs(deviance)
            if tried is not None and tried.deviance <= allowed:
                break
            length *= 0.35
        else:
            return point, taken
        theta = theta + length * step
        point = _Point(theta, tried, objective.derivatives(theta, tried))
    return point, max_steps


def _is_running_away(objective: Objective, point: _Point) -> bool:
    """Whether the residual variance goes to zero beside the random effects, or that of one rater does."""
    psi = objective.psi(point.theta)
    return bool(
        np.abs(point.theta).max() > RUNAWAY
        or point.evaluation.s2 < 1e-6
        or (len(psi) and np.abs(psi).max() > 6.0)
    )


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.perf_counter() > deadline


def _newton_step(derivatives: Derivatives) -> tuple[Array, float, float]:
    """Step -|H|^-1 g, the decrease g'|H|^-1 g / 2 that it promises, and H's smallest eigenvalue / largest."""
    w, U = linalg.eigh(derivatives.hessian)
    largest = float(np.abs(w).max())
    if largest == 0.0:
        return np.zeros_like(w), 0.0, 0.0
    g = U.T @ derivatives.gradient
    scaled = g / np.maximum(np.abs(w), 1e-7 * largest)
    return -U @ scaled, 0.5 * float(g @ scaled), float(w[0]) / largest


def _way_down(objective: Objective, point: _Point) -> Array | None:
    """A theta of lower deviance, along a negative eigenvector of some level's d dev/dT; None at a minimum."""
    factors, psi = objective.factors(point.theta), objective.psi(point.theta)
    deviance = point.evaluation.deviance
    gradients = objective.covariance_gradients(point.evaluation)
    for i, (level, Lambda, G) in enumerate(zip(objective.levels, factors, gradients, strict=True)):
        w, U = linalg.eigh(G if level.shape.correlated else np.diag(np.diag(G)))
        if w[0] > -1e-9 * objective.statistics.n_rows:
            continue
        for size in 10.0 ** -np.arange(7):
            grown = factor_of(Lambda @ Lambda.T + size * np.outer(U[:, 0], U[:, 0]))
            tried_theta = objective.theta([*factors[:i], grown, *factors[i + 1 :]], psi)
            tried = objective.evaluate(tried_theta)
            if tried is not None and tried.deviance < deviance - 1e-8 - 1e-12 * abs(deviance):
                return tried_theta
    return None


def _zero_if_negligible(objective: Objective, point: _Point) -> _Point:
    """The point with small directions of each Lambda set to exact zeros where the deviance agrees."""
    theta, psi = point.theta, objective.psi(point.theta)
    deviance = point.evaluation.deviance
    allowed = deviance + 1e-9 + 1e-13 * abs(deviance)
    for i, level in enumerate(objective.levels):
        factors = objective.factors(theta)
        for smaller in _smaller_ranks(factors[i], correlated=level.shape.correlated):
            tried_theta = objective.theta([*factors[:i], smaller, *factors[i + 1 :]], psi)
            tried = objective.evaluate(tried_theta)
            if tried is not None and tried.deviance <= allowed:
                theta = tried_theta
                break
    return point if theta is point.theta else _point(objective, theta) or point


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


def _with_positive_diagonals(objective: Objective, point: _Point) -> _Point | None:
    """The same T with each diagonal element of Lambda >= 0."""
    factors = objective.factors(point.theta)
    if all((np.diag(L) >= 0).all() for L in factors):
        return point
    flipped = [L * np.where(np.diag(L) < 0, -1.0, 1.0) for L in factors]
    return _point(objective, objective.theta(flipped, objective.psi(point.theta)))
