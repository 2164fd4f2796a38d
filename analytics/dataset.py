"""The only bridge from the domain to the growth engine: sums of ratings in, UnitSums out."""

from uuid import UUID

import pandas as pd

from analytics.growth import GrowthSpec, UnitSums
from analytics.models import TherapySums

# Time is the session number; its origin is the first planned rating of the study this product grew out of
# and ten sessions are one unit. With random slopes the intercept's variance depends on this origin, so it
# is printed wherever such a variance is.
ORIGIN, UNIT = 3, 10
TIME_CODING = f"(session - {ORIGIN}) / {UNIT}"

# The unconditional growth model of one perspective: occasions in therapies in therapists.
FIXED = "y ~ time"
RANDOM = ("1 + time | therapist", "1 + time | therapist:therapy")
MODEL = " + ".join([FIXED, *(f"({term})" for term in RANDOM)])

COLUMNS = ("therapist", "therapy", "n", "mean_time", "mean_y", "css_time", "csp", "css_y")


def time_of(session: float) -> float:
    return (session - ORIGIN) / UNIT


def growth_spec() -> GrowthSpec:
    """`MODEL` as the engine takes it."""
    return GrowthSpec.from_formula(FIXED, RANDOM, method="reml")


def unit_sums(study_id: UUID, perspective: str, instrument: str, scale: str) -> UnitSums:
    """All scored ratings of a study by one rater on one scale, with time as `TIME_CODING` says, as the store
    of sums has them."""
    rows = TherapySums.objects.filter(
        study=study_id, perspective=perspective, instrument=instrument, scale=scale
    ).values_list(*COLUMNS)
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return UnitSums.from_table(table.astype({"therapist": str, "therapy": str}))
