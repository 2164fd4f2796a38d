"""Sums per unit are as good as the rows, and are refused where they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, SpecError, UnitSums, fit

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

SLOPES = ("1 + time | therapist", "1 + time | therapist:patient")
INTERCEPTS = ("1 | therapist", "1 | therapist:patient")
GROUPS = ("therapist", "therapist:patient")
MEASURES = ["n", "mean_time", "mean_y", "css_time", "csp", "css_y"]
SAME = 1e-10

Columns = dict[str, Any]


def cohort(seed: int = 5, n_therapists: int = 16, n_patients: int = 5) -> Columns:
    """1 to 6 ratings a patient, some all at one time; x of the therapist, z of the patient."""
    rng = np.random.default_rng(seed)
    n = n_therapists * n_patients
    n_ratings = rng.integers(1, 7, size=n)
    patient = np.repeat(np.arange(n), n_ratings)
    therapist = patient // n_patients
    time = np.round(rng.uniform(0, 10, size=len(patient)), 2)
    time = np.where(patient % 9 == 4, 3.0, time)
    u = (rng.normal(size=(n_therapists, 2)) * (0.6, 0.2))[therapist]
    v = (rng.normal(size=(n, 2)) * (0.8, 0.2))[patient]
    x, z = rng.normal(size=n_therapists)[therapist], rng.normal(size=n)[patient]
    y = 5 + 0.3 * x + 0.2 * z + u[:, 0] + v[:, 0] + (0.1 + 0.1 * z + u[:, 1] + v[:, 1]) * time
    y = y + 0.5 * rng.normal(size=len(time))
    return {"y": y, "time": time, "x": x, "z": z, "therapist": therapist, "patient": patient % n_patients}


def spec_of(formula: str = "y ~ time", random: tuple[str, ...] = SLOPES, **options: Any) -> GrowthSpec:
    return GrowthSpec.from_formula(formula, random, **options)


def sums_of(columns: Columns, formula: str = "y ~ time") -> UnitSums:
    spec = spec_of(formula)
    return UnitSums.from_data(LongData.from_columns(columns, spec), spec)


def only(columns: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def grouped(columns: Columns, predictors: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table of sums as a database makes it: plain formulas about the unit's own means."""

    def one(unit: pd.DataFrame) -> pd.Series:
        t, y = unit["time"].to_numpy(), unit["y"].to_numpy()
        dt, dy = t - t.mean(), y - y.mean()
        own = [len(t), t.mean(), y.mean(), dt @ dt, dt @ dy, dy @ dy, *(unit[p].iloc[0] for p in predictors)]
        return pd.Series(own, index=[*MEASURES, *predictors])

    frame = pd.DataFrame(columns)
    return frame.groupby(["therapist", "patient"])[["time", "y", *predictors]].apply(one).reset_index()


def assert_same_fit(by_sums: FitResult, by_rows: FitResult, rel: float = SAME) -> None:
    assert by_rows.is_fitted
    assert by_sums.status == by_rows.status
    assert by_sums.loglik == pytest.approx(by_rows.loglik, rel=rel)
    assert by_sums.n == by_rows.n
    # Estimates sit on a flat top: they agree to the root of what the likelihood does.
    assert by_sums.sigma == pytest.approx(by_rows.sigma, rel=1e-6)
    for a, b in zip(by_sums.fixed, by_rows.fixed, strict=True):
        assert a.term == b.term
        assert a.estimate == pytest.approx(b.estimate, abs=1e-6 * b.se)
        assert a.se == pytest.approx(b.se, rel=1e-6)
        assert a.df == pytest.approx(b.df, rel=1e-5)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(
    "random", [SLOPES, INTERCEPTS, SLOPES[1:], ("time || therapist", "1 | therapist:patient")]
)
@pytest.mark.parametrize(
    "formula", ["y ~ time", "y ~ time * x", "y ~ time * z", "y ~ time * x * z", "y ~ x:z + time", "y ~ 1"]
)
def test_fit_from_sums_is_the_fit_from_rows(formula, random, method):
    columns = cohort()
    spec = spec_of(formula, random, method=method)
    by_rows = fit(LongData.from_columns(columns, spec_of(formula)), spec)
    assert_same_fit(fit(sums_of(columns, formula), spec), by_rows)


@pytest.mark.parametrize("formula", ["y ~ time", "y ~ time * x + time * z"])
def test_table_of_a_database_is_as_good_as_the_rows(formula):
    columns, spec = cohort(), spec_of(formula)
    predictors = tuple(name for name in "xz" if name in formula)
    table = grouped(columns, predictors)
    assert table["n"].min() == 1
    assert (table["css_time"] == 0).sum() > (table["n"] == 1).sum()
    sums = UnitSums.from_table(table, groups=GROUPS, predictors=predictors)
    assert_same_fit(fit(sums, spec), fit(LongData.from_columns(columns, spec), spec))
    assert sums.differences(sums_of(columns, formula)) == ()


@pytest.mark.parametrize("origin", [2000.0, 739_000.0])
def test_far_origin_of_time_loses_nothing(origin):
    spec, columns = spec_of("y ~ time * x", method="ml"), cohort()
    far = fit(sums_of({**columns, "time": columns["time"] + origin}, "y ~ time * x"), spec)
    near = fit(LongData.from_columns(columns, spec), spec)
    assert far.loglik == pytest.approx(near.loglik, rel=1e-9)
    for here, there in zip(far.fixed, near.fixed, strict=True):
        if "time" in here.term:
            assert here.estimate == pytest.approx(there.estimate, abs=1e-6 * there.se)
            assert here.se == pytest.approx(there.se, rel=1e-6)


def test_single_level_of_patients_is_fitted_from_sums():
    columns, spec = cohort(), spec_of("y ~ time * z", SLOPES[1:])
    data = LongData.from_columns(columns, spec)
    sums = UnitSums.from_data(data, spec)
    assert_same_fit(fit(sums, spec), fit(data, spec))
    assert sums.replace(sums).differences(sums) == ()


def test_single_level_of_therapists_is_fitted_from_sums_per_patient():
    columns, spec = cohort(), spec_of("y ~ time", SLOPES[:1])
    by_rows = fit(LongData.from_columns(columns, spec), spec)
    by_sums = fit(sums_of(columns), spec)
    assert by_rows.is_fitted
    assert by_sums.loglik == pytest.approx(by_rows.loglik, rel=SAME)


def test_single_level_of_therapists_is_fitted_from_rows_that_know_their_patients():
    columns, spec = cohort(), spec_of("y ~ time", SLOPES[:1])
    nested = fit(LongData.from_columns(columns, spec_of("y ~ time")), spec)
    assert nested.loglik == pytest.approx(fit(LongData.from_columns(columns, spec), spec).loglik, rel=SAME)


def test_replacing_the_touched_units_is_summing_all_again():
    columns = cohort()
    before, after = columns["time"] < 7, np.ones(len(columns["y"]), dtype=bool)
    old, new = only(columns, before), only(columns, after)
    unit = 100 * columns["therapist"] + columns["patient"]
    touched = np.isin(unit, np.unique(unit[~before]))
    assert 0 < len(np.unique(unit[touched])) < len(np.unique(unit))

    kept = sums_of(old, "y ~ time * z").replace(sums_of(only(new, touched), "y ~ time * z"))
    rebuilt = sums_of(new, "y ~ time * z")
    assert kept.differences(rebuilt) == ()
    assert [level.labels for level in kept.units] == [level.labels for level in rebuilt.units]
    spec = spec_of("y ~ time * z")
    assert_same_fit(fit(kept, spec), fit(LongData.from_columns(new, spec), spec))


def test_replacing_adds_units_that_are_new_at_either_level():
    columns = cohort()
    first = (columns["therapist"] > 1) & (columns["patient"] != 0)
    kept = sums_of(only(columns, first)).replace(sums_of(only(columns, ~first)))
    assert kept.differences(sums_of(columns)) == ()
    assert kept.n_rows == len(columns["y"])


def test_replacing_keeps_the_count_of_dropped_rows():
    columns = cohort()
    columns["y"][3] = np.nan
    sums = sums_of(columns)
    assert sums.n_dropped == 1
    assert sums.replace(sums_of(only(columns, columns["therapist"] == 9))).n_dropped == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": ("clinic", "clinic:patient")},
        {"groups": ("therapist:patient",)},
        {"time": "week"},
        {"outcome": "z"},
        {"predictors": ("x",)},
    ],
    ids=str,
)
def test_replacing_by_sums_of_another_kind_is_refused(changes):
    columns = cohort()
    table = grouped(only(columns, columns["therapist"] == 9), ("x",)).assign(clinic=1)
    touched = UnitSums.from_table(table, **{"groups": GROUPS, **changes})
    with pytest.raises(SpecError, match="must have the same"):
        sums_of(columns).replace(touched)


def test_differences_names_the_units_that_are_not_the_same():
    columns = cohort()
    other = {name: column.copy() for name, column in columns.items()}
    row = int(np.flatnonzero((columns["therapist"] == 3) & (columns["patient"] == 2))[0])
    other["y"][row] += 1e-6
    mine = sums_of(columns)
    assert mine.differences(sums_of(other)) == (("3", "2"),)
    without = sums_of(only(columns, columns["therapist"] != 4))
    assert mine.differences(without) == without.differences(mine) == tuple(("4", str(i)) for i in range(5))


def test_differences_sees_a_predictor_and_a_unit_that_moved():
    columns = cohort()
    other = {name: column.copy() for name, column in columns.items()}
    other["x"][columns["therapist"] == 3] += 1.0
    assert sums_of(columns, "y ~ x").differences(sums_of(other, "y ~ x")) == tuple(
        ("3", str(i)) for i in range(5)
    )


def test_order_of_the_rows_does_not_matter():
    columns = cohort()
    order = np.random.default_rng(1).permutation(len(columns["y"]))
    assert (
        sums_of(columns, "y ~ x").differences(sums_of(only(columns, order), "y ~ x"), tolerance=1e-12) == ()
    )
    table = grouped(columns)
    shuffled = UnitSums.from_table(table.sample(frac=1, random_state=1), groups=GROUPS)
    assert shuffled.fingerprint == UnitSums.from_table(table, groups=GROUPS).fingerprint


@pytest.mark.parametrize("column", [*MEASURES, "x", "therapist", "patient"])
def test_fingerprint_changes_with_any_change(column):
    table = grouped(cohort(), ("x",)).astype(dict.fromkeys([*MEASURES, "x"], float))

    def fingerprint(rows: pd.DataFrame, **options: Any) -> str:
        return UnitSums.from_table(rows, **{"groups": GROUPS, "predictors": ("x",), **options}).fingerprint

    changed = table.copy()
    if column in ("therapist", "patient"):
        changed.loc[table.index[-1], column] += 100
    elif column == "n":
        changed.loc[table["n"].idxmax(), "n"] += 1
    else:
        changed.loc[table["n"].idxmax(), column] *= 1 + 1e-12
    assert fingerprint(changed) != fingerprint(table)
    assert fingerprint(table, outcome="z") != fingerprint(table) != fingerprint(table, time="week")


def test_fingerprint_knows_which_therapist_a_patient_belongs_to():
    """Labels of their own: the last patient of one therapist goes to the next, in an unchanged order."""
    table = grouped(cohort())
    table["patient"] = [f"{i:03d}" for i in range(len(table))]
    table["therapist"] = [f"{i:02d}" for i in table["therapist"]]
    moved = table.copy()
    moved.loc[4, "therapist"] = "01"
    groups = ("therapist", "patient")
    here, there = (UnitSums.from_table(rows, groups=groups) for rows in (table, moved))
    assert here.fingerprint != there.fingerprint
    assert here.differences(there) == (("00", "004"), ("01", "004"))

    rows = cohort()
    unit = rows["therapist"] * 5 + rows["patient"]
    labels = np.array([f"{i:03d}" for i in unit], dtype=object)
    spec = spec_of("y ~ time", ("1 + time | therapist", "1 + time | patient"))
    fingerprints = {
        LongData.from_columns({**rows, "patient": labels, "therapist": therapist}, spec).fingerprint
        for therapist in (rows["therapist"], np.where(unit == 4, 1, rows["therapist"]))
    }
    assert len(fingerprints) == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("n", 0.0),
        ("n", -1.0),
        ("n", 2.5),
        ("n", np.inf),
        ("n", np.nan),
        ("n", "many"),
        ("mean_y", np.nan),
        ("mean_y", "high"),
        ("mean_time", np.inf),
        ("css_y", -1.0),
        ("css_time", -1e-3),
        ("csp", 1e6),
    ],
)
def test_number_that_cannot_be_a_sum_is_refused_by_column_and_row(column, value):
    table = grouped(cohort()).astype(dict.fromkeys(MEASURES, object))
    row = int(np.argmax(table["n"]))
    table.loc[row, column] = value
    with pytest.raises(DataError, match=column if value == value else "missing") as caught:
        UnitSums.from_table(table, groups=GROUPS)
    if value == value:
        assert (caught.value.column, caught.value.row) == (column, row + 1)


@pytest.mark.parametrize("column", ["css_time", "csp", "css_y"])
def test_one_rating_has_no_squares_about_its_mean(column):
    table = grouped(cohort())
    row = int(np.argmin(table["n"]))
    assert table.loc[row, "n"] == 1
    table.loc[row, column] = 1.0
    with pytest.raises(DataError, match=column):
        UnitSums.from_table(table, groups=GROUPS)


def test_products_beyond_the_squares_are_refused():
    """Cauchy and Schwarz: csp^2 <= css_time css_y, here passed by one in a hundred."""
    table = grouped(cohort())
    row = int(np.argmax(table["n"]))
    table.loc[row, "csp"] = 1.01 * np.sqrt(table.loc[row, "css_time"] * table.loc[row, "css_y"])
    with pytest.raises(DataError, match="csp"):
        UnitSums.from_table(table, groups=GROUPS)


def test_rounding_in_the_sums_of_a_database_is_let_pass():
    """Ratings on a line: csp^2 = css_time css_y but for the last digit."""
    table = grouped(cohort())
    on_line = table["css_time"] * (1 + 1e-14) * 0.09
    table["csp"] = np.where(table["patient"] == 1, table["css_time"] * 0.3, table["csp"])
    table["css_y"] = np.where(table["patient"] == 1, on_line * (1 - 3e-14), table["css_y"])
    assert fit(UnitSums.from_table(table, groups=GROUPS), spec_of()).is_fitted


@pytest.mark.parametrize("column", MEASURES)
def test_column_of_text_is_refused(column):
    with pytest.raises(DataError, match=f"'{column}'"):
        UnitSums.from_table(grouped(cohort()).assign(**{column: "a"}), groups=GROUPS)


def test_table_with_a_unit_twice_is_refused():
    table = grouped(cohort())
    with pytest.raises(DataError, match="more than one row for a 'therapist:patient'"):
        UnitSums.from_table(pd.concat([table, table[:1]]), groups=GROUPS)


def test_table_without_a_column_or_with_other_names_is_refused():
    table = grouped(cohort())
    with pytest.raises(DataError, match="no column 'csp'"):
        UnitSums.from_table(table.drop(columns="csp"), groups=GROUPS)
    with pytest.raises(SpecError):
        UnitSums.from_table(table, groups=GROUPS, time="two words")
    with pytest.raises(SpecError):
        UnitSums.from_table(table, groups=("a", "b", "c"))


def test_empty_table_is_too_little_data():
    result = fit(UnitSums.from_table(grouped(cohort())[:0], groups=GROUPS), spec_of())
    assert (result.status, result.n["rows"], result.loglik) == ("insufficient_data", 0, None)


@pytest.mark.parametrize(
    ("formula", "random"),
    [
        ("y ~ time + I(time^2)", SLOPES),
        ("y ~ log(x)", SLOPES),
        ("y ~ C(x) + time", SLOPES),
        ("y ~ time", ("1 + x | therapist", "1 + time | therapist:patient")),
        ("y ~ time", ("1 + I(time^2) | therapist", "1 | therapist:patient")),
        ("q ~ time", SLOPES),
        ("y ~ time", ("1 + time | clinic", "1 + time | clinic:patient")),
        ("y ~ time", ("1 + time | clinic",)),
    ],
)
def test_model_that_the_sums_do_not_hold_is_refused(formula, random):
    with pytest.raises(SpecError):
        fit(sums_of(cohort(), "y ~ time + x"), spec_of(formula, random))


def test_predictor_that_is_not_beside_the_sums_is_named():
    with pytest.raises(SpecError, match="they hold no 'x'"):
        fit(sums_of(cohort()), spec_of("y ~ time * x"))


def test_categories_beside_the_sums_are_refused_by_name():
    columns = cohort() | {"arm": np.where(cohort()["therapist"] % 2 == 0, "a", "b")}
    with pytest.raises(SpecError, match="numeric columns only"):
        fit(sums_of(columns, "y ~ arm"), spec_of("y ~ arm"))


def test_predictor_that_varies_inside_a_unit_cannot_be_kept():
    columns = cohort()
    columns["w"] = np.arange(float(len(columns["y"])))
    with pytest.raises(SpecError, match="'w' varies inside a 'therapist:patient'"):
        sums_of(columns, "y ~ time + w")


@pytest.mark.parametrize(
    "random", [("1 + x | therapist", SLOPES[1]), ("1 + time + x | therapist", SLOPES[1])]
)
def test_sums_are_about_one_column_of_time(random):
    spec = spec_of("y ~ time", random)
    with pytest.raises(SpecError, match="one column of time"):
        UnitSums.from_data(LongData.from_columns(cohort(), spec), spec)


@pytest.mark.parametrize(
    ("formula", "random"),
    [
        ("y ~ time + q", SLOPES),
        ("q ~ time", SLOPES),
        ("y ~ time", ("1 + q | therapist",)),
        ("y ~ time", ("1 | q",)),
    ],
)
def test_rows_read_for_another_model_are_refused(formula, random):
    data = LongData.from_columns(cohort(), spec_of())
    with pytest.raises((SpecError, DataError), match="'q'"):
        fit(data, spec_of(formula, random))
