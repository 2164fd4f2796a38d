"""Questions over fits and ratings: the latest fit, and everything that one therapy's page shows."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.utils import timezone

from analytics.dataset import time_of
from analytics.growth import FitResult, expected_course
from analytics.growth.results import FITTED
from analytics.models import GrowthFit
from surveys.access import Actor, visible_scores
from surveys.models import Instrument, Therapy
from surveys.selectors import OUTCOME_SCALE, SessionPlan, n_ratings_since, outcome_instruments, session_plan

# An expected course made of fewer people would say something about each of them.
MIN_THERAPISTS, MIN_THERAPIES = 3, 5
BAND = 0.80


@dataclass(frozen=True)
class RatingPoint:
    session: int
    perspective: str
    instrument: str
    scale: str
    value: float
    submitted_on: date


@dataclass(frozen=True)
class ExpectedPoint:
    """A new rating at `session`, expected from the ratings before it; 80 % of ratings lie in the band."""

    session: int
    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class FitSummary:
    id: UUID
    status: str
    fitted_at: datetime
    n_newer: int
    n_therapists: int
    n_therapies: int
    n_ratings: int


@dataclass(frozen=True)
class Trend:
    """One therapy as its therapist may see it. `fit` is the last good model, `latest_problem` says why a
    newer attempt gave no numbers, `expected` is empty where no number is better than a false one."""

    therapy: Therapy
    perspective: str
    instrument: str
    minimum: int
    maximum: int
    plan: SessionPlan
    ratings: tuple[RatingPoint, ...]
    expected: tuple[ExpectedPoint, ...]
    fit: FitSummary | None
    latest_problem: str

    def of(self, perspective: str) -> tuple[RatingPoint, ...]:
        return tuple(
            point
            for point in self.ratings
            if point.perspective == perspective and point.scale == OUTCOME_SCALE
        )


def latest_fits(
    study_id: UUID, perspective: str, instrument: str
) -> tuple[GrowthFit | None, GrowthFit | None]:
    """The last fit with numbers, and the last attempt."""
    fits = GrowthFit.objects.filter(
        study=study_id, perspective=perspective, instrument=instrument, scale=OUTCOME_SCALE
    ).order_by("-fitted_at")
    return fits.filter(status__in=FITTED).first(), fits.first()


def therapy_trend(user: Actor, therapy: Therapy, perspective: str) -> Trend:
    """Ratings that the user may see, and the course that the model of this perspective expects.

    The expected course is conditioned on visible ratings alone: a hidden one must not show in the band.
    """
    instrument = _outcome_instrument(therapy, perspective)
    form = instrument.form
    ratings = _ratings(user, therapy)
    plan = session_plan(therapy, instrument)
    good, latest = latest_fits(therapy.study_id, perspective, instrument.code)
    if good is not None and (good.n_therapists < MIN_THERAPISTS or good.n_therapies < MIN_THERAPIES):
        good = None
    observed = [
        point
        for point in ratings
        if (point.perspective, point.instrument, point.scale) == (perspective, instrument.code, OUTCOME_SCALE)
    ]
    return Trend(
        therapy=therapy,
        perspective=perspective,
        instrument=instrument.code,
        minimum=form.minimum,
        maximum=form.maximum,
        plan=plan,
        ratings=ratings,
        expected=_expected(good, plan, observed) if good else (),
        fit=_summary(good) if good else None,
        latest_problem="" if latest is None or latest == good else latest.message,
    )


def _outcome_instrument(therapy: Therapy, perspective: str) -> Instrument:
    return outcome_instruments(therapy.study).filter(rater=perspective).latest("version")


def _ratings(user: Actor, therapy: Therapy) -> tuple[RatingPoint, ...]:
    rows = (
        visible_scores(user, therapy)
        .filter(mean__isnull=False, response__assignment__session__number__isnull=False)
        .filter(response__instrument__in=outcome_instruments(therapy.study))
        .order_by("response__assignment__session__number", "response__assignment__rater", "id")
        .values_list(
            "response__assignment__session__number",
            "response__assignment__rater",
            "response__instrument__code",
            "scale",
            "mean",
            "response__submitted_at",
        )
    )
    # The filter leaves no nulls.
    return tuple(RatingPoint(*row[:5], timezone.localdate(row[5])) for row in rows)  # type: ignore[arg-type]


def _expected(fit: GrowthFit, plan: SessionPlan, observed: list[RatingPoint]) -> tuple[ExpectedPoint, ...]:
    assert fit.result is not None, "a good fit has a result"
    sessions = range(plan.first, plan.horizon + 1)
    course = expected_course(
        FitResult.from_dict(fit.result),
        [time_of(session) for session in sessions],
        [time_of(point.session) for point in observed],
        [point.value for point in observed],
        level=BAND,
    )
    rows = zip(sessions, course.mean, course.lower, course.upper, strict=True)
    return tuple(
        ExpectedPoint(session, float(mean), float(low), float(high)) for session, mean, low, high in rows
    )


def _summary(fit: GrowthFit) -> FitSummary:
    return FitSummary(
        id=fit.pk,
        status=fit.status,
        fitted_at=fit.fitted_at,
        n_newer=n_ratings_since(fit.study_id, fit.perspective, fit.instrument, fit.data_until),
        n_therapists=fit.n_therapists,
        n_therapies=fit.n_therapies,
        n_ratings=fit.n_ratings,
    )
