"""Layer two: every analytic derivative is the difference quotient of what it derives."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.growth import GrowthSpec, LongData
from tests.growth.dense import Problem, simulated

RANDOM = {
    "correlated": ["1 + time | therapist", "1 + time | therapist:patient"],
    "uncorrelated": ["time || therapist", "time || therapist:patient"],
    "mixed": ["1 | therapist", "1 + time | therapist:patient"],
    "one level": ["1 + time | therapist"],
}


def problem_of(random: list[str], method: str) -> Problem:
    spec = GrowthSpec.from_formula("y ~ time * x", random, method=method)
    return Problem(LongData.from_columns(simulated(5, n_therapists=8, n_patients=3), spec), spec)


def thetas(n: int) -> list[np.ndarray]:
    inside = np.random.default_rng(0).uniform(0.2, 1.0, size=n)
    edge = inside.copy()
    edge[-1] = 0.0
    return [inside, edge]


def quotient(function, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences, one row per element of theta."""
    rows = []
    for unit in np.eye(len(theta)):
        rows.append((function(theta + step * unit) - function(theta - step * unit)) / (2 * step))
    return np.array(rows)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("random", RANDOM.values(), ids=RANDOM)
def test_gradient_is_the_difference_quotient_of_the_deviance(random, method):
    objective = problem_of(random, method).objective
    for theta in thetas(objective.n_theta):
        exact = objective.gradient(theta, objective.evaluate(theta))
        np.testing.assert_allclose(
            exact, quotient(lambda t: objective.evaluate(t).deviance, theta), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("random", RANDOM.values(), ids=RANDOM)
def test_hessian_is_the_difference_quotient_of_the_gradient(random, method):
    objective = problem_of(random, method).objective
    for theta in thetas(objective.n_theta):
        exact = objective.derivatives(theta, objective.evaluate(theta)).hessian
        np.testing.assert_allclose(
            exact,
            quotient(lambda t: objective.gradient(t, objective.evaluate(t)), theta),
            rtol=1e-6,
            atol=1e-5,
        )


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_derivatives_at_fixed_sigma_are_difference_quotients(method):
    """dev(theta, sigma) = profiled dev + dof (log(sigma^2 / s2) + s2 / sigma^2 - 1)."""
    objective = problem_of(RANDOM["correlated"], method).objective
    theta = thetas(objective.n_theta)[0]
    ev = objective.evaluate(theta)
    sigma = np.sqrt(ev.s2)

    def slope_theta(t: np.ndarray, at: float) -> np.ndarray:
        def deviance(inner: np.ndarray) -> float:
            e = objective.evaluate(inner)
            return e.deviance + e.dof * (np.log(at**2 / e.s2) + e.s2 / at**2 - 1)

        return quotient(deviance, t, 1e-4)

    exact = objective.derivatives(theta, ev)
    np.testing.assert_allclose(
        exact.hessian_fixed_sigma,
        quotient(lambda t: slope_theta(t, sigma), theta, 1e-4),
        rtol=1e-4,
        atol=1e-3,
    )
    np.testing.assert_allclose(
        exact.slope_sigma,
        (slope_theta(theta, sigma + 1e-5) - slope_theta(theta, sigma - 1e-5)) / 2e-5,
        rtol=1e-4,
        atol=1e-3,
    )


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_derivative_of_the_fixed_effects_covariance_is_its_difference_quotient(method):
    objective = problem_of(RANDOM["mixed"], method).objective
    theta = thetas(objective.n_theta)[0]
    ev = objective.evaluate(theta)
    exact = ev.C @ objective.derivatives(theta, ev).Y @ ev.C

    scale = np.abs(exact).max()
    np.testing.assert_allclose(
        exact, quotient(lambda t: objective.evaluate(t).C, theta), rtol=1e-6, atol=1e-7 * scale
    )
