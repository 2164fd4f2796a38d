"""Cohorts drawn from a stated truth, and new outcomes drawn from a fitted model.

Patient i of therapist j at planned session s, rated by r (one rater or two), with t = (s - origin) / unit and
x_jk ~ N(0, 1) the predictors of the therapist:

    y_rij(s) = beta_r0 + beta_r1 t + sum_k x_jk (a_rk + c_rk t)
                 + u_rj0 + u_rj1 t + v_rij0 + v_rij1 t + e_rij(s)

    u_j ~ N(0, therapist_cov), v_ij ~ N(0, patient_cov)     level, growth of the first rater, then the second
    e_rij(s) ~ N(0, sigma_r^2), correlation rho between the two raters of one session, otherwise independent

A `Form` then records y as the mean of its items.  Ratings are lost one by one, completely at random, and by
dropout: a therapy ends after a session but the last with

    logit P(end | ratings) = logit(hazard) + slope (last - at)

where `last` is one rater's latest recorded rating (Diggle & Kenward 1994, Appl Stat 43, 49-93).  That is
missing at random (Rubin 1976, Biometrika 63, 581-592) for a model that holds this rater's ratings; for the
other rater analysed alone it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .covariance import Array, factor_of
from .data import LongData
from .errors import SpecError
from .formula import is_name, model_columns
from .results import FitResult, Matrix
from .spec import GrowthSpec, RandomTerm

Columns = dict[str, NDArray[Any]]
Seed = int | np.random.SeedSequence | np.random.Generator

OWN_COLUMNS = ("therapist", "patient", "session", "time", "rater", "y")


@dataclass(frozen=True)
class Form:
    """How a rating is written down: as the mean of `n_items` items, cut at the ends of the response scale.

    Means are multiples of 1 / n_items; without `n_items` they are not rounded.
    """

    minimum: float = 1
    maximum: float = 7
    n_items: int | None = 12

    def __post_init__(self) -> None:
        _require(self.minimum < self.maximum, f"a form from {self.minimum} to {self.maximum} has no range")
        _require(
            self.n_items is None or self.n_items >= 1, f"a form has at least one item, not {self.n_items}"
        )

    def record(self, y: Array) -> Array:
        """Scores of the same shape as `y`."""
        means = y if self.n_items is None else np.rint(y * self.n_items) / self.n_items
        return np.clip(means, self.minimum, self.maximum)


@dataclass(frozen=True)
class Perspective:
    """The truth of one rater: fixed effects and residual SD, in points of the outcome.

    `effects`: (level, growth) per SD of a predictor, growth per unit of time; a predictor not named has none.
    `missing`: share of this rater's single ratings that are lost.  `form`: None leaves the ratings normal.
    """

    rater: str
    intercept: float
    time: float
    sigma: float
    effects: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    missing: float = 0.0
    form: Form | None = None

    def __post_init__(self) -> None:
        _require(bool(self.rater), "a rater needs a name")
        _require(
            bool(np.isfinite([self.intercept, self.time]).all()),
            f"intercept and time of rater {self.rater!r} must be finite numbers",
        )
        _require(0 < self.sigma < np.inf, f"sigma of rater {self.rater!r} must be positive, not {self.sigma}")
        _require(
            0 <= self.missing < 1,
            f"missing of rater {self.rater!r} is a share from 0 to below 1, not {self.missing}",
        )
        for name, effect in self.effects.items():
            _require(
                is_name(name) and name not in OWN_COLUMNS,
                f"{name!r} cannot be the name of a predictor: "
                f"it must be a plain name other than {', '.join(OWN_COLUMNS)}",
            )
            _require(
                len(effect) == 2 and bool(np.isfinite(effect).all()),
                f"the effects of {name!r} on rater {self.rater!r} must be two finite numbers: level, growth",
            )


@dataclass(frozen=True)
class Truth:
    """All that is true of a cohort, of one rater or of two.

    `therapist_cov` and `patient_cov` are 2 x 2 for one rater, 4 x 4 for two: level and growth of the first
    perspective, then of the second.  `rho`: correlation of the two raters' residuals of one session.
    `predictor_corr` (k, k) is in the order of `predictors`; None for uncorrelated ones.
    Raises SpecError for a truth that cannot be.
    """

    perspectives: tuple[Perspective, ...]
    therapist_cov: Matrix
    patient_cov: Matrix
    rho: float = 0.0
    predictor_corr: Matrix | None = None

    def __post_init__(self) -> None:
        n = len(self.perspectives)
        _require(n in (1, 2), f"a truth states one rater or two, not {n}")
        _require(len(set(self.raters)) == n, f"both perspectives are of rater {self.raters[0]!r}")
        for name in ("therapist_cov", "patient_cov"):
            _require_covariance(name, getattr(self, name), 2 * n)
        _require(-1 < self.rho < 1, f"rho must be between -1 and 1, not {self.rho}")
        _require(n == 2 or self.rho == 0, "rho needs two raters; leave it out for one")
        if self.predictor_corr is not None:
            _require_covariance("predictor_corr", self.predictor_corr, len(self.predictors))
            _require(
                bool((np.diag(self.predictor_corr) == 1).all()),
                "predictor_corr must be a correlation matrix: predictors have variance 1",
            )

    @property
    def raters(self) -> tuple[str, ...]:
        """Names of the raters."""
        return tuple(view.rater for view in self.perspectives)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Names of the predictors, in order of appearance."""
        return tuple(dict.fromkeys(name for view in self.perspectives for name in view.effects))


@dataclass(frozen=True)
class Dropout:
    """Ends of therapies that depend on the last recorded rating of one rater.

    `hazard`: chance of the end after a session where that rating is `at`, or where there is none so far.
    `slope`: change of the log odds per point.  `rater`: None for the first of the truth.
    """

    hazard: float
    slope: float
    at: float
    rater: str | None = None

    def __post_init__(self) -> None:
        _require(
            0 < self.hazard < 1, f"hazard must be between 0 and 1, not {self.hazard}; for none, no Dropout"
        )
        _require(
            bool(np.isfinite([self.slope, self.at]).all()), "slope and at of Dropout must be finite numbers"
        )


@dataclass(frozen=True)
class StudyDesign:
    """Who is rated when.

    `n_patients`: patients of each therapist, one number or one for each therapist; with caseload `poisson`
    one number, the mean of 1 + Poisson(n_patients - 1).  `sessions` are the planned ones, with
    time = (session - origin) / unit.
    """

    n_therapists: int
    n_patients: float | tuple[int, ...]
    sessions: tuple[float, ...] = (3, 12, 20, 40)
    caseload: Literal["fixed", "poisson"] = "fixed"
    origin: float = 3
    unit: float = 10
    dropout: Dropout | None = None

    def __post_init__(self) -> None:
        _require(self.n_therapists >= 1, f"a study needs therapists, not {self.n_therapists}")
        _require(
            len(self.sessions) > 0
            and bool(np.isfinite(self.sessions).all() and (np.diff(self.sessions) > 0).all()),
            f"sessions {self.sessions} must be at least one number, each later than the one before",
        )
        _require(
            self.unit > 0 and bool(np.isfinite([self.origin, self.unit]).all()),
            f"the unit of time must be positive, not {self.unit}",
        )
        _require(
            self.caseload in ("fixed", "poisson"), f"caseload {self.caseload!r} must be fixed or poisson"
        )
        self._require_caseloads()

    def _require_caseloads(self) -> None:
        if not isinstance(self.n_patients, tuple):
            _require(1 <= self.n_patients < np.inf, f"each therapist needs patients, not {self.n_patients}")
            _require(
                self.caseload == "poisson" or self.n_patients == int(self.n_patients),
                f"{self.n_patients} patients is no whole number: for a mean state caseload 'poisson'",
            )
            return
        _require(self.caseload == "fixed", "a list of caseloads is fixed; for Poisson state the mean alone")
        _require(
            len(self.n_patients) == self.n_therapists and min(self.n_patients) >= 1,
            f"{self.n_therapists} therapists need one caseload each, of at least 1: not {self.n_patients}",
        )

    @property
    def times(self) -> Array:
        """Time of each planned session (m,)."""
        return (np.asarray(self.sessions, dtype=np.float64) - self.origin) / self.unit

    def caseloads(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Patients of each therapist (n_therapists,)."""
        if self.caseload == "poisson":
            mean = float(np.asarray(self.n_patients))
            return np.asarray(1 + rng.poisson(mean - 1, self.n_therapists), dtype=np.int64)
        return np.broadcast_to(np.asarray(self.n_patients, dtype=np.int64), self.n_therapists).copy()


def covariance(sd: Sequence[float], corr: ArrayLike) -> Matrix:
    """Covariance matrix of SDs (q,) and a correlation matrix (q, q), as `Truth` takes it."""
    cov = np.asarray(corr, dtype=np.float64) * np.outer(sd, sd)
    return tuple(tuple(float(value) for value in row) for row in cov)


def simulate(truth: Truth, design: StudyDesign, seed: Seed) -> Columns:
    """One cohort: a row for each planned rating, by therapist, patient, session and rater.

    Columns `therapist`, `patient` (numbered through the whole cohort), `session`, `time`, `rater`, `y` (NaN
    where the rating is missing) and each predictor.  Of one seed, designs that differ in dropout alone give
    the same ratings but for those that it takes away.  Raises SpecError if dropout names a rater that is not
    in the truth.
    """
    rng = np.random.default_rng(seed)
    caseloads = design.caseloads(rng)
    therapist = np.repeat(np.arange(len(caseloads)), caseloads)
    k, n = len(truth.predictors), len(therapist)
    x = _normal(rng, np.eye(k) if truth.predictor_corr is None else truth.predictor_corr, (len(caseloads),))
    u = _normal(rng, truth.therapist_cov, (len(caseloads),))
    v = _normal(rng, truth.patient_cov, (n,))
    e = _normal(rng, _residual_cov(truth), (n, len(design.sessions)))

    fixed = np.array([value for view in truth.perspectives for value in (view.intercept, view.time)])
    effects = np.array(
        [[view.effects.get(name, (0.0, 0.0)) for name in truth.predictors] for view in truth.perspectives]
    ).reshape(len(truth.raters), k, 2)
    lines = fixed + (np.einsum("jk,rkc->jrc", x, effects).reshape(len(u), -1) + u)[therapist] + v
    y = lines[:, None, 0::2] + lines[:, None, 1::2] * design.times[:, None] + e
    for r, view in enumerate(truth.perspectives):
        y[..., r] = y[..., r] if view.form is None else view.form.record(y[..., r])
    y[rng.random(y.shape) < [view.missing for view in truth.perspectives]] = np.nan
    y[_gone(rng, truth, design, y)] = np.nan

    _, m, n_raters = y.shape
    session, rater = np.repeat(design.sessions, n_raters), np.array(truth.raters)
    return {
        "therapist": np.repeat(therapist, m * n_raters),
        "patient": np.repeat(np.arange(n), m * n_raters),
        "session": np.tile(session, n),
        "time": np.tile((session - design.origin) / design.unit, n),
        "rater": np.tile(rater, n * m),
        "y": y.ravel(),
        **{name: np.repeat(x[therapist, i], m * n_raters) for i, name in enumerate(truth.predictors)},
    }


def rows_of(columns: Mapping[str, NDArray[Any]], rater: str) -> Columns:
    """The rows of one rater.  Raises SpecError if there are none."""
    own = columns["rater"] == rater
    _require(bool(own.any()), f"there are no rows of rater {rater!r}")
    return {name: column[own] for name, column in columns.items()}


def simulate_from_result(
    result: FitResult,
    columns: LongData | Mapping[str, ArrayLike] | pd.DataFrame,
    spec: GrowthSpec,
    seed: Seed,
    n_draws: int = 1,
) -> Array:
    """New outcomes (n_draws, N) on a given design, with the estimates of `result` as the truth.

    Random effects and residuals are drawn anew, fixed effects stay at their estimates: the parametric
    bootstrap.  Rows are in the order of `columns`, which needs no outcome; a row that lacks a used value (the
    outcome too, if there is one) gets NaN.  A Generator as `seed` lets draws be made in parts.  Raises
    SpecError for a result without estimates or of another model, DataError as `LongData.from_columns`.
    """
    _require(result.is_fitted, f"nothing can be simulated from a fit with status {result.status!r}")
    data, n_rows = _on_design(columns, spec)
    names, X = model_columns(spec.fixed, data.columns)
    _require(
        names == tuple(row.term for row in result.fixed)
        and [(row.group, row.terms) for row in result.random]
        == [(term.group, term.names) for term in spec.random],
        f"the result is of {result.formula!r}, with other columns than the spec has on this design",
    )
    rng = np.random.default_rng(seed)
    y: Array = X @ np.array([row.estimate for row in result.fixed])
    y = y + rng.normal(0.0, float(result.sigma or 0.0), (n_draws, len(data)))
    units = {level.group: level for level in data.units}
    for term, row in zip(spec.random, result.random, strict=True):
        start = units[term.group].start
        b = _normal(rng, row.cov, (n_draws, len(start)))
        sizes = np.diff(start, append=len(data))
        y += np.einsum("dnq,nq->dn", np.repeat(b, sizes, axis=1), _random_columns(term, data))
    if isinstance(columns, LongData):
        return y
    placed = np.full((n_draws, n_rows), np.nan)
    placed[:, data.row_numbers - 1] = y
    return placed


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise SpecError(message)


def _require_covariance(name: str, matrix: ArrayLike, size: int) -> None:
    M = np.array(matrix, dtype=np.float64) if _is_square(matrix, size) else np.empty((0, 0))
    _require(M.shape == (size, size), f"{name} must be {size} x {size}")
    _require(bool(np.isfinite(M).all()), f"{name} must hold finite numbers")
    _require(bool(np.allclose(M, M.T, rtol=1e-12, atol=0)), f"{name} is not symmetric")
    smallest = float(np.linalg.eigvalsh(M).min(initial=0.0))
    # Rounding of a matrix that is singular on purpose is not a negative variance.
    _require(
        smallest >= -1e-12 * np.abs(M).max(initial=0.0),
        f"{name} is no covariance matrix: its smallest eigenvalue is {smallest:.3g}; "
        "the correlations contradict each other",
    )


def _is_square(matrix: Any, size: int) -> bool:
    return len(matrix) == size and all(np.shape(row) == (size,) for row in matrix)


def _normal(rng: np.random.Generator, cov: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Draws (*shape, q) from N(0, cov); cov may be singular."""
    C = np.asarray(cov, dtype=np.float64)
    z = rng.standard_normal((*shape, len(C)))
    return np.asarray(z @ factor_of(C).T) if C.any() else np.zeros_like(z)


def _residual_cov(truth: Truth) -> Array:
    sigma = np.array([view.sigma for view in truth.perspectives])
    R = np.full((len(sigma), len(sigma)), truth.rho)
    np.fill_diagonal(R, 1.0)
    return R * np.outer(sigma, sigma)


def _gone(rng: np.random.Generator, truth: Truth, design: StudyDesign, y: Array) -> NDArray[np.bool_]:
    """Sessions (n, m) after the end of the therapy, from the ratings (n, m, raters) that were recorded."""
    n, m, _ = y.shape
    chance = rng.random((n, m))
    gone = np.zeros((n, m), dtype=bool)
    if design.dropout is None:
        return gone
    dropout = design.dropout
    rater = dropout.rater or truth.raters[0]
    _require(rater in truth.raters, f"dropout depends on rater {rater!r}, who is not in the truth")
    ratings = y[..., truth.raters.index(rater)]
    last = np.full(n, dropout.at)
    for s in range(m - 1):
        last = np.where(np.isnan(ratings[:, s]), last, ratings[:, s])
        hazard = special.expit(special.logit(dropout.hazard) + dropout.slope * (last - dropout.at))
        gone[:, s + 1] = gone[:, s] | (chance[:, s] < hazard)
    return gone


def _on_design(
    columns: LongData | Mapping[str, ArrayLike] | pd.DataFrame, spec: GrowthSpec
) -> tuple[LongData, int]:
    """Sorted data and the number of rows as given; an outcome that is not there is zero."""
    if isinstance(columns, LongData):
        return columns, len(columns)
    given: dict[Any, Any] = dict(columns.items())
    n_rows = len(next(iter(given.values()), ()))
    return LongData.from_columns({spec.outcome: np.zeros(n_rows), **given}, spec), n_rows


def _random_columns(term: RandomTerm, data: LongData) -> Array:
    """Z (N, q) of one level in the user's coding."""
    return np.column_stack(
        [
            np.ones(len(data)) if name == "1" else model_columns(f"0 + {name}", data.columns)[1][:, 0]
            for name in term.columns
        ]
    )
