"""Simulated cohorts have the moments of their truth, and power is counted as the closed forms say."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

from analytics.growth import DataError, FitResult, GrowthSpec, JointSpec, LongData, SpecError, fit, fit_joint
from analytics.growth.power import (
    Power,
    Proportion,
    Shown,
    fixed_effect_tests,
    joint_tests,
    power,
    study_seeds,
)
from analytics.growth.simulate import (
    Columns,
    Dropout,
    Form,
    Perspective,
    StudyDesign,
    Truth,
    covariance,
    rows_of,
    simulate,
    simulate_from_result,
)

SE = 4.5  # Monte Carlo standard errors within which one simulated moment must lie
PATIENT = Perspective("P", 5.2, 0.12, 0.5, {"x": (-0.3, 0.1)})
THERAPIST = Perspective("T", 4.8, 0.20, 0.4, {"x": (0.2, 0.0), "w": (0.1, -0.2)})
BOTH = Truth(
    (PATIENT, THERAPIST),
    covariance(
        (0.4, 0.15, 0.5, 0.2),
        [[1, -0.2, 0.4, 0], [-0.2, 1, 0.1, 0.5], [0.4, 0.1, 1, -0.1], [0, 0.5, -0.1, 1]],
    ),
    covariance(
        (0.7, 0.2, 0.5, 0.1),
        [[1, -0.3, 0.4, -0.1], [-0.3, 1, 0, 0.4], [0.4, 0, 1, -0.2], [-0.1, 0.4, -0.2, 1]],
    ),
    rho=0.35,
    predictor_corr=((1.0, 0.4), (0.4, 1.0)),
)
ONE = Truth((replace(PATIENT, effects={}),), ((0.16, 0.0), (0.0, 0.02)), ((0.49, -0.04), (-0.04, 0.04)))
GROWTH = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])


def cube(columns: Columns, truth: Truth, design: StudyDesign) -> np.ndarray:
    """Ratings as (patients, sessions, raters)."""
    return columns["y"].reshape(-1, len(design.sessions), len(truth.raters))


def close_moments(sample: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> None:
    """Sample (n, d) of independent normal rows has this mean and this covariance, to Monte Carlo error."""
    n = len(sample)
    z_mean = (sample.mean(axis=0) - mean) / np.sqrt(np.diag(cov) / n)
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n)
    z_cov = (np.cov(sample.T) - cov) / spread
    assert np.abs(z_mean).max() < SE
    assert np.abs(z_cov).max() < SE


def test_ratings_of_one_therapist_have_the_moments_of_the_truth():
    """Two patients of a therapist, both raters, three sessions: each mean and covariance of the twelve."""
    design = StudyDesign(20_000, 2, sessions=(3, 13, 28))
    y = cube(simulate(BOTH, design, 1), BOTH, design).reshape(20_000, 12)

    mean, cov = np.zeros(12), np.zeros((12, 12))
    u, v = np.array(BOTH.therapist_cov), np.array(BOTH.patient_cov)
    x_cov = np.array(BOTH.predictor_corr)
    cells = [(i, t, r) for i in range(2) for t in (0.0, 1.0, 2.5) for r in range(2)]
    for a, (i, t, r) in enumerate(cells):
        view = BOTH.perspectives[r]
        mean[a] = view.intercept + view.time * t
        for b, (i2, t2, r2) in enumerate(cells):
            z, z2 = np.zeros(4), np.zeros(4)
            z[2 * r : 2 * r + 2], z2[2 * r2 : 2 * r2 + 2] = (1, t), (1, t2)
            own, other = BOTH.perspectives[r].effects, BOTH.perspectives[r2].effects
            h = np.array([np.dot(own.get(k, (0, 0)), (1, t)) for k in ("x", "w")])
            h2 = np.array([np.dot(other.get(k, (0, 0)), (1, t2)) for k in ("x", "w")])
            cov[a, b] = z @ u @ z2 + h @ x_cov @ h2
            if i == i2:
                cov[a, b] += z @ v @ z2
                if t == t2:
                    cov[a, b] += view.sigma**2 if r == r2 else 0.35 * 0.5 * 0.4
    close_moments(y, mean, cov)


def test_residuals_of_both_raters_are_correlated_within_a_session_and_not_between_sessions():
    truth = replace(BOTH, therapist_cov=np.zeros((4, 4)), patient_cov=np.zeros((4, 4)))
    truth = replace(truth, perspectives=tuple(replace(v, effects={}) for v in truth.perspectives))
    truth = replace(truth, predictor_corr=None)
    design = StudyDesign(100, 200, sessions=(3, 13))
    y = cube(simulate(truth, design, 2), truth, design)

    patient, therapist = y[:, 0, 0], y[:, 0, 1]
    assert np.corrcoef(patient, therapist)[0, 1] == pytest.approx(0.35, abs=SE / np.sqrt(len(y)))
    assert np.corrcoef(patient, y[:, 1, 1])[0, 1] == pytest.approx(0, abs=SE / np.sqrt(len(y)))
    assert (patient.std(), therapist.std()) == pytest.approx((0.5, 0.4), rel=0.02)


def test_predictors_are_standardised_correlated_and_one_value_a_therapist():
    columns = simulate(BOTH, StudyDesign(20_000, 1, sessions=(3,)), 3)
    of_therapist = np.column_stack([rows_of(columns, "P")[name] for name in ("x", "w")])

    close_moments(of_therapist, np.zeros(2), np.array([[1, 0.4], [0.4, 1]]))
    small = pd.DataFrame(simulate(BOTH, StudyDesign(6, 3), 3))
    assert (small.groupby("therapist")[["x", "w"]].nunique() == 1).all(axis=None)


def test_rows_are_the_planned_ratings_in_the_stated_coding_of_time():
    columns = simulate(BOTH, StudyDesign(2, (1, 2), sessions=(5, 15), origin=5, unit=20), 4)

    assert list(columns) == ["therapist", "patient", "session", "time", "rater", "y", "x", "w"]
    assert columns["therapist"].tolist() == [0] * 4 + [1] * 8
    assert columns["patient"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert columns["session"].tolist() == [5, 5, 15, 15] * 3
    assert columns["time"].tolist() == [0, 0, 0.5, 0.5] * 3
    assert columns["rater"].tolist() == ["P", "T"] * 6


def test_poisson_caseloads_have_their_mean_and_nobody_without_patients():
    columns = simulate(ONE, StudyDesign(5000, 3.5, sessions=(3,), caseload="poisson"), 5)
    caseloads = np.bincount(columns["therapist"])

    assert len(caseloads) == 5000 and caseloads.min() == 1
    assert caseloads.mean() == pytest.approx(3.5, abs=SE * np.sqrt(2.5 / 5000))
    assert caseloads.var() == pytest.approx(2.5, rel=0.1)


def test_long_data_takes_a_cohort_and_the_engine_finds_its_truth():
    columns = rows_of(simulate(BOTH, StudyDesign(400, 6), 6), "P")
    spec = replace(GROWTH, fixed="time * x")
    result = fit(LongData.from_columns(columns, spec), spec)

    truth = {"Intercept": 5.2, "time": 0.12, "x": -0.3, "time:x": 0.1}
    assert {row.term for row in result.fixed} == truth.keys()
    for row in result.fixed:
        assert abs(row.estimate - truth[row.term]) < 4 * row.se
        assert row.se < 0.05
    assert result.sigma == pytest.approx(0.5, rel=0.05)
    np.testing.assert_allclose(result.random[1].sd, np.sqrt(np.diag(BOTH.patient_cov))[:2], rtol=0.1)


def test_scores_lie_on_the_grid_of_the_items_and_pile_up_at_the_ceiling():
    form = Form(1, 5, 12)
    truth = replace(ONE, perspectives=(replace(ONE.perspectives[0], intercept=4.5, form=form),))
    y = simulate(truth, StudyDesign(200, 50, sessions=(3,)), 7)["y"]
    raw = simulate(
        replace(truth, perspectives=(replace(truth.perspectives[0], form=None),)),
        StudyDesign(200, 50, sessions=(3,)),
        7,
    )["y"]

    np.testing.assert_array_equal(np.rint(12 * y) / 12, y)
    assert (y.min() >= 1, y.max()) == (True, 5.0)
    between = (raw > 1) & (raw < 5)
    assert np.abs(y - raw)[between].max() <= 1 / 24 + 1e-12
    np.testing.assert_array_equal(y == 5, raw >= 5 - 1 / 24)
    assert Form(1, 5, None).record(np.array([0.2, 3.03, 5.5])).tolist() == [1, 3.03, 5]


def test_single_ratings_are_missing_in_the_stated_share_of_each_rater():
    truth = replace(BOTH, perspectives=(replace(PATIENT, missing=0.3), replace(THERAPIST, missing=0.1)))
    design = StudyDesign(500, 10)
    lost = np.isnan(cube(simulate(truth, design, 8), truth, design))
    whole = cube(simulate(BOTH, design, 8), truth, design)

    n = lost[..., 0].size
    assert lost[..., 0].mean() == pytest.approx(0.3, abs=SE * np.sqrt(0.21 / n))
    assert lost[..., 1].mean() == pytest.approx(0.1, abs=SE * np.sqrt(0.09 / n))
    assert lost.all(axis=2).mean() == pytest.approx(0.03, abs=SE * np.sqrt(0.03 * 0.97 / n))
    # Completely at random: what is lost is like what is left.
    lost_p, whole_p = lost[..., 0], whole[..., 0]
    assert stats.ttest_ind(whole_p[lost_p], whole_p[~lost_p]).pvalue > 1e-3


@pytest.mark.parametrize("rater", ["P", "T"])
def test_dropout_is_logistic_in_the_last_rating_and_blind_to_all_that_was_not_observed(rater):
    """Logistic regression of the end, after the first of two sessions, on what both rated there and on what
    both would have rated at the next: known, for the same seed without dropout gives it."""
    truth = replace(BOTH, perspectives=(replace(PATIENT, form=Form()), THERAPIST))
    design = StudyDesign(1500, 10, sessions=(3, 13))
    whole = cube(simulate(truth, design, 9), truth, design)
    cut = simulate(truth, replace(design, dropout=Dropout(0.2, -1.2, 5.0, rater)), 9)
    ended = np.isnan(cube(cut, truth, design)[:, 1]).all(axis=1)
    result = sm.Logit(ended, sm.add_constant(whole.reshape(-1, 4) - 5.0)).fit(disp=0)

    slopes = [-1.2, 0, 0, 0] if rater == "P" else [0, -1.2, 0, 0]
    assert np.abs((result.params - [np.log(0.2 / 0.8), *slopes]) / result.bse).max() < 3.5
    assert result.bse.max() < 0.1


def test_without_a_rating_at_the_last_session_the_one_before_it_decides():
    """The first rating is always there, later ones mostly not: those high at the start all stay."""
    truth = Truth(
        (Perspective("P", 5.0, 0.0, 1e-6, missing=0.5),), ((1.0, 0), (0, 0)), np.diag([1.0, 0]).tolist()
    )
    design = StudyDesign(1000, 2, dropout=Dropout(0.5, -1e6, 5.0))
    whole = cube(
        simulate(
            replace(truth, perspectives=(replace(truth.perspectives[0], missing=0),)),
            replace(design, dropout=None),
            10,
        ),
        truth,
        design,
    )[:, :, 0]
    planned = cube(simulate(truth, replace(design, dropout=None), 10), truth, design)[:, :, 0]
    y = cube(simulate(truth, design, 10), truth, design)[:, :, 0]

    first = np.argmax(~np.isnan(planned), axis=1)
    rated = ~np.isnan(planned).all(axis=1)
    high = rated & (whole[:, 0] > 5)
    low = rated & (whole[:, 0] < 5)
    after = np.arange(4) > first[:, None]
    assert np.isnan(y[low[:, None] & after]).all()
    # Before its first rating a therapy may end with the stated chance of one half; after it never.
    kept = high & ~np.isnan(y).all(axis=1)
    np.testing.assert_array_equal(np.isnan(y[kept]), np.isnan(planned[kept]))
    at_once = rated & (first == 1)
    stayed = ~np.isnan(y[at_once, 1])
    assert stayed.mean() == pytest.approx(0.5, abs=SE * 0.5 / np.sqrt(at_once.sum()))


def test_the_end_of_a_therapy_ends_the_ratings_of_both_and_changes_no_other_rating():
    design = StudyDesign(200, 5, sessions=(3, 8, 12, 20, 40))
    whole = cube(simulate(BOTH, design, 11), BOTH, design)
    cut = cube(simulate(BOTH, replace(design, dropout=Dropout(0.2, -1, 5, rater="T")), 11), BOTH, design)

    gone = np.isnan(cut)
    np.testing.assert_array_equal(gone[..., 0], gone[..., 1])
    assert (np.diff(gone[..., 0].astype(int), axis=1) >= 0).all()
    assert not gone[:, 0].any() and 0.2 < gone[:, -1].mean() < 0.9
    np.testing.assert_array_equal(cut[~gone], whole[~gone])


def test_a_seed_gives_one_cohort_and_another_seed_another():
    design = StudyDesign(5, 3, caseload="poisson", dropout=Dropout(0.1, -1, 5))
    once, again, other = (simulate(BOTH, design, seed)["y"] for seed in (12, 12, 13))

    np.testing.assert_array_equal(once, again)
    assert len(once) != len(other) or not np.array_equal(once, other, equal_nan=True)
    few, many = study_seeds(1, 2), study_seeds(1, 5)
    draws = [np.random.default_rng(seed).normal() for seed in (*few, *many)]
    assert draws[:2] == draws[2:4] and len(set(draws[2:])) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: replace(BOTH, therapist_cov=np.eye(2).tolist()),
        lambda: replace(ONE, patient_cov=((1.0, 0.0),)),
        lambda: replace(ONE, patient_cov=((1.0, 1.2), (1.2, 1.0))),
        lambda: replace(ONE, patient_cov=((-1e-6, 0.0), (0.0, 1.0))),
        lambda: replace(ONE, patient_cov=((1.0, 0.2), (0.1, 1.0))),
        lambda: replace(ONE, therapist_cov=((np.nan, 0.0), (0.0, 1.0))),
        lambda: replace(BOTH, rho=1.0),
        lambda: replace(BOTH, rho=-1.5),
        lambda: replace(BOTH, rho=np.nan),
        lambda: replace(ONE, rho=0.3),
        lambda: replace(ONE, perspectives=()),
        lambda: replace(BOTH, perspectives=(PATIENT, PATIENT)),
        lambda: replace(BOTH, predictor_corr=((1.0,),)),
        lambda: replace(BOTH, predictor_corr=((1.0, 1.3), (1.3, 1.0))),
        lambda: replace(BOTH, predictor_corr=((2.0, 0.4), (0.4, 1.0))),
        lambda: replace(PATIENT, rater=""),
        lambda: replace(PATIENT, sigma=0.0),
        lambda: replace(PATIENT, sigma=np.nan),
        lambda: replace(PATIENT, intercept=np.inf),
        lambda: replace(PATIENT, missing=1.0),
        lambda: replace(PATIENT, missing=-0.1),
        lambda: replace(PATIENT, effects={"time": (0.1, 0.1)}),
        lambda: replace(PATIENT, effects={"x y": (0.1, 0.1)}),
        lambda: replace(PATIENT, effects={"x": (0.1,)}),
        lambda: replace(PATIENT, effects={"x": (0.1, np.nan)}),
        lambda: Form(7, 1),
        lambda: Form(1, 7, 0),
        lambda: Dropout(0.0, -1, 5),
        lambda: Dropout(1.0, -1, 5),
        lambda: Dropout(0.1, np.nan, 5),
        lambda: StudyDesign(0, 4),
        lambda: StudyDesign(5, 0),
        lambda: StudyDesign(5, 2.5),
        lambda: StudyDesign(5, 0.5, caseload="poisson"),
        lambda: StudyDesign(2, (3, 3, 3)),
        lambda: StudyDesign(2, (3, 0)),
        lambda: StudyDesign(2, (3, 3), caseload="poisson"),
        lambda: StudyDesign(2, 3, caseload="some"),
        lambda: StudyDesign(2, 3, sessions=()),
        lambda: StudyDesign(2, 3, sessions=(3, 3)),
        lambda: StudyDesign(2, 3, sessions=(3, np.inf)),
        lambda: StudyDesign(2, 3, sessions=(np.nan,)),
        lambda: StudyDesign(2, 3, unit=0),
        lambda: StudyDesign(2, 3, origin=np.nan),
        lambda: simulate(ONE, StudyDesign(2, 3, dropout=Dropout(0.1, -1, 5, rater="T")), 1),
        lambda: rows_of(simulate(ONE, StudyDesign(2, 3), 1), "T"),
        lambda: power(ONE, StudyDesign(2, 3), lambda columns: ("ok", {}), ["x"], n_studies=0, seed=1),
        lambda: power(
            ONE, StudyDesign(2, 3), lambda columns: ("ok", {}), ["x"], n_studies=1, seed=1, alpha=1
        ),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(SpecError):
        wrong()


def test_a_covariance_that_is_singular_on_purpose_is_no_contradiction():
    """Correlation 1 of two levels, and no growth variance: rounding must not turn either into a refusal."""
    cov = covariance((0.3, 0.0, 0.7, 0.1), [[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]])
    truth = replace(BOTH, therapist_cov=cov)

    assert np.isfinite(simulate(truth, StudyDesign(5, 2), 14)["y"]).all()


@cache
def fitted() -> tuple[FitResult, GrowthSpec]:
    spec = replace(GROWTH, fixed="time * x")
    columns = rows_of(simulate(BOTH, StudyDesign(30, 4), 15), "P")
    return fit(LongData.from_columns(columns, spec), spec), spec


DESIGN = {
    "therapist": ["b", "a", "a", "b", "a", "a"],
    "patient": [1, 1, 1, 1, 2, 2],
    "time": [0.0, 2.0, 1.0, 3.0, 0.0, 1.5],
    "x": [1.0, -1.0, -1.0, 1.0, -1.0, -1.0],
}


def test_outcomes_of_a_fit_have_its_fixed_effects_as_mean_and_its_v_as_covariance():
    result, spec = fitted()
    y = simulate_from_result(result, DESIGN, spec, 16, n_draws=20_000)

    beta = {row.term: row.estimate for row in result.fixed}
    mean, cov = np.zeros(6), np.zeros((6, 6))
    for a in range(6):
        t, x = DESIGN["time"][a], DESIGN["x"][a]
        mean[a] = beta["Intercept"] + beta["time"] * t + beta["x"] * x + beta["time:x"] * t * x
        for b in range(6):
            z, z2 = np.array([1, t]), np.array([1, DESIGN["time"][b]])
            if DESIGN["therapist"][a] == DESIGN["therapist"][b]:
                cov[a, b] += z @ np.array(result.random[0].cov) @ z2
                if DESIGN["patient"][a] == DESIGN["patient"][b]:
                    cov[a, b] += z @ np.array(result.random[1].cov) @ z2
        cov[a, a] += result.sigma**2
    assert y.shape == (20_000, 6)
    close_moments(y, mean, cov)


def test_outcomes_for_long_data_are_in_the_order_of_its_rows():
    result, spec = fitted()
    data = LongData.from_columns({**DESIGN, "y": np.zeros(6)}, spec)
    of_rows = simulate_from_result(result, DESIGN, spec, 17, n_draws=3)

    sorted_rows = simulate_from_result(result, data, spec, 17, n_draws=3)
    np.testing.assert_array_equal(of_rows[:, data.row_numbers - 1], sorted_rows)
    assert not np.array_equal(of_rows, sorted_rows)
    generator = np.random.default_rng(17)
    parts = [simulate_from_result(result, data, spec, generator) for _ in range(2)]
    assert not np.array_equal(parts[0], parts[1])


def test_rows_that_the_model_cannot_use_get_no_outcome():
    result, spec = fitted()
    gap = {**DESIGN, "x": [1.0, -1.0, None, 1.0, -1.0, -1.0], "y": [1.0, 1.0, 1.0, np.nan, 1.0, 1.0]}
    y = simulate_from_result(result, pd.DataFrame(gap), spec, 18)

    assert np.isnan(y).tolist() == [[False, False, True, True, False, False]]


def test_a_model_fitted_to_its_own_outcomes_finds_its_own_estimates():
    result, spec = fitted()
    columns = rows_of(simulate(BOTH, StudyDesign(300, 8), 19), "P")
    y = simulate_from_result(result, columns, spec, 20)[0]
    again = fit(LongData.from_columns({**columns, "y": y}, spec), spec)

    for row, truth in zip(again.fixed, result.fixed, strict=True):
        assert abs(row.estimate - truth.estimate) < 4 * row.se
    assert again.sigma == pytest.approx(result.sigma, rel=0.05)


def test_no_outcomes_from_a_fit_without_estimates_or_from_another_model():
    result, spec = fitted()
    short = {name: values[:2] for name, values in DESIGN.items()}
    unfitted = fit(LongData.from_columns({**short, "y": [1.0, 2.0]}, spec), spec)

    with pytest.raises(SpecError, match="insufficient_data"):
        simulate_from_result(unfitted, DESIGN, spec, 1)
    with pytest.raises(SpecError, match="other columns"):
        simulate_from_result(result, DESIGN, replace(spec, fixed="time"), 1)
    with pytest.raises(SpecError, match="other columns"):
        simulate_from_result(result, DESIGN, replace(spec, random=spec.random[:1]), 1)
    with pytest.raises(DataError, match="'time'"):
        simulate_from_result(result, {k: v for k, v in DESIGN.items() if k != "time"}, spec, 1)


@pytest.mark.slow
def test_power_is_that_of_the_exact_t_test():
    """Balanced, intercepts alone: the test of x is the regression of therapist means, K - 2 df, and its power
    a noncentral t averaged over the predictor."""
    K, n, effect = 16, 2, 0.45
    truth = Truth(
        (Perspective("P", 5, 0, 0.6, {"x": (effect, 0)}),), ((0.25, 0), (0, 0)), ((0.16, 0), (0, 0))
    )
    design = StudyDesign(K, n, sessions=(3, 13))
    spec = GrowthSpec.from_formula("y ~ x", ["1 | therapist", "1 | therapist:patient"], df="kenward-roger")
    counted = power(truth, design, fixed_effect_tests(spec, ["x"], "P"), ["x"], n_studies=150, seed=21)["x"]

    variance = 0.25 + 0.16 / n + 0.36 / (2 * n)
    sxx = stats.chi2(K - 1).rvs(4000, random_state=1)
    critical = stats.t(K - 2).ppf(0.975)
    exact = stats.nct(K - 2, effect * np.sqrt(sxx / variance))
    expected = float(np.mean(exact.sf(critical) + exact.cdf(-critical)))
    assert 0.4 < expected < 0.7
    assert counted.n_unfitted == 0
    assert counted.rejected.n == 150 == sum(counted.statuses.values())
    assert abs(counted.rejected.share - expected) < 3.5 * counted.rejected.se


def test_the_test_of_an_effect_is_that_of_the_named_rater_alone():
    spec = replace(GROWTH, fixed="time * x")
    columns = simulate(BOTH, StudyDesign(20, 4), 25)
    of_therapist = fit(LongData.from_columns(rows_of(columns, "T"), spec), spec)

    status, shown = fixed_effect_tests(spec, ["x", "time:x"], "T")(columns)
    level, growth = of_therapist.fixed[2], of_therapist.fixed[3]
    assert status == of_therapist.status
    assert shown == {row.term: Shown(row.p, (row.upper - row.lower) / 2) for row in (level, growth)}


def test_the_joint_model_tests_each_rater_and_their_difference():
    spec = JointSpec("y", "rater", "session", "time", ("x",))
    columns = simulate(BOTH, StudyDesign(20, 4), 25)
    result = fit_joint(columns, spec)

    status, shown = joint_tests(spec)(columns)
    assert status == result.status
    assert shown["P:x"].p == next(row.p for row in result.fixed if row.term == "P:x")
    assert shown["x:growth"] == Shown(
        result.contrasts[1].p, (result.contrasts[1].upper - result.contrasts[1].lower) / 2
    )


def test_studies_without_a_fit_are_counted_apart_and_reject_nothing():
    shown = [{"x": Shown(0.01, 0.3)}, {}, {"x": Shown(0.2, 0.5)}, {"x": Shown(0.05, 0.4)}]
    outcomes = iter(zip(("ok", "not_converged", "singular", "ok"), shown, strict=True))
    counted = power(ONE, StudyDesign(2, 1), lambda columns: next(outcomes), ["x"], n_studies=4, seed=22)["x"]

    assert counted.statuses == {"ok": 2, "not_converged": 1, "singular": 1}
    assert (counted.n_studies, counted.n_unfitted) == (4, 1)
    assert counted.rejected == Proportion.of(1, 4)
    assert counted.rejected.se == pytest.approx(np.sqrt(0.25 * 0.75 / 4))
    assert counted.half_width == pytest.approx(0.4)
    assert counted.half_width_se == pytest.approx(0.1 / np.sqrt(3))
    plain = json.loads(json.dumps(counted.to_dict(), allow_nan=False))
    assert plain["rejected"]["count"] == 1 and plain["seed"] == 22


def test_no_power_is_stated_where_no_study_could_be_fitted():
    """Two therapists cannot tell two predictors from the intercept, one therapist is no level."""
    spec = replace(GROWTH, fixed="time + x + w")
    of_x, of_time = fixed_effect_tests(spec, ["x"], "T"), fixed_effect_tests(GROWTH, ["time"], "T")
    collinear = power(BOTH, StudyDesign(2, 9), of_x, ["x"], n_studies=2, seed=23)
    alone = power(BOTH, StudyDesign(1, 9), of_time, ["time"], n_studies=2, seed=23)

    assert collinear == {"x": Power(None, None, None, 2, 2, {"data_error": 2}, 0.05, 23)}
    assert alone == {"time": Power(None, None, None, 2, 2, {"insufficient_data": 2}, 0.05, 23)}


def test_a_term_that_the_model_does_not_have_is_refused_by_name():
    with pytest.raises(SpecError, match="Intercept, time"):
        power(ONE, StudyDesign(20, 4), fixed_effect_tests(GROWTH, ["x"], "P"), ["x"], n_studies=1, seed=24)


def test_power_reports_progress_which_may_end_the_run():
    def stop_at_two(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    seen: list[int] = []
    power(ONE, StudyDesign(2, 1), lambda columns: ("ok", {}), [], n_studies=3, seed=1, progress=seen.append)
    assert seen == [1, 2, 3]
    tried: list[Columns] = []
    with pytest.raises(KeyboardInterrupt):
        power(
            ONE,
            StudyDesign(2, 1),
            lambda columns: (tried.append(columns) or "ok", {}),
            [],
            n_studies=9,
            seed=1,
            progress=stop_at_two,
        )
    assert len(tried) == 2


def test_the_interval_of_a_share_is_wilsons():
    """R: prop.test(93, 100, correct = FALSE)$conf.int."""
    share = Proportion.of(93, 100)

    assert (share.lower, share.upper) == pytest.approx((0.8625, 0.9657), abs=1e-4)
    assert share.se == pytest.approx(np.sqrt(0.93 * 0.07 / 100))
    none = Proportion.of(0, 20)
    assert none.lower == 0 and none.upper == pytest.approx(0.1611, abs=1e-4)
    with pytest.raises(ValueError, match="no share"):
        Proportion.of(0, 0)


@pytest.mark.slow
def test_the_coverage_study_writes_what_its_studies_say_on_any_number_of_processes(tmp_path):
    from benchmarks import validation

    texts = []
    for processes in ("1", "2"):
        output = tmp_path / f"{processes}.md"
        validation.main(["--studies", "3", "--processes", processes, "--output", str(output)])
        texts.append(output.read_text())
    seed, design = next(iter(validation.DESIGNS.items()))
    effects = []
    for study_seed in study_seeds(seed, 3):
        columns = rows_of(simulate(validation.TRUTH, design, study_seed), "T")
        result = fit(LongData.from_columns(columns, validation.SPEC), validation.SPEC)
        effects.append(result.fixed[3])

    assert texts[0] == texts[1]
    row = next(line for line in texts[0].splitlines() if line.startswith("| T | `time:x` |"))
    assert f"| -0.04 | {np.mean([effect.estimate for effect in effects]):.4f} ± " in row
    assert f"| {sum(effect.lower <= -0.04 <= effect.upper for effect in effects)} of 3 |" in row
