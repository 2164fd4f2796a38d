"""Tiny cohorts, mostly singular; predictors at every level; how a search starts and stops."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from analytics.growth import GrowthSpec, LongData, SpecError, estimate, fit
from analytics.growth import joint as joint_module
from analytics.growth import optimize as optimize_module
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.objective import Objective
from tests.growth.dense import Problem, simulated

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

TWO_LEVELS = ("1 + time | therapist", "1 + time | therapist:patient")
SHAPES = (
    TWO_LEVELS,
    ("1 | therapist", "1 | therapist:patient"),
    ("time || therapist", "time || therapist:patient"),
    ("1 | therapist", "1 + time | therapist:patient"),
    ("1 + time | therapist:patient",),
    ("1 + time | therapist", "1 | therapist:patient"),
    ("1 + time | therapist",),
    ("0 + time | therapist", "1 + time | therapist:patient"),
)
FORMULAS = ("y ~ time", "y ~ time * x", "y ~ time * z", "y ~ time + C(arm)")
STATUSES = {"ok", "singular", "not_converged", "no_variation", "insufficient_data"}
Columns = dict[str, Any]


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, float) else []


def tiny(seed: int) -> Columns:
    """25 therapists of 4 patients of 2 to 4 ratings; SDs drawn, many zero; every third in whole points."""
    rng = np.random.default_rng(seed)
    n = 100
    n_ratings = rng.integers(2, 5, size=n)
    patient = np.repeat(np.arange(n), n_ratings)
    time = np.concatenate([np.arange(count) for count in n_ratings]).astype(float)
    sds = rng.choice([0.0, 0.0, 0.05, 0.3, 1.0, 3.0], size=(2, 2)) * (seed % 7 > 0)
    u, v = rng.normal(size=(25, 2)) * sds[0], rng.normal(size=(n, 2)) * sds[1]
    y = 5 + 0.1 * time + u[patient // 4, 0] + u[patient // 4, 1] * time
    y = y + v[patient, 0] + v[patient, 1] * time + 0.7 * rng.normal(size=len(time))
    return {
        "y": np.clip(np.round(y), 1, 7) if seed % 3 == 0 else y,
        "time": time,
        "x": rng.normal(size=25)[patient // 4],
        "z": rng.normal(size=n)[patient],
        "arm": np.where(patient // 4 % 2 == 0, "a", "b"),
        "therapist": patient // 4,
        "patient": patient % 4,
    }


def tiny_joint(seed: int) -> pd.DataFrame:
    """Both raters of a few therapists of 3 patients, a fifth missing; SDs drawn, many of them zero."""
    rng = np.random.default_rng(seed)
    n_therapists, n_times = int(rng.integers(3, 6)), int(rng.integers(4, 7))
    n = n_therapists * 3
    patient = np.repeat(np.arange(n), n_times)
    therapist, time = patient // 3, np.tile(np.arange(float(n_times)), n)
    sds, rho = rng.choice([0.0, 0.3, 1.0], size=4), float(rng.choice([0.0, 0.9, -0.9, 0.5]))
    e = rng.multivariate_normal([0, 0], [[0.25, 0.3 * rho], [0.3 * rho, 0.36]], size=len(time))
    x = rng.normal(size=n_therapists)[therapist]
    frames = []
    for r, rater in enumerate("PT"):
        u, v = rng.normal(size=(n_therapists, 2)) * sds[:2], rng.normal(size=(n, 2)) * sds[2:]
        y = (
            4
            + 0.2 * x
            + u[therapist, 0]
            + v[patient, 0]
            + (0.1 + u[therapist, 1] + v[patient, 1]) * time
            + e[:, r]
        )
        frames.append(pd.DataFrame({"y": np.round(y) if seed % 2 else y, "rater": rater}))
    rows = pd.concat(frames, ignore_index=True)
    rows["therapist"], rows["patient"] = np.tile(therapist, 2), np.tile(patient % 3, 2)
    rows["session"], rows["time"], rows["x"] = np.tile(time, 2), np.tile(time, 2), np.tile(x, 2)
    return rows[rng.random(len(rows)) > 0.2]


def best_of_three(objective: Objective, seed: int) -> float:
    """The least deviance that L-BFGS-B finds from three random thetas."""
    rng = np.random.default_rng(seed)

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        ev = objective.evaluate(theta)
        return (1e10, np.zeros_like(theta)) if ev is None else (ev.deviance, objective.gradient(theta, ev))

    found = []
    for _ in range(3):
        sizes = [level.shape.q for level in objective.levels]
        factors = [np.tril(0.2 * rng.normal(size=(q, q))) + rng.choice([0.2, 0.8]) * np.eye(q) for q in sizes]
        theta = objective.theta(factors, objective.residual.start())
        options = {"maxiter": 800, "ftol": 1e-15, "gtol": 1e-9}
        found.append(optimize.minimize(value, theta, jac=True, method="L-BFGS-B", options=options).fun)
    return min(found)


def check_tiny(seed: int) -> str:
    spec = GrowthSpec.from_formula(
        FORMULAS[seed % 4], SHAPES[seed // 4 % 8], method="reml" if seed // 32 % 2 else "ml"
    )
    fitted = estimate(LongData.from_columns(tiny(seed), spec), spec)
    result = fitted.result
    plain = numbers({key: value for key, value in result.to_dict().items() if key != "seconds"})
    assert result.status in STATUSES
    assert all(map(math.isfinite, plain))
    if not result.is_fitted:
        assert result.message
        assert plain == []
        return result.status
    _, objective, found = fitted.parts
    assert found.evaluation.deviance < best_of_three(objective, seed) + 1e-6
    assert result.sigma > 0
    assert all(row.se > 0 and row.df is not None and row.df > 0 for row in result.fixed)
    return result.status


@pytest.mark.slow
def test_sixty_tiny_cohorts_end_at_the_least_deviance():
    statuses = [check_tiny(seed) for seed in range(60)]
    assert set(statuses) == {"ok", "singular"}
    assert statuses.count("singular") > 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(60, 600, 60))
def test_six_hundred_tiny_cohorts_end_at_the_least_deviance(first):
    statuses = [check_tiny(seed) for seed in range(first, first + 60)]
    assert set(statuses) <= {"ok", "singular"}


def check_tiny_joint(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    true_search = joint_module.search

    def search(objective: Objective, *args: Any, **kwargs: Any) -> Any:
        seen["objective"], seen["found"] = objective, true_search(objective, *args, **kwargs)
        return seen["found"]

    monkeypatch.setattr(joint_module, "search", search)
    method = "reml" if seed % 4 < 2 else "ml"
    spec = JointSpec("y", "rater", "session", "time", predictors=("x",), method=method)
    result = fit_joint(tiny_joint(seed), spec)
    plain = numbers({key: value for key, value in result.to_dict().items() if key != "seconds"})

    assert result.status in STATUSES
    assert all(map(math.isfinite, plain))
    if result.is_fitted:
        assert seen["found"].evaluation.deviance < best_of_three(seen["objective"], seed) + 1e-6
        assert all(row.se > 0 for row in result.contrasts)
        for test in result.tests:
            assert test.df is None or test.df > 0
            assert test.p is None or 0 <= test.p <= 1
            assert test.F is None or test.F >= 0
    else:
        assert plain == []


@pytest.mark.parametrize("seed", range(2))
def test_two_tiny_joint_sets_end_at_the_least_deviance(seed, monkeypatch):
    check_tiny_joint(seed, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 40))
def test_forty_tiny_joint_sets_end_at_the_least_deviance(seed, monkeypatch):
    check_tiny_joint(seed, monkeypatch)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("n_therapists", [3, 4])
def test_test_of_both_raters_has_no_number_where_there_is_none(n_therapists, df):
    """With 3 or 4 therapists the denominator has no degrees of freedom left for some of these tests."""
    for seed in range(2):
        rows = tiny_joint(100 + seed)
        rows = rows[rows["therapist"] < n_therapists]
        result = fit_joint(rows, JointSpec("y", "rater", "session", "time", predictors=("x",), df=df))
        assert all(map(math.isfinite, numbers(result.to_dict())))
        assert all(test.df is None or test.df > 0 for test in result.tests)
        assert all(test.F is None or test.F >= 0 for test in result.tests)


@cache
def with_predictors() -> pd.DataFrame:
    """Ratings with predictors of the therapist (x), the patient (z, age, arm) and the occasion (w)."""
    rng = np.random.default_rng(20)
    n_therapists, n_patients = 18, 5
    n_ratings = rng.integers(3, 7, size=n_therapists * n_patients)
    n = len(n_ratings)
    patient = np.repeat(np.arange(n), n_ratings)
    therapist = patient // n_patients
    time = np.concatenate([np.arange(count) for count in n_ratings]).astype(float)
    u = (rng.normal(size=(n_therapists, 2)) * (0.6, 0.3))[therapist]
    v = (rng.normal(size=(n, 2)) * (0.8, 0.4))[patient]
    x = np.round(rng.normal(size=n_therapists), 2)[therapist]
    z = np.round(rng.normal(size=n), 2)[patient]
    w = np.round(rng.normal(size=len(time)), 2)
    age = rng.integers(18, 70, size=n).astype(float)[patient]
    arm = np.array(["a", "b", "c"])[rng.integers(0, 3, size=n)][patient]
    y = 5 + 0.3 * x + 0.2 * z + 0.1 * w + (0.1 + 0.05 * z) * time
    y = y + u[:, 0] + v[:, 0] + (u[:, 1] + v[:, 1]) * time + 0.5 * rng.normal(size=len(time))
    columns = {"y": np.round(y, 2), "time": time, "x": x, "z": z, "w": w, "age": age, "arm": arm}
    return pd.DataFrame(columns | {"therapist": therapist, "patient": patient % n_patients})


# R 4.2.2, lme4 1.1-31, lmerTest 3.1-3, on with_predictors() written as CSV, therapist and patient as factors:
#   ctl <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5))
#   m <- lmerTest::lmer(formula, d, REML = reml, control = ctl)
#   logLik(m); sigma(m); coef(summary(m))[, 1:3]              # estimate, SE, Satterthwaite df
LME4: list[tuple[str, tuple[str, ...], str, float, float, dict[str, tuple[float, float, float]]]] = [
    (
        "y ~ time * x + z + w",
        ("1 + time | therapist", "1 + time | therapist:patient"),
        "reml",
        -506.4341834945,
        0.507079752,
        {
            "Intercept": (4.81826647, 0.170218448, 15.8266),
            "time": (0.0164981953, 0.111935825, 15.8977),
            "x": (0.64632544, 0.21417525, 15.916),
            "z": (0.250116714, 0.0865313832, 80.3775),
            "w": (0.0605677709, 0.0328046008, 256.857),
            "time:x": (0.0161835804, 0.140821686, 15.9876),
        },
    ),
    (
        "y ~ time * x + z + w",
        ("1 + time | therapist", "1 + time | therapist:patient"),
        "ml",
        -498.3228806846,
        0.506028702,
        {
            "Intercept": (4.81887051, 0.159976734, 17.7869),
            "time": (0.015856708, 0.105478697, 17.8701),
            "x": (0.646073343, 0.201322612, 17.898),
            "z": (0.252666753, 0.0856027339, 82.49),
            "w": (0.0609700048, 0.0327236712, 258.249),
            "time:x": (0.0161400202, 0.132721271, 17.9845),
        },
    ),
    (
        "y ~ arm * time + time * z",
        ("1 + time | therapist", "1 + time | therapist:patient"),
        "reml",
        -511.3976722502,
        0.510434068,
        {
            "Intercept": (4.81719838, 0.271197411, 40.5393),
            "arm[T.b]": (-0.00838440586, 0.279806472, 79.476),
            "arm[T.c]": (-0.287569563, 0.257737256, 74.4338),
            "time": (-0.0828320224, 0.139809097, 40.8806),
            "z": (0.262691843, 0.0919218703, 76.0169),
            "arm[T.b]:time": (0.0288830461, 0.149334084, 84.5725),
            "arm[T.c]:time": (0.219024598, 0.135283444, 73.5151),
            "time:z": (-0.00300527075, 0.0489012268, 78.763),
        },
    ),
    (
        "y ~ arm * time + time * z",
        ("1 + time | therapist", "1 + time | therapist:patient"),
        "ml",
        -502.3441261904,
        0.510301545,
        {
            "Intercept": (4.81641558, 0.263651906, 43.5005),
            "arm[T.b]": (-0.00736238738, 0.273983106, 82.963),
            "arm[T.c]": (-0.285379009, 0.252445989, 77.5165),
            "time": (-0.0825010397, 0.135831501, 43.8865),
            "z": (0.263104293, 0.090039176, 79.2291),
            "arm[T.b]:time": (0.0270657965, 0.146298921, 88.4679),
            "arm[T.c]:time": (0.218751072, 0.132519821, 76.5519),
            "time:z": (-0.00272867604, 0.0479305486, 82.2135),
        },
    ),
    (
        "y ~ time + I(time^2) + log(age) + x:w",
        ("1 | therapist", "1 + time | therapist:patient"),
        "reml",
        -526.1559681231,
        0.513984365,
        {
            "Intercept": (4.42404112, 0.958528234, 79.9663),
            "time": (0.0288042467, 0.0834969503, 204.794),
            "I(time^2)": (-0.00791479612, 0.0151562723, 238.477),
            "log(age)": (0.0716719839, 0.256029199, 73.9323),
            "x:w": (-0.0256409076, 0.0441285198, 249.083),
        },
    ),
    (
        "y ~ time + I(time^2) + log(age) + x:w",
        ("1 | therapist", "1 + time | therapist:patient"),
        "ml",
        -517.7338604317,
        0.511760772,
        {
            "Intercept": (4.42557851, 0.950267684, 81.0169),
            "time": (0.0289343166, 0.0830366686, 207.523),
            "I(time^2)": (-0.00797417091, 0.015088048, 240.577),
            "log(age)": (0.0712442791, 0.254070687, 75.0702),
            "x:w": (-0.0256628338, 0.0439241203, 251.409),
        },
    ),
    (
        "y ~ time * z * w",
        ("1 + time || therapist:patient",),
        "reml",
        -537.2928023704,
        0.513058252,
        {
            "Intercept": (4.71351486, 0.120486115, 89.9275),
            "time": (0.00056413485, 0.0640984652, 89.7836),
            "z": (0.319079176, 0.106327302, 90.9753),
            "w": (0.0965105974, 0.0608753012, 274.859),
            "time:z": (0.0213284913, 0.0567912616, 92.0737),
            "time:w": (-0.0147313201, 0.0275366987, 263.846),
            "z:w": (0.0620154976, 0.0557269083, 286.704),
            "time:z:w": (-0.00692649955, 0.0257525345, 276.049),
        },
    ),
    (
        "y ~ time * z * w",
        ("1 + time || therapist:patient",),
        "ml",
        -520.4284170781,
        0.508727183,
        {
            "Intercept": (4.71360427, 0.118998666, 92.0258),
            "time": (0.000454491777, 0.0632976962, 91.8765),
            "z": (0.31908625, 0.105016741, 93.1048),
            "w": (0.0964309494, 0.0603251321, 279.795),
            "time:z": (0.0213394474, 0.0560845323, 94.2355),
            "time:w": (-0.0146833582, 0.0272902851, 268.525),
            "z:w": (0.0623588404, 0.0552180172, 291.922),
            "time:z:w": (-0.00706343224, 0.0255195459, 281.018),
        },
    ),
]


@pytest.mark.parametrize("reference", LME4, ids=lambda row: f"{row[0]}-{row[2]}")
def test_predictors_at_every_level_are_those_of_lme4(reference):
    formula, random, method, loglik, sigma, fixed = reference
    spec = GrowthSpec.from_formula(formula, random, method=method, df="satterthwaite")
    result = fit(LongData.from_columns(with_predictors(), spec), spec)

    assert result.status == "ok"
    assert result.loglik == pytest.approx(loglik, rel=1e-9)
    assert result.sigma == pytest.approx(sigma, rel=1e-6)
    assert {row.term for row in result.fixed} == fixed.keys()
    for row in result.fixed:
        estimate_, se, df = fixed[row.term]
        assert row.estimate == pytest.approx(estimate_, abs=1e-5 * se), row.term
        assert row.se == pytest.approx(se, rel=1e-5), row.term
        assert row.df == pytest.approx(df, rel=1e-3), row.term


FACTORS = {
    "ordinary": [np.array([[0.8, 0.0], [-0.2, 0.3]]), np.array([[1.2, 0.0], [0.4, 0.5]])],
    "singular": [np.array([[0.8, 0.0], [-0.2, 0.0]]), np.zeros((2, 2))],
    "large": [np.array([[300.0, 0.0], [-0.2, 40.0]]), np.array([[1e-3, 0.0], [500.0, 20.0]])],
}
DESIGNS = {
    "y ~ time * x": lambda c: [c.time, c.x, c.time * c.x],
    "y ~ time * z + w": lambda c: [c.time, c.z, c.w, c.time * c.z],
    "y ~ time * x * z": lambda c: [
        c.time,
        c.x,
        c.z,
        c.time * c.x,
        c.time * c.z,
        c.x * c.z,
        c.time * c.x * c.z,
    ],
    "y ~ x:w + z:age + time": lambda c: [c.time, c.x * c.w, c.z * c.age],
    "y ~ C(arm) * time": lambda c: [
        c.arm == "b",
        c.arm == "c",
        c.time,
        (c.arm == "b") * c.time,
        (c.arm == "c") * c.time,
    ],
    "y ~ time + I(time^2) + log(age) + w": lambda c: [c.time, c.time**2, np.log(c.age), c.w],
}


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("at", FACTORS)
@pytest.mark.parametrize("formula", DESIGNS)
def test_deviance_with_predictors_at_every_level_is_that_of_the_dense_matrices(formula, at, method):
    rows = with_predictors()
    rows = rows[rows["therapist"] < 7]
    spec = GrowthSpec.from_formula(formula, TWO_LEVELS, method=method)
    problem = Problem(LongData.from_columns(rows, spec), spec)
    sorted_rows = rows.iloc[problem.data.row_numbers - 1]
    others = [np.asarray(column, dtype=float) for column in DESIGNS[formula](sorted_rows)]
    X = np.column_stack([np.ones(len(rows)), *others])
    # Columns in another order change no determinant.
    twin = problem.dense(FACTORS[at], X)

    assert problem.deviance(FACTORS[at]) == pytest.approx(twin.deviance, rel=1e-8 if at == "large" else 1e-10)


@pytest.mark.parametrize("theta0", [[1e9] * 6, [1e300] * 6, [1e6, 0.0, 1e-8, 0.0, 0.0, 0.0]])
def test_start_beyond_all_reason_is_as_good_as_none(theta0):
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS)
    data = LongData.from_columns(simulated(3, n_therapists=30), spec)
    cold, warm = fit(data, spec), fit(data, spec, theta0)
    assert warm.loglik == pytest.approx(cold.loglik, rel=1e-12)
    assert warm.convergence.steps <= cold.convergence.steps


@pytest.mark.parametrize("origin", [0.0, 2000.0, 739_000.0])
def test_start_from_the_last_fit_saves_steps_wherever_time_begins(origin):
    columns = simulated(3, n_therapists=30)
    columns["time"] = columns["time"] + origin
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS)
    data = LongData.from_columns(columns, spec)
    cold = fit(data, spec)
    warm = fit(data, spec, cold.theta)

    assert cold.status == "ok"
    assert warm.loglik == pytest.approx(cold.loglik, rel=1e-12)
    assert warm.convergence.steps <= 2 < cold.convergence.steps


@pytest.mark.parametrize("theta0", [[0.0] * 6, [1e-300] * 6, [1.0, 1.0, 0.0, 1.0, -1.0, 0.0], [1e4] * 6])
def test_bad_start_leads_to_the_same_optimum(theta0):
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS)
    data = LongData.from_columns(simulated(3, n_therapists=30), spec)
    assert fit(data, spec, theta0).loglik == pytest.approx(fit(data, spec).loglik, rel=1e-10)


def few_therapists(seed: int) -> Columns:
    """Six of three patients of three ratings: the deviance is flat in the little that therapists differ."""
    rng = np.random.default_rng(seed)
    therapist, patient = np.repeat(np.arange(6), 9), np.repeat(np.arange(18), 3)
    time, flow = np.tile(np.arange(3.0), 18), rng.permutation([-3.0, -3.0, -1.0, 1.0, 3.0, 3.0])[therapist]
    y = 5 + 0.2 * time + 0.5 * rng.normal(size=18)[patient] + 0.3 * rng.normal(size=54)
    return {"y": y, "time": time, "flow": flow, "therapist": therapist, "patient": patient}


@pytest.mark.parametrize("seed", [26, 128, 320, 363, 551])
def test_degrees_of_freedom_do_not_show_where_the_search_began(seed):
    spec = GrowthSpec.from_formula("y ~ time * flow", ["1 | therapist", "1 | therapist:patient"], method="ml")
    data = LongData.from_columns(few_therapists(seed), spec)
    cold = fit(data, spec)
    assert cold.status == "ok" and 0 < cold.theta[0] < 0.15, "therapists hardly differ"
    for factor in (0.5, 0.9, 1.3, 3.0):
        warm = fit(data, spec, [factor * x for x in cold.theta])
        assert [row.df for row in warm.fixed] == pytest.approx([row.df for row in cold.fixed], rel=1e-7)


@pytest.mark.parametrize(
    "theta0", [[], [1.0] * 5, [1.0] * 7, [math.nan] * 6, [math.inf] * 6, ["a"] * 6, [None] * 6, [[1.0]] * 6]
)
def test_theta0_that_is_no_theta_is_refused(theta0):
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    data = LongData.from_columns(simulated(3), spec)
    with pytest.raises(SpecError, match="theta0 must be 6 finite numbers"):
        fit(data, spec, theta0)


def test_search_without_time_says_so_and_holds_no_number():
    spec = GrowthSpec.from_formula("y ~ time", TWO_LEVELS)
    data = LongData.from_columns(simulated(3), spec)
    for seconds in (0.0, -1.0, 1e-9):
        result = fit(data, spec, seconds=seconds)
        assert result.status == "timed_out"
        assert (result.loglik, result.fixed, result.random) == (None, (), ())
    assert fit(data, spec, seconds=100.0).is_fitted


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_search_that_is_stopped_on_the_way_is_timed_out_and_nothing_else(method, monkeypatch):
    """The clock runs out at each place where it is read, in turn."""
    spec = GrowthSpec.from_formula("y ~ time * x", TWO_LEVELS, method=method)
    columns = simulated(3, n_therapists=30, therapist_sd=(0.01, 0.0), patient_sd=(0.02, 0.0))
    data = LongData.from_columns(columns, spec)
    statuses = []
    for readings in range(0, 24, 2):
        left = iter([False] * readings)
        monkeypatch.setattr(optimize_module, "_is_over", lambda _, left=left: next(left, True))
        statuses.append(fit(data, spec, seconds=1.0).status)
    first = statuses.index("singular")
    assert set(statuses[:first]) == {"timed_out"}
    assert set(statuses[first:]) == {"singular"}


def test_likelihood_ratios_of_the_joint_model_keep_to_the_time_allowed(monkeypatch):
    """A limit on the fit limits all that is asked of it."""
    seen = []
    true_search = joint_module.search

    def search(*args: Any, deadline: float | None = None) -> Any:
        seen.append(deadline)
        return true_search(*args, deadline=deadline)

    monkeypatch.setattr(joint_module, "search", search)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = JointSpec("y", "rater", "session", "time", predictors=("x",))
        fit_joint(tiny_joint(1), spec, likelihood_ratio=True, seconds=100.0)
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert None not in seen
