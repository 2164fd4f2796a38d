"""Questions over fits and ratings: the latest fit, and everything that one therapy's page shows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from django.db.models import Count, Sum
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from analytics.dataset import LINEAR, TimeCoding
from analytics.growth import FitResult, expected_course
from analytics.growth.results import FITTED
from analytics.models import GrowthFit, RatingChange, RatingCount, TherapySums
from analytics.wording import Pause
from surveys import jobs
from surveys.access import Actor, visible_scores
from surveys.jobs import Silence
from surveys.models import Instrument, Job, Therapy
from surveys.selectors import OUTCOME_SCALE, study_ratings, therapy_forms
from surveys.session_plan import SessionPlan, session_plan

# With fewer, the band of 80 % holds only two of three ratings in simulations, and a course made of few
# people would say something about each of them.
MIN_THERAPISTS, MIN_THERAPIES = 8, 24
BAND = 0.80
# A worker is heard every few seconds, in a long refit only before and after it.
SILENCE = timedelta(seconds=55)
# A model that does not know of newer ratings is behind after this long.
FRESH = timedelta(hours=24)
WEEK = timedelta(weeks=1)
# Between two sessions; longer is a break.
LONGEST_GAP = 4 * WEEK

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
    """The alliance form that the study asks one rater for, with the range of its answers and the titles of
    its scales by code, the total first."""

    code: str
    minimum: int
    maximum: int
    scales: Mapping[str, str]

    @classmethod
    def of(cls, instrument: Instrument) -> "AllianceForm":
        form = instrument.form
        titles = {scale.code: scale.title for scale in form.scales}
        scales = {OUTCOME_SCALE: titles[OUTCOME_SCALE], **titles}
        return cls(instrument.code, form.minimum, form.maximum, scales)


@dataclass(frozen=True)
class Outlook:
    """What the models of one scale say of a therapy: `fit` is the last good one, `problem` says why there is
    none or why a newer attempt failed, `expected` is empty where no number is better than a false one.
    `attempt` is the status of the last fit, good or not."""

    expected: tuple[ExpectedPoint, ...] = ()
    fit: FitSummary | None = None
    problem: str = ""
    attempt: str = ""


@dataclass(frozen=True)
class Trend:
    """One therapy as its therapist may see it: every scale of the form of the chosen perspective, and which
    of them is looked at."""

    therapy: Therapy
    perspective: str
    scale: str
    coding: TimeCoding
    forms: Mapping[str, AllianceForm]
    plan: SessionPlan
    ratings: tuple[RatingPoint, ...]
    outlooks: Mapping[str, Outlook]
    refit_failed_at: datetime | None = None
    silence: Silence | None = None

    @property
    def form(self) -> AllianceForm | None:
        """The form of the chosen perspective; None where the study asks that rater for none."""
        return self.forms.get(self.perspective)

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """Where more than four weeks lay between two sessions, and where the therapist changed."""
        times = list(self.plan.held_at.items())
        breaks = [
            Pause(number, "break", round((then - at) / WEEK))
            for (number, at), (_number, then) in pairwise(times)
            if then - at > LONGEST_GAP
        ]
        begun = [Pause(0, "taken_over")] if self.therapy.previous_id else []
        is_handed_over = self.therapy.end_reason == Therapy.EndReason.TRANSFER
        return (*begun, *breaks, *([Pause(self.plan.n_held, "handed_over")] if is_handed_over else []))

    @property
    def latest(self) -> date | None:
        """The day of the latest rating that is shown of the chosen scale, by either rater."""
        days = [point.submitted_on for rater in self.forms for point in self.of(rater)]
        return max(days, default=None)

    def state(self, scale: str) -> str:
        """What stands behind the expected course of a scale: `fresh`, `stale` (newer ratings wait for a
        model), `failed` (the last attempt gave none), or `never` (there was none yet)."""
        outlook = self.outlook(scale)
        if self.refit_failed_at or outlook.attempt in ("not_converged", "timed_out"):
            return "failed"
        if outlook.fit is None:
            return "never"
        if outlook.problem:
            return "failed"
        is_waited_for = self.silence or timezone.now() - outlook.fit.fitted_at > FRESH
        return "stale" if outlook.fit.n_newer and is_waited_for else "fresh"

    def outlook(self, scale: str = "") -> Outlook:
        """Of the scale that is looked at, unless another is named."""
        return self.outlooks.get(scale or self.scale, Outlook())

    @property
    def expected(self) -> tuple[ExpectedPoint, ...]:
        return self.outlook().expected

    @property
    def fit(self) -> FitSummary | None:
        return self.outlook().fit

    @property
    def has_one_scale(self) -> bool:
        """Whether both raters answer on the same range, so that one axis can carry both."""
        return len({(form.minimum, form.maximum) for form in self.forms.values()}) <= 1

    def of(self, perspective: str, scale: str = "") -> tuple[RatingPoint, ...]:
        """The ratings of one rater on the study's form, on the scale that is looked at unless another is
        named; ratings on another form are no part of the same line."""
        form = self.forms.get(perspective)
        wanted = form and (perspective, form.code, scale or self.scale)
        return tuple(
            point for point in self.ratings if (point.perspective, point.instrument, point.scale) == wanted
        )


def latest_fits(
    study_id: UUID, perspective: str, instrument: str, coding: TimeCoding
) -> dict[str, tuple[GrowthFit | None, GrowthFit]]:
    """By scale: the last fit with numbers, and the last attempt."""
    fits = GrowthFit.objects.filter(
        study=study_id, perspective=perspective, instrument=instrument, coding=coding.code
    )
    latest = fits.order_by("scale", "-fitted_at").distinct("scale")
    good = {fit.scale: fit for fit in latest.filter(status__in=FITTED)}
    return {fit.scale: (good.get(fit.scale), fit) for fit in latest}


def carries_course(fit: GrowthFit) -> bool:
    """Whether a fit with numbers stands for enough people to expect something of one therapy."""
    return fit.n_therapists >= MIN_THERAPISTS and fit.n_therapies >= MIN_THERAPIES


def therapy_trend(
    user: Actor, therapy: Therapy, perspective: str, scale: str = OUTCOME_SCALE, coding: TimeCoding = LINEAR
) -> Trend:
    """Ratings that the user may see, and the courses that the models of this perspective expect.

    An expected course is conditioned on visible ratings alone: a hidden one must not show in the band.
    """
    forms = {rater: AllianceForm.of(instrument) for rater, instrument in therapy_forms(therapy).items()}
    ratings = _ratings(user, therapy, forms)
    trend = Trend(therapy, perspective, scale, coding, forms, SessionPlan.empty(), ratings, {})
    form = trend.form
    if form is None:
        return trend
    trend = replace(
        trend,
        scale=scale if scale in form.scales else OUTCOME_SCALE,
        plan=session_plan(therapy, perspective, form.code),
        refit_failed_at=_refit_failed_at(therapy),
        silence=jobs.worker_silence(SILENCE),
    )
    fits = latest_fits(therapy.study_id, perspective, form.code, coding)
    n_now = n_ratings_now(therapy.study_id, perspective, form)
    outlooks = {
        code: _outlook(*fits[code], n_now.get(code, 0), trend, code) for code in form.scales if code in fits
    }
    return replace(trend, outlooks=outlooks)


def _outlook(good: GrowthFit | None, latest: GrowthFit, n_now: int, trend: Trend, scale: str) -> Outlook:
    problem = str(REASONS[latest.status]) if latest.status not in FITTED else ""
    if good is None:
        return Outlook(problem=problem, attempt=latest.status)
    if not carries_course(good):
        too_few = _("it needs ratings of at least %(therapies)d therapies by %(therapists)d therapists.")
        words = too_few % {"therapies": MIN_THERAPIES, "therapists": MIN_THERAPISTS}
        return Outlook(problem=words, attempt=latest.status)
    return Outlook(_expected(good, trend, scale), _summary(good, n_now), problem, latest.status)


def n_ratings_now(study_id: UUID, perspective: str, form: AllianceForm) -> Mapping[str, int]:
    """By scale: how many ratings the study has by one rater on one form. Of therapies whose ratings changed
    since their sums were made the ratings are counted, of all others the sums know how many there are."""
    changed = set(RatingChange.objects.filter(study=study_id).values_list("therapy", flat=True))
    of_form = {"study": study_id, "perspective": perspective, "instrument": form.code}
    counts = Counter(dict(RatingCount.objects.filter(**of_form).values_list("scale", "n")))
    if changed:
        sums = TherapySums.objects.filter(**of_form)
        before = sums.filter(therapy__in=changed).values_list("scale").annotate(Sum("n"))
        counts.subtract(dict(before))
        rows = study_ratings(study_id, form.scales).filter(perspective=perspective, instrument=form.code)
        counts.update(dict(rows.filter(therapy__in=changed).values_list("scale").annotate(Count("pk"))))
    return counts


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


def _expected(fit: GrowthFit, trend: Trend, scale: str) -> tuple[ExpectedPoint, ...]:
    """The course, cut to the range of the form: no rating can lie beyond it."""
    assert fit.result is not None, "a good fit has a result"
    assert trend.form is not None, "a fit is of a form"
    at, observed = trend.coding.at, trend.of(trend.perspective, scale)
    sessions = range(trend.plan.first, trend.plan.horizon + 1)
    course = expected_course(
        FitResult.from_dict(fit.result),
        [at(session) for session in sessions],
        [at(point.session) for point in observed],
        [point.value for point in observed],
        level=BAND,
        with_variances=True,
    )
    columns = (
        column.clip(trend.form.minimum, trend.form.maximum).tolist()
        for column in (course.mean, course.lower, course.upper)
    )
    return tuple(ExpectedPoint(*row) for row in zip(sessions, *columns, strict=True))


def _summary(fit: GrowthFit, n_now: int) -> FitSummary:
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
