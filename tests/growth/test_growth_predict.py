"""Expected courses are Gaussian conditioning and hold what they promise; conditional modes are lme4's."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, SpecError, expected_course, fit
from analytics.growth.engine import Estimate, estimate
from analytics.growth.inference import infer
from analytics.growth.modes import conditional_modes, therapist_effects
from analytics.growth.predict import population_course, therapy_course
from analytics.growth.rows import categories
from analytics.growth.times import Piecewise
from tests.growth.dense import frame, models, simulated, spec_of

TWO_LEVELS = ["1 + time | therapist", "1 + time | therapist:patient"]
TIMES = (0.0, 1.0, 2.0, 3.0, 4.0)
WITH_MODES = [
    (dataset, model, method)
    for dataset in ("cohort_s2", "early", "orthodont", "oxboys", "pixel", "sleepstudy", "wafer")
    for model, entry in models(dataset).items()
    for method, reference in entry["fits"].items()
    if "blup_first15" in reference
]


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


@pytest.mark.parametrize("with_variances", [False, True])
def test_a_therapy_s_own_ratings_are_expected_at_once_as_one_by_one(with_variances: bool):
    """One factorisation for all of them against a solution for each."""
    result = growth_fit()
    t, y = np.array([0.0, 1.0, 2.5, 3.0, 6.0]), np.array([4.1, 4.4, 5.9, 3.2, 5.0])
    together = expected_course(result, t, t, y, with_variances=with_variances)
    for i, time in enumerate(t):
        alone = expected_course(result, [time], t, y, with_variances=with_variances)
        assert together.mean[i] == pytest.approx(alone.mean[0], rel=1e-12)
        assert together.sd[i] == pytest.approx(alone.sd[0], rel=1e-10)
        assert together.n_ratings[i] == alone.n_ratings[0] == i
    assert result.vcov_variances
    assert with_variances == bool(together.sd[-1] > expected_course(result, t, t, y).sd[-1])


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


def weights(T: np.ndarray, variance: float, t: float, t_obs: np.ndarray) -> np.ndarray:
    """Of earlier ratings in the prediction of a new one, both levels' T summed."""
    Z, z = np.column_stack([np.ones(len(t_obs)), t_obs]), np.array([1.0, t])
    return np.linalg.solve(Z @ T @ Z.T + variance * np.eye(len(t_obs)), Z @ T @ z)


def test_a_course_that_allows_for_the_variances_is_wider_by_what_their_errors_do_to_the_weights():
    """The weights' derivatives by differences, element by element of both T and of sigma^2."""
    result = growth_fit()
    T, C = sum(np.array(level.cov) for level in result.random), np.array(result.vcov_variances)
    t, t_obs, y_obs = 4.0, np.array([0.0, 1.0, 2.5]), [4.1, 4.4, 5.9]
    h = 1e-5
    elements = [np.array(E) for E in ([[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]])] * 2
    slopes = [
        (weights(T + h * E, result.sigma**2, t, t_obs) - weights(T - h * E, result.sigma**2, t, t_obs))
        / (2 * h)
        for E in elements
    ]
    more, less = (weights(T, result.sigma**2 + step, t, t_obs) for step in (h, -h))
    dw = np.array([*slopes, (more - less) / (2 * h)])
    Z = np.column_stack([np.ones(3), t_obs])
    A = Z @ T @ Z.T + result.sigma**2 * np.eye(3)

    plain, wider = (
        expected_course(result, [t], t_obs, y_obs, with_variances=allows) for allows in (False, True)
    )
    np.testing.assert_array_equal(plain.mean, wider.mean)
    assert wider.sd[0] ** 2 - plain.sd[0] ** 2 == pytest.approx(np.sum(C * (dw @ A @ dw.T)), rel=1e-5)


def test_without_earlier_ratings_or_without_their_covariance_the_variances_add_nothing():
    result = growth_fit()
    older = FitResult.from_dict({k: v for k, v in result.to_dict().items() if k != "vcov_variances"})
    assert older.vcov_variances == ()
    for fitted, observed in ((result, []), (older, [4.0])):
        times = [0.0] * len(observed)
        plain, asked = (
            expected_course(fitted, [2.0], times, observed, with_variances=allows) for allows in (False, True)
        )
        np.testing.assert_array_equal(plain.sd, asked.sd)


@pytest.mark.slow
def test_the_covariance_of_the_variances_is_how_far_they_scatter_over_studies():
    """100 studies of 60 therapists: SDs of the estimates against those that the fits state."""
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    estimates, stated = [], []
    for seed in range(100):
        result = fit(LongData.from_columns(simulated(seed, n_therapists=60, times=TIMES), spec), spec)
        cells = [np.array(level.cov)[[0, 1, 1], [0, 0, 1]] for level in result.random]
        estimates.append([*np.concatenate(cells), result.sigma**2])
        stated.append(np.sqrt(np.diag(result.vcov_variances)))
    # The relative error of an SD from 100 draws is 1 / sqrt(200) = 0.07.
    np.testing.assert_allclose(np.median(stated, axis=0), np.std(estimates, axis=0, ddof=1), rtol=0.25)


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


@pytest.mark.parametrize("key", WITH_MODES, ids="-".join)
def test_conditional_modes_and_their_variances_are_those_of_lme4(key):
    """R: ranef(fit, condVar = TRUE) and attr(., "postVar")."""
    dataset, model, method = key
    entry = models(dataset)[model]
    spec = spec_of(entry["formula"], method=method, df="wald")
    est = estimate(LongData.from_columns(frame(dataset), spec), spec)
    found = {level.group: level for level in conditional_modes(est)}
    scale = float(np.nanstd(frame(dataset)[spec.outcome]))

    for row in entry["fits"][method]["blup_first15"]:
        level = found[row["group"]]
        at = [level.labels.index(tuple(label.split(":"))) for label in row["levels"]]
        assert level.terms == tuple(row["terms"])
        np.testing.assert_allclose(level.modes[at], row["blup"], atol=1e-6 * scale, rtol=0)
        if "cond_var" in row:
            np.testing.assert_allclose(level.variances[at], row["cond_var"], atol=1e-6 * scale**2, rtol=0)


@cache
def with_predictors() -> Estimate:
    """Four kinds of therapists, one predictor that varies between them, change that bends, a far origin."""
    rng = np.random.default_rng(5)
    sessions = np.array([1.0, 4, 8, 12, 20, 30])
    columns = simulated(31, n_therapists=24, n_patients=5, times=tuple(sessions / 10))
    session = np.tile(sessions, 120)
    columns["y"] = columns["y"] + 0.4 * columns["x"] + 0.3 * np.minimum(session, 8) / 10
    columns["school"] = np.array(["cbt", "psychodynamic", "systemic", "humanistic"])[columns["therapist"] % 4]
    columns |= CODING.columns(session)
    kept = rng.random(len(session)) < 0.8
    spec = GrowthSpec.from_formula(
        f"y ~ {CODING.fixed(['x', 'school'])}", ["1 | therapist", "1 + time | therapist:patient"]
    )
    kept_columns = {name: column[kept] for name, column in columns.items()}
    return estimate(LongData.from_columns(kept_columns, spec), spec)


CODING = Piecewise(origin=40, unit=10, knots=(8,))


def dense(est: Estimate) -> tuple[np.ndarray, dict, np.ndarray, np.ndarray]:
    """X (N, p), (Z, T / sigma^2) of the highest (True) and lowest level, V / sigma^2, and y - X beta."""
    data, result = est.data, est.result
    X = np.column_stack([column_by_hand(data, row.term) for row in result.fixed])
    n = len(data)
    V, blocks = np.eye(n), {}
    for units, is_high in zip(data.units, (True, False), strict=True):
        row = next(row for row in result.random if row.group == units.group)
        T = np.array(row.cov) / result.sigma**2
        unit = np.searchsorted(units.start, np.arange(n), side="right") - 1
        Z = np.column_stack([column_by_hand(data, term) for term in row.terms])
        wide = np.zeros((n, len(units), len(T)))
        wide[np.arange(n), unit] = Z
        blocks[is_high] = wide.reshape(n, -1), np.kron(np.eye(len(units)), T)
        V += blocks[is_high][0] @ blocks[is_high][1] @ blocks[is_high][0].T
    return X, blocks, V, data.columns["y"] - X @ np.array([row.estimate for row in result.fixed])


def column_by_hand(data: LongData, term: str) -> np.ndarray:
    out = np.ones(len(data))
    for factor in term.split(":"):
        if factor.startswith("school"):
            out = out * (data.columns["school"] == factor.removeprefix("school[T.").removesuffix("]"))
        elif factor != "Intercept":
            out = out * data.columns[factor]
    return out


def test_conditional_modes_are_those_of_the_inverse_of_the_whole_covariance_matrix():
    est = with_predictors()
    _, blocks, V, residual = dense(est)
    P = np.linalg.inv(V)

    for level, is_high in zip(conditional_modes(est), (True, False), strict=True):
        Z, T = blocks[is_high]
        n, q = level.modes.shape
        assert len(level.labels) == n
        np.testing.assert_allclose(level.modes.ravel(), T @ Z.T @ P @ residual, atol=1e-8)
        whole = est.result.sigma**2 * (T - T @ Z.T @ P @ Z @ T)
        of_units = whole.reshape(n, q, n, q)[np.arange(n), :, np.arange(n)]
        np.testing.assert_allclose(level.variances, of_units, atol=1e-8)


@cache
def with_two_effects() -> Estimate:
    """Intercept and slope of each therapist, with variances far apart."""
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS)
    columns = simulated(17, n_therapists=24, therapist_sd=(2.0, 0.4))
    return estimate(LongData.from_columns(columns, spec), spec)


@pytest.mark.parametrize("made", [with_predictors, with_two_effects])
def test_therapist_effects_from_all_ratings_are_the_conditional_modes(made):
    est = made()
    therapists = conditional_modes(est)[0]
    for k in (0, 7, 23):
        effects = therapist_effects(est.result, est.spec, est.data, therapists.labels[k])
        np.testing.assert_allclose(effects.mode, therapists.modes[k], atol=1e-9)
        np.testing.assert_allclose(effects.variance, therapists.variances[k], atol=1e-9)
    by_name = therapist_effects(est.result, est.spec, est.data, therapists.labels[23][0])
    assert (by_name.label, by_name.n_ratings) == (effects.label, effects.n_ratings)


def test_a_therapist_with_one_therapy_that_is_left_out_is_any_therapist():
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    columns = simulated(3)
    first = (columns["therapist"] > 0) | (columns["patient"] == 0)
    data = LongData.from_columns({name: column[first] for name, column in columns.items()}, spec)
    result = fit(data, spec)
    effects = therapist_effects(result, spec, data, "0", without=("0", "0"))

    assert effects.n_ratings == 0
    np.testing.assert_array_equal(effects.mode, [0, 0])
    np.testing.assert_allclose(effects.variance, result.random[0].cov)
    at = {"time": [0.0, 1.0]}
    one, other = (therapy_course(result, spec, at, axis="time", therapist=who) for who in (effects, None))
    np.testing.assert_allclose(one.upper, other.upper)


@pytest.mark.parametrize("use_therapist", [False, True])
def test_therapy_course_is_the_best_linear_prediction_from_the_whole_covariance_matrix(use_therapist):
    """Universal kriging: weights and variance from V of all ratings that may be used and the new one."""
    est = with_predictors()
    data, result, sigma2 = est.data, est.result, est.result.sigma**2
    label = data.units[1].labels[17]
    X, _, V, residual = dense(est)
    therapist, therapy = (
        np.searchsorted(units.start, np.arange(len(data)), side="right") - 1 for units in data.units
    )
    own = np.flatnonzero(therapy == 17)
    others = np.flatnonzero((therapist == therapist[own[0]]) & (therapy != 17)) if use_therapist else own[:0]
    session = 10 * data.columns["time"] + 40
    columns = {name: column[own] for name, column in data.columns.items()} | {"session": session[own]}
    effects = therapist_effects(result, est.spec, data, label[:1], without=label) if use_therapist else None
    course = therapy_course(
        result,
        est.spec,
        columns,
        columns,
        axis="session",
        level=0.9,
        therapist=effects,
        known=categories(est.spec, data),
    )

    assert len(own) >= 4
    assert len(others) > 10 or not use_therapist
    beta, cov = np.array([row.estimate for row in result.fixed]), np.array(result.vcov_fixed)
    for i, row in enumerate(own):
        used = np.append(others, own[session[own] < session[row]])
        A, a = sigma2 * V[np.ix_(used, used)], sigma2 * V[used, row]
        w = np.linalg.inv(A) @ a
        d = X[row] - X[used].T @ w
        variance = sigma2 * V[row, row] - a @ w + d @ cov @ d
        assert course.mean[i] == pytest.approx(X[row] @ beta + w @ residual[used], abs=1e-9)
        assert course.upper[i] - course.lower[i] == pytest.approx(2 * 1.6448536 * np.sqrt(variance), rel=1e-7)
        assert course.n_ratings[i] == (session[own] < session[row]).sum()
    words = f"{len(others)} ratings of other therapies of {label[0]}"
    assert (words in course.basis) == use_therapist


def test_the_path_for_intercept_and_time_is_the_general_one():
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    result = growth_fit()
    simple = expected_course(result, TIMES, [0.0, 2.0], [4.0, 5.0])
    general = therapy_course(
        result, spec, {"time": TIMES}, {"time": [2.0, 0.0], "y": [5.0, 4.0]}, axis="time"
    )
    np.testing.assert_allclose(general.mean, simple.mean, rtol=1e-13)
    np.testing.assert_allclose(general.sd, simple.sd, rtol=1e-13)
    assert general.basis == simple.basis
    empty = therapy_course(result, spec, {"time": TIMES}, {"time": [], "y": []}, axis="time")
    np.testing.assert_allclose(empty.mean, expected_course(result, TIMES, [], []).mean)


def test_one_value_stands_for_all_rows_and_another_category_is_another_course():
    est = with_predictors()
    known = categories(est.spec, est.data)
    assert known == {"school": ("cbt", "humanistic", "psychodynamic", "systemic")}

    def course(**own) -> np.ndarray:
        at = CODING.columns([4, 8, 20]) | {"session": [4, 8, 20], "x": 0.5, "school": "cbt"} | own
        return population_course(est.result, est.spec, at, axis="session", known=known).mean

    beta = {row.term: row.estimate for row in est.result.fixed}
    step = beta["school[T.systemic]"] + sum(
        beta[f"{name}:school[T.systemic]"] * column for name, column in CODING.columns([4, 8, 20]).items()
    )
    np.testing.assert_allclose(course(school="systemic") - course(), step, rtol=1e-9)
    np.testing.assert_allclose(course(x=[0.5, 0.5, 0.5]), course(), rtol=1e-14)


def test_numeric_categories_keep_their_contrasts():
    columns = simulated(8)
    columns["wave"] = columns["therapist"] % 3 * 1.0
    spec = GrowthSpec.from_formula("y ~ time + C(wave)", TWO_LEVELS)
    data = LongData.from_columns(columns, spec)
    result = fit(data, spec)
    at = {"time": 1.0, "wave": 2.0}
    course = population_course(result, spec, {**at, "time": [1.0]}, axis="time", known=categories(spec, data))
    beta = {row.term: row.estimate for row in result.fixed}
    assert course.mean[0] == pytest.approx(beta["Intercept"] + beta["time"] + beta["C(wave)[T.2.0]"])


def test_population_course_has_the_limits_of_its_fixed_effects():
    """At x = 0, time 0 the mean is the intercept: estimate, SE and limits are those of its row."""
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS)
    data = LongData.from_columns(simulated(21), spec)
    result = fit(data, spec)
    intercept = result.fixed[0]
    course = population_course(result, spec, {"time": [0.0, 2.0], "x": [0.0, 1.5]}, axis="time")

    assert result.df_method == "kenward-roger"
    assert course.mean[0] == pytest.approx(intercept.estimate)
    assert course.se[0] == pytest.approx(intercept.se)
    assert (course.lower[0], course.upper[0]) == pytest.approx((intercept.lower, intercept.upper))
    x = np.array([1, 2, 1.5, 3])
    assert course.mean[1] == pytest.approx(x @ [row.estimate for row in result.fixed])
    assert course.se[1] == pytest.approx(np.sqrt(x @ np.array(result.vcov_fixed) @ x))
    assert course.df[1] == min(row.df for row in result.fixed)
    quantile = stats.t.ppf(0.975, course.df[1])
    assert course.upper[1] - course.mean[1] == pytest.approx(quantile * course.se[1])
    assert f"t with {course.df.min():.1f} df" in course.basis


def test_population_course_takes_given_df_and_says_normal_where_there_are_none():
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS, df="wald")
    result = fit(LongData.from_columns(simulated(21), spec), spec)
    at = {"time": [0.0, 1.0]}
    normal = population_course(result, spec, at, axis="time", level=0.9)
    given = population_course(result, spec, at, axis="time", level=0.9, df=[4, np.inf])

    assert "normal quantiles" in normal.basis
    np.testing.assert_allclose((normal.upper - normal.mean) / normal.se, stats.norm.ppf(0.95))
    np.testing.assert_allclose(
        (given.upper - given.mean) / given.se, [stats.t.ppf(0.95, 4), stats.norm.ppf(0.95)]
    )


def test_with_df_of_its_row_the_mean_at_a_time_is_the_intercept_of_a_model_counted_from_there():
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    columns = simulated(21)
    kept = np.random.default_rng(4).random(len(columns["y"])) < 0.7
    columns = {name: column[kept] for name, column in columns.items()}
    est = estimate(LongData.from_columns(columns, spec), spec)
    design, objective, found = est.parts
    inference = infer(design, objective, found, spec.df, 12)
    course = population_course(est.result, spec, {"time": [0.0, 2.0]}, axis="time", df=inference.df)
    moved = fit(LongData.from_columns({**columns, "time": columns["time"] - 2}, spec), spec).fixed[0]

    assert course.df[1] == pytest.approx(moved.df, rel=1e-5)
    assert abs(course.df[1] / course.df[0] - 1) > 0.002
    assert (course.lower[1], course.upper[1]) == pytest.approx((moved.lower, moved.upper), rel=1e-6)


@pytest.mark.parametrize("share", [0.80, 0.95])
def test_the_range_of_new_therapies_holds_its_share_of_true_courses(share):
    """20,000 draws of beta, therapist and therapy from the fit: SE of the share 0.003."""
    est = with_predictors()
    rng = np.random.default_rng(77)
    at = CODING.columns([4, 30]) | {"session": [4, 30], "x": -1.0, "school": "cbt"}
    course = population_course(est.result, est.spec, at, axis="session", known=categories(est.spec, est.data))
    beta = rng.multivariate_normal(
        [row.estimate for row in est.result.fixed], est.result.vcov_fixed, size=20_000
    )
    names = [row.term for row in est.result.fixed]
    u, v = (rng.multivariate_normal(np.zeros(len(r.terms)), r.cov, size=20_000) for r in est.result.random)
    lower, upper = course.therapies(share)
    for i in range(2):
        values = {"Intercept": 1.0, "x": -1.0} | {name: at[name][i] for name in CODING.names}
        x = [np.prod([values.get(factor, 0.0) for factor in name.split(":")]) for name in names]
        true = beta @ x + u[:, 0] + v @ [1, at["time"][i]]
        assert np.mean((lower[i] <= true) & (true <= upper[i])) == pytest.approx(share, abs=0.009)


def test_bands_with_predictors_and_the_therapists_other_patients_hold_what_they_promise():
    """200 new therapists: the second therapy is predicted from the first; SE of the share at most 0.014."""
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS, df="wald")
    known = simulated(21, n_therapists=400, therapist_sd=(0.9, 0.3))
    new = simulated(99, n_therapists=200, n_patients=2, therapist_sd=(0.9, 0.3))
    result, data = fit(LongData.from_columns(known, spec), spec), LongData.from_columns(new, spec)
    inside, widths = {0.80: [], 0.95: []}, []
    for k in range(200):
        own = {name: new[name][8 * k + 4 : 8 * k + 8] for name in ("time", "x", "y")}
        first = therapist_effects(result, spec, data, str(k), without=(str(k), "1"))
        with_it, alone = (
            therapy_course(result, spec, own, own, axis="time", therapist=who) for who in (first, None)
        )
        widths.append(with_it.sd[0] / alone.sd[0])
        for level, shares in inside.items():
            band = replace(with_it, level=level)
            shares.append((band.lower <= own["y"]) & (own["y"] <= band.upper))

    for level, shares in inside.items():
        assert np.mean(shares) == pytest.approx(level, abs=0.03)
    assert np.max(widths) < 0.95


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"x": None}, DataError, "no column 'x'"),
        ({"session": None}, DataError, "no column 'session'"),
        ({"school": "gestalt"}, DataError, "'gestalt' is not a category of 'school'"),
        ({"x": [1.0, 2.0]}, DataError, "'x' must hold 3 values, or one"),
        ({"x": float("nan")}, DataError, "no finite value"),
        ({"session": [1, 2, np.inf]}, DataError, "finite"),
        ({"x": "high"}, SpecError, "pass the spec that was fitted"),
    ],
)
def test_rows_that_cannot_be_predicted_are_refused(change, error, words):
    est = with_predictors()
    at = CODING.columns([4, 8, 20]) | {"session": [4, 8, 20], "x": 0.5, "school": "cbt"} | change
    at = {name: value for name, value in at.items() if value is not None}
    with pytest.raises(error, match=words):
        population_course(est.result, est.spec, at, axis="session", known=categories(est.spec, est.data))
    with pytest.raises(error, match=words):
        therapy_course(est.result, est.spec, at, axis="session", known=categories(est.spec, est.data))


def test_text_without_its_categories_and_another_spec_are_refused():
    est = with_predictors()
    at = CODING.columns([4]) | {"session": [4], "x": 0.5, "school": "cbt"}
    with pytest.raises(SpecError, match="categories of its text predictors"):
        population_course(est.result, est.spec, at, axis="session")
    other = replace(est.spec, random=est.spec.random[::-1])
    with pytest.raises(SpecError, match="pass the spec that was fitted"):
        population_course(est.result, other, at, axis="session", known=categories(est.spec, est.data))


def test_modes_and_therapists_that_are_not_there_are_refused():
    est = with_predictors()
    with pytest.raises(DataError, match="no therapist '99'"):
        therapist_effects(est.result, est.spec, est.data, "99")
    with pytest.raises(DataError, match="no therapist:patient '0:99'"):
        therapist_effects(est.result, est.spec, est.data, "0", without=("0", "99"))
    one_level = GrowthSpec.from_formula("y ~ time", ["1 | therapist"])
    columns = simulated(21)
    data = LongData.from_columns(columns, one_level)
    with pytest.raises(SpecError, match="share nothing"):
        therapist_effects(fit(data, one_level), one_level, data, "0")
    flat = LongData.from_columns({**columns, "y": columns["y"] * 0 + 4}, one_level)
    with pytest.raises(ValueError, match="no_variation"):
        conditional_modes(estimate(flat, one_level))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"level": 1.0}, "level"), ({"df": 0}, "df must be positive"), ({"df": [3, -1]}, "df")],
)
def test_population_options_that_make_no_sense_are_refused(options, words):
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    with pytest.raises(DataError, match=words):
        population_course(growth_fit(), spec, {"time": [0.0, 1.0]}, axis="time", **options)
    course = population_course(growth_fit(), spec, {"time": [0.0, 1.0]}, axis="time")
    with pytest.raises(DataError, match="share"):
        course.therapies(1.0)
