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

All are exact: the derivatives come from `deviance`, not from differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg, special

from .covariance import Array
from .deviance import Objective
from .errors import Unfittable
from .optimize import Search
from .spec import GrowthSpec

DfMethod = Literal["satterthwaite", "kenward-roger", "wald"]
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class FixedInference:
    """Covariance (p, p) and df (p,) of the fixed effects in the user's coding; df are inf for Wald."""

    cov: Array
    df: Array
    method: DfMethod


def infer(
    objective: Objective, found: Search, coding: Array, spec: GrowthSpec, n_high: int
) -> FixedInference:
    """Inference at a minimum.

    `coding` (p, p) takes working coefficients to the user's: beta = coding gamma.  `n_high`: units at the
    highest level, which decides `df="auto"`.  With very few units an adjusted variance may come out negative:
    `auto` then goes on to the next method, and a method asked for by name raises Unfittable.
    """
    methods: tuple[DfMethod, ...]
    if spec.df != "auto":
        methods = (spec.df,)
    elif spec.method == "reml" and n_high < 100:
        methods = ("kenward-roger", "satterthwaite")
    else:
        methods = ("satterthwaite",)
    for method in methods:
        if method == "kenward-roger":
            cov, df = _kenward_roger(objective, found, coding)
        else:
            cov = found.evaluation.s2 * coding @ found.evaluation.C @ coding.T
            df = _satterthwaite(found, coding) if method == "satterthwaite" else np.full(len(cov), np.inf)
        if np.isfinite(cov).all() and (np.diag(cov) > 0).all() and (df > 0).all():
            return FixedInference(cov, df, method)
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


def _satterthwaite(found: Search, coding: Array) -> Array:
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
    A = 2 * (U[:, informed] / w[informed]) @ U[:, informed].T
    lC = coding @ ev.C
    v = np.einsum("ip,ip->i", lC, coding)
    gradient = np.column_stack(
        [ev.s2 * np.einsum("ip,tpq,iq->it", lC, der.Y, lC, optimize=True), 2 * np.sqrt(ev.s2) * v]
    )
    df: Array = 2 * (ev.s2 * v) ** 2 / np.einsum("it,ts,is->i", gradient, A, gradient)
    return df


def _kenward_roger(objective: Objective, found: Search, coding: Array) -> tuple[Array, Array]:
    """Adjusted covariance and df, on the scale s2 = 1, with V = I + sum_a T_a E_a linear in its parameters.

    What concerns the residual variance, E_0 = I = V - sum_a T_a E_a, follows from the rest: P V P = P.
    """
    ev, p = found.evaluation, found.evaluation.p
    units = [level.shape.unit_covariances() for level in objective.levels]
    factors = objective.factors(found.theta)
    T = np.array(
        [
            (Lambda @ Lambda.T)[cell]
            for level, Lambda in zip(objective.levels, factors, strict=True)
            for cell in level.shape.cells
        ]
    )
    mo = objective.in_order(ev, units)
    gradients = objective.covariance_gradients(ev)
    slopes = [float(np.sum(G * E)) for G, Es in zip(gradients, units, strict=True) for E in Es]
    trace_PE = np.array(slopes) + mo.Y[:, p, p] / ev.s2
    m = len(T)
    K = np.zeros((m + 1, m + 1))
    K[:m, :m] = mo.trace_P(ev.C)
    K[:m, m] = K[m, :m] = trace_PE - K[:m, :m] @ T
    K[m, m] = ev.dof - T @ trace_PE - T @ K[:m, m]

    Y = np.zeros((m + 1, p, p))
    Y[:m] = mo.Y[:, :p, :p]
    Y[m] = linalg.inv(ev.C) - np.tensordot(T, Y[:m], axes=1)
    Q = np.zeros((m + 1, m + 1, p, p))
    Q[:m, :m] = mo.YY[:, :, :p, :p]
    Q[:m, m] = Y[:m] - np.einsum("b,abpq->apq", T, Q[:m, :m])
    Q[m, :m] = Q[:m, m].transpose(0, 2, 1)
    Q[m, m] = Y[m] - np.einsum("b,bpq->pq", T, Q[:m, m])

    W = 2 * linalg.pinvh(K)
    C = ev.C
    middle = np.einsum("ab,abpq->pq", W, Q) - np.einsum("ab,apr,rs,bsq->pq", W, Y, C, Y, optimize=True)
    cov = ev.s2 * coding @ (C + C @ (middle + middle.T) @ C) @ coding.T
    lC = coding @ C
    lCYCl = np.einsum("ip,apq,iq->ia", lC, Y, lC, optimize=True)
    v = np.einsum("ip,ip->i", lC, coding)
    df: Array = 2 * v**2 / np.einsum("ia,ab,ib->i", lCYCl, W, lCYCl)
    return (cov + cov.T) / 2, df
