"""The fit does not hang on where time, outcome or a predictor begins or on their units: closed forms."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from analytics.growth import FitResult, GrowthSpec, LongData, fit
from analytics.growth.joint import JointSpec, fit_joint
from analytics.growth.results import JointResult

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("error::RuntimeWarning")]

TWO_LEVELS = ("1 + time | therapist", "1 + time | therapist:patient")
ORIGINS = (100.0, 2000.0, 739_000.0)
SAME = 1e-9
METHODS = ("reml", "ml")

Columns = dict[str, np.ndarray]


def cohort(seed: int = 11, n_therapists: int = 24, n_patients: int = 6, n_times: int = 5) -> Columns:
    """Ratings with a predictor at every level (x, z, w), all variances well above zero.

    Times are multiples of 1/16, so that adding a whole number to them rounds nothing.
    """
    rng = np.random.default_rng(seed)
    n = n_therapists * n_patients
    patient = np.repeat(np.arange(n), n_times)
    therapist = patient // n_patients
    time = np.tile(np.arange(float(n_times)), n) + rng.integers(0, 9, size=n * n_times) / 16
    u = (rng.normal(size=(n_therapists, 2)) * (0.6, 0.3))[therapist]
    v = (rng.normal(size=(n, 2)) * (0.8, 0.4))[patient]
    x, z = rng.normal(size=n_therapists)[therapist], rng.normal(size=n)[patient]
    w = rng.normal(size=len(time))
    y = 5 + 0.3 * x + 0.2 * z + 0.1 * w + (0.1 + 0.05 * x) * time
    y = y + u[:, 0] + v[:, 0] + (u[:, 1] + v[:, 1]) * time + 0.5 * rng.normal(size=len(time))
    return {"y": y, "time": time, "x": x, "z": z, "w": w, "therapist": therapist, "patient": patient}


def fitted(
    columns: Columns,
    formula: str,
    method: str,
    random: tuple[str, ...] = TWO_LEVELS,
    df: str = "satterthwaite",
) -> FitResult:
    spec = GrowthSpec.from_formula(formula, random, method=method, df=df)
    return fit(LongData.from_columns(columns, spec), spec)


@cache
def plain(formula: str, method: str, random: tuple[str, ...] = TWO_LEVELS) -> FitResult:
    return fitted(cohort(), formula, method, random)


def shifted(name: str, by: float = 0.0, scale: float = 1.0) -> Columns:
    columns = cohort()
    return {**columns, name: scale * columns[name] + by}


def assert_fixed(
    result: FitResult, reference: FitResult, factors: dict[str, float], rel: float = SAME
) -> None:
    """Estimate and SE of each named term are `factors` times those of the reference; df are the same."""
    here, there = ({row.term: row for row in one.fixed} for one in (result, reference))
    assert here.keys() == there.keys()
    for term, factor in factors.items():
        se = factor * there[term].se
        assert here[term].estimate == pytest.approx(factor * there[term].estimate, abs=rel * se), term
        assert here[term].se == pytest.approx(se, rel=rel), term
        assert here[term].df == pytest.approx(there[term].df, rel=10 * rel), term


def assert_levels(
    result: FitResult, reference: FitResult, M: np.ndarray | None = None, scale: float = 1.0
) -> None:
    """The covariance of each level is scale^2 M T M', and sigma scale times that of the reference."""
    assert result.sigma == pytest.approx(scale * reference.sigma, rel=SAME)
    for here, there in zip(result.random, reference.random, strict=True):
        own = np.eye(len(there.terms)) if M is None or len(there.terms) < len(M) else M
        expected = scale**2 * own @ np.array(there.cov) @ own.T
        size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert np.abs((np.array(here.cov) - expected) / size).max() < SAME
        assert here.sd[-1] == pytest.approx(scale * there.sd[-1], rel=SAME)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(
    ("formula", "kept"),
    [
        ("y ~ time * x", ("time", "time:x")),
        ("y ~ time * x + time * z", ("time", "time:x", "time:z")),
        ("y ~ time + w + x:w", ("time", "w", "x:w")),
        ("y ~ time * w", ("time", "time:w")),
        ("y ~ x:z + z + time", ("time", "z", "x:z")),
    ],
)
def test_origin_of_time_moves_the_intercepts_alone(formula, kept, origin, method):
    reference, result = plain(formula, method), fitted(shifted("time", origin), formula, method)

    assert reference.status == result.status == "ok"
    assert result.loglik == pytest.approx(reference.loglik, rel=SAME)
    assert_fixed(result, reference, dict.fromkeys(kept, 1.0))
    assert_levels(result, reference, np.array([[1.0, -origin], [0.0, 1.0]]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", [-3.0, 100.0])
def test_origin_of_time_moves_the_intercept_along_the_line(origin, method):
    reference = plain("y ~ time * x", method)
    result = fitted(shifted("time", origin), "y ~ time * x", method)
    M = np.eye(4)
    names = [row.term for row in reference.fixed]
    M[names.index("Intercept"), names.index("time")] = M[names.index("x"), names.index("time:x")] = -origin
    beta = M @ [row.estimate for row in reference.fixed]
    cov = M @ np.array(reference.vcov_fixed) @ M.T

    for row, value, se in zip(result.fixed, beta, np.sqrt(np.diag(cov)), strict=True):
        assert row.estimate == pytest.approx(value, abs=SAME * se)
        assert row.se == pytest.approx(se, rel=SAME)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [7.0, 604_800.0, 1e-3])
def test_unit_of_time_divides_the_slopes(scale, method):
    """REML has log|X'V^-1X| / 2: another unit of time moves it by log scale for each column of time."""
    reference = plain("y ~ time * x", method)
    result = fitted(shifted("time", scale=scale), "y ~ time * x", method)
    constant = 2 * np.log(scale) if method == "reml" else 0.0

    assert result.loglik == pytest.approx(reference.loglik - constant, rel=SAME)
    assert_fixed(result, reference, {"Intercept": 1.0, "x": 1.0, "time": 1 / scale, "time:x": 1 / scale})
    for here, there in zip(result.random, reference.random, strict=True):
        assert here.sd == pytest.approx((there.sd[0], there.sd[1] / scale), rel=SAME)
        assert here.corr[0][1] == pytest.approx(there.corr[0][1], rel=SAME)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e3, 1e-3, 1e8, 1e-8])
def test_unit_of_the_outcome_multiplies_all(scale, method):
    formula = "y ~ time * x + time * z"
    reference, result = plain(formula, method), fitted(shifted("y", scale=scale), formula, method)
    dof = reference.n["rows"] - (len(reference.fixed) if method == "reml" else 0)

    assert result.loglik == pytest.approx(reference.loglik - dof * np.log(scale), rel=SAME)
    assert_fixed(result, reference, {row.term: scale for row in reference.fixed})
    assert_levels(result, reference, scale=scale)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", [1000.0, -1000.0, 1e5])
def test_origin_of_the_outcome_moves_the_intercept_alone(origin, method):
    formula = "y ~ time * x + time * z"
    reference, result = plain(formula, method), fitted(shifted("y", origin), formula, method)

    assert result.loglik == pytest.approx(reference.loglik, rel=SAME)
    assert_fixed(result, reference, {row.term: 1.0 for row in reference.fixed if row.term != "Intercept"})
    intercepts = [one.fixed[0].estimate for one in (result, reference)]
    assert intercepts[0] == pytest.approx(intercepts[1] + origin, rel=SAME)
    assert_levels(result, reference)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("origin", "scale"), [(1980.0, 10.0), (0.0, 1e6), (0.0, 1e-6), (739_000.0, 5000.0)])
@pytest.mark.parametrize("name", ["x", "z", "w"])
def test_origin_and_unit_of_a_predictor_at_any_level_do_not_matter(name, origin, scale, method):
    """A year of birth, of a therapist (x), a patient (z) or changing from session to session (w)."""
    formula = f"y ~ time * {name}"
    reference, result = plain(formula, method), fitted(shifted(name, origin, scale), formula, method)
    constant = 2 * np.log(scale) if method == "reml" else 0.0
    slopes = {f"time:{name}": 1 / scale}

    assert result.status == "ok"
    assert result.loglik == pytest.approx(reference.loglik - constant, rel=SAME)
    assert_fixed(result, reference, slopes | ({} if origin else {"time": 1.0, name: 1 / scale}))
    assert_levels(result, reference)


@pytest.mark.parametrize("name", ["x", "z", "w"])
def test_origin_of_time_and_of_a_predictor_may_both_be_far(name):
    formula = f"y ~ time * {name}"
    both = shifted("time", 2000.0) | {name: shifted(name, 1980.0, 10.0)[name]}
    reference, result = plain(formula, "ml"), fitted(both, formula, "ml")
    assert result.loglik == pytest.approx(reference.loglik, rel=SAME)
    assert_fixed(result, reference, {f"time:{name}": 0.1})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", [100.0, 2000.0])
@pytest.mark.parametrize(
    ("formula", "kept"),
    [
        ("y ~ time + I(time^2)", "I(time^2)"),
        ("y ~ time * z + I(time^2)", "I(time^2)"),
        ("y ~ time * x + I(time^2) + x:I(time^2)", "x:I(time^2)"),
    ],
)
def test_squared_time_is_the_same_curve_wherever_time_begins(formula, kept, origin, method):
    reference, result = plain(formula, method), fitted(shifted("time", origin), formula, method)
    assert result.status == "ok"
    assert result.loglik == pytest.approx(reference.loglik, rel=SAME)
    assert_fixed(result, reference, {kept: 1.0}, rel=1e-8)
    assert_levels(result, reference, np.array([[1.0, -origin], [0.0, 1.0]]))


@pytest.mark.parametrize("origin", [100.0, 2000.0])
def test_random_curves_are_the_same_wherever_time_begins(origin):
    random = ("1 | therapist", "1 + time + I(time^2) | therapist:patient")
    formula = "y ~ time + I(time^2)"
    reference, result = plain(formula, "ml", random), fitted(shifted("time", origin), formula, "ml", random)
    assert result.loglik == pytest.approx(reference.loglik, rel=SAME)
    assert result.random[1].sd[2] == pytest.approx(reference.random[1].sd[2], rel=1e-8)


@pytest.mark.parametrize("origin", ORIGINS)
def test_kenward_roger_does_not_know_where_time_begins(origin):
    near = fitted(cohort(), "y ~ time * x", "reml", df="kenward-roger")
    far = fitted(shifted("time", origin), "y ~ time * x", "reml", df="kenward-roger")
    assert_fixed(far, near, {"time": 1.0, "time:x": 1.0})


def test_uncorrelated_effects_do_know_where_time_begins():
    """`||` says that level and growth are uncorrelated at time 0: another origin is another model."""
    random = ("time || therapist", "time || therapist:patient")
    near, far = plain("y ~ time", "ml", random), fitted(shifted("time", 3.0), "y ~ time", "ml", random)
    assert abs(near.loglik - far.loglik) > 0.1


@cache
def both_raters() -> pd.DataFrame:
    """P and T rate the sessions of a cohort, one rating in eight missing; each level differs between them."""
    rng = np.random.default_rng(4)
    columns = cohort(n_therapists=40)
    therapist, patient, time = columns["therapist"], columns["patient"], columns["time"]
    mixing = np.linalg.cholesky(0.5 * np.eye(4) + 0.5)
    u = rng.normal(size=(40, 4)) @ mixing.T * (0.7, 0.3, 0.6, 0.4)
    v = rng.normal(size=(240, 4)) @ mixing.T * (0.8, 0.4, 0.9, 0.3)
    e = rng.normal(size=(len(time), 2)) @ np.array([[0.5, 0.2], [0.0, 0.5]])
    frames = []
    for r, rater in enumerate("PT"):
        level, growth = (
            u[therapist, 2 * r] + v[patient, 2 * r],
            u[therapist, 2 * r + 1] + v[patient, 2 * r + 1],
        )
        y = 5 + 0.3 * columns["x"] + 0.2 * columns["z"] + level + (0.1 + growth) * time + e[:, r]
        frames.append(pd.DataFrame({**columns, "y": y, "rater": rater, "session": np.arange(len(time))}))
    rows = pd.concat(frames, ignore_index=True)
    return rows[rng.random(len(rows)) > 0.125].reset_index(drop=True)


def joint(rows: pd.DataFrame, predictor: str, method: str) -> JointResult:
    df = "kenward-roger" if method == "reml" else "satterthwaite"
    spec = JointSpec("y", "rater", "session", "time", predictors=(predictor,), method=method, df=df)
    return fit_joint(rows, spec)


@cache
def plain_joint(predictor: str, method: str) -> JointResult:
    return joint(both_raters(), predictor, method)


def assert_same_difference(
    result: JointResult, reference: JointResult, level: float | None, growth: float, rel: float = SAME
) -> None:
    """Contrasts are `level` and `growth` times those of the reference; the test of both is the same."""
    for here, there in zip(result.contrasts, reference.contrasts, strict=True):
        factor = growth if here.effect == "growth" else level
        if factor is not None:
            assert here.estimate == pytest.approx(factor * there.estimate, abs=rel * factor * there.se)
            assert here.se == pytest.approx(factor * there.se, rel=rel)
            assert here.df == pytest.approx(there.df, rel=10 * rel)
    for here, there in zip(result.tests, reference.tests, strict=True):
        assert here.F == pytest.approx(there.F, rel=100 * rel)  # noqa: SIM300
        # Fai and Cornelius take the contrasts apart by their eigenvectors, which depend on the coding.
        if result.df_method == "kenward-roger":
            assert here.df == pytest.approx(there.df, rel=100 * rel)
            assert here.p == pytest.approx(there.p, rel=100 * rel)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", [2000.0, 739_000.0])
def test_joint_model_does_not_know_where_time_begins(origin, method):
    rows = both_raters()
    reference, result = plain_joint("x", method), joint(rows.assign(time=rows["time"] + origin), "x", method)
    M = np.kron(np.eye(2), [[1.0, -origin], [0.0, 1.0]])

    assert reference.status == result.status == "ok"
    assert result.loglik == pytest.approx(reference.loglik, rel=SAME)
    assert_same_difference(result, reference, None, 1.0)
    assert_levels(result, reference, M)
    assert result.residual.rho == pytest.approx(reference.residual.rho, rel=SAME)
    assert result.residual.sd == pytest.approx(reference.residual.sd, rel=SAME)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("origin", "scale"), [(1000.0, 1.0), (0.0, 1e3), (0.0, 1e-3)])
def test_joint_model_does_not_know_the_scale_of_the_outcome(origin, scale, method):
    rows = both_raters()
    reference = plain_joint("x", method)
    result = joint(rows.assign(y=scale * rows["y"] + origin), "x", method)
    dof = len(rows) - (len(reference.fixed) if method == "reml" else 0)

    assert result.loglik == pytest.approx(reference.loglik - dof * np.log(scale), rel=SAME)
    assert_same_difference(result, reference, scale, scale)
    assert_levels(result, reference, scale=scale)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("predictor", ["x", "z", "w"])
def test_joint_model_does_not_know_the_origin_of_a_predictor(predictor, method):
    rows = both_raters()
    reference = plain_joint(predictor, method)
    result = joint(rows.assign(**{predictor: 10 * rows[predictor] + 1980}), predictor, method)
    constant = 4 * np.log(10) if method == "reml" else 0.0

    assert result.loglik == pytest.approx(reference.loglik - constant, rel=SAME)
    assert_same_difference(result, reference, 0.1, 0.1, rel=1e-8)
    assert_levels(result, reference)


@pytest.mark.parametrize("scale", [0.1, 15.0, 1e3])
def test_raters_may_use_scales_of_very_different_length(scale):
    """One in points from 1 to 7, the other in percent: only what is that rater's own is multiplied."""
    rows = both_raters()
    of_second = rows["rater"] == "T"
    reference = plain_joint("x", "ml")
    result = joint(rows.assign(y=np.where(of_second, scale * rows["y"], rows["y"])), "x", "ml")

    assert result.status == "ok"
    assert result.loglik == pytest.approx(reference.loglik - of_second.sum() * np.log(scale), rel=SAME)
    assert result.residual.rho == pytest.approx(reference.residual.rho, rel=1e-6)
    assert result.residual.sd["P"] == pytest.approx(reference.residual.sd["P"], rel=1e-6)
    assert result.residual.sd["T"] == pytest.approx(scale * reference.residual.sd["T"], rel=1e-6)
