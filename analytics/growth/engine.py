"""From data and spec to a result: design, search, inference, and the gate that estimates must pass."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from scipy import linalg

from .covariance import Array, change_coding, sds_and_correlations
from .data import LongData
from .design import Design, build_design
from .errors import SpecError, Unfittable
from .gls import disagreement
from .inference import FixedInference, cov_of_variances, infer, t_test
from .objective import Objective
from .optimize import RUNAWAY, Search, search
from .results import ENGINE, Convergence, FitResult, FixedEffect, RandomEffects
from .spec import GrowthSpec
from .store import UnitSums

AGREEMENT = 1e-6
# Curvature, relative to the largest, of a direction about which the data say nothing.
FLAT = 1e-12
LIBRARIES = {"python": platform.python_version()} | {
    name: version(name) for name in ("numpy", "scipy", "pandas", "formulaic")
}


@dataclass(frozen=True, eq=False)
class Estimate:
    """A fit that is still open to questions: the result, and what it was made of.

    `inference` tests any contrast of the fixed effects.  All but the first three are None where the result
    holds no estimates.
    """

    data: LongData | UnitSums
    spec: GrowthSpec
    result: FitResult
    design: Design | None = None
    objective: Objective | None = None
    found: Search | None = None
    inference: FixedInference | None = None

    @property
    def parts(self) -> tuple[Design, Objective, Search]:
        """Design, objective and where the search ended; raises ValueError where there is no estimate."""
        if self.design is None or self.objective is None or self.found is None:
            raise ValueError(f"no estimates to work from: {self.result.status}, {self.result.message}")
        return self.design, self.objective, self.found


def fit(
    data: LongData | UnitSums,
    spec: GrowthSpec,
    theta0: Sequence[float] | None = None,
    *,
    seconds: float | None = None,
) -> FitResult:
    """Fit the model; `theta0`, the theta of an earlier result for the same spec, saves steps.

    What the data cannot support, and a search that does not end in a minimum or not within `seconds`, are
    statuses of the result.  Raises DataError for columns that are collinear or not finite, SpecError for a
    theta0 of the wrong length and for a model that needs more than sums per unit.
    """
    return estimate(data, spec, theta0, seconds=seconds).result


def estimate(
    data: LongData | UnitSums,
    spec: GrowthSpec,
    theta0: Sequence[float] | None = None,
    *,
    seconds: float | None = None,
) -> Estimate:
    """`fit`, keeping what further questions need (conditional modes, contrasts, profile intervals)."""
    began = time.perf_counter()
    deadline = None if seconds is None else began + seconds
    _require_theta0(spec, theta0)
    try:
        out = _estimate(data, spec, theta0, deadline)
    except Unfittable as reason:
        unfitted = FitResult(
            outcome=spec.outcome,
            formula=_formula(spec),
            method=spec.method,
            **no_estimates(reason),
            **provenance(data, spec.outcome),
        )
        out = Estimate(data, spec, unfitted)
    return replace(out, result=replace(out.result, seconds=time.perf_counter() - began))


def _require_theta0(spec: GrowthSpec, theta0: Sequence[float] | None) -> None:
    if theta0 is None:
        return
    sizes = [len(term.columns) for term in spec.random]
    n_theta = sum(
        q * (q + 1) // 2 if term.correlated else q for q, term in zip(sizes, spec.random, strict=True)
    )
    try:
        values = np.asarray(theta0, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (n_theta,) or not np.isfinite(values).all():
        raise SpecError(f"theta0 must be {n_theta} finite numbers for this model")


def _estimate(
    data: LongData | UnitSums, spec: GrowthSpec, theta0: Sequence[float] | None, deadline: float | None
) -> Estimate:
    design = build_design(data, spec)
    objective = Objective(design.statistics, design.levels, reml=spec.method == "reml")
    start = None if theta0 is None else _start(design, objective, theta0)
    found = converged(search(objective, start, deadline=deadline), spec.outcome)
    inference = infer(design, objective, found, spec.df, len(data.units[0]))
    result = FitResult(
        outcome=spec.outcome,
        formula=_formula(spec),
        method=spec.method,
        **estimates(design, objective, found, inference),
        **provenance(data, spec.outcome),
    )
    require_finite(result, spec.df)
    return Estimate(data, spec, result, design, objective, found, inference)


def converged(found: Search | None, outcome: str) -> Search:
    """The search, if it ended in a minimum; raises Unfittable with the reason if not."""
    if found is None:
        raise Unfittable("not_converged", "the likelihood could not be evaluated at any start")
    if found.ran_away:
        raise Unfittable(
            "no_variation", f"fixed and random effects reproduce {outcome!r} exactly: no residual variation"
        )
    if found.timed_out:
        raise Unfittable("timed_out", f"no minimum found in the time allowed, after {found.steps} steps")
    if not found.converged:
        raise Unfittable(
            "not_converged", f"no minimum found in {found.steps} steps: the search is still going down"
        )
    if not found.singular and found.smallest_curvature < FLAT:
        raise Unfittable(
            "insufficient_data",
            "the likelihood is flat in some variance: a level has too few units for its effects",
        )
    return found


def _start(design: Design, objective: Objective, theta0: Sequence[float]) -> Array | None:
    """theta0 in the working coding; None, for a cold start, where it is beyond all reason."""
    factors = objective.factors(np.asarray(theta0, dtype=float))
    pairs = list(zip(design.levels, factors, strict=True))
    if any(np.abs(level.R @ Lambda).max() > RUNAWAY for level, Lambda in pairs):
        return None
    return objective.theta([change_coding(level.R, Lambda) for level, Lambda in pairs])


def estimates(
    design: Design, objective: Objective, found: Search, inference: FixedInference
) -> dict[str, Any]:
    """Fields of a result that come from the estimation; raises Unfittable where the check fails."""
    ev = found.evaluation
    beta, sigma = design.coding @ inference.gamma, design.scale * float(np.sqrt(ev.s2))
    deviance = ev.deviance + design.deviance_shift(reml=objective.reml)
    factors = [
        change_coding(linalg.solve_triangular(level.R, np.eye(len(level.R))), Lambda)
        for level, Lambda in zip(design.levels, objective.factors(found.theta), strict=True)
    ]
    check = agreement(design, objective, found)
    n_parameters = len(beta) + objective.n_theta + 1
    return {
        "status": "singular" if found.singular else "ok",
        "message": "; ".join(_describe_singular(design, i, factors[i]) for i in found.singular),
        "df_method": inference.method,
        "loglik": -deviance / 2,
        "deviance": deviance,
        "aic": deviance + 2 * n_parameters,
        "bic": deviance + float(np.log(design.statistics.n_rows)) * n_parameters,
        "sigma": sigma,
        "fixed": _fixed_rows(design.names, beta, inference),
        "random": tuple(
            _random_row(level.term.group, level.term.names, sigma * L)
            for level, L in zip(design.levels, factors, strict=True)
        ),
        "vcov_fixed": _rows(inference.cov),
        "vcov_variances": _rows(cov_of_variances(design, objective, found)),
        "theta": tuple(float(x) for x in objective.theta(factors, objective.psi(found.theta))),
        "convergence": Convergence(found.steps, found.decrease, found.smallest_curvature, check),
    }


def no_estimates(reason: Unfittable) -> dict[str, Any]:
    """Fields of a result without estimates."""
    nothing = ("df_method", "loglik", "deviance", "aic", "bic", "sigma", "convergence")
    empty = ("fixed", "random", "vcov_fixed", "vcov_variances", "theta")
    return (
        {"status": reason.status, "message": reason.message}
        | dict.fromkeys(nothing)
        | dict.fromkeys(empty, ())
    )


def provenance(data: LongData | UnitSums, outcome: str) -> dict[str, Any]:
    """Fields of a result that say what it rests on."""
    units = {level.group: len(level) for level in data.units}
    return {
        "n": {"rows": data.n_rows, "dropped": data.n_dropped} | units,
        "engine": ENGINE,
        "libraries": LIBRARIES,
        "fingerprint": data.fingerprint,
        "fingerprints": data.fingerprints(outcome),
        "seconds": 0.0,
    }


def agreement(design: Design, objective: Objective, found: Search) -> float:
    """Largest disagreement with the second road; raises Unfittable if it is not negligible."""
    check = disagreement(design, found.evaluation, objective.psi(found.theta))
    if not check < AGREEMENT:
        raise Unfittable(
            "not_converged",
            f"a second computation at the fitted variances disagrees by {check:.1e}: "
            "values of the outcome or a predictor may be too far from 0, or all but the same, for its digits",
        )
    return check


def require_finite(result: FitResult, df: str) -> None:
    """Raises Unfittable if a number of the result is none."""
    if not all(np.isfinite(number) for number in _numbers(result.to_dict())):
        raise Unfittable(
            "not_converged",
            f"{result.df_method} inference gave numbers that are not finite; df is {df!r}",
        )


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)


def _fixed_rows(names: tuple[str, ...], beta: Array, inference: FixedInference) -> tuple[FixedEffect, ...]:
    """One row a fixed effect."""
    rows = []
    dfs = inference.df(np.eye(len(beta)))
    for name, value, variance, df in zip(names, beta, np.diag(inference.cov), dfs, strict=True):
        se = float(np.sqrt(variance))
        t, p, lower, upper = t_test(float(value), se, float(df))
        rows.append(
            FixedEffect(name, float(value), se, None if np.isinf(df) else float(df), t, p, lower, upper)
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
