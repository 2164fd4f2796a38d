"""The functions of the rows that a model uses, in an orthonormal coding, reduced to one triangle per unit.

Every column of X and Z is a function of the rows (1, time, a predictor that varies inside a unit, their
products) times weights that are constant in a lowest unit, times weights that are constant in a highest unit
(`columns.Column`).  Functions of the rows are made orthonormal over all rows before anything is summed, and
are summed per lowest unit about its own mean:

    rows of unit j of [U y] = O_j [[root_j', beta_j], [0, rest_j]],   O_j'O_j = I

so that neither a far origin nor functions that are nearly collinear in the user's coding cost digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from . import blocks
from .covariance import Array
from .data import LongData
from .store import UnitSums, corrected_sums

RANK_TOLERANCE = 1e-10
ONE = "1"


@dataclass(frozen=True, eq=False)
class Basis:
    """The basis U, of J lowest units, as triangles and as rows.

    root (u, u, J) lower, beta (u, J), `within`: sum of squares of y that no unit's U explains.  `rows`: the
    functions (N,) that U is made of beside 1; `primitives`: per column of U before the last step the index of
    its row function (-1 for 1) and its weights (J,) or None; `to_basis` (u, u): primitives = U to_basis.
    """

    n_rows: int
    root: Array
    beta: Array
    within: float
    size: float
    mean_y: float
    is_constant_y: bool
    rows: tuple[Array, ...]
    y: Array | None
    low_start: NDArray[np.intp]
    primitives: tuple[tuple[int, Array | None], ...]
    to_basis: Array

    def residual_sums(self, coefficients: Array, psi: Array) -> tuple[Array, float]:
        """U_j'R^-1e_j (u, J) and e'R^-1e of the rows' residuals e = y - U c for c (u, J)."""
        assert self.y is not None
        raw = linalg.solve_triangular(self.to_basis, coefficients)
        n_inside = np.diff(self.low_start, append=self.n_rows)
        e = self.y.copy()
        for function in range(-1, len(self.rows)):
            own = np.zeros(coefficients.shape[1])
            for (index, weight), c in zip(self.primitives, raw, strict=True):
                if index == function:
                    own = own + (c if weight is None else c * weight)
            repeated = np.repeat(own, n_inside)
            e -= repeated if function < 0 else repeated * self.rows[function]
        sums = [np.add.reduceat(e, self.low_start)]
        sums += [np.add.reduceat(e * row, self.low_start) for row in self.rows]
        products = [sums[i + 1] * (1.0 if weight is None else weight) for i, weight in self.primitives]
        Ue: Array = linalg.solve_triangular(self.to_basis, np.array(products), trans="T")
        return Ue, float(e @ e)


Function = tuple[str, str]  # key of a row function (or ONE), key of weights of the lowest units (or ONE)


@dataclass(eq=False)
class Wanted:
    """Functions asked for, in order: rows (N,) by key and weights (J,) by key; ONE needs neither."""

    rows: dict[str, Array] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    functions: dict[Function, None] = field(default_factory=lambda: {(ONE, ONE): None})

    def add(self, row: str, weight: str = ONE) -> Function:
        self.functions[row, weight] = None
        return row, weight


@dataclass(frozen=True, eq=False)
class _RowSums:
    """Orthonormal row functions and, per lowest unit, means (b + 1, J) and corrected sums (b + 1, b + 1, J).

    The outcome comes last.  Row function r of the model is centre[r] + sum_i rows[i] triangle[i, r].
    """

    rows: tuple[Array, ...]
    centre: Array
    triangle: Array
    n: Array
    mean: Array
    cross: Array


def _row_sums(data: LongData, functions: Sequence[Array], y: Array) -> _RowSums:
    start = data.units[-1].start
    n = np.diff(start, append=len(data)).astype(np.float64)
    centre = np.array([column.mean() for column in functions])
    rows: tuple[Array, ...] = ()
    triangle: Array = np.zeros((0, 0))
    if len(functions) == 1:
        about = functions[0] - centre[0]
        size = float(np.sqrt(np.mean(about**2)))
        rows, triangle = (about / size,), np.array([[size]])
    elif functions:
        M = np.column_stack([column - middle for column, middle in zip(functions, centre, strict=True)])
        Q, triangle, _ = orthonormal(M, len(data))
        rows = tuple(np.ascontiguousarray(column) for column in Q.T)
    mean, cross = corrected_sums([*rows, y], start, n)
    return _RowSums(rows, centre, triangle, n, mean, cross)


def _stored_sums(sums: UnitSums) -> _RowSums:
    centre = float(sums.n @ sums.mean_time) / sums.n_rows
    mean_t = sums.mean_time - centre
    size = float(np.sqrt((sums.css_time.sum() + sums.n @ mean_t**2) / sums.n_rows))
    if size == 0:
        size = 1.0
    mean = np.array([mean_t / size, sums.mean_y])
    csp = sums.csp / size
    cross = np.array([[sums.css_time / size**2, csp], [csp, sums.css_y]])
    return _RowSums((), np.array([centre]), np.array([[size]]), sums.n, mean, cross)


def orthonormal(M: Array, n_rows: int) -> tuple[Array, Array, NDArray[np.intp]]:
    """Q (rows, k), triangle (k, v), the k columns kept: M = Q triangle, Q'Q = n_rows I, k the rank of M."""
    lengths = np.asarray(linalg.norm(M, axis=0))
    lengths = np.where(lengths == 0, 1.0, lengths)
    scaled = M / lengths
    R, pivots = linalg.qr(scaled, mode="r", pivoting=True)
    size = np.abs(np.diag(R))
    rank = int(np.count_nonzero(size > RANK_TOLERANCE * size[0])) if size[0] > 0 else 0
    kept = np.sort(pivots[:rank]).astype(np.intp)
    Q: Array = np.asarray(linalg.qr(scaled[:, kept], mode="economic")[0], dtype=np.float64)
    triangle = Q.T @ scaled
    triangle[:, kept] = np.triu(triangle[:, kept])
    triangle *= lengths / np.sqrt(n_rows)
    signs = np.where(triangle[np.arange(rank), kept] < 0, -1.0, 1.0)
    return Q * signs * np.sqrt(n_rows), triangle * signs[:, None], kept


def make_basis(
    data: LongData | UnitSums, wanted: Wanted, y: Array | None
) -> tuple[Basis, dict[Function, Array]]:
    """The basis of all functions asked for, and each of them in it (u,); `y` (N,) unless `data` are sums."""
    if isinstance(data, UnitSums):
        sums = _stored_sums(data)
        keys: list[str] = [data.time]
    else:
        assert y is not None
        keys = list(wanted.rows)
        sums = _row_sums(data, list(wanted.rows.values()), y)
    place = {key: i for i, key in enumerate(keys)}
    primitives = _primitives(wanted, place, sums.triangle)
    # A weight far from 0, as a year of birth, would make its products all but copies of the functions.
    centres = {key: float(sums.n @ values) / data.n_rows for key, values in wanted.weights.items()}
    weights = [
        None if weight == ONE else wanted.weights[weight] - centres[weight] for _, weight in primitives
    ]
    n, n_rows = sums.n, data.n_rows
    mean, cross, with_y = _of_primitives(sums, [index for index, _ in primitives], weights)
    if any(weight is not None for weight in weights):
        coding, kept = _recoded(mean, cross, n, n_rows)
    else:
        coding, kept = np.eye(len(primitives)), np.arange(len(primitives))
    to_basis = coding[:, kept]
    inverse = linalg.solve_triangular(to_basis, np.eye(len(kept)))[1:, 1:]
    centred = mean[kept][1:] - to_basis[0, 1:, None]
    mean_U = inverse.T @ centred
    cross_U = blocks.left(inverse.T, cross[np.ix_(kept, kept)][1:, 1:])
    cross_U = blocks.left(inverse.T, cross_U.transpose(1, 0, 2))
    C = blocks.root(cross_U, size=n)
    beta_y = blocks.solve_lower(C, (inverse.T @ with_y[kept][1:])[:, None])[:, 0]
    u, J = len(kept), len(n)
    root, beta = np.zeros((u, u, J)), np.empty((u, J))
    root[0, 0] = np.sqrt(n)
    root[1:, 0], root[1:, 1:] = root[0, 0] * mean_U, C
    beta[0], beta[1:] = root[0, 0] * sums.mean[-1], beta_y
    css_y = sums.cross[-1, -1]
    functions = {
        (row, weight): _coding_of((row, weight), place, sums, primitives, coding)
        + centres.get(weight, 0.0) * _coding_of((row, ONE), place, sums, primitives, coding)
        for row, weight in wanted.functions
    }
    basis = Basis(
        n_rows=n_rows,
        root=root,
        beta=beta,
        within=float(np.maximum(css_y - np.einsum("un,un->n", beta_y, beta_y), 0.0).sum()),
        size=float(np.sqrt((css_y.sum() + n @ sums.mean[-1] ** 2) / n_rows)),
        mean_y=float(n @ sums.mean[-1]) / n_rows,
        is_constant_y=not css_y.any() and np.ptp(sums.mean[-1]) == 0,
        rows=sums.rows,
        y=y,
        low_start=np.zeros(0, dtype=np.intp) if y is None else data.units[-1].start,
        primitives=tuple((primitives[i][0], weights[i]) for i in kept),
        to_basis=to_basis,
    )
    return basis, functions


Primitive = tuple[int, str]


def _primitives(wanted: Wanted, place: Mapping[str, int], triangle: Array) -> list[Primitive]:
    """Orthonormal row functions (-1 for 1) with weights, the fewest that hold all that is wanted."""
    needed: dict[Primitive, None] = {(-1, ONE): None}
    for with_weight in (False, True):
        for row, weight in wanted.functions:
            if with_weight and weight == ONE:
                continue
            own = weight if with_weight else ONE
            needed[-1, own] = None
            if row != ONE:
                for i in np.flatnonzero(triangle[:, place[row]]):
                    needed[int(i), own] = None
    return list(needed)


def _of_primitives(
    sums: _RowSums, index: Sequence[int], weights: Sequence[Array | None]
) -> tuple[Array, Array, Array]:
    """Means (v, J), corrected sums (v, v, J) and products with the outcome (v, J) of the primitives."""
    J = len(sums.n)
    w = np.array([np.ones(J) if weight is None else weight for weight in weights])
    mean = np.array([w_i * (1.0 if i < 0 else sums.mean[i]) for i, w_i in zip(index, w, strict=True)])
    # Index -1 stands for 1, which has no sums about its mean; the outcome's own are left out with it.
    cross = np.zeros((len(index), len(index), J))
    with_y = np.zeros((len(index), J))
    for a, i in enumerate(index):
        if i >= 0:
            with_y[a] = w[a] * sums.cross[i, -1]
            for b, j in enumerate(index):
                if j >= 0:
                    cross[a, b] = w[a] * w[b] * sums.cross[i, j]
    return mean, cross, with_y


def _recoded(mean: Array, cross: Array, n: Array, n_rows: int) -> tuple[Array, NDArray[np.intp]]:
    """Coding (u, v) of v primitives in an orthonormal basis of them, 1 first, and which of them span it."""
    centre = (mean[1:] @ n) / n_rows
    v, J = len(mean) - 1, len(n)
    stacked = np.empty((J, v + 1, v))
    stacked[:, 0] = (np.sqrt(n) * (mean[1:] - centre[:, None])).T
    stacked[:, 1:] = blocks.root(cross[1:, 1:], size=n * 1e-300).transpose(2, 1, 0)
    _, triangle, independent = orthonormal(stacked.reshape(-1, v), n_rows)
    kept = np.array([0, *(1 + independent)], dtype=np.intp)
    coding = np.zeros((len(triangle) + 1, v + 1))
    coding[0, 0], coding[0, 1:], coding[1:, 1:] = 1.0, centre, triangle
    return coding, kept


def _coding_of(
    function: Function, place: Mapping[str, int], sums: _RowSums, primitives: list[Primitive], coding: Array
) -> Array:
    row, weight = function
    out = np.zeros(len(primitives))
    if row == ONE:
        out[primitives.index((-1, weight))] = 1.0
    else:
        r = place[row]
        out[primitives.index((-1, weight))] = sums.centre[r]
        for i in np.flatnonzero(sums.triangle[:, r]):
            out[primitives.index((int(i), weight))] = sums.triangle[i, r]
    return coding @ out
