"""Pure: how far a therapist's ratings lie from those of their own patients, and whether they move together.

The truth-and-bias model (West & Kenny 2011, Psychol Rev 118, 357-378) as it was applied to the alliance
(Atzil-Slonim et al. 2015, J Consult Clin Psychol 83, 773-784), the patient's rating being the "truth".  Of
therapy i, session s, both ratings p_is and q_is (patient, therapist) of the same session on the same scale,
with p_i. the mean of p_is over the paired sessions of the therapy:

    q_is - p_i. = b0 + b1 x_is + v0_i + v1_i x_is + e_is,      x_is = p_is - p_i.

    v0 ~ N(0, t0^2),  v1 ~ N(0, t1^2),  e ~ N(0, sigma^2)      all independent

- b0, directional discrepancy: how much higher the therapist rates than the patients, mean over therapies;
- b1, temporal congruence: how much the therapist's rating moves when the patient's is one point above this
  patient's own mean.

As x has mean 0 in each therapy, b0 is told by the mean differences of the therapies and b1 by what happens
within them.  Fitted by REML with `analytics.growth`; intervals are those of t with Satterthwaite's degrees of
freedom, which hold what they promise from five patients on, where Kenward and Roger's are far too wide
(docs/agreement.md).  Where every therapy has one pair, v0 and e are one, and b0 has the interval of a
one-sample t test.  Where the therapies are too few or do not vary, a reason stands in place of a number: no
number is better than a false one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, fit

# Fewer patients would be recognised in a number, and it would say little (docs/agreement.md).
MIN_PATIENTS = 5
MIN_PAIRS = 10
# Therapies with at least this many pairs show whether the two ratings move together.
MIN_PAIRS_TOGETHER = 3
# The estimation takes milliseconds; a page waits no longer than this.
SECONDS = 2.0

BOTH = GrowthSpec.from_formula("difference ~ x", ["1 + x || therapy"], method="reml", df="satterthwaite")
DIFFERENCE = GrowthSpec.from_formula("difference ~ 1", ["1 | therapy"], method="reml", df="satterthwaite")

TOO_FEW_PATIENTS = "too_few_patients"
TOO_FEW_PAIRS = "too_few_pairs"
NO_VARIATION = "no_variation"
NO_ESTIMATE = "no_estimate"


@dataclass(frozen=True)
class Pair:
    """Both ratings of one session, in points of the form."""

    patient_id: str
    therapy: str
    session: int
    patient: float
    therapist: float


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, in points of the form, and the t distribution's degrees of freedom."""

    value: float
    lower: float
    upper: float
    df: float | None


@dataclass(frozen=True)
class Dyad:
    """What the pairs of one therapy say by themselves; `difference` is therapist minus patient."""

    therapy: str
    n_pairs: int
    patient: float
    therapist: float

    @property
    def difference(self) -> float:
        return self.therapist - self.patient


@dataclass(frozen=True)
class Agreement:
    """Both numbers of one therapist, or the reason why one is not there (`why_...`, empty where it is).

    `n_together`: patients with enough pairs to show whether the ratings move together.
    """

    dyads: tuple[Dyad, ...]
    n_patients: int
    n_pairs: int
    n_together: int
    difference: Estimate | None
    why_no_difference: str
    tracking: Estimate | None
    why_no_tracking: str


def agreement(pairs: Iterable[Pair]) -> Agreement:
    """Agreement of one therapist with their patients over these pairs, in any order.

    One pair for a session of a therapy.  Raises ValueError for two, and for ratings that are not finite.
    """
    rows = sorted(pairs, key=lambda pair: (pair.therapy, pair.session))
    _require_pairs(rows)
    dyads, unit, x, difference = _centred(rows)
    patients = {pair.therapy: pair.patient_id for pair in rows}
    together = {patients[dyad.therapy] for dyad in dyads if dyad.n_pairs >= MIN_PAIRS_TOGETHER}
    n_patients = len(set(patients.values()))
    why = _too_few(n_patients, len(rows))
    why_apart = why or _too_few(len(together), len(rows))
    found, tracking = None, None
    if not why_apart:
        result = _fit(BOTH, unit, x, difference)
        found, tracking, why_apart = _told(result, 0), _told(result, 1), _reason(result)
    if not why and found is None:
        found, why = _difference_alone(dyads, unit, x, difference)
    return Agreement(
        dyads=dyads,
        n_patients=n_patients,
        n_pairs=len(rows),
        n_together=len(together),
        difference=found,
        why_no_difference=why,
        tracking=tracking,
        why_no_tracking=why_apart,
    )


def _require_pairs(rows: Sequence[Pair]) -> None:
    if len({(pair.therapy, pair.session) for pair in rows}) < len(rows):
        raise ValueError("A session of a therapy has one pair of ratings.")
    if not np.isfinite([value for pair in rows for value in (pair.patient, pair.therapist)]).all():
        raise ValueError("Ratings must be finite numbers.")


def _centred(
    rows: Sequence[Pair],
) -> tuple[tuple[Dyad, ...], NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Per therapy its `Dyad`; per pair its therapy's number, x and q - p_i. of the module's head."""
    names, unit = np.unique([pair.therapy for pair in rows], return_inverse=True)
    patient = np.array([pair.patient for pair in rows], dtype=np.float64)
    therapist = np.array([pair.therapist for pair in rows], dtype=np.float64)
    n_pairs = np.bincount(unit, minlength=len(names))
    means = [np.bincount(unit, values, len(names)) / n_pairs for values in (patient, therapist)]
    dyads = tuple(
        Dyad(str(name), int(n), float(p), float(q))
        for name, n, p, q in zip(names, n_pairs, *means, strict=True)
    )
    # The digits that a mean of equal ratings loses are no movement.
    x = np.round(patient - means[0][unit], 9)
    return dyads, unit, x, therapist - means[0][unit]


def _too_few(n_patients: int, n_pairs: int) -> str:
    if n_patients < MIN_PATIENTS:
        return TOO_FEW_PATIENTS
    return TOO_FEW_PAIRS if n_pairs < MIN_PAIRS else ""


def _difference_alone(
    dyads: Sequence[Dyad], unit: NDArray[np.intp], x: NDArray[np.float64], difference: NDArray[np.float64]
) -> tuple[Estimate | None, str]:
    """b0 of the model without x, or the reason why there is none."""
    if max(dyad.n_pairs for dyad in dyads) > 1:
        result = _fit(DIFFERENCE, unit, x, difference)
        return _told(result, 0), _reason(result)
    df = len(difference) - 1
    value, se = float(difference.mean()), float(difference.std(ddof=1)) / (df + 1) ** 0.5
    if se < 1e-9:
        return None, NO_VARIATION
    half = float(special.stdtrit(df, 0.975)) * se
    return Estimate(value, value - half, value + half, float(df)), ""


def _fit(
    spec: GrowthSpec, unit: NDArray[np.intp], x: NDArray[np.float64], difference: NDArray[np.float64]
) -> FitResult | None:
    """The model on these pairs; None where a column has one value only."""
    columns = {"therapy": unit, "x": x, "difference": difference}
    try:
        return fit(LongData.from_columns(columns, spec), spec, seconds=SECONDS)
    except DataError:
        return None


def _told(result: FitResult | None, place: int) -> Estimate | None:
    if result is None or not result.is_fitted:
        return None
    row = result.fixed[place]
    return Estimate(row.estimate, row.lower, row.upper, row.df)


def _reason(result: FitResult | None) -> str:
    """Why a fit has no number; empty where it has."""
    if result is not None and result.is_fitted:
        return ""
    return NO_VARIATION if result is None or result.status == "no_variation" else NO_ESTIMATE
