"""Would the fixed effects be others without one therapist, or if those who dropped out had gone on worse?

**One therapist at a time.**  With beta(-k) the estimate without the ratings of unit k of the highest level,

    DFBETAS_k = (beta(-k) - beta) / SE(beta(-k))

(Belsley, Kuh & Welsch 1980, Regression Diagnostics, ch. 2, for units in the place of rows: Nieuwenhuis, te
Grotenhuis & Pelzer 2012, R Journal 4(2), 38-47, with the sign of the change); more than 2 / sqrt(units) is
worth a look.

**Dropout.**  The fit takes ratings that a therapy did not give any more as missing at random: as the model
expects them after the therapy's earlier ratings.  Here they are drawn from just that distribution,

    beta* ~ N(beta, Cov(beta)),   y_m | y_o, beta* ~ N(X_m beta* + G (y_o - X_o beta*), V_mm - G V_om)

with V the covariance of all ratings of one highest unit, o given and m missing, G = V_mo V_oo^-1; moved by
delta; fitted; and the m fits pooled (Rubin 1987, Multiple Imputation for Nonresponse in Surveys, ch. 3;
Barnard & Rubin 1999, Biometrika 86, 948-955, for the df):

    W = mean of SE^2,  B = variance of the estimates,  T = W + (1 + 1/m) B,  lambda = (1 + 1/m) B / T
    1/df = lambda^2 / (m - 1) + 1 / [(1 - lambda) nu (nu + 1) / (nu + 3)],   nu the df of complete data

which is the pattern-mixture model of Little (1994, Biometrika 81, 471-483) with delta stated instead of
estimated.  T and sigma are taken as known in the draws.  The same draws serve every delta, so that rows
differ by delta alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from .compare import Progress
from .covariance import Array
from .data import Label, LongData, Units
from .engine import fit
from .errors import DataError, SpecError
from .inference import t_test
from .results import FitResult, FixedEffect
from .rows import Fitted, categories, column_of
from .spec import GrowthSpec

Conclusion = Literal["positive", "none", "negative"]


@dataclass(frozen=True)
class LeftOut:
    """The fit without one unit, or why there is none.

    `fixed`: its fixed effects, and `changes` of each in SEs (DFBETAS); empty where `message` says why.
    """

    label: Label
    fixed: tuple[FixedEffect, ...]
    changes: tuple[float, ...]
    message: str = ""


@dataclass(frozen=True)
class LeaveOneOut:
    """One refit for each unit of the highest level; `bound` is the size of change that is worth a look."""

    group: str
    terms: tuple[str, ...]
    units: tuple[LeftOut, ...]
    bound: float

    @property
    def failed(self) -> tuple[LeftOut, ...]:
        """Units without which the model could not be fitted."""
        return tuple(unit for unit in self.units if not unit.fixed)

    def largest(self, term: str) -> LeftOut | None:
        """The unit that moves this fixed effect most, in SEs; None if no refit succeeded."""
        i = self.terms.index(term)
        return max(
            (unit for unit in self.units if unit.fixed), key=lambda unit: abs(unit.changes[i]), default=None
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class DeltaRow:
    """Fixed effects where the missing ratings are `delta` above what the model expects, pooled over the fits.

    `missing`: for each effect the share of its variance that is due to the missing ratings (lambda).
    `n_fitted`: imputed data sets that could be fitted; with fewer than two the row is empty.
    """

    delta: float
    fixed: tuple[FixedEffect, ...]
    missing: tuple[float, ...]
    n_fitted: int


@dataclass(frozen=True)
class Tipping:
    """The delta at which the 95 % interval's answer on a fixed effect changes, by a line between two rows."""

    delta: float
    was: Conclusion
    becomes: Conclusion


@dataclass(frozen=True)
class DeltaShift:
    """Pattern-mixture sensitivity to dropout.

    `direct`: the fixed effects of the fit itself.  `rows`: one for each delta, ascending, 0 among them.
    `n_imputed` ratings of `n_therapies` lowest units were drawn `m` times with `seed`.
    """

    direct: tuple[FixedEffect, ...]
    rows: tuple[DeltaRow, ...]
    n_imputed: int
    n_therapies: int
    m: int
    seed: int

    def tipping(self, term: str) -> tuple[Tipping, ...]:
        """Where the answer on this effect first changes below and above 0; at most once on each side."""
        i = [row.term for row in self.direct].index(term)
        effects = [(row.delta, row.fixed[i]) for row in self.rows if row.fixed]
        below = [entry for entry in reversed(effects) if entry[0] <= 0]
        above = [entry for entry in effects if entry[0] >= 0]
        return tuple(tip for side in (below, above) for tip in _first_tipping(side))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def leave_one_out(
    data: LongData, spec: GrowthSpec, result: FitResult, progress: Progress | None = None
) -> LeaveOneOut:
    """Refit without each unit of the highest level, from the variances of `result`, the fit of these data.

    `progress` is told how many of the units are done.  Raises SpecError if the result has no estimates.
    """
    spec, terms = _as_fitted(spec, result), tuple(row.term for row in result.fixed)
    high = data.units[0]
    units = []
    for k, label in enumerate(high.labels):
        if progress is not None:
            progress(k, len(high))
        refit, message = _refit(without_unit(data, k), spec, result, result.theta)
        if refit is None:
            units.append(LeftOut(label, (), (), message))
            continue
        pairs = zip(refit.fixed, result.fixed, strict=True)
        changes = tuple((new.estimate - old.estimate) / new.se for new, old in pairs)
        units.append(LeftOut(label, refit.fixed, changes))
    return LeaveOneOut(high.group, terms, tuple(units), 2 / float(np.sqrt(len(high))))


def without_unit(data: LongData, k: int) -> LongData:
    """The data without unit k of the highest level."""
    begin, end = np.append(data.units[0].start, len(data))[k : k + 2]
    kept = np.ones(len(data), dtype=bool)
    kept[begin:end] = False

    def rest(units: Units) -> Units:
        own = kept[units.start]
        start = units.start[own]
        return replace(
            units,
            start=np.where(start >= end, start - (end - begin), start),
            codes=tuple(codes[own] for codes in units.codes),
        )

    return LongData(
        columns={name: column[kept] for name, column in data.columns.items()},
        units=tuple(rest(units) for units in data.units),
        row_numbers=data.row_numbers[kept],
        n_dropped=data.n_dropped,
    )


def delta_shift(
    data: LongData,
    spec: GrowthSpec,
    result: FitResult,
    planned: Mapping[str, ArrayLike],
    deltas: Sequence[float],
    *,
    axis: str,
    therapies: Collection[Label] | None = None,
    m: int = 20,
    seed: int = 1,
    progress: Progress | None = None,
) -> DeltaShift:
    """Multiply impute the planned ratings after each therapy's last one, move them by delta, and refit.

    `planned`: columns of the planned sessions, with every column of the model that changes in a therapy (as
    `TimeCoding.columns` gives them); `axis` is the one among them that tells which session is later.
    `deltas` are in units of the outcome; 0, which is missing at random, is always among the rows.
    `therapies`: labels of the lowest units whose later ratings count as missing, all if None: a therapy that
    goes on, or ended as planned, has nothing missing.  `progress` is told how many of m are done.  Raises
    SpecError if the result has no estimates or m < 2, DataError for planned sessions that do not fit the data
    and where nothing is missing.
    """
    spec = _as_fitted(spec, result)
    if m < 2:
        raise SpecError("at least two imputations are needed")
    shifts = sorted({0.0, *(float(delta) for delta in deltas)})
    if not np.isfinite(shifts).all():
        raise SpecError("every delta must be a finite number")
    completed, is_missing = _completed(data, spec, planned, axis, therapies)
    draws = _draws(Fitted.of(result), spec, completed, is_missing, m, seed)
    fits: dict[float, list[tuple[FixedEffect, ...]]] = {delta: [] for delta in shifts}
    for done, drawn in enumerate(draws.T):
        if progress is not None:
            progress(done, m)
        theta = result.theta
        for delta in shifts:
            y = completed.columns[spec.outcome].copy()
            y[is_missing] = drawn + delta
            imputed = replace(completed, columns={**completed.columns, spec.outcome: y})
            refit, _ = _refit(imputed, spec, result, theta)
            if refit is not None:
                fits[delta].append(refit.fixed)
                theta = refit.theta
    low = completed.units[-1].start
    n_therapies = int(np.count_nonzero(np.add.reduceat(is_missing, low)))
    rows = tuple(_pooled(delta, of_delta) for delta, of_delta in fits.items())
    return DeltaShift(result.fixed, rows, int(is_missing.sum()), n_therapies, m, seed)


def _as_fitted(spec: GrowthSpec, result: FitResult) -> GrowthSpec:
    """The spec with the df method of the fit: `auto` might choose another one for fewer units."""
    Fitted.of(result)
    return replace(spec, df=result.df_method)  # type: ignore[arg-type]


def _refit(
    data: LongData, spec: GrowthSpec, result: FitResult, theta0: Sequence[float]
) -> tuple[FitResult | None, str]:
    """The fit with the fixed effects of `result`, or the reason why there is none."""
    try:
        refit = fit(data, spec, theta0)
    except DataError as error:
        return None, str(error)
    if not refit.is_fitted:
        return None, refit.message
    if [row.term for row in refit.fixed] != [row.term for row in result.fixed]:
        return None, "only this unit has a category of a predictor"
    return refit, ""


def _completed(
    data: LongData,
    spec: GrowthSpec,
    planned: Mapping[str, ArrayLike],
    axis: str,
    therapies: Collection[Label] | None,
) -> tuple[LongData, NDArray[np.bool_]]:
    """The data with a row, of whatever outcome, for each missing rating, and which rows those are."""
    plan = {name: np.atleast_1d(np.asarray(values)) for name, values in planned.items()}
    when = column_of(plan, axis)
    for name, values in plan.items():
        is_number = values.dtype.kind in "iufb" and np.isfinite(values).all()
        if not is_number or values.shape != when.shape:
            raise DataError(f"planned {name!r} must be finite numbers, one for each session", column=name)
    low = data.units[-1]
    observed = column_of(data.columns, axis)
    last = np.maximum.reduceat(observed, low.start)
    counts = np.ones(len(low), dtype=bool)
    if therapies is not None:
        wanted = {tuple(label) for label in therapies}
        if wanted - set(low.labels):
            raise DataError(
                f"there is no {low.group} {':'.join((wanted - set(low.labels)).pop())!r} in the data"
            )
        counts = np.array([label in wanted for label in low.labels])
    later = (when[None, :] > last[:, None]) & ~np.isclose(when[None, :], last[:, None], rtol=1e-9)
    unit, session = np.nonzero(later & counts[:, None])
    if not len(unit):
        raise DataError("every therapy has a rating at its last planned session: nothing is missing after it")

    columns: dict[str, NDArray[Any]] = {}
    for name, column in data.columns.items():
        varies = bool((column != np.repeat(column[low.start], np.diff(low.start, append=len(data)))).any())
        if varies and name not in plan and name != spec.outcome:
            raise DataError(f"column {name!r} changes in a therapy: give its planned values", column=name)
        added = plan[name][session] if name in plan else column[low.start][unit]
        columns[name] = np.concatenate([column, added])
    row_unit = np.searchsorted(low.start, np.arange(len(data)), side="right") - 1
    both = np.concatenate([row_unit, unit])
    for units in data.units:
        of_low = np.searchsorted(units.start, low.start, side="right") - 1
        for group, codes, names in zip(units.group.split(":"), units.codes, units.names, strict=True):
            columns[group] = names[codes[of_low[both]]]
    completed = LongData.from_columns(columns, spec)
    return completed, completed.row_numbers > len(data)


def _draws(
    fitted: Fitted, spec: GrowthSpec, completed: LongData, is_missing: NDArray[np.bool_], m: int, seed: int
) -> Array:
    """m draws (n_missing, m) of the missing ratings given the others, in the order of the rows."""
    rng = np.random.default_rng(seed)
    y = completed.columns[spec.outcome]
    X, Z = fitted.rows(spec, completed.columns, len(completed), categories(spec, completed))
    root = linalg.cholesky(fitted.cov, lower=True)
    betas = fitted.beta[:, None] + root @ rng.standard_normal((len(root), m))
    drawn = np.empty((len(completed), m))
    for rows, V in _covariances(fitted, completed, Z):
        gone = is_missing[rows]
        if not gone.any():
            continue
        o, g = rows[~gone], rows[gone]
        G = linalg.solve(V[np.ix_(~gone, ~gone)], V[np.ix_(~gone, gone)], assume_a="pos").T
        left = V[np.ix_(gone, gone)] - G @ V[np.ix_(~gone, gone)]
        noise = linalg.cholesky((left + left.T) / 2, lower=True) @ rng.standard_normal((len(g), m))
        drawn[g] = X[g] @ betas + G @ (y[o, None] - X[o] @ betas) + noise
    return drawn[is_missing]


def _covariances(
    fitted: Fitted, data: LongData, Z: tuple[Array, ...]
) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """Rows of each highest unit, and the covariance of their ratings."""
    bounds = np.append(data.units[0].start, len(data))
    starts = [next(units.start for units in data.units if units.group == group) for group in fitted.groups]
    for begin, end in pairwise(bounds):
        rows = np.arange(begin, end)
        V = fitted.sigma**2 * np.eye(len(rows))
        for block, T, start in zip(Z, fitted.T, starts, strict=True):
            unit = np.searchsorted(start, rows, side="right")
            V += (block[rows] @ T @ block[rows].T) * (unit[:, None] == unit[None, :])
        yield rows, V


def _pooled(delta: float, fits: Sequence[tuple[FixedEffect, ...]]) -> DeltaRow:
    """Rubin's rules for each fixed effect."""
    m = len(fits)
    if m < 2:
        return DeltaRow(delta, (), (), m)
    pooled = [_rubin(effects) for effects in zip(*fits, strict=True)]
    return DeltaRow(delta, tuple(row for row, _ in pooled), tuple(share for _, share in pooled), m)


def _rubin(effects: Sequence[FixedEffect]) -> tuple[FixedEffect, float]:
    """One effect pooled, and lambda."""
    m = len(effects)
    estimates = np.array([row.estimate for row in effects])
    between = (1 + 1 / m) * float(estimates.var(ddof=1))
    total = float(np.mean([row.se**2 for row in effects])) + between
    share = between / total
    nu = float(np.mean([np.inf if row.df is None else row.df for row in effects]))
    of_complete = 0.0 if np.isinf(nu) else (nu + 3) / ((1 - share) * nu * (nu + 1))
    precision = share**2 / (m - 1) + of_complete
    df = 1 / precision if precision > 0 else np.inf
    estimate, se = float(estimates.mean()), float(np.sqrt(total))
    t, p, lower, upper = t_test(estimate, se, df)
    shown = None if np.isinf(df) else df
    return FixedEffect(effects[0].term, estimate, se, shown, t, p, lower, upper), share


def _first_tipping(side: Sequence[tuple[float, FixedEffect]]) -> Iterator[Tipping]:
    """The first change of the answer along one side, which begins at delta = 0."""
    for (delta, old), (next_delta, new) in pairwise(side):
        was, becomes = _conclusion(old), _conclusion(new)
        if was == becomes:
            continue
        # The limit that passes zero: the lower one of an effect that is, or becomes, positive.
        is_lower = (becomes if was == "none" else was) == "positive"
        a, b = (old.lower, new.lower) if is_lower else (old.upper, new.upper)
        yield Tipping(delta + (next_delta - delta) * a / (a - b), was, becomes)
        return


def _conclusion(effect: FixedEffect) -> Conclusion:
    if effect.lower > 0:
        return "positive"
    return "negative" if effect.upper < 0 else "none"
