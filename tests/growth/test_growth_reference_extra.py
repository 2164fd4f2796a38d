"""Layer four, the rest: star is fitted, and every other stored number is held against dense matrices."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from analytics.growth import FitResult, GrowthSpec, LongData, fit
from tests.growth.dense import frame, models, spec_of
from tests.growth.references import (
    JOINT_PREDICTORS,
    Marginal,
    joint_frame,
    joint_marginal,
    joint_reference,
    likelihood_ratio_tests,
    marginal,
    marginal_of,
    matrix,
    units,
)

pytestmark = pytest.mark.slow

METHODS = ("reml", "ml")
DATASETS = ("sleepstudy", "cohort_s2", "orthodont", "oxboys", "wafer", "pixel", "early", "star")
FITS = [(name, model, method) for name in DATASETS for model in models(name) for method in METHODS]
STAR = [key for key in FITS if key[0] == "star"]
WITH_BLUPS = [key for key in FITS if "blup_first15" in models(key[0])[key[1]]["fits"][key[2]]]
COHORT_PROFILES = [name for name, model in models("cohort_s2").items() if "profile_ci_95_ml" in model]
TESTS = [(name, i) for name in DATASETS for i in range(len(likelihood_ratio_tests(name)))]
CHI2_95 = float(stats.chi2.ppf(0.95, 1))


def complete_rows(dataset: str, model: str) -> pd.DataFrame:
    formula = models(dataset)[model]["formula"]
    used = [name for name in frame(dataset) if re.search(rf"\b{name}\b", formula)]
    return frame(dataset).dropna(subset=used).reset_index(drop=True)


@cache
def twin(dataset: str, model: str, method: str) -> Marginal:
    stored = models(dataset)[model]
    rows = complete_rows(dataset, model)
    return marginal_of(rows, stored["formula"], stored["fits"][method], reml=method == "reml")


@cache
def fitted(formula: str, rater: str, method: str) -> FitResult:
    """One rater's ratings of the joint data, alone."""
    rows = joint_frame()
    spec = spec_of(formula, method=method, df="wald")
    return fit(LongData.from_columns(rows[rows["rater"] == rater], spec), spec)


@pytest.mark.parametrize("key", STAR, ids="-".join)
def test_fit_of_star_reaches_lme4_and_lmertest(key):
    dataset, model, method = key
    reference = models(dataset)[model]["fits"][method]
    spec = spec_of(models(dataset)[model]["formula"], method=method, df="satterthwaite")
    result = fit(LongData.from_columns(frame(dataset), spec), spec)
    scale = float(np.nanstd(frame(dataset)[spec.outcome]))
    fixed = {row.term: row for row in result.fixed}
    random = {row.group: row for row in result.random}

    assert result.status == ("singular" if reference["singular"] else "ok")
    assert result.loglik == pytest.approx(reference["loglik"], rel=1e-9)
    assert result.sigma == pytest.approx(reference["sigma"], abs=1e-6 * scale)
    assert {group: result.n[group] for group in reference["units"]} == reference["units"]
    assert fixed.keys() == {row["term"] for row in reference["fixed"]}
    for row in reference["fixed"]:
        assert fixed[row["term"]].estimate == pytest.approx(row["estimate"], abs=1e-6 * scale)
        assert fixed[row["term"]].se == pytest.approx(row["se"], rel=1e-5)
        assert fixed[row["term"]].df == pytest.approx(row["df"], rel=1e-3)
    for row in reference["random"]:
        np.testing.assert_allclose(random[row["group"]].cov, row["cov"], atol=1e-6 * scale**2, rtol=0)


@pytest.mark.parametrize("key", FITS, ids="-".join)
def test_stored_loglik_and_fixed_effects_are_those_of_dense_matrices(key):
    stored = models(key[0])[key[1]]["fits"][key[2]]
    dense = twin(*key)

    assert stored["loglik"] == pytest.approx(dense.loglik, rel=1e-10)
    np.testing.assert_allclose([row["estimate"] for row in stored["fixed"]], dense.beta, rtol=1e-5, atol=1e-7)
    scale = np.sqrt(np.diag(dense.vcov))
    np.testing.assert_allclose(
        stored["vcov_fixed"] / np.outer(scale, scale), dense.vcov / np.outer(scale, scale), atol=1e-5
    )
    np.testing.assert_allclose([row["se"] for row in stored["fixed"]], scale, rtol=1e-5)


@pytest.mark.parametrize("key", WITH_BLUPS, ids="-".join)
def test_stored_blups_and_their_variances_are_those_of_dense_matrices(key):
    """u = T Z'V^-1 (y - X beta); given beta its covariance is T - T Z'V^-1 Z T."""
    dataset, model, method = key
    stored = models(dataset)[model]["fits"][method]
    rows, dense = complete_rows(dataset, model), twin(*key)
    outcome = rows[models(dataset)[model]["formula"].split(" ~ ")[0]].to_numpy(float)
    residual = outcome - matrix(rows, [row["term"] for row in stored["fixed"]]) @ dense.beta
    T = {entry["group"]: np.array(entry["cov"]) for entry in stored["random"]}
    n_checked = 0

    for level in stored["blup_first15"]:
        unit, Z = units(rows, level["group"]), matrix(rows, level["terms"])
        sd = np.sqrt(np.diag(T[level["group"]]))
        scale = np.maximum(sd, 1e-3 * sd.max())
        for i, label in enumerate(level["levels"]):
            at, V = next(block for block in dense.blocks if (unit[block[0]] == label).any())
            ZT = Z[at] * (unit[at] == label)[:, None] @ T[level["group"]]
            blup = ZT.T @ np.linalg.solve(V, residual[at])
            np.testing.assert_allclose(level["blup"][i] / scale, blup / scale, rtol=0, atol=1e-5)
            if "cond_var" in level:
                left = T[level["group"]] - ZT.T @ np.linalg.solve(V, ZT)
                difference = (level["cond_var"][i] - left) / np.outer(scale, scale)
                np.testing.assert_allclose(difference, 0, atol=1e-5)
            n_checked += 1
    assert n_checked == sum(min(15, n) for n in stored["units"].values())


def sleepstudy_deviance(params: np.ndarray, y: np.ndarray, X: np.ndarray) -> float:
    """ML deviance at SDs of intercept and slope, their correlation, and sigma."""
    rows = frame("sleepstudy")
    sd0, sd1, corr, sigma = params
    if min(sd0, sd1, sigma) <= 0 or abs(corr) >= 1:
        return np.inf
    Z = matrix(rows.iloc[:10], ["Intercept", "Days"])
    T = np.array([[sd0**2, corr * sd0 * sd1], [corr * sd0 * sd1, sd1**2]])
    V = Z @ T @ Z.T + sigma**2 * np.eye(10)
    return -2 * marginal(y, X, rows["Subject"].to_numpy(), lambda at: V, reml=False).loglik


@pytest.mark.parametrize("side", ["lower", "upper"])
@pytest.mark.parametrize("i", range(6))
def test_stored_profile_limits_cost_the_deviance_of_one_chi_square(i, side):
    """The rest is fitted anew beside each parameter at its limit, by a search without derivatives."""
    stored = models("sleepstudy")["slope"]
    names = [
        "sd_Intercept|Subject",
        "sd_Days|Subject",
        "cor_Days.Intercept|Subject",
        "sigma",
        "Intercept",
        "Days",
    ]
    limit = next(row for row in stored["profile_ci_95_ml"] if row["par"] == names[i])[side]
    reference, rows = stored["fits"]["ml"], frame("sleepstudy")
    random = reference["random"][0]
    optimum = np.array([*random["sd"], random["cov"][0][1] / np.prod(random["sd"]), reference["sigma"]])
    y, X = rows["Reaction"].to_numpy(float), matrix(rows, ["Intercept", "Days"])
    free = [k for k in range(4) if k != i]
    if i >= 4:
        y, X = y - limit * X[:, i - 4], X[:, [5 - i]]

    def held(values: np.ndarray) -> float:
        params = optimum.copy()
        params[free] = optimum[free] * values
        if i < 4:
            params[i] = limit
        return sleepstudy_deviance(params, y, X)

    found = optimize.minimize(
        held, np.ones(len(free)), method="Nelder-Mead", options={"fatol": 1e-4, "xatol": 1e-3}
    )

    assert found.fun + 2 * reference["loglik"] == pytest.approx(CHI2_95, abs=5e-3)


@pytest.mark.parametrize("model", COHORT_PROFILES)
def test_fit_with_a_slope_held_at_its_stored_limit_loses_one_chi_square(model):
    stored = models("cohort_s2")[model]
    random = re.findall(r"\(([^()]*\|[^()]*)\)", stored["formula"])
    outcome = stored["formula"].split(" ~ ")[0]
    terms = [row["term"] for row in stored["fits"]["ml"]["fixed"]][1:]
    limits = {row["par"]: row for row in stored["profile_ci_95_ml"]}
    rows = complete_rows("cohort_s2", model)

    for term in terms:
        others = " + ".join(other for other in terms if other != term)
        # A main effect would come back with its product, so products are columns of their own.
        columns = {
            **{name: rows[name] for name in rows},
            **{t.replace(":", "_"): matrix(rows, [t])[:, 0] for t in terms},
        }
        spec = GrowthSpec.from_formula(
            f"{outcome} ~ {others.replace(':', '_')}", random, method="ml", df="wald"
        )
        for side in ("lower", "upper"):
            y = rows[outcome].to_numpy(float) - limits[term][side] * columns[term.replace(":", "_")]
            held = fit(LongData.from_columns({**columns, outcome: y}, spec), spec)
            lost = held.deviance + 2 * stored["fits"]["ml"]["loglik"]
            assert lost == pytest.approx(CHI2_95, abs=5e-3), (term, side)


@pytest.mark.parametrize(("dataset", "i"), TESTS)
def test_stored_likelihood_ratio_tests_follow_from_the_stored_fits(dataset, i):
    """p of the mixture: the mean of the tails, a point mass at zero counting as none."""
    test = likelihood_ratio_tests(dataset)[i]
    full, reduced = (models(dataset)[test[role]]["fits"][test["method"]] for role in ("full", "reduced"))

    def n_parameters(reference: dict[str, Any]) -> int:
        return len(reference["fixed"]) + len(reference["theta"]) + 1

    assert test["chisq"] == pytest.approx(2 * (full["loglik"] - reduced["loglik"]), abs=1e-7)
    assert test["df"] == n_parameters(full) - n_parameters(reduced)
    assert test["p_chisq"] == pytest.approx(stats.chi2.sf(test["chisq"], test["df"]), rel=1e-8)
    if "mixture_of_df" in test:
        tails = [stats.chi2.sf(test["chisq"], df) if df else 0.0 for df in test["mixture_of_df"]]
        assert test["p_mixture"] == pytest.approx(np.mean(tails), rel=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_stored_joint_fit_is_that_of_dense_matrices(method):
    stored = joint_reference()["fits"][method]
    dense = joint_marginal(joint_frame(), stored, reml=method == "reml")
    n, k = stored["rows"], stored["n_parameters"]

    assert stored["loglik"] == pytest.approx(dense.loglik, rel=1e-11)
    np.testing.assert_allclose([row["estimate"] for row in stored["fixed"]], dense.beta, atol=1e-9)
    np.testing.assert_allclose(stored["vcov_fixed"], dense.vcov, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(
        [row["se"] for row in stored["fixed"]], np.sqrt(np.diag(dense.vcov)), rtol=1e-8
    )
    assert n == len(joint_frame())
    assert stored["aic"] == pytest.approx(-2 * dense.loglik + 2 * k, rel=1e-10)
    assert stored["bic"] == pytest.approx(-2 * dense.loglik + np.log(n) * k, rel=1e-10)
    for entry in stored["random"]:
        np.testing.assert_allclose(np.diag(entry["cov"]), np.square(entry["sd"]), rtol=1e-9)
        np.testing.assert_allclose(
            entry["cov"] / np.outer(entry["sd"], entry["sd"]), entry["corr"], atol=1e-9
        )


@pytest.mark.parametrize("method", METHODS)
def test_stored_joint_fit_is_a_maximum_in_every_variance(method):
    stored = joint_reference()["fits"][method]
    rows, reml = joint_frame(), method == "reml"
    top = joint_marginal(rows, stored, reml=reml).loglik
    residual = stored["residual"]
    moved = [
        {**stored, "residual": {**residual, name: value * f}}
        for name, value in residual.items()
        for f in (0.99, 1.01)
    ]
    for level, entry in enumerate(stored["random"]):
        for j, k in zip(*np.tril_indices(4), strict=True):
            step = np.zeros((4, 4))
            step[j, k] = step[k, j] = 0.01 * entry["sd"][j] * entry["sd"][k]
            for sign in (1, -1):
                random = [dict(other) for other in stored["random"]]
                random[level]["cov"] = (np.array(entry["cov"]) + sign * step).tolist()
                moved.append({**stored, "random": random})

    assert len(moved) == 2 * 23
    for other in moved:
        assert joint_marginal(rows, other, reml=reml).loglik < top


@pytest.mark.parametrize("method", METHODS)
def test_stored_contrasts_are_differences_of_the_raters_effects(method):
    stored = joint_reference()["fits"][method]
    names = [row["term"] for row in stored["fixed"]]
    beta = np.array([row["estimate"] for row in stored["fixed"]])
    pairs = {"intercept": "", "time": ":time"}
    pairs |= {f"{x}_level": f":{x}" for x in JOINT_PREDICTORS} | {
        f"{x}_growth": f":time:{x}" for x in JOINT_PREDICTORS
    }
    L = {key: np.array([(n == f"P{e}") - float(n == f"T{e}") for n in names]) for key, e in pairs.items()}
    vcov = np.array(stored["vcov_fixed"])

    assert {row["contrast"] for row in stored["contrasts_P_minus_T"]} == set(pairs)
    for row in stored["contrasts_P_minus_T"]:
        contrast = L[row["contrast"]]
        se = float(np.sqrt(contrast @ vcov @ contrast))
        assert row["estimate"] == pytest.approx(contrast @ beta, rel=1e-8)
        assert row["se"] == pytest.approx(se, rel=1e-8)
        assert row["z"] == pytest.approx(contrast @ beta / se, rel=1e-8)
        assert row["p"] == pytest.approx(2 * stats.norm.sf(abs(row["z"])), rel=1e-8)
    for x, wald in stored["wald_level_and_growth_P_minus_T"].items():
        both = np.array([L[f"{x}_level"], L[f"{x}_growth"]])
        difference = both @ beta
        assert wald["df"] == 2
        assert wald["chisq"] == pytest.approx(
            difference @ np.linalg.solve(both @ vcov @ both.T, difference), rel=1e-8
        )
        assert wald["p"] == pytest.approx(stats.chi2.sf(wald["chisq"], 2), rel=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_joint_model_without_cross_covariance_is_two_fits(method):
    reference = joint_reference()
    formula = reference["separate"]["formula"]
    results = {rater: fitted(formula, rater, method) for rater in "PT"}

    for rater, result in results.items():
        stored = reference["separate"][rater][method]
        assert result.n["rows"] == stored["rows"]
        assert result.loglik == pytest.approx(stored["loglik"], rel=1e-9)
        assert result.sigma == pytest.approx(stored["sigma"], abs=1e-6)
        fixed = {row.term: row for row in result.fixed}
        for row in stored["fixed"]:
            assert fixed[row["term"]].estimate == pytest.approx(row["estimate"], abs=1e-6)
            assert fixed[row["term"]].se == pytest.approx(row["se"], rel=1e-5)
    total = sum(result.loglik for result in results.values())
    assert reference["fits"][method]["restricted"]["cross_0"]["loglik"] == pytest.approx(total, rel=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_restricted_joint_fits_lie_below_the_whole_one(method):
    stored = joint_reference()["fits"][method]
    restricted = stored["restricted"]

    for entry in restricted.values():
        assert entry["chisq"] == pytest.approx(2 * (stored["loglik"] - entry["loglik"]), abs=1e-6)
        assert entry["chisq"] > 0
        assert entry["df"] == stored["n_parameters"] - entry["n_parameters"]
        assert entry["p"] == pytest.approx(stats.chi2.sf(entry["chisq"], entry["df"]), rel=1e-6)
    both = restricted["rho_0_common_variance"]["loglik"]
    assert both < min(restricted[name]["loglik"] for name in ("rho_0", "common_variance"))
