"""Power: how often a test rejects in studies simulated from a stated truth.

With p the share of n studies, its Monte Carlo standard error is sqrt(p (1 - p) / n) (Morris, White & Crowther
2019, Stat Med 38, 2074-2102, table 6); the interval is Wilson's (1927, J Am Stat Assoc 22, 209-212), which
has a width at 0 and 1 too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from scipy import special

from .data import LongData
from .engine import fit
from .errors import DataError, SpecError
from .joint import fit_joint
from .simulate import Columns, StudyDesign, Truth, rows_of, simulate
from .spec import GrowthSpec, JointSpec

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Shown:
    """What a study shows of one effect: p, and half the width of its 95 % interval."""

    p: float
    half_width: float


# Status of a study's fit, and what it shows of each effect by name; nothing if there was no fit.
Tests = Callable[[Columns], tuple[str, Mapping[str, Shown]]]


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
    study could be fitted.  `half_width`: mean over the fitted studies of half the 95 % interval, and
    `half_width_se` its Monte Carlo standard error (None of fewer than two).  `statuses` counts the studies by
    the status of their fit.
    """

    rejected: Proportion | None
    half_width: float | None
    half_width_se: float | None
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


def fixed_effect_tests(spec: GrowthSpec, terms: Sequence[str], rater: str) -> Tests:
    """The t tests of fixed effects in one rater's growth model, by term.

    A study whose columns the engine refuses (collinear, by chance of its small size) counts as `data_error`.
    The tests raise SpecError if the model has no such term.
    """

    def shown(columns: Columns) -> tuple[str, Mapping[str, Shown]]:
        data = LongData.from_columns(rows_of(columns, rater), spec)
        try:
            result = fit(data, spec)
        except DataError:
            return "data_error", {}
        if not result.is_fitted:
            return result.status, {}
        found = {row.term: Shown(row.p, (row.upper - row.lower) / 2) for row in result.fixed}
        for term in terms:
            if term not in found:
                raise SpecError(f"the model has no term {term!r}; it has {', '.join(found)}")
        return result.status, {term: found[term] for term in terms}

    return shown


def joint_tests(spec: JointSpec) -> Tests:
    """All tests of the joint model: its fixed effects by term, and the differences between the raters as
    `x:level` and `x:growth` of each predictor x.  Data that the engine refuses count as `data_error`."""

    def shown(columns: Columns) -> tuple[str, Mapping[str, Shown]]:
        try:
            result = fit_joint(columns, spec)
        except DataError:
            return "data_error", {}
        found = {row.term: Shown(row.p, (row.upper - row.lower) / 2) for row in result.fixed}
        for row in result.contrasts:
            found[f"{row.predictor}:{row.effect}"] = Shown(row.p, (row.upper - row.lower) / 2)
        return result.status, found

    return shown


def power(
    truth: Truth,
    design: StudyDesign,
    tests: Tests,
    effects: Sequence[str],
    *,
    n_studies: int,
    seed: int,
    alpha: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Power]:
    """Of each effect the share of `n_studies` simulated studies in which its test rejects at `alpha`.

    With the effect set to zero in `truth` it is the test's size.  `progress` is called with the number of
    studies done after each; an exception from it ends the run.  Raises SpecError for impossible arguments.
    """
    if n_studies < 1:
        raise SpecError(f"at least one study must be simulated, not {n_studies}")
    if not 0 < alpha < 1:
        raise SpecError(f"alpha must be between 0 and 1, not {alpha}")
    statuses: Counter[str] = Counter()
    studies: list[Mapping[str, Shown]] = []
    for done, study_seed in enumerate(study_seeds(seed, n_studies), start=1):
        status, found = tests(simulate(truth, design, study_seed))
        statuses[status] += 1
        studies.append(found)
        if progress is not None:
            progress(done)
    return {
        name: _counted([study[name] for study in studies if name in study], statuses, n_studies, alpha, seed)
        for name in effects
    }


def _counted(
    shown: Sequence[Shown], statuses: Mapping[str, int], n_studies: int, alpha: float, seed: int
) -> Power:
    n = len(shown)
    widths = np.array([row.half_width for row in shown])
    return Power(
        rejected=Proportion.of(sum(row.p < alpha for row in shown), n_studies) if n else None,
        half_width=float(widths.mean()) if n else None,
        half_width_se=float(widths.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
        n_studies=n_studies,
        n_unfitted=n_studies - n,
        statuses=dict(statuses),
        alpha=alpha,
        seed=seed,
    )
