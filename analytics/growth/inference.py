"""Standard errors, degrees of freedom, tests and intervals of the fixed effects.

- Wald: Cov(beta) = s2 C, normal quantiles.
- Satterthwaite as in lmerTest (Kuznetsova, Brockhoff & Christensen 2017, J Stat Softw 82(13), sec. 2;
  Giesbrecht & Burns 1985): df = 2 v^2 / (g'A g) with v = l'(s2 C)l, g its gradient in (theta, sigma) and
  A = 2 H^-1, H the Hessian of the deviance that is not profiled over sigma.
- Kenward & Roger (1997, Biometrics 53, 983-997), as in pbkrtest (Halekoh & Hojsgaard 2014, J Stat Softw
  59(9)): in the linear parameters of V, with Phi = s2 C,
      W = 2 K^-1,  K_ab = tr(P E_a P E_b)
      Phi_A = Phi + 2 Phi [sum_ab W_ab (Q_ab - P_a Phi P_b)] Phi
      df(l) = 2 (l'Phi l)^2 / sum_ab W_ab (l'Phi P_a Phi l)(l'Phi P_b Phi l)        (one contrast)
  where P_a = X'V^-1 E_a V^-1 X and Q_ab = X'V^-1 E_a V^-1 E_b V^-1 X.

All are exact: the derivatives come from `curvature`, not from differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg, special

from .covariance import Array, Shape
from .design import Design
from .errors import Unfittable
from .objective import Objective
from .optimize import Search
from .residual import Paired, Pattern
from .spec import DfChoice

DfMethod = Literal["satterthwaite", "kenward-roger", "wald"]
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class FixedInference:
    """Tests of fixed effects at one minimum.

    `cov` (p, p): covariance of the fixed effects as the user coded them, adjusted for Kenward-Roger.
    `coding` (p, p) takes working coefficients `gamma` (p,), of covariance `cov_gamma`, there.
    """

    method: DfMethod
    cov: Array
    gamma: Array
    cov_gamma: Array
    coding: Array
    found: Search
    adjustment: KenwardRoger | None

    def df(self, L: Array) -> Array:
        """Degrees of freedom (n,) of the contrasts L beta, L (n, p), one by one; inf for Wald."""
        return self._df(L @ self.coding)

    def _df(self, working: Array) -> Array:
        if self.method == "wald":
            return np.full(len(working), np.inf)
        if self.adjustment is not None:
            return _df_kenward_roger(self.adjustment, working)
        return _df_satterthwaite(self.found, working)

    def f_test(self, L: Array) -> FTest:
        """Test of L beta = 0 for q contrasts at once, L (q, p) of full rank; no numbers where none exists."""
        q = len(L)
        # F is the same in any basis of the contrasts; an orthonormal one costs no digits.
        working = np.asarray(linalg.qr((L @ self.coding).T, mode="economic")[0].T, dtype=np.float64)
        estimate, cov = working @ self.gamma, working @ self.cov_gamma @ working.T
        scale, df = 1.0, np.inf
        with np.errstate(all="ignore"):
            if self.adjustment is not None:
                scale, df = _several_kenward_roger(self.adjustment, working)
            elif self.method == "satterthwaite":
                df = self._several_satterthwaite(L)
            F = scale * float(estimate @ linalg.solve(cov, estimate, assume_a="pos")) / q
        if np.isinf(df):
            return FTest(F, q, None, float(special.chdtrc(q, q * F)))
        # With two degrees of freedom or fewer F has no mean, and the methods match means.
        if not (np.isfinite([F, df]).all() and scale > 0 and df > 2):
            return FTest(None, q, None, None)
        return FTest(F, q, float(df), float(special.fdtrc(q, df, F)))

    def _several_satterthwaite(self, L: Array) -> float:
        """Fai & Cornelius (1996, J Stat Comput Simul 54, 363-378): df from those of independent contrasts.

        Which contrasts are taken, and so the df, depends on the coding of L; it is lmerTest's.
        """
        _, U = linalg.eigh(L @ self.cov @ L.T)
        each = self.df(U.T @ L)
        if len(L) == 1:
            return float(each[0])
        used = each[each > 2]
        E = float((used / (used - 2)).sum())
        return 2 * E / (E - len(L)) if len(L) < E else 0.0


@dataclass(frozen=True)
class FTest:
    """F of q contrasts, df (None for the chi-square / q of a Wald test) and p; None where there is none."""

    F: float | None
    q: int
    df: float | None
    p: float | None


def infer(
    design: Design, objective: Objective, found: Search, choice: DfChoice, n_high: int
) -> FixedInference:
    """Inference at a minimum.

    `n_high`: units at the highest level, which decides `auto`.  With very few units an adjusted variance may
    come out negative: `auto` then goes on to the next method, and one asked for by name raises Unfittable.
    """
    methods: tuple[DfMethod, ...]
    if choice != "auto":
        methods = (choice,)
    elif objective.reml and n_high < 100:
        methods = ("kenward-roger", "satterthwaite")
    else:
        methods = ("satterthwaite",)
    coding, gamma = design.coding, design.gamma(found.evaluation.gamma)
    for method in methods:
        adjustment = kenward_roger(objective, found) if method == "kenward-roger" else None
        cov_gamma = found.evaluation.s2 * (found.evaluation.C if adjustment is None else adjustment.adjusted)
        cov = coding @ cov_gamma @ coding.T
        inference = FixedInference(method, (cov + cov.T) / 2, gamma, cov_gamma, coding, found, adjustment)
        with np.errstate(all="ignore"):
            dfs = inference.df(np.eye(len(cov)))
        if np.isfinite(cov).all() and (np.diag(cov) > 0).all() and (dfs > 0).all():
            return inference
    raise Unfittable("insufficient_data", f"too few units for {methods[-1]} degrees of freedom")


def t_test(estimate: float, se: float, df: float) -> tuple[float, float, float, float]:
    """t, two-sided p, and the limits of the 95 % interval; df = inf gives the normal ones."""
    t = estimate / se
    if np.isinf(df):
        tail, quantile = float(special.ndtr(-abs(t))), float(special.ndtri((1 + LEVEL) / 2))
    else:
        tail, quantile = float(special.stdtr(df, -abs(t))), float(special.stdtrit(df, (1 + LEVEL) / 2))
    half = quantile * se
    return t, 2 * tail, estimate - half, estimate + half


def _information(found: Search) -> Array:
    """A (m + 1, m + 1), the asymptotic covariance of (theta, sigma)."""
    ev, der = found.evaluation, found.derivatives
    H = np.block(
        [
            [der.hessian_fixed_sigma, der.slope_sigma[:, None]],
            [der.slope_sigma[None, :], np.array([[4 * ev.dof / ev.s2]])],
        ]
    )
    w, U = linalg.eigh(H)
    # On the edge of the parameter space H has directions without information; lmerTest leaves them out too.
    informed = w > 1e-8 * w.max()
    A: Array = 2 * (U[:, informed] / w[informed]) @ U[:, informed].T
    return A


def cov_of_variances(design: Design, objective: Objective, found: Search) -> Array:
    """Asymptotic covariance of the elements of every T, as the user coded it, and of sigma^2.

    T's lower triangles column by column in the order of the levels: the delta method from the covariance of
    (theta, sigma).  What is estimated on its boundary counts as known.  (0, 0) where two raters' residuals
    are modelled.
    """
    if isinstance(objective.residual, Paired):
        return np.zeros((0, 0))
    ev = found.evaluation
    sigma, n_theta = float(np.sqrt(ev.s2)), objective.n_theta
    slopes = []
    for level, part, Lambda in zip(
        design.levels, objective.slices, objective.factors(found.theta), strict=True
    ):
        q = len(Lambda)
        back = design.scale * sigma * linalg.solve_triangular(level.R, np.eye(q))
        half = back @ np.array([dL @ Lambda.T for dL in level.shape.unit_factors()]) @ back.T
        dT = np.zeros((n_theta + 1, q, q))
        dT[part] = half + half.transpose(0, 2, 1)
        dT[n_theta] = 2 / sigma * (back @ Lambda) @ (back @ Lambda).T
        slopes += [dT[:, i, j] for i, j in Shape(q, correlated=True).cells]
    slopes.append(np.append(np.zeros(n_theta), 2 * design.scale**2 * sigma))
    J = np.array(slopes)
    cov = J @ _information(found) @ J.T
    return np.asarray((cov + cov.T) / 2)


def _df_satterthwaite(found: Search, L: Array) -> Array:
    ev, der, A = found.evaluation, found.derivatives, _information(found)
    LC = L @ ev.C
    v = np.einsum("ip,ip->i", LC, L)
    gradient = np.column_stack([ev.s2 * np.einsum("tip,ip->it", LC @ der.Y, LC), 2 * np.sqrt(ev.s2) * v])
    df: Array = 2 * (ev.s2 * v) ** 2 / np.einsum("it,ts,is->i", gradient, A, gradient)
    return df


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """What Kenward and Roger's method needs, on the scale s2 = 1 and in the working coding.

    `Phi` (p, p) = C, `adjusted` (p, p) = Phi_A / s2, `Y` (m + 1, p, p) = P_a, `W` (m + 1, m + 1).  V is
    linear in its m + 1 parameters: the elements of every T, those of R, and the variance all are relative to.
    """

    Phi: Array
    adjusted: Array
    Y: Array
    W: Array


def kenward_roger(objective: Objective, found: Search) -> KenwardRoger:
    """The pieces at a minimum of the REML deviance.

    What concerns the residual variance, E_0 = V - sum_a T_a E_a, follows from the rest: P V P = P.
    """
    ev, p = found.evaluation, found.evaluation.p
    units = [level.shape.unit_covariances() for level in objective.levels]
    factors = objective.factors(found.theta)
    T = [
        float((Lambda @ Lambda.T)[cell])
        for level, Lambda in zip(objective.levels, factors, strict=True)
        for cell in level.shape.cells
    ]
    patterns: list[Pattern] = []
    if isinstance(objective.residual, Paired):
        patterns, values = objective.residual.linear(objective.psi(found.theta))
        T += values.tolist()
    parameters = np.array(T)
    curvature, order = objective.curvature(found.theta, ev, units, patterns)
    mo = curvature.moments.reordered(order)
    gradients = objective.covariance_gradients(ev)
    slopes = [float(np.sum(G * E)) for G, Es in zip(gradients, units, strict=True) for E in Es]
    if curvature.residual is not None:
        slopes += curvature.residual.slopes.tolist()
    trace_PE = np.array(slopes) + mo.q / ev.s2
    m = len(T)
    K = np.zeros((m + 1, m + 1))
    K[:m, :m] = mo.trace
    K[:m, m] = K[m, :m] = trace_PE - K[:m, :m] @ parameters
    K[m, m] = ev.dof - parameters @ trace_PE - parameters @ K[:m, m]

    Y = np.zeros((m + 1, p, p))
    Y[:m] = mo.Y
    Y[m] = linalg.inv(ev.C) - np.tensordot(parameters, Y[:m], axes=1)
    Q = np.zeros((m + 1, m + 1, p, p))
    Q[:m, :m] = curvature.products()[np.ix_(order, order)]
    Q[:m, m] = Y[:m] - np.einsum("b,abpq->apq", parameters, Q[:m, :m])
    Q[m, :m] = Q[:m, m].transpose(0, 2, 1)
    Q[m, m] = Y[m] - np.einsum("b,bpq->pq", parameters, Q[:m, m])

    W: Array = 2 * np.asarray(linalg.pinvh(K, rtol=1e-10), dtype=np.float64)
    C = ev.C
    middle = np.einsum("ab,abpq->pq", W, Q) - np.einsum("apr,arq->pq", Y @ C, np.tensordot(W, Y, axes=1))
    return KenwardRoger(C, C + C @ (middle + middle.T) @ C, Y, W)


def _df_kenward_roger(kr: KenwardRoger, L: Array) -> Array:
    LPhi = L @ kr.Phi
    of_each = np.einsum("aip,ip->ia", LPhi @ kr.Y, LPhi)
    v = np.einsum("ip,ip->i", LPhi, L)
    df: Array = 2 * v**2 / np.einsum("ia,ab,ib->i", of_each, kr.W, of_each)
    return df


def _several_kenward_roger(kr: KenwardRoger, L: Array) -> tuple[float, float]:
    """Scale of F and its denominator df for q contrasts (Kenward & Roger 1997, sec. 3.2)."""
    q, Phi = len(L), kr.Phi
    Theta = L.T @ linalg.solve(L @ Phi @ L.T, L, assume_a="pos")
    of_each = (Theta @ Phi) @ kr.Y @ Phi
    traces = np.einsum("app->a", of_each)
    A1 = float(traces @ kr.W @ traces)
    A2 = float(np.sum(kr.W * np.einsum("apq,bqp->ab", of_each, of_each)))
    B = (A1 + 6 * A2) / (2 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    below = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / below, (q - g) / below, (q + 2 - g) / below
    mean = 1 / (1 - A2 / q)
    variance = (2 / q) * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
    ratio = variance / (2 * mean**2)
    df = 4 + (q + 2) / (q * ratio - 1)
    return df / (mean * (df - 2)), df
