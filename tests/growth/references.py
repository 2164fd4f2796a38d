"""Reference numbers beside those of one lme4 fit, and the naive twin of every model they come from.

The twin takes stored variances, builds the covariance matrix of each highest unit's ratings whole, and does
generalised least squares with it: y ~ N(X beta, V), V block diagonal, nothing profiled, nothing shared with
the engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np
import pandas as pd

from tests.growth.dense import REFERENCE, frame, models

JOINT = "joint_j1"
JOINT_PREDICTORS = ("anxiety", "negative_reaction", "flow")
JOINT_TERMS = ("P", "P:time", "T", "T:time")


def joint_frame() -> pd.DataFrame:
    """One row a rating: therapist, patient, session, time, rater (P or T), y and three predictors."""
    return frame(JOINT)


def joint_reference() -> dict[str, Any]:
    """The joint model of both raters: `fits` by method, and lme4's `separate` fits by rater and method."""
    return models(JOINT)


@cache
def _likelihood_ratio_tests() -> dict[str, list[dict[str, Any]]]:
    return json.loads((REFERENCE / "likelihood_ratio_tests.json").read_text())


def likelihood_ratio_tests(dataset: str) -> list[dict[str, Any]]:
    """Tests between two models of one data set, none for data sets without nested models."""
    return _likelihood_ratio_tests().get(dataset, [])


def column(rows: pd.DataFrame, term: str) -> np.ndarray:
    """The column of a term such as `Intercept`, `time:x`, `I(age^2)`, and `P:time` of the joint model."""

    def factor(name: str) -> np.ndarray:
        power = re.fullmatch(r"I\((\w+)\^(\d)\)", name)
        if power:
            return rows[power[1]].to_numpy(float) ** int(power[2])
        if name == "Intercept":
            return np.ones(len(rows))
        if name in ("P", "T") and "rater" in rows:
            return (rows["rater"] == name).to_numpy(float)
        return rows[name].to_numpy(float)

    return reduce(np.multiply, map(factor, term.split(":")))


def matrix(rows: pd.DataFrame, terms: Sequence[str]) -> np.ndarray:
    return np.column_stack([column(rows, term) for term in terms])


def units(rows: pd.DataFrame, group: str) -> np.ndarray:
    """Label of each row's unit, `1:7` for patient 7 of therapist 1."""
    labels = [rows[name].astype(str) for name in group.split(":")]
    return reduce(lambda higher, lower: higher + ":" + lower, labels).to_numpy()


@dataclass(frozen=True)
class Marginal:
    """Generalised least squares at given variances; `rows` and `V` of each block, `X` as it went in."""

    loglik: float
    beta: np.ndarray
    vcov: np.ndarray
    blocks: tuple[tuple[np.ndarray, np.ndarray], ...]


def marginal(
    y: np.ndarray,
    X: np.ndarray,
    of_block: np.ndarray,
    covariance: Callable[[np.ndarray], np.ndarray],
    *,
    reml: bool,
) -> Marginal:
    """`of_block` (n,) names the independent block of each row, `covariance` makes V of a block's rows."""
    n, p = X.shape
    log_det, XVX, XVy, yVy, blocks = 0.0, np.zeros((p, p)), np.zeros(p), 0.0, []
    for block in pd.unique(of_block):
        rows = np.flatnonzero(of_block == block)
        V = covariance(rows)
        VX, Vy = np.linalg.solve(V, X[rows]), np.linalg.solve(V, y[rows])
        log_det += np.linalg.slogdet(V)[1]
        XVX, XVy, yVy = XVX + X[rows].T @ VX, XVy + X[rows].T @ Vy, yVy + y[rows] @ Vy
        blocks.append((rows, V))
    beta = np.linalg.solve(XVX, XVy)
    deviance = (n - p if reml else n) * np.log(2 * np.pi) + log_det + yVy - XVy @ beta
    if reml:
        deviance += np.linalg.slogdet(XVX)[1]
    return Marginal(float(-deviance / 2), beta, np.linalg.inv(XVX), tuple(blocks))


def marginal_of(rows: pd.DataFrame, formula: str, fit: dict[str, Any], *, reml: bool) -> Marginal:
    """lme4's model at the variances of a stored `fit`; `rows` must be complete."""
    parts = [
        (matrix(rows, entry["terms"]), pd.factorize(units(rows, entry["group"]))[0], np.array(entry["cov"]))
        for entry in fit["random"]
    ]

    def covariance(at: np.ndarray) -> np.ndarray:
        V = fit["sigma"] ** 2 * np.eye(len(at))
        for Z, unit, T in parts:
            V += (Z[at] @ T @ Z[at].T) * (unit[at][:, None] == unit[at][None, :])
        return V

    highest = min((entry["group"] for entry in fit["random"]), key=len)
    return marginal(
        rows[formula.split(" ~ ")[0]].to_numpy(float),
        matrix(rows, [row["term"] for row in fit["fixed"]]),
        pd.factorize(units(rows, highest))[0],
        covariance,
        reml=reml,
    )


def joint_marginal(rows: pd.DataFrame, fit: dict[str, Any], *, reml: bool) -> Marginal:
    """The joint model at the variances of a `fit`: as stored, or of the same form."""
    Z = matrix(rows, JOINT_TERMS)
    therapist, patient = rows["therapist"].to_numpy(), rows["patient"].to_numpy()
    session, is_t = rows["session"].to_numpy(), (rows["rater"] == "T").to_numpy().astype(int)
    T = {entry["group"]: np.array(entry["cov"]) for entry in fit["random"]}
    sd_P, sd_T, rho = (fit["residual"][name] for name in ("sd_P", "sd_T", "rho"))
    R = np.array([[sd_P**2, rho * sd_P * sd_T], [rho * sd_P * sd_T, sd_T**2]])

    def covariance(at: np.ndarray) -> np.ndarray:
        same_patient = patient[at][:, None] == patient[at][None, :]
        same_session = same_patient & (session[at][:, None] == session[at][None, :])
        V = Z[at] @ T["therapist"] @ Z[at].T + (Z[at] @ T["patient"] @ Z[at].T) * same_patient
        return V + R[is_t[at][:, None], is_t[at][None, :]] * same_session

    terms = [row["term"] for row in fit["fixed"]]
    return marginal(rows["y"].to_numpy(float), matrix(rows, terms), therapist, covariance, reml=reml)
