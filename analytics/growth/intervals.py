"""Intervals of SDs, correlations and sigma: by the profile likelihood, and Wald intervals on other scales.

The deviance that is not profiled over sigma, as a function of theta and kappa = 1 / sigma, follows from the
profiled one (in the working coding and scale of `deviance`):

    D(theta, kappa) = dev(theta) + dof (w - 1 - log w),   w = s2(theta) kappa^2

A quantity is held at h by a linear map (theta, kappa) = a + A x, with a and A depending on h, of parameters x
that stay free:

    sigma         kappa = 1 / h
    SD            Lambda[0, 0] = h kappa                      of the coefficient that comes first
    correlation   Lambda[1, :2] = s (h, sqrt(1 - h^2))        of the two that come first, with s > 0 free

and its profile D*(h) = min over x of D rises above the deviance of the fit by the chi-square quantile at the
limits (Bates, Maechler, Bolker & Walker 2015, J Stat Softw 67(1), sec. 5.1).  The maps hold at an SD of 0 and
a correlation of +-1 as well: where D* stays below the quantile up to that edge, the edge is the limit.
Coefficients are made the first by b = R^-1 b_working = L O b_working, L lower triangular and O a rotation.

Wald intervals are symmetric in log SD and in Fisher's z = atanh(correlation) (Pinheiro & Bates 2000,
Mixed-Effects Models in S and S-PLUS, sec. 2.4): covariance 2 H^-1 with H the exact Hessian in (theta, sigma).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from scipy import linalg, optimize, special

from .covariance import Array, change_coding
from .engine import Estimate
from .errors import SpecError
from .objective import Objective

Kind = Literal["sd", "corr", "sigma"]
Method = Literal["profile", "wald"]
Value = tuple[float, Array, Array]

# A profile may lie below the deviance of the fit by rounding alone.
ROUNDING = 1e-6
# Decrease that a further Newton step promises when the free parameters count as found.
FOUND = 1e-8
MAX_STEPS = 100
LONGEST = 2.0
# Where Lambda has a zero the deviance has no slope to leave it by: searches start off the zeros.
OFF_ZERO = 1e-2
WIDER = 1.5


@dataclass(frozen=True)
class Interval:
    """Estimate and limits of one quantity, SDs in units of the outcome.

    `terms` holds one name for an SD, two for a correlation and none for sigma, whose `group` is None.
    `at_boundary`: a limit is 0.0 (SD), -1.0 or 1.0 (correlation), an edge that the data do not rule out.  A
    number that does not exist is None, and `message` says why.
    """

    kind: Kind
    group: str | None
    terms: tuple[str, ...]
    estimate: float | None
    lower: float | None
    upper: float | None
    level: float
    method: Method
    at_boundary: bool
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def profile_intervals(estimate: Estimate, level: float = 0.95) -> tuple[Interval, ...]:
    """Profile likelihood intervals of each SD and correlation, level by level, and of sigma.

    By the criterion of the fit: lme4's `confint(method = "profile")` for ML, its restricted twin for REML.
    Raises SpecError for a fit without estimates, ValueError for a level that is not between 0 and 1.
    """
    return tuple(_by_profile(estimate, blank) for blank in _blanks(estimate, level, "profile"))


def wald_intervals(estimate: Estimate, level: float = 0.95) -> tuple[Interval, ...]:
    """The same quantities from the curvature at the estimate: at once, but good only far from the edges.

    None where an SD is within its own error of zero.  Raises as `profile_intervals`.
    """
    return tuple(_by_curvature(estimate, blank) for blank in _blanks(estimate, level, "wald"))


def _blanks(estimate: Estimate, level: float, method: Method) -> Iterator[Interval]:
    """One interval per quantity, without limits."""
    result = estimate.result
    if not result.is_fitted:
        raise SpecError(f"no intervals from a fit with status {result.status!r}: {result.message}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")

    def blank(kind: Kind, group: str | None, terms: tuple[str, ...], value: float | None) -> Interval:
        return Interval(kind, group, terms, value, None, None, level, method, False, "")

    for row, term in zip(result.random, estimate.spec.random, strict=True):
        for name, sd in zip(row.terms, row.sd, strict=True):
            yield blank("sd", row.group, (name,), sd)
        for i in range(1, len(row.terms)) if term.correlated else ():
            for j in range(i):
                yield blank("corr", row.group, (row.terms[j], row.terms[i]), row.corr[i][j])
    yield blank("sigma", None, (), result.sigma)


def _place(estimate: Estimate, interval: Interval) -> tuple[int, list[int]]:
    """Number of the level and of the coefficients in it; sigma has none, and is put with the first level."""
    for k, row in enumerate(estimate.result.random):
        if row.group == interval.group:
            return k, [row.terms.index(term) for term in interval.terms]
    return 0, []


class _NoLimit(Exception):
    """A limit does not exist or was not found; the text says why."""


def _by_profile(estimate: Estimate, blank: Interval) -> Interval:
    design, _, _ = estimate.parts
    if blank.estimate is None:
        return replace(blank, message="the SD of a coefficient is zero: there is no correlation")
    scale = 1.0 if blank.kind == "corr" else design.scale
    profile = _Profile(estimate, blank)
    quantile = float(special.chdtri(1, 1 - blank.level))
    edges = {"sd": (0.0, None), "corr": (-1.0, 1.0), "sigma": (None, None)}[blank.kind]
    limits: list[float | None] = []
    messages: list[str] = []
    for edge, factor in zip(edges, (1 / WIDER, WIDER), strict=True):
        try:
            limits.append(scale * _limit(profile, blank.estimate / scale, quantile, edge, factor))
        except _NoLimit as reason:
            limits.append(None)
            messages.append(str(reason))
    return replace(
        blank,
        lower=limits[0],
        upper=limits[1],
        at_boundary=any(
            limit is not None and limit == edge for limit, edge in zip(limits, edges, strict=True)
        ),
        message="; ".join(dict.fromkeys(messages)),
    )


def _limit(profile: _Profile, middle: float, quantile: float, edge: float | None, factor: float) -> float:
    """Where D* has risen by `quantile`: up to `edge`, or that edge; without one, by ever larger factors."""

    @cache
    def excess(h: float) -> float:
        # The root of the rise is nearly linear in h, which is what a secant wants.
        return float(np.sqrt(profile.rise(h)) - np.sqrt(quantile))

    small = profile.small
    if edge is not None:
        outside = edge
        if excess(edge) <= 0:
            return edge
    else:
        outside = max(middle, small) * factor
        while excess(outside) <= 0:
            if not 1e-9 * small < outside < 1e9 * small:
                raise _NoLimit("the likelihood hardly changes however far the value goes")
            outside *= factor
    if excess(middle) >= 0:
        raise _NoLimit("the search with the value held does not find back to the estimate")
    return float(optimize.brentq(excess, middle, outside, xtol=1e-7 * max(abs(middle), small)))


class _Profile:
    """The profile D* of one quantity around a fit, in working units.

    `x` are the free parameters of the fit: (theta, kappa) without the one at `dropped`, which the map sets,
    and for a correlation with s in the place of Lambda[1, 0].  `corner`, `below` and `second` are the places
    in theta of Lambda[0, 0], Lambda[1, 0] and Lambda[1, 1].  `small`: a small value of an SD.
    """

    def __init__(self, estimate: Estimate, of: Interval) -> None:
        _, objective, found = estimate.parts
        k, at = _place(estimate, of)
        self.kind = of.kind
        self.objective, theta, self.corner, self.L = _with_first(objective, found.theta, k, at)
        self.below = self.corner + 1
        self.second = self.corner + objective.levels[k].shape.q
        self.lowest = found.evaluation.deviance
        s = float(np.sqrt(found.evaluation.s2))
        self.small = 0.01 * s * abs(float(self.L[0, 0]))

        x = np.append(theta, 1 / s)
        cells = [cell for level in objective.levels for cell in level.shape.cells]
        is_diagonal, is_positive = np.zeros((2, len(x)), dtype=bool)
        is_diagonal[: len(cells)] = [i == j for i, j in cells]
        is_positive[-1] = True
        if self.kind == "corr":
            is_positive[[self.corner, self.below]] = True
            row = self.L[1, 0] * x[self.corner] + self.L[1, 1] * x[self.below]
            x[self.below] = np.hypot(row, self.L[1, 1] * x[self.second])
        self.dropped = {"sd": self.corner, "corr": self.second, "sigma": len(x) - 1}[self.kind]
        x[(is_diagonal | is_positive) & (np.abs(x) < OFF_ZERO)] = OFF_ZERO
        self.x = np.delete(x, self.dropped)
        self.is_positive = np.delete(is_positive, self.dropped)

    def rise(self, h: float) -> float:
        """D*(h) less the deviance of the fit."""
        a, A = self._map(h)
        z = self.x.copy()
        z[self.is_positive] = np.log(z[self.is_positive])
        rise = _least(lambda z: self._deviance(z, a, A), z) - self.lowest
        if rise < -ROUNDING * max(1.0, 1e-6 * abs(self.lowest)):
            raise _NoLimit("the likelihood is higher away from the estimate: fit again, from other starts")
        return max(rise, 0.0)

    def _map(self, h: float) -> tuple[Array, Array]:
        """a and A of the head."""
        n = len(self.x) + 1
        a, A = np.zeros(n), np.eye(n)
        A[self.dropped] = 0.0
        if self.kind == "sigma":
            a[-1] = 1 / h
        elif self.kind == "sd":
            A[self.corner, -1] = h / self.L[0, 0]
        else:
            A[self.below, [self.corner, self.below]] = np.array([-self.L[1, 0], h]) / self.L[1, 1]
            A[self.second, self.below] = np.sqrt(1 - h**2) / self.L[1, 1]
        return a, np.delete(A, self.dropped, axis=1)

    def _deviance(self, z: Array, a: Array, A: Array) -> Value:
        """D, its gradient and its Hessian in z, which is x with the logarithm of what is positive."""
        x = np.where(self.is_positive, np.exp(np.clip(z, -50, 50)), z)
        v = a + A @ x
        theta, kappa = v[:-1], float(v[-1])
        ev = self.objective.evaluate(theta)
        if ev is None or not np.isfinite(ev.deviance):
            return np.inf, z, np.eye(len(z))
        # The derivatives in theta hold at any sigma, not only at the one of least deviance.
        der = self.objective.derivatives(theta, replace(ev, s2=kappa**-2))
        w = ev.s2 * kappa**2
        cross = -der.slope_sigma / kappa**2
        H = np.block(
            [
                [der.hessian_fixed_sigma, cross[:, None]],
                [cross[None, :], np.array([[2 * ev.dof * (w + 1) / kappa**2]])],
            ]
        )
        gradient = A.T @ np.append(der.gradient, 2 * ev.dof * (w - 1) / kappa)
        dx = np.where(self.is_positive, x, 1.0)
        hessian = dx[:, None] * (A.T @ H @ A) * dx
        hessian += np.diag(np.where(self.is_positive, x * gradient, 0.0))
        return ev.deviance + ev.dof * (w - 1 - float(np.log(w))), dx * gradient, hessian


def _with_first(
    objective: Objective, theta: Array, k: int, at: list[int]
) -> tuple[Objective, Array, int, Array]:
    """The objective and theta with coefficients `at` of level k first, the place of Lambda[0, 0], and L."""
    level, part = objective.levels[k], objective.slices[k]
    if not at:
        return objective, theta, part.start, np.eye(1)
    inverse = linalg.inv(level.R)
    if not level.shape.correlated:
        return objective, theta, part.start + at[0], inverse[at[0], at[0]] * np.eye(1)
    order = at + [i for i in range(level.shape.q) if i not in at]
    turn, upper = np.asarray(linalg.qr(inverse[order].T), dtype=np.float64)
    signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
    turn, L = turn * signs, upper.T * signs
    theta = theta.copy()
    theta[part] = level.shape.theta(change_coding(turn.T, level.shape.factor(theta[part])))
    levels = tuple(replace(lv, P=lv.P @ turn) if lv is level else lv for lv in objective.levels)
    return Objective(objective.statistics, levels, reml=objective.reml), theta, part.start, L[:2, :2]


def _least(function: Callable[[Array], Value], z: Array) -> float:
    """Least value near z, by Newton steps with the eigenvalues of the Hessian made positive."""
    value, gradient, hessian = function(z)
    for _ in range(MAX_STEPS):
        roots, U = linalg.eigh(hessian)
        size, along = np.abs(roots), U.T @ gradient
        scaled = along / np.maximum(size, 1e-10 * size.max())
        decrease = float(along @ scaled) / 2
        if decrease < FOUND:
            return value
        step = -U @ scaled
        length = min(1.0, LONGEST / float(np.abs(step).max()))
        tried = function(z + length * step)
        while tried[0] > value - 1e-4 * length * decrease and length > 1e-8:
            length *= 0.35
            tried = function(z + length * step)
        if tried[0] >= value:
            break
        z, (value, gradient, hessian) = z + length * step, tried
    raise _NoLimit("the other parameters could not be found with the value held")


def _by_curvature(estimate: Estimate, blank: Interval) -> Interval:
    """Limits taken back from log SD, log sigma or atanh(correlation)."""
    value, (k, at) = blank.estimate, _place(estimate, blank)
    if not value or (blank.kind == "corr" and abs(value) == 1):
        return replace(blank, message="the estimate is on the edge: take the profile interval")
    covariance = _covariance(estimate)
    if covariance is None:
        return replace(blank, message="the likelihood is flat in some direction: take the profile interval")

    def half(kind: Kind, at: list[int]) -> float:
        slope = _slope(estimate, kind, k, at)
        return float(special.ndtri((1 + blank.level) / 2) * np.sqrt(slope @ covariance @ slope))

    # half of log SD is that of the SD itself, over the SD: from 1 on, the SD's own interval holds zero.
    if any(half("sd", [i]) >= 1 for i in at):
        return replace(blank, message="an SD is within its error of zero: take the profile interval")
    width = half(blank.kind, at)
    if blank.kind == "corr":
        z = np.arctanh(value)
        return replace(blank, lower=float(np.tanh(z - width)), upper=float(np.tanh(z + width)))
    return replace(blank, lower=value * float(np.exp(-width)), upper=value * float(np.exp(width)))


def _covariance(estimate: Estimate) -> Array | None:
    """2 H^-1 (m + 1, m + 1) in (theta, sigma), or None where H is not positive definite."""
    _, _, found = estimate.parts
    ev, der = found.evaluation, found.derivatives
    H = np.block(
        [
            [der.hessian_fixed_sigma, der.slope_sigma[:, None]],
            [der.slope_sigma[None, :], np.array([[4 * ev.dof / ev.s2]])],
        ]
    )
    roots = linalg.eigvalsh(H)
    return 2 * linalg.inv(H) if roots[0] > 1e-8 * roots[-1] else None


def _slope(estimate: Estimate, kind: Kind, k: int, at: list[int]) -> Array:
    """Derivative (m + 1,) in (theta, sigma) of log SD, atanh(correlation) or log sigma."""
    _, objective, found = estimate.parts
    slope = np.zeros(objective.n_theta + 1)
    if kind != "corr":
        slope[-1] = 1 / np.sqrt(found.evaluation.s2)
    if kind == "sigma":
        return slope
    level, part = objective.levels[k], objective.slices[k]
    inverse = linalg.inv(level.R)
    factor = inverse @ objective.factors(found.theta)[k]
    T = factor @ factor.T
    dT = np.array([inverse @ E @ factor.T for E in level.shape.unit_factors()])
    dT = dT + dT.transpose(0, 2, 1)
    of_log_sd = [dT[:, i, i] / (2 * T[i, i]) for i in at]
    if kind == "sd":
        slope[part] = of_log_sd[0]
    else:
        i, j = at
        size = np.sqrt(T[i, i] * T[j, j])
        corr = T[i, j] / size
        slope[part] = (dT[:, i, j] / size - corr * (of_log_sd[0] + of_log_sd[1])) / (1 - corr**2)
    return slope
