"""Layer one and three: the fast deviance is the naive one, and the published one at a fixed theta."""

from __future__ import annotations

import numpy as np
import pytest

from analytics.growth import GrowthSpec, LongData
from analytics.growth.gls import disagreement
from tests.growth.dense import Problem, frame, models, simulated, spec_of

TWO_LEVELS = ["1 + time | therapist", "1 + time | therapist:patient"]

FACTORS = {
    "inside": ([[0.6, 0.0], [-0.1, 0.25]], [[1.2, 0.0], [0.3, 0.5]]),
    "large": ([[40.0, 0.0], [9.0, 12.0]], [[70.0, 0.0], [-20.0, 15.0]]),
    "no therapist slope": ([[0.6, 0.0], [0.0, 0.0]], [[1.2, 0.0], [0.3, 0.5]]),
    "correlation of -1": ([[0.6, 0.0], [-0.3, 0.0]], [[1.2, 0.0], [0.3, 0.5]]),
    "no therapist variance": ([[0.0, 0.0], [0.0, 0.0]], [[1.2, 0.0], [0.3, 0.5]]),
    "no variance": ([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]),
    "slope without intercept": ([[0.0, 0.0], [0.0, 0.3]], [[1.2, 0.0], [0.3, 0.5]]),
}

# Davies & Goldsmith 1972, as `Dyestuff` in lme4: yield of 5 preparations from each of 6 batches.
DYESTUFF = [
    [1545, 1440, 1440, 1520, 1580],
    [1540, 1555, 1490, 1560, 1495],
    [1595, 1550, 1605, 1510, 1560],
    [1445, 1440, 1595, 1465, 1545],
    [1595, 1630, 1515, 1635, 1625],
    [1520, 1455, 1450, 1480, 1445],
]


def cohort(**options: str) -> Problem:
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS, **options)
    columns = simulated(1)
    columns["y"] = np.where(np.random.default_rng(2).random(len(columns["y"])) < 0.25, np.nan, columns["y"])
    return Problem(LongData.from_columns(columns, spec), spec)


def growth_columns(problem: Problem) -> np.ndarray:
    columns = problem.data.columns
    time, x = columns["time"], columns["x"]
    return np.column_stack([np.ones(len(time)), time, x, time * x])


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
def test_fast_deviance_is_that_of_the_whole_covariance_matrix(method, factors):
    problem = cohort(method=method)
    factors = [np.array(L) for L in factors]
    twin = problem.dense(factors, growth_columns(problem))

    assert problem.deviance(factors) == pytest.approx(twin.deviance, rel=1e-10)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("factors", FACTORS.values(), ids=FACTORS)
def test_fixed_effects_are_those_of_the_whole_covariance_matrix_and_pass_the_check(method, factors):
    problem = cohort(method=method)
    factors = [np.array(L) for L in factors]
    twin, ev, design = (
        problem.dense(factors, growth_columns(problem)),
        problem.evaluate(factors),
        problem.design,
    )
    coding = np.linalg.inv(design.R)

    np.testing.assert_allclose(coding @ (design.gamma_ols + design.scale * ev.gamma), twin.beta, rtol=1e-8)
    np.testing.assert_allclose(
        design.scale**2 * ev.s2 * coding @ ev.C @ coding.T, twin.cov, rtol=1e-7, atol=1e-12
    )
    assert design.scale * np.sqrt(ev.s2) == pytest.approx(twin.sigma, rel=1e-9)
    assert disagreement(design, ev, np.zeros(0)) < 1e-9


@pytest.mark.parametrize(
    "random",
    [
        ["1 | therapist", "1 + time | therapist:patient"],
        ["1 + time | therapist", "1 | therapist:patient"],
        ["0 + time | therapist", "1 | therapist:patient"],
        ["time || therapist", "time || therapist:patient"],
        ["1 + time | therapist:patient"],
        ["1 + time | therapist"],
    ],
    ids=" and ".join,
)
def test_fast_deviance_is_the_dense_one_for_every_form_of_random_terms(random):
    spec = GrowthSpec.from_formula("y ~ time * x", random)
    problem = Problem(LongData.from_columns(simulated(3), spec), spec)
    factors = [
        np.tril(np.full((q, q), 0.3)) + 0.5 * np.eye(q) if term.correlated else np.diag([0.7, 0.4][:q])
        for term in spec.random
        for q in [len(term.columns)]
    ]
    twin = problem.dense(factors, growth_columns(problem))

    assert problem.deviance(factors) == pytest.approx(twin.deviance, rel=1e-11)


def test_deviance_of_dyestuff_at_a_fixed_theta_is_the_published_one():
    """MixedModels.jl, test/pls.jl: objective at theta = 0.713."""
    spec = GrowthSpec.from_formula("y ~ 1", ["1 | batch"], method="ml")
    columns = {"y": np.ravel(DYESTUFF), "batch": np.repeat(list("ABCDEF"), 5)}
    problem = Problem(LongData.from_columns(columns, spec), spec)

    assert problem.deviance([np.array([[0.713]])]) == pytest.approx(327.34216280954615, rel=1e-8)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        ("sleepstudy", "slope"),
        ("cohort_s2", "wai_p_full"),
        ("cohort_s2", "wai_t_growth"),
        ("oxboys", "quadratic"),
        ("wafer", "slope"),
        ("early", "cross"),
    ],
)
def test_deviance_at_the_theta_of_lme4_is_that_of_lme4(dataset, model, method):
    reference = models(dataset)[model]["fits"][method]
    spec = spec_of(models(dataset)[model]["formula"], method=method)
    problem = Problem(LongData.from_columns(frame(dataset), spec), spec)
    factors = []
    for term in spec.random:
        intercept, slope = (f"{term.group}.{name}" for name in term.names)
        cross = reference["theta"][f"{slope}.Intercept"]
        factors.append(np.array([[reference["theta"][intercept], 0.0], [cross, reference["theta"][slope]]]))

    assert problem.deviance(factors) == pytest.approx(-2 * reference["loglik"], rel=1e-9)
