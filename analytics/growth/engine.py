"""From data and spec to a result: design, search, inference, and the gate that estimates must pass."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from scipy import linalg

from .covariance import Array, change_coding, sds_and_correlations
from .data import LongData
from .design import Design, build_design
from .deviance import Objective
from .errors import SpecError, Unfittable
from .gls import GLS, dense_gls
from .inference import FixedInference, infer, t_test
from .optimize import RUNAWAY, Search, search
from .results import ENGINE, Convergence, FitResult, FixedEffect, RandomEffects
from .spec import GrowthSpec

AGREEMENT = 1e-6
LIBRARIES = {"python": platform.python_version()} | {
    name: version(name) for name in ("numpy", "scipy", "pandas", "formulaic")
}


def fit(data: LongData, spec: GrowthSpec, theta0: Sequence[float] | None = None) -> FitResult:
    """Fit the model; `theta0`, the theta of an earlier result for the same spec, saves steps.

    What the data cannot support, and a search that does not end in a minimum, are statuses of the result.
    Raises DataError for columns that are collinear or not finite, SpecError for a theta0 of the wrong length.
    """
    began = time.perf_counter()
    _require_theta0(spec, theta0)
    try:
        result = _fit(data, spec, theta0)
    except Unfittable as reason:
        result = _unfitted(data, spec, reason)
    return replace(result, seconds=time.perf_counter() - began)


def _require_theta0(spec: GrowthSpec, theta0: Sequence[float] | None) -> None:
    if theta0 is None:
        return
    sizes = [len(term.columns) for term in spec.random]
    n_theta = sum(
        q * (q + 1) // 2 if term.correlated else q for q, term in zip(sizes, spec.random, strict=True)
    )
    if len(theta0) != n_theta or not np.isfinite(np.asarray(theta0, dtype=float)).all():
        raise SpecError(f"theta0 must be {n_theta} finite numbers for this model")


def _fit(data: LongData, spec: GrowthSpec, theta0: Sequence[float] | None) -> FitResult:
    design = build_design(data, spec)
    reml = spec.method == "reml"
    objective = Objective(design.statistics, design.levels, reml=reml)
    found = search(objective, None if theta0 is None else _start(design, objective, theta0))
    if found is None:
        raise Unfittable("not_converged", "the likelihood could not be evaluated at any start")
    if found.ran_away:
        raise Unfittable(
            "no_variation",
            f"fixed and random effects reproduce {spec.outcome!r} exactly: no residual variation",
        )
    if not found.converged:
        raise Unfittable(
            "not_converged", f"no minimum found in {found.steps} steps: the search is still going down"
        )
    return _result(data, spec, design, objective, found)


def _start(design: Design, objective: Objective, theta0: Sequence[float]) -> Array | None:
    """theta0 in the working coding; None, for a cold start, where it is beyond all reason."""
    factors = objective.factors(np.asarray(theta0, dtype=float))
    pairs = list(zip(design.levels, factors, strict=True))
    if any(np.abs(level.R @ Lambda).max() > RUNAWAY for level, Lambda in pairs):
        return None
    return objective.theta([change_coding(level.R, Lambda) for level, Lambda in pairs])


def _result(
    data: LongData, spec: GrowthSpec, design: Design, objective: Objective, found: Search
) -> FitResult:
    ev = found.evaluation
    coding = design.scale * linalg.solve_triangular(design.R, np.eye(ev.p))
    beta = linalg.solve_triangular(design.R, design.gamma_ols + design.scale * ev.gamma)
    sigma = design.scale * float(np.sqrt(ev.s2))
    deviance = ev.deviance + design.deviance_shift(reml=objective.reml)
    factors = [
        change_coding(linalg.inv(level.R), Lambda)
        for level, Lambda in zip(design.levels, objective.factors(found.theta), strict=True)
    ]
    inference = infer(objective, found, coding, spec, len(data.units[0]))
    wald_se = np.sqrt(ev.s2 * np.diag(coding @ ev.C @ coding.T))
    check = _disagreement(data, design, factors, objective.reml, GLS(beta, wald_se, sigma, deviance))
    n_parameters = len(beta) + objective.n_theta + 1
    result = FitResult(
        status="singular" if found.singular else "ok",
        message="; ".join(_describe_singular(design, i, factors[i]) for i in found.singular),
        outcome=spec.outcome,
        formula=_formula(spec),
        method=spec.method,
        df_method=inference.method,
        loglik=-deviance / 2,
        deviance=deviance,
        aic=deviance + 2 * n_parameters,
        bic=deviance + float(np.log(len(data))) * n_parameters,
        sigma=sigma,
        fixed=_fixed_rows(design.names, beta, inference),
        random=tuple(
            _random_row(lv.term.group, lv.term.names, sigma * L)
            for lv, L in zip(design.levels, factors, strict=True)
        ),
        vcov_fixed=_rows(inference.cov),
        theta=tuple(float(x) for x in objective.theta(factors)),
        n=_counts(data),
        convergence=Convergence(found.steps, found.decrease, found.smallest_curvature, check),
        engine=ENGINE,
        libraries=LIBRARIES,
        fingerprint=data.fingerprint,
        seconds=0.0,
    )
    _require_finite(result, spec)
    return result


def _disagreement(data: LongData, design: Design, factors: list[Array], reml: bool, ours: GLS) -> float:
    """Largest disagreement with dense GLS at the fitted variances; Unfittable if it is not negligible."""
    try:
        dense = dense_gls(data, design, [L @ L.T for L in factors], reml=reml)
    except (linalg.LinAlgError, ValueError) as error:
        raise Unfittable("not_converged", f"the check by dense least squares failed: {error}") from error
    except MemoryError as error:
        raise Unfittable(
            "not_converged",
            "a unit of the highest level has too many rows for the check by dense least squares",
        ) from error
    check = max(
        abs(dense.deviance - ours.deviance) / max(1.0, abs(ours.deviance)),
        abs(dense.sigma / ours.sigma - 1),
        float(np.max(np.abs(dense.se / ours.se - 1))),
        float(np.max(np.abs(dense.beta - ours.beta) / ours.se)),
    )
    if not check < AGREEMENT:
        raise Unfittable(
            "not_converged",
            f"dense least squares at the fitted variances disagrees by {check:.1e}: "
            "a predictor's origin or scale may be too far from its values",
        )
    return check


def _require_finite(result: FitResult, spec: GrowthSpec) -> None:
    numbers = [result.deviance, result.sigma, *result.theta]
    for row in result.fixed:
        numbers += [
            row.estimate,
            row.se,
            row.t,
            row.p,
            row.lower,
            row.upper,
            *([] if row.df is None else [row.df]),
        ]
    for level in result.random:
        numbers += [value for row in level.cov for value in row]
    if not np.isfinite(np.array(numbers, dtype=float)).all():
        raise Unfittable(
            "not_converged",
            f"{result.df_method} inference gave numbers that are not finite; df is {spec.df!r}",
        )


def _fixed_rows(names: tuple[str, ...], beta: Array, inference: FixedInference) -> tuple[FixedEffect, ...]:
    rows = []
    for name, estimate, variance, df in zip(names, beta, np.diag(inference.cov), inference.df, strict=True):
        se = float(np.sqrt(variance))
        t, p, lower, upper = t_test(float(estimate), se, float(df))
        rows.append(
            FixedEffect(name, float(estimate), se, None if np.isinf(df) else float(df), t, p, lower, upper)
        )
    return tuple(rows)


def _random_row(group: str, terms: tuple[str, ...], factor: Array) -> RandomEffects:
    cov = factor @ factor.T
    sd, corr = sds_and_correlations(cov)
    return RandomEffects(group, terms, tuple(sd), tuple(tuple(row) for row in corr), _rows(cov))


def _rows(M: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in M)


def _describe_singular(design: Design, i: int, factor: Array) -> str:
    term = design.levels[i].term
    zero = [name for name, row in zip(term.names, factor, strict=True) if not row.any()]
    what = f"no variance of {', '.join(zero)}" if zero else "correlations on the boundary"
    return f"{term.group}: singular covariance matrix, {what}"


def _formula(spec: GrowthSpec) -> str:
    """The model in lme4's notation."""
    random = [
        f"({' + '.join(term.columns if '1' in term.columns else ('0', *term.columns))} "
        f"{'|' if term.correlated else '||'} {term.group})"
        for term in spec.random
    ]
    return f"{spec.outcome} ~ {' + '.join([spec.fixed, *random])}"


def _counts(data: LongData) -> dict[str, int]:
    return {"rows": len(data), "dropped": data.n_dropped} | {units.group: len(units) for units in data.units}


def _unfitted(data: LongData, spec: GrowthSpec, reason: Unfittable) -> FitResult:
    return FitResult(
        status=reason.status,
        message=reason.message,
        outcome=spec.outcome,
        formula=_formula(spec),
        method=spec.method,
        df_method=None,
        loglik=None,
        deviance=None,
        aic=None,
        bic=None,
        sigma=None,
        fixed=(),
        random=(),
        vcov_fixed=(),
        theta=(),
        n=_counts(data),
        convergence=None,
        engine=ENGINE,
        libraries=LIBRARIES,
        fingerprint=data.fingerprint,
        seconds=0.0,
    )
