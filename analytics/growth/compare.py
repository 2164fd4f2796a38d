"""Which of two nested models the data call for: likelihood ratio tests, AIC, BIC, parametric bootstrap.

With the deviances d of a smaller and a larger model that differ by k parameters, LR = d_small - d_large:

    parameters free on both sides        LR ~ chi2_k
    one variance among them              LR ~ 0.5 chi2_(k-1) + 0.5 chi2_k

since under the smaller model that variance is on the edge of its space (Self & Liang 1987, JASA 82, 605-610;
Stram & Lee 1994, Biometrics 50, 1171-1177): k - 1 is 0 for a random intercept, and q for a slope that is
correlated with q coefficients.  Several variances at once have no such mixture: chi2_k is then conservative.

REML likelihoods of models with different fixed effects are of different data and are not compared.

The parametric bootstrap draws outcomes from the fitted smaller model, on the same design, and fits both
models to each: p = (1 + #{LR* >= LR}) / (1 + n) needs no asymptotics (Davison & Hinkley 1997, Bootstrap
Methods and their Application, sec. 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from .data import LongData
from .engine import fit
from .errors import SpecError
from .results import FitResult, RandomEffects
from .simulate import simulate_from_result
from .spec import GrowthSpec

# Below this two log-likelihoods are the same number, reached in different steps.
ROUNDING = 1e-6
FEW_UNITS = 40

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ComparedModel:
    """One of the two models; `n_parameters` counts fixed effects, (co)variances and sigma."""

    formula: str
    n_parameters: int
    deviance: float
    aic: float
    bic: float


@dataclass(frozen=True)
class Comparison:
    """Likelihood ratio test of a smaller against a larger model.

    `p` is the mean of the upper tails of chi2 with `mixture_of_df` degrees of freedom, `p_naive` that of
    chi2_df.  Differences of AIC and BIC are larger minus smaller: negative speaks for the larger.  `notes`
    say where `p` is an approximation, and what to do then.
    """

    small: ComparedModel
    large: ComparedModel
    method: str
    statistic: float
    df: int
    mixture_of_df: tuple[int, ...]
    p: float
    p_naive: float
    aic_difference: float
    bic_difference: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Criteria:
    """AIC and BIC of two models of the same data, neither of which need contain the other.

    Differences are the second minus the first: negative speaks for the second.
    """

    small: ComparedModel
    large: ComparedModel
    method: str
    aic_difference: float
    bic_difference: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def criteria(first: FitResult, second: FitResult) -> Criteria:
    """AIC and BIC of two fits; raises SpecError where even they cannot be compared (data, method, REML)."""
    _require_same_data(first, second)
    if first.method == "reml" and _fixed(first) != _fixed(second):
        raise SpecError("REML does not compare fixed effects: refit both models with method ml")
    a, b = _compared(first), _compared(second)
    return Criteria(a, b, first.method, b.aic - a.aic, b.bic - a.bic)


def compare(small: FitResult, large: FitResult) -> Comparison:
    """Test of `small` against `large`, which must contain it.

    Raises SpecError, saying what to do, for fits that cannot be compared: without estimates, of different
    outcomes, data or methods, not nested, REML with different fixed effects, or with a larger model whose
    likelihood is the lower.
    """
    require_nested(small, large)
    if small.method == "reml" and _fixed(small) != _fixed(large):
        raise SpecError("REML does not compare fixed effects: refit both models with method ml")
    models = _compared(small), _compared(large)
    df = models[1].n_parameters - models[0].n_parameters
    if df == 0:
        raise SpecError(f"both fits are of the same model, {small.formula!r}")
    statistic = models[0].deviance - models[1].deviance
    if statistic < -ROUNDING:
        raise SpecError(
            f"the larger model's deviance is {-statistic:.3g} above the smaller's, so one of the fits is not "
            "at its optimum: fit the larger model again, without theta0"
        )
    statistic = statistic if statistic > ROUNDING else 0.0
    added = _added_variances(small, large)
    mixture = (df - 1, df) if len(added) == 1 else (df,)
    return Comparison(
        small=models[0],
        large=models[1],
        method=small.method,
        statistic=statistic,
        df=df,
        mixture_of_df=mixture,
        p=float(np.mean([_upper_tail(k, statistic) for k in mixture])),
        p_naive=_upper_tail(df, statistic),
        aic_difference=models[1].aic - models[0].aic,
        bic_difference=models[1].bic - models[0].bic,
        notes=tuple(_notes(small, large, added)),
    )


def require_nested(small: FitResult, large: FitResult) -> None:
    """Raise SpecError unless the fits are of one outcome, one set of data, one method, and nested."""
    _require_same_data(small, large)
    if not is_nested(small, large):
        advice = "swap them" if is_nested(large, small) else "compare them by AIC or BIC alone"
        raise SpecError(f"{small.formula!r} is not a part of {large.formula!r}: {advice}")


def _require_same_data(small: FitResult, large: FitResult) -> None:
    for result in (small, large):
        if not result.is_fitted:
            raise SpecError(
                f"{result.formula!r} has no estimates to compare ({result.status}: {result.message})"
            )
    if small.outcome != large.outcome:
        raise SpecError(f"the outcomes differ, {small.outcome!r} and {large.outcome!r}: compare within one")
    for name, fingerprint in small.fingerprints.items():
        if name == small.outcome and fingerprint != large.fingerprints.get(name):
            raise SpecError(
                "the models were fitted to different ratings, as when rows without predictors are left out: "
                "make one LongData with the spec of the larger model, and fit both to it"
            )
        if fingerprint != large.fingerprints.get(name, fingerprint):
            raise SpecError(
                f"{name.removeprefix('| ')!r} differs between the data of the two models, or in its "
                "coding: fit both to one LongData"
            )
    if small.method != large.method:
        raise SpecError(f"one fit is by {small.method}, the other by {large.method}: fit both by one method")


def _compared(result: FitResult) -> ComparedModel:
    if result.deviance is None or result.aic is None or result.bic is None:
        raise SpecError(f"{result.formula!r} has no likelihood to compare")
    n_parameters = round((result.aic - result.deviance) / 2)
    return ComparedModel(result.formula, n_parameters, result.deviance, result.aic, result.bic)


def _fixed(result: FitResult) -> set[str]:
    """Fixed terms, `a:b` and `b:a` being one."""
    return {":".join(sorted(row.term.split(":"))) for row in result.fixed}


def _random(result: FitResult) -> dict[frozenset[str], RandomEffects]:
    return {frozenset(row.group.split(":")): row for row in result.random}


def _has_covariances(result: FitResult, row: RandomEffects) -> bool:
    return len(row.terms) > 1 and f"|| {row.group})" not in result.formula


def is_nested(small: FitResult, large: FitResult) -> bool:
    """Whether the larger model contains the smaller, as far as the terms tell."""
    outer = _random(large)
    for group, row in _random(small).items():
        if group not in outer or not set(row.terms) <= set(outer[group].terms):
            return False
        if _has_covariances(small, row) and not _has_covariances(large, outer[group]):
            return False
    return _fixed(small) <= _fixed(large)


def _added_variances(small: FitResult, large: FitResult) -> list[str]:
    """Group of each variance that only the larger model has."""
    inner = _random(small)
    return [
        row.group
        for group, row in _random(large).items()
        for term in row.terms
        if group not in inner or term not in inner[group].terms
    ]


def _upper_tail(df: int, statistic: float) -> float:
    """P(chi2_df >= statistic); chi2_0 is zero."""
    if df == 0:
        return float(statistic <= 0)
    return float(special.chdtrc(df, statistic))


def _notes(small: FitResult, large: FitResult, added: list[str]) -> Iterator[str]:
    if len(added) > 1:
        yield (
            f"{len(added)} variances at once have no closed reference distribution: p is conservative, "
            "the parametric bootstrap is advised"
        )
    highest = min(large.n[row.group] for row in large.random)
    if _fixed(small) != _fixed(large) and highest < FEW_UNITS:
        yield (
            f"the chi-square of fixed effects holds for many units; with {highest} at the highest level p "
            "comes out too small: take Kenward-Roger's test, or the parametric bootstrap"
        )
    for group in dict.fromkeys(added):
        if large.n[group] < FEW_UNITS:
            yield (
                f"p holds for many units, and there are only {large.n[group]} of {group!r}: "
                "the parametric bootstrap is advised"
            )
    if small.status == "singular":
        yield (
            f"the smaller model is on the edge itself ({small.message}): p is approximate, "
            "the parametric bootstrap is advised"
        )


@dataclass(frozen=True)
class BootstrapComparison:
    """`comparison` with p from simulated data sets.

    `statistics`: LR* of those that both models could be fitted to; `n_unusable`: the others.  `p` is None
    where none could.
    """

    comparison: Comparison
    p: float | None
    statistics: tuple[float, ...]
    n_unusable: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def bootstrap_comparison(
    data: LongData,
    small_spec: GrowthSpec,
    large_spec: GrowthSpec,
    n: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> BootstrapComparison:
    """`compare` with p by parametric bootstrap from the smaller model, n times.

    `data` must hold the columns of the larger spec.  `progress` is told how many of n are done.  Raises
    SpecError as `compare`.
    """
    # The deviances are all that counts: no time is spent on degrees of freedom.
    small_spec, large_spec = replace(small_spec, df="wald"), replace(large_spec, df="wald")
    small, large = fit(data, small_spec), fit(data, large_spec)
    comparison = compare(small, large)
    statistics = []
    for drawn in _draws(data, small_spec, small, n, seed, progress):
        again = fit(drawn, small_spec, small.theta), fit(drawn, large_spec, large.theta)
        if again[0].deviance is not None and again[1].deviance is not None:
            statistic = again[0].deviance - again[1].deviance
            statistics.append(statistic if statistic > ROUNDING else 0.0)
    n_above = sum(statistic >= comparison.statistic for statistic in statistics)
    return BootstrapComparison(
        comparison=comparison,
        p=(1 + n_above) / (1 + len(statistics)) if statistics else None,
        statistics=tuple(statistics),
        n_unusable=n - len(statistics),
        seed=seed,
    )


@dataclass(frozen=True)
class Bootstrap:
    """Parametric bootstrap of one number of a fit: its value, its replicates, a percentile interval.

    `n_unusable`: data sets without an estimate.  The limits are None where the usable ones are too few to
    have that many beyond each limit; `message` says so.
    """

    value: float
    estimates: tuple[float, ...]
    lower: float | None
    upper: float | None
    level: float
    n_unusable: int
    seed: int
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def bootstrap(
    data: LongData,
    spec: GrowthSpec,
    statistic: Callable[[FitResult], float | None],
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    progress: Progress | None = None,
) -> Bootstrap:
    """Replicates of `statistic` over n data sets drawn from the fitted model, and their percentile interval.

    Where the statistic needs no degrees of freedom a spec with df "wald" saves time.  Raises SpecError if the
    statistic does not exist for the fit itself, ValueError for a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    result = fit(data, spec)
    value = _finite(statistic, result)
    if value is None:
        raise SpecError(f"the statistic has no value for the fit itself ({result.status}: {result.message})")
    replicates = [
        _finite(statistic, fit(drawn, spec, result.theta))
        for drawn in _draws(data, spec, result, n, seed, progress)
    ]
    estimates = [estimate for estimate in replicates if estimate is not None]
    tail = (1 - level) / 2
    enough = tail * len(estimates) >= 1
    lower, upper = np.quantile(estimates, [tail, 1 - tail]).tolist() if enough else (None, None)
    return Bootstrap(
        value=value,
        estimates=tuple(estimates),
        lower=lower,
        upper=upper,
        level=level,
        n_unusable=n - len(estimates),
        seed=seed,
        message="" if enough else f"{len(estimates)} estimates are too few for {level:.0%} limits: raise n",
    )


def _finite(statistic: Callable[[FitResult], float | None], result: FitResult) -> float | None:
    value = statistic(result) if result.is_fitted else None
    return float(value) if value is not None and np.isfinite(value) else None


def _draws(
    data: LongData, spec: GrowthSpec, result: FitResult, n: int, seed: int, progress: Progress | None
) -> Iterator[LongData]:
    """The data with n outcomes from the fitted model."""
    rng = np.random.default_rng(seed)
    for done in range(n):
        (y,) = simulate_from_result(result, data, spec, rng)
        yield replace(data, columns={**data.columns, spec.outcome: y})
        if progress is not None:
            progress(done + 1, n)
