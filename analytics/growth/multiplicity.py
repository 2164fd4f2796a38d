"""p values adjusted for the number of tests, so that each can be held against the level meant for all.

For m tests with p values p(1) <= ... <= p(m):

    Holm       max over j <= i of min(1, (m - j + 1) p(j))     the chance of any false finding
    BH         min over j >= i of min(1, m p(j) / j)           the share of findings that are false

(Holm 1979, Scand J Stat 6, 65-70; Benjamini & Hochberg 1995, J R Stat Soc B 57, 289-300).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .covariance import Array


def holm(p: ArrayLike) -> Array:
    """Adjusted p values (m,) that control the familywise error rate, in the order given.

    Holds under any dependence of the tests.  Raises ValueError for what is not a p value.
    """
    values, order = _sorted(p)
    m = len(values)
    adjusted = np.maximum.accumulate((m - np.arange(m)) * values)
    return _in_given_order(adjusted, order)


def benjamini_hochberg(p: ArrayLike) -> Array:
    """Adjusted p values (m,) that control the false discovery rate, in the order given.

    Holds for independent and for positively dependent tests.  Raises ValueError for what is not a p value.
    """
    values, order = _sorted(p)
    m = len(values)
    adjusted = np.minimum.accumulate((m * values / np.arange(1, m + 1))[::-1])[::-1]
    return _in_given_order(adjusted, order)


def _sorted(p: ArrayLike) -> tuple[Array, NDArray[np.intp]]:
    values = np.atleast_1d(np.asarray(p, dtype=np.float64))
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError("p values must be one list of numbers between 0 and 1: leave out tests without one")
    order = np.argsort(values, kind="stable")
    return values[order], order


def _in_given_order(adjusted: Array, order: NDArray[np.intp]) -> Array:
    out = np.empty_like(adjusted)
    out[order] = np.minimum(adjusted, 1.0)
    return out
