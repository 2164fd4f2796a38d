"""The joint model against dense matrices: deviance, derivatives, degrees of freedom, and its special cases.

The twin holds the whole covariance matrix of all ratings.  In its 23 parameters (ten of each level, three of
the residuals of a session) V is linear, so that the formulas of Satterthwaite and of Kenward and Roger need
no derivatives but V's parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from analytics.growth import GrowthSpec, LongData, engine, fit
from analytics.growth.covariance import change_coding, factor_of
from analytics.growth.inference import infer
from analytics.growth.joint import JointSpec, _design, fit_joint
from analytics.growth.objective import Objective
from analytics.growth.optimize import search
from analytics.growth.results import JointResult
from analytics.growth.sessions import rater_names, sessions_of
from analytics.growth.simulate import Perspective, StudyDesign, Truth, covariance, simulate
from tests.growth.dense import frame, models, spec_of
from tests.growth.references import (
    JOINT_PREDICTORS,
    JOINT_TERMS,
    joint_frame,
    joint_marginal,
    joint_reference,
    matrix,
)

pytestmark = pytest.mark.slow

METHODS = ("reml", "ml")
LEVELS = ("therapist", "patient")
TRUTH = Truth(
    (
        Perspective("P", 5.2, 0.12, 0.5, {"x": (-0.3, 0.1)}, missing=0.2),
        Perspective("T", 4.8, 0.20, 0.4, {"x": (0.2, 0.0)}, missing=0.2),
    ),
    covariance(
        (0.6, 0.3, 0.5, 0.3),
        [[1, -0.2, 0.4, 0], [-0.2, 1, 0.1, 0.5], [0.4, 0.1, 1, -0.1], [0, 0.5, -0.1, 1]],
    ),
    covariance(
        (0.7, 0.3, 0.6, 0.3),
        [[1, -0.3, 0.4, -0.1], [-0.3, 1, 0, 0.4], [0.4, 0, 1, -0.2], [-0.1, 0.4, -0.2, 1]],
    ),
    rho=0.35,
)


@cache
def cohort(n_therapists: int = 8, n_patients: int = 3, seed: int = 1) -> pd.DataFrame:
    """Ratings with `x` of the therapist, `age` of the patient, `mood` of the session; one patient is rated
    by nobody else, and the therapists' ratings of another are missing."""
    design = StudyDesign(n_therapists, n_patients, sessions=(3, 8, 15, 25))
    rows = pd.DataFrame(simulate(TRUTH, design, seed))
    rng = np.random.default_rng(seed)
    rows["age"] = rng.normal(size=rows["patient"].max() + 1)[rows["patient"]]
    _, of_session = np.unique(rows[["patient", "session"]].to_numpy(), axis=0, return_inverse=True)
    rows["mood"] = rng.normal(size=of_session.max() + 1)[of_session]
    single = ((rows["patient"] == 1) & (rows["rater"] == "T")) | (
        (rows["patient"] == 5) & (rows["rater"] == "P")
    )
    return rows[~single].dropna().reset_index(drop=True)


class Problem:
    """The engine's objective beside the rows it was made from."""

    def __init__(self, rows: pd.DataFrame, spec: JointSpec, shared: str | None = None) -> None:
        data = LongData.from_columns(rows, spec.columns_spec(), labels=spec.labels)
        raters = rater_names(data, spec)
        sessions = sessions_of(data, spec, raters)
        self.rows, self.spec, self.log_unit = rows, spec, float(np.log(sessions.unit))
        self.design = _design(data, spec, raters, sessions, shared=shared)
        self.objective = Objective(self.design.statistics, self.design.levels, reml=spec.method == "reml")

    def theta(self, factors: list[np.ndarray], psi: tuple[float, float]) -> np.ndarray:
        """theta of the engine's coding for one Lambda per level, and psi, in the user's coding."""
        working = [change_coding(lv.R, L) for lv, L in zip(self.design.levels, factors, strict=True)]
        return self.objective.theta(working, (psi[0] - self.log_unit, psi[1]))

    def deviance(self, theta: np.ndarray) -> float:
        shift = self.design.deviance_shift(reml=self.objective.reml)
        return self.objective.evaluate(theta).deviance + shift

    def user(self, theta: np.ndarray) -> tuple[list[np.ndarray], tuple[float, float]]:
        """Lambda per level and psi in the user's coding."""
        pairs = zip(self.design.levels, self.objective.factors(theta), strict=True)
        log_ratio, z = self.objective.psi(theta)
        return [change_coding(np.linalg.inv(lv.R), L) for lv, L in pairs], (log_ratio + self.log_unit, z)


def problem_of(method: str, predictors: tuple[str, ...] = ("x", "age", "mood"), **options) -> Problem:
    spec = JointSpec("y", "rater", "session", "time", predictors, method=method, **options)
    return Problem(cohort(), spec)


def parts(rows: pd.DataFrame, levels: tuple[str, ...]) -> list[np.ndarray]:
    """dV of each element of each level's covariance matrix, then of the residuals': PP, PT, TT."""
    Z, is_t = matrix(rows, JOINT_TERMS), (rows["rater"] == "T").to_numpy()
    out = []
    for name in levels:
        same = rows[name].to_numpy()[:, None] == rows[name].to_numpy()
        for j in range(4):
            for i in range(j, 4):
                E = np.zeros((4, 4))
                E[i, j] = E[j, i] = 1.0
                out.append(Z @ E @ Z.T * same)
    session = rows["patient"].astype(str) + ":" + rows["session"].astype(str)
    same = session.to_numpy()[:, None] == session.to_numpy()
    n_t = is_t[:, None].astype(int) + is_t
    return [*out, *(np.where(same & (n_t == n), 1.0, 0.0) for n in range(3))]


def elements(matrices: list[np.ndarray], w: float, rho: float) -> np.ndarray:
    """The parameters of `parts`, with the first rater's residual variance for a unit."""
    lower = [T[i, j] for T in matrices for j in range(4) for i in range(j, 4)]
    return np.array([*lower, 1.0, rho * w, w**2])


@dataclass(frozen=True)
class Dense:
    deviance: float
    beta: np.ndarray
    cov: np.ndarray
    sigma: float


def dense(problem: Problem, factors: list[np.ndarray], psi: tuple[float, float]) -> Dense:
    """REML or ML at fixed variances from n x n matrices."""
    rows, names = problem.rows, problem.design.names
    X, y = matrix(rows, names), rows["y"].to_numpy()
    values = elements([L @ L.T for L in factors], float(np.exp(psi[0])), float(np.tanh(psi[1])))
    V = np.tensordot(values, parts(rows, problem.spec.levels), axes=1)
    VX = np.linalg.solve(V, X)
    XVX = X.T @ VX
    beta = np.linalg.solve(XVX, VX.T @ y)
    r = y - X @ beta
    dof = len(y) - (X.shape[1] if problem.objective.reml else 0)
    s2 = r @ np.linalg.solve(V, r) / dof
    deviance = np.linalg.slogdet(V)[1] + dof * (1 + np.log(2 * np.pi * s2))
    if problem.objective.reml:
        deviance += np.linalg.slogdet(XVX)[1]
    return Dense(float(deviance), beta, s2 * np.linalg.inv(XVX), float(np.sqrt(s2)))


def lower(seed: int) -> np.ndarray:
    return np.tril(np.random.default_rng(seed).uniform(-0.5, 0.5, size=(4, 4))) + 0.6 * np.eye(4)


NONE, FULL = np.zeros((4, 4)), lower(0)
NO_T_SLOPE = np.where(np.arange(4)[:, None] == 3, 0.0, lower(1))
ONE_DIRECTION = np.outer([0.7, -0.2, 0.5, 0.1], [1.0, 0, 0, 0])
ONE_RATER = lower(2) * np.array([[0], [0], [1], [1]]) * np.array([0, 0, 1, 1])
POINTS = {
    "inside, rho positive": (FULL, lower(3), (0.3, 0.5)),
    "inside, rho negative": (lower(3), FULL, (-0.4, -0.9)),
    "large": (40 * lower(4), 70 * lower(5), (1.5, 1.2)),
    "no slope of T between therapists": (NO_T_SLOPE, FULL, (0.0, 0.2)),
    "one direction of therapists": (ONE_DIRECTION, lower(1), (-0.2, -0.3)),
    "therapists differ for one rater": (ONE_RATER, FULL, (0.2, 0.0)),
    "no therapist variance": (NONE, FULL, (0.1, 0.4)),
    "no variance": (NONE, NONE, (-0.3, -0.6)),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_deviance_and_fixed_effects_are_those_of_the_whole_covariance_matrix(method, point):
    problem = problem_of(method)
    *factors, psi = point
    twin, theta = dense(problem, factors, psi), problem.theta(factors, psi)
    ev, design = problem.objective.evaluate(theta), problem.design

    assert problem.deviance(theta) == pytest.approx(twin.deviance, rel=1e-11)
    np.testing.assert_allclose(design.coding @ design.gamma(ev.gamma), twin.beta, rtol=1e-8)
    cov = ev.s2 * design.coding @ ev.C @ design.coding.T
    np.testing.assert_allclose(cov, twin.cov, rtol=1e-7, atol=1e-10 * np.abs(twin.cov).max())
    assert design.scale * np.sqrt(ev.s2) == pytest.approx(twin.sigma, rel=1e-10)


@pytest.mark.parametrize("levels", [("patient",), ("therapist", "patient")], ids=len)
@pytest.mark.parametrize("predictors", [(), ("x",), ("age",), ("mood",), ("age", "x")], ids=str)
def test_deviance_is_the_dense_one_for_every_kind_of_predictor_and_level(levels, predictors):
    """Of the therapist, of the patient, of the session, and with one level of units."""
    problem = problem_of("reml", predictors, levels=levels)
    factors, psi = [lower(6), lower(7)][: len(levels)], (0.2, -0.4)

    assert problem.deviance(problem.theta(factors, psi)) == pytest.approx(
        dense(problem, factors, psi).deviance, rel=1e-11
    )


@pytest.mark.parametrize("predictor", ["x", "mood"])
def test_deviance_of_effects_shared_by_the_raters_is_the_dense_one(predictor):
    spec = JointSpec("y", "rater", "session", "time", ("x", "mood"), method="ml")
    problem = Problem(cohort(), spec, shared=predictor)
    *factors, psi = POINTS["inside, rho positive"]

    assert {predictor, f"time:{predictor}"} < set(problem.design.names)
    assert f"P:{predictor}" not in problem.design.names
    assert problem.deviance(problem.theta(factors, psi)) == pytest.approx(
        dense(problem, factors, psi).deviance, rel=1e-11
    )


def quotient(function, theta: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences, one row per element of theta."""
    steps = step * np.eye(len(theta))
    return np.array([(function(theta + unit) - function(theta - unit)) / (2 * step) for unit in steps])


DERIVED = [name for name in POINTS if name != "large"]


def derived(method: str, name: str) -> tuple[Objective, np.ndarray]:
    problem = problem_of(method, ("x", "mood"))
    *factors, psi = POINTS[name]
    theta = problem.theta(factors, psi)
    assert len(theta) == problem.objective.n_theta == 22
    return problem.objective, theta


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("point", DERIVED)
def test_gradient_is_the_difference_quotient_of_the_deviance(method, point):
    objective, theta = derived(method, point)
    ev = objective.evaluate(theta)
    by_differences = quotient(lambda t: objective.evaluate(t).deviance, theta)

    np.testing.assert_allclose(objective.gradient(theta, ev), by_differences, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(objective.derivatives(theta, ev).gradient, objective.gradient(theta, ev))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("point", DERIVED)
def test_hessian_is_the_difference_quotient_of_the_gradient(method, point):
    objective, theta = derived(method, point)
    exact = objective.derivatives(theta, objective.evaluate(theta)).hessian
    by_differences = quotient(lambda t: objective.gradient(t, objective.evaluate(t)), theta)

    np.testing.assert_allclose(exact, by_differences, rtol=1e-6, atol=1e-7 * np.abs(exact).max())


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_at_fixed_sigma_follow_from_those_of_s2(method):
    """dev(theta, sigma) = profiled dev + dof (log(sigma^2 / s2) + s2 / sigma^2 - 1), at sigma^2 = s2."""
    objective, theta = derived(method, "inside, rho negative")
    ev = objective.evaluate(theta)
    exact = objective.derivatives(theta, ev)
    of_s2 = quotient(lambda t: objective.evaluate(t).s2, theta)

    np.testing.assert_allclose(
        exact.hessian_fixed_sigma,
        exact.hessian + ev.dof * np.outer(of_s2, of_s2) / ev.s2**2,
        rtol=1e-6,
        atol=1e-7 * np.abs(exact.hessian).max(),
    )
    np.testing.assert_allclose(exact.slope_sigma, -2 * ev.dof * of_s2 / ev.s2**1.5, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_derivative_of_the_fixed_effects_covariance_is_its_difference_quotient(method):
    objective, theta = derived(method, "inside, rho negative")
    ev = objective.evaluate(theta)
    exact = ev.C @ objective.derivatives(theta, ev).Y @ ev.C

    np.testing.assert_allclose(
        exact,
        quotient(lambda t: objective.evaluate(t).C, theta),
        rtol=1e-6,
        atol=1e-7 * np.abs(exact).max(),
    )


class DenseInference:
    """Satterthwaite's and Kenward and Roger's formulas at a result's variances, with n x n matrices."""

    def __init__(self, rows: pd.DataFrame, result: JointResult) -> None:
        sd = result.residual.sd
        values = sd["P"] ** 2 * elements(
            [np.array(row.cov) / sd["P"] ** 2 for row in result.random],
            sd["T"] / sd["P"],
            result.residual.rho,
        )
        E = parts(rows, LEVELS)
        X, y = matrix(rows, [row.term for row in result.fixed]), rows["y"].to_numpy()
        V_inv = np.linalg.inv(np.tensordot(values, E, axes=1))
        self.Phi = np.linalg.inv(X.T @ V_inv @ X)
        self.beta = self.Phi @ X.T @ V_inv @ y
        P = V_inv - V_inv @ X @ self.Phi @ X.T @ V_inv
        middle = P if result.method == "reml" else V_inv
        EX, Py = [E_a @ V_inv @ X for E_a in E], P @ y
        ME = [middle @ E_a for E_a in E]
        self.Y = np.array([X.T @ V_inv @ EX_a for EX_a in EX])
        self.K = np.array([[np.sum(A * B.T) for B in ME] for A in ME])
        self.Q = np.array([[A.T @ V_inv @ B for B in EX] for A in EX])
        self.quadratic = np.array([[Py @ A @ P @ B @ Py for B in E] for A in E])

    def satterthwaite(self, contrast: np.ndarray) -> float:
        """d2 dev = -tr(M E_a M E_b) + 2 y'P E_a P E_b P y, M = P or V^-1; V has no second derivatives."""
        A = 2 * np.linalg.inv(2 * self.quadratic - self.K)
        of_phi = self.Phi @ contrast
        v, g = contrast @ of_phi, np.array([of_phi @ Y @ of_phi for Y in self.Y])
        return float(2 * v**2 / (g @ A @ g))

    def several_satterthwaite(self, L: np.ndarray) -> float:
        _, U = np.linalg.eigh(L @ self.Phi @ L.T)
        df = np.array([self.satterthwaite(u @ L) for u in U.T])
        E = (df / (df - 2)).sum()
        return float(2 * E / (E - len(L)))

    @property
    def W(self) -> np.ndarray:
        return 2 * np.linalg.inv(self.K)

    @property
    def adjusted(self) -> np.ndarray:
        bias = sum(
            self.W[a, b] * (self.Q[a, b] - self.Y[a] @ self.Phi @ self.Y[b])
            for a in range(23)
            for b in range(23)
        )
        return self.Phi + 2 * self.Phi @ bias @ self.Phi

    def kenward_roger(self, L: np.ndarray) -> tuple[float, float]:
        """Scale of F and denominator df (Kenward & Roger 1997, sec. 3.2), L (q, p)."""
        q = len(L)
        Theta = L.T @ np.linalg.inv(L @ self.Phi @ L.T) @ L
        C = [Theta @ self.Phi @ Y @ self.Phi for Y in self.Y]
        pairs = [(a, b) for a in range(23) for b in range(23)]
        A1 = sum(self.W[a, b] * np.trace(C[a]) * np.trace(C[b]) for a, b in pairs)
        A2 = sum(self.W[a, b] * np.trace(C[a] @ C[b]) for a, b in pairs)
        B, g = (A1 + 6 * A2) / (2 * q), ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        c = np.array([g, q - g, q + 2 - g]) / (3 * q + 2 * (1 - g))
        mean = 1 / (1 - A2 / q)
        variance = 2 / q * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
        df = 4 + (q + 2) / (q * variance / (2 * mean**2) - 1)
        return float(df / (mean * (df - 2))), float(df)


@cache
def fitted(method: str, df: str) -> tuple[JointResult, DenseInference]:
    rows = cohort(n_therapists=24)
    spec = JointSpec("y", "rater", "session", "time", ("x",), method=method, df=df)
    result = fit_joint(rows, spec)
    assert (result.status, result.df_method) == ("ok", df)
    return result, DenseInference(rows, result)


def difference(result: JointResult, *effects: str) -> np.ndarray:
    names = [row.term for row in result.fixed]
    return np.array(
        [[(name == f"P:{effect}") - float(name == f"T:{effect}") for name in names] for effect in effects]
    )


@pytest.mark.parametrize("method", METHODS)
def test_satterthwaite_df_are_those_of_dense_matrices(method):
    result, twin = fitted(method, "satterthwaite")
    n = len(result.fixed)

    np.testing.assert_allclose([row.estimate for row in result.fixed], twin.beta, rtol=1e-8)
    np.testing.assert_allclose(result.vcov_fixed, twin.Phi, rtol=1e-7, atol=1e-12)
    expected = [twin.satterthwaite(row) for row in np.eye(n)]
    np.testing.assert_allclose([row.df for row in result.fixed], expected, rtol=1e-5)
    of_contrasts = [twin.satterthwaite(difference(result, effect)[0]) for effect in ("x", "time:x")]
    np.testing.assert_allclose([row.df for row in result.contrasts], of_contrasts, rtol=1e-5)
    L = difference(result, "x", "time:x")
    (both,) = result.tests
    assert both.df == pytest.approx(twin.several_satterthwaite(L), rel=1e-5)
    wald = (L @ twin.beta) @ np.linalg.solve(L @ twin.Phi @ L.T, L @ twin.beta)
    assert (both.F, both.q) == (pytest.approx(wald / 2, rel=1e-7), 2)
    assert both.p == pytest.approx(stats.f.sf(both.F, 2, both.df), rel=1e-9)


def test_kenward_roger_covariance_and_df_are_those_of_dense_matrices():
    result, twin = fitted("reml", "kenward-roger")
    n = len(result.fixed)

    scale = np.abs(twin.adjusted).max()
    np.testing.assert_allclose(result.vcov_fixed, twin.adjusted, rtol=1e-6, atol=1e-9 * scale)
    assert np.abs(twin.adjusted - twin.Phi).max() > 1e-3 * scale
    expected = [twin.kenward_roger(row[None])[1] for row in np.eye(n)]
    np.testing.assert_allclose([row.df for row in result.fixed], expected, rtol=1e-6)
    for row, effect in zip(result.contrasts, ("x", "time:x"), strict=True):
        L = difference(result, effect)
        assert row.se == pytest.approx(np.sqrt((L @ twin.adjusted @ L.T)[0, 0]), rel=1e-7)
        assert row.df == pytest.approx(twin.kenward_roger(L)[1], rel=1e-6)
    L = difference(result, "x", "time:x")
    scale_F, df = twin.kenward_roger(L)
    wald = (L @ twin.beta) @ np.linalg.solve(L @ twin.adjusted @ L.T, L @ twin.beta)
    (both,) = result.tests
    assert (both.F, both.df) == (pytest.approx(scale_F * wald / 2, rel=1e-6), pytest.approx(df, rel=1e-6))
    assert both.p == pytest.approx(stats.f.sf(both.F, 2, both.df), rel=1e-9)


# R 4.2.2, lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2, models fitted by REML to full precision:
#   L <- diag(length(fixef(m)))[match(terms, names(fixef(m))), , drop = FALSE]
#   pbkrtest::KRmodcomp(m, L)$stats[c("Fstat", "ddf", "p.value")]
#   lmerTest::contestMD(m, L, ddf = "Satterthwaite")[c("F value", "DenDF", "Pr(>F)")]
SEVERAL = [
    (
        ("orthodont", "slope", "male age:male"),
        (6.30800047345, 24, 0.00628758649893),
        (6.57083382651, 25.0000001775, 0.00509042607989),
    ),
    (
        ("orthodont", "slope", "age male age:male"),
        (36.1455440316, 27.5950802802, 1.06975898352e-09),
        (37.5289194911, 33.0823834162, 9.33917996542e-11),
    ),
    (
        ("orthodont", "slope", "age:male"),
        (5.11859839861, 25, 0.0326138564257),
        (5.11859839861, 25.0000003586, 0.0326138562923),
    ),
    (
        ("cohort_s2", "wai_p_full", "self_doubt time:self_doubt"),
        (13.9639644474, 38.5531709909, 2.74426216824e-05),
        (14.5422728615, 41.5102135642, 1.63496811419e-05),
    ),
    (
        ("cohort_s2", "wai_p_full", "warmth time:warmth"),
        (3.87093116667, 37.0514711814, 0.0297394228881),
        (4.0029658335, 39.9062298111, 0.0260388393983),
    ),
    (
        ("cohort_s2", "wai_p_full", "self_doubt warmth time:self_doubt time:warmth"),
        (8.33274342052, 44.8189034056, 4.09658884969e-05),
        (8.73798184498, 41.0045436481, 3.38323013459e-05),
    ),
]


@pytest.mark.parametrize("method", ["kenward-roger", "satterthwaite"])
@pytest.mark.parametrize("case", SEVERAL, ids=lambda case: f"{case[0][0]}: {case[0][2]}")
def test_tests_of_several_effects_are_those_of_pbkrtest_and_lmertest(case, method):
    (dataset, model, terms), *expected = case
    F, df, p = expected[method == "satterthwaite"]
    spec = spec_of(models(dataset)[model]["formula"], df="wald")
    data = LongData.from_columns(frame(dataset), spec)
    estimate = engine.estimate(data, spec)
    design, objective, found = estimate.parts
    inference = infer(design, objective, found, method, len(data.units[0]))
    L = np.array([[float(name == term) for name in design.names] for term in terms.split()])
    test = inference.f_test(L)

    assert test.q == L.sum() == len(terms.split())
    assert pytest.approx(F, rel=1e-6) == test.F
    assert test.df == pytest.approx(df, rel=1e-5)
    assert test.p == pytest.approx(p, rel=1e-4)


@cache
def full(method: str) -> Problem:
    spec = JointSpec("y", "rater", "session", "time", JOINT_PREDICTORS, method=method)
    return Problem(joint_frame(), spec)


@cache
def optimum(method: str) -> np.ndarray:
    return search(full(method).objective).theta


@pytest.mark.parametrize("method", METHODS)
def test_without_covariances_between_raters_it_is_the_two_separate_models(method):
    """At the separate fits' estimates the deviance is the sum of theirs, and lme4's."""
    rows, problem = joint_frame(), full(method)
    formula = f"y ~ time * ({' + '.join(JOINT_PREDICTORS)})"
    spec = GrowthSpec.from_formula(formula, [f"1 + time | {group}" for group in LEVELS], method=method)
    alone = [fit(LongData.from_columns(rows[rows["rater"] == rater], spec), spec) for rater in ("P", "T")]
    T = [np.zeros((4, 4)), np.zeros((4, 4))]
    for r, result in enumerate(alone):
        for level, row in zip(T, result.random, strict=True):
            level[2 * r : 2 * r + 2, 2 * r : 2 * r + 2] = np.array(row.cov) / alone[0].sigma ** 2
    theta = problem.theta([factor_of(level) for level in T], (np.log(alone[1].sigma / alone[0].sigma), 0.0))

    assert problem.deviance(theta) == pytest.approx(sum(result.deviance for result in alone), rel=1e-12)
    loglik = joint_reference()["fits"][method]["restricted"]["cross_0"]["loglik"]
    assert problem.deviance(theta) == pytest.approx(-2 * loglik, rel=1e-10)
    gradient = problem.objective.gradient(theta, problem.objective.evaluate(theta))
    slopes, psi = problem.objective.factors(gradient), problem.objective.psi(gradient)
    for slope in slopes:
        np.testing.assert_allclose([slope[:2, :2], slope[2:, 2:]], 0.0, atol=1e-4)
    assert psi[0] == pytest.approx(0.0, abs=1e-4)
    assert abs(psi[1]) > 10


def test_a_search_that_passes_near_a_correlation_of_one_ends_in_a_minimum():
    """Here a step of the search goes to where R is singular to working precision."""
    rows = cohort(n_therapists=12, seed=3)
    spec = JointSpec("y", "rater", "session", "time", ("x",), df="wald")
    result = fit_joint(rows, spec)
    fields = {
        "fixed": [{"term": row.term} for row in result.fixed],
        "random": [{"group": row.group.split(":")[-1], "cov": row.cov} for row in result.random],
        "residual": {**{f"sd_{r}": sd for r, sd in result.residual.sd.items()}, "rho": result.residual.rho},
    }

    assert abs(result.residual.rho) < 0.9
    assert result.loglik == pytest.approx(joint_marginal(rows, fields, reml=True).loglik, rel=1e-10)


LOG_RATIO, RHO = 20, 21
RESTRICTIONS = {
    "rho_0": [RHO],
    "common_variance": [LOG_RATIO],
    "rho_0_common_variance": [LOG_RATIO, RHO],
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", RESTRICTIONS)
def test_restricted_likelihoods_are_those_of_the_reference(method, name):
    """The rest is maximised by the gradient."""
    problem, held = full(method), RESTRICTIONS[name]
    free = np.setdiff1d(np.arange(22), held)

    def deviance(values: np.ndarray) -> tuple[float, np.ndarray]:
        theta = problem.theta([np.zeros((4, 4))] * 2, (0.0, 0.0))
        theta[free] = values
        ev = problem.objective.evaluate(theta)
        return ev.deviance, problem.objective.gradient(theta, ev)[free]

    found = optimize.minimize(
        deviance, optimum(method)[free], jac=True, method="BFGS", options={"gtol": 1e-3, "maxiter": 500}
    )
    shift = problem.design.deviance_shift(reml=method == "reml")
    reference = joint_reference()["fits"][method]["restricted"][name]["loglik"]
    assert found.fun + shift == pytest.approx(-2 * reference, rel=1e-9)


def test_likelihood_ratio_is_twice_the_difference_of_two_maxima():
    """Both are stationary points of dense deviances."""
    spec = JointSpec("y", "rater", "session", "time", ("x", "mood"), df="wald")
    rows = cohort(n_therapists=24)
    result = fit_joint(rows, spec, likelihood_ratio=True)
    by_ml = JointSpec("y", "rater", "session", "time", ("x", "mood"), method="ml")
    maxima = []
    for shared in (None, "x", "mood"):
        problem = Problem(rows, by_ml, shared)
        theta = search(problem.objective).theta
        factors, psi = problem.user(theta)
        twin = dense(problem, factors, psi)
        for step in np.random.default_rng(0).normal(scale=1e-2, size=(2, len(theta))):
            factors, psi = problem.user(theta + step)
            assert dense(problem, factors, psi).deviance > twin.deviance
        maxima.append(twin.deviance)

    assert [test.predictor for test in result.tests] == ["x", "mood"]
    for test, alike in zip(result.tests, maxima[1:], strict=True):
        assert test.lr == pytest.approx(alike - maxima[0], abs=1e-8)
        assert test.lr_p == pytest.approx(stats.chi2.sf(test.lr, 2), rel=1e-8)
