"""The only bridge from the domain to the growth engine: ratings in, LongData out."""

from uuid import UUID

from analytics.growth import GrowthSpec, LongData, RandomTerm
from surveys.selectors import study_ratings

# Time is the session number; its origin is the first planned rating of the study this product grew out of
# and ten sessions are one unit. With random slopes the intercept's variance depends on this origin, so it
# is printed wherever such a variance is.
ORIGIN, UNIT = 3, 10
TIME_CODING = f"(session - {ORIGIN}) / {UNIT}"


def time_of(session: float) -> float:
    return (session - ORIGIN) / UNIT


def growth_spec() -> GrowthSpec:
    """The unconditional growth model of one perspective: occasions in therapies in therapists."""
    return GrowthSpec(
        outcome="y",
        fixed="time",
        random=(RandomTerm("therapist", ("1", "time")), RandomTerm("therapist:therapy", ("1", "time"))),
        method="reml",
    )


def long_data(study_id: UUID, perspective: str, instrument: str, scale: str) -> LongData:
    """Every scored rating of a study by one rater on one scale, with time as `TIME_CODING` says."""
    rows = study_ratings(study_id, perspective, instrument, scale)
    columns: dict[str, list[str] | list[float]] = {
        "therapist": [str(row.therapist) for row in rows],
        "therapy": [str(row.therapy) for row in rows],
        "time": [time_of(row.session) for row in rows],
        "y": [row.value for row in rows],
    }
    return LongData.from_columns(columns, growth_spec())
