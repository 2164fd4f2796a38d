"""Second derivatives of the deviance, exact: sums over units of products of small matrices.

For directions E_a = dV of a level (block diagonal of Z_k D_a Z_k') or of the residual covariance R,

    d2 dev = -tr(P E_a P E_b) + 2 q_ab / s2 - q_a q_b / (s2^2 dof)          (ML: V^-1 for P in the trace)
    q_a = e'V^-1 E_a V^-1 e,   q_ab = e'V^-1 E_a P E_b V^-1 e,   e = r - X gamma

(Lindstrom & Bates 1988, JASA 83, sec. 3).  With the names of `deviance.Evaluation`, for units i, j of k

    Z_i'V^-1Z_j = a_i [i = j] - a_i Q a_j,   Z_k'V^-1Z_j = W'a_j,   Z_k'V^-1Z_k = H,   Z_j'V^-1X = a_j G

so that every trace is a contraction of a few sums of products over the units of a highest unit.  A direction
of the lowest level or of R enters those sums by its `block`, Z_j'V_j^-1 E_a V_j^-1 Z_j, which is a_j D_a a_j
or w_j'A_a w_j with w = (I + T A)^-1 and A_a = Z_j'R^-1 E_a R^-1 Z_j.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import blocks
from .covariance import Array
from .deviance import Evaluation
from .residual import Paired, Pattern, product


@dataclass(frozen=True, eq=False)
class Moments:
    """For m directions: `trace` tr(P E_a P E_b), `q` (m,), `qq` (m, m) and `Y` (m, p, p) = X'V^-1E_aV^-1X."""

    trace: Array
    q: Array
    qq: Array
    Y: Array

    def reordered(self, order: Sequence[int]) -> Moments:
        """The same for the directions in another order."""
        square = np.ix_(order, order)
        return Moments(self.trace[square], self.q[list(order)], self.qq[square], self.Y[list(order)])


@dataclass(frozen=True, eq=False)
class ResidualDirections:
    """Directions of R at one evaluation: what `Curvature` takes from them, and their first derivatives.

    `block` (m, u, u, J), `n` (m, u, J): Z_j'V_j^-1E_aV_j^-1Z_j and Z_j'V_j^-1E_aV^-1e.
    """

    ev: Evaluation
    parts: Paired
    psi: Array
    patterns: Sequence[Pattern]

    @cached_property
    def inverse(self) -> Pattern:
        return self.parts.inverse(self.psi)

    @cached_property
    def T(self) -> Array:
        out: Array = self.ev.low @ self.ev.low.T
        return out

    @cached_property
    def w(self) -> Array:
        """(I + T A_j)^-1 (u, u, J)."""
        out: Array = np.eye(len(self.T))[:, :, None] - blocks.left(self.T, self.ev.a)
        return out

    @cached_property
    def taken(self) -> Array:
        """T (I + A_j T)^-1 (u, u, J)."""
        out: Array = np.einsum("abn,bc->acn", self.w, self.T)
        return out

    @cached_property
    def coefficients(self) -> Array:
        """(u, J): V^-1 e = R^-1 (r - Z_j coefficients_j)."""
        ev = self.ev
        of_high = np.einsum("upk,p->uk", ev.statistics.span, ev.gamma)
        of_high = of_high + (ev.high @ ev.high.T) @ ev.F_high[:, ev.p]
        out: Array = self.T @ ev.s + np.repeat(of_high, ev.statistics.n_inside, axis=-1)
        return out

    def forms(self, pattern: Pattern) -> tuple[Array, Array, float]:
        """Z'OZ, Z'Or and r'Or for O with this pattern, one by one in the rows."""
        return self.parts.combined(self.parts.weights(pattern))

    @cached_property
    def sandwiches(self) -> list[Pattern]:
        """R^-1 E_a R^-1."""
        return [product(self.inverse, E, self.inverse) for E in self.patterns]

    @cached_property
    def _forms(self) -> list[tuple[Array, Array, float]]:
        return [self.forms(form) for form in self.sandwiches]

    @property
    def A(self) -> list[Array]:
        """Z_j'R^-1 E_a R^-1 Z_j (u, u, J)."""
        return [A for A, _, _ in self._forms]

    @cached_property
    def n_raw(self) -> list[Array]:
        """Z_j'R^-1 E_a V^-1 e (u, J)."""
        c = self.coefficients
        return [B - np.einsum("abn,bn->an", A, c) for A, B, _ in self._forms]

    @cached_property
    def block(self) -> Array:
        """w'A_a w (m, u, u, J)."""
        return np.array([blocks.tmul(self.w, blocks.mul(A, self.w)) for A in self.A])

    @cached_property
    def n(self) -> Array:
        """w'n_raw (m, u, J)."""
        return np.array([np.einsum("ban,bn->an", self.w, n) for n in self.n_raw])

    def quadratic(self, form: tuple[Array, Array, float]) -> float:
        """e'V^-1 R O R V^-1 e for Z'OZ, Z'Or and r'Or of a form O."""
        A, B, S = form
        c = self.coefficients
        Ac = np.einsum("abn,bn->an", A, c)
        return S - 2 * float(np.vdot(c, B)) + float(np.vdot(c, Ac))

    @cached_property
    def q(self) -> Array:
        """q_a (m,)."""
        return np.array([self.quadratic(form) for form in self._forms])

    @cached_property
    def around(self) -> Array:
        """w middle w' (u, u, J)."""
        middle = np.repeat(self.ev.middle, self.ev.statistics.n_inside, axis=-1)
        out: Array = np.einsum("abn,cbn->acn", blocks.mul(self.w, middle), self.w)
        return out

    @cached_property
    def slopes(self) -> Array:
        """tr(P E_a) - q_a / s2 (m,): the first derivatives of the deviance."""
        removed = self.taken + self.around
        traces = [
            self.parts.counted(product(self.inverse, E)) - float(np.vdot(removed, A))
            for E, A in zip(self.patterns, self.A, strict=True)
        ]
        return np.array(traces) - self.q / self.ev.s2

    @cached_property
    def taken_A(self) -> list[Array]:
        """T (I + A T)^-1 A_a (u, u, J)."""
        return [blocks.mul(self.taken, A) for A in self.A]

    def second(self, a: int, b: int) -> tuple[Array, Array, float]:
        """Z'OZ, Z'Or and r'Or of the form O = R^-1 E_a R^-1 E_b R^-1, made symmetric."""
        return self.forms(
            product(self.inverse, self.patterns[a], self.inverse, self.patterns[b], self.inverse)
        )

    @cached_property
    def pairs(self) -> tuple[Array, Array]:
        """What the lowest units alone give to tr(P E_a P E_b) and to q_ab (m, m)."""
        m = len(self.patterns)
        trace, qq = np.zeros((m, m)), np.zeros((m, m))
        removed = self.taken + self.around
        for a in range(m):
            around_A = blocks.mul(self.around, self.A[a])
            for b in range(a, m):
                form = self.second(a, b)
                both = product(self.inverse, self.patterns[a], self.inverse, self.patterns[b])
                PB = self.taken_A[b].transpose(1, 0, 2)
                trace[a, b] = trace[b, a] = (
                    self.parts.counted(both)
                    - 2 * float(np.vdot(removed, form[0]))
                    + float(np.vdot(self.taken_A[a], PB))
                    + 2 * float(np.vdot(around_A, PB))
                )
                taken = np.einsum("abn,bn->an", self.taken, self.n_raw[b])
                qq[a, b] = qq[b, a] = self.quadratic(form) - float(np.vdot(self.n_raw[a], taken))
        return trace, qq


class Curvature:
    """Moments of directions of the lowest level, of R and of the highest level, in this order.

    `low`, `high`: symmetric (u, u) directions of T; `residual`: directions of R.
    """

    def __init__(
        self,
        ev: Evaluation,
        low: Sequence[Array],
        residual: ResidualDirections | None,
        high: Sequence[Array],
    ) -> None:
        u = len(ev.a)
        self.ev = ev
        self.low = np.array(low).reshape(-1, u, u)
        self.high = np.array(high).reshape(-1, u, u)
        self.residual = residual
        self.n_low = len(self.low)
        self.n_inner = self.n_low + (len(residual.patterns) if residual else 0)

    @cached_property
    def blocks(self) -> Array:
        """Sums over a highest unit of the blocks of the inner directions (m, u, u, K)."""
        starts = self.ev.statistics.high_start
        pairs = _pair_sums(self.ev.a, starts)
        out = np.tensordot(self.low, pairs, axes=((1, 2), (1, 2)))
        if self.residual is not None:
            out = np.concatenate([out, blocks.sums(self.residual.block, starts)])
        return out

    @cached_property
    def N(self) -> Array:
        """Z_k'V_p^-1 E_a V^-1 [X e] for inner directions (m, u, p + 1, K)."""
        ev, starts = self.ev, self.ev.statistics.high_start
        a = ev.a
        as_ = blocks.sums(a[:, :, None] * ev.s, starts)
        n = np.tensordot(self.low, as_, axes=((1, 2), (1, 2)))
        if self.residual is not None:
            n = np.concatenate([n, blocks.sums(self.residual.n, starts)])
        X = np.einsum("mabk,bpk->mapk", self.blocks, ev.G[:, : ev.p])
        return np.concatenate([X, n[:, :, None]], axis=2)

    @cached_property
    def Y(self) -> Array:
        """X'V^-1 E_a V^-1 [X e] (m, p, p + 1), all directions."""
        ev, p = self.ev, self.ev.p
        inner = np.tensordot(self.N, ev.G[:, :p], axes=((1, 3), (0, 2))).transpose(0, 2, 1)
        outer = blocks.outer_sum(ev.F_high[:, :p], ev.F_high)
        return np.concatenate([inner, np.tensordot(self.high, outer, axes=((1, 2), (0, 2)))])

    @cached_property
    def moments(self) -> Moments:
        ev, p = self.ev, self.ev.p
        YX, Ye = self.Y[:, :, :p], self.Y[:, :, p]
        trace, qq = self._inner(), self._quadratics()
        if ev.reml:
            CY = ev.C @ YX
            trace = trace + _flat(CY) @ _flat(CY.transpose(0, 2, 1)).T
        qq = qq - Ye @ ev.C @ Ye.T
        low = np.einsum("apq,pq->a", self.low, ev.s @ ev.s.T)
        e = ev.F_high[:, p]
        high = np.einsum("apq,pq->a", self.high, e @ e.T)
        residual = self.residual.q if self.residual is not None else np.zeros(0)
        return Moments((trace + trace.T) / 2, np.concatenate([low, residual, high]), (qq + qq.T) / 2, YX)

    @cached_property
    def _of_X(self) -> Array:
        return self.N[:, :, : self.ev.p]

    @cached_property
    def _n(self) -> Array:
        return self.N[:, :, self.ev.p]

    def _inner(self) -> Array:
        """tr(P E_a P E_b) without tr(C Y_a C Y_b)."""
        ev, p, n_inner = self.ev, self.ev.p, self.n_inner
        m = n_inner + len(self.high)
        trace = np.zeros((m, m))
        paired = ev.a - 2 * ev.a_middle_a
        trace[: self.n_low, : self.n_low] = _pairs(self.low, blocks.outer_sum(ev.a, paired))
        if self.residual is not None:
            self._inner_of_residual(self.residual, trace)
        SQ = np.einsum("mabk,bck->mack", self.blocks, ev.Q)
        trace[:n_inner, :n_inner] += _flat(SQ) @ _flat(SQ.transpose(0, 2, 1, 3)).T

        through = np.einsum("pak,mpqk->maqk", ev.W, self.blocks)
        to_high = np.tensordot(through, ev.W, axes=((2, 3), (0, 2)))
        H_paired = ev.H
        if ev.reml:
            NC = np.einsum("mapk,pq->maqk", self._of_X, ev.C)
            QN = np.einsum("abk,mbpk->mapk", ev.Q, self._of_X)
            trace[:n_inner, :n_inner] += 2 * _flat(QN) @ _flat(NC).T
            FC = np.einsum("apk,pq->aqk", ev.F_high[:, :p], ev.C)
            H_paired = H_paired - 2 * np.einsum("apk,bpk->abk", FC, ev.F_high[:, :p])
            WN = np.einsum("bak,mbpk->mapk", ev.W, self._of_X)
            to_high = to_high - 2 * np.tensordot(WN, FC, axes=((2, 3), (1, 2)))
        trace[:n_inner, n_inner:] = np.einsum("mab,hab->mh", to_high, self.high)
        trace[n_inner:, :n_inner] = trace[:n_inner, n_inner:].T
        trace[n_inner:, n_inner:] = _pairs(self.high, blocks.outer_sum(ev.H, H_paired))
        return trace

    def _inner_of_residual(self, residual: ResidualDirections, trace: Array) -> None:
        ev, n_low = self.ev, self.n_low
        middle = np.repeat(ev.middle, ev.statistics.n_inside, axis=-1)
        a_middle = blocks.mul(ev.a, middle)
        for r, block in enumerate(residual.block):
            seen = (block - 2 * blocks.mul(a_middle, block)).sum(axis=-1)
            trace[n_low + r, :n_low] = trace[:n_low, n_low + r] = np.einsum("aij,ij->a", self.low, seen)
        trace[n_low : self.n_inner, n_low : self.n_inner] = residual.pairs[0]

    def _quadratics(self) -> Array:
        """e'V^-1 E_a V^-1 E_b V^-1 e."""
        ev, p, n_low, n_inner = self.ev, self.ev.p, self.n_low, self.n_inner
        m = n_inner + len(self.high)
        e, s = ev.F_high[:, p], ev.s
        qq = np.zeros((m, m))
        ss = s[:, None] * s[None]
        qq[:n_low, :n_low] = _pairs(self.low, blocks.outer_sum(ev.a, ss))
        if self.residual is not None:
            for r, n in enumerate(self.residual.n):
                seen = n @ s.T
                qq[n_low + r, :n_low] = qq[:n_low, n_low + r] = np.einsum("aij,ij->a", self.low, seen)
            qq[n_low:n_inner, n_low:n_inner] = self.residual.pairs[1]
        Qn = np.einsum("abk,mbk->mak", ev.Q, self._n)
        qq[:n_inner, :n_inner] -= _flat(self._n) @ _flat(Qn).T
        Wn = np.einsum("bak,mbk->mak", ev.W, self._n)
        qq[:n_inner, n_inner:] = np.einsum("mab,hab->mh", np.einsum("mak,bk->mab", Wn, e), self.high)
        qq[n_inner:, :n_inner] = qq[:n_inner, n_inner:].T
        ee = e[:, None] * e[None]
        qq[n_inner:, n_inner:] = _pairs(self.high, blocks.outer_sum(ev.H, ee))
        return qq

    def products(self) -> Array:
        """X'V^-1 E_a V^-1 E_b V^-1 X (m, m, p, p), not symmetric in a and b one by one (Kenward-Roger)."""
        ev, p, n_inner = self.ev, self.ev.p, self.n_inner
        m = n_inner + len(self.high)
        out = np.zeros((m, m, p, p))
        F = ev.F_high[:, :p]
        QN = np.einsum("abk,mbpk->mapk", ev.Q, self._of_X)
        WN = np.einsum("bak,mbpk->mapk", ev.W, self._of_X)
        for a in range(n_inner):
            for b in range(a, n_inner):
                out[a, b] = self._inner_product(a, b) - blocks.cross(self._of_X[a], QN[b])
            for b, D in enumerate(self.high):
                out[a, n_inner + b] = blocks.cross(WN[a], blocks.left(D, F))
        for a, D in enumerate(self.high):
            for b in range(a, len(self.high)):
                HDF = blocks.mul(ev.H, blocks.left(self.high[b], F))
                out[n_inner + a, n_inner + b] = blocks.cross(blocks.left(D, F), HDF)
        for a in range(m):
            for b in range(a):
                out[a, b] = out[b, a].T
        return out

    def _inner_product(self, a: int, b: int) -> Array:
        """The part of `products` from within lowest units, for inner directions."""
        ev, p = self.ev, self.ev.p
        if b < self.n_low:
            aD = np.einsum("ijn,jk->ikn", ev.a, self.low[a])
            inner = blocks.mul(aD, blocks.mul(ev.a, blocks.left(self.low[b], ev.a)))
        elif a < self.n_low:
            assert self.residual is not None
            block = self.residual.block[b - self.n_low]
            inner = blocks.mul(np.einsum("ijn,jk->ikn", ev.a, self.low[a]), block)
        else:
            assert self.residual is not None
            of_R, i, j = self.residual, a - self.n_low, b - self.n_low
            middle = of_R.second(i, j)[0] - blocks.mul(of_R.A[i], of_R.taken_A[j])
            inner = blocks.tmul(of_R.w, blocks.mul(middle, of_R.w))
        G = ev.G[:, :p]
        return blocks.cross(G, blocks.mul(blocks.sums(inner, ev.statistics.high_start), G))


def _flat(X: Array) -> Array:
    return X.reshape(len(X), math.prod(X.shape[1:]))


def _pairs(D: Array, M: Array) -> Array:
    """Sum over units of tr(D_a X D_b Y) from M = sum of X[j, k] Y[l, i]."""
    DM = np.tensordot(D, M, axes=((1, 2), (3, 0)))
    out: Array = np.tensordot(DM, D, axes=((1, 2), (1, 2)))
    return out


def _pair_sums(a: Array, starts: NDArray[np.intp]) -> Array:
    """Sums over a highest unit of a_j[p, q] a_j[r, s] (u, u, u, u, K) for symmetric a_j."""
    u = len(a)
    cells = [(p, q) for p in range(u) for q in range(p, u)]
    place = np.zeros((u, u), dtype=np.intp)
    for i, (p, q) in enumerate(cells):
        place[p, q] = place[q, p] = i
    unique = np.stack([a[cell] for cell in cells])
    out = np.empty((len(cells), len(cells), len(starts)))
    for i in range(len(cells)):
        out[i, i:] = blocks.sums(unique[i] * unique[i:], starts)
        out[i:, i] = out[i, i:]
    flat = place.ravel()
    return out[np.ix_(flat, flat)].reshape(u, u, u, u, len(starts))
