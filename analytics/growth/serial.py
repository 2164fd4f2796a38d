"""Serial correlation of the residuals of one therapy: corr(e_s, e_s') = phi^|s - s'| for sessions s and s'.

The continuous autoregression of order one (Jones & Boadi-Boateng 1991, Biometrics 47, 161-175; corCAR1 of
Pinheiro & Bates 2000, Mixed-Effects Models in S and S-PLUS, sec. 5.3.1).  With the rows of a therapy in the
order of their sessions and rho_i = phi^(s_i - s_(i-1)), 0 for its first row,

    e*_i = (e_i - rho_i e_(i-1)) / sqrt(1 - rho_i^2),   log|R| = sum log(1 - rho_i^2)

has independent e* of the variance sigma^2.  So y, X and every Z whitened in this way make an ordinary
model, and its deviance plus log|R| is the deviance at phi, for ML and REML.  phi is profiled: searched for on
[0, 1), the other parameters fitted at each value, on the scale of the correlation over the median gap.

phi = 0 lies on the edge of that range: chi-square with one degree of freedom is the reference for a phi that
could be negative as well, and its p is twice that of the one-sided question, the cautious side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import linalg, optimize, stats

from .covariance import Array, change_coding
from .data import LongData
from .design import Design, design_of_matrices, require_rows
from .engine import converged, estimates
from .errors import DataError, Unfittable
from .inference import infer
from .objective import Objective
from .optimize import Search, search
from .results import FixedEffect, Status
from .rows import categories, model_rows
from .spec import GrowthSpec

# Correlations over the typical gap at which the profile is first looked at.  Beyond the last one serial
# correlation and a random intercept can hardly be told apart.
GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.995)
CHI2_95 = float(stats.chi2.ppf(0.95, 1))
# So far above the least deviance the rest of the grid is not looked at.
GIVE_UP = 25.0
FAR = 1e6


@dataclass(frozen=True)
class SerialCorrelation:
    """phi, the residual correlation of two ratings one session apart, and what it changes.

    `lower` and `upper` bound the 95 % profile interval on [0, 1); `upper` is None where the deviance does not
    rise by 3.84 up to the largest correlation looked at.  `chi2`, `p`: likelihood-ratio test of phi = 0 with
    one degree of freedom.  `fixed` takes phi as known, `independent` is the fit with phi = 0.  Where `status`
    is not `ok` there is no phi, and `message` says why: `edge` if the deviance still falls at the largest
    correlation looked at, else the status of the fit with phi = 0.
    """

    status: Status | Literal["edge"]
    message: str = ""
    phi: float | None = None
    lower: float | None = None
    upper: float | None = None
    deviance: float | None = None
    deviance_independent: float | None = None
    chi2: float | None = None
    p: float | None = None
    fixed: tuple[FixedEffect, ...] = ()
    independent: tuple[FixedEffect, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class SerialModel:
    """Rows of the model in the order of the sessions of each therapy; `gap` (N,) is inf where one begins."""

    data: LongData
    spec: GrowthSpec
    names: tuple[str, ...]
    X: Array
    y: Array
    Z: tuple[Array, ...]
    gap: Array

    @classmethod
    def of(cls, data: LongData, spec: GrowthSpec, session: ArrayLike) -> SerialModel:
        """`session` (N,): numbers, one for each row of `data`; DataError where two are equal in a therapy."""
        sessions = np.asarray(session, dtype=np.float64)
        if sessions.shape != (len(data),) or not np.isfinite(sessions).all():
            raise DataError(f"session must be {len(data)} finite numbers, one for each row of the data")
        start = data.units[-1].start
        unit = np.searchsorted(start, np.arange(len(data)), side="right")
        order = np.lexsort((sessions, unit))
        gap = np.diff(sessions[order], prepend=-np.inf)
        gap[start] = np.inf
        if not (gap > 0).all():
            row = int(data.row_numbers[order][np.argmin(gap)])
            raise DataError(
                f"row {row}: a second rating of a {data.units[-1].group} at one session; keep one of them",
                column="session",
                row=row,
            )
        columns = {name: column[order] for name, column in data.columns.items()}
        names, X, Z = model_rows(spec, columns, len(data), categories(spec, data))
        return cls(data, spec, names, X, columns[spec.outcome], Z, gap)

    def design(self, phi: float) -> tuple[Design, float]:
        """Design of the whitened rows, and log|R|."""
        rho = phi**self.gap
        size = np.sqrt(1 - rho**2)[:, None]

        def white(M: Array) -> Array:
            out: Array = (M - rho[:, None] * np.roll(M, 1, axis=0)) / size
            return out

        random = [(term, white(Z)) for term, Z in zip(self.spec.random, self.Z, strict=True)]
        design = design_of_matrices(
            self.names, white(self.X), white(self.y[:, None])[:, 0], random, self.data, self.spec.outcome
        )
        return design, float(2 * np.log(size).sum())


@dataclass(frozen=True, eq=False)
class _Point:
    """The fit at one phi."""

    deviance: float
    design: Design
    objective: Objective
    found: Search

    def fixed(self, model: SerialModel) -> tuple[FixedEffect, ...]:
        """Fixed effects, through the gate that an ordinary fit must pass."""
        parts = self.design, self.objective, self.found
        n_high = len(model.data.units[0])
        inference = infer(self.design, self.objective, self.found, model.spec.df, n_high)
        fixed: tuple[FixedEffect, ...] = estimates(*parts, inference)["fixed"]
        return fixed


class _Profile:
    """Fits at correlations r over the typical gap, each started from the one before."""

    def __init__(self, model: SerialModel, tick: Callable[[], None] | None = None) -> None:
        self.tick = tick
        gaps = model.gap[np.isfinite(model.gap)]
        if not len(gaps):
            raise Unfittable(
                "insufficient_data", "no therapy has two ratings: their residuals cannot correlate"
            )
        self.model = model
        self.typical_gap = float(np.median(gaps))
        self.factors: list[Array] | None = None
        self.known: dict[float, float] = {}

    def phi(self, r: float) -> float:
        """Correlation of two ratings one session apart."""
        return float(r ** (1 / self.typical_gap))

    def at(self, r: float) -> _Point:
        """The fit at r; raises Unfittable."""
        if self.tick is not None:
            self.tick()
        design, log_det = self.model.design(self.phi(r))
        objective = Objective(design.statistics, design.levels, reml=self.model.spec.method == "reml")
        start = None
        if self.factors is not None:
            pairs = zip(design.levels, self.factors, strict=True)
            start = objective.theta([change_coding(level.R, Lambda) for level, Lambda in pairs])
        found = converged(search(objective, start), self.model.spec.outcome)
        self.factors = [
            change_coding(linalg.inv(level.R), Lambda)
            for level, Lambda in zip(design.levels, objective.factors(found.theta), strict=True)
        ]
        deviance = found.evaluation.deviance + design.deviance_shift(reml=objective.reml) + log_det
        self.known[r] = deviance
        return _Point(deviance, design, objective, found)

    def deviance(self, r: float) -> float:
        """The deviance at r, infinite where there is none."""
        if r not in self.known:
            try:
                self.at(r)
            except Unfittable:
                self.known[r] = np.inf
        return self.known[r]


def serial_correlation(
    data: LongData, spec: GrowthSpec, session: ArrayLike, tick: Callable[[], None] | None = None
) -> SerialCorrelation:
    """Fit the model with serially correlated residuals inside the lowest units.

    `session` (N,): numbers in the order of the rows of `data` (those of the data as given, taken at
    `data.row_numbers - 1`).  `tick` is called before each of the fits, some dozens.  What the data cannot
    support is a status of the result.  Raises DataError for sessions that are not finite numbers or that a
    therapy has twice.
    """
    model = SerialModel.of(data, spec, session)
    try:
        require_rows(data, spec.random)
        profile = _Profile(model, tick)
        independent = profile.at(0.0)
        return _fitted(profile, independent)
    except Unfittable as reason:
        return SerialCorrelation(reason.status, reason.message)


def _fitted(profile: _Profile, independent: _Point) -> SerialCorrelation:
    grid = np.full(len(GRID), np.inf)
    grid[0] = independent.deviance
    for i, r in enumerate(GRID[1:], start=1):
        grid[i] = profile.deviance(r)
        if grid[i] > grid.min() + GIVE_UP:
            break
    best = int(np.argmin(grid))
    zero: dict[str, Any] = {
        "deviance_independent": independent.deviance,
        "independent": independent.fixed(profile.model),
    }
    if best == len(GRID) - 1:
        return SerialCorrelation(
            "edge",
            f"the deviance still falls at a correlation of {GRID[-1]:g} over {profile.typical_gap:g} "
            "sessions: serial correlation cannot be told from the random effects",
            **zero,
        )
    inside = optimize.minimize_scalar(
        profile.deviance,
        bounds=(GRID[max(best - 1, 0)], GRID[best + 1]),
        method="bounded",
        options={"xatol": 1e-5},
    )
    estimate = float(inside.x) if inside.fun < independent.deviance - 1e-9 else 0.0
    point = profile.at(estimate)
    rise = grid - point.deviance - CHI2_95

    def excess(x: float) -> float:
        return float(min(profile.deviance(x) - point.deviance - CHI2_95, FAR))

    lower, upper = 0.0, None
    if rise[0] > 0:
        lower = profile.phi(optimize.brentq(excess, 0.0, estimate, xtol=1e-5))
    above = [x for x, high in zip(GRID, rise, strict=True) if x > estimate and high > 0]
    if above:
        upper = profile.phi(optimize.brentq(excess, estimate, above[0], xtol=1e-5))
    chi2 = max(independent.deviance - point.deviance, 0.0)
    return SerialCorrelation(
        "ok",
        phi=profile.phi(estimate),
        lower=lower,
        upper=upper,
        deviance=point.deviance,
        chi2=chi2,
        p=float(stats.chi2.sf(chi2, 1)),
        fixed=point.fixed(profile.model),
        **zero,
    )
