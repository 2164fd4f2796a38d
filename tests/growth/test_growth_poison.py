"""Data that clinics have: a status or a named error, never a crash, a NaN or a zero nobody estimated."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, RandomTerm, SpecError, fit, inference
from tests.growth.dense import simulated

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

TWO_LEVELS = ["1 + time | therapist", "1 + time | therapist:patient"]


def fitted(
    columns: dict[str, Any], formula: str = "y ~ time", random: list[str] = TWO_LEVELS, **options: Any
):
    spec = GrowthSpec.from_formula(formula, random, **options)
    return fit(LongData.from_columns(columns, spec), spec)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, float) else []


def assert_no_numbers(result: FitResult, status: str, words: str) -> None:
    assert result.status == status
    assert words in result.message
    assert numbers({k: v for k, v in result.to_dict().items() if k != "seconds"}) == []


def only(columns: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[rows] for name, column in columns.items()}


def with_column(**changes: Any) -> dict[str, Any]:
    return {**simulated(1), **changes}


N = len(simulated(1)["y"])


@pytest.mark.parametrize("value", [0.0, 5.0, 1e9])
def test_constant_outcome_has_no_variation(value):
    assert_no_numbers(fitted(with_column(y=np.full(N, value))), "no_variation", "every value is")


def test_outcome_that_is_a_line_of_time_has_no_variation():
    columns = simulated(1)
    assert_no_numbers(
        fitted({**columns, "y": 3 + 2 * columns["time"]}), "no_variation", "reproduce it exactly"
    )


@pytest.mark.parametrize("sigma", [0.0, 1e-9])
def test_ratings_without_residual_have_no_variation(sigma):
    columns = simulated(1, sigma=sigma)
    assert_no_numbers(fitted(columns), "no_variation", "no residual variation")


def test_one_therapist_is_not_enough():
    columns = simulated(1, n_therapists=1)
    assert_no_numbers(fitted(columns), "insufficient_data", "only one 'therapist'")


def test_one_patient_is_not_enough():
    columns = simulated(1, n_therapists=1, n_patients=1)
    result = fitted(columns, random=["1 + time | therapist:patient"])
    assert_no_numbers(result, "insufficient_data", "only one 'therapist:patient'")


def test_one_patient_per_therapist_does_not_tell_levels_apart():
    columns = simulated(1, n_patients=1)
    assert_no_numbers(fitted(columns), "insufficient_data", "cannot be told apart")


def test_one_session_each_is_not_enough():
    columns = simulated(1)
    first = columns["time"] == 0
    assert_no_numbers(fitted(only(columns, first), "y ~ x"), "insufficient_data", "cannot support 2 random")
    late = np.arange(N) % 4 == (np.arange(N) // 4) % 4
    assert_no_numbers(fitted(only(columns, late)), "insufficient_data", "more rows per unit are needed")


def test_one_rating_in_all_is_not_enough():
    assert_no_numbers(fitted(only(simulated(1), np.arange(1))), "insufficient_data", "only one")


def test_no_rating_in_all_is_not_enough():
    result = fitted(with_column(y=np.full(N, np.nan)))
    assert_no_numbers(result, "insufficient_data", f"{N} dropped")
    assert result.n == {"rows": 0, "dropped": N, "therapist": 0, "therapist:patient": 0}
    assert_no_numbers(fitted(only(simulated(1), np.arange(0))), "insufficient_data", "no row")


def test_fewer_rows_than_fixed_effects_are_not_enough():
    columns = only(simulated(1, n_therapists=2, n_patients=1, times=(0.0, 1.0)), np.arange(4))
    result = fitted(columns, "y ~ time * x + I(time * x^2)", ["1 | therapist"])
    assert_no_numbers(result, "insufficient_data", "fixed effects")


def test_missing_values_of_used_columns_are_dropped_and_counted():
    columns = simulated(1)
    holes = {name: column.astype(object) for name, column in columns.items()}
    holes["y"][0] = None
    holes["time"][1] = ""
    holes["therapist"][2] = float("nan")
    holes["patient"][3] = None
    holes["x"][4] = None
    result = fitted({**holes, "unused": [None] * N})

    assert result.is_fitted
    assert (result.n["rows"], result.n["dropped"]) == (N - 4, 4)
    complete = fitted(only(columns, np.arange(N) >= 4))
    assert complete.fingerprint == result.fingerprint
    assert fitted(holes, "y ~ time + x").n["dropped"] == 5


def test_duplicate_times_are_ratings_like_others():
    columns = simulated(1)
    twice = {name: np.concatenate([column, column[:8]]) for name, column in columns.items()}
    twice["y"][-8:] += 0.3
    result = fitted(twice)
    assert result.is_fitted
    assert result.n["rows"] == N + 8


def test_predictor_of_the_therapist_is_fitted():
    result = fitted(simulated(1), "y ~ time * x")
    assert result.is_fitted
    assert [row.term for row in result.fixed] == ["Intercept", "time", "x", "time:x"]


@pytest.mark.parametrize("column", ["time", "x", "trt"])
def test_predictor_with_one_value_is_named(column):
    values = {"time": np.zeros(N), "x": np.full(N, 2.5), "trt": np.full(N, "a")}
    result = fitted(
        {**with_column(trt=np.tile(["a", "b"], N // 2)), column: values[column]}, "y ~ time + x + trt"
    )
    assert_no_numbers(result, "no_variation", f"'{column}' has the same value")


def test_random_slope_on_a_constant_is_named():
    result = fitted(with_column(z=np.ones(N)), random=["1 | therapist", "1 + z | therapist:patient"])
    assert_no_numbers(result, "no_variation", "'z'")


def test_collinear_predictor_is_named_with_what_it_repeats():
    columns = simulated(1)
    columns["late"] = 2 * columns["time"] + 1
    columns["sum"] = columns["x"] + columns["time"]
    with pytest.raises(DataError, match="'late' is a linear combination of 'Intercept', 'time'") as caught:
        fitted(columns, "y ~ time + x + late")
    assert caught.value.column == "late"
    with pytest.raises(DataError, match="'sum' is a linear combination of 'time', 'x'"):
        fitted(columns, "y ~ time + x + sum")


def test_collinear_random_columns_are_named():
    columns = simulated(1)
    columns["late"] = 2 * columns["time"] + 1
    with pytest.raises(DataError, match="'late'"):
        fitted(columns, random=["1 + time + late | therapist"])


@pytest.mark.parametrize(
    ("column", "value", "row", "words"),
    [
        ("y", "five", 3, "'five' is not a number"),
        ("time", "Session 3", 3, "'Session 3' is not a number"),
        ("x", "high", 3, "'high' is not a number"),
        ("y", float("inf"), 3, "infinite"),
        ("time", float("-inf"), 3, "infinite"),
    ],
)
def test_value_that_is_no_number_is_named_by_column_and_row(column, value, row, words):
    columns = simulated(1)
    columns[column] = columns[column].astype(object)
    columns[column][row - 1] = value
    with pytest.raises(DataError, match=words) as caught:
        fitted(columns, "y ~ time + x")
    assert (caught.value.column, caught.value.row) == (column, row)
    assert f"column '{column}', row {row}" in str(caught.value)


def test_logarithm_of_zero_is_named_by_column_and_row():
    with pytest.raises(DataError, match="row 1: the value is not finite") as caught:
        fitted(simulated(1), "y ~ log(time)", ["1 | therapist"])
    assert caught.value.column == "log(time)"


def test_dates_are_not_numbers():
    dates = pd.date_range("2024-01-01", periods=N)
    with pytest.raises(DataError, match="'time' holds datetime64"):
        fitted(with_column(time=dates))


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="'time' has 3 rows"):
        fitted(with_column(time=np.arange(3.0)))


def test_patient_label_under_two_therapists_is_two_units_of_the_nested_grouping():
    result = fitted(simulated(1, n_therapists=6, n_patients=3))
    assert result.n["therapist:patient"] == 18


def test_patient_label_under_two_therapists_is_refused_where_patients_are_not_nested():
    columns = simulated(1)
    columns["patient"] = 100 * columns["therapist"] + columns["patient"]
    nested = fitted(columns, random=["1 | patient", "1 | therapist"])
    assert nested.loglik == pytest.approx(
        fitted(columns, random=["1 | therapist", "1 | therapist:patient"]).loglik, rel=1e-12
    )
    columns["therapist"] = columns["therapist"].copy()
    columns["therapist"][1] = 5
    with pytest.raises(DataError, match="'0' of 'patient' is under more than one 'therapist'") as caught:
        fitted(columns, random=["1 | therapist", "1 | patient"])
    assert (caught.value.column, caught.value.row) == ("patient", 2)


def test_level_without_any_variance_is_an_exact_zero_and_said():
    """Every therapist has the same ratings of the same patients: nothing is left between therapists."""
    columns = simulated(1)
    columns["y"] = np.tile(columns["y"][: N // 12], 12)
    result = fitted(columns)
    therapist, patient = result.random

    assert result.status == "singular"
    assert "therapist: singular covariance matrix, no variance of Intercept, time" in result.message
    assert therapist.sd == (0.0, 0.0)
    assert therapist.corr == ((1.0, None), (None, 1.0))
    assert min(patient.sd) > 0.1
    assert all(math.isfinite(number) for number in numbers(result.to_dict()))


def test_slope_variance_of_zero_leaves_the_others():
    columns = simulated(4, n_therapists=40, therapist_sd=(1.0, 0.0), patient_sd=(0.8, 0.0))
    result = fitted(columns, random=["time || therapist", "time || therapist:patient"])
    zero = {level.group: level.sd[1] == 0.0 for level in result.random}

    assert result.status == "singular"
    assert any(zero.values())
    for group, is_zero in zero.items():
        assert (f"{group}: singular covariance matrix, no variance of time" in result.message) == is_zero


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("seed", range(12))
def test_tiny_cohorts_give_finite_numbers_or_a_status(seed, method):
    rng = np.random.default_rng(seed)
    columns = simulated(seed, n_therapists=int(rng.integers(2, 5)), n_patients=2, times=(0.0, 1.0, 2.0))
    columns["y"] = np.where(rng.random(len(columns["y"])) < 0.1, np.nan, np.round(columns["y"]))
    result = fitted(columns, method=method)

    assert all(math.isfinite(number) for number in numbers(result.to_dict()))
    if result.is_fitted:
        assert all(row.se > 0 and row.df > 0 for row in result.fixed)
        assert result.sigma > 0
    else:
        assert result.message


def test_negative_adjusted_variance_of_kenward_roger_is_not_shown(monkeypatch):
    true_method = inference.kenward_roger

    def negative(*args):
        return dataclasses.replace(true_method(*args), adjusted=-np.eye(4))

    monkeypatch.setattr(inference, "kenward_roger", negative)
    by_name = fitted(simulated(10), "y ~ time * x", df="kenward-roger")
    auto = fitted(simulated(10), "y ~ time * x")

    assert_no_numbers(by_name, "insufficient_data", "too few units for kenward-roger")
    assert auto.is_fitted
    assert auto.df_method == "satterthwaite"


def test_ceiling_of_the_scale_is_fitted():
    columns = simulated(1, beta=(6.5, 0.2))
    columns["y"] = np.clip(np.round(columns["y"]), 1, 7)
    assert fitted(columns).is_fitted


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ __import__('os').system('true')",
        "y ~ I(time.__class__)",
        "y ~ np.exp(time)",
        "y ~ I(9**9**9)",
        "y ~ I(time^99)",
        "y ~ {time}",
        "y ~ `time`",
        "y ~ eval(time)",
        "y ~ abs(time)",
        "y ~ time + (1 | therapist)",
        "y ~ time + y",
        "y ~ 0",
        "y ~ ",
        "log(y) ~ time",
    ],
)
def test_formula_outside_the_language_is_refused(formula):
    with pytest.raises(SpecError):
        fitted(simulated(1), formula)


@pytest.mark.parametrize(
    "random",
    [
        [],
        ["1 | therapist"] * 2,
        ["1 | therapist", "1 | patient", "1 | therapist:patient"],
        ["1"],
        ["| therapist"],
        ["1 | "],
        ["1 | 2"],
        ["1 | therapist | patient"],
        ["0 | therapist"],
        ["time + time | therapist"],
        ["1 | therapist:therapist"],
    ],
    ids=str,
)
def test_random_terms_that_make_no_model_are_refused(random):
    with pytest.raises(SpecError):
        GrowthSpec.from_formula("y ~ time", random)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("1 + time | therapist", RandomTerm("therapist", ("1", "time"))),
        ("time | therapist:patient", RandomTerm("therapist:patient", ("1", "time"))),
        ("(1 + Days | Subject)", RandomTerm("Subject", ("1", "Days"))),
        ("time || g", RandomTerm("g", ("1", "time"), correlated=False)),
        ("1 | g", RandomTerm("g", ("1",))),
        ("0 + time | g", RandomTerm("g", ("time",))),
        ("time - 1 | g", RandomTerm("g", ("time",))),
        ("time + I(time^2) | a : b", RandomTerm("a:b", ("1", "time", "I(time^2)"))),
    ],
)
def test_random_terms_mean_what_they_mean_in_lme4(text, term):
    assert RandomTerm.parse(text) == term
