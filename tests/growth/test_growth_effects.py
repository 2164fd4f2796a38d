"""Effect sizes are those of analysis of variance in balanced designs, and of whole matrices in others."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from analytics.growth import FitResult, GrowthSpec, LongData, SpecError, UnitSums, fit
from analytics.growth.effects import level_growth_correlations, pseudo_r2, reliability, variance_shares
from tests.growth.dense import simulated

LINES = ["1 + time | therapist", "1 + time | therapist:patient"]
SPEC = GrowthSpec.from_formula("y ~ time", LINES, df="wald")


@cache
def uneven() -> dict[str, np.ndarray]:
    """A cohort with seven tenths of its rows, one therapist's all at one time."""
    rows = simulated(5, n_therapists=30, times=(0.0, 1.0, 2.0, 4.0))
    keep = np.random.default_rng(5).random(len(rows["y"])) < 0.7
    keep &= (rows["therapist"] != 3) | (rows["time"] == 1.0)
    return {name: column[keep] for name, column in rows.items()}


@cache
def growth_data() -> LongData:
    return LongData.from_columns(uneven(), SPEC)


@cache
def growth_fit() -> FitResult:
    return fit(growth_data(), SPEC)


@cache
def balanced(seed: int = 2, n_units: int = 24, m: int = 5) -> dict[str, np.ndarray]:
    """One level, m ratings a unit; `x` is of the unit, `w` varies inside it with the same mean in each."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(n_units), m)
    x, b = rng.normal(size=(2, n_units))
    w = rng.normal(size=(n_units, m))
    w = (w - w.mean(axis=1, keepdims=True)).ravel()
    y = 2 + 0.9 * x[unit] + 1.5 * w + 0.7 * b[unit] + rng.normal(size=len(unit))
    return {"y": y, "x": x[unit], "w": w, "unit": unit}


def balanced_fit(formula: str) -> FitResult:
    largest = GrowthSpec.from_formula("y ~ x + w", ["1 | unit"])
    spec = GrowthSpec.from_formula(formula, ["1 | unit"], method="reml", df="wald")
    return fit(LongData.from_columns(balanced(), largest), spec)


def mean_squares(residual: np.ndarray, lost: int, lost_within: int = 0) -> tuple[float, float]:
    """Mean squares between and within units of a residual (n, m), `lost` df gone between units."""
    n, m = residual.shape
    means = residual.mean(axis=1)
    within = np.sum((residual - means[:, None]) ** 2) / (n * (m - 1) - lost_within)
    return m * np.sum((means - means.mean()) ** 2) / (n - 1 - lost), within


def table(x: str | None = None, w: str | None = None) -> np.ndarray:
    """y less its least squares fit on x between units and on w within them, as (n, m)."""
    rows = balanced()
    y = rows["y"].reshape(24, 5)
    if x:
        means, values = y.mean(axis=1), rows[x].reshape(24, 5)[:, 0]
        slope = np.polyfit(values, means, 1)[0]
        y = y - slope * values[:, None]
    if w:
        values = rows[w].reshape(24, 5)
        y = y - values * np.sum(values * y) / np.sum(values**2)
    return y


def test_shares_are_those_of_the_analysis_of_variance():
    between, within = mean_squares(table(), 0)
    found = variance_shares(balanced_fit("y ~ 1"))
    unit, residual = found.rows

    assert unit.icc == pytest.approx((between - within) / (between + 4 * within), rel=1e-6)
    assert unit.share == unit.icc
    assert residual.variance == pytest.approx(within, rel=1e-6)
    assert (residual.group, residual.icc) == (None, None)
    assert found.total == pytest.approx((between - within) / 5 + within, rel=1e-6)
    assert "24 unit" in found.basis
    assert found.to_dict()["rows"][0]["group"] == "unit"


def test_shares_are_correlations_of_ratings_at_that_time():
    """From the covariance matrix of three ratings: two of one patient, one of another of that therapist."""
    result, t = growth_fit(), 3.0
    T = {row.group: np.array(row.cov) for row in result.random}
    Z = np.kron(np.eye(2), [[1, t]])[[0, 0, 1]]
    V = np.tile([1, t] @ T["therapist"] @ [1, t], (3, 3))
    V = V + Z @ np.kron(np.eye(2), T["therapist:patient"]) @ Z.T + result.sigma**2 * np.eye(3)
    therapist, patient, residual = variance_shares(result, time=t).rows

    assert therapist.icc == pytest.approx(V[0, 2] / V[0, 0])
    assert patient.icc == pytest.approx(V[0, 1] / V[0, 0])
    assert therapist.share + patient.share + residual.share == pytest.approx(1)
    assert variance_shares(result, time=t).total == pytest.approx(V[0, 0])


def test_effects_at_a_time_do_not_depend_on_where_time_begins():
    rows = {**uneven(), "time": uneven()["time"] - 2.0}
    data = LongData.from_columns(rows, SPEC)
    moved = fit(data, SPEC)
    here, there = variance_shares(growth_fit(), 2.0), variance_shares(moved, 0.0)
    own, own_there = reliability(growth_fit(), growth_data(), 2.0), reliability(moved, data, 0.0)
    corr, corr_there = level_growth_correlations(growth_fit(), 2.0), level_growth_correlations(moved, 0.0)

    assert [row.share for row in here.rows] == pytest.approx([row.share for row in there.rows], rel=1e-5)
    assert (own.level, own.growth) == pytest.approx((own_there.level, own_there.growth), rel=1e-5)
    assert corr.rows[0].correlation == pytest.approx(corr_there.rows[0].correlation, rel=1e-4)
    assert variance_shares(growth_fit(), 0.0).rows[0].share != pytest.approx(here.rows[0].share, rel=1e-2)


def test_pseudo_r2_of_a_predictor_of_units_is_that_of_the_analysis_of_variance():
    between, within = mean_squares(table(), 0)
    after, _ = mean_squares(table(x="x"), 1)
    found = pseudo_r2(balanced_fit("y ~ 1"), balanced_fit("y ~ x"))
    unit, residual = found.rows

    assert (unit.group, unit.what) == ("unit", "level")
    assert unit.before == pytest.approx((between - within) / 5, rel=1e-6)
    assert unit.drop == pytest.approx(1 - (after - within) / (between - within), rel=1e-6)
    assert unit.drop > 0.2
    assert residual.drop == pytest.approx(0, abs=1e-6)


def test_pseudo_r2_of_a_predictor_inside_units_is_negative_for_the_units_and_says_so():
    between, within = mean_squares(table(), 0)
    _, after = mean_squares(table(w="w"), 0, lost_within=1)
    found = pseudo_r2(balanced_fit("y ~ 1"), balanced_fit("y ~ w"))
    unit, residual = found.rows

    assert residual.drop == pytest.approx(1 - after / within, rel=1e-6)
    assert unit.drop == pytest.approx(1 - (between - after) / (between - within), rel=1e-5)
    assert unit.drop < 0
    assert "may rise by chance" in found.notes[0]


def test_pseudo_r2_names_level_and_growth_of_each_level():
    spec = GrowthSpec.from_formula("y ~ time * x", LINES, df="wald")
    data = LongData.from_columns(uneven(), spec)
    small, large = fit(data, SPEC), fit(data, spec)
    found = pseudo_r2(small, large, time=1.0)

    assert [(row.group, row.what) for row in found.rows] == [
        ("therapist", "level"),
        ("therapist", "growth"),
        ("therapist:patient", "level"),
        ("therapist:patient", "growth"),
        (None, "residual"),
    ]
    assert found.rows[1].before == pytest.approx(small.random[0].cov[1][1])
    assert found.rows[2].after == pytest.approx(np.array([1, 1]) @ large.random[1].cov @ [1, 1])
    assert found.rows[0].drop == pytest.approx(1 - found.rows[0].after / found.rows[0].before)
    assert small.formula in found.basis
    assert large.formula in found.basis


def test_nothing_is_explained_of_a_variance_of_zero():
    small, large = balanced_fit("y ~ 1"), balanced_fit("y ~ x")
    zero = replace(small, random=(replace(small.random[0], cov=((0.0,),)),))
    found = pseudo_r2(zero, large)

    assert found.rows[0].drop is None
    assert "nothing to explain" in found.notes[0]


def test_pseudo_r2_refuses_other_random_effects_and_other_data():
    small, large = balanced_fit("y ~ 1"), balanced_fit("y ~ x")
    spec = GrowthSpec.from_formula("y ~ time", ["1 | therapist", LINES[1]], df="wald")

    with pytest.raises(SpecError, match="same random effects"):
        pseudo_r2(fit(growth_data(), spec), growth_fit())
    with pytest.raises(SpecError, match="different ratings"):
        pseudo_r2(replace(small, fingerprints={small.outcome: "0"}), large)


def test_correlation_is_that_of_the_fit_at_zero_and_vanishes_where_the_variance_is_least():
    result = growth_fit()
    T = np.array(result.random[0].cov)

    at_zero = level_growth_correlations(result).rows
    assert at_zero[0].correlation == pytest.approx(result.random[0].corr[0][1])
    assert at_zero[1].correlation == pytest.approx(result.random[1].corr[0][1])
    turning = level_growth_correlations(result, time=-T[0, 1] / T[1, 1])
    assert turning.rows[0].correlation == pytest.approx(0, abs=1e-12)
    assert turning.rows[1].correlation != pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("cov", "time"), [(((0.5, 0.0), (0.0, 0.0)), 0.0), (((0.01, 0.07), (0.07, 0.49)), -1 / 7)]
)
def test_correlation_that_does_not_exist_says_why(cov, time):
    """Patients of one growth, or with lines that all meet at that time."""
    spec = GrowthSpec.from_formula("y ~ time", ["1 | therapist", LINES[1]], df="wald")
    result = fit(growth_data(), spec)
    altered = replace(result, random=(result.random[0], replace(result.random[1], cov=cov)))
    therapist, patient = level_growth_correlations(altered, time).rows

    assert (therapist.correlation, patient.correlation) == (None, None)
    assert "same growth" in therapist.message
    assert "zero" in patient.message


def test_reliability_of_balanced_means_is_that_of_the_analysis_of_variance():
    between, within = mean_squares(table(), 0)
    spec = GrowthSpec.from_formula("y ~ 1", ["1 | unit"], df="wald")
    data = LongData.from_columns(balanced(), spec)
    found = reliability(fit(data, spec), data)

    assert found.level == pytest.approx(1 - within / between, rel=1e-6)
    assert [unit.level for unit in found.units] == pytest.approx([found.level] * 24)
    assert found.growth is None
    assert all(unit.growth is None for unit in found.units)
    assert found.n_with == 24


@pytest.mark.parametrize("time", [0.0, 2.5])
def test_reliability_is_that_of_least_squares_within_each_therapist(time):
    """From the covariance matrix of all ratings of one therapist, the therapist's own effects left out."""
    result, data, rows = growth_fit(), growth_data(), growth_data().columns
    T = {row.group: np.array(row.cov) for row in result.random}
    M = np.array([[1, time], [0, 1]])
    own = np.diag(M @ T["therapist"] @ M.T)
    found = reliability(result, data, time)
    high, low = data.units
    patient = np.searchsorted(low.start, np.arange(len(data)), side="right")
    expected = {}
    for k, label in enumerate(high.labels):
        inside = np.arange(*np.append(high.start, len(data))[[k, k + 1]])
        Z = np.column_stack([np.ones(len(inside)), rows["time"][inside]])
        same = patient[inside][:, None] == patient[inside]
        V = (Z @ T["therapist:patient"] @ Z.T) * same + result.sigma**2 * np.eye(len(inside))
        A = Z.T @ np.linalg.solve(V, Z)
        if np.linalg.matrix_rank(A) == 2:
            expected[label] = own / (own + np.diag(M @ np.linalg.inv(A) @ M.T))

    assert len(expected) == found.n_with == 29
    assert {unit.label for unit in found.units if unit.level is None} == {("3",)}
    for unit in found.units:
        if unit.label in expected:
            assert (unit.level, unit.growth) == pytest.approx(tuple(expected[unit.label]), rel=1e-9)
    assert (found.level, found.growth) == pytest.approx(tuple(np.mean(list(expected.values()), axis=0)))


def test_reliability_from_sums_is_that_from_rows():
    sums = UnitSums.from_data(growth_data(), SPEC)
    from_rows, from_sums = (reliability(fit(data, SPEC), data, time=1.5) for data in (growth_data(), sums))

    assert (from_sums.level, from_sums.growth) == pytest.approx((from_rows.level, from_rows.growth), rel=1e-6)
    assert from_sums.units[4].label == from_rows.units[4].label
    assert from_sums.units[4].growth == pytest.approx(from_rows.units[4].growth, rel=1e-6)


def test_reliability_without_a_patient_level_counts_ratings():
    spec = GrowthSpec.from_formula("y ~ time", ["1 | therapist"], df="wald")
    data = LongData.from_columns(uneven(), spec)
    result = fit(data, spec)
    found = reliability(result, data)
    n = np.diff(data.units[0].start, append=len(data))
    variance = result.random[0].cov[0][0]

    assert [unit.level for unit in found.units] == pytest.approx(variance / (variance + result.sigma**2 / n))


def test_effects_refuse_other_data_no_estimates_and_other_curves():
    curved = GrowthSpec.from_formula("y ~ time", ["1 + I(time^2) | therapist"], df="wald")
    no_level = GrowthSpec.from_formula("y ~ time", ["0 + time | therapist"], df="wald")

    with pytest.raises(SpecError, match="fingerprint"):
        reliability(replace(growth_fit(), fingerprint="0"), growth_data())
    with pytest.raises(SpecError, match="timed_out"):
        variance_shares(replace(growth_fit(), status="timed_out"))
    for spec in (curved, no_level):
        with pytest.raises(SpecError, match="one column of time"):
            level_growth_correlations(fit(LongData.from_columns(uneven(), spec), spec))
