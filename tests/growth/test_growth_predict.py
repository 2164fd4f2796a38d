"""The expected course is Gaussian conditioning, and its band holds what it promises."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from scipy import stats

from analytics.growth import FitResult, GrowthSpec, LongData, expected_course, fit
from tests.growth.dense import simulated

TWO_LEVELS = ["1 + time | therapist", "1 + time | therapist:patient"]
TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)


@cache
def growth_fit() -> FitResult:
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    return fit(LongData.from_columns(simulated(21, n_therapists=60, times=TIMES), spec), spec)


def brute_force(result: FitResult, t: float, t_obs: np.ndarray, y_obs: np.ndarray) -> tuple[float, float]:
    """Mean and variance of y(t) given y_obs, from the precision matrix of all ratings jointly.

    With beta ~ N(estimate, covariance) independent of these ratings, the best linear predictor that takes
    beta as estimated has the conditional weights given beta, and its error has this variance.
    """
    beta = np.array([row.estimate for row in result.fixed])
    T = sum(np.array(level.cov) for level in result.random)
    at = np.append(t_obs, t)
    X = np.column_stack([np.ones(len(at)), at])
    joint = X @ T @ X.T + result.sigma**2 * np.eye(len(at))
    precision = np.linalg.inv(joint)
    error = precision[-1] / precision[-1, -1]
    mean = X[-1] @ beta - error[:-1] @ (y_obs - X[:-1] @ beta)
    variance = error @ (joint + X @ np.array(result.vcov_fixed) @ X.T) @ error
    return float(mean), float(variance)


def test_course_is_the_conditional_distribution_of_a_new_rating():
    result = growth_fit()
    t_obs, y_obs = np.array([0.0, 1.0, 2.5]), np.array([4.1, 4.4, 5.9])
    course = expected_course(result, [0.5, 2.0, 4.0], t_obs, y_obs, level=0.9)

    z = stats.norm.ppf(0.95)
    for i, t in enumerate(course.times):
        before = t_obs < t
        mean, variance = brute_force(result, t, t_obs[before], y_obs[before])
        assert course.mean[i] == pytest.approx(mean, rel=1e-10)
        assert course.upper[i] - course.mean[i] == pytest.approx(z * np.sqrt(variance), rel=1e-10)
        assert course.mean[i] - course.lower[i] == pytest.approx(z * np.sqrt(variance), rel=1e-10)


def test_expected_value_does_not_know_the_rating_at_its_time_or_later_ones():
    result = growth_fit()
    times = np.array([0.0, 1.0, 2.0])
    one = expected_course(result, times, times, [4.0, 5.0, 6.0])
    other = expected_course(result, times, times, [4.0, 5.0, -60.0])
    changed_earlier = expected_course(result, times, times, [4.0, -50.0, 6.0])

    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.mean[:2], changed_earlier.mean[:2])
    assert one.mean[2] != changed_earlier.mean[2]


def test_without_ratings_the_course_is_that_of_the_population():
    result = growth_fit()
    course = expected_course(result, [0.0, 3.0], [], [])
    intercept, slope = (row.estimate for row in result.fixed)
    x = np.array([1.0, 3.0])
    total = sum(np.array(level.cov) for level in result.random) + np.array(result.vcov_fixed)

    np.testing.assert_allclose(course.mean, [intercept, intercept + 3 * slope])
    assert course.upper[1] - course.mean[1] == pytest.approx(
        1.2815515655 * np.sqrt(x @ total @ x + result.sigma**2)
    )


def test_order_of_the_observations_does_not_matter():
    result = growth_fit()
    one = expected_course(result, [4.0], [0.0, 1.0, 2.0], [4.0, 5.0, 7.0])
    other = expected_course(result, [4.0], [2.0, 0.0, 1.0], [7.0, 4.0, 5.0])
    np.testing.assert_allclose(one.mean, other.mean)


def test_stored_result_alone_is_enough():
    result = growth_fit()
    stored = FitResult.from_dict(json.loads(json.dumps(result.to_dict())))
    one, other = (expected_course(r, [1.0, 2.0], [0.0], [4.0]) for r in (result, stored))
    np.testing.assert_array_equal(one.lower, other.lower)


def test_band_of_80_percent_holds_80_percent_of_new_ratings():
    """600 new therapies of new therapists, five one-step-ahead predictions each: SE of the share 0.007."""
    result = growth_fit()
    new = simulated(99, n_therapists=600, n_patients=1, times=TIMES)
    y = new["y"].reshape(600, len(TIMES))
    inside = []
    for row in y:
        course = expected_course(result, TIMES, TIMES, row)
        inside.append((course.lower <= row) & (row <= course.upper))

    assert np.mean(inside) == pytest.approx(0.80, abs=0.025)


@pytest.mark.parametrize(
    ("formula", "random"),
    [("y ~ 1", ["1 | therapist", "1 | therapist:patient"]), ("y ~ time", ["1 | therapist"])],
)
def test_simpler_models_have_a_course_too(formula, random):
    spec = GrowthSpec.from_formula(formula, random)
    result = fit(LongData.from_columns(simulated(21), spec), spec)
    course = expected_course(result, [5.0], [0.0, 1.0], [7.0, 7.5])

    population = expected_course(result, [5.0], [], [])
    assert course.mean[0] > population.mean[0]
    assert course.upper[0] - course.lower[0] < population.upper[0] - population.lower[0]


@pytest.mark.parametrize("formula", ["y ~ time + x", "y ~ time * x"])
def test_model_with_predictors_is_refused(formula):
    spec = GrowthSpec.from_formula(formula, TWO_LEVELS)
    result = fit(LongData.from_columns(simulated(21), spec), spec)
    with pytest.raises(ValueError, match="intercept and time alone"):
        expected_course(result, [1.0], [], [])


def test_transformed_time_is_refused():
    spec = GrowthSpec.from_formula("y ~ log(time)", ["1 | therapist"])
    result = fit(LongData.from_columns(simulated(21, times=(1.0, 2.0, 3.0)), spec), spec)
    with pytest.raises(ValueError, match="intercept and time alone"):
        expected_course(result, [1.0], [], [])


def test_result_without_estimates_is_refused():
    spec = GrowthSpec.from_formula("y ~ time", ["1 | therapist"])
    columns = simulated(21)
    result = fit(LongData.from_columns({**columns, "y": columns["y"] * 0 + 4}, spec), spec)
    with pytest.raises(ValueError, match="no_variation"):
        expected_course(result, [1.0], [], [])


@pytest.mark.parametrize(
    ("times", "observed_times", "observed_values", "level"),
    [
        ([1.0], [0.0], [4.0, 5.0], 0.8),
        ([1.0], [0.0], [float("nan")], 0.8),
        ([float("inf")], [], [], 0.8),
        ([1.0], [], [], 1.0),
        ([1.0], [], [], 0.0),
        ([[1.0]], [], [], 0.8),
    ],
)
def test_arguments_that_make_no_sense_are_refused(times, observed_times, observed_values, level):
    with pytest.raises(ValueError, match=r"finite|one-dimensional|level"):
        expected_course(growth_fit(), times, observed_times, observed_values, level)
