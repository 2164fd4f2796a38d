"""Pure: what stands beside an answer's numbers, as it limits what they say: codes with their values, of which
`analytics.research.refusals` makes sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analytics.growth.compare import FEW_UNITS
from analytics.growth.results import FITTED
from analytics.research.frames import MIN_PATIENTS, MIN_THERAPISTS, Column, Frame, complete, groups
from analytics.research.spec import AnalysisSpec

Values = dict[str, Any]

# Of one predictor of the therapist; a rule of thumb for regressions, said as a caution and nothing more.
THERAPISTS_EACH = 10
FEW_SESSIONS = 3
# Variance inflation: of such a predictor nine tenths follow from the others.
INFLATED = 10.0
# So far, as a share of the ratings' sessions, time may begin beside them.
SLACK = 0.1
REPORTED = ("conditional", "unconditional", "joint")


def cautions(models: Sequence[Values], frame: Frame, spec: AnalysisSpec) -> Iterator[Values]:
    """`models`: of the answer. Those of the ratings first, then of the fits, then of the question."""
    for rater in spec.raters:
        yield from _of_rows(complete(frame, (rater,)), rater, frame, spec)
    yield from _of_fits([model for model in models if model["key"].split(".")[-1] in REPORTED])
    yield from _of_effects(frame, spec)
    for name in frame.constant:
        yield {"code": "constant", "name": name}
    if spec.asks_difference and not spec.can_be_joint:
        yield {"code": "no_joint", "n": len(spec.coding.names)}
    ranges = {spec.ranges.get(spec.instruments[rater]) for rater in spec.raters}
    if len(ranges) > 1:
        yield {"code": "answer_scales"}
    if len(set(spec.instruments.values())) > 1:
        yield {"code": "forms_differ"}


def _of_rows(rows: pd.DataFrame, rater: str, frame: Frame, spec: AnalysisSpec) -> Iterator[Values]:
    n_own = sum(column.unit == "therapist" for column in frame.columns)
    n, n_sessions = int(rows["therapist"].nunique()), len(np.unique(rows[spec.coding.names[0]]))
    if n < FEW_UNITS:
        yield {"code": "few_therapists", "rater": rater, "n": n, "least": FEW_UNITS}
    if n_own and n < THERAPISTS_EACH * n_own:
        yield {"code": "many_predictors", "rater": rater, "n": n, "n_predictors": n_own}
    if n_sessions < FEW_SESSIONS:
        yield {"code": "few_sessions", "rater": rater, "n": n_sessions}
    per = rows.groupby("patient")["therapy"].nunique()
    if (per > 1).any():
        yield {"code": "several_episodes", "rater": rater, "n": int((per > 1).sum())}
    first, last = int(rows["session"].min()), int(rows["session"].max())
    # A session held may count as the planned one beside it.
    slack = SLACK * (last - first)
    if not first - slack <= spec.coding.zero <= last + slack:
        yield {
            "code": "origin_outside",
            "rater": rater,
            "zero": int(spec.coding.zero),
            "first": first,
            "last": last,
        }
    for column, own in groups(frame, rows):
        sizes = int(own["patient"].nunique()), int(own["therapist"].nunique())
        if column is not None and (sizes[0] < MIN_PATIENTS or sizes[1] < MIN_THERAPISTS):
            yield {
                "code": "few_in_group",
                "rater": rater,
                "name": column.name,
                "n": sizes[0],
                "therapists": sizes[1],
            }
    if close := _close(frame, rows):
        yield {"code": "close_predictors", "rater": rater, "names": close}


def _close(frame: Frame, rows: pd.DataFrame) -> list[str]:
    """Predictors whose variance inflation is above the limit."""
    if len(frame.names) < 2:
        return []
    values = rows[list(frame.names)].to_numpy(dtype=float)
    varies = values.std(axis=0) > 0
    if varies.sum() < 2:
        return []
    names = np.array(frame.names)[varies]
    inflation = np.diag(np.linalg.pinv(np.corrcoef(values[:, varies], rowvar=False)))
    return [str(name) for name, factor in zip(names, inflation, strict=True) if factor > INFLATED]


def _of_fits(reported: Sequence[Values]) -> Iterator[Values]:
    singular = [model for model in reported if model["result"]["status"] == "singular"]
    if singular:
        yield {
            "code": "singular",
            "models": [model["key"] for model in singular],
            "detail": "; ".join(dict.fromkeys(model["result"]["message"] for model in singular)),
        }
    for model in reported:
        if model["result"]["status"] not in FITTED:
            yield {"code": "unfitted", "models": [model["key"]], "detail": model["result"]["message"]}


def _of_effects(frame: Frame, spec: AnalysisSpec) -> Iterator[Values]:
    units = {column.unit for column in frame.columns}
    if spec.therapist == "none" and "therapist" in units:
        yield {"code": "no_therapist_level"}
    # Without a slope of its own unit an effect on growth counts each rating as a unit (Heisig & Schaeffer
    # 2019, Eur Sociol Rev 35, 258-279).
    if (spec.therapist == "intercept" and "therapist" in units) or (
        spec.therapy == "intercept" and units & {"therapist", "therapy"}
    ):
        yield {"code": "level_alone"}
    late = {name: n for name, n in frame.late.items() if n and name in frame.names}
    if late and spec.trait_at == "first":
        yield {"code": "late_forms", "names": list(late), "n": max(late.values())}
    later = [column.name for column in frame.columns if _is_later(column, spec)]
    if later:
        yield {"code": "later", "names": later}


def _is_later(column: Column, spec: AnalysisSpec) -> bool:
    """Whether it is known only after some of the ratings that it is to explain."""
    source = column.key.split(":")[0]
    if source in ("trait", "composite"):
        return spec.trait_at != "first"
    return column.unit != "session" and not column.is_category
