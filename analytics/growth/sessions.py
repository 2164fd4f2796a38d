"""Ratings of two raters by session: pairs, and the sums of them that the joint model needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import blocks
from .basis import orthonormal
from .covariance import Array
from .data import LongData
from .errors import DataError, Unfittable
from .formula import is_name
from .residual import Paired
from .spec import JointSpec
from .store import is_constant


def rater_names(data: LongData, spec: JointSpec) -> tuple[str, str]:
    """The two values of the rater column in alphabetical order; raises DataError if there are not two."""
    names = sorted(pd.unique(data.columns[spec.rater]).tolist())
    if len(names) != 2 and len(data):
        raise DataError(
            f"column {spec.rater!r} must name two raters, not {len(names)} ({', '.join(names[:5])})",
            column=spec.rater,
        )
    for name in names:
        if not is_name(name):
            raise DataError(
                f"column {spec.rater!r}: {name!r} must be one word of letters, digits and _ that begins with "
                "a letter, for effects are named by it",
                column=spec.rater,
            )
    return (names[0], names[1]) if names else ("first", "second")


@dataclass(frozen=True, eq=False)
class Sessions:
    """Ratings by session, sessions sorted by therapy: rows of the check and of the sums.

    `functions` (v, S): orthonormal functions of the session, 1 first; `coding`: each function that the model
    uses, by name, in them (v,).  `y` (2, S) the ratings, 0 where `rated` (2, S) says that there is none.
    `start` (J,): first session of each therapy.  `weights`: predictors constant in a highest unit (K,).
    `unit`: what the ratings of the second rater are divided by, so that both vary alike; the second rater's
    rows of X and Z are divided by it too, so that of the model only the residual changes.
    """

    functions: Array
    coding: Mapping[str, Array]
    weights: Mapping[str, Array]
    unit: float
    y: Array
    rated: NDArray[np.bool_]
    start: NDArray[np.intp]

    @property
    def patterns(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Sessions that both rated, the first alone, the second alone."""
        first, second = self.rated
        return first & second, first & ~second, ~first & second

    def squares(self) -> Array:
        """A of `residual.Paired`: (5, 2v, 2v, J)."""
        v = len(self.functions)
        A = np.zeros((5, 2 * v, 2 * v, len(self.start)))
        products = self.functions[:, None] * self.functions[None]
        both, first, second = (blocks.sums(products * pattern, self.start) for pattern in self.patterns)
        A[0, :v, :v] = A[2, v:, v:] = A[1, :v, v:] = A[1, v:, :v] = both
        A[3, :v, :v], A[4, v:, v:] = first, second
        return A

    def products(self, e: Array) -> tuple[Array, Array]:
        """B (5, 2v, J) and S (5,) of `residual.Paired` for residuals e (2, S), 0 where there is no rating."""
        v = len(self.functions)
        B = np.zeros((5, 2 * v, len(self.start)))
        both, first, second = self.patterns
        of_first, of_second = (blocks.sums(self.functions * (one * both), self.start) for one in e)
        B[0, :v] = B[1, v:] = of_first
        B[1, :v] = B[2, v:] = of_second
        B[3, :v] = blocks.sums(self.functions * (e[0] * first), self.start)
        B[4, v:] = blocks.sums(self.functions * (e[1] * second), self.start)
        S = [
            e[0] ** 2 @ both,
            2 * (e[0] * e[1]) @ both,
            e[1] ** 2 @ both,
            e[0] ** 2 @ first,
            e[1] ** 2 @ second,
        ]
        return B, np.array(S)

    def residuals(self, coefficients: Array) -> Array:
        """y - U c (2, S) for coefficients c (2v, J) of each therapy."""
        n_sessions = np.diff(self.start, append=self.y.shape[1])
        c = np.repeat(coefficients.reshape(2, len(self.functions), -1), n_sessions, axis=-1)
        out: Array = np.where(self.rated, self.y - np.einsum("rvs,vs->rs", c, self.functions), 0.0)
        return out

    def residual_sums(self, coefficients: Array, psi: Array) -> tuple[Array, float]:
        """U_j'R^-1e_j (u, J) and e'R^-1e, for the check of a fit."""
        B, S = self.products(self.residuals(coefficients))
        weights = Paired.weights(Paired.inverse(psi))
        return np.tensordot(weights, B, axes=1), float(weights @ S)


def sessions_of(data: LongData, spec: JointSpec, raters: tuple[str, str]) -> Sessions:
    """Sessions of long rows; raises DataError for rows that are not one rating a rater and session."""
    low = data.units[-1].start
    unit = np.repeat(np.arange(len(low)), np.diff(low, append=len(data)))
    rater_codes, rater_values = pd.factorize(data.columns[spec.rater])
    of_second = (rater_values == raters[1])[rater_codes]
    codes, uniques = pd.factorize(data.columns[spec.session])
    keys, first_row, session = np.unique(
        unit * max(len(uniques), 1) + codes, return_index=True, return_inverse=True
    )
    _require_one_rating(data, spec, session * 2 + of_second)
    S = len(keys)
    y, rated = np.zeros((2, S)), np.zeros((2, S), dtype=bool)
    y[of_second.astype(int), session] = data.columns[spec.outcome]
    rated[of_second.astype(int), session] = True
    if not rated.all(axis=0).any():
        raise Unfittable(
            "insufficient_data",
            f"no session was rated by both: check column {spec.session!r}, which pairs the ratings",
        )
    t = _of_session(data, spec.time, first_row, session)
    if np.ptp(t) == 0:
        raise Unfittable(
            "no_variation", f"column {spec.time!r} has the same value in all {len(data)} rows used"
        )
    second_unit = _second_unit(spec, raters, y, rated, t)
    y[1] /= second_unit
    rows, weights = {spec.time: t}, {}
    for name in spec.predictors:
        column = data.columns[name]
        if column.dtype.kind != "f":
            raise DataError(f"predictor {name!r} must be numeric", column=name)
        if np.ptp(column) == 0:
            raise Unfittable(
                "no_variation", f"predictor {name!r} has the same value in all {len(data)} rows used"
            )
        if is_constant(column, data.units[0].start):
            weights[name] = column[data.units[0].start]
        else:
            rows[name] = _of_session(data, name, first_row, session)
            rows[f"{spec.time}:{name}"] = t * rows[name]
    M = np.column_stack(list(rows.values()))
    centre = M.mean(axis=0)
    Q, triangle, _ = orthonormal(M - centre, S)
    coding = {"1": np.append(1.0, np.zeros(len(triangle)))}
    coding |= {name: np.append(centre[i], triangle[:, i]) for i, name in enumerate(rows)}
    functions = np.vstack([np.ones(S), Q.T])
    start = np.searchsorted(keys, np.arange(len(low)) * max(len(uniques), 1))
    return Sessions(functions, coding, weights, second_unit, y, rated, start)


def _second_unit(
    spec: JointSpec, raters: tuple[str, str], y: Array, rated: NDArray[np.bool_], t: Array
) -> float:
    sizes = []
    for rater, values, given in zip(raters, y, rated, strict=True):
        if np.ptp(t[given]) == 0:
            raise Unfittable("insufficient_data", f"{rater!r} rated at one value of {spec.time!r} only")
        if np.ptp(values[given]) == 0:
            raise Unfittable("no_variation", f"every rating of {rater!r} is {values[given][0]:g}")
        sizes.append(float(np.std(values[given])))
    return sizes[1] / sizes[0]


def _require_one_rating(data: LongData, spec: JointSpec, place: NDArray[np.intp]) -> None:
    _, first, count = np.unique(place, return_index=True, return_counts=True)
    if len(count) and count.max() > 1:
        doubled = np.flatnonzero(place == place[first[np.argmax(count)]])
        rows = np.sort(data.row_numbers[doubled])[:2]
        raise DataError(
            f"column {spec.session!r}, row {rows[1]}: the same rater rated this session in row {rows[0]} too",
            column=spec.session,
            row=int(rows[1]),
        )


def _of_session(data: LongData, name: str, first_row: NDArray[np.intp], session: NDArray[np.intp]) -> Array:
    """A column (S,) by session; raises DataError where the ratings of a session disagree in it."""
    column = data.columns[name]
    if column.dtype.kind != "f":
        raise DataError(f"column {name!r} must be numeric", column=name)
    values: Array = column[first_row]
    astray = np.flatnonzero(column != values[session])
    if len(astray):
        row = int(data.row_numbers[astray].min())
        raise DataError(
            f"column {name!r}, row {row}: the two ratings of this session differ in it", column=name, row=row
        )
    return values
