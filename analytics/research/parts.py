"""Pure: what follows from the model of one rater: courses, diagnostics, and what would change the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from analytics.growth import DataError, LongData, SpecError
from analytics.growth.covariance import Array
from analytics.growth.engine import Estimate
from analytics.growth.errors import Unfittable
from analytics.growth.modes import conditional_modes
from analytics.growth.predict import population_course
from analytics.growth.rows import Fitted
from analytics.growth.sensitivity import delta_shift, leave_one_out
from analytics.growth.serial import serial_correlation
from analytics.research.frames import Column, Frame, Tables, complete
from analytics.research.spec import THERAPY, AnalysisSpec, Sensitivity

Values = dict[str, Any]

GRID = 12
# So few that the table beside a picture has all of them.
QUANTILES = 15
GROUPS = 10
# Points of the outcome by which ratings after a dropout are moved.
DELTAS = (-1.0, -0.5, 0.5)
IMPUTATIONS, SEED = 20, 1
# With more of them no single one moves an estimate, and the refits take very long.
MAX_LEFT_OUT = 200


class NotDone(Exception):
    """A sensitivity analysis that cannot be made; `code` is for `analytics.research.words`."""


def courses(main: Estimate, spec: AnalysisSpec, frame: Frame, rater: str) -> list[Values]:
    """Mean course at -1, 0 and +1 SD of each predictor (0 and 1 of a category), the others at their mean."""
    rows = complete(frame, (rater,))
    sessions = _grid(rows, spec)
    times = spec.coding.columns(sessions)
    centre = {column.name: 0.0 if column.is_scaled else column.mean for column in frame.columns}
    out = []
    for column in frame.columns or (None,):
        lines = []
        for step, value in _steps(column):
            own = {} if column is None else {column.name: value}
            at: Mapping[str, Any] = {**times, **centre, **own, "session": sessions}
            course = population_course(
                main.result,
                spec.growth(frame.names),
                at,
                axis="session",
                df=main.inference.df if main.inference is not None else None,
            )
            points = np.column_stack([course.mean, course.lower, course.upper]).tolist()
            lines.append({"step": step, "points": points})
        out.append(
            {
                "rater": rater,
                "predictor": None if column is None else column.name,
                "sessions": sessions.tolist(),
                "lines": lines,
            }
        )
    return out


def _steps(column: Column | None) -> list[tuple[int, float]]:
    if column is None:
        return [(0, 0.0)]
    if column.is_category:
        return [(0, 0.0), (1, 1.0)]
    if column.is_scaled:
        return [(step, float(step)) for step in (-1, 0, 1)]
    return [(step, column.mean + step * column.sd) for step in (-1, 0, 1)]


def _grid(rows: pd.DataFrame, spec: AnalysisSpec) -> Array:
    if spec.coding.name == "occasion":
        # No further than the last planned session that was rated.
        planned = np.array(spec.time["planned"], dtype=float)
        rank = rows["occasion"].to_numpy(dtype=int)
        return planned[rank.min() : rank.max() + 1]
    low, high = float(rows["session"].min()), float(rows["session"].max())
    if spec.sessions:
        return np.array([float(s) for s in spec.sessions if low <= s <= high] or [low, high])
    return np.unique(np.round(np.linspace(low, high, GRID)))


def diagnostics(main: Estimate, rater: str) -> list[Values]:
    """Residuals and random effects against the normal distribution, and residuals along the fitted values.

    Units are not named.  `points`: pairs of normal quantile and value, in units of the outcome.
    """
    if not isinstance(main.data, LongData):
        raise TypeError("diagnostics need the ratings themselves")
    data, fitted = main.data, Fitted.of(main.result)
    X, Z = fitted.rows(main.spec, data.columns, len(data), None)
    expected = X @ fitted.beta
    out = []
    starts = {units.group: units.start for units in data.units}
    for block, level in zip(Z, conditional_modes(main), strict=True):
        unit = np.searchsorted(starts[level.group], np.arange(len(data)), side="right") - 1
        expected = expected + np.einsum("nq,nq->n", block, level.modes[unit])
        for term, modes in zip(level.terms, level.modes.T, strict=True):
            out.append(
                {"rater": rater, "what": "effects", "group": level.group, "term": term, **_quantiles(modes)}
            )
    residuals = data.columns[main.spec.outcome] - expected
    order = np.argsort(expected, kind="stable")
    groups = [part for part in np.array_split(order, GROUPS) if len(part) > 1]
    along = [
        {
            "n": len(part),
            "fitted": float(expected[part].mean()),
            "mean": float(residuals[part].mean()),
            "sd": float(residuals[part].std(ddof=1)),
        }
        for part in groups
    ]
    return [
        {
            "rater": rater,
            "what": "residuals",
            "group": None,
            "term": None,
            **_quantiles(residuals),
            "along": along,
        },
        *out,
    ]


def _quantiles(values: Array) -> Values:
    n = min(len(values), QUANTILES)
    p = (np.arange(n) + 0.5) / n
    pairs = np.column_stack([special.ndtri(p), np.quantile(values, p)])
    return {"n": len(values), "sd": float(values.std()), "points": pairs.tolist()}


def sensitivity(
    name: Sensitivity,
    main: Estimate,
    spec: AnalysisSpec,
    rows: pd.DataFrame,
    tables: Tables,
    rater: str,
    tick: Callable[[], None],
) -> Values:
    """One of them; `tick` is called every few seconds.  Each can fail alone: `found` is None then, and `code`
    and `detail` say why."""
    makers: Mapping[Sensitivity, Callable[[], Values]] = {
        "serial": lambda: _serial(main, rows, tick),
        "dropout": lambda: _dropout(main, spec, tables, tick),
        "leave_one_out": lambda: _leave_one_out(main, tick),
    }
    common = {"rater": rater, "name": name}
    if not main.result.is_fitted:
        return {**common, "found": None, "code": "no_model", "detail": ""}
    try:
        return {**common, "found": makers[name](), "code": "", "detail": ""}
    except NotDone as reason:
        return {**common, "found": None, "code": str(reason), "detail": ""}
    except (DataError, SpecError, Unfittable) as error:
        return {**common, "found": None, "code": "failed", "detail": str(error)}


def _rows_of(main: Estimate) -> LongData:
    if not isinstance(main.data, LongData):
        raise TypeError("sensitivity needs the ratings themselves")
    return main.data


def _serial(main: Estimate, rows: pd.DataFrame, tick: Callable[[], None]) -> Values:
    data = _rows_of(main)
    session = rows["session"].to_numpy(dtype=float)[data.row_numbers - 1]
    found = serial_correlation(data, main.spec, session, tick).to_dict()
    if found["phi"] is None:
        raise Unfittable("not_converged", found["message"])
    return found


def _dropout(main: Estimate, spec: AnalysisSpec, tables: Tables, tick: Callable[[], None]) -> Values:
    if not spec.sessions:
        raise NotDone("needs_sessions")
    data = _rows_of(main)
    ended = tables["therapies"]
    dropped = set(ended.loc[ended["end_reason"] == "dropout", "therapy"])
    low = next(units for units in data.units if units.group == THERAPY)
    therapies = [label for label in low.labels if label[-1] in dropped]
    if not therapies:
        raise NotDone("no_dropout")
    planned = spec.coding.columns(np.array(spec.sessions, dtype=float))
    found = delta_shift(
        data,
        main.spec,
        main.result,
        planned,
        DELTAS,
        axis=spec.coding.names[0],
        therapies=therapies,
        m=IMPUTATIONS,
        seed=SEED,
        progress=lambda _done, _total: tick(),
    )
    tipping = {row.term: [asdict(tip) for tip in found.tipping(row.term)] for row in found.direct}
    return {**found.to_dict(), "tipping": tipping}


def _leave_one_out(main: Estimate, tick: Callable[[], None]) -> Values:
    """Range of each estimate over the refits, and the largest change in SEs; nobody is named."""
    data = _rows_of(main)
    high = data.units[0]
    if high.group == THERAPY:
        raise NotDone("no_therapists")
    if len(high) > MAX_LEFT_OUT:
        raise NotDone("many_therapists")
    found = leave_one_out(data, main.spec, main.result, lambda _done, _total: tick())
    fitted = [unit for unit in found.units if unit.fixed]
    if not fitted:
        raise NotDone("none_fitted")
    rows = []
    for i, term in enumerate(found.terms):
        estimates = [unit.fixed[i] for unit in fitted]
        rows.append(
            {
                "term": term,
                "lowest": min(row.estimate for row in estimates),
                "highest": max(row.estimate for row in estimates),
                "largest_p": max(row.p for row in estimates),
                "smallest_p": min(row.p for row in estimates),
                "change": max((unit.changes[i] for unit in fitted), key=abs),
            }
        )
    return {
        "rows": rows,
        "n": len(found.units),
        "n_failed": len(found.failed),
        "bound": found.bound,
    }
