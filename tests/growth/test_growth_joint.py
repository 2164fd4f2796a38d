"""The joint model of both raters: its reference, what leaves it unchanged, and what it refuses."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analytics.growth import DataError, SpecError
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.results import JointResult
from tests.growth.references import (
    JOINT_PREDICTORS,
    JOINT_TERMS,
    joint_frame,
    joint_marginal,
    joint_reference,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

METHODS = ("reml", "ml")


def spec_of(predictors: tuple[str, ...] = ("anxiety",), **options: Any) -> JointSpec:
    named = {"outcome": "y", "rater": "rater", "session": "session", "time": "time"}
    return JointSpec(**{**named, "predictors": predictors, **options})


@cache
def reference_fit(method: str) -> JointResult:
    spec = spec_of(JOINT_PREDICTORS, method=method, df="wald")
    return fit_joint(joint_frame(), spec)


def few() -> pd.DataFrame:
    """The ratings of 30 therapists."""
    rows = joint_frame()
    return rows[rows["therapist"] <= 30].reset_index(drop=True)


@cache
def plain(method: str) -> JointResult:
    return fit_joint(few(), spec_of(method=method))


def stored(result: JointResult) -> dict[str, Any]:
    """A result in the form of the reference, for its naive twin."""
    return {
        "fixed": [{"term": row.term} for row in result.fixed],
        "random": [{"group": row.group.split(":")[-1], "cov": row.cov} for row in result.random],
        "residual": {**{f"sd_{r}": sd for r, sd in result.residual.sd.items()}, "rho": result.residual.rho},
    }


def estimates(result: JointResult) -> dict[str, float]:
    return {row.term: row.estimate for row in result.fixed}


@pytest.mark.parametrize("method", METHODS)
def test_estimates_are_those_of_the_reference(method):
    result, reference = reference_fit(method), joint_reference()["fits"][method]

    assert (result.status, result.message, result.method, result.df_method) == ("ok", "", method, "wald")
    assert result.n == {"rows": 4171, "dropped": 0, "therapist": 80, "therapist:patient": 480}
    assert result.loglik == pytest.approx(reference["loglik"], rel=1e-11)
    assert result.deviance == pytest.approx(-2 * reference["loglik"], rel=1e-11)
    assert (result.aic, result.bic) == pytest.approx((reference["aic"], reference["bic"]), rel=1e-11)
    fixed = {row.term: row for row in result.fixed}
    assert fixed.keys() == {row["term"] for row in reference["fixed"]}
    for row in reference["fixed"]:
        ours = fixed[row["term"]]
        assert ours.estimate == pytest.approx(row["estimate"], abs=1e-7)
        assert ours.se == pytest.approx(row["se"], rel=1e-6)
        assert (ours.t, ours.df) == (pytest.approx(row["z"], rel=1e-5), None)
        assert ours.p == pytest.approx(row["p"], rel=1e-4, abs=1e-300)
    order = [[row.term for row in result.fixed].index(row["term"]) for row in reference["fixed"]]
    vcov = np.array(result.vcov_fixed)[np.ix_(order, order)]
    np.testing.assert_allclose(vcov, reference["vcov_fixed"], rtol=1e-4, atol=1e-9)
    for row, expected in zip(result.random, reference["random"], strict=True):
        assert row.group in ("therapist", "therapist:patient")
        assert row.group.endswith(expected["group"])
        assert list(row.terms) == expected["terms"] == list(JOINT_TERMS)
        np.testing.assert_allclose(row.sd, expected["sd"], atol=1e-6, rtol=0)
        np.testing.assert_allclose(row.corr, expected["corr"], atol=1e-5, rtol=0)
        np.testing.assert_allclose(row.cov, expected["cov"], atol=1e-6, rtol=0)
    assert result.residual.sd == pytest.approx(
        {"P": reference["residual"]["sd_P"], "T": reference["residual"]["sd_T"]}, abs=1e-7
    )
    assert result.residual.rho == pytest.approx(reference["residual"]["rho"], abs=1e-6)
    assert result.sigma == result.residual.sd["P"]


@pytest.mark.parametrize("method", METHODS)
def test_differences_between_the_raters_are_those_of_the_reference(method):
    result, reference = reference_fit(method), joint_reference()["fits"][method]
    expected = {row["contrast"]: row for row in reference["contrasts_P_minus_T"]}

    effects = [(row.predictor, row.effect) for row in result.contrasts]
    assert effects == [(name, effect) for name in JOINT_PREDICTORS for effect in ("level", "growth")]
    for row in result.contrasts:
        theirs = expected[f"{row.predictor}_{row.effect}"]
        assert row.estimate == pytest.approx(theirs["estimate"], abs=1e-7)
        assert row.se == pytest.approx(theirs["se"], rel=1e-6)
        assert (row.t, row.df) == (pytest.approx(theirs["z"], rel=1e-5), None)
        assert row.p == pytest.approx(theirs["p"], rel=1e-4)
        half = stats.norm.ppf(0.975) * theirs["se"]
        assert row.upper == pytest.approx(theirs["estimate"] + half, abs=1e-6)
        assert row.lower == pytest.approx(theirs["estimate"] - half, abs=1e-6)
    p = [row.p for row in result.contrasts]
    holm, bh = (multipletests(p, method=name)[1] for name in ("holm", "fdr_bh"))
    assert [row.p_holm for row in result.contrasts] == pytest.approx(holm, rel=1e-12)
    assert [row.p_bh for row in result.contrasts] == pytest.approx(bh, rel=1e-12)
    for test in result.tests:
        wald = reference["wald_level_and_growth_P_minus_T"][test.predictor]
        assert (test.q, test.df, test.lr, test.lr_p) == (wald["df"], None, None, None)
        assert test.F * test.q == pytest.approx(wald["chisq"], rel=1e-5)
        assert test.p == pytest.approx(wald["p"], rel=1e-4)


def test_df_of_a_small_study_are_kenward_rogers_by_reml_and_satterthwaites_by_ml():
    assert plain("reml").df_method == "kenward-roger"
    assert plain("ml").df_method == "satterthwaite"
    for row in (*plain("reml").fixed, *plain("reml").contrasts):
        assert row.p == pytest.approx(2 * stats.t.sf(abs(row.estimate / row.se), row.df), rel=1e-9)
        assert row.upper == pytest.approx(row.estimate + stats.t.ppf(0.975, row.df) * row.se, rel=1e-9)


def test_likelihood_ratios_come_from_ml_whatever_the_method():
    rows = few()
    by_method = {m: fit_joint(rows, spec_of(method=m), likelihood_ratio=True).tests[0] for m in METHODS}
    wald = plain("ml").tests[0]

    assert by_method["reml"].lr == pytest.approx(by_method["ml"].lr, abs=1e-8)
    assert pytest.approx(wald.F, rel=1e-12) == by_method["ml"].F
    assert by_method["ml"].lr == pytest.approx(wald.F * wald.q, rel=0.1)
    assert by_method["ml"].lr_p == pytest.approx(stats.chi2.sf(by_method["ml"].lr, 2), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_result_goes_through_json_without_loss(method):
    result = plain(method)
    text = json.dumps(result.to_dict(), allow_nan=False)
    values = json.loads(text)

    assert "sigma" not in values
    assert values["residual"] == {"sd": result.residual.sd, "rho": result.residual.rho}
    assert values["contrasts"][0].keys() == {
        *("predictor", "effect", "estimate", "se", "df", "t", "p", "p_holm", "p_bh", "lower", "upper")
    }
    assert JointResult.from_dict(values) == result
    turned = {**values, "residual": {"rho": values["residual"]["rho"], "sd": {"T": 0.5, "P": 0.25}}}
    assert JointResult.from_dict(turned).sigma == 0.25


def test_result_without_estimates_goes_through_json_too():
    result = fit_joint(few().assign(y=4.0), spec_of())
    values = json.loads(json.dumps(result.to_dict()))

    assert (result.status, values["residual"], values["contrasts"], values["tests"]) == (
        "no_variation",
        None,
        [],
        [],
    )
    assert JointResult.from_dict(values) == result


@cache
def with_other_predictors() -> pd.DataFrame:
    """`age` is of the patient, `mood` of the session, and one patient is rated by the therapist alone."""
    rows, rng = few(), np.random.default_rng(0)
    rows["age"] = rng.normal(size=rows["patient"].max() + 1)[rows["patient"]]
    _, of_session = np.unique(rows[["patient", "session"]].to_numpy(), axis=0, return_inverse=True)
    rows["mood"] = rng.normal(size=of_session.max() + 1)[of_session] + 0.2 * rows["time"]
    return rows[(rows["patient"] != rows["patient"].iloc[0]) | (rows["rater"] == "T")]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("predictors", [("age",), ("mood",), ("anxiety", "mood", "age"), ()], ids=str)
def test_fit_with_any_kind_of_predictor_has_the_likelihood_of_the_whole_covariance_matrix(method, predictors):
    rows = with_other_predictors()
    result = fit_joint(rows, spec_of(predictors, method=method))
    twin = joint_marginal(rows, stored(result), reml=method == "reml")

    assert [row.term for row in result.fixed] == [
        *("P", "P:time", *(f"P:{name}" for name in predictors), *(f"P:time:{name}" for name in predictors)),
        *("T", "T:time", *(f"T:{name}" for name in predictors), *(f"T:time:{name}" for name in predictors)),
    ]
    assert result.loglik == pytest.approx(twin.loglik, rel=1e-11)
    np.testing.assert_allclose([row.estimate for row in result.fixed], twin.beta, rtol=1e-7, atol=1e-9)
    assert len(result.contrasts) == 2 * len(result.tests) == 2 * len(predictors)


def test_sessions_rated_by_one_rater_count():
    """Without them it is another fit, with them that of the whole covariance matrix."""
    rows = few()
    n_raters = rows.groupby(["patient", "session"])["y"].transform("size")
    pairs = fit_joint(rows[n_raters == 2], spec_of())
    twin = joint_marginal(rows, stored(plain("reml")), reml=True)

    assert (n_raters == 1).sum() > 100
    assert plain("reml").loglik == pytest.approx(twin.loglik, rel=1e-11)
    assert plain("reml").n["rows"] == len(rows) > pairs.n["rows"]


def test_therapies_without_therapists_are_a_model_of_one_level():
    """Its likelihood is the twin's with no variance between therapists, and no other is higher nearby."""
    rows = few()
    result = fit_joint(rows, spec_of(levels=("patient",)))
    assert [row.group for row in result.random] == ["patient"]
    assert result.n == {"rows": len(rows), "dropped": 0, "patient": rows["patient"].nunique()}

    fields = stored(result)
    (patient,) = fields["random"]
    fields["random"] = [{"group": "therapist", "cov": np.zeros((4, 4))}, patient]
    assert result.loglik == pytest.approx(joint_marginal(rows, fields, reml=True).loglik, rel=1e-11)
    for factor in (0.97, 1.03):
        for i in range(4):
            changed = np.ones(4)
            changed[i] = factor
            fields["random"][1] = {"group": "patient", "cov": patient["cov"] * np.outer(changed, changed)}
            assert joint_marginal(rows, fields, reml=True).loglik < result.loglik


@pytest.mark.parametrize("method", METHODS)
def test_order_of_the_rows_does_not_matter(method):
    shuffled = fit_joint(few().sample(frac=1, random_state=1), spec_of(method=method))

    assert shuffled.fingerprint == plain(method).fingerprint
    assert shuffled.loglik == pytest.approx(plain(method).loglik, rel=1e-12)
    assert estimates(shuffled) == pytest.approx(estimates(plain(method)), rel=1e-7)


def test_other_names_change_which_rater_is_first_and_nothing_else():
    """With T called `a` and P called `z`, contrasts are T minus P."""
    before, after = plain("reml"), fit_joint(few().replace({"rater": {"P": "z", "T": "a"}}), spec_of())

    assert after.loglik == pytest.approx(before.loglik, rel=1e-12)
    assert after.fixed[0].term == "a"
    renamed = {term.replace("P", "z").replace("T", "a"): value for term, value in estimates(before).items()}
    assert estimates(after) == pytest.approx(renamed, rel=1e-6, abs=1e-9)
    assert list(after.residual.sd) == ["a", "z"]
    assert after.residual.sd["a"] == pytest.approx(before.residual.sd["T"], rel=1e-7)
    assert after.residual.rho == pytest.approx(before.residual.rho, rel=1e-6)
    for ours, theirs in zip(after.contrasts, before.contrasts, strict=True):
        assert ours.estimate == pytest.approx(-theirs.estimate, rel=1e-6)
        assert (ours.se, ours.df, ours.p) == pytest.approx((theirs.se, theirs.df, theirs.p), rel=1e-5)
        assert (ours.lower, ours.upper) == pytest.approx((-theirs.upper, -theirs.lower), rel=1e-5)
    (ours,), (theirs,) = after.tests, before.tests
    assert (ours.F, ours.df, ours.p) == pytest.approx((theirs.F, theirs.df, theirs.p), rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_origin_of_time_moves_levels_and_nothing_else(method):
    """Columns of X change by a matrix of determinant one, so the restricted likelihood stays as well."""
    before = plain(method)
    rows = few()
    after = fit_joint(rows.assign(time=rows["time"] + 2000), spec_of(method=method))
    ours, theirs = estimates(after), estimates(before)

    assert after.loglik == pytest.approx(before.loglik, rel=1e-11)
    assert after.residual.rho == pytest.approx(before.residual.rho, abs=1e-7)
    for r in ("P", "T"):
        for slope in (f"{r}:time", f"{r}:time:anxiety"):
            assert ours[slope] == pytest.approx(theirs[slope], rel=1e-6)
        assert ours[r] == pytest.approx(theirs[r] - 2000 * theirs[f"{r}:time"], rel=1e-6)
    growth = [row for result in (before, after) for row in result.contrasts if row.effect == "growth"]
    assert growth[1].estimate == pytest.approx(growth[0].estimate, rel=1e-6)
    assert (growth[1].se, growth[1].df) == pytest.approx((growth[0].se, growth[0].df), rel=1e-5)
    np.testing.assert_allclose(
        [row.cov[1][1] for row in after.random], [row.cov[1][1] for row in before.random], rtol=1e-6
    )


@pytest.mark.parametrize("method", METHODS)
def test_unit_and_origin_of_the_outcome_scale_the_estimates(method):
    """y = 100 + 25 y has the density's change of variables in its log-likelihood."""
    before, rows = plain(method), few()
    after = fit_joint(rows.assign(y=100 + 25 * rows["y"]), spec_of(method=method))
    dof = len(rows) - (len(before.fixed) if method == "reml" else 0)

    assert after.loglik == pytest.approx(before.loglik - dof * np.log(25), rel=1e-11)
    assert after.residual.sd == pytest.approx({r: 25 * sd for r, sd in before.residual.sd.items()}, rel=1e-7)
    assert after.residual.rho == pytest.approx(before.residual.rho, abs=1e-7)
    for ours, theirs in zip(after.fixed, before.fixed, strict=True):
        shift = 100 if ours.term in ("P", "T") else 0
        assert ours.estimate == pytest.approx(shift + 25 * theirs.estimate, rel=1e-7, abs=1e-8)
        assert (ours.se, ours.df) == pytest.approx((25 * theirs.se, theirs.df), rel=1e-5)
    for ours, theirs in zip(after.contrasts, before.contrasts, strict=True):
        assert (ours.estimate, ours.t) == pytest.approx((25 * theirs.estimate, theirs.t), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factor", [1e-6, 40.0, 1e6])
def test_raters_may_use_scales_of_any_unit(method, factor):
    """The ratings of T in another unit: a change of variables for these ratings alone."""
    before, rows = plain(method), few()
    of_t = rows["rater"] == "T"
    after = fit_joint(rows.assign(y=rows["y"].where(~of_t, factor * rows["y"])), spec_of(method=method))
    dof = of_t.sum() - (len(before.fixed) / 2 if method == "reml" else 0)

    assert after.loglik == pytest.approx(before.loglik - dof * np.log(factor), rel=1e-11)
    expected = {"P": before.residual.sd["P"], "T": factor * before.residual.sd["T"]}
    assert after.residual.sd == pytest.approx(expected, rel=1e-7)
    assert after.residual.rho == pytest.approx(before.residual.rho, abs=1e-7)
    units = np.array([1, 1, factor, factor])
    for ours, theirs in zip(after.random, before.random, strict=True):
        np.testing.assert_allclose(ours.cov, theirs.cov * np.outer(units, units), rtol=1e-4)
    for ours, theirs in zip(after.fixed, before.fixed, strict=True):
        unit = factor if ours.term.startswith("T") else 1
        assert ours.estimate == pytest.approx(unit * theirs.estimate, rel=1e-6)
        assert (ours.se, ours.df) == pytest.approx((unit * theirs.se, theirs.df), rel=1e-5)


def test_missing_values_drop_their_ratings():
    rows = few()
    rows.loc[[0, 5, 9], "y"] = np.nan
    rows.loc[11, "rater"] = None
    result = fit_joint(rows, spec_of())
    alone = fit_joint(rows.dropna(), spec_of())

    assert result.n == {**alone.n, "dropped": 4}
    assert result.loglik == alone.loglik != plain("reml").loglik


def test_the_session_may_be_the_time():
    rows = few()
    result = fit_joint(rows, spec_of(time="session"))

    assert result.residual.rho == pytest.approx(plain("reml").residual.rho, abs=1e-6)
    assert estimates(result)["P:session"] == pytest.approx(estimates(plain("reml"))["P:time"] / 10, rel=1e-6)


def test_a_search_that_runs_out_of_time_says_so():
    result = fit_joint(few(), spec_of(), seconds=1e-9)
    assert (result.status, result.fixed, result.residual) == ("timed_out", (), None)


def changed(**columns: Any) -> pd.DataFrame:
    return few().assign(**columns)


REFUSED = {
    "one rater": (lambda rows: rows[rows["rater"] == "P"], "'rater' must name two raters, not 1 (P)"),
    "three raters": (
        lambda rows: rows.assign(rater=["A", *rows["rater"][1:]]),
        "'rater' must name two raters, not 3 (A, P, T)",
    ),
    "raters that are no words": (
        lambda rows: rows.replace({"rater": {"P": "the patient"}}),
        "'the patient' must be one word",
    ),
    "two ratings of one rater": (
        lambda rows: pd.concat([rows, rows.iloc[[3]]]),
        f"row {len(few()) + 1}: the same rater rated this session in row 4 too",
    ),
    "text for a predictor": (lambda rows: rows.assign(anxiety="high"), "predictor 'anxiety' must be numeric"),
    "one text in a predictor": (
        lambda rows: rows.assign(anxiety=["high", *rows["anxiety"][1:]]),
        "column 'anxiety', row 1: 'high' is not a number",
    ),
    "text for time": (lambda rows: rows.assign(time="late"), "'time', row 1: 'late' is not a number"),
    "two times in a session": (
        lambda rows: rows.assign(time=[*rows["time"][:3], 99.0, *rows["time"][4:]]),
        "column 'time', row 4: the two ratings of this session differ in it",
    ),
    "no such column": (lambda rows: rows.drop(columns="anxiety"), "there is no column 'anxiety'"),
    "collinear predictors": (
        lambda rows: rows.assign(anxiety=2 * rows["flow"] + 1),
        "column 'P:anxiety' is a linear combination of 'P', 'P:flow'",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_data_that_are_not_ratings_of_sessions_by_two_are_refused_with_the_reason(case):
    spoil, words = case
    with pytest.raises(DataError) as refusal:
        fit_joint(spoil(few()), spec_of(("flow", "anxiety")))
    assert words in str(refusal.value)


UNFITTED = {
    "constant outcome": (changed(y=4.0), "no_variation", "every rating of 'P' is 4"),
    "constant predictor": (changed(anxiety=1.0), "no_variation", "'anxiety' has the same value"),
    "one time": (changed(time=1.0), "no_variation", "'time' has the same value"),
    "never both": (
        few()[(few()["rater"] == "P") == (few()["session"] < 15)],
        "insufficient_data",
        "no session was rated by both",
    ),
    "one therapist": (changed(therapist=1), "insufficient_data", "only one 'therapist'"),
    "one therapy a therapist": (
        few().drop_duplicates(["therapist", "session", "rater"]).assign(patient=1),
        "insufficient_data",
        "the levels cannot be told apart",
    ),
    "two ratings a therapy": (
        few().groupby("patient").head(4),
        "insufficient_data",
        "cannot support 4 random effects",
    ),
    "two ratings that are one": (
        few().assign(y=few().groupby(["patient", "session"])["y"].transform("mean")),
        "no_variation",
        "",
    ),
    "as many effects as therapists": (
        few()[few()["therapist"] <= 2],
        "insufficient_data",
        "",
    ),
    "nothing": (changed(y=np.nan), "insufficient_data", ""),
}


@pytest.mark.parametrize("case", UNFITTED.values(), ids=UNFITTED)
def test_data_that_support_no_joint_fit_give_a_status_and_no_numbers(case):
    rows, status, words = case
    result = fit_joint(rows, spec_of())

    assert (result.status, result.is_fitted) == (status, False)
    assert words in result.message and result.message
    assert (result.loglik, result.sigma, result.residual) == (None, None, None)
    assert (result.fixed, result.random, result.contrasts, result.tests) == ((), (), (), ())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"outcome": "y + 1"}, "'y + 1' must be one column name"),
        ({"predictors": ("flow", "flow")}, "'flow' is named for two things"),
        ({"predictors": ("time",)}, "'time' is named for two things"),
        ({"session": "rater"}, "'rater' is named for two things"),
        ({"levels": ("session", "patient")}, "'session' is named for two things"),
        ({"levels": ()}, "one or two"),
        ({"levels": ("clinic", "therapist", "patient")}, "one or two"),
        ({"method": "ml", "df": "kenward-roger"}, "need method reml"),
        ({"method": "mcmc"}, "must be one of"),
    ],
    ids=str,
)
def test_a_spec_that_is_no_model_is_refused_with_the_reason(options, words):
    with pytest.raises(SpecError) as refusal:
        spec_of(**options)
    assert words in str(refusal.value)
