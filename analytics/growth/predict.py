"""The expected course of one therapy: what its next rating should be, given its earlier ones.

For a therapy of a therapist whose other patients are not used, a rating at time t is

    y(t) = x(t)'beta + x(t)'b + e,   x(t) = (1, t)',   b ~ N(0, T),   e ~ N(0, sigma^2)

with T the sum of the levels' covariance matrices.  Given ratings y_o at times t_o < t, with X_o their rows
x(t_o)', V = X_o T X_o' + sigma^2 I, v = X_o T x(t) and w = V^-1 v,

    mean      x'beta + w'(y_o - X_o beta)
    variance  x'T x + sigma^2 - v'V^-1 v + d' Cov(beta) d,   d = x - X_o'w

the best linear unbiased prediction of Henderson (1975, Biometrics 31, 423-447) for a new rating, with beta
known from other data; without earlier ratings d is x.  (Co)variances are taken as known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, special

from .covariance import Array
from .results import FitResult


@dataclass(frozen=True, eq=False)
class Course:
    """Prediction of a new rating at each of `times` (n,): mean and band, in units of the outcome."""

    times: Array
    mean: Array
    lower: Array
    upper: Array


def expected_course(
    result: FitResult,
    times: ArrayLike,
    observed_times: ArrayLike,
    observed_values: ArrayLike,
    level: float = 0.80,
) -> Course:
    """Prediction at each of `times` from this therapy's ratings strictly before it.

    So an expected value never rests on the rating that it is compared with.  `observed_times` and
    `observed_values` (m,) may come in any order; `level` is the probability that the band holds the rating.
    Raises ValueError if the result has no estimates, if its model has other effects than intercept and time,
    or if the arguments are not finite numbers of equal length.
    """
    beta, cov_beta, T, sigma = _parts(result)
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    t_obs = np.atleast_1d(np.asarray(observed_times, dtype=np.float64))
    y_obs = np.atleast_1d(np.asarray(observed_values, dtype=np.float64))
    if at.ndim != 1 or t_obs.shape != y_obs.shape or t_obs.ndim != 1:
        raise ValueError("times and observations must be one-dimensional, one value for each observed time")
    if not (np.isfinite(at).all() and np.isfinite(t_obs).all() and np.isfinite(y_obs).all()):
        raise ValueError("times and observed values must be finite numbers")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")

    mean, variance = np.empty(len(at)), np.empty(len(at))
    for i, t in enumerate(at):
        before = t_obs < t
        X = np.column_stack([np.ones(int(before.sum())), t_obs[before]])
        x = np.array([1.0, t])
        V = X @ T @ X.T + sigma**2 * np.eye(len(X))
        v = X @ T @ x
        w = linalg.solve(V, v, assume_a="pos") if len(X) else v
        d = x - X.T @ w
        mean[i] = x @ beta + w @ (y_obs[before] - X @ beta)
        variance[i] = x @ T @ x + sigma**2 - v @ w + d @ cov_beta @ d
    half = float(special.ndtri((1 + level) / 2)) * np.sqrt(variance)
    return Course(at, mean, mean - half, mean + half)


def _parts(result: FitResult) -> tuple[Array, Array, Array, float]:
    """beta (2,), Cov(beta) and T (2, 2) in the order intercept, time, and sigma; absent effects are zero."""
    if not result.is_fitted or result.sigma is None:
        raise ValueError(f"no expected course from a fit with status {result.status!r}")
    names = [row.term for row in result.fixed]
    slopes = {
        name for name in (*names, *(term for r in result.random for term in r.terms)) if name != "Intercept"
    }
    if len(slopes) > 1 or not all(name.isidentifier() for name in slopes):
        raise ValueError(
            f"an expected course needs a model of intercept and time alone, not {result.formula!r}"
        )
    place = {"Intercept": 0} | dict.fromkeys(slopes, 1)
    beta, cov_beta, T = np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2))
    fixed = [place[name] for name in names]
    beta[fixed] = [row.estimate for row in result.fixed]
    cov_beta[np.ix_(fixed, fixed)] = result.vcov_fixed
    for row in result.random:
        own = [place[name] for name in row.terms]
        T[np.ix_(own, own)] += np.array(row.cov)
    return beta, cov_beta, T, result.sigma
