"""Profile intervals are lme4's, and at each limit another road finds the deviance risen by the quantile."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, cached_property

import numpy as np
import pytest
from scipy import optimize, stats

from analytics.growth import Estimate, GrowthSpec, LongData, SpecError, estimate
from analytics.growth import intervals as intervals_module
from analytics.growth.intervals import Interval, profile_intervals, wald_intervals
from analytics.growth.objective import Objective
from tests.growth.dense import frame, models, simulated, spec_of

# confint(fit, method = "profile", oldNames = FALSE) of the ML fits by lme4 1.1-31 (R 4.2.2), which
# interpolates the profile by splines: group, terms (none for sigma), lower and upper limit.
LME4 = {
    ("sleepstudy", "slope"): [
        ("Subject", "Intercept", 14.3814923448452, 37.7159961987019),
        ("Subject", "Intercept, Days", -0.481500739589649, 0.684985976262376),
        ("Subject", "Days", 3.80116410268344, 8.75338316052177),
        (None, "", 22.8982668782335, 28.8579965381797),
    ],
    ("cohort_s2", "wai_p_full"): [
        ("therapist:patient", "Intercept", 0.661143265376219, 0.821012709464169),
        ("therapist:patient", "Intercept, time", -0.426894976356829, -0.0228201172320792),
        ("therapist:patient", "time", 0.131659792131544, 0.207671157108695),
        ("therapist", "Intercept", 0.161242482796876, 0.436383256848117),
        ("therapist", "Intercept, time", -1, 1),
        ("therapist", "time", 0, 0.0895564657885083),
        (None, "", 0.462285433787968, 0.517498566241593),
    ],
    ("cohort_s2", "wai_t_full"): [
        ("therapist:patient", "Intercept", 0.357959350129671, 0.475022831165176),
        ("therapist:patient", "Intercept, time", -0.325438015865694, 0.25570883045587),
        ("therapist:patient", "time", 0.0950539307585613, 0.16328474362939),
        ("therapist", "Intercept", 0.359808839001213, 0.599900922223037),
        ("therapist", "Intercept, time", 0.330111459470186, 0.971169229445865),
        ("therapist", "time", 0.08673917465035, 0.165933873750162),
        (None, "", 0.397875655391191, 0.445134257336251),
    ],
}
TWIN = [
    ("sleepstudy", "slope", "reml"),
    ("sleepstudy", "uncorrelated", "ml"),
    ("orthodont", "slope", "ml"),
    ("oxboys", "slope", "reml"),
    ("early", "cross", "reml"),
]


@cache
def estimated(dataset: str, model: str, method: str) -> Estimate:
    spec = spec_of(models(dataset)[model]["formula"], method=method, df="wald")
    return estimate(LongData.from_columns(frame(dataset), spec), spec)


@cache
def profiled(dataset: str, model: str, method: str, level: float = 0.95) -> tuple[Interval, ...]:
    return profile_intervals(estimated(dataset, model, method), level)


class Twin:
    """Deviance of a balanced model of one level in SDs, correlation and sigma: nothing profiled but beta."""

    def __init__(self, fitted: Estimate) -> None:
        data, (term,) = fitted.data, fitted.spec.random
        n = len(data.units[0])
        self.reml = fitted.spec.method == "reml"
        self.is_correlated = term.correlated
        self.y = data.columns[fitted.spec.outcome].reshape(n, -1)
        time = data.columns[term.columns[1]]
        self.Z = np.column_stack([np.ones(len(data)), time]).reshape(*self.y.shape, 2)
        columns = [self.column(row.term, data) for row in fitted.result.fixed]
        self.X = np.column_stack(columns).reshape(*self.y.shape, -1)
        (row,) = fitted.result.random
        corr = row.corr[0][1] or 0.0
        self.start = np.array(
            [*np.log(row.sd), np.arctanh(np.clip(corr, -0.99, 0.99)), np.log(fitted.result.sigma)]
        )

    @staticmethod
    def column(name: str, data: LongData) -> np.ndarray:
        columns = {"Intercept": np.ones(len(data)), **data.columns}
        return np.prod([columns[part] for part in name.split(":")], axis=0)

    def deviance(self, v: np.ndarray) -> float:
        """v: log SDs, atanh of the correlation, log sigma."""
        sd, corr, s2 = np.exp(v[:2]), np.tanh(v[2]), np.exp(2 * v[3])
        T = np.outer(sd, sd) * [[1, corr], [corr, 1]]
        V = self.Z @ T @ self.Z.transpose(0, 2, 1) + s2 * np.eye(self.y.shape[1])
        Xy = np.concatenate([self.X, self.y[:, :, None]], axis=2)
        M = np.einsum("knp,knq->pq", Xy, np.linalg.solve(V, Xy))
        XVX, XVy = M[:-1, :-1], M[:-1, -1]
        rss = M[-1, -1] - XVy @ np.linalg.solve(XVX, XVy)
        log_det = np.linalg.slogdet(V)[1].sum()
        dof = self.y.size - (len(XVX) if self.reml else 0)
        return log_det + rss + dof * np.log(2 * np.pi) + (np.linalg.slogdet(XVX)[1] if self.reml else 0.0)

    def least(self, held: dict[int, float]) -> float:
        """Least deviance with some of v held."""
        if not self.is_correlated:
            held = {**held, 2: 0.0}
        free = [i for i in range(4) if i not in held]

        def at(x: np.ndarray) -> float:
            v = np.empty(4)
            v[free], v[list(held)] = x, list(held.values())
            return self.deviance(v) if np.abs(v).max() < 12 else np.inf

        starts = self.start[free], (self.start + np.array([0.3, -0.5, 0.5, 0.1]))[free]
        options = {"xatol": 1e-6, "fatol": 1e-8, "maxfev": 4000}
        return min(optimize.minimize(at, s, method="Nelder-Mead", options=options).fun for s in starts)

    @cached_property
    def lowest(self) -> float:
        return self.least({})

    def rise(self, interval: Interval, value: float) -> float:
        """Rise of the deviance where the quantity has this value; edges are approached closely."""
        if interval.kind == "corr":
            held = {2: np.arctanh(np.clip(value, -1 + 1e-9, 1 - 1e-9))}
        elif interval.kind == "sigma":
            held = {3: np.log(value)}
        else:
            held = {0 if interval.terms == ("Intercept",) else 1: np.log(max(value, 1e-5))}
        return self.least(held) - self.lowest


@pytest.mark.parametrize("key", LME4, ids="-".join)
def test_profile_limits_are_those_of_lme4(key):
    ours = {(i.group, ", ".join(i.terms)): i for i in profiled(*key, "ml")}

    assert len(ours) == len(LME4[key])
    for group, terms, lower, upper in LME4[key]:
        interval = ours[group, terms]
        assert interval.lower == pytest.approx(lower, rel=2e-4)
        assert interval.upper == pytest.approx(upper, rel=2e-4)
        assert interval.at_boundary == (lower in (0, -1) or upper == 1)
        assert interval.message == ""


@pytest.mark.parametrize("key", TWIN, ids="-".join)
def test_deviance_has_risen_by_the_quantile_at_each_limit(key):
    twin = Twin(estimated(*key))
    quantile = stats.chi2.ppf(0.95, 1)

    for interval in profiled(*key):
        edges = {"sd": [0.0], "corr": [-1.0, 1.0], "sigma": []}[interval.kind]
        for limit in (interval.lower, interval.upper):
            rise = twin.rise(interval, limit)
            if limit in edges:
                assert interval.at_boundary
                assert rise < quantile
            else:
                assert rise == pytest.approx(quantile, abs=1e-4)


def test_level_sets_the_rise():
    key = ("oxboys", "slope", "reml")
    twin = Twin(estimated(*key))

    for interval, wider in zip(profiled(*key, 0.8), profiled(*key), strict=True):
        assert interval.level == 0.8
        assert wider.lower < interval.lower < interval.estimate < interval.upper < wider.upper
        assert twin.rise(interval, interval.upper) == pytest.approx(stats.chi2.ppf(0.8, 1), abs=1e-4)


def test_profile_takes_about_ten_refits_a_limit(monkeypatch):
    calls = []
    evaluate = Objective.evaluate
    monkeypatch.setattr(Objective, "evaluate", lambda self, theta: calls.append(1) or evaluate(self, theta))
    profile_intervals(estimated("cohort_s2", "wai_t_full", "reml"))

    assert len(calls) < 14 * 50


def test_profile_does_not_depend_on_where_time_begins():
    rows = frame("sleepstudy").copy()
    spec = spec_of("Reaction ~ Days + (1 + Days | Subject)", method="ml", df="wald")
    rows["Days"] += 2000
    moved = profile_intervals(estimate(LongData.from_columns(rows, spec), spec))

    for here, there in zip(profiled("sleepstudy", "slope", "ml"), moved, strict=True):
        if here.terms in (("Days",), ()):
            assert (there.lower, there.upper) == pytest.approx((here.lower, here.upper), rel=1e-5)


def test_correlation_does_not_exist_beside_an_sd_of_zero():
    spec = GrowthSpec.from_formula(
        "y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"], df="wald"
    )
    fitted = estimate(LongData.from_columns(simulated(23, therapist_sd=(0.6, 0.0)), spec), spec)
    level, growth, corr, of_patients, *_ = profile_intervals(fitted)

    for sd in (level, growth):
        assert (sd.estimate, sd.lower, sd.at_boundary) == (0.0, 0.0, True)
        assert 0 < sd.upper < of_patients.lower
    assert (corr.estimate, corr.lower, corr.upper) == (None, None, None)
    assert "no correlation" in corr.message
    assert corr.to_dict()["message"] == corr.message


def test_profile_of_a_fit_off_its_optimum_says_so():
    fitted = estimated("sleepstudy", "slope", "ml")
    theta = fitted.found.theta * 1.3
    off = replace(
        fitted, found=replace(fitted.found, theta=theta, evaluation=fitted.objective.evaluate(theta))
    )
    interval = profile_intervals(off)[-1]

    assert interval.lower is None or interval.upper is None
    assert "fit again" in interval.message


def test_limit_that_is_not_found_is_none_with_the_reason(monkeypatch):
    fitted = estimated("sleepstudy", "slope", "ml")
    monkeypatch.setattr(intervals_module, "MAX_STEPS", 0)
    unfound = profile_intervals(fitted)
    monkeypatch.undo()
    monkeypatch.setattr(intervals_module, "_least", lambda function, z: function(z + 1)[0])
    astray = profile_intervals(fitted)

    for interval in (*unfound, *astray):
        assert (interval.lower, interval.upper, interval.at_boundary) == (None, None, False)
        assert interval.estimate is not None
    assert {interval.message for interval in unfound} == {
        "the other parameters could not be found with the value held"
    }
    assert {interval.message for interval in astray} == {
        "the search with the value held does not find back to the estimate"
    }


@pytest.mark.parametrize("key", [("sleepstudy", "slope"), ("oxboys", "slope")], ids="-".join)
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_wald_widths_are_those_of_the_hessian_in_the_same_scales(key, method):
    fitted = estimated(*key, method)
    twin = Twin(fitted)
    h, n = 1e-3, 4
    H = np.empty((n, n))
    for i, j in np.ndindex(n, n):
        ei, ej = np.eye(n)[i] * h, np.eye(n)[j] * h
        corners = [twin.deviance(twin.start + a * ei + b * ej) for a in (1, -1) for b in (1, -1)]
        H[i, j] = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * h * h)
    se = np.sqrt(np.diag(2 * np.linalg.inv(H)))
    half = stats.norm.ppf(0.95) * se

    intercept, slope, corr, sigma = wald_intervals(fitted, level=0.9)
    for interval, width in ((intercept, half[0]), (slope, half[1]), (sigma, half[3])):
        assert np.log(interval.upper / interval.estimate) == pytest.approx(width, rel=1e-3)
        assert np.log(interval.estimate / interval.lower) == pytest.approx(width, rel=1e-3)
    assert np.arctanh(corr.upper) - np.arctanh(corr.estimate) == pytest.approx(half[2], rel=1e-3)
    assert np.arctanh(corr.estimate) - np.arctanh(corr.lower) == pytest.approx(half[2], rel=1e-3)
    assert {i.method for i in (intercept, slope, corr, sigma)} == {"wald"}


def test_wald_refuses_an_sd_within_its_error_of_zero_and_its_correlation():
    by_name = {
        (i.group, i.kind, i.terms): i for i in wald_intervals(estimated("cohort_s2", "wai_p_full", "ml"))
    }
    refused = {name for name, interval in by_name.items() if interval.lower is None}

    assert refused == {("therapist", "sd", ("time",)), ("therapist", "corr", ("Intercept", "time"))}
    assert all(by_name[name].upper is None and "profile" in by_name[name].message for name in refused)


def test_wald_refuses_on_the_edge():
    corr = next(i for i in wald_intervals(estimated("early", "cross", "reml")) if i.kind == "corr")

    assert corr.estimate == pytest.approx(-1)
    assert (corr.lower, corr.upper) == (None, None)
    assert "profile" in corr.message


def test_intervals_are_refused_without_estimates_and_for_impossible_levels():
    spec = GrowthSpec.from_formula("y ~ time", ["1 | therapist"])
    rows = simulated(1)
    nothing = estimate(LongData.from_columns({**rows, "y": np.ones(len(rows["y"]))}, spec), spec)

    with pytest.raises(SpecError, match="no_variation"):
        profile_intervals(nothing)
    with pytest.raises(ValueError, match="level"):
        wald_intervals(estimated("sleepstudy", "slope", "ml"), level=95)
