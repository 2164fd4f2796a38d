"""Power: how often a test rejects in studies simulated from a stated truth.

With p the share of n studies, its Monte Carlo standard error is sqrt(p (1 - p) / n) (Morris, White & Crowther
2019, Stat Med 38, 2074-2102, table 6); the interval is Wilson's (1927, J Am Stat Assoc 22, 209-212), which
has a width at 0 and 1 too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy import special

from .data import LongData
from .engine import fit
from .errors import DataError, SpecError
from .simulate import Columns, StudyDesign, Truth, rows_of, simulate
from .spec import GrowthSpec

# Status of a study's fit, and the p value of its test or None if there was no fit.
Test = Callable[[Columns], tuple[str, float | None]]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Proportion:
    """`count` of `n`, with Monte Carlo standard error and 95 % interval."""

    count: int
    n: int
    share: float
    se: float
    lower: float
    upper: float

    @classmethod
    def of(cls, count: int, n: int) -> Self:
        """Raises ValueError if there is nothing to take a share of."""
        if not 0 <= count <= n or n == 0:
            raise ValueError(f"{count} of {n} is no share")
        share, z2 = count / n, float(special.ndtri((1 + CONFIDENCE) / 2)) ** 2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = float(np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2)))) / (1 + z2 / n)
        se = float(np.sqrt(share * (1 - share) / n))
        return cls(count, n, share, se, max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True)
class Power:
    """How often a test rejected.

    `rejected` is of all simulated studies: one without a fit has not shown the effect.  It is None if no
    study could be fitted.  `statuses` counts the studies by the status of their fit.
    """

    rejected: Proportion | None
    n_studies: int
    n_unfitted: int
    statuses: Mapping[str, int]
    alpha: float
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, numbers and None, ready for JSON."""
        return asdict(self)


def study_seeds(seed: int, n_studies: int) -> list[np.random.SeedSequence]:
    """One independent seed for each study; the first ones are the same for every `n_studies`."""
    return np.random.SeedSequence(seed).spawn(n_studies)


def fixed_effect_test(spec: GrowthSpec, term: str, rater: str) -> Test:
    """The t test of one fixed effect in one rater's growth model, for `power`.

    A study whose columns the engine refuses (collinear, by chance of its small size) counts as `data_error`.
    The test raises SpecError if the model has no such term.
    """

    def p_value(columns: Columns) -> tuple[str, float | None]:
        data = LongData.from_columns(rows_of(columns, rater), spec)
        try:
            result = fit(data, spec)
        except DataError:
            return "data_error", None
        if not result.is_fitted:
            return result.status, None
        p = {row.term: row.p for row in result.fixed}
        if term not in p:
            raise SpecError(f"the model has no term {term!r}; it has {', '.join(p)}")
        return result.status, p[term]

    return p_value


def power(
    truth: Truth,
    design: StudyDesign,
    test: Test,
    *,
    n_studies: int,
    seed: int,
    alpha: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> Power:
    """Share of `n_studies` simulated studies in which `test` rejects at `alpha`.

    With the effect set to zero in `truth` it is the test's size.  `progress` is called with the number of
    studies done after each; an exception from it ends the run.  Raises SpecError for impossible arguments.
    """
    if n_studies < 1:
        raise SpecError(f"at least one study must be simulated, not {n_studies}")
    if not 0 < alpha < 1:
        raise SpecError(f"alpha must be between 0 and 1, not {alpha}")
    statuses: Counter[str] = Counter()
    n_rejected = n_unfitted = 0
    for done, study_seed in enumerate(study_seeds(seed, n_studies), start=1):
        status, p = test(simulate(truth, design, study_seed))
        statuses[status] += 1
        n_unfitted += p is None
        n_rejected += p is not None and p < alpha
        if progress is not None:
            progress(done)
    rejected = None if n_unfitted == n_studies else Proportion.of(n_rejected, n_studies)
    return Power(rejected, n_studies, n_unfitted, dict(statuses), alpha, seed)
