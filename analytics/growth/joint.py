"""The joint growth model of two raters of the same sessions.

The ratings y of rater r (first, second) in session s of therapy j with therapist k, at time t:

    y = x_r'beta_r + (u_r0 + u_r1 t) + (v_r0 + v_r1 t) + e_r
    u_k = (u_10, u_11, u_20, u_21) ~ N(0, sigma^2 T_k),  v_j likewise,  (e_1, e_2) ~ N(0, sigma^2 R)

with a 4 x 4 covariance at each level and, for the residuals of one session, R = [[1, rho w], [rho w, w^2]]
(`residual.Paired`).  Each rater has every fixed effect: intercept, time, and each predictor's effect on level
and on growth.  With covariances between raters at zero it is the two separate models.  The sums of a therapy
that a fit needs are those of its sessions by pattern (both rated, one of them alone), so that cost is in the
number of therapies.

A predictor's effect on the first rater minus that on the second is a contrast of fixed effects, with the
covariance of both: it asks whether what the raters see differs, which two separate fits cannot.
"""

from __future__ import annotations

import time as clock
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from . import blocks
from .columns import Column
from .covariance import Array
from .data import LongData
from .design import Design, fixed_effects, high_start_of, levels_of, require_rows, span_of
from .engine import converged, estimates, no_estimates, provenance, require_finite
from .errors import Unfittable
from .inference import FixedInference, infer, t_test
from .multiplicity import benjamini_hochberg, holm
from .objective import Objective
from .optimize import Search, search
from .residual import Paired
from .results import Contrast, DifferenceTest, JointResult, PairedResidual
from .sessions import Sessions, rater_names, sessions_of
from .spec import JointSpec, RandomTerm
from .statistics import Statistics

__all__ = ["JointResult", "JointSpec", "fit_joint"]


def fit_joint(
    columns: Mapping[str, ArrayLike] | pd.DataFrame,
    spec: JointSpec,
    *,
    likelihood_ratio: bool = False,
    seconds: float | None = None,
) -> JointResult:
    """Fit the joint model to long rows, one a rating; rows with a missing value in a used column are dropped.

    `likelihood_ratio` adds the likelihood-ratio test of each predictor, at the cost of one more fit for each.
    What the data cannot support is a status of the result.  Raises DataError, with column and row, for data
    that are not ratings by two raters of sessions.
    """
    began = clock.perf_counter()
    deadline = None if seconds is None else began + seconds
    data = LongData.from_columns(columns, spec.columns_spec(), labels=spec.labels)
    raters = rater_names(data, spec)
    common: dict[str, Any] = {
        "outcome": spec.outcome,
        "formula": _formula(spec, raters),
        "method": spec.method,
    }
    try:
        require_rows(data, _terms(spec, raters))
        sessions = sessions_of(data, spec, raters)
        design = _design(data, spec, raters, sessions)
        objective = Objective(design.statistics, design.levels, reml=spec.method == "reml")
        found = converged(_require_two_views(search(objective, deadline=deadline), objective), spec.outcome)
        inference = infer(design, objective, found, spec.df, len(data.units[0]))
        fields = estimates(design, objective, found, inference)
        ratios = _likelihood_ratios(data, spec, raters, sessions, deadline) if likelihood_ratio else {}
        *levels, log_ratio, z = fields["theta"]
        fields["theta"] = (*levels, log_ratio + float(np.log(sessions.unit)), z)
        fields |= _of_both(design, objective, found, inference, spec, raters, sessions.unit, ratios)
        result = JointResult(**common, **fields, **provenance(data, spec.outcome))
        require_finite(result, spec.df)
    except Unfittable as reason:
        fields = no_estimates(reason) | {"residual": None, "contrasts": (), "tests": ()}
        result = JointResult(**common, **fields, **provenance(data, spec.outcome))
    return replace(result, seconds=clock.perf_counter() - began)


def _require_two_views(found: Search | None, objective: Objective) -> Search | None:
    """The search, unless it ran away because one rater's residuals are nothing, or nothing of their own."""
    if found is not None and found.ran_away:
        log_ratio, z = objective.psi(found.theta)
        if abs(z) > 6.0:
            raise Unfittable(
                "no_variation", "the two ratings of a session are all but the same: model one rater"
            )
        if abs(log_ratio) > 6.0:
            raise Unfittable(
                "no_variation", "fixed and random effects reproduce the ratings of one rater exactly"
            )
    return found


def _names(spec: JointSpec, raters: tuple[str, str]) -> list[tuple[str, int, str, str | None]]:
    """Term, rater, function of the session and weight, of each fixed effect."""
    out: list[tuple[str, int, str, str | None]] = []
    for r, rater in enumerate(raters):
        out += [(rater, r, "1", None), (f"{rater}:{spec.time}", r, spec.time, None)]
        out += [(f"{rater}:{name}", r, "1", name) for name in spec.predictors]
        out += [(f"{rater}:{spec.time}:{name}", r, spec.time, name) for name in spec.predictors]
    return out


def _terms(spec: JointSpec, raters: tuple[str, str]) -> list[RandomTerm]:
    own = tuple(name for rater in raters for name in (rater, f"{rater}:{spec.time}"))
    return [RandomTerm(":".join(spec.levels[: i + 1]), own) for i in range(len(spec.levels))]


def _columns(spec: JointSpec, raters: tuple[str, str], sessions: Sessions) -> list[Column]:
    columns = []
    units = np.diag([1.0, 1.0 / sessions.unit])
    for term, r, function, predictor in _names(spec, raters):
        if predictor is None or predictor in sessions.weights:
            coding, weight = sessions.coding[function], sessions.weights.get(predictor or "")
        else:
            coding, weight = (
                sessions.coding[predictor if function == "1" else f"{function}:{predictor}"],
                None,
            )
        columns.append(Column(term, np.kron(units[r], coding), weight))
    return columns


def _design(
    data: LongData,
    spec: JointSpec,
    raters: tuple[str, str],
    sessions: Sessions,
    *,
    shared: str | None = None,
) -> Design:
    """Design of the joint model; `shared` names a predictor that is to act on both raters alike."""
    columns = _columns(spec, raters, sessions)
    if shared is not None:
        columns = _with_shared(columns, spec, raters, shared)
    names = tuple(column.name for column in columns)
    terms = _terms(spec, raters)
    low = data.units[-1].start
    high_start = high_start_of(data)
    n_rows, span = len(data), span_of(columns, len(high_start))
    A = sessions.squares()
    B, _ = sessions.products(sessions.y)
    root = blocks.root(A[0] + A[2] + A[3] + A[4])
    beta = blocks.solve_lower(root, (B[0] + B[2] + B[3] + B[4])[:, None])[:, 0]
    R, span, gamma, _ = fixed_effects(root, beta, span, high_start, n_rows, names)
    inside = np.diff(high_start, append=len(low))
    fitted = np.repeat(np.einsum("upk,p->uk", span, gamma), inside, axis=-1)
    e = sessions.residuals(fitted)
    scale = float(np.sqrt(np.vdot(e, e) / n_rows))
    if scale <= 1e-12 * float(np.sqrt(np.mean(data.columns[spec.outcome] ** 2))):
        raise Unfittable("no_variation", f"outcome {spec.outcome!r} has no variation to explain")
    for rater, own, given in zip(raters, e, sessions.rated, strict=True):
        if float(np.mean(own[given] ** 2)) <= 1e-24 * scale**2:
            raise Unfittable("no_variation", f"the fixed effects reproduce every rating of {rater!r} exactly")
    B, S = sessions.products(e / scale)
    both, first, second = (int(np.count_nonzero(pattern)) for pattern in sessions.patterns)
    one, t = sessions.coding["1"], sessions.coding[spec.time]
    units = np.diag([1.0, 1.0 / sessions.unit])
    own = np.column_stack([np.kron(units[r], column) for r in range(2) for column in (one, t)])
    return Design(
        names=names,
        R=R,
        gamma_ols=gamma,
        scale=scale,
        levels=levels_of(terms, [own] * len(terms), data),
        statistics=Statistics(Paired(A, B, S, both, first, second), span, high_start, len(low), n_rows),
        rows=sessions,
        shift=2 * (both + second) * float(np.log(sessions.unit)),
    )


def _with_shared(
    columns: list[Column], spec: JointSpec, raters: tuple[str, str], predictor: str
) -> list[Column]:
    """The columns with one effect of the predictor for both raters, on level and on growth."""
    by_name = {column.name: column for column in columns}
    out = {}
    for column in columns:
        rater, _, rest = column.name.partition(":")
        if rest not in (predictor, f"{spec.time}:{predictor}"):
            out[column.name] = column
        elif rater == raters[0]:
            other = by_name[f"{raters[1]}:{rest}"]
            out[rest] = Column(rest, column.coding + other.coding, column.weight)
    return list(out.values())


def _of_both(
    design: Design,
    objective: Objective,
    found: Search,
    inference: FixedInference,
    spec: JointSpec,
    raters: tuple[str, str],
    unit: float,
    ratios: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Residual covariance and tests of the difference between the raters."""
    sigma = design.scale * float(np.sqrt(found.evaluation.s2))
    log_ratio, z = objective.psi(found.theta)
    residual = PairedResidual(
        {raters[0]: sigma, raters[1]: unit * sigma * float(np.exp(log_ratio))}, float(np.tanh(z))
    )
    place = {name: i for i, name in enumerate(design.names)}
    beta = design.coding @ inference.gamma

    def difference(rest: str) -> Array:
        L = np.zeros(len(beta))
        L[place[f"{raters[0]}:{rest}"]], L[place[f"{raters[1]}:{rest}"]] = 1.0, -1.0
        return L

    named = [
        (predictor, effect, difference(predictor if effect == "level" else f"{spec.time}:{predictor}"))
        for predictor in spec.predictors
        for effect in ("level", "growth")
    ]
    tests = []
    for predictor in spec.predictors:
        L = np.array([row for name, _, row in named if name == predictor])
        several = inference.f_test(L)
        lr, p = ratios.get(predictor, (None, None))
        tests.append(DifferenceTest(predictor, several.F, several.q, several.df, several.p, lr, p))
    return {"residual": residual, "contrasts": _contrasts(named, beta, inference), "tests": tuple(tests)}


def _contrasts(
    named: Sequence[tuple[str, str, Array]], beta: Array, inference: FixedInference
) -> tuple[Contrast, ...]:
    if not named:
        return ()
    L = np.array([row for *_, row in named])
    estimates = L @ beta
    ses = np.sqrt(np.einsum("ip,pq,iq->i", L, inference.cov, L))
    dfs = inference.df(L)
    each = [t_test(float(b), float(se), float(df)) for b, se, df in zip(estimates, ses, dfs, strict=True)]
    p = [row[1] for row in each]
    return tuple(
        Contrast(
            predictor=predictor,
            effect=effect,
            estimate=float(estimates[i]),
            se=float(ses[i]),
            df=None if np.isinf(dfs[i]) else float(dfs[i]),
            t=each[i][0],
            p=p[i],
            p_holm=float(by_holm),
            p_bh=float(by_bh),
            lower=each[i][2],
            upper=each[i][3],
        )
        for i, ((predictor, effect, _), by_holm, by_bh) in enumerate(
            zip(named, holm(p), benjamini_hochberg(p), strict=True)
        )
    )


def _likelihood_ratios(
    data: LongData, spec: JointSpec, raters: tuple[str, str], sessions: Sessions, deadline: float | None
) -> dict[str, tuple[float, float]]:
    """Statistic and p of each predictor: ML with its effects on both raters free, and alike (2 df)."""
    free = _ml_deviance(data, spec, raters, sessions, None, deadline)
    ratios = {}
    for predictor in spec.predictors:
        alike = _ml_deviance(data, spec, raters, sessions, predictor, deadline)
        if free is not None and alike is not None:
            statistic = max(alike - free, 0.0)
            ratios[predictor] = (statistic, float(special.chdtrc(2, statistic)))
    return ratios


def _ml_deviance(
    data: LongData,
    spec: JointSpec,
    raters: tuple[str, str],
    sessions: Sessions,
    shared: str | None,
    deadline: float | None,
) -> float | None:
    try:
        design = _design(data, spec, raters, sessions, shared=shared)
        objective = Objective(design.statistics, design.levels, reml=False)
        found = converged(search(objective, deadline=deadline), spec.outcome)
    except Unfittable:
        return None
    return found.evaluation.deviance + design.deviance_shift(reml=False)


def _formula(spec: JointSpec, raters: tuple[str, str]) -> str:
    """The model in words near lme4's."""
    fixed = " + ".join(name for name, *_ in _names(spec, raters))
    random = " + ".join(f"({' + '.join(term.columns)} | {term.group})" for term in _terms(spec, raters))
    residual = f"residual({spec.rater} | {':'.join(spec.levels)}:{spec.session})"
    return f"{spec.outcome} ~ 0 + {fixed} + {random} + {residual}"
