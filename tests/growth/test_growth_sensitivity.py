"""What the fixed effects would be without one therapist, after worse dropout, and with serial correlation."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, SpecError, fit
from analytics.growth.covariance import change_coding
from analytics.growth.objective import Objective
from analytics.growth.results import FixedEffect
from analytics.growth.rows import Fitted
from analytics.growth.sensitivity import (
    DeltaRow,
    DeltaShift,
    _completed,
    _draws,
    _rubin,
    delta_shift,
    leave_one_out,
    without_unit,
)
from analytics.growth.serial import SerialModel, serial_correlation
from tests.growth.dense import frame, simulated, spec_of

pytestmark = pytest.mark.slow

TWO_LEVELS = ["1 + time | therapist", "1 + time | therapist:patient"]
INTERCEPTS = ["1 | therapist", "1 | therapist:patient"]
COHORT = "wai_p ~ time * self_doubt + (1 + time | therapist) + (1 + time | therapist:patient)"
PLANNED = np.array([0, 0.5, 1.2, 2.2, 3.7])


@cache
def cohort(df: str = "auto") -> tuple[LongData, GrowthSpec, FitResult]:
    spec = spec_of(COHORT, df=df)
    data = LongData.from_columns(frame("cohort_s2"), spec)
    return data, spec, fit(data, spec)


# One therapist at a time


def test_data_without_a_therapist_are_the_data_of_the_others():
    data, spec, _ = cohort()
    d = frame("cohort_s2")
    for k in (0, 20, 44):
        label = data.units[0].labels[k][0]
        rest = without_unit(data, k)
        direct = LongData.from_columns(d[d["therapist"].astype(str) != label], spec)
        assert rest.fingerprint == direct.fingerprint
        assert [units.labels for units in rest.units] == [units.labels for units in direct.units]
        for ours, theirs in zip(rest.units, direct.units, strict=True):
            np.testing.assert_array_equal(ours.start, theirs.start)
        for name, column in direct.columns.items():
            np.testing.assert_array_equal(rest.columns[name], column)
            np.testing.assert_array_equal(rest.columns[name], d[name].to_numpy()[rest.row_numbers - 1])


def test_leaving_one_out_is_fitting_the_others():
    data, spec, result = cohort("kenward-roger")
    left_out = leave_one_out(data, spec, result)
    d = frame("cohort_s2")

    assert len(left_out.units) == 45
    assert left_out.failed == ()
    assert left_out.bound == pytest.approx(2 / np.sqrt(45))
    for unit in left_out.units[7:10]:
        others = LongData.from_columns(d[d["therapist"].astype(str) != unit.label[0]], spec)
        cold = fit(others, spec)
        for ours, theirs, full, change in zip(
            unit.fixed, cold.fixed, result.fixed, unit.changes, strict=True
        ):
            assert ours.term == full.term
            assert ours.estimate == pytest.approx(theirs.estimate, abs=1e-6)
            assert ours.se == pytest.approx(theirs.se, rel=1e-5)
            assert change == pytest.approx((theirs.estimate - full.estimate) / theirs.se, abs=1e-4)


def test_changes_are_the_dfbetas_of_lme4():
    """R: dfbetas(influence(lmer(Reaction ~ Days + (Days | Subject), sleepstudy), "Subject"))[1:3, ]."""
    spec = GrowthSpec.from_formula("Reaction ~ Days", ["1 + Days | Subject"], df="wald")
    data = LongData.from_columns(frame("sleepstudy"), spec)
    left_out = leave_one_out(data, spec, fit(data, spec))

    assert [unit.label for unit in left_out.units[:3]] == [("308",), ("309",), ("310",)]
    np.testing.assert_allclose(
        [unit.changes for unit in left_out.units[:3]],
        [[0.0587249, -0.4489274], [0.4108749, 0.3098969], [0.4276088, 0.1583412]],
        atol=2e-5,
    )


def test_a_therapist_far_off_is_the_one_who_matters_most():
    columns = simulated(12, n_therapists=10)
    columns["y"] = columns["y"] + 6.0 * (columns["therapist"] == 3)
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    data = LongData.from_columns(columns, spec)
    left_out = leave_one_out(data, spec, fit(data, spec))
    worst = left_out.largest("Intercept")

    assert worst.label == ("3",)
    assert worst.changes[0] < -left_out.bound
    assert sum(abs(unit.changes[0]) > left_out.bound for unit in left_out.units) == 1


def test_a_therapist_without_whom_there_is_no_such_model_is_named():
    columns = simulated(12, n_therapists=10)
    columns["school"] = np.where(columns["therapist"] == 4, "other", np.where(columns["x"] > 0, "a", "b"))
    columns["only"] = 1.0 * (columns["therapist"] == 7)
    spec = GrowthSpec.from_formula("y ~ time + school + only", INTERCEPTS)
    data = LongData.from_columns(columns, spec)
    left_out = leave_one_out(data, spec, fit(data, spec))

    assert {unit.label[0] for unit in left_out.failed} == {"4", "7"}
    messages = {unit.label[0]: unit.message for unit in left_out.failed}
    assert "category" in messages["4"]
    assert "'only'" in messages["7"]
    assert all(unit.changes == () for unit in left_out.failed)
    assert left_out.largest("time").label not in {("4",), ("7",)}


def test_results_go_through_json():
    columns, session = with_sessions(7, 0.6)
    spec = GrowthSpec.from_formula("y ~ time", INTERCEPTS, df="wald")
    data = LongData.from_columns(columns, spec)
    result = fit(data, spec)
    for found in (
        leave_one_out(data, spec, result),
        delta_shift(data, spec, result, {"time": [0.9, 3.0]}, [], axis="time", m=2),
        serial_correlation(data, spec, session[data.row_numbers - 1]),
    ):
        stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert stored.keys() == {field.name for field in fields(found)}


def test_refits_keep_the_df_method_of_the_fit():
    """With 100 therapists `auto` is Satterthwaite; with 99 it would be Kenward-Roger, with larger SEs."""
    spec = GrowthSpec.from_formula("y ~ time", INTERCEPTS)
    columns = simulated(4, n_therapists=100, n_patients=2, times=(0.0, 1.0))
    kept = (columns["therapist"] % 3 > 0) | (columns["patient"] == 0)
    data = LongData.from_columns({name: column[kept] for name, column in columns.items()}, spec)
    result = fit(data, spec)
    ours = leave_one_out(data, spec, result).units[0].fixed[0]
    pinned, auto = (
        fit(without_unit(data, 0), replace(spec, df=df)).fixed[0] for df in ("satterthwaite", "auto")
    )

    assert result.df_method == "satterthwaite"
    assert ours.df == pytest.approx(pinned.df, rel=1e-6)
    assert abs(auto.df - pinned.df) > 1e-3


# Dropout


def by_hand(fitted: Fitted, times: np.ndarray, x: float, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance, given y at the first times of a therapist's only therapy, at the other times."""
    X = np.column_stack([np.ones(len(times)), times, np.full(len(times), x), times * x])
    Z = X[:, :2]
    V = Z @ (fitted.T[0] + fitted.T[1]) @ Z.T + fitted.sigma**2 * np.eye(len(times))
    n = len(y)
    precision = np.linalg.inv(V)
    K = -np.linalg.inv(precision[n:, n:]) @ precision[n:, :n]
    W = X[n:] - K @ X[:n]
    mean = X[n:] @ fitted.beta + K @ (y - X[:n] @ fitted.beta)
    return mean, np.linalg.inv(precision[n:, n:]) + W @ fitted.cov @ W.T


def test_draws_have_mean_and_covariance_of_the_missing_ratings_given_the_others():
    """40,000 draws for a therapist with one therapy: mean within 4 SE, covariance within 4 SE of its own."""
    columns = simulated(6, n_therapists=20, n_patients=2)
    kept = (columns["therapist"] > 0) | ((columns["patient"] == 0) & (columns["time"] < 2))
    columns = {name: column[kept] for name, column in columns.items()}
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS)
    data = LongData.from_columns(columns, spec)
    fitted = Fitted.of(fit(data, spec))
    completed, is_missing = _completed(data, spec, {"time": [0.0, 1.0, 2.0, 3.0, 4.5]}, "time", None)
    draws = _draws(fitted, spec, completed, is_missing, 40_000, 3)

    own = (completed.columns["time"][is_missing] >= 2) & (np.arange(is_missing.sum()) < 3)
    assert completed.columns["time"][is_missing][own].tolist() == [2.0, 3.0, 4.5]
    first = columns["therapist"] == 0
    times = np.append(columns["time"][first], [2.0, 3.0, 4.5])
    mean, cov = by_hand(fitted, times, columns["x"][first][0], columns["y"][first])
    error = 4 * np.sqrt(np.diag(cov) / 40_000)
    assert (np.abs(draws[own].mean(axis=1) - mean) < error).all()
    spread = np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / 40_000)
    assert (np.abs(np.cov(draws[own]) - cov) < 4 * spread).all()


def test_only_planned_ratings_after_the_last_one_are_missing():
    data, spec, result = cohort()
    d = frame("cohort_s2").dropna(subset=["wai_p"])
    last = d.groupby(["therapist", "patient"])["time"].max().to_numpy()
    n_after = sum(int((t < PLANNED).sum()) for t in last)
    some = [units for units, t in zip(data.units[1].labels, sorted_last(data), strict=True) if t < 1][:5]

    every = delta_shift(data, spec, result, {"time": PLANNED}, [], axis="time", m=2)
    assert (every.n_imputed, every.n_therapies) == (n_after, int((last < 3.7).sum()))
    few = delta_shift(data, spec, result, {"time": PLANNED}, [], axis="time", m=2, therapies=some)
    assert few.n_therapies == 5
    assert 10 < few.n_imputed <= 20


def sorted_last(data: LongData) -> np.ndarray:
    return np.maximum.reduceat(data.columns["time"], data.units[1].start)


def test_without_a_shift_the_pooled_fit_is_the_direct_one():
    """Within 4 Monte Carlo errors, the root of B / m; SEs within a tenth."""
    data, spec, result = cohort("satterthwaite")
    shift = delta_shift(data, spec, result, {"time": PLANNED}, [], axis="time", m=30, seed=8)
    (row,) = shift.rows

    assert row.delta == 0
    assert row.n_fitted == 30
    assert shift.direct == result.fixed
    for pooled, direct, missing in zip(row.fixed, result.fixed, row.missing, strict=True):
        assert pooled.term == direct.term
        monte_carlo = pooled.se * np.sqrt(missing / 31)
        assert abs(pooled.estimate - direct.estimate) < 4 * monte_carlo
        assert pooled.se == pytest.approx(direct.se, rel=0.1)
        assert 0 < missing < 0.5
        assert pooled.df < direct.df
    assert row.missing[1] > 5 * row.missing[0]


def test_a_shift_moves_the_slope_as_least_squares_with_the_fitted_covariance_says():
    """(X'V^-1X)^-1 X'V^-1 (delta on the missing rows), V at the fit; refitting T and sigma moves little."""
    data, spec, result = cohort("satterthwaite")
    deltas = [-0.5, 0.5]
    shift = delta_shift(data, spec, result, {"time": PLANNED}, deltas, axis="time", m=5)
    completed, is_missing = _completed(data, spec, {"time": PLANNED}, "time", None)
    c = completed.columns
    X = np.column_stack([np.ones(len(completed)), c["time"], c["self_doubt"], c["time"] * c["self_doubt"]])
    V = result.sigma**2 * np.eye(len(completed))
    for units, row in zip(completed.units, result.random, strict=True):
        unit = np.searchsorted(units.start, np.arange(len(completed)), side="right")
        V += (X[:, :2] @ np.array(row.cov) @ X[:, :2].T) * (unit[:, None] == unit)
    solved = np.linalg.solve(V, np.column_stack([X, is_missing]))
    per_delta = np.linalg.solve(X.T @ solved[:, :4], X.T @ solved[:, 4])

    low, zero, high = shift.rows
    assert [row.delta for row in shift.rows] == [-0.5, 0, 0.5]
    for row, sign in ((low, -0.5), (high, 0.5)):
        moved = np.array([a.estimate - b.estimate for a, b in zip(row.fixed, zero.fixed, strict=True)])
        np.testing.assert_allclose(moved, sign * per_delta, atol=0.05 * np.abs(per_delta).max())


def test_the_true_shift_recovers_what_dropout_hid():
    """Ratings that were never given are 1.2 lower than expected: only the row of -1.2 has the true slope."""
    columns = simulated(40, n_therapists=60, n_patients=5, times=(0.0, 1.0, 2.0, 3.0), beta=(5.0, 0.3))
    rng = np.random.default_rng(2)
    stop = np.repeat(rng.integers(2, 6, size=300), 4)
    given = columns["time"] < stop
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS, df="wald")
    data = LongData.from_columns({name: column[given] for name, column in columns.items()}, spec)
    as_it_was = columns["y"] - 1.2 * ~given
    full = fit(LongData.from_columns({**columns, "y": as_it_was}, spec), spec).fixed[1]
    shift = delta_shift(
        data, spec, fit(data, spec), {"time": [0.0, 1.0, 2.0, 3.0]}, [-1.2], axis="time", m=10
    )

    assert shift.n_imputed == (~given).sum()
    assert abs(shift.direct[1].estimate - full.estimate) > 4 * full.se
    assert abs(shift.rows[0].fixed[1].estimate - full.estimate) < 1.5 * full.se


def test_pooling_follows_rubin_and_barnard():
    """Estimates 1, 2, 3 with SE 1 and 10 df: W = 1, B = 1, T = 7/3, lambda = 4/7, df 2.278 by hand."""
    effects = [FixedEffect("time", b, 1.0, 10.0, 0, 0, 0, 0) for b in (1.0, 2.0, 3.0)]
    row, missing = _rubin(effects)

    assert (row.term, row.estimate) == ("time", 2.0)
    assert row.se == pytest.approx(np.sqrt(7 / 3))
    assert missing == pytest.approx(4 / 7)
    df = 1 / ((4 / 7) ** 2 / 2 + 13 / (11 * 10 * 3 / 7))
    assert row.df == pytest.approx(df) == pytest.approx(2.278, abs=1e-3)
    assert row.p == pytest.approx(2 * stats.t.sf(2 / np.sqrt(7 / 3), df))
    assert (row.lower, row.upper) == pytest.approx(stats.t.interval(0.95, df, 2, np.sqrt(7 / 3)))

    wald, _ = _rubin([replace(effect, df=None) for effect in effects])
    assert wald.df == pytest.approx(2 / (4 / 7) ** 2)
    same, none_missing = _rubin([effects[0], effects[0]])
    assert (same.df, none_missing) == (pytest.approx(10 * 11 / 13), 0.0)


def shift_of(limits: dict[float, tuple[float, float]]) -> DeltaShift:
    """Rows with these limits of one effect."""
    effect = FixedEffect("x", 0.0, 1.0, None, 0.0, 1.0, 0.0, 0.0)
    rows = tuple(
        DeltaRow(delta, (replace(effect, estimate=sum(ends) / 2, lower=ends[0], upper=ends[1]),), (0.0,), 20)
        for delta, ends in sorted(limits.items())
    )
    return DeltaShift((effect,), rows, 10, 5, 20, 1)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({-1: (-0.2, 1.8), 0: (0.2, 2.2), 1: (0.6, 2.6)}, [(-0.5, "positive", "none")]),
        ({0: (-2.2, -0.1), 1: (-1.9, 0.2)}, [(1 / 3, "negative", "none")]),
        ({-2: (0.3, 1.0), -1: (-0.1, 0.8), 0: (-0.3, 0.6)}, [(-1.25, "none", "positive")]),
        ({0: (-1, 1), 1: (-1.4, -0.5)}, [(2 / 3, "none", "negative")]),
        ({0: (1, 2), 1: (-3, -2)}, [(0.25, "positive", "negative")]),
        (
            {-1: (-1, 3), 0: (1, 2), 2: (-1, 1), 3: (1, 2)},
            [(-0.5, "positive", "none"), (1.0, "positive", "none")],
        ),
        ({-1: (0.1, 2), 0: (0.2, 2), 1: (0.3, 2)}, []),
        ({0: (-1, 1)}, []),
    ],
)
def test_tipping_is_where_a_limit_passes_zero(limits, expected):
    tips = shift_of(limits).tipping("x")
    assert [(tip.was, tip.becomes) for tip in tips] == [(was, becomes) for _, was, becomes in expected]
    np.testing.assert_allclose([tip.delta for tip in tips], [delta for delta, *_ in expected])


def test_the_answer_on_self_doubt_tips_between_two_rows_of_the_cohort():
    data, spec, result = cohort("satterthwaite")
    shift = delta_shift(data, spec, result, {"time": PLANNED}, [1.5], axis="time", m=8)
    at_zero, at_end = (row.fixed[2] for row in shift.rows)
    (tip,) = shift.tipping("self_doubt")

    assert at_zero.upper < 0 < at_end.upper
    assert 0 < tip.delta < 1.5
    assert (tip.was, tip.becomes) == ("negative", "none")
    assert shift.tipping("time") == ()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    data, spec, result = cohort("wald")
    one, same, other = (
        delta_shift(data, spec, result, {"time": PLANNED}, [], axis="time", m=2, seed=s) for s in (1, 1, 2)
    )
    assert one.rows == same.rows
    assert one.rows[0].fixed[1].estimate != other.rows[0].fixed[1].estimate


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"m": 1}, SpecError, "at least two imputations"),
        ({"deltas": [float("nan")]}, SpecError, "every delta"),
        ({"planned": {"time": [0.0, 0.5]}}, DataError, "nothing is missing"),
        ({"planned": {"time": [0.0, float("inf")]}}, DataError, "finite numbers"),
        ({"planned": {"time": [0.0, 9.0], "x": [1.0]}}, DataError, "'x' must be .*one for each session"),
        ({"planned": {"time": ["first", "last"]}}, DataError, "'time' must be finite numbers"),
        ({"axis": "session"}, DataError, "no column 'session'"),
        ({"therapies": [("0", "9")]}, DataError, "no therapist:patient '0:9'"),
    ],
)
def test_dropout_that_makes_no_sense_is_refused(options, error, words):
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    data = LongData.from_columns(simulated(21), spec)
    given = {"planned": {"time": [0.0, 9.0]}, "deltas": [1.0], "axis": "time"} | options
    with pytest.raises(error, match=words):
        delta_shift(data, spec, fit(data, spec), given.pop("planned"), given.pop("deltas"), **given)


def test_a_predictor_that_changes_in_a_therapy_needs_planned_values():
    columns = simulated(21)
    columns["late"] = 1.0 * (columns["time"] > 1)
    spec = GrowthSpec.from_formula("y ~ time + late", INTERCEPTS)
    data = LongData.from_columns(columns, spec)
    result = fit(data, spec)
    with pytest.raises(DataError, match="'late' changes in a therapy"):
        delta_shift(data, spec, result, {"time": [4.0]}, [1.0], axis="time")
    shift = delta_shift(data, spec, result, {"time": [4.0], "late": [1.0]}, [1.0], axis="time", m=2)
    assert shift.n_imputed == 48


def test_results_without_estimates_are_refused():
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    columns = simulated(21)
    data = LongData.from_columns({**columns, "y": columns["y"] * 0 + 4}, spec)
    result = fit(data, spec)
    with pytest.raises(SpecError, match="no_variation"):
        leave_one_out(data, spec, result)
    with pytest.raises(SpecError, match="no_variation"):
        delta_shift(data, spec, result, {"time": [9.0]}, [1.0], axis="time")


# Serial correlation


def with_sessions(seed: int, phi: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns with residuals of serial correlation phi at unequal sessions, rows in random order."""
    rng = np.random.default_rng(seed)
    sessions = np.array([1.0, 2, 3, 5, 6, 8, 11, 12])
    columns = simulated(
        seed,
        times=tuple((sessions - 3) / 10),
        therapist_sd=(0.5, 0.0),
        patient_sd=(0.8, 0.0),
        sigma=0.0,
    )
    gaps = np.abs(sessions[:, None] - sessions)
    root = np.linalg.cholesky(phi**gaps if phi else np.eye(8))
    columns["y"] = columns["y"] + 0.5 * (rng.normal(size=(48, 8)) @ root.T).ravel()
    order = rng.permutation(len(columns["y"]))[: -len(columns["y"]) // 5]
    session = np.tile(sessions, 48)[order]
    return {name: column[order] for name, column in columns.items()}, session


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("phi", [0.0, 0.35, 0.9])
def test_deviance_at_a_fixed_phi_is_that_of_the_whole_covariance_matrix(method, phi):
    columns, session = with_sessions(3, 0.4)
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS, method=method)
    data = LongData.from_columns(columns, spec)
    s = session[data.row_numbers - 1]
    design, log_det = SerialModel.of(data, spec, s).design(phi)
    objective = Objective(design.statistics, design.levels, reml=method == "reml")
    factors = [np.array([[0.8, 0.0], [-0.3, 0.4]]), np.array([[1.5, 0.0], [0.2, 0.7]])]
    theta = objective.theta([change_coding(lv.R, L) for lv, L in zip(design.levels, factors, strict=True)])
    ours = objective.evaluate(theta).deviance + design.deviance_shift(reml=objective.reml) + log_det

    n = len(data)
    X = np.column_stack([np.ones(n), *(data.columns[c] for c in ("time", "x")), np.ones(n)])
    X[:, 3] = X[:, 1] * X[:, 2]
    unit = [np.searchsorted(units.start, np.arange(n), side="right") for units in data.units]
    V = (1.0 * phi ** np.abs(s[:, None] - s)) * (unit[1][:, None] == unit[1])
    for Lambda, of_row in zip(factors, unit, strict=True):
        V += (X[:, :2] @ Lambda @ Lambda.T @ X[:, :2].T) * (of_row[:, None] == of_row)
    P = np.linalg.inv(V)
    C = X.T @ P @ X
    r = data.columns["y"] - X @ np.linalg.solve(C, X.T @ P @ data.columns["y"])
    dof = n - 4 * (method == "reml")
    dense = np.linalg.slogdet(V)[1] + dof * (1 + np.log(2 * np.pi * (r @ P @ r) / dof))
    dense += np.linalg.slogdet(C)[1] * (method == "reml")
    assert ours == pytest.approx(dense, rel=1e-9)


@pytest.mark.parametrize(
    ("dataset", "formula", "axis", "method", "reference"),
    [
        # lme(Reaction ~ Days, random = ~ Days | Subject, sleepstudy, method = "ML",
        #     correlation = corCAR1(0.7, ~ Days | Subject)): Phi, logLik, fixef, sigma
        (
            "sleepstudy",
            "Reaction ~ Days + (1 + Days | Subject)",
            "Days",
            "ml",
            (0.48186, -866.207964, (252.22866, 10.4670159)),
        ),
        # lme(current ~ voltage, random = list(Wafer = ~ 1, Site = ~ 1), Wafer, method = "REML",
        #     correlation = corCAR1(0.12, ~ voltage | Wafer/Site))
        (
            "wafer",
            "current ~ voltage + (1 | Wafer) + (1 | Wafer:Site)",
            "voltage",
            "reml",
            (0.1220915, -213.6785626, (-6.92472003, 9.60479961)),
        ),
    ],
)
def test_phi_and_likelihood_are_those_of_nlme(dataset, formula, axis, method, reference):
    """nlme 3.1-162 with opt = "nlminb" and tight tolerances."""
    spec = spec_of(formula, method=method, df="wald")
    data = LongData.from_columns(frame(dataset), spec)
    found = serial_correlation(data, spec, data.columns[axis])
    phi, loglik, beta = reference

    assert found.status == "ok"
    assert found.phi == pytest.approx(phi, abs=2e-5)
    assert found.deviance == pytest.approx(-2 * loglik, abs=1e-4)
    np.testing.assert_allclose([row.estimate for row in found.fixed], beta, rtol=2e-6)
    direct = fit(data, spec)
    assert found.deviance_independent == pytest.approx(direct.deviance, abs=1e-6)
    assert found.chi2 == pytest.approx(direct.deviance - found.deviance, abs=1e-6)
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 1))
    for ours, theirs in zip(found.independent, direct.fixed, strict=True):
        assert ours.estimate == pytest.approx(theirs.estimate, rel=1e-6)
        assert ours.se == pytest.approx(theirs.se, rel=1e-5)


def test_serial_correlation_is_found_and_its_interval_ends_where_the_deviance_is_3_84_higher():
    columns, session = with_sessions(7, 0.6)
    spec = GrowthSpec.from_formula("y ~ time", INTERCEPTS, method="ml", df="satterthwaite")
    data = LongData.from_columns(columns, spec)
    s = session[data.row_numbers - 1]
    found = serial_correlation(data, spec, s)

    def profile(phi: float) -> float:
        """The deviance fitted to rows whitened here, by the ordinary road."""
        order = np.lexsort((s, np.searchsorted(data.units[1].start, np.arange(len(s)), side="right")))
        starts = np.isin(np.arange(len(s)), data.units[1].start)
        rho = np.where(starts, 0.0, phi ** np.abs(np.diff(s[order], prepend=0.0)))
        raw = {"y": data.columns["y"], "one": np.ones(len(s)), "time": data.columns["time"]}
        white = {
            name: (v[order] - rho * np.roll(v[order], 1)) / np.sqrt(1 - rho**2) for name, v in raw.items()
        }
        of = {name: np.array(columns[name])[data.row_numbers[order] - 1] for name in ("therapist", "patient")}
        spec = GrowthSpec.from_formula(
            "y ~ 0 + one + time", ["0 + one | therapist", "0 + one | therapist:patient"], method="ml"
        )
        return fit(LongData.from_columns(white | of, spec), spec).deviance + np.log(1 - rho**2).sum()

    assert found.status == "ok"
    assert found.lower < 0.6 < found.upper
    assert found.chi2 > 10
    assert found.deviance == pytest.approx(profile(found.phi), abs=1e-6)
    assert profile(found.phi - 0.02) > found.deviance < profile(found.phi + 0.02)
    for end in (found.lower, found.upper):
        assert profile(end) - found.deviance == pytest.approx(3.841, abs=0.01)
    assert [row.df is None for row in found.fixed] == [False, False]
    assert found.fixed[1].se != pytest.approx(found.independent[1].se, rel=1e-3)


def test_independent_residuals_leave_zero_inside_the_interval():
    columns, session = with_sessions(11, 0.0)
    spec = GrowthSpec.from_formula("y ~ time", INTERCEPTS, df="wald")
    data = LongData.from_columns(columns, spec)
    found = serial_correlation(data, spec, session[data.row_numbers - 1])

    assert found.status == "ok"
    assert found.lower == 0
    assert found.phi < found.upper < 0.6
    assert found.p > 0.05
    assert found.chi2 < 3.84


def test_a_slow_walk_cannot_be_told_from_a_random_intercept():
    """Random walks from starts far apart: the limit of phi = 1 with a random intercept."""
    rng = np.random.default_rng(0)
    sessions = np.arange(1.0, 16.0)
    columns = simulated(0, n_therapists=12, n_patients=3, times=tuple(sessions / 10))
    walks = np.cumsum(rng.normal(size=(36, 15)), axis=1) + 30 * rng.normal(size=(36, 1))
    spec = GrowthSpec.from_formula("y ~ time", INTERCEPTS, df="wald")
    data = LongData.from_columns({**columns, "y": walks.ravel()}, spec)
    found = serial_correlation(data, spec, np.tile(sessions, 36)[data.row_numbers - 1])

    assert found.status == "edge"
    assert (found.phi, found.upper, found.deviance, found.fixed) == (None, None, None, ())
    assert "cannot be told" in found.message
    assert len(found.independent) == 2


def test_data_that_cannot_support_the_model_have_their_status():
    spec = GrowthSpec.from_formula("y ~ time", ["1 | therapist"])
    columns = simulated(21)
    flat = LongData.from_columns({**columns, "y": columns["y"] * 0 + 4}, spec)
    sessions = np.arange(len(flat), dtype=float)
    assert serial_correlation(flat, spec, sessions).status == "no_variation"
    one = {name: column[columns["time"] == 0] for name, column in columns.items()}
    single = GrowthSpec.from_formula("y ~ x", INTERCEPTS)
    data = LongData.from_columns(one, single)
    assert serial_correlation(data, single, np.ones(len(data))).status == "insufficient_data"


@pytest.mark.parametrize(
    ("session", "words"),
    [
        (lambda s: np.where(s == 3, 2, s), "a second rating of a therapist:patient at one session"),
        (lambda s: s[1:], "one for each row"),
        (lambda s: np.where(s == 3, np.nan, s), "finite numbers"),
    ],
)
def test_sessions_that_cannot_be_ordered_are_refused(session, words):
    columns, sessions = with_sessions(3, 0.4)
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    data = LongData.from_columns(columns, spec)
    with pytest.raises(DataError, match=words):
        serial_correlation(data, spec, session(sessions[data.row_numbers - 1]))


def test_the_refused_row_is_one_of_the_two():
    columns = simulated(21)
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    data = LongData.from_columns(columns, spec)
    session = columns["time"][data.row_numbers - 1].copy()
    session[5] = session[4]
    with pytest.raises(DataError) as error:
        serial_correlation(data, spec, session)
    assert error.value.row in data.row_numbers[4:6]
