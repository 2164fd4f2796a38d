"""Effect sizes of a growth model: shares of variance, explained variance, reliability, level and growth.

All are stated at a time t, since the variance of the level depends on where time is counted from.  With the
random effects (b0, b1) of intercept and time of one level, Cov(b) = T, level and growth at t are

    (b0 + t b1, b1) = M b,   M = [[1, t], [0, 1]],   T(t) = M T M'

    shares        T(t)[0, 0] of each level and sigma^2, over their sum; the intraclass correlation of two
                  ratings at t in one unit is the sum of the shares of its level and those above
    pseudo-R2     1 - T_large(t)[i, i] / T_small(t)[i, i], and the same of sigma^2: the proportional drop when
                  predictors enter (Raudenbush & Bryk 2002, Hierarchical Linear Models, 2nd ed., ch. 4 and 8)
    reliability   lambda_k = T(t)[i, i] / (T(t)[i, i] + S_k[i, i])   (the same, ch. 3)

where S_k is the covariance of the least squares estimate of unit k's level and growth given those effects:
with V_j the covariance of the ratings of therapy j of that unit given the unit's own effects, and Z_j their
rows (1, time - t),

    S_k = (sum_j Z_j'V_j^-1 Z_j)^-1,   Z'V^-1Z = G (sigma^2 I + T_low(t) G)^-1,   G = Z_j'Z_j
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .compare import require_nested
from .covariance import Array
from .data import LongData
from .errors import SpecError
from .formula import is_name
from .results import FitResult
from .store import UnitSums, corrected_sums

# Below this share of what it could be, a determinant is zero: the unit's ratings are all of one time.
RANK_TOLERANCE = 1e-10
# Where all lines of a singular T meet, this share of the variance is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class VarianceShare:
    """Variance between the units of one level (`group` None: the residual), its share, and the ICC."""

    group: str | None
    variance: float
    share: float
    icc: float | None


@dataclass(frozen=True)
class VarianceShares:
    """Where the variance of a rating at `time` lies, the highest level first and the residual last."""

    time: float
    rows: tuple[VarianceShare, ...]
    total: float
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def variance_shares(result: FitResult, time: float = 0.0) -> VarianceShares:
    """Shares of the levels and of the residual in the variance of a rating at `time`, fixed effects apart.

    Raises SpecError for a fit without estimates or with random effects other than intercept and time.
    """
    levels = _levels(result, time)
    variances = [(level.group, float(level.T[0, 0])) for level in levels]
    residual = _sigma(result) ** 2
    total = sum(variance for _, variance in variances) + residual
    rows = []
    shared = 0.0
    for group, variance in variances:
        shared += variance
        rows.append(VarianceShare(group, variance, variance / total, shared / total))
    rows.append(VarianceShare(None, residual, residual / total, None))
    return VarianceShares(time, tuple(rows), total, _basis(result))


@dataclass(frozen=True)
class VarianceDrop:
    """Variance of `what` (`level`, `growth` or `residual`) in both models; `drop` is None from zero."""

    group: str | None
    what: str
    before: float
    after: float
    drop: float | None


@dataclass(frozen=True)
class PseudoR2:
    """Proportional drops of the variances when predictors enter, level variances at `time`."""

    time: float
    rows: tuple[VarianceDrop, ...]
    notes: tuple[str, ...]
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def pseudo_r2(small: FitResult, large: FitResult, time: float = 0.0) -> PseudoR2:
    """Drop of each variance from `small` to `large`, which adds predictors to the same random effects.

    A negative drop is shown as it is.  Fits by REML are taken too.  Raises SpecError for fits that
    `require_nested` refuses and for models whose random effects differ.
    """
    require_nested(small, large)
    if [(row.group, row.terms) for row in small.random] != [(row.group, row.terms) for row in large.random]:
        raise SpecError("explained variance needs the same random effects in both models: change one")
    rows = [
        _drop(before.group, what, float(before.T[i, i]), float(after.T[i, i]))
        for before, after in zip(_levels(small, time), _levels(large, time), strict=True)
        for i, what in enumerate(("level", "growth")[: 1 + before.has_growth])
    ]
    rows.append(_drop(None, "residual", _sigma(small) ** 2, _sigma(large) ** 2))
    notes = []
    if any(row.drop is not None and row.drop < 0 for row in rows):
        notes.append(
            "a variance may rise by chance, by the degrees of freedom that REML gives up, or because what "
            "predictors explain elsewhere uncovers it (Snijders & Bosker 1994, Sociol Methods Res 22, 342): "
            "that is no explained share"
        )
    if any(row.drop is None for row in rows):
        notes.append("a variance of zero in the smaller model leaves nothing to explain")
    return PseudoR2(time, tuple(rows), tuple(notes), f"{_basis(large)}, against {small.formula}")


def _drop(group: str | None, what: str, before: float, after: float) -> VarianceDrop:
    return VarianceDrop(group, what, before, after, 1 - after / before if before > 0 else None)


@dataclass(frozen=True)
class LevelGrowth:
    """Correlation of level at a time and growth between the units of one level; None with a `message`."""

    group: str
    correlation: float | None
    message: str


@dataclass(frozen=True)
class LevelGrowthCorrelations:
    """Whether units with a higher level at `time` grow more (positive) or less (negative)."""

    time: float
    rows: tuple[LevelGrowth, ...]
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def level_growth_correlations(result: FitResult, time: float = 0.0) -> LevelGrowthCorrelations:
    """Correlation of level at `time` and growth at each level of the model.

    Raises SpecError for a fit without estimates or with random effects other than intercept and time.
    """
    rows = []
    for level in _levels(result, time):
        size = float(np.sqrt(level.T[0, 0] * level.T[1, 1]))
        if not level.has_growth:
            rows.append(LevelGrowth(level.group, None, "the model gives all units the same growth"))
        elif size == 0:
            rows.append(LevelGrowth(level.group, None, "the variance of level or growth is zero"))
        else:
            rows.append(LevelGrowth(level.group, float(np.clip(level.T[0, 1] / size, -1, 1)), ""))
    return LevelGrowthCorrelations(time, tuple(rows), _basis(result))


@dataclass(frozen=True)
class UnitReliability:
    """Reliability of one unit's level and growth; None where its ratings cannot tell them apart."""

    label: tuple[str, ...]
    level: float | None
    growth: float | None


@dataclass(frozen=True)
class Reliability:
    """Reliability of the units of `group`, the highest level, each by its own ratings and on average.

    `level` and `growth` are means over the units that have one (`n_with`); `growth` is None in a model
    without random growth.
    """

    group: str
    time: float
    level: float | None
    growth: float | None
    n_with: int
    units: tuple[UnitReliability, ...]
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def reliability(result: FitResult, data: LongData | UnitSums, time: float = 0.0) -> Reliability:
    """How far differences between the highest units' own estimates at `time` are true differences.

    `data`: those of the fit.  Fixed effects count as known.  Raises SpecError for other data, for a fit
    without estimates and for random effects other than intercept and time.
    """
    if result.fingerprint != data.fingerprint:
        raise SpecError("reliability needs the data of the fit: these have another fingerprint")
    levels = _levels(result, time)
    top = levels[0]
    q = 1 + top.has_growth
    A = _precision(result, data, levels, time)[:, :q, :q]
    is_full = np.linalg.det(A) > RANK_TOLERANCE * np.prod(np.diagonal(A, axis1=1, axis2=2), axis=1)
    true = np.diag(top.T)[:q]
    sampling = np.diagonal(np.linalg.inv(A[is_full]), axis1=1, axis2=2)
    values = np.full((len(A), 2), np.nan)
    values[is_full, :q] = true / (true + sampling)
    labels = next(units.labels for units in data.units if units.group == top.group)
    return Reliability(
        group=top.group,
        time=time,
        level=_mean(values[:, 0]),
        growth=_mean(values[:, 1]),
        n_with=int(np.count_nonzero(is_full)),
        units=tuple(
            UnitReliability(label, _number(level), _number(growth))
            for label, (level, growth) in zip(labels, values.tolist(), strict=True)
        ),
        basis=_basis(result),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _mean(values: Array) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None


@dataclass(frozen=True, eq=False)
class _LevelAt:
    """T(t) (2, 2) of one level, growth being zero where the level has none."""

    group: str
    T: Array
    has_growth: bool


def _levels(result: FitResult, time: float) -> list[_LevelAt]:
    """The highest level first; SpecError where there is not one straight line per unit."""
    if not result.is_fitted:
        raise SpecError(f"{result.formula!r} has no estimates ({result.status}: {result.message})")
    slope = _slope(result)
    M = np.array([[1.0, time], [0.0, 1.0]])
    levels = []
    for row in sorted(result.random, key=lambda row: result.n[row.group]):
        place = [0 if term == "Intercept" else 1 for term in row.terms]
        T = np.zeros((2, 2))
        T[np.ix_(place, place)] = row.cov
        at_time = M @ T @ M.T
        if at_time[0, 0] <= ROUNDING * (T[0, 0] + time**2 * T[1, 1]):
            at_time[0, :] = at_time[:, 0] = 0.0
        levels.append(_LevelAt(row.group, at_time, slope in row.terms))
    return levels


def _slope(result: FitResult) -> str | None:
    """The column of time."""
    slopes = {term for row in result.random for term in row.terms} - {"Intercept"}
    if (
        len(slopes) > 1
        or not all(map(is_name, slopes))
        or any("Intercept" not in r.terms for r in result.random)
    ):
        raise SpecError(
            "level and growth need random effects of an intercept and one column of time at every level, "
            f"not {result.formula!r}"
        )
    return next(iter(slopes), None)


def _precision(result: FitResult, data: LongData | UnitSums, levels: list[_LevelAt], time: float) -> Array:
    """S_k^-1 (K, 2, 2) of the highest units, in the coding (1, time - t)."""
    low, slope = data.units[-1], _slope(result)
    first = next(units.start for units in data.units if units.group == levels[0].group)
    if isinstance(data, UnitSums):
        n, mean, squares = data.n, data.mean_time, data.css_time
    else:
        first = np.searchsorted(low.start, first)
        n = np.diff(low.start, append=len(data)).astype(np.float64)
        t = np.zeros(len(data)) if slope is None else data.columns[slope]
        (mean,), ((squares,),) = corrected_sums([t], low.start, n)
    off = mean - time
    G = np.array([[n, n * off], [n * off, squares + n * off**2]]).transpose(2, 0, 1)
    T_low = levels[1].T if len(levels) == 2 else np.zeros((2, 2))
    of_low = G @ np.linalg.inv(_sigma(result) ** 2 * np.eye(2) + T_low @ G)
    return np.add.reduceat(of_low, first, axis=0)


def _sigma(result: FitResult) -> float:
    if result.sigma is None:
        raise SpecError(f"{result.formula!r} has no estimates ({result.status}: {result.message})")
    return result.sigma


def _basis(result: FitResult) -> str:
    units = ", ".join(f"{result.n[row.group]} {row.group}" for row in result.random)
    return f"{result.method} fit of {result.formula}: {result.n['rows']} ratings, {units}"
