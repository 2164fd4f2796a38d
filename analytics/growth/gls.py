"""The check that a fit must pass: a second road to likelihood and fixed effects at the fitted variances.

From the sums, lme4's penalised least squares (Bates, Maechler, Bolker & Walker 2015, J Stat Softw 67(1), sec.
5.4), spherical random effects b = Lambda v eliminated from the lowest level up:

    [[Lambda'Z'Z Lambda + I, Lambda'Z'X], [., X'X]] = [[L L', ...], [.., R_X'R_X]],   log|V| = 2 log|L|

with none of the triangular forms of `deviance`.  From the rows, what only the solution fulfils: with
e = y - X beta - Z b (Henderson 1975, Biometrics 31, 423-447; V^-1(y - X beta) = R^-1e)

    X'R^-1e = 0,   b_l = T_l Z_l'R^-1e at every level,   (y - X beta)'R^-1e = sigma^2 dof.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from . import blocks
from .covariance import Array
from .design import Design
from .deviance import LOG_2PI, Evaluation
from .errors import Unfittable


def disagreement(design: Design, ev: Evaluation, psi: Array) -> float:
    """Largest disagreement of the two roads: relative for likelihood, sigma and SEs, in SEs for the rest.

    Raises Unfittable where the second road does not arrive.
    """
    try:
        by_sums = _penalised(design, ev)
    except (linalg.LinAlgError, ValueError) as error:
        raise Unfittable("not_converged", f"the check by penalised least squares failed: {error}") from error
    return max(by_sums, _by_rows(design, ev, psi) if design.rows is not None else 0.0)


def _penalised(design: Design, ev: Evaluation) -> float:
    """Log-likelihood, sigma, SEs and gamma from the cross-products of the sums."""
    statistics, reduced, p = design.statistics, ev.reduced, ev.p
    low, high, starts = ev.low[:, :, None], ev.high[:, :, None], statistics.high_start
    A = np.einsum("abn,cbn->acn", reduced.root, reduced.root)
    b = np.einsum("abn,bn->an", reduced.root, reduced.beta)
    total = reduced.within + float(np.vdot(reduced.beta, reduced.beta))

    Ab = np.concatenate([A, b[:, None]], axis=1)
    L = blocks.cholesky(_plus_one(blocks.tmul(low, blocks.mul(A, low))))
    E = blocks.solve_lower(L, blocks.tmul(low, Ab))
    rest = blocks.sums(Ab - blocks.tmul(E[:, :-1], E), starts)
    A_high, b_high = rest[:, :-1], rest[:, -1:]
    W = np.concatenate([blocks.mul(A_high, statistics.span), b_high], axis=1)
    L_high = blocks.cholesky(_plus_one(blocks.tmul(high, blocks.mul(A_high, high))))
    F = blocks.solve_lower(L_high, blocks.tmul(high, W))
    S = np.zeros((p + 1, p + 1))
    S[:p] = blocks.cross(statistics.span, W)
    S[p, :p], S[p, p] = S[:p, p], total - float(np.vdot(E[:, -1], E[:, -1]))
    S = S - blocks.cross(F, F)
    log_det = reduced.log_det + sum(
        2 * float(np.log(np.einsum("aan->an", factor)).sum()) for factor in (L, L_high)
    )
    R = linalg.cholesky(S[:p, :p])
    gamma = linalg.cho_solve((R, False), S[:p, p])
    s2 = float(S[p, p] - gamma @ S[:p, p]) / ev.dof
    deviance = log_det + ev.dof * (1 + LOG_2PI + np.log(s2))
    if ev.reml:
        deviance += 2 * float(np.log(np.diag(R)).sum())
    inverse = linalg.solve_triangular(R, np.eye(p))
    se, ours = np.sqrt(s2) * linalg.norm(inverse, axis=1), np.sqrt(ev.s2 * np.diag(ev.C))
    return max(
        abs(float(deviance) - ev.deviance) / max(1.0, abs(ev.deviance)),
        abs(float(np.sqrt(s2 / ev.s2)) - 1),
        float(np.max(np.abs(se / ours - 1))),
        float(np.max(np.abs(gamma - ev.gamma) / ours)),
    )


def _plus_one(M: Array) -> Array:
    return M + np.eye(len(M))[:, :, None]


def _by_rows(design: Design, ev: Evaluation, psi: Array) -> float:
    """How far the residuals of the rows are from Henderson's conditions."""
    statistics, p = design.statistics, ev.p
    assert design.rows is not None
    inside = statistics.n_inside
    b = (ev.low @ ev.low.T) @ ev.s + np.repeat((ev.high @ ev.high.T) @ ev.F_high[:, p], inside, axis=-1)
    fixed = np.einsum("upk,p->uk", statistics.span, design.gamma_ols / design.scale + ev.gamma)
    Ue, ee = design.rows.residual_sums(design.scale * (b + np.repeat(fixed, inside, axis=-1)), psi)
    Ue, ee = Ue / design.scale, ee / design.scale**2
    of_X = np.einsum("upk,uk->p", statistics.span, blocks.sums(Ue, statistics.high_start))
    lengths = np.sqrt(np.einsum("abn,abn->an", ev.reduced.root, ev.reduced.root)) + 1.0
    return max(
        float(np.max(np.abs(ev.C @ of_X) / np.sqrt(ev.s2 * np.diag(ev.C)))),
        float(np.max(np.abs(Ue - ev.s) / lengths) / np.sqrt(ev.s2)),
        abs((ee + float(np.vdot(b, Ue))) / (ev.s2 * ev.dof) - 1),
    )
