"""Questions over fits and ratings: the latest fit, and everything that one therapy's page shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from analytics.dataset import time_of
from analytics.growth import FitResult, expected_course
from analytics.growth.results import FITTED
from analytics.models import GrowthFit
from surveys import jobs
from surveys.access import Actor, visible_scores
from surveys.models import Job, Therapy
from surveys.selectors import OUTCOME_SCALE, SessionPlan, n_study_ratings, session_plan, therapy_forms

# With fewer, the band of 80 % holds only two of three ratings in simulations, and a course made of few
# people would say something about each of them.
MIN_THERAPISTS, MIN_THERAPIES = 8, 24
BAND = 0.80

# The engine's own words name values and variables; a therapist's page says what a refused fit means.
REASONS = {
    "no_variation": gettext_lazy("all ratings so far are the same, and nothing can be expected from that."),
    "insufficient_data": gettext_lazy("the study has too few ratings for a model so far."),
    "not_converged": gettext_lazy("the estimation did not settle on an answer."),
    "timed_out": gettext_lazy("the estimation did not end in the time it is given."),
}


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
class AllianceForm:
    """The alliance form that the study asks one rater for, with the range of its answers."""

    code: str
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Trend:
    """One therapy as its therapist may see it. `fit` is the last good model, `problem` says why there is none
    or why a newer attempt failed, `expected` is empty where no number is better than a false one."""

    therapy: Therapy
    perspective: str
    forms: Mapping[str, AllianceForm]
    plan: SessionPlan
    ratings: tuple[RatingPoint, ...]
    expected: tuple[ExpectedPoint, ...]
    fit: FitSummary | None
    problem: str
    refit_failed_at: datetime | None = None

    @property
    def form(self) -> AllianceForm | None:
        """The form of the chosen perspective; None where the study asks that rater for none."""
        return self.forms.get(self.perspective)

    @property
    def has_one_scale(self) -> bool:
        """Whether both raters answer on the same range, so that one axis can carry both."""
        return len({(form.minimum, form.maximum) for form in self.forms.values()}) <= 1

    def of(self, perspective: str) -> tuple[RatingPoint, ...]:
        """The alliance ratings of one rater on the study's form; ratings on another form are no part of
        the same line."""
        form = self.forms.get(perspective)
        return tuple(
            point
            for point in self.ratings
            if form
            and (point.perspective, point.instrument, point.scale) == (perspective, form.code, OUTCOME_SCALE)
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
    instruments = therapy_forms(therapy)
    forms = {
        rater: AllianceForm(instrument.code, instrument.form.minimum, instrument.form.maximum)
        for rater, instrument in instruments.items()
    }
    trend = Trend(
        therapy, perspective, forms, SessionPlan.empty(), _ratings(user, therapy, forms), (), None, ""
    )
    form = trend.form
    if form is None:
        return trend
    trend = replace(trend, plan=session_plan(therapy, perspective, form.code))
    good, latest = latest_fits(therapy.study_id, perspective, form.code)
    trend = replace(trend, refit_failed_at=_refit_failed_at(therapy))
    problem = str(REASONS[latest.status]) if latest is not None and latest.status not in FITTED else ""
    if good is None:
        return replace(trend, problem=problem)
    if good.n_therapists < MIN_THERAPISTS or good.n_therapies < MIN_THERAPIES:
        too_few = _("it needs ratings of at least %(therapies)d therapies by %(therapists)d therapists.")
        return replace(trend, problem=too_few % {"therapies": MIN_THERAPIES, "therapists": MIN_THERAPISTS})
    expected = _expected(good, trend.plan, trend.of(perspective), form)
    return replace(trend, expected=expected, fit=_summary(good), problem=problem)


def _refit_failed_at(therapy: Therapy) -> datetime | None:
    """When the study's last refit was given up; None while one is done, waiting or running."""
    job = jobs.latest("refit", therapy.study_id)
    return job.finished_at if job and job.state == Job.State.FAILED else None


def _ratings(user: Actor, therapy: Therapy, forms: Mapping[str, AllianceForm]) -> tuple[RatingPoint, ...]:
    rows = (
        visible_scores(user, therapy)
        .filter(mean__isnull=False, response__assignment__session__number__isnull=False)
        .filter(response__instrument__code__in={form.code for form in forms.values()})
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


def _expected(
    fit: GrowthFit, plan: SessionPlan, observed: Sequence[RatingPoint], form: AllianceForm
) -> tuple[ExpectedPoint, ...]:
    """The course, cut to the range of the form: no rating can lie beyond it."""
    assert fit.result is not None, "a good fit has a result"
    sessions = range(plan.first, plan.horizon + 1)
    course = expected_course(
        FitResult.from_dict(fit.result),
        [time_of(session) for session in sessions],
        [time_of(point.session) for point in observed],
        [point.value for point in observed],
        level=BAND,
    )
    columns = (
        column.clip(form.minimum, form.maximum).tolist()
        for column in (course.mean, course.lower, course.upper)
    )
    return tuple(ExpectedPoint(*row) for row in zip(sessions, *columns, strict=True))


def _summary(fit: GrowthFit) -> FitSummary:
    n_now = n_study_ratings(fit.study_id, fit.perspective, fit.instrument, OUTCOME_SCALE)
    return FitSummary(
        id=fit.pk,
        status=fit.status,
        fitted_at=fit.fitted_at,
        # Counted, not compared by time: a form that was sent earlier may be stored later.
        n_newer=max(0, n_now - fit.n_ratings),
        n_therapists=fit.n_therapists,
        n_therapies=fit.n_therapies,
        n_ratings=fit.n_ratings,
    )
