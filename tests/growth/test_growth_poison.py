"""Data that clinics have: a status or a named error, never a crash, a NaN or a zero nobody estimated."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, RandomTerm, SpecError, fit, inference
from analytics.growth import joint as joint_module
from analytics.growth.errors import Unfittable
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.results import FITTED, JointResult, Status
from tests.growth.dense import simulated

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("error::RuntimeWarning")]

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


PATIENT = simulated(1)["therapist"] * 4 + simulated(1)["patient"]
OF_PATIENT = np.random.default_rng(0).normal(size=48)[PATIENT]
OF_OCCASION = np.random.default_rng(1).normal(size=N)
INTERCEPTS = ["1 | therapist", "1 | therapist:patient"]


def finite(result: FitResult) -> bool:
    return all(math.isfinite(number) for number in numbers(result.to_dict()))


@pytest.mark.parametrize(
    "values", [OF_PATIENT, np.round(5 + OF_PATIENT), simulated(1)["therapist"] % 3 + 4.0]
)
@pytest.mark.parametrize(
    "random", [TWO_LEVELS, INTERCEPTS, TWO_LEVELS[1:], ["1 | therapist", "1 + time | therapist:patient"]]
)
def test_ratings_that_never_change_within_a_patient_have_no_variation(values, random):
    """The likelihood has no maximum: the residual variance goes to zero, whatever the shape of the levels."""
    assert_no_numbers(fitted(with_column(y=values), random=random), "no_variation", "")


def test_one_therapist_with_one_patient_and_one_with_five_thousand():
    rng = np.random.default_rng(2)
    patient = np.repeat(np.arange(5001), 3)
    y = rng.normal(size=len(patient)) + np.repeat(rng.normal(size=5001), 3)
    columns = {"y": y, "time": np.tile([0.0, 1.0, 2.0], 5001), "patient": patient, "therapist": patient > 0}
    result = fitted(columns)
    assert result.status == "singular"
    assert finite(result)
    assert result.random[1].sd[0] == pytest.approx(1.0, abs=0.05)


def test_one_therapist_with_a_thousand_patients_among_small_ones():
    rng = np.random.default_rng(3)
    therapist = np.repeat(np.concatenate([np.zeros(1000), np.repeat(np.arange(1, 30), 2)]), 3)
    n = len(therapist) // 3
    patient = np.repeat(np.arange(n), 3)
    u = rng.normal(size=30)[therapist.astype(int)]
    y = u + rng.normal(size=n)[patient] + rng.normal(size=3 * n)
    result = fitted(
        {"y": y, "time": np.tile([0.0, 1.0, 2.0], n), "patient": patient, "therapist": therapist},
        random=INTERCEPTS,
    )
    assert result.status == "ok"
    assert result.random[0].sd[0] == pytest.approx(1.0, abs=0.4)


def test_five_hundred_sessions_of_one_patient():
    columns, extra = simulated(1), np.random.default_rng(4).normal(size=500)
    late = {name: np.concatenate([column, np.tile(column[:1], 500)]) for name, column in columns.items()}
    late["time"][N:], late["y"][N:] = np.arange(500) / 100, 5 + extra
    result = fitted(late)
    assert result.is_fitted
    assert finite(result)


@pytest.mark.slow
def test_a_million_rows_are_fitted():
    rng = np.random.default_rng(5)
    patient = np.repeat(np.arange(50_000), 20)
    time = np.tile(np.arange(20.0), 50_000)
    slopes = 0.1 + 0.05 * rng.normal(size=50_000)[patient]
    y = 5 + rng.normal(size=1000)[patient // 50] + slopes * time + rng.normal(size=len(time))
    result = fitted(
        {"y": y, "time": time, "patient": patient, "therapist": patient // 50},
        random=["1 | therapist", "1 + time | therapist:patient"],
    )
    assert result.n["rows"] == 1_000_000
    assert result.is_fitted
    assert result.sigma == pytest.approx(1.0, abs=0.01)
    assert result.fixed[1].estimate == pytest.approx(0.1, abs=0.002)


def test_reversed_scale_turns_the_signs_alone():
    columns = simulated(2, n_therapists=30)
    result, turned = (fitted({**columns, "y": y}, "y ~ time * x") for y in (columns["y"], 8 - columns["y"]))
    assert turned.loglik == pytest.approx(result.loglik, rel=1e-10)
    for here, there in zip(turned.fixed[1:], result.fixed[1:], strict=True):
        assert here.estimate == pytest.approx(-there.estimate, abs=1e-6 * there.se)


@pytest.mark.parametrize("outlier", [1e3, 1e6, -1e9])
def test_one_absurd_rating_is_fitted_as_it_stands(outlier):
    columns = with_column(y=simulated(1)["y"].copy())
    columns["y"][7] = outlier
    result = fitted(columns)
    assert result.status == "singular"
    assert result.sigma > abs(outlier) / 30


def test_identical_patients_and_therapists_leave_no_variance_between_them():
    columns = {name: np.concatenate([column[:16]] * 3) for name, column in simulated(1).items()}
    columns["therapist"] = np.repeat(np.arange(3), 16)
    result = fitted(columns)
    assert result.status == "singular"
    assert result.random[0].sd == (0.0, 0.0)


@pytest.mark.parametrize(
    ("formula", "column"),
    [
        ("y ~ time * x + twice_x", "twice_x"),
        ("y ~ time * z + time * twice_z", "twice_z"),
        ("y ~ time * w + time * twice_w", "twice_w"),
        ("y ~ arm + same_arm", "same_arm[T.v]"),
    ],
)
def test_collinear_predictors_of_any_level_are_named(formula, column):
    first = simulated(1)["therapist"] < 6
    columns = with_column(z=OF_PATIENT, w=OF_OCCASION)
    columns |= {f"twice_{name}": 2 * columns[name] + 1 for name in "xzw"}
    columns |= {"arm": np.where(first, "a", "b"), "same_arm": np.where(first, "u", "v")}
    with pytest.raises(DataError, match="is a linear combination") as caught:
        fitted(columns, formula)
    assert caught.value.column == column


@pytest.mark.parametrize("one", [PATIENT // 4 == 3, PATIENT == 3], ids=["therapist", "patient"])
def test_predictor_that_sets_one_unit_apart_is_fitted(one):
    result = fitted(with_column(z=one.astype(float)), "y ~ time * z")
    assert result.is_fitted
    assert finite(result)


@pytest.mark.parametrize(
    "formula", ["y ~ I(time^2)", "y ~ x + I(time^2)", "y ~ time:I(x^2)", "y ~ time + I(time*x^2)"]
)
def test_column_that_appears_inside_a_function_alone_is_not_called_constant(formula):
    assert fitted(with_column(x=np.exp(simulated(1)["x"])), formula).is_fitted


@pytest.mark.parametrize("column", ["y", "time", "x"])
def test_numbers_as_text_are_numbers(column):
    columns = simulated(1)
    texts = fitted(
        {**columns, column: [f" {value!r} " for value in columns[column].tolist()]}, "y ~ time * x"
    )
    assert texts.loglik == pytest.approx(fitted(columns, "y ~ time * x").loglik, rel=1e-12)


@pytest.mark.parametrize("of", [str, float, lambda label: f"Dr. Ä {label} ñ", lambda label: f"日本 '{label}"])
def test_labels_may_be_any_text(of):
    columns = simulated(1)
    labels = [of(int(label)) for label in columns["therapist"]]
    result = fitted({**columns, "therapist": labels})
    assert result.n == fitted(columns).n
    assert result.loglik == pytest.approx(fitted(columns).loglik, rel=1e-12)


def test_empty_labels_are_missing():
    labels = np.array(["" if label == 3 else str(label) for label in simulated(1)["therapist"]], dtype=object)
    result = fitted(with_column(therapist=labels))
    assert (result.n["dropped"], result.n["therapist"]) == (16, 11)


def test_nullable_columns_of_pandas_are_read():
    frame = pd.DataFrame(simulated(1))
    typed = frame.astype({"y": "Float64", "time": "Int64", "therapist": "category", "patient": "Int64"})
    typed.loc[3, "y"] = typed.loc[9, "patient"] = pd.NA
    result = fitted(typed)
    assert result.n["dropped"] == 2
    assert result.loglik == pytest.approx(fitted(frame.drop(index=[3, 9])).loglik, rel=1e-12)


def test_column_that_is_there_twice_is_refused():
    frame = pd.DataFrame(simulated(1))
    with pytest.raises(DataError, match="'x'"):
        fitted(pd.concat([frame, frame["x"]], axis=1), "y ~ time + x")


def test_column_that_is_a_table_is_refused():
    with pytest.raises(DataError, match="'x'"):
        fitted(with_column(x=np.ones((N, 2))), "y ~ time + x")


@pytest.mark.parametrize("scale", [1e200, 1e-300])
@pytest.mark.parametrize("column", ["y", "time", "x", "z", "w"])
def test_sizes_whose_squares_are_no_numbers_are_refused_or_fitted(column, scale):
    columns = with_column(z=OF_PATIENT, w=OF_OCCASION)
    columns[column] = columns[column] * scale
    try:
        result = fitted(columns, "y ~ time * x + time * z + time * w")
    except DataError as error:
        assert error.column in (column, f"time:{column}", "time:x", "time:z", "time:w")
        assert "linear combination" not in str(error)
    else:
        assert finite(result)
        assert (
            result.is_fitted or numbers({k: v for k, v in result.to_dict().items() if k != "seconds"}) == []
        )
        assert result.status != "insufficient_data"


def test_differences_below_rounding_have_no_variation():
    assert_no_numbers(fitted(with_column(y=5 + np.arange(N) * 1e-300)), "no_variation", "every value is 5")


def test_seconds_since_1970_are_a_time_like_others():
    columns = simulated(2, n_therapists=30)
    weeks = fitted(columns, "y ~ time * x", method="ml")
    seconds = fitted({**columns, "time": 1.6e9 + 604_800 * columns["time"]}, "y ~ time * x", method="ml")
    assert seconds.loglik == pytest.approx(weeks.loglik, rel=1e-9)
    assert 604_800 * seconds.fixed[1].estimate == pytest.approx(weeks.fixed[1].estimate, abs=1e-6)


@pytest.mark.parametrize("sigma", [1e-3, 1e-4])
def test_ratings_with_hardly_any_residual_are_fitted(sigma):
    result = fitted(simulated(1, n_therapists=30, sigma=sigma))
    assert result.is_fitted
    assert result.sigma == pytest.approx(sigma, rel=0.2)


# ---- both raters


def both(seed: int = 1, n_therapists: int = 12, rho: float = 0.3) -> pd.DataFrame:
    """Ratings by P and T of 4 sessions of 4 patients of each therapist, a tenth missing."""
    rng = np.random.default_rng(seed)
    columns = simulated(seed, n_therapists=n_therapists)
    n = len(columns["y"])
    patient = np.repeat(np.arange(n // 4), 4)
    e = rng.multivariate_normal([0, 0], [[0.25, 0.3 * rho], [0.3 * rho, 0.36]], size=n)
    v = rng.normal(size=(n // 4, 2)) * (0.8, 0.3)
    own = columns["y"] + v[patient, 0] + v[patient, 1] * columns["time"]
    frames = [
        pd.DataFrame({**columns, "y": columns["y"] + e[:, 0], "rater": "P", "session": columns["time"]}),
        pd.DataFrame({**columns, "y": own + e[:, 1], "rater": "T", "session": columns["time"]}),
    ]
    rows = pd.concat(frames, ignore_index=True)
    rows.loc[rng.random(2 * n) < 0.1, "y"] = np.nan
    return rows


def joint(rows: pd.DataFrame, **options: Any) -> JointResult:
    return fit_joint(rows, JointSpec("y", "rater", "session", "time", **options))


def of(rows: pd.DataFrame, rater: str) -> pd.Series:
    return rows["rater"] == rater


def copied(change: Any) -> pd.DataFrame:
    """T's ratings are P's of the same session, changed."""
    rows = both()
    rows.loc[of(rows, "T"), "y"] = change(rows.loc[of(rows, "P"), "y"].to_numpy())
    return rows


@pytest.mark.parametrize(
    "change", [lambda p: p, lambda p: 2 * p + 1, lambda p: p + 0.3], ids=["same", "line", "shifted"]
)
def test_two_raters_who_always_agree_have_no_residual_of_their_own(change):
    """The same form read twice: the residual correlation is 1 and the likelihood has no maximum."""
    assert_no_numbers(joint(copied(change)), "no_variation", "")


@pytest.mark.parametrize("noise", [1e-1, 1e-2])
def test_two_raters_who_nearly_agree_are_fitted(noise):
    rng = np.random.default_rng(5)
    result = joint(copied(lambda p: p + noise * rng.normal(size=len(p))))
    assert result.is_fitted
    assert finite(result)
    assert result.residual.rho > 0.9


@pytest.mark.parametrize("rater", ["P", "T"])
@pytest.mark.parametrize("what", ["seven", "of the patient"])
def test_rater_whose_ratings_never_change_has_no_variation(rater, what):
    rows = both()
    is_one = of(rows, rater)
    unit = rows["therapist"] * 4 + rows["patient"]
    rows.loc[is_one, "y"] = 7.0 if what == "seven" else (unit % 7)[is_one].astype(float)
    assert_no_numbers(joint(rows), "no_variation", "")


def test_both_raters_without_change_have_no_variation():
    assert_no_numbers(joint(both().assign(y=7.0)), "no_variation", "")
    rows = both()
    assert_no_numbers(
        joint(rows.assign(y=(rows["therapist"] * 4 + rows["patient"]) % 7.0)), "no_variation", ""
    )


@pytest.mark.parametrize("seed", [5, 6, 16, 18, 20, 21])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_step_to_a_correlation_of_one_is_taken_back(seed, method):
    """Few therapists with strongly correlated residuals: a long step makes R singular to the last digit."""
    rows = both(seed, n_therapists=4, rho=0.99 if seed % 2 else -0.99)
    rows["y"] = rows["y"].round()
    result = joint(rows, method=method)
    assert result.status in ("ok", "singular", "not_converged", "no_variation")
    assert finite(result)


def only_first_session_of_second(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[of(rows, "P") | (rows["session"] == 0)]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda rows: rows.assign(y=np.nan), "insufficient_data"),
        (lambda rows: rows[:0], "insufficient_data"),
        (lambda rows: rows[rows["session"] < 2], "insufficient_data"),
        (lambda rows: rows[rows["therapist"] == 0], "insufficient_data"),
        (lambda rows: rows[rows["patient"] == 0], "insufficient_data"),
        (lambda rows: rows.assign(time=1.0), "no_variation"),
        (lambda rows: rows[rows["session"] == 0], "insufficient_data"),
        (lambda rows: rows.assign(session=rows["session"] + 100 * of(rows, "T")), "insufficient_data"),
        (only_first_session_of_second, "insufficient_data"),
    ],
    ids=[
        "missing",
        "empty",
        "two sessions",
        "one therapist",
        "one patient each",
        "one time",
        "one session",
        "unpaired",
        "second once",
    ],
)
def test_ratings_that_cannot_support_the_joint_model_hold_no_number(change, status):
    assert_no_numbers(joint(change(both())), status, "")


@pytest.mark.parametrize("scale", [1e8, 1e-8])
def test_joint_model_of_huge_and_tiny_ratings_is_the_same(scale):
    rows = both()
    reference, result = joint(rows, method="ml"), joint(rows.assign(y=scale * rows["y"]), method="ml")
    n = result.n["rows"]
    assert result.status == reference.status
    assert result.loglik == pytest.approx(reference.loglik - n * np.log(scale), rel=1e-9)
    assert result.residual.rho == pytest.approx(reference.residual.rho, abs=1e-5)


@pytest.mark.parametrize(("outlier", "statuses"), [(100.0, FITTED), (1e3, FITTED), (1e6, get_args(Status))])
def test_one_absurd_rating_in_the_joint_model_is_fitted_as_it_stands_or_refused(outlier, statuses):
    rows = both()
    rows.loc[rows["y"].first_valid_index(), "y"] = outlier
    result = joint(rows)
    assert result.status in statuses
    assert finite(result)
    assert bool(result.fixed) == result.is_fitted


def test_whole_points_are_fitted_by_the_joint_model():
    result = joint(both().assign(y=both()["y"].round().clip(1, 7)))
    assert result.is_fitted
    assert finite(result)


def test_ratings_of_a_session_are_paired_by_any_label():
    rows = both()
    reference = joint(rows)
    for label in ("S {:.0f} ä", "{:.0f}b"):
        named = rows.assign(session=[label.format(number) for number in rows["session"]])
        assert joint(named).loglik == pytest.approx(reference.loglik, rel=1e-12)
    mixed = rows.assign(session=[f"{number:.0f}" if number else "0b" for number in rows["session"]])
    assert joint(mixed).loglik == pytest.approx(reference.loglik, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "column", "words"),
    [
        (lambda rows: rows[of(rows, "P")], "rater", "two raters"),
        (lambda rows: rows.assign(rater=rows["rater"].where(rows.index > 50, "S")), "rater", "two raters"),
        (lambda rows: pd.concat([rows.dropna(), rows.dropna()[:1]]), "session", "rated this session"),
        (lambda rows: rows.assign(time=rows["time"] + 0.5 * of(rows, "T")), "time", "differ"),
        (
            lambda rows: rows.assign(y=rows["y"].where(rows.index != 3, np.inf)),
            "y",
            "row 4: the value is infinite",
        ),
        (lambda rows: rows.assign(y=rows["y"].astype(object).where(rows.index != 3, "five")), "y", "row 4"),
    ],
    ids=["one rater", "three raters", "twice", "two times", "infinite", "text"],
)
def test_rows_that_are_not_ratings_by_two_raters_are_named(change, column, words):
    with pytest.raises(DataError, match=words) as caught:
        joint(change(both()))
    assert caught.value.column == column


@pytest.mark.parametrize("twice", [lambda x: 2 * x + 1, lambda x: -x])
def test_collinear_predictors_of_the_joint_model_are_named(twice):
    rows = both()
    with pytest.raises(DataError, match="linear combination"):
        joint(rows.assign(z=twice(rows["x"])), predictors=("x", "z"))


def test_number_that_is_none_is_a_status_of_the_joint_result_too(monkeypatch):
    def refuse(*_: Any) -> None:
        raise Unfittable("not_converged", "inference gave numbers that are not finite")

    monkeypatch.setattr(joint_module, "require_finite", refuse)
    assert_no_numbers(joint(both()), "not_converged", "not finite")
