"""Profiled deviance of the nested growth model, its gradient and its Hessian, from sufficient statistics.

Everything is relative to sigma^2 and in the working coding of `design`:

    V = I + sum over levels l and units k of Z_k T_l Z_k',   T_l = Lambda_l Lambda_l',   C = (X'V^-1X)^-1
    REML  dev = log|V| + log|X'V^-1X| + (N - p)(1 + log(2 pi s2)),   s2 = r'V^-1r / (N - p)
    ML    dev = log|V| +                 N     (1 + log(2 pi s2)),   s2 = r'V^-1r / N

(Bates, Maechler, Bolker & Walker 2015, J Stat Softw 67(1), sec. 3; s2 and beta are profiled out).

One level is taken out of V by the Woodbury identity.  With A = Z'Z and B = Z'[X y] of a unit,

    W = (I + T A)^-1,   log|V| = log|I + T A|,   Z'V^-1Z = A W,   Z'V^-1[X y] = W'B,
    [X y]'V^-1[X y] = [X y]'[X y] - B'T W'B

which needs no inverse of T, so that a variance of zero is nothing special.  The A W and W'B of the lowest
units, summed over a higher unit, are the A and B of that unit, and the identity is applied again (two-level
case of the recursion in Longford 1987, Biometrika 74, 817-827).  Cost is in the number of units; rows do not
enter.

Derivatives, for directions D_a of T_l with E_a = dV = block diagonal of Z_k D_a Z_k' (Lindstrom & Bates 1988,
JASA 83, 1014-1022, sec. 3; P = V^-1 - V^-1 X C X'V^-1; ML has V^-1 in the place of P inside the traces):

    d dev    = tr(P E_a) - q_a / s2,                                 q_a  = r'V^-1 E_a V^-1 r
    d2 dev   = -tr(P E_a P E_b) + 2 q_ab / s2 - q_a q_b / (s2^2 dof),   q_ab = r'V^-1 E_a P E_b V^-1 r

plus, from theta to T, dT = dLambda Lambda' + Lambda dLambda'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from .covariance import Array
from .design import Level, Statistics

LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Deviance at one theta and the pieces that its derivatives are made of.

    j runs over lowest units (J), k over highest (K), c = p + 1 columns [X r] with r the residual at gamma.
    `a` (J, u, u): Z_j'V_j^-1Z_j with the lowest level alone in V_j.  `W`, `Q`, `H` (K, u, u): (I + T A)^-1,
    W T and Z_k'V^-1Z_k.  `F` (J, u, c): Z_j'V^-1[X r]; `F_high` (K, u, c): the same summed over each highest
    unit.
    """

    deviance: float
    gamma: Array
    s2: float
    C: Array
    dof: int
    reml: bool
    statistics: Statistics
    a: Array
    W: Array
    Q: Array
    H: Array
    F: Array
    F_high: Array

    @property
    def p(self) -> int:
        """Number of fixed effects."""
        return len(self.gamma)

    @cached_property
    def low_gradient(self) -> Array:
        """d deviance / dT (u, u) of the lowest level."""
        a, inside = self.a, self.statistics.n_inside
        aQ = a @ np.repeat(self.Q, inside, axis=0)
        out: Array = a.sum(axis=0) - np.einsum("jab,jbc->ac", aQ, a) - self._fixed_and_residual(self.F)
        return out

    @cached_property
    def high_gradient(self) -> Array:
        """d deviance / dT (u, u) of the highest level."""
        out: Array = self.H.sum(axis=0) - self._fixed_and_residual(self.F_high)
        return out

    def _fixed_and_residual(self, F: Array) -> Array:
        X, r = F[:, :, : self.p], F[:, :, self.p]
        out: Array = np.einsum("ka,kb->ab", r, r) / self.s2
        if self.reml:
            out = out + np.einsum("kap,pq,kbq->ab", X, self.C, X, optimize=True)
        return out


def evaluate(statistics: Statistics, T_low: Array, T_high: Array, *, reml: bool) -> Evaluation | None:
    """Evaluation at T of the lowest and the highest level (u, u), relative to sigma^2.

    None where V or X'V^-1X is not positive definite to working precision or nothing is left of the residual.
    """
    p = statistics.p
    log_det, W, a, B, taken = _take_out(statistics.A, statistics.B, T_low)
    A_high = np.add.reduceat(a, statistics.high_start, axis=0)
    B_high = np.add.reduceat(B, statistics.high_start, axis=0)
    log_det_high, W, H, F_high, taken_high = _take_out(A_high, B_high, T_high)
    M = statistics.S - taken - taken_high
    dof = statistics.n_rows - (p if reml else 0)
    try:
        root = linalg.cholesky(M[:p, :p], lower=True)
    except linalg.LinAlgError:
        return None
    half = linalg.solve_triangular(root, M[:p, p], lower=True)
    gamma = linalg.solve_triangular(root, half, lower=True, trans="T")
    s2 = float(M[p, p] - half @ half) / dof
    if not (s2 > 0 and np.isfinite(log_det + log_det_high)):
        return None
    log_det_X = 2 * float(np.log(np.diag(root)).sum()) if reml else 0.0
    Q = W @ T_high
    F = B - a @ np.repeat(Q @ B_high, statistics.n_inside, axis=0)
    to_residual = np.eye(p + 1)
    to_residual[:p, p] = -gamma
    return Evaluation(
        deviance=log_det + log_det_high + log_det_X + dof * (1 + LOG_2PI + float(np.log(s2))),
        gamma=gamma,
        s2=s2,
        C=linalg.cho_solve((root, True), np.eye(p)),
        dof=dof,
        reml=reml,
        statistics=statistics,
        a=a,
        W=W,
        Q=Q,
        H=H,
        F=F @ to_residual,
        F_high=F_high @ to_residual,
    )


def _take_out(A: Array, B: Array, T: Array) -> tuple[float, Array, Array, Array, Array]:
    """Woodbury identity for one level: log|V|, W, Z'V^-1Z, Z'V^-1[X y] and what it takes off [X y]'[X y]."""
    I_TA = np.eye(A.shape[1]) + T @ A
    W: Array = np.linalg.inv(I_TA).astype(np.float64, copy=False)
    WB = W.transpose(0, 2, 1) @ B
    taken = np.tensordot(T @ B, WB, axes=((0, 1), (0, 1)))
    return float(np.linalg.slogdet(I_TA)[1].sum()), W, A @ W, WB, taken


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the data for m directions E_a of V; c = p + 1 columns [X r].

    `trace` (m, m): tr(V^-1 E_a V^-1 E_b).  `Y` (m, c, c): [X r]'V^-1 E_a V^-1[X r].
    `YY` (m, m, c, c): [X r]'V^-1 E_a V^-1 E_b V^-1[X r].
    """

    trace: Array
    Y: Array
    YY: Array

    def trace_P(self, C: Array) -> Array:
        """tr(P E_a P E_b) (m, m)."""
        p = len(C)
        CY = C @ self.Y[:, :p, :p]
        K: Array = self.trace - 2 * np.einsum("pq,abqp->ab", C, self.YY[:, :, :p, :p])
        K = K + np.einsum("apq,bqp->ab", CY, CY)
        return (K + K.T) / 2

    def quadratic_P(self, C: Array) -> Array:
        """q_ab = r'V^-1 E_a P E_b V^-1 r (m, m)."""
        p = len(C)
        q: Array = self.YY[:, :, p, p] - np.einsum("ap,pq,bq->ab", self.Y[:, p, :p], C, self.Y[:, p, :p])
        return (q + q.T) / 2


def moments(ev: Evaluation, low: Sequence[Array], high: Sequence[Array]) -> Moments:
    """Moments of the directions `low` and then `high`, each a symmetric (u, u) direction of T of that level.

    From Z_i'V^-1Z_j = a_i [i = j] - a_i Q_k a_j for lowest units of one k, Z_k'V^-1Z_j = W_k'a_j and
    Z_k'V^-1Z_k = H_k.
    """
    starts, inside = ev.statistics.high_start, ev.statistics.n_inside
    a, W, Q, H, F_high = ev.a, ev.W, ev.Q, ev.H, ev.F_high
    Wt = W.transpose(0, 2, 1)
    aQ = a @ np.repeat(Q, inside, axis=0)
    aD = [a @ D for D in low]
    S = [np.add.reduceat(x @ a, starts, axis=0) for x in aD]
    DF = [D @ ev.F for D in low]
    N = [np.add.reduceat(a @ x, starts, axis=0) for x in DF]
    HD = [H @ D for D in high]
    DF_high = [D @ F_high for D in high]

    n_low, m, c = len(low), len(low) + len(high), ev.F.shape[2]
    trace, Y, YY = np.zeros((m, m)), np.zeros((m, c, c)), np.zeros((m, m, c, c))
    for i in range(m):
        Y[i] = _cross(ev.F, DF[i]) if i < n_low else _cross(F_high, DF_high[i - n_low])
        for j in range(i, m):
            if j < n_low:
                trace[i, j] = _trace(aD[i] - 2 * aD[i] @ aQ, aD[j]) + _trace(S[i] @ Q, S[j] @ Q)
                YY[i, j] = _cross(DF[i], a @ DF[j]) - _cross(N[i], Q @ N[j])
            elif i < n_low:
                trace[i, j] = _trace(S[i] @ W, high[j - n_low] @ Wt)
                YY[i, j] = _cross(N[i], W @ DF_high[j - n_low])
            else:
                trace[i, j] = _trace(HD[i - n_low], HD[j - n_low])
                YY[i, j] = _cross(DF_high[i - n_low], H @ DF_high[j - n_low])
            trace[j, i] = trace[i, j]
            YY[j, i] = YY[i, j].T
    return Moments(trace, Y, YY)


def _trace(X: Array, Y: Array) -> float:
    """Sum over units of tr(X_k Y_k)."""
    return float(np.einsum("kab,kba->", X, np.broadcast_to(Y, X.shape)))


def _cross(X: Array, Y: Array) -> Array:
    """Sum over units of X_k'Y_k."""
    out: Array = np.tensordot(X, Y, axes=((0, 1), (0, 1)))
    return out


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Derivatives of the deviance in theta (m,), and what Satterthwaite's method takes from them.

    `hessian`: sigma profiled out.  `hessian_fixed_sigma` and `slope_sigma` (m,): second derivatives in
    (theta, theta) and (theta, sigma) of the deviance that is not profiled over sigma.  `Y` (m, p, p):
    dC/dtheta_i = C Y_i C.
    """

    gradient: Array
    hessian: Array
    hessian_fixed_sigma: Array
    slope_sigma: Array
    Y: Array


class Objective:
    """The deviance as a function of theta, the concatenated theta of the levels in their order."""

    def __init__(self, statistics: Statistics, levels: tuple[Level, ...], *, reml: bool) -> None:
        self.statistics = statistics
        self.levels = levels
        self.reml = reml
        ends = np.cumsum([len(level.shape.cells) for level in levels])
        self.slices = [
            slice(end - len(level.shape.cells), end) for level, end in zip(levels, ends, strict=True)
        ]
        self.n_theta = int(ends[-1])

    def factors(self, theta: Array) -> list[Array]:
        """Lambda (q, q) of each level."""
        return [level.shape.factor(theta[part]) for level, part in zip(self.levels, self.slices, strict=True)]

    def theta(self, factors: Sequence[Array]) -> Array:
        """theta of one lower triangular Lambda per level."""
        parts = [level.shape.theta(Lambda) for level, Lambda in zip(self.levels, factors, strict=True)]
        return np.concatenate(parts)

    def evaluate(self, theta: Array) -> Evaluation | None:
        """Evaluation at theta; None where the deviance does not exist to working precision."""
        u = self.statistics.A.shape[1]
        T_low, T_high = np.zeros((u, u)), np.zeros((u, u))
        for level, Lambda in zip(self.levels, self.factors(theta), strict=True):
            PL = level.P @ Lambda
            if level.is_high:
                T_high = PL @ PL.T
            else:
                T_low = PL @ PL.T
        return evaluate(self.statistics, T_low, T_high, reml=self.reml)

    def covariance_gradients(self, ev: Evaluation) -> list[Array]:
        """d deviance / dT (q, q) of each level, in its own working columns."""
        return [
            level.P.T @ (ev.high_gradient if level.is_high else ev.low_gradient) @ level.P
            for level in self.levels
        ]

    def gradient(self, theta: Array, ev: Evaluation) -> Array:
        """d deviance / dtheta (m,) at theta, where `ev` was taken."""
        return self.theta(
            [
                2 * G @ Lambda
                for G, Lambda in zip(self.covariance_gradients(ev), self.factors(theta), strict=True)
            ]
        )

    def in_order(self, ev: Evaluation, directions: Sequence[Sequence[Array]]) -> Moments:
        """Moments of directions given per level as (q, q) matrices, in the order of the levels."""
        flat = [
            (level.is_high, level.P @ D @ level.P.T)
            for level, Ds in zip(self.levels, directions, strict=True)
            for D in Ds
        ]
        computed = moments(
            ev, [D for is_high, D in flat if not is_high], [D for is_high, D in flat if is_high]
        )
        places = sorted(range(len(flat)), key=lambda i: flat[i][0])
        back = np.argsort(places)
        return Moments(computed.trace[np.ix_(back, back)], computed.Y[back], computed.YY[np.ix_(back, back)])

    def derivatives(self, theta: Array, ev: Evaluation) -> Derivatives:
        """Exact first and second derivatives in theta at theta, where `ev` was taken."""
        factors = self.factors(theta)
        units = [level.shape.unit_factors() for level in self.levels]
        directions = [
            [dL @ Lambda.T + Lambda @ dL.T for dL in dLs] for dLs, Lambda in zip(units, factors, strict=True)
        ]
        mo = self.in_order(ev, directions)
        trace = mo.trace_P(ev.C) if self.reml else mo.trace
        q = mo.Y[:, ev.p, ev.p]
        hessian_fixed = -trace + 2 * mo.quadratic_P(ev.C) / ev.s2
        for part, dLs, G in zip(self.slices, units, self.covariance_gradients(ev), strict=True):
            # <G, d2T> with d2T = dL_i dL_j' + dL_j dL_i'
            hessian_fixed[part, part] += [[2 * np.trace(G @ di @ dj.T) for dj in dLs] for di in dLs]
        return Derivatives(
            gradient=self.gradient(theta, ev),
            hessian=hessian_fixed - np.outer(q, q) / (ev.s2**2 * ev.dof),
            hessian_fixed_sigma=hessian_fixed,
            slope_sigma=2 * q / ev.s2**1.5,
            Y=mo.Y[:, : ev.p, : ev.p],
        )
