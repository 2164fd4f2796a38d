"""Conditional modes: what the ratings say of the random effects of each unit.

With b the effects of a unit, Z its rows, V = Cov(y) / sigma^2 and T = Cov(b) / sigma^2, the mode of b given
y, and its variance where beta is taken as known, as in lme4's `condVar` (Laird & Ware 1982, Biometrics 38,
963-974, sec. 3; Bates, Maechler, Bolker & Walker 2015, J Stat Softw 67(1), sec. 3):

    b = T Z'V^-1 (y - X beta),   Cov(b | y) = sigma^2 (T - T Z'V^-1Z T)

In the working coding of `design`, Z_l = U P_l R_l and T_l = R_l^-1 Lambda Lambda' R_l^-T, so that U'V^-1 e
and U'V^-1U of each unit are enough.

For the prediction of one therapy its own ratings must be left out of what is known of the therapist.  With j
over the other therapies and V_j the covariance of their ratings given the therapist's effects u, all in units
of the outcome,

    S = (T^-1 + A)^-1 = (I + T A)^-1 T,   A = sum Z_j'V_j^-1Z_j,   m = S sum Z_j'V_j^-1 (y_j - X_j beta)

are variance and mode of u, and D = dm/dbeta = -S sum Z_j'V_j^-1X_j.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from .covariance import Array
from .data import Label, LongData
from .engine import Estimate
from .errors import DataError, SpecError
from .results import FitResult
from .rows import Fitted, categories
from .spec import GrowthSpec


@dataclass(frozen=True, eq=False)
class ConditionalModes:
    """Random effects of the n units of one level given all ratings, in units of the outcome.

    `labels` (n,), `modes` (n, q) and `variances` (n, q, q) go together; columns are those of `terms` (q,).
    """

    group: str
    terms: tuple[str, ...]
    labels: tuple[Label, ...]
    modes: Array
    variances: Array


@dataclass(frozen=True, eq=False)
class TherapistEffects:
    """What ratings of other therapies say of one therapist's random effects u.

    `mode` (q,) and `variance` (q, q) of u, `slope` (q, p) the derivative of the mode in beta, `n_ratings`
    that they rest on; `group` and `label` name the therapist.
    """

    group: str
    label: Label
    mode: Array
    variance: Array
    slope: Array
    n_ratings: int


def conditional_modes(estimate: Estimate) -> tuple[ConditionalModes, ...]:
    """Conditional modes (BLUPs) of every unit, one entry for each of the spec's random terms.

    Raises ValueError where the estimate has no numbers.
    """
    design, objective, found = estimate.parts
    ev, factors = found.evaluation, objective.factors(found.theta)
    labels = {units.group: units.labels for units in estimate.data.units}
    levels = []
    for level, Lambda in zip(design.levels, factors, strict=True):
        s, M = ev.unit_blocks(is_high=level.is_high)
        inside = level.P @ Lambda
        outside = design.scale * linalg.solve_triangular(level.R, Lambda)
        left = np.eye(len(Lambda))[:, :, None] - np.einsum("ua,uvn,vb->abn", inside, M, inside, optimize=True)
        variances = ev.s2 * np.einsum("ia,abn,jb->nij", outside, left, outside, optimize=True)
        levels.append(
            ConditionalModes(
                group=level.term.group,
                terms=level.term.names,
                labels=labels[level.term.group],
                modes=(outside @ (inside.T @ s)).T,
                variances=(variances + variances.transpose(0, 2, 1)) / 2,
            )
        )
    return tuple(levels)


def therapist_effects(
    result: FitResult,
    spec: GrowthSpec,
    data: LongData,
    therapist: str | Label,
    without: Label | None = None,
) -> TherapistEffects:
    """What one therapist's ratings in `data` say of the therapist, leaving out the therapy `without`.

    A therapy that is in the data must be left out for its own prediction: its ratings enter there once more.
    Labels are those of `data.units`: (therapist, patient) for a therapy.  Raises SpecError for a model of one
    level, DataError for a label that is not there.
    """
    fitted = Fitted.of(result)
    if len(data.units) < 2:
        raise SpecError("the model has no level above the therapy: therapies share nothing")
    high, low = data.units
    k = _find(high.labels, (therapist,) if isinstance(therapist, str) else therapist, high.group)
    left_out = -1 if without is None else _find(low.labels, without, low.group)
    begin, end = np.append(high.start, len(data))[k : k + 2]
    rows = np.arange(begin, end)
    unit = np.searchsorted(low.start, rows, side="right") - 1
    rows, unit = rows[unit != left_out], unit[unit != left_out]

    u, v = (fitted.groups.index(units.group) for units in data.units)
    T = fitted.T[u]
    q = len(T)
    A, B, s = np.zeros((q, q)), np.zeros((q, len(fitted.beta))), np.zeros(q)
    if len(rows):
        columns = {name: column[rows] for name, column in data.columns.items()}
        X, Z = fitted.rows(spec, columns, len(rows), categories(spec, data))
        residual = columns[spec.outcome] - X @ fitted.beta
        for j in np.unique(unit):
            own = unit == j
            Zu, Zv = Z[u][own], Z[v][own]
            V = Zv @ fitted.T[v] @ Zv.T + fitted.sigma**2 * np.eye(len(Zv))
            solved = linalg.solve(V, np.column_stack([Zu, X[own], residual[own]]), assume_a="pos")
            A, B, s = A + Zu.T @ solved[:, :q], B + Zu.T @ solved[:, q:-1], s + Zu.T @ solved[:, -1]
    variance = linalg.solve(np.eye(q) + T @ A, T)
    variance = (variance + variance.T) / 2
    return TherapistEffects(high.group, high.labels[k], variance @ s, variance, -variance @ B, len(rows))


def _find(labels: tuple[Label, ...], label: Label, group: str) -> int:
    if tuple(label) not in labels:
        raise DataError(f"there is no {group} {':'.join(label)!r} in the data")
    return labels.index(tuple(label))
