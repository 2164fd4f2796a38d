"""The check that a fit must pass: generalised least squares with the whole of V, block by block.

A second road to the log-likelihood and the fixed effects at the fitted variances: from the rows as the user
coded them, through dense Cholesky factors and an orthogonal decomposition, with none of the identities of
`deviance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import linalg

from .covariance import Array
from .data import LongData
from .design import Design
from .deviance import LOG_2PI


@dataclass(frozen=True, eq=False)
class GLS:
    """Estimates at given variances: beta (p,), se (p,), sigma and the (RE)ML deviance, sigma profiled out."""

    beta: Array
    se: Array
    sigma: float
    deviance: float


def dense_gls(data: LongData, design: Design, relative: list[Array], *, reml: bool) -> GLS:
    """GLS with V = I + sum_l Z_l T_l Z_l', `relative` the T_l (q, q) of the design's levels over sigma^2.

    Raises LinAlgError where V or X'V^-1X is not positive definite to working precision.
    """
    n, p = design.X.shape
    # Lengths that differ by orders of magnitude would cost digits in the decomposition.
    lengths = linalg.norm(design.X, axis=0)
    low = np.repeat(np.arange(len(data.units[-1])), np.diff(data.units[-1].start, append=n))
    white = np.empty((n, p + 1))
    log_det = 0.0
    bounds = np.append(data.units[0].start, n)
    for begin, end in pairwise(bounds):
        rows = slice(begin, end)
        V = np.eye(end - begin)
        for level, T in zip(design.levels, relative, strict=True):
            together = True if level.is_high else low[rows, None] == low[None, rows]
            V += (level.Z[rows] @ T @ level.Z[rows].T) * together
        root = linalg.cholesky(V, lower=True)
        log_det += 2 * float(np.log(np.diag(root)).sum())
        block = np.column_stack([design.X[rows] / lengths, design.y[rows]])
        white[rows] = linalg.solve_triangular(root, block, lower=True)
    R = linalg.qr(white, mode="r")[0][: p + 1]
    inverse = linalg.inv(R[:p, :p])
    dof = n - (p if reml else 0)
    s2 = float(R[p, p] ** 2) / dof
    deviance = log_det + dof * (1 + LOG_2PI + float(np.log(s2)))
    if reml:
        deviance += 2 * float(np.log(np.abs(np.diag(R)[:p]) * lengths).sum())
    return GLS(
        beta=inverse @ R[:p, p] / lengths,
        se=np.sqrt(s2) * linalg.norm(inverse, axis=1) / lengths,
        sigma=float(np.sqrt(s2)),
        deviance=deviance,
    )
