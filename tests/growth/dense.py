"""The naive twin of the engine: the whole V as one matrix, inverted, in the user's own coding.

And the way from a reference's lme4 formula to data and spec.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analytics.growth import GrowthSpec, LongData
from analytics.growth.covariance import change_coding
from analytics.growth.design import build_design
from analytics.growth.deviance import Evaluation
from analytics.growth.objective import Objective

REFERENCE = Path(__file__).parent / "reference"


@cache
def frame(name: str) -> pd.DataFrame:
    with gzip.open(REFERENCE / f"{name}.csv.gz", "rt") as file:
        return pd.read_csv(file)


@cache
def models(name: str) -> dict[str, Any]:
    return json.loads((REFERENCE / f"{name}.json").read_text())


def spec_of(formula: str, **options: Any) -> GrowthSpec:
    """lme4's `y ~ x + (1 + x | g)` as a spec."""
    random = re.findall(r"\(([^()]*\|[^()]*)\)", formula)
    return GrowthSpec.from_formula(re.sub(r"\+ \([^()]*\|[^()]*\)", "", formula), random, **options)


@dataclass(frozen=True)
class Dense:
    """REML or ML at fixed theta from n x n matrices."""

    deviance: float
    beta: np.ndarray
    cov: np.ndarray
    sigma: float


def dense_fit(
    y: np.ndarray, X: np.ndarray, terms: list[tuple[np.ndarray, np.ndarray, np.ndarray]], *, reml: bool
) -> Dense:
    """`terms`: Z (n, q), unit of each row (n,), Lambda (q, q) of each level."""
    n, p = X.shape
    V = np.eye(n)
    for Z, units, Lambda in terms:
        V = V + (Z @ Lambda @ Lambda.T @ Z.T) * (units[:, None] == units[None, :])
    V_inv = np.linalg.inv(V)
    XVX = X.T @ V_inv @ X
    beta = np.linalg.solve(XVX, X.T @ V_inv @ y)
    r = y - X @ beta
    dof = n - p if reml else n
    s2 = r @ V_inv @ r / dof
    deviance = np.linalg.slogdet(V)[1] + dof * (1 + np.log(2 * np.pi * s2))
    if reml:
        deviance += np.linalg.slogdet(XVX)[1]
    return Dense(float(deviance), beta, s2 * np.linalg.inv(XVX), float(np.sqrt(s2)))


@dataclass(frozen=True)
class Problem:
    """The engine's objective beside the data it was made from."""

    data: LongData
    spec: GrowthSpec

    def __post_init__(self) -> None:
        design = build_design(self.data, self.spec)
        object.__setattr__(self, "design", design)
        object.__setattr__(
            self,
            "objective",
            Objective(design.statistics, design.levels, reml=self.spec.method == "reml"),
        )

    def working(self, factors: list[np.ndarray]) -> np.ndarray:
        """theta of the engine's coding for one Lambda per term in the user's coding."""
        return self.objective.theta(
            [change_coding(lv.R, L) for lv, L in zip(self.design.levels, factors, strict=True)]
        )

    def evaluate(self, factors: list[np.ndarray]) -> Evaluation:
        return self.objective.evaluate(self.working(factors))

    def deviance(self, factors: list[np.ndarray]) -> float:
        shift = self.design.deviance_shift(reml=self.spec.method == "reml")
        return self.evaluate(factors).deviance + shift

    def dense(self, factors: list[np.ndarray], X: np.ndarray) -> Dense:
        """The twin at the same Lambdas; `X` is built by the test, from the sorted columns."""
        n = len(self.data)
        units = {u.group: np.searchsorted(u.start, np.arange(n), side="right") for u in self.data.units}
        terms = []
        for term, Lambda in zip(self.spec.random, factors, strict=True):
            Z = np.column_stack([np.ones(n) if c == "1" else self.data.columns[c] for c in term.columns])
            terms.append((Z, units[term.group], Lambda))
        return dense_fit(self.data.columns[self.spec.outcome], X, terms, reml=self.spec.method == "reml")


def simulated(
    seed: int,
    *,
    n_therapists: int = 12,
    n_patients: int = 4,
    times: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0),
    therapist_sd: tuple[float, float] = (0.5, 0.2),
    patient_sd: tuple[float, float] = (0.8, 0.3),
    sigma: float = 0.5,
    beta: tuple[float, float] = (5.0, 0.1),
) -> dict[str, np.ndarray]:
    """Columns y, time, x (of the therapist), therapist, patient (label repeats across therapists)."""
    rng = np.random.default_rng(seed)
    n, m = n_therapists * n_patients, len(times)
    therapist = np.repeat(np.arange(n_therapists), n_patients * m)
    patient = np.tile(np.repeat(np.arange(n_patients), m), n_therapists)
    time = np.tile(times, n)
    u = (rng.normal(size=(n_therapists, 2)) * therapist_sd)[therapist]
    v = (rng.normal(size=(n, 2)) * patient_sd)[np.repeat(np.arange(n), m)]
    x = rng.normal(size=n_therapists)[therapist]
    y = beta[0] + u[:, 0] + v[:, 0] + (beta[1] + u[:, 1] + v[:, 1]) * time + sigma * rng.normal(size=n * m)
    return {"y": y, "time": time, "x": x, "therapist": therapist, "patient": patient}
