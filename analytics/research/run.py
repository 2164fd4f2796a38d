"""Pure: the answer to one analysis: every model that it states, what they are compared by, and what follows.

Nothing is estimated here: `analytics.growth` does.  For each rater four fits rest on the same ratings, those
without a missing predictor: with and without predictors by the stated criterion, for what is reported, and
both by ML, as REML does not compare fixed effects.  Random effects of therapists are tested by adding one
after another.  With two raters the joint model is fitted to the ratings of both.

What the data cannot carry is said where it is missing: as a `Refusal` of the whole, as the status of a model,
or as a caution beside the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, SpecError
from analytics.growth.compare import compare
from analytics.growth.effects import level_growth_correlations, pseudo_r2, variance_shares
from analytics.growth.engine import Estimate, estimate
from analytics.growth.joint import fit_joint
from analytics.growth.multiplicity import benjamini_hochberg, holm
from analytics.growth.results import FITTED
from analytics.research.cautions import cautions
from analytics.research.frames import Frame, Refusal, Tables, build, complete
from analytics.research.parts import courses, diagnostics, sensitivity
from analytics.research.spec import AnalysisSpec, Effects

Report = Callable[[str, int, int], None]
Values = dict[str, Any]

# Fewer cannot tell differences between therapists from those between their patients.
MIN_THERAPISTS = 5
# Beyond the predictors of the therapist: what a variance between therapists is estimated from.
SPARE_THERAPISTS = 3
# Well within the lease of a long job (`surveys.progress`).
SECONDS = 120.0
# A larger model of therapists' random effects after a smaller one.
STEPS: Mapping[Effects, tuple[Effects, ...]] = {
    "none": (),
    "intercept": ("none", "intercept"),
    "slope": ("none", "intercept", "slope"),
    "slope-uncorrelated": ("none", "intercept", "slope-uncorrelated"),
}


def answer(tables: Tables, spec: AnalysisSpec, report: Report) -> Values:
    """Plain JSON values without NaN; raises Refusal.

    `models` are as the scripts of a bundle read them: key, kind, rater, rows, formula, columns, result.
    """
    report("frame", 0, 1)
    frame = build(tables, spec)
    _require_enough(frame, spec)
    steps = len(spec.raters) * (2 + len(spec.sensitivity)) + spec.can_be_joint
    done = 0

    def step(stage: str) -> None:
        nonlocal done
        report(stage, done, steps)
        done += 1

    out: Values = {
        "models": [],
        "adjusted": [],
        "comparisons": [],
        "variance": [],
        "explained": [],
        "level_growth": [],
        "courses": [],
        "diagnostics": [],
        "sensitivity": [],
    }
    for rater in spec.raters:
        step("separate")
        rows = complete(frame, (rater,))
        main = _separate(out, frame, spec, rater, rows)
        step("comparison")
        _random_steps(out, frame, spec, rater, rows)
        if main.result.is_fitted:
            out["courses"] += courses(main, spec, frame, rater)
            out["diagnostics"] += diagnostics(main, rater)
        for name in spec.sensitivity:
            step(name)
            tick = partial(report, name, done - 1, steps)
            out["sensitivity"].append(sensitivity(name, main, spec, rows, tables, rater, tick))
    if spec.can_be_joint:
        step("joint")
        _joint(out, frame, spec)
    if not any(model["result"]["status"] in FITTED for model in out["models"]):
        raise Refusal("unfitted", detail=out["models"][0]["result"]["message"])
    out |= _about(frame, spec) | {"cautions": list(cautions(out["models"], frame, spec))}
    plain: Values = json.loads(json.dumps(out, allow_nan=False))
    return plain


def _require_enough(frame: Frame, spec: AnalysisSpec) -> None:
    for rater in spec.raters:
        rows = complete(frame, (rater,))
        if rows.empty:
            raise Refusal("no_complete", rater=rater)
        try:
            spec.coding.check(_counted(rows, spec))
        except SpecError as error:
            raise Refusal("sessions", rater=rater, detail=str(error)) from error
        n = rows["therapist"].nunique()
        n_own = sum(column.unit == "therapist" for column in frame.columns)
        if spec.therapist != "none" and n < MIN_THERAPISTS:
            raise Refusal("few_therapists", rater=rater, n=n, least=MIN_THERAPISTS)
        if n < n_own + 1 + SPARE_THERAPISTS and n_own:
            raise Refusal(
                "few_for_predictors", rater=rater, n=n, n_predictors=n_own, least=n_own + 1 + SPARE_THERAPISTS
            )


def _counted(rows: pd.DataFrame, spec: AnalysisSpec) -> Any:
    """The sessions that time is counted in."""
    if spec.coding.name == "occasion":
        return np.array(spec.time["planned"], dtype=float)[rows["occasion"].to_numpy(dtype=int)]
    return rows["session"]


def _model(frame: Frame, spec: AnalysisSpec, key: str, rater: str | None, result: FitResult) -> Values:
    joint = None
    if rater is None:
        asked = spec.joint(frame.names)
        joint = {
            "rater": "rater",
            "session": "session",
            "time": asked.time,
            "predictors": list(frame.names),
            "levels": list(asked.levels),
        }
    return {
        "key": key,
        "kind": "growth" if rater else "joint",
        "rater": rater,
        "title": key,
        "rows": {"raters": [rater] if rater else list(spec.raters)},
        "formula": result.formula,
        "outcome": "y",
        "method": result.method,
        "df": "auto",
        "joint": joint,
        "columns": ["therapist", "therapy", "rater", "session", *spec.coding.names, "y", *frame.names],
        "result": result.to_dict(),
    }


def _separate(out: Values, frame: Frame, spec: AnalysisSpec, rater: str, rows: pd.DataFrame) -> Estimate:
    """The fits of one rater with and without predictors, and what compares them; the model to report."""
    asked, empty = spec.growth(frame.names), spec.growth(())
    data = LongData.from_columns(rows, asked)
    main = _estimate(data, asked)
    results = {"conditional": main.result}
    if frame.names:
        results["unconditional"] = _estimate(data, empty).result
    else:
        results = {"unconditional": main.result}
    for name, result in results.items():
        out["models"].append(_model(frame, spec, f"{rater}.{name}", rater, result))
        if result.is_fitted:
            out["variance"].append({"rater": rater, "model": name, **variance_shares(result).to_dict()})
            out["level_growth"] += [
                {"rater": rater, "model": name, **row}
                for row in level_growth_correlations(result).to_dict()["rows"]
            ]
    if main.result.is_fitted:
        out["adjusted"].append({"rater": rater, "rows": _adjusted(main.result, frame, spec)})
    if frame.names:
        _fixed_step(out, frame, spec, rater, data)
        if all(result.is_fitted for result in results.values()):
            drop = pseudo_r2(results["unconditional"], results["conditional"])
            out["explained"].append({"rater": rater, **drop.to_dict()})
    return main


def _adjusted(result: FitResult, frame: Frame, spec: AnalysisSpec) -> list[Values]:
    """p of each effect of a predictor, adjusted over all of them."""
    fixed = {row.term: row.p for row in result.fixed}
    terms = [
        (name, effect, name if effect == "level" else f"{effect}:{name}")
        for name in frame.names
        for effect in ("level", *spec.coding.names)
    ]
    p = [fixed[term] for *_, term in terms]
    both = zip(terms, p, holm(p).tolist(), benjamini_hochberg(p).tolist(), strict=True) if p else ()
    return [
        {"predictor": name, "effect": effect, "term": term, "p": each, "p_holm": by_holm, "p_bh": by_bh}
        for (name, effect, term), each, by_holm, by_bh in both
    ]


def _fixed_step(out: Values, frame: Frame, spec: AnalysisSpec, rater: str, data: LongData) -> None:
    small = _estimate(data, spec.growth((), "ml")).result
    large = _estimate(data, spec.growth(frame.names, "ml")).result
    # With ML as the stated criterion these are the reported fits already.
    if spec.method != "ml":
        for name, result in (("unconditional-ml", small), ("conditional-ml", large)):
            out["models"].append(_model(frame, spec, f"{rater}.{name}", rater, result))
    out["comparisons"].append({"rater": rater, "what": "predictors", **_comparison(small, large)})


def _random_steps(out: Values, frame: Frame, spec: AnalysisSpec, rater: str, rows: pd.DataFrame) -> None:
    """Therapists' random effects, one after another."""
    data = LongData.from_columns(rows, spec.growth(frame.names))
    fits = []
    for effects in STEPS[spec.therapist]:
        smaller = replace(spec, therapist=effects)
        # Only the likelihoods are compared; the data keep their level of therapists for the fingerprints.
        result = _estimate(_levels(data, rows, smaller, frame), smaller.growth(frame.names)).result
        fits.append((effects, result))
        if effects != spec.therapist:
            out["models"].append(_model(frame, spec, f"{rater}.therapist-{effects}", rater, result))
    for (_, small), (effects, large) in pairwise(fits):
        out["comparisons"].append(
            {"rater": rater, "what": f"therapist-{effects}", **_comparison(small, large)}
        )


def _levels(data: LongData, rows: pd.DataFrame, spec: AnalysisSpec, frame: Frame) -> LongData:
    if spec.therapist != "none":
        return data
    return LongData.from_columns(rows, spec.growth(frame.names))


def _comparison(small: FitResult, large: FitResult) -> Values:
    """`test` is None where `message` says why."""
    try:
        return {"test": compare(small, large).to_dict(), "message": ""}
    except SpecError as error:
        return {"test": None, "message": str(error)}


def _estimate(data: LongData, spec: GrowthSpec) -> Estimate:
    """A column that repeats others is a refusal with its name, not an error of the job."""
    try:
        return estimate(data, spec, seconds=SECONDS)
    except DataError as error:
        raise Refusal("collinear", detail=str(error)) from error


def _joint(out: Values, frame: Frame, spec: AnalysisSpec) -> None:
    rows = complete(frame, spec.raters)
    try:
        result = fit_joint(rows, spec.joint(frame.names), likelihood_ratio=bool(frame.names), seconds=SECONDS)
    except DataError as error:
        raise Refusal("collinear", detail=str(error)) from error
    out["models"].append(_model(frame, spec, "joint", None, result))


def _about(frame: Frame, spec: AnalysisSpec) -> Values:
    """What the numbers rest on."""
    n = {}
    for rater in spec.raters:
        rows = complete(frame, (rater,))
        own = frame.rows[frame.rows["rater"] == rater]
        n[rater] = {
            "ratings": len(rows),
            "without_predictor": len(own) - len(rows),
            "therapies": int(rows["therapy"].nunique()),
            "patients": int(rows["patient"].nunique()),
            "therapists": int(rows["therapist"].nunique()),
            "sessions": sorted(int(session) for session in rows["session"].unique()),
            "mean": float(rows["y"].mean()),
            "sd": float(rows["y"].std(ddof=1)) if len(rows) > 1 else 0.0,
        }
    return {
        "n": n,
        "left_out": dict(frame.left_out),
        "predictors": [column.to_dict() for column in frame.columns],
        "constant": list(frame.constant),
        "time": {
            "names": list(spec.coding.names),
            "zero": spec.coding.zero,
            "unit": getattr(spec.coding, "unit", None),
            "description": spec.coding.describe(),
        },
    }
