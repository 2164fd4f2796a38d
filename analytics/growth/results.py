"""What a fit gives back: an immutable record that goes through JSON without loss.

A number that does not exist is None: no result holds NaN, and none holds a zero that was not estimated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

ENGINE = "analytics.growth 2.1.1"

Status = Literal["ok", "singular", "not_converged", "no_variation", "insufficient_data", "timed_out"]
FITTED: tuple[Status, ...] = ("ok", "singular")
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class FixedEffect:
    """One fixed effect; df is None for Wald tests, lower and upper bound the 95 % interval."""

    term: str
    estimate: float
    se: float
    df: float | None
    t: float
    p: float
    lower: float
    upper: float


@dataclass(frozen=True)
class RandomEffects:
    """(Co)variance of one level in units of the outcome; correlations are None where an SD is zero."""

    group: str
    terms: tuple[str, ...]
    sd: tuple[float, ...]
    corr: tuple[tuple[float | None, ...], ...]
    cov: Matrix


@dataclass(frozen=True)
class Convergence:
    """How the search ended.

    `decrease`: deviance that a further Newton step promises.  `smallest_curvature`: smallest eigenvalue of
    the Hessian over the largest.  `check`: largest disagreement with the second road of `gls`
    (relative for the log-likelihood and SEs, in SEs for the fixed effects).
    """

    steps: int
    decrease: float
    smallest_curvature: float
    check: float


@dataclass(frozen=True)
class FitResult:
    """A fitted growth model, or the reason why there is none.

    `status` is `ok`; `singular` (fitted, a covariance matrix is on its boundary); or, without any number,
    `not_converged`, `timed_out`, `no_variation` or `insufficient_data`; `message` says why.  `loglik` is
    lme4's logLik (for REML, REML criterion / -2), `deviance` -2 times that.  `vcov_fixed` is the covariance
    that the SEs come from (adjusted, for Kenward-Roger); `vcov_variances` that of the elements of the random
    terms' `cov`, lower triangles column by column in the order of the terms, and of sigma^2, empty for two
    raters and in results of earlier engines.  `theta`: relative Cholesky factors in the order of
    the spec's terms, to start the next fit from.  `n`: rows used, rows dropped, and units per group.
    `fingerprint` is of all data used, `fingerprints` of each column and level.  `seconds`: time of the fit.
    """

    status: Status
    message: str
    outcome: str
    formula: str
    method: str
    df_method: str | None
    loglik: float | None
    deviance: float | None
    aic: float | None
    bic: float | None
    sigma: float | None
    fixed: tuple[FixedEffect, ...]
    random: tuple[RandomEffects, ...]
    vcov_fixed: Matrix
    vcov_variances: Matrix
    theta: tuple[float, ...]
    n: Mapping[str, int]
    convergence: Convergence | None
    engine: str
    libraries: Mapping[str, str]
    fingerprint: str
    fingerprints: Mapping[str, str]
    seconds: float

    @property
    def is_fitted(self) -> bool:
        """Whether the result holds estimates."""
        return self.status in FITTED

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings, numbers and None, ready for JSON."""
        plain: dict[str, Any] = _plain(self)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The result that `to_dict` was made from; raises KeyError if a field is missing."""
        values = {"vcov_variances": [], **values}
        fields = {name: values[name] for name in cls.__dataclass_fields__}
        convergence = fields["convergence"]
        fields["fixed"] = tuple(FixedEffect(**row) for row in fields["fixed"])
        fields["random"] = tuple(
            RandomEffects(**{k: _tuples(v) for k, v in row.items()}) for row in fields["random"]
        )
        fields["vcov_fixed"] = _tuples(fields["vcov_fixed"])
        fields["vcov_variances"] = _tuples(fields["vcov_variances"])
        fields["theta"] = _tuples(fields["theta"])
        fields["convergence"] = None if convergence is None else Convergence(**convergence)
        return cls(**fields)


@dataclass(frozen=True)
class PairedResidual:
    """Residuals of two raters of a session: SD of each, by the rater's name, and their correlation."""

    sd: Mapping[str, float]
    rho: float


@dataclass(frozen=True)
class Contrast:
    """A predictor's effect on the first rater minus that on the second; `effect` is `level` or `growth`.

    `p_holm` and `p_bh`: adjusted over all contrasts of the result.
    """

    predictor: str
    effect: str
    estimate: float
    se: float
    df: float | None
    t: float
    p: float
    p_holm: float
    p_bh: float
    lower: float
    upper: float


@dataclass(frozen=True)
class DifferenceTest:
    """Level and growth of one predictor at once: no difference between the raters; p as it is, not adjusted.

    `F` with (`q`, `df`) degrees of freedom (`df` None: chi-square / q), or None with too few units for it.
    `lr` and `lr_p`: likelihood ratio of fits by ML and its chi-square p with `q` df, None where it was not
    asked for or a fit failed.
    """

    predictor: str
    F: float | None
    q: int
    df: float | None
    p: float | None
    lr: float | None
    lr_p: float | None


@dataclass(frozen=True)
class JointResult(FitResult):
    """A fitted joint model of two raters, or the reason why there is none.

    As FitResult; `sigma` is the residual SD of the first rater, which `to_dict` gives in `residual` alone.
    Random coefficients and fixed effects are named by rater: `P`, `P:time`, `P:x`, `P:time:x`.
    """

    residual: PairedResidual | None
    contrasts: tuple[Contrast, ...]
    tests: tuple[DifferenceTest, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings, numbers and None, ready for JSON."""
        return {name: value for name, value in super().to_dict().items() if name != "sigma"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The result that `to_dict` was made from; raises KeyError if a field is missing."""
        residual = None if values["residual"] is None else PairedResidual(**values["residual"])
        return super().from_dict(
            {
                **values,
                "sigma": None if residual is None else residual.sd[min(residual.sd)],
                "residual": residual,
                "contrasts": tuple(Contrast(**row) for row in values["contrasts"]),
                "tests": tuple(DifferenceTest(**row) for row in values["tests"]),
            }
        )


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
