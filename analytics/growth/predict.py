"""What a fitted model expects of a therapy's next ratings, and of the population of therapies.

A rating of a therapy of a therapist, with random effects u of the therapist and v of the therapy, is

    y = x'beta + z_u'u + z_v'v + e,   u ~ N(0, T_u),   v ~ N(0, T_v),   e ~ N(0, sigma^2)

**The course of one therapy.**  What is known of u before its own ratings is N(m, S): from nothing, m = 0 and
S = T_u; from other therapies of the therapist, m, S and D = dm/dbeta of `modes`.  Given own earlier ratings
y_o with rows X_o, Z_uo and Z_vo, let A = Cov(y_o) = Z_uo S Z_uo' + Z_vo T_v Z_vo' + sigma^2 I,
a = Cov(y_o, y) and w = A^-1 a:

    mean      x'beta + z_u'm + w'(y_o - X_o beta - Z_uo m)
    variance  z_u'S z_u + z_v'T_v z_v + sigma^2 - a'w + d' Cov(beta) d,   d = x + D'z_u - (X_o + Z_uo D)'w

which, with m, S and D from the therapist's other therapies, is the best linear unbiased prediction of a new
rating (Henderson 1975, Biometrics 31, 423-447).  Without them it is the best linear prediction from the
therapy's own ratings; as beta then rests on the same therapist's other patients too, which the variance does
not know, the band is slightly too wide.

**The course of the population** is x'beta with standard error sqrt(x'Cov(beta)x).  The true course of a new
therapy of a new therapist lies about it with the variance z_u'T_u z_u + z_v'T_v z_v.

T and sigma are taken as known, unless a course is asked to allow for their estimation.  Then the variance
of a course has one more term, for what errors of the variances do to the weights (Kackar & Harville 1984, J
Am Stat Assoc 79, 853-862): with C the covariance of the elements s_k of every T and of sigma^2,

    sum_kl C_kl r_k' A^-1 r_l,    r_k = da/ds_k - (dA/ds_k) w,    as  dw/ds_k = A^-1 r_k

The variances of a therapist whose other therapies are given (`modes`) count as known there, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from .covariance import Array, Shape
from .errors import DataError, SpecError
from .modes import TherapistEffects
from .results import FitResult
from .rows import Categories, Fitted, ModelRows, Values, column_of
from .spec import GrowthSpec


@dataclass(frozen=True, eq=False)
class Course:
    """Prediction of a new rating at each of `times` (n,), in units of the outcome.

    `sd` (n,): standard deviation of the prediction's error.  `level`: probability that the band from `lower`
    to `upper` holds the rating; `dataclasses.replace(course, level=0.95)` has another band.  `n_ratings`
    (n,): this therapy's ratings that each prediction rests on.  `basis`: what it rests on, in words.
    """

    times: Array
    mean: Array
    sd: Array
    level: float
    n_ratings: NDArray[np.intp]
    basis: str

    @property
    def lower(self) -> Array:
        """Lower bound of the band (n,)."""
        return self.mean - _normal_quantile(self.level) * self.sd

    @property
    def upper(self) -> Array:
        """Upper bound of the band (n,)."""
        return self.mean + _normal_quantile(self.level) * self.sd


@dataclass(frozen=True, eq=False)
class PopulationCourse:
    """Mean of all therapies at each of `times` (n,), and how far the true courses of new therapies spread.

    `se` and `df` (n,): of the mean; df are inf where the quantile is the normal one.  `lower`, `upper`: its
    confidence interval at `level`.  `sd` (n,): of a new therapy of a new therapist about the estimated mean,
    without residuals; `therapies(0.8)` holds eight of ten of them.  `basis`: what it rests on, in words.
    """

    times: Array
    mean: Array
    se: Array
    df: Array
    level: float
    sd: Array
    basis: str

    @property
    def lower(self) -> Array:
        """Lower confidence limit of the mean (n,)."""
        return self.mean - _t_quantile(self.level, self.df) * self.se

    @property
    def upper(self) -> Array:
        """Upper confidence limit of the mean (n,)."""
        return self.mean + _t_quantile(self.level, self.df) * self.se

    def therapies(self, share: float) -> tuple[Array, Array]:
        """Bounds (n,) of the range that holds this share of new therapies' true courses."""
        _require_probability("share", share)
        half = _normal_quantile(share) * self.sd
        return self.mean - half, self.mean + half


def expected_course(
    result: FitResult,
    times: ArrayLike,
    observed_times: ArrayLike,
    observed_values: ArrayLike,
    level: float = 0.80,
    *,
    with_variances: bool = False,
) -> Course:
    """Prediction at each of `times` from this therapy's ratings strictly before it.

    So an expected value never rests on the rating that it is compared with.  For models of intercept and
    time, from the stored result alone; for others there is `therapy_course`.  `observed_times` and
    `observed_values` (m,) may come in any order; `level` is the probability that the band holds the rating.
    `with_variances`: allow for the estimation of the variances, where the result holds their covariance.
    Raises SpecError if the result has no estimates or its model has other effects than intercept and time,
    DataError if the arguments are not finite numbers of equal length.
    """
    fitted = Fitted.of(result)
    terms = [row.terms for row in result.random]
    slopes = {name for names in (fitted.names, *terms) for name in names} - {"Intercept"}
    if len(slopes) > 1 or not all(name.isidentifier() for name in slopes):
        raise SpecError(
            f"an expected course needs a model of intercept and time alone, not {result.formula!r}"
        )
    at, t_obs, y_obs = (_numbers(values) for values in (times, observed_times, observed_values))

    def rows(t: Array) -> ModelRows:
        X, *Z = (
            np.column_stack([np.ones(len(t)) if name == "Intercept" else t for name in names])
            for names in (fitted.names, *terms)
        )
        return X, tuple(Z)

    return _course(fitted, (at, t_obs, y_obs), rows(at), rows(t_obs), level, None, with_variances)


def therapy_course(
    result: FitResult,
    spec: GrowthSpec,
    at: Values,
    observed: Values | None = None,
    *,
    axis: str,
    level: float = 0.80,
    therapist: TherapistEffects | None = None,
    known: Categories | None = None,
) -> Course:
    """Prediction at the n values `at` from this therapy's ratings that are earlier by the column `axis`.

    `at` and `observed` hold each column that the spec uses, with one value for each row or one for all, and
    `axis`, the order of which is that of time (a column of the model, or the session beside them); `observed`
    holds the outcome too.  `therapist`: what other therapies say of the therapist; None if there are none or
    they are not to be used.  `known`: the `categories` of text predictors.  Raises SpecError if the result
    has no estimates or is not of this spec, DataError for columns that are not there or not finite.
    """
    fitted = Fitted.of(result)
    when = _numbers(column_of(at, axis))
    rows = fitted.rows(spec, at, len(when), known)
    t_obs, y_obs, rows_obs = when[:0], when[:0], (rows[0][:0], tuple(Z[:0] for Z in rows[1]))
    if observed is not None:
        t_obs, y_obs = (_numbers(column_of(observed, name)) for name in (axis, spec.outcome))
        if len(t_obs):
            rows_obs = fitted.rows(spec, observed, len(t_obs), known)
    return _course(fitted, (when, t_obs, y_obs), rows, rows_obs, level, therapist)


def population_course(
    result: FitResult,
    spec: GrowthSpec,
    at: Values,
    *,
    axis: str,
    level: float = 0.95,
    df: ArrayLike | Callable[[Array], Array] | None = None,
    known: Categories | None = None,
) -> PopulationCourse:
    """Mean of all therapies at the n values `at`, with its confidence interval and the spread of therapies.

    `at`, `axis` and `known` as in `therapy_course`.  The limits are those of t with `df` degrees of freedom:
    a number, one for each row, or a function of the rows X (n, p) as `FixedInference.df` is; without it, with
    the smallest df of the fixed effects that enter the row, and normal ones where the fit has none (Wald).
    Raises as `therapy_course` does.
    """
    fitted = Fitted.of(result)
    _require_probability("level", level)
    when = _numbers(column_of(at, axis))
    X, Z = fitted.rows(spec, at, len(when), known)
    if df is None:
        own = np.array([np.inf if row.df is None else row.df for row in result.fixed])
        df_rows = np.where(X != 0, own, np.inf).min(axis=1)
    else:
        df_rows = np.resize(np.asarray(df(X) if callable(df) else df, dtype=np.float64), len(X))
        if not (df_rows > 0).all():
            raise DataError(f"df must be positive, not {df_rows.min():g}")
    variance = np.einsum("ip,pq,iq->i", X, fitted.cov, X)
    spread = sum((np.einsum("ip,pq,iq->i", z, T, z) for z, T in zip(Z, fitted.T, strict=True)), variance)
    limits = "normal quantiles" if np.isinf(df_rows).all() else f"t with {df_rows.min():.1f} df or more"
    return PopulationCourse(
        times=when,
        mean=X @ fitted.beta,
        se=np.sqrt(variance),
        df=df_rows,
        level=level,
        sd=np.sqrt(spread),
        basis=f"{_model(result)}; limits by {limits}",
    )


def _course(
    fitted: Fitted,
    axis: tuple[Array, Array, Array],
    at: ModelRows,
    observed: ModelRows,
    level: float,
    therapist: TherapistEffects | None,
    with_variances: bool = False,
) -> Course:
    """The prediction of the module's head; `axis`: times of the rows `at`, of the observed ones, and y."""
    _require_probability("level", level)
    (times, t_obs, y_obs), (X, Z), (X_obs, Z_obs) = axis, at, observed
    if t_obs.shape != y_obs.shape:
        raise DataError("observed times and values must be finite numbers of equal length")
    T, mean, mean_obs = list(fitted.T), X @ fitted.beta, X_obs @ fitted.beta
    basis = f"{_model(fitted.result)}; this therapy's ratings before each time"
    if therapist is None and np.array_equal(times, t_obs) and (np.diff(times) > 0).all():
        mean, sd = _successive(fitted, y_obs, X, Z, with_variances)
        return Course(times, mean, sd, level, np.arange(len(times), dtype=np.intp), basis)
    if therapist is not None:
        u = fitted.groups.index(therapist.group)
        T[u] = therapist.variance
        mean, mean_obs = mean + Z[u] @ therapist.mode, mean_obs + Z_obs[u] @ therapist.mode
        X, X_obs = X + Z[u] @ therapist.slope, X_obs + Z_obs[u] @ therapist.slope
        basis += f"; {therapist.n_ratings} ratings of other therapies of {':'.join(therapist.label)}"

    sd, n_ratings = np.empty(len(times)), np.empty(len(times), dtype=np.intp)
    for i, t in enumerate(times):
        before = t_obs < t
        n_ratings[i] = before.sum()
        A, a, own = fitted.sigma**2 * np.eye(n_ratings[i]), np.zeros(n_ratings[i]), fitted.sigma**2
        for z, z_obs, S in zip(Z, Z_obs, T, strict=True):
            SZ = S @ z_obs[before].T
            A, a, own = A + z_obs[before] @ SZ, a + z[i] @ SZ, own + z[i] @ S @ z[i]
        w = linalg.solve(A, a, assume_a="pos") if len(a) else a
        d = X[i] - w @ X_obs[before]
        mean[i] += w @ (y_obs - mean_obs)[before]
        variance = own - a @ w + d @ fitted.cov @ d
        if with_variances and fitted.cov_variances is not None and len(a):
            known = None if therapist is None else fitted.groups.index(therapist.group)
            variance += _of_weights(
                fitted.cov_variances, [z[i] for z in Z], [z[before] for z in Z_obs], A, w, known
            )
        sd[i] = np.sqrt(variance)
    return Course(times, mean, sd, level, n_ratings, basis)


def _successive(
    fitted: Fitted, y: Array, X: Array, Z: Sequence[Array], with_variances: bool
) -> tuple[Array, Array]:
    """Mean and SD of each rating y_i from those before it, for rows in the order of time.

    With V = Cov(y) = LL', one factor serves all of them: row i of B = diag(L) L^-1 is (-w_i', 1, 0), so the
    error of the prediction is (B(y - X beta))_i, d_i is row i of BX, own - a'w is L_ii^2, and L_<i^-1, of the
    ratings before i, is the leading block of L^-1.
    """
    V = fitted.sigma**2 * np.eye(len(y)) + sum(z @ S @ z.T for z, S in zip(Z, fitted.T, strict=True))
    L = np.linalg.cholesky(V)
    # The triangular solvers of SciPy wake threads for a matrix as small as this, which takes far longer.
    inverse = np.tril(np.linalg.inv(L))
    B = np.diag(L)[:, None] * inverse
    # Not y - B(y - X beta): a rating must not leave so much as a rounding error in its own expectation.
    expected = X @ fitted.beta
    mean = expected - np.tril(B, -1) @ (y - expected)
    d = B @ X
    variance = np.diag(L) ** 2 + np.einsum("ip,pq,iq->i", d, fitted.cov, d)
    if with_variances and fitted.cov_variances is not None:
        # L_<i^-1 r_k for every variance, with z_i - Z_<i' w_i = row i of BZ
        units = [(inverse @ z, B @ z, Shape(z.shape[1], correlated=True).unit_covariances()) for z in Z]
        for i in range(1, len(y)):
            rows = [M[:i] @ (E @ u[i]) for M, u, Es in units for E in Es]
            r = np.array([*rows, inverse[:i, :i] @ B[i, :i]])
            variance[i] += np.sum(fitted.cov_variances * (r @ r.T))
    return mean, np.sqrt(variance)


def _of_weights(
    C: Array, z: Sequence[Array], z_obs: Sequence[Array], A: Array, w: Array, known: int | None
) -> float:
    """What the estimation of the variances adds by way of the weights, at one time; `known`: the random term
    whose variances are not estimated here."""
    rows = []
    for level, (own, others) in enumerate(zip(z, z_obs, strict=True)):
        for E in Shape(len(own), correlated=True).unit_covariances():
            r = others @ E @ (own - others.T @ w)
            rows.append(np.zeros_like(r) if level == known else r)
    rows.append(-w)
    r = np.array(rows)
    return float(np.sum(C * (r @ linalg.solve(A, r.T, assume_a="pos"))))


def _model(result: FitResult) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in result.n.items() if name != "dropped")
    return f"{result.formula} by {result.method.upper()} ({counts})"


def _numbers(values: ArrayLike) -> Array:
    numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if numbers.ndim != 1:
        raise DataError("times and observed values must be one-dimensional")
    if not np.isfinite(numbers).all():
        raise DataError("times and observed values must be finite numbers")
    return numbers


def _require_probability(what: str, value: float) -> None:
    if not 0 < value < 1:
        raise DataError(f"{what} must be between 0 and 1, not {value}")


def _normal_quantile(level: float) -> float:
    return float(special.ndtri((1 + level) / 2))


def _t_quantile(level: float, df: Array) -> Array:
    is_normal = np.isinf(df)
    of_t = special.stdtrit(np.where(is_normal, 1.0, df), (1 + level) / 2)
    out: Array = np.where(is_normal, _normal_quantile(level), of_t)
    return out
