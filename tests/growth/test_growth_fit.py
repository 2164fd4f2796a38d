"""Layer four: the fit is lme4's, its inference lmerTest's and pbkrtest's, its likelihood statsmodels'."""

from __future__ import annotations

import dataclasses
import json
from functools import cache

import numpy as np
import pytest
import statsmodels.formula.api as smf
from statsmodels.regression.mixed_linear_model import MixedLMParams

from analytics.growth import FitResult, GrowthSpec, LongData, SpecError, fit, optimize
from analytics.growth import engine as engine_module
from analytics.growth.objective import Objective
from analytics.growth.optimize import search
from analytics.growth.residual import Independent
from tests.growth.dense import Problem, frame, models, simulated, spec_of

FITS = [
    (dataset, model, method)
    for dataset in ("sleepstudy", "cohort_s2", "orthodont", "oxboys", "wafer", "pixel", "early")
    for model in models(dataset)
    for method in ("reml", "ml")
]
WITH_KENWARD_ROGER = [key for key in FITS if "kenward_roger" in models(key[0])[key[1]]["fits"][key[2]]]
LOGLIK, ESTIMATE, SE, DF, DF_KR = 1e-9, 1e-6, 1e-5, 1e-4, 1e-5


@cache
def fitted(dataset: str, model: str, method: str, df: str) -> FitResult:
    spec = spec_of(models(dataset)[model]["formula"], method=method, df=df)
    return fit(LongData.from_columns(frame(dataset), spec), spec)


def reference_of(dataset: str, model: str, method: str) -> dict:
    return models(dataset)[model]["fits"][method]


def sd_of_outcome(dataset: str, result: FitResult) -> float:
    return float(np.nanstd(frame(dataset)[result.outcome]))


@pytest.mark.parametrize("key", FITS, ids="-".join)
def test_fit_reaches_the_reference(key):
    reference, result = reference_of(*key), fitted(*key, "satterthwaite")
    scale = sd_of_outcome(key[0], result)

    assert result.status == ("singular" if reference["singular"] else "ok")
    assert result.loglik == pytest.approx(reference["loglik"], rel=LOGLIK)
    assert result.deviance == -2 * result.loglik
    assert result.aic == pytest.approx(reference["aic"], rel=LOGLIK)
    assert result.bic == pytest.approx(reference["bic"], rel=LOGLIK)
    assert result.sigma == pytest.approx(reference["sigma"], abs=ESTIMATE * scale)
    assert result.n["rows"] == reference["rows"]
    assert {group: result.n[group] for group in reference["units"]} == reference["units"]
    fixed = {row.term: row for row in result.fixed}
    assert fixed.keys() == {row["term"] for row in reference["fixed"]}
    for row in reference["fixed"]:
        assert fixed[row["term"]].estimate == pytest.approx(row["estimate"], abs=ESTIMATE * scale)
        assert fixed[row["term"]].se == pytest.approx(row["se"], rel=SE)
    random = {row.group: row for row in result.random}
    for row in reference["random"]:
        assert random[row["group"]].terms == tuple(row["terms"])
        np.testing.assert_allclose(random[row["group"]].sd, row["sd"], atol=ESTIMATE * scale, rtol=0)
        np.testing.assert_allclose(random[row["group"]].cov, row["cov"], atol=ESTIMATE * scale**2, rtol=0)


@pytest.mark.parametrize("key", FITS, ids="-".join)
def test_satterthwaite_df_are_those_of_lmertest(key):
    result = fitted(*key, "satterthwaite")
    df = {row.term: row.df for row in result.fixed}

    assert result.df_method == "satterthwaite"
    for row in reference_of(*key)["fixed"]:
        assert df[row["term"]] == pytest.approx(row["df"], rel=DF)


@pytest.mark.parametrize("key", WITH_KENWARD_ROGER, ids="-".join)
def test_kenward_roger_se_and_df_are_those_of_pbkrtest(key):
    result = fitted(*key, "kenward-roger")
    fixed = {row.term: row for row in result.fixed}

    for row in reference_of(*key)["kenward_roger"]:
        assert fixed[row["term"]].se == pytest.approx(row["se"], rel=SE)
        assert fixed[row["term"]].df == pytest.approx(row["df"], rel=DF_KR)
    np.testing.assert_allclose(np.sqrt(np.diag(result.vcov_fixed)), [row.se for row in result.fixed])


def test_t_p_and_interval_follow_from_estimate_se_and_df():
    """R: 2 * pt(-abs(6.7715), 17), fixef + c(-1, 1) * qt(.975, 17) * 1.5458 of the sleepstudy slope."""
    row = fitted("sleepstudy", "slope", "reml", "kenward-roger").fixed[1]

    assert row.term == "Days"
    assert row.t == pytest.approx(6.7715, abs=1e-4)
    assert row.p == pytest.approx(3.264e-6, rel=1e-3)
    assert row.df == pytest.approx(17, abs=1e-6)
    assert (row.lower, row.upper) == (pytest.approx(7.2059, abs=1e-3), pytest.approx(13.7287, abs=1e-3))


def test_wald_has_no_df_and_normal_limits():
    result = fitted("sleepstudy", "slope", "reml", "wald")
    row = result.fixed[1]

    assert result.df_method == "wald"
    assert row.df is None
    assert row.upper - row.estimate == pytest.approx(1.959963985 * row.se)


def test_auto_df_depend_on_method_and_number_of_highest_units():
    few = fitted("cohort_s2", "wai_p_growth", "reml", "auto")
    by_ml = fitted("cohort_s2", "wai_p_growth", "ml", "auto")
    many = fitted("cohort_s2", "wai_p_no_ther", "reml", "auto")

    assert (few.df_method, by_ml.df_method, many.df_method) == (
        "kenward-roger",
        "satterthwaite",
        "satterthwaite",
    )


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_statsmodels_has_the_same_likelihood_at_our_optimum(method):
    """Counted from -T_p01 / T_p11, patient intercept and slope are uncorrelated, as statsmodels has them."""
    result = fitted("cohort_s2", "wai_p_full", method, "satterthwaite")
    T = {row.group: np.array(row.cov) / result.sigma**2 for row in result.random}
    T_t, T_p = T["therapist"], T["therapist:patient"]
    origin = -T_p[0, 1] / T_p[1, 1]
    rows = frame("cohort_s2").dropna(subset=["wai_p"])
    model = smf.mixedlm(
        "wai_p ~ time * self_doubt + time * warmth",
        rows.assign(tc=rows["time"] - origin),
        groups="therapist",
        re_formula="~time",
        vc_formula={"p0": "0 + C(patient)", "p1": "0 + C(patient):tc"},
    )
    model.reml = method == "reml"
    model.cov_pen = model.fe_pen = None
    fixed = {row.term: row.estimate for row in result.fixed}
    params = MixedLMParams.from_components(
        fe_params=np.array([fixed[name] for name in model.exog_names]),
        cov_re=T_t,
        vcomp=np.array([T_p[0, 0] - T_p[0, 1] ** 2 / T_p[1, 1], T_p[1, 1]]),
    )

    assert model.loglike(params, profile_fe=True) == pytest.approx(result.loglik, rel=1e-10)


def test_hard_likelihood_is_climbed_from_every_start():
    """lme4 stays in a corner of wafer, 0.081 below the top."""
    reference = reference_of("wafer", "slope", "reml")
    spec = spec_of(models("wafer")["slope"]["formula"])
    data = LongData.from_columns(frame("wafer"), spec)
    corners = [
        [0.0] * 6,
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0.1, 0, 0.3, 0.1, 0, 0.2],
        [5.0, 0, 5, 5, 0, 5],
    ]

    for theta0 in corners:
        assert fit(data, spec, theta0).loglik == pytest.approx(reference["loglik"], rel=LOGLIK)


def test_search_alone_leaves_a_corner_without_other_starts(monkeypatch):
    """At theta = 0 the gradient in theta is zero: only the covariance gradient shows the way."""
    spec = spec_of(models("sleepstudy")["slope"]["formula"])
    problem = Problem(LongData.from_columns(frame("sleepstudy"), spec), spec)
    monkeypatch.setattr("analytics.growth.optimize.STARTS", ())
    found = search(problem.objective, np.zeros(3))
    shift = problem.design.deviance_shift(reml=True)

    reference = reference_of("sleepstudy", "slope", "reml")["loglik"]
    assert found.evaluation.deviance + shift == pytest.approx(-2 * reference, rel=LOGLIK)


def test_warm_start_ends_where_the_cold_one_does_and_sooner():
    spec = spec_of(models("cohort_s2")["wai_p_full"]["formula"])
    data = LongData.from_columns(frame("cohort_s2"), spec)
    cold = fit(data, spec)
    warm = fit(data, spec, cold.theta)

    assert warm.loglik == pytest.approx(cold.loglik, rel=1e-12)
    assert warm.convergence.steps < cold.convergence.steps


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_start_beyond_all_reason_does_no_harm():
    spec = spec_of(models("sleepstudy")["slope"]["formula"])
    result = fit(LongData.from_columns(frame("sleepstudy"), spec), spec, [1e200, 0.0, 1e200])

    reference = reference_of("sleepstudy", "slope", "reml")["loglik"]
    assert result.loglik == pytest.approx(reference, rel=LOGLIK)


def test_theta_is_that_of_lme4():
    result = fitted("cohort_s2", "wai_p_full", "ml", "satterthwaite")
    theta = reference_of("cohort_s2", "wai_p_full", "ml")["theta"]
    names = [
        f"{group}.{name}"
        for group in ("therapist", "therapist:patient")
        for name in ("Intercept", "time.Intercept", "time")
    ]
    np.testing.assert_allclose(result.theta, [theta[name] for name in names], atol=1e-5)


@pytest.mark.parametrize("theta0", [[1.0], [1.0, 0.0, float("nan")]])
def test_start_that_does_not_fit_the_model_is_refused(theta0):
    spec = spec_of(models("sleepstudy")["slope"]["formula"])
    with pytest.raises(SpecError, match="3 finite numbers"):
        fit(LongData.from_columns(frame("sleepstudy"), spec), spec, theta0)


@pytest.mark.parametrize("origin", [100.0, 2000.0])
def test_origin_of_time_changes_nothing_but_what_refers_to_it(origin):
    formula = "y ~ time * x"
    spec = GrowthSpec.from_formula(formula, ["1 + time | therapist", "1 + time | therapist:patient"])
    columns = simulated(11, n_therapists=30)
    near = fit(LongData.from_columns(columns, spec), spec)
    far = fit(LongData.from_columns({**columns, "time": columns["time"] + origin}, spec), spec)

    assert far.status == near.status == "ok"
    assert far.loglik == pytest.approx(near.loglik, rel=1e-9)
    assert far.sigma == pytest.approx(near.sigma, rel=1e-7)
    near_fixed = {row.term: row for row in near.fixed}
    for term in ("time", "time:x"):
        row = next(row for row in far.fixed if row.term == term)
        for field in ("estimate", "se", "df"):
            assert getattr(row, field) == pytest.approx(getattr(near_fixed[term], field), rel=1e-5)
    shift = np.array([[1.0, -origin], [0.0, 1.0]])
    for near_level, far_level in zip(near.random, far.random, strict=True):
        expected = shift @ np.array(near_level.cov) @ shift.T
        np.testing.assert_allclose(far_level.cov, expected, rtol=1e-5)


def test_shift_and_scale_of_the_outcome_come_through():
    spec = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
    columns = simulated(11)
    plain = fit(LongData.from_columns(columns, spec), spec)
    moved = fit(LongData.from_columns({**columns, "y": 1e6 + 1e3 * columns["y"]}, spec), spec)

    assert moved.sigma == pytest.approx(1e3 * plain.sigma, rel=1e-7)
    assert moved.fixed[0].estimate == pytest.approx(1e6 + 1e3 * plain.fixed[0].estimate, rel=1e-9)
    assert moved.fixed[1].t == pytest.approx(plain.fixed[1].t, rel=1e-6)
    dof = plain.n["rows"] - 2
    assert moved.loglik == pytest.approx(plain.loglik - dof * np.log(1e3), rel=1e-9)


@pytest.mark.parametrize("kind", [str, float, object])
def test_order_of_rows_and_kind_of_labels_change_nothing(kind):
    spec = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
    columns = simulated(11)
    order = np.random.default_rng(0).permutation(len(columns["y"]))
    shuffled = {name: column[order] for name, column in columns.items()}
    shuffled["therapist"] = shuffled["therapist"].astype(kind)
    one, other = LongData.from_columns(columns, spec), LongData.from_columns(shuffled, spec)

    assert one.fingerprint == other.fingerprint
    assert set(one.units[0].labels) == set(other.units[0].labels)
    first, second = (fit(data, spec) for data in (one, other))
    assert first.n == second.n
    assert second.loglik == pytest.approx(first.loglik, rel=1e-13)
    np.testing.assert_allclose(second.theta, first.theta, rtol=1e-9)
    np.testing.assert_allclose(second.vcov_fixed, first.vcov_fixed, rtol=1e-9)


def test_fingerprint_tells_changed_data_apart():
    spec = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist"])
    columns = simulated(11)
    prints = {LongData.from_columns(columns, spec).fingerprint}
    for name in ("y", "time", "therapist"):
        changed = columns[name].copy()
        changed[3] = changed[-1] + 1
        prints.add(LongData.from_columns({**columns, name: changed}, spec).fingerprint)
    assert len(prints) == 4


@pytest.mark.parametrize("key", [("wafer", "slope", "reml"), ("sleepstudy", "intercept", "ml")], ids="-".join)
def test_result_goes_through_json_without_loss(key):
    result = fitted(*key, "wald")

    assert FitResult.from_dict(json.loads(json.dumps(result.to_dict(), allow_nan=False))) == result


@pytest.mark.parametrize(
    "falsified",
    [
        lambda ev: {"deviance": ev.deviance * (1 + 1e-5)},
        lambda ev: {"gamma": ev.gamma + 1e-5 * np.sqrt(ev.s2 * np.diag(ev.C))},
        lambda ev: {"C": ev.C * (1 + 1e-5)},
        lambda ev: {"s2": ev.s2 * (1 + 1e-5)},
        lambda ev: {"F_high": ev.F_high * (1 + 1e-5)},
        lambda ev: {"b": ev.b * (1 + 1e-5)},
    ],
    ids=["deviance", "gamma", "C", "s2", "high residual", "low residual"],
)
def test_fit_that_the_second_road_contradicts_gives_no_numbers(monkeypatch, falsified):
    spec = spec_of(models("cohort_s2")["wai_p_full"]["formula"])
    data = LongData.from_columns(frame("cohort_s2"), spec)
    true_check = engine_module.disagreement
    monkeypatch.setattr(
        engine_module,
        "disagreement",
        lambda design, ev, psi: true_check(design, dataclasses.replace(ev, **falsified(ev)), psi),
    )
    result = fit(data, spec)

    assert result.status == "not_converged"
    assert "disagrees" in result.message
    assert (result.loglik, result.fixed, result.random) == (None, (), ())


def test_search_that_does_not_end_in_a_minimum_gives_no_numbers(monkeypatch):
    spec = spec_of(models("sleepstudy")["slope"]["formula"])
    data = LongData.from_columns(frame("sleepstudy"), spec)
    monkeypatch.setattr("analytics.growth.optimize.MAX_STEPS", 1)
    result = fit(data, spec)

    assert result.status == "not_converged"
    assert result.loglik is None


def test_objective_has_no_value_where_nothing_is_left_of_the_residual():
    spec = spec_of(models("sleepstudy")["slope"]["formula"])
    problem = Problem(LongData.from_columns(frame("sleepstudy"), spec), spec)
    stats = problem.design.statistics
    reduced = stats.residual.reduced
    nothing = dataclasses.replace(reduced, beta=reduced.beta * 0, within=0.0)
    empty = dataclasses.replace(stats, residual=Independent(nothing))

    assert Objective(empty, problem.design.levels, reml=True).evaluate(np.ones(3)) is None


def test_model_of_the_higher_level_alone_is_fitted_to_data_with_two_levels():
    """lmer of the therapist level alone: the data's lower level has no random effects."""
    both = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
    alone = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist"])
    columns = simulated(3)

    on_two_levels = fit(LongData.from_columns(columns, both), alone)
    on_one = fit(LongData.from_columns(columns, alone), alone)
    assert on_two_levels.loglik == pytest.approx(on_one.loglik, rel=1e-12)
    np.testing.assert_allclose(on_two_levels.theta, on_one.theta, rtol=1e-5)
    np.testing.assert_allclose(on_two_levels.vcov_fixed, on_one.vcov_fixed, rtol=1e-5)


@pytest.mark.parametrize(("smallest", "is_singular"), [(3e-4, False), (3e-5, True)])
def test_level_is_singular_where_lme4_calls_it_so(smallest, is_singular):
    """lme4's isSingular: a relative Cholesky factor with a direction below 1e-4."""
    rotation = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    assert optimize._is_singular(rotation @ np.diag([1.0, smallest])) is is_singular
