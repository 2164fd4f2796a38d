"""Profiled deviance of the nested growth model and its gradient, from sufficient statistics.

Everything is relative to sigma^2 and in the working coding of `design`:

    V = R + sum over levels l and units k of Z_k T_l Z_k',   T_l = Lambda_l Lambda_l',   C = (X'V^-1X)^-1
    REML  dev = log|V| + log|X'V^-1X| + (N - p)(1 + log(2 pi s2)),   s2 = r'V^-1r / (N - p)
    ML    dev = log|V| +                 N     (1 + log(2 pi s2)),   s2 = r'V^-1r / N

(Bates, Maechler, Bolker & Walker 2015, J Stat Softw 67(1), sec. 3; s2 and beta are profiled out).  R is the
residual correlation, I unless the two raters' residuals are modelled (`residual`).

A lowest unit enters by the triangular form of its rows, Z_j = O_j root_j', [X r]_j = O_j beta_j + rest with
O_j'R_j^-1 O_j = I (Pinheiro & Bates 2000, Mixed-Effects Models in S and S-PLUS, sec. 2.2).  Taking a level
out of V, with M = I + root' T root = L L',

    log|V| = 2 log|L|,   Z'V^-1Z = x'x,   Z'V^-1[X r] = x'z,   [X r]'V^-1[X r] = rest'rest + z'z,
    x = L^-1 root',   z = L^-1 beta

where nothing is subtracted and T is never inverted, so that neither large nor zero variances cost digits.
The x'x and x'z of the lowest units, summed over a higher unit, are the Z'Z and Z'[X r] of that unit, and the
step is taken again (Longford 1987, Biometrika 74, 817-827).  Cost is in the number of units; rows do not
enter.  Fixed effects, X_k = Z_k span_k, enter at the highest unit alone.

First derivative in the direction D of T_l, E = dV = block diagonal of Z_k D Z_k', P = V^-1 - V^-1XCX'V^-1:

    d dev = tr(P E) - r'V^-1 E V^-1 r / s2             (ML: V^-1 for P)

(Lindstrom & Bates 1988, JASA 83, 1014-1022, sec. 3).  Second derivatives: `curvature`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from . import blocks
from .covariance import Array
from .residual import Reduced
from .statistics import Statistics

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Deviance at one theta and the pieces that its derivatives are made of.

    j runs over lowest units (J), k over highest (K); u columns of the basis, p fixed effects.  `a` (u, u, J),
    `b` (u, J): Z_j'V_j^-1Z_j and Z_j'V_j^-1r with the lowest level alone in V_j.  `A` (u, u, K), `B` (u, K):
    their sums over a highest unit.  `H` (u, u, K) and `F_high` (u, p + 1, K): Z_k'V^-1Z_k and Z_k'V^-1[X e],
    e = r - X gamma.  `low` and `high`: factors (u, q) of T.
    """

    deviance: float
    gamma: Array
    s2: float
    C: Array
    dof: int
    reml: bool
    statistics: Statistics
    reduced: Reduced
    low: Array
    high: Array
    a: Array
    b: Array
    A: Array
    B: Array
    H: Array
    F_high: Array

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.gamma)

    @cached_property
    def Q(self) -> Array:
        """T (I + A T)^-1 of each highest unit (u, u, K)."""
        factor = self.high[:, :, None]
        M = blocks.mul(factor.transpose(1, 0, 2), blocks.mul(self.A, factor))
        M = M + np.eye(len(M))[:, :, None]
        half = blocks.solve_lower(blocks.cholesky(M), factor.transpose(1, 0, 2))
        return blocks.tmul(half, half)

    @cached_property
    def W(self) -> Array:
        """(I + T A)^-1 of each highest unit (u, u, K)."""
        out: Array = np.eye(len(self.A))[:, :, None] - blocks.mul(self.Q, self.A)
        return out

    @cached_property
    def G(self) -> Array:
        """(u, p + 1, K) with Z_j'V^-1X = a_j G_k, and Z_j'V^-1e = b_j + a_j (its last column)."""
        X = blocks.mul(self.W, self.statistics.span)
        e = -np.einsum("abk,bk->ak", self.Q, self.B) - np.einsum("apk,p->ak", X, self.gamma)
        return np.concatenate([X, e[:, None]], axis=1)

    @cached_property
    def s(self) -> Array:
        """Z_j'V^-1 e (u, J)."""
        G = np.repeat(self.G[:, self.p], self.statistics.n_inside, axis=-1)
        out: Array = self.b + np.einsum("abn,bn->an", self.a, G)
        return out

    @cached_property
    def middle(self) -> Array:
        """(u, u, K) with Z_j'P Z_j = a_j - a_j middle_k a_j, or for ML Z_j'V^-1 Z_j.

        Q_k, and for REML also G_k C G_k'.
        """
        if not self.reml:
            return self.Q
        G = self.G[:, : self.p]
        out: Array = self.Q + np.einsum("apk,bpk->abk", np.einsum("apk,pq->aqk", G, self.C), G)
        return out

    @cached_property
    def a_middle_a(self) -> Array:
        """a_j middle_k a_j (u, u, J)."""
        middle = np.repeat(self.middle, self.statistics.n_inside, axis=-1)
        return blocks.mul(self.a, blocks.mul(middle, self.a))

    def unit_blocks(self, *, is_high: bool) -> tuple[Array, Array]:
        """Z'V^-1 e (u, n) and Z'V^-1 Z (u, u, n) of each unit of the highest or the lowest level."""
        if is_high:
            return self.F_high[:, self.p], self.H
        Q = np.repeat(self.Q, self.statistics.n_inside, axis=-1)
        return self.s, self.a - blocks.mul(self.a, blocks.mul(Q, self.a))

    @cached_property
    def low_gradient(self) -> Array:
        """d deviance / dT (u, u) of the lowest level."""
        out: Array = (self.a - self.a_middle_a).sum(axis=-1) - self.s @ self.s.T / self.s2
        return out

    @cached_property
    def high_gradient(self) -> Array:
        """d deviance / dT (u, u) of the highest level."""
        e = self.F_high[:, self.p]
        out: Array = self.H.sum(axis=-1) - e @ e.T / self.s2
        if self.reml:
            X = self.F_high[:, : self.p]
            out = out - np.tensordot(np.einsum("apk,pq->aqk", X, self.C), X, axes=((1, 2), (1, 2)))
        return out


def evaluate(
    statistics: Statistics, reduced: Reduced, low: Array, high: Array, *, reml: bool
) -> Evaluation | None:
    """Evaluation at the factors (u, q) of T of the lowest and the highest level, relative to sigma^2.

    None where V or X'V^-1X is not positive definite to working precision or nothing is left of the residual.
    """
    p = statistics.p
    with np.errstate(all="ignore"):
        log_det_low, x, z = _take_out(reduced.root, reduced.beta[:, None], low)
        a, b = blocks.tmul(x, x), blocks.tmul(x, z)[:, 0]
        A, B = blocks.sums(a, statistics.high_start), blocks.sums(b, statistics.high_start)
        root = blocks.root(A)
        beta = blocks.solve_lower(root, B[:, None])
        M = np.zeros((p + 1, p + 1))
        M[p, p] = reduced.within + float(np.vdot(z, z)) - float(np.vdot(beta, beta))
        beta = np.concatenate([blocks.tmul(root, statistics.span), beta], axis=1)
        log_det_high, x_high, z_high = _take_out(root, beta, high)
    M += blocks.cross(z_high, z_high)
    dof = statistics.n_rows - (p if reml else 0)
    log_det = reduced.log_det + log_det_low + log_det_high
    try:
        R = linalg.cholesky(M[:p, :p], lower=True)
    except (linalg.LinAlgError, ValueError):
        return None
    half = linalg.solve_triangular(R, M[:p, p], lower=True)
    gamma = linalg.solve_triangular(R, half, lower=True, trans="T")
    s2 = float(M[p, p] - half @ half) / dof
    if not (s2 > 0 and np.isfinite(log_det)):
        return None
    F_high = blocks.tmul(x_high, z_high)
    F_high[:, p] -= np.einsum("upk,p->uk", F_high[:, :p], gamma)
    log_det_X = 2 * float(np.log(np.diag(R)).sum()) if reml else 0.0
    return Evaluation(
        deviance=log_det + log_det_X + dof * (1 + LOG_2PI + float(np.log(s2))),
        gamma=gamma,
        s2=s2,
        C=linalg.cho_solve((R, True), np.eye(p)),
        dof=dof,
        reml=reml,
        statistics=statistics,
        reduced=reduced,
        low=low,
        high=high,
        a=a,
        b=b,
        A=A,
        B=B,
        H=blocks.tmul(x_high, x_high),
        F_high=F_high,
    )


def _take_out(root: Array, beta: Array, factor: Array) -> tuple[float, Array, Array]:
    """One level taken out of V: log|M|, x and z of the module's head."""
    u = len(root)
    half = blocks.left(factor.T, root)
    M = blocks.tmul(half, half)
    M[range(u), range(u)] += 1.0
    L = blocks.cholesky(M)
    log_det = 2 * float(np.log(L[range(u), range(u)].prod(axis=0)).sum())
    x = blocks.solve_lower(L, root.transpose(1, 0, 2))
    return log_det, x, blocks.solve_lower(L, beta)
