"""The only bridge from the domain to the growth engine: sums of ratings in, UnitSums out."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from uuid import UUID

import pandas as pd

from analytics.growth import GrowthSpec, UnitSums
from analytics.models import TherapySums


@dataclass(frozen=True)
class TimeCoding:
    """How a model counts time. `columns`: where `TherapySums` keeps mean, sum of squares and sum of products
    of it. With random slopes the intercept's variance depends on the session at which time is 0, so the
    coding is printed wherever such a variance is."""

    code: str
    formula: str
    columns: tuple[str, str, str]
    of_session: Callable[[float], float]

    def at(self, session: float) -> float:
        return self.of_session(session)


# Both begin at the first planned rating of the study this product grew out of.
ORIGIN, UNIT = 3, 10
LINEAR = TimeCoding(
    code="linear",
    formula=f"(session - {ORIGIN}) / {UNIT}",
    columns=("mean_time", "css_time", "csp"),
    of_session=lambda session: (session - ORIGIN) / UNIT,
)
LOG = TimeCoding(
    code="log",
    formula=f"ln(session / {ORIGIN})",
    columns=("mean_log", "css_log", "csp_log"),
    of_session=lambda session: log(session / ORIGIN),
)
CODINGS = {coding.code: coding for coding in (LINEAR, LOG)}

# The unconditional growth model of one perspective: occasions in therapies in therapists.
FIXED = "y ~ time"
RANDOM = ("1 + time | therapist", "1 + time | therapist:therapy")
MODEL = " + ".join([FIXED, *(f"({term})" for term in RANDOM)])

SUMS = ("mean_time", "css_time", "csp")


def growth_spec() -> GrowthSpec:
    """`MODEL` as the engine takes it."""
    return GrowthSpec.from_formula(FIXED, RANDOM, method="reml")


def unit_sums(
    study_id: UUID, perspective: str, instrument: str, scale: str, coding: TimeCoding = LINEAR
) -> UnitSums:
    """All scored ratings of a study by one rater on one scale, with time as coded, as the store of sums has
    them."""
    rows = TherapySums.objects.filter(
        study=study_id, perspective=perspective, instrument=instrument, scale=scale
    ).values_list("therapist", "therapy", "n", "mean_y", "css_y", *coding.columns)
    columns = ["therapist", "therapy", "n", "mean_y", "css_y", *SUMS]
    table = pd.DataFrame(list(rows), columns=columns)
    return UnitSums.from_table(table.astype({"therapist": str, "therapy": str}))
