"""Tests between models are R's where R has them, closed forms and simulation where it has not."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from analytics.growth import FitResult, GrowthSpec, LongData, SpecError, fit
from analytics.growth import compare as compare_module
from analytics.growth.compare import bootstrap, bootstrap_comparison, compare
from analytics.growth.multiplicity import benjamini_hochberg, holm
from tests.growth.dense import frame, models, simulated, spec_of

# anova(small, large, refit = FALSE) by lme4 1.1-31 (R 4.2.2); p_mixture: mean of pchisq(lower.tail = FALSE)
# over two df, the second being that of p_chisq: "data large small method", chisq, df, p_chisq, p_mixture.
LME4 = [
    ("sleepstudy slope intercept reml", 42.8368134364302, 2, 4.99004142696187e-10, 2.79252981506993e-10),
    ("sleepstudy slope intercept ml", 42.139298542028, 2, 7.07241254718902e-10, 3.9611953079305e-10),
    ("orthodont slope intercept reml", 1.1755876985282, 2, 0.55555156425768, 0.4169038253308),
    ("orthodont slope intercept ml", 0.833107219791827, 2, 0.659315166030554, 0.510345373089992),
    ("cohort_s2 wai_p_full wai_p_ther_int reml", 1.22124339054062, 2, 0.543013175391237, 0.40606497474404),
    ("cohort_s2 wai_p_full wai_p_ther_int ml", 0.915950888574116, 2, 0.632563009052321, 0.485551698306253),
    (
        "cohort_s2 wai_p_ther_int wai_p_no_ther reml",
        17.2947226057759,
        1,
        3.20074550709e-05,
        1.60037275354e-05,
    ),
    ("cohort_s2 wai_p_ther_int wai_p_no_ther ml", 15.2512914924787, 1, 9.41123801647e-05, 4.70561900823e-05),
    ("cohort_s2 wai_t_full wai_t_ther_int reml", 50.6755360637271, 2, 9.9071139913e-12, 5.4984039421e-12),
    ("cohort_s2 wai_t_ther_int wai_t_no_ther ml", 129.910683947106, 1, 4.286373682e-30, 2.143186841e-30),
    ("cohort_s2 wai_p_full wai_p_main ml", 21.3120375815447, 2, 2.35586196225448e-05, None),
    ("cohort_s2 wai_t_full wai_t_main ml", 3.05756270038023, 2, 0.216799709320507, None),
]

LINES = ("1 + time | therapist", "1 + time | therapist:patient")


@cache
def data_of(dataset: str, model: str) -> LongData:
    return LongData.from_columns(frame(dataset), spec_of(models(dataset)[model]["formula"]))


@cache
def fitted(dataset: str, model: str, method: str, columns_of: str | None = None) -> FitResult:
    spec = spec_of(models(dataset)[model]["formula"], method=method, df="wald")
    return fit(data_of(dataset, columns_of or model), spec)


@cache
def cohort(formula: str, random: tuple[str, ...], method: str = "ml") -> FitResult:
    spec = GrowthSpec.from_formula(formula, list(random), method=method, df="wald")
    largest = GrowthSpec.from_formula("y ~ time * x", LINES)
    return fit(LongData.from_columns(simulated(3, n_therapists=60), largest), spec)


@pytest.mark.parametrize("case", LME4, ids=lambda case: case[0].replace(" ", "-"))
def test_likelihood_ratio_tests_are_those_of_lme4(case):
    models_compared, chisq, df, p_chisq, p_mixture = case
    dataset, large, small, method = models_compared.split()
    found = compare(fitted(dataset, small, method, large), fitted(dataset, large, method))

    assert found.statistic == pytest.approx(chisq, abs=1e-7)
    assert found.df == df
    assert found.p_naive == pytest.approx(p_chisq, rel=1e-6)
    assert found.p == pytest.approx(p_chisq if p_mixture is None else p_mixture, rel=1e-6)
    assert found.mixture_of_df == ((df,) if p_mixture is None else (df - 1, df))


def test_aic_and_bic_differences_are_those_of_lme4():
    reference = {name: models("cohort_s2")[name]["fits"]["ml"] for name in ("wai_p_main", "wai_p_full")}
    found = compare(
        fitted("cohort_s2", "wai_p_main", "ml", "wai_p_full"), fitted("cohort_s2", "wai_p_full", "ml")
    )

    for ours, name in ((found.small, "wai_p_main"), (found.large, "wai_p_full")):
        assert (ours.aic, ours.bic) == pytest.approx((reference[name]["aic"], reference[name]["bic"]))
    assert found.aic_difference == pytest.approx(found.large.aic - found.small.aic)
    assert found.bic_difference == pytest.approx(
        reference["wai_p_full"]["bic"] - reference["wai_p_main"]["bic"], abs=1e-6
    )
    # The full model: 6 fixed effects, 2 x 3 (co)variances, sigma.
    assert found.large.n_parameters == 13
    assert found.to_dict()["large"]["n_parameters"] == 13


@pytest.mark.parametrize(
    ("small", "large", "mixture"),
    [
        (("y ~ time", LINES[1:]), ("y ~ time", ("1 | therapist", LINES[1])), (0, 1)),
        (("y ~ time", ("1 | therapist", LINES[1])), ("y ~ time", LINES), (1, 2)),
        (
            ("y ~ time", ("1 | therapist", LINES[1])),
            ("y ~ time", ("1 + time || therapist", LINES[1])),
            (0, 1),
        ),
        (("y ~ time", ("1 | therapist", LINES[1])), ("y ~ time * x", LINES), (3, 4)),
        (("y ~ time", ("1 + time || therapist", LINES[1])), ("y ~ time", LINES), (1,)),
        (("y ~ time", LINES), ("y ~ x * time", LINES), (2,)),
        (("y ~ time", LINES[1:]), ("y ~ time", LINES), (3,)),
    ],
    ids=[
        "intercept",
        "slope",
        "slope-uncorrelated",
        "slope-and-fixed",
        "covariance",
        "fixed",
        "two-variances",
    ],
)
def test_mixture_follows_what_the_larger_model_adds(small, large, mixture):
    found = compare(cohort(*small), cohort(*large))
    tails = [float(found.statistic <= 0) if k == 0 else stats.chi2.sf(found.statistic, k) for k in mixture]

    assert found.mixture_of_df == mixture
    assert found.statistic == pytest.approx(cohort(*small).deviance - cohort(*large).deviance)
    assert found.p == pytest.approx(np.mean(tails), rel=1e-12)
    assert found.p_naive == pytest.approx(stats.chi2.sf(found.statistic, found.df), rel=1e-12)


def test_notes_say_where_p_is_approximate():
    many = compare(cohort("y ~ time", ("1 | therapist", LINES[1])), cohort("y ~ time", LINES))
    several = compare(cohort("y ~ time", LINES[1:]), cohort("y ~ time", LINES))
    few = compare(fitted("sleepstudy", "intercept", "ml", "slope"), fitted("sleepstudy", "slope", "ml"))
    edge = replace(cohort("y ~ time", LINES), status="singular", message="therapist: singular")
    on_the_edge = compare(edge, cohort("y ~ time * x", LINES))

    assert many.notes == ()
    assert "2 variances" in several.notes[0]
    assert "18 of 'Subject'" in few.notes[0]
    assert "therapist: singular" in on_the_edge.notes[0]
    assert all("bootstrap" in found.notes[0] for found in (several, few, on_the_edge))


def test_chi_square_of_fixed_effects_with_few_units_is_said_to_be_too_small():
    """With 12 therapists the test rejects 7 % of true nulls of a therapist's predictor at 5 %."""
    columns = simulated(3)
    specs = [GrowthSpec.from_formula(f, LINES, method="ml") for f in ("y ~ time", "y ~ time * x")]
    small, large = (fit(LongData.from_columns(columns, spec), spec) for spec in specs)
    found = compare(small, large)

    assert "with 12 at the highest level p comes out too small" in found.notes[0]
    assert compare(cohort("y ~ time", LINES), cohort("y ~ time * x", LINES)).notes == ()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda columns: {"time": columns["time"] * 10}, "'time' differs"),
        (lambda columns: {"x": columns["x"][::-1]}, "'x' differs"),
        (lambda columns: {"therapist": (columns["therapist"] + columns["patient"]) % 12}, "differs"),
        (lambda columns: {"y": columns["y"] + 1e-9}, "different ratings"),
    ],
    ids=["time", "predictor", "units", "ratings"],
)
def test_models_of_data_that_differ_in_what_both_use_are_not_compared(changed, words):
    columns = simulated(4)
    small_spec = GrowthSpec.from_formula("y ~ time + x", ("1 | therapist", LINES[1]), method="ml")
    large_spec = GrowthSpec.from_formula("y ~ time * x", LINES, method="ml")
    small = fit(LongData.from_columns(columns, small_spec), small_spec)
    large = fit(LongData.from_columns({**columns, **changed(columns)}, large_spec), large_spec)

    assert compare(small, fit(LongData.from_columns(columns, large_spec), large_spec)).df > 0
    with pytest.raises(SpecError, match=words):
        compare(small, large)


def test_equal_likelihoods_give_p_one():
    large = cohort("y ~ time", LINES)
    small = cohort("y ~ time", ("1 | therapist", LINES[1]))
    found = compare(replace(small, deviance=large.deviance + 1e-9, aic=large.deviance + 1e-9 + 14), large)

    assert (found.statistic, found.p) == (0.0, 1.0)


def off_optimum() -> tuple[FitResult, FitResult]:
    large = cohort("y ~ time * x", LINES)
    return replace(cohort("y ~ time", LINES), deviance=large.deviance - 1e-5), large


def altered(**fields: str) -> tuple[FitResult, FitResult]:
    return cohort("y ~ time", LINES), replace(cohort("y ~ time * x", LINES), **fields)


def pair(small: tuple[str, ...], large: tuple[str, ...]) -> tuple[FitResult, FitResult]:
    return cohort(*small), cohort(*large)


ALL, PLAIN = ("y ~ time * x", LINES), ("y ~ time", LINES)
UNCORRELATED = ("y ~ time", ("1 + time || therapist", LINES[1]))


@pytest.mark.parametrize(
    ("fits", "words"),
    [
        (off_optimum, "not at its optimum"),
        (lambda: altered(status="not_converged", message="no minimum found"), "no minimum found"),
        (lambda: altered(outcome="z"), "outcomes differ"),
        (lambda: altered(fingerprints={"y": "0"}), "different ratings"),
        (lambda: pair((*PLAIN, "reml"), ALL), "one method"),
        (lambda: pair((*PLAIN, "reml"), (*ALL, "reml")), "refit both models with method ml"),
        (lambda: pair(ALL, PLAIN), "swap"),
        (lambda: pair(("y ~ x", LINES), PLAIN), "not a part"),
        (lambda: pair(PLAIN, ("y ~ time * x", ("1 | therapist", LINES[1]))), "not a part"),
        (lambda: pair(PLAIN, ("y ~ time * x", LINES[1:])), "not a part"),
        (lambda: pair(("y ~ 1", LINES), UNCORRELATED), "not a part"),
        (lambda: pair(ALL, ("y ~ x * time", LINES)), "same model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_compared_is_refused_with_advice(fits, words):
    small, large = fits()

    with pytest.raises(SpecError, match=words):
        compare(small, large)


def test_reml_compares_random_effects_of_the_same_fixed_effects():
    found = compare(
        cohort("y ~ time", ("1 | therapist", LINES[1]), "reml"), cohort("y ~ time", LINES, "reml")
    )

    assert found.method == "reml"
    assert found.statistic > 0


@cache
def one_level(seed: int, n_units: int, slope_sd: float) -> tuple[LongData, GrowthSpec, GrowthSpec]:
    rng = np.random.default_rng(seed)
    unit, time = np.repeat(np.arange(n_units), 4), np.tile(np.arange(4.0), n_units)
    b = rng.normal(size=(n_units, 2)) * [1.0, slope_sd]
    y = b[unit, 0] + b[unit, 1] * time + rng.normal(size=len(unit))
    small, large = (
        GrowthSpec.from_formula("y ~ time", [term], method="ml") for term in ("1 | unit", "1 + time | unit")
    )
    return LongData.from_columns({"y": y, "time": time, "unit": unit}, large), small, large


@pytest.mark.slow
def test_bootstrap_p_is_that_of_the_mixture_where_there_are_many_units():
    data, small, large = one_level(8, 150, 0.13)
    told = []
    found = bootstrap_comparison(data, small, large, n=200, seed=1, progress=lambda *at: told.append(at))
    asymptotic = found.comparison
    error = np.sqrt(asymptotic.p * (1 - asymptotic.p) / 200)

    assert asymptotic.mixture_of_df == (1, 2)
    assert abs(found.p - asymptotic.p) < 2 * error
    assert abs(found.p - asymptotic.p_naive) > 3 * error
    assert told == [(i + 1, 200) for i in range(200)]


def test_bootstrap_p_counts_the_statistics_that_reach_the_observed_one():
    data, small, large = one_level(8, 20, 0.3)
    found = bootstrap_comparison(data, small, large, n=9, seed=2)
    n_above = sum(statistic >= found.comparison.statistic for statistic in found.statistics)

    assert len(found.statistics) + found.n_unusable == 9
    assert min(found.statistics) >= 0
    assert found.p == (1 + n_above) / (1 + len(found.statistics))
    assert found == bootstrap_comparison(data, small, large, n=9, seed=2)
    assert found.statistics[:2] != bootstrap_comparison(data, small, large, n=2, seed=3).statistics
    assert found.to_dict()["comparison"]["df"] == 2


def test_bootstrap_counts_data_sets_that_a_model_cannot_be_fitted_to(monkeypatch):
    data, small, large = one_level(8, 20, 0.3)
    usual = bootstrap_comparison(data, small, large, n=4, seed=2)
    calls = []

    def sometimes(data: LongData, spec: GrowthSpec, theta0: tuple[float, ...] | None = None) -> FitResult:
        calls.append(spec)
        result = fit(data, spec, theta0)
        # The second data set, after the two fits of the data themselves and two of the first.
        return replace(result, status="not_converged", deviance=None) if len(calls) == 6 else result

    monkeypatch.setattr(compare_module, "fit", sometimes)
    found = bootstrap_comparison(data, small, large, n=4, seed=2)

    assert usual.n_unusable == 0
    assert found.n_unusable == 1
    assert found.statistics == (usual.statistics[0], *usual.statistics[2:])


def balanced(seed: int) -> tuple[LongData, GrowthSpec]:
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(30), 5)
    y = 3 + rng.normal(size=30)[unit] + rng.normal(size=150)
    spec = GrowthSpec.from_formula("y ~ 1", ["1 | unit"], df="wald")
    return LongData.from_columns({"y": y, "unit": unit}, spec), spec


def test_bootstrap_of_sigma_follows_its_chi_square():
    """Balanced, one level, REML: sigma^2 is the mean square within, sigma^2 chi2_120 / 120."""
    data, spec = balanced(1)
    found = bootstrap(data, spec, lambda result: result.sigma, n=150, seed=4, level=0.9)
    sigma = fit(data, spec).sigma
    truth = stats.chi2(120)
    standard = np.array(found.estimates) / sigma

    assert found.value == sigma
    assert stats.kstest(standard**2 * 120, truth.cdf).pvalue > 0.05
    assert (found.lower, found.upper) == pytest.approx(np.quantile(found.estimates, [0.05, 0.95]))
    assert found.lower == pytest.approx(sigma * np.sqrt(truth.ppf(0.05) / 120), rel=0.03)
    assert found.upper == pytest.approx(sigma * np.sqrt(truth.ppf(0.95) / 120), rel=0.03)
    assert found.n_unusable == 0


def test_bootstrap_leaves_out_what_has_no_value_and_gives_no_limits_from_too_few():
    data, spec = balanced(1)
    sigma = fit(data, spec).sigma

    def above(result: FitResult) -> float | None:
        return result.sigma if result.sigma >= sigma else None

    found = bootstrap(data, spec, above, n=30, seed=5)

    assert min(found.estimates) >= sigma
    assert 0 < found.n_unusable == 30 - len(found.estimates)
    assert (found.lower, found.upper) == (None, None)
    assert "raise n" in found.message
    with pytest.raises(SpecError, match="no value"):
        bootstrap(data, spec, lambda result: None, n=1)
    with pytest.raises(ValueError, match="level"):
        bootstrap(data, spec, above, n=1, level=95)


@pytest.mark.parametrize(("ours", "theirs"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_p_values_are_those_of_statsmodels(ours, theirs):
    rng = np.random.default_rng(6)

    for p in (rng.uniform(size=9), rng.beta(0.2, 1, size=40).round(2), [0.03], [1.0, 0.0, 0.5, 0.5]):
        np.testing.assert_allclose(ours(p), multipletests(p, method=theirs)[1], rtol=1e-12)


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_adjusting_refuses_what_is_not_a_p_value(adjust):
    for p in ([0.5, np.nan], [-0.1], [1.1], [[0.1, 0.2]]):
        with pytest.raises(ValueError, match="between 0 and 1"):
            adjust(p)
    assert adjust([]).shape == (0,)
