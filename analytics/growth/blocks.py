"""Algebra on very many small matrices at once: arrays (rows, columns, units), one matrix per unit.

With the units on the last axis each step is one pass over contiguous memory; a few hundred thousand 2 x 2
products cost about as much as reading them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .covariance import Array

# A pivot below this share of its diagonal element is rounding: the unit says nothing in that direction.
PIVOT_TOLERANCE = 1e-13


def mul(X: Array, Y: Array) -> Array:
    """X_j Y_j for X (a, b, n) and Y (b, c, n)."""
    out: Array = np.einsum("ab...,bc...->ac...", X, Y)
    return out


def tmul(X: Array, Y: Array) -> Array:
    """X_j' Y_j for X (b, a, n) and Y (b, c, n)."""
    out: Array = np.einsum("ba...,bc...->ac...", X, Y)
    return out


def left(M: Array, X: Array) -> Array:
    """M X_j for one matrix M (a, b) and X (b, ..., n)."""
    out: Array = np.tensordot(M, X, axes=1)
    return out


def cross(X: Array, Y: Array) -> Array:
    """Sum over units of X_j' Y_j for X (b, a, n) and Y (b, c, n)."""
    out: Array = np.tensordot(X, Y, axes=((0, 2), (0, 2)))
    return out


def outer_sum(X: Array, Y: Array) -> Array:
    """Sum over units of X_j[a, b] Y_j[c, d], as (a, b, c, d)."""
    out: Array = X.reshape(-1, X.shape[-1]) @ Y.reshape(-1, Y.shape[-1]).T
    return out.reshape(*X.shape[:-1], *Y.shape[:-1])


def cholesky(M: Array) -> Array:
    """Lower L (u, u, n) with L_j L_j' = M_j for positive definite M_j; NaN in units where it is not."""
    u = len(M)
    L = np.zeros_like(M)
    for j in range(u):
        pivot = M[j, j] - np.einsum("kn,kn->n", L[j, :j], L[j, :j]) if j else M[j, j]
        L[j, j] = np.sqrt(pivot)
        for i in range(j + 1, u):
            rest = M[i, j] - np.einsum("kn,kn->n", L[i, :j], L[j, :j]) if j else M[i, j]
            L[i, j] = rest / L[j, j]
    return L


def root(M: Array, size: Array | None = None) -> Array:
    """Lower L (u, u, n) with L_j L_j' = M_j for positive semidefinite M_j; columns without a pivot are zero.

    `size` (n,): what a pivot is small against, by default its own diagonal element.
    """
    u = len(M)
    L = np.zeros_like(M)
    for j in range(u):
        pivot = M[j, j] - np.einsum("kn,kn->n", L[j, :j], L[j, :j]) if j else M[j, j]
        is_there = pivot > PIVOT_TOLERANCE * (M[j, j] if size is None else size)
        L[j, j] = np.sqrt(np.where(is_there, pivot, 0.0))
        scale = np.where(is_there, 1.0, 0.0) / np.where(is_there, L[j, j], 1.0)
        for i in range(j + 1, u):
            rest = M[i, j] - np.einsum("kn,kn->n", L[i, :j], L[j, :j]) if j else M[i, j]
            L[i, j] = rest * scale
    return L


def solve_lower(L: Array, B: Array) -> Array:
    """Y (u, c, n) with L_j Y_j = B_j; rows of Y are zero where L_j has no pivot (`root`)."""
    u = len(L)
    Y = np.empty(np.broadcast_shapes(B.shape, (*B.shape[:2], L.shape[-1])))
    for i in range(u):
        rest = B[i] - np.einsum("kn,kcn->cn", L[i, :i], Y[:i]) if i else B[i]
        pivot = L[i, i]
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(rest, pivot, out=Y[i])
        if not pivot.all():
            Y[i][:, pivot == 0.0] = 0.0
    return Y


def sums(X: Array, starts: NDArray[np.intp]) -> Array:
    """Sums (..., n_groups) over runs of units that begin at `starts`."""
    out: Array = np.add.reduceat(X, starts, axis=-1)
    return out
