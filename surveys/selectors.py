"""Questions over rows: to-do list, caseload, and the long rows that analytics reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, F, Max, Prefetch, Q, QuerySet
from django.utils import timezone

from surveys.access import Actor, supervised_therapies, visible_forms, visible_therapies
from surveys.models import (
    Assignment,
    DraftAnswer,
    Instrument,
    Opening,
    Rater,
    Response,
    Score,
    Session,
    Study,
    Therapy,
)
from surveys.planning import next_asked

# The scale that alliance instruments have in common and that the growth models are fitted to.
OUTCOME_SCALE = "total"
OPEN = (Assignment.State.DUE, Assignment.State.OPENED)
RECEIVED = (Assignment.State.SUBMITTED, Assignment.State.DECLINED)


def todo_forms(user: Actor) -> QuerySet[Assignment]:
    """The therapist's own forms that can be filled now, the one that closes first on top."""
    return (
        visible_forms(user)
        .filter(state__in=OPEN, closes_at__gte=timezone.now())
        .select_related("instrument", "session__therapy", "therapist")
        .order_by("closes_at", "id")
    )


def _with_progress(therapies: QuerySet[Therapy]) -> QuerySet[Therapy]:
    def forms(rater: Rater, states: tuple[str, ...] | None = None) -> Count:
        rule = Q(sessions__assignments__rater=rater)
        if states is not None:
            rule &= Q(sessions__assignments__state__in=states)
        return Count("sessions__assignments", filter=rule, distinct=True)

    return (
        therapies.select_related("therapist", "study")
        .annotate(
            n_sessions=Max("sessions__number"),
            last_session=Max("sessions__held_at", filter=Q(sessions__status="held")),
            n_patient_due=forms(Rater.PATIENT),
            n_patient_received=forms(Rater.PATIENT, RECEIVED),
            n_therapist_due=forms(Rater.THERAPIST),
            n_therapist_received=forms(Rater.THERAPIST, RECEIVED),
        )
        .order_by(F("ended_on").desc(nulls_first=True), F("last_session").desc(nulls_last=True), "code")
    )


@dataclass(frozen=True)
class FormProgress:
    """What is answered of an open form: here with the answers, elsewhere only which items."""

    here: Mapping[int, int]
    elsewhere: frozenset[int]


def form_progress(opening: Opening) -> FormProgress:
    """The saved answers of a form as the browser of this opening may see them."""
    drafts = DraftAnswer.objects.filter(assignment=opening.assignment_id)
    rows = drafts.values_list("opening", "item", "value")
    return FormProgress(
        here={item: value for row, item, value in rows if row == opening.pk},
        elsewhere=frozenset(item for row, item, _ in rows if row != opening.pk),
    )


def logged_sessions(therapy: Therapy) -> QuerySet[Session]:
    """The session log, the latest on top, each session with the forms asked for it."""
    forms = Assignment.objects.select_related("instrument").order_by("-rater", "instrument__code")
    return therapy.sessions.prefetch_related(Prefetch("assignments", queryset=forms)).order_by("-held_at")


def caseload(user: Actor) -> QuerySet[Therapy]:
    """The therapist's therapies, running ones first, each with its session and form counts."""
    return _with_progress(visible_therapies(user))


def supervised_progress(user: Actor) -> QuerySet[Therapy]:
    """The same of a supervisor's supervisees: progress only."""
    return _with_progress(supervised_therapies(user))


def outcome_instruments(study: Study) -> QuerySet[Instrument]:
    """The alliance instruments that the study's plan asks for, one per rater and form."""
    return Instrument.objects.filter(
        pk__in=study.plan_lines.values("instrument"), definition__scales__contains=[{"code": OUTCOME_SCALE}]
    ).order_by("rater", "code")


@dataclass(frozen=True)
class Rating:
    """One score of one rater at one session."""

    therapist: UUID
    therapy: UUID
    session: int
    value: float
    submitted_at: datetime


def study_ratings(study_id: UUID, rater: str, instrument_code: str, scale: str) -> list[Rating]:
    """Every scored rating of a study by one rater, in a fixed order; the input of the models."""
    rows = (
        Score.objects.filter(
            response__assignment__study=study_id,
            response__assignment__rater=rater,
            response__assignment__session__number__isnull=False,
            response__instrument__code=instrument_code,
            scale=scale,
            mean__isnull=False,
        )
        .order_by(
            "response__assignment__session__therapy__therapist",
            "response__assignment__session__therapy",
            "response__assignment__session__number",
        )
        .values_list(
            "response__assignment__session__therapy__therapist",
            "response__assignment__session__therapy",
            "response__assignment__session__number",
            "mean",
            "response__submitted_at",
        )
    )
    return [Rating(*row) for row in rows]  # type: ignore[arg-type]  # the filter leaves no nulls


def n_ratings_since(study_id: UUID, rater: str, instrument_code: str, moment: datetime) -> int:
    """How many ratings came in after a moment: what a model does not know yet."""
    return Score.objects.filter(
        response__assignment__study=study_id,
        response__assignment__rater=rater,
        response__instrument__code=instrument_code,
        response__submitted_at__gt=moment,
        scale=OUTCOME_SCALE,
        mean__isnull=False,
    ).count()


@dataclass(frozen=True)
class PlannedSession:
    """One session at which the plan asks for a form, and what became of it."""

    number: int
    state: str
    """received, declined, missing (the window has closed), open, or planned (not yet held)."""


@dataclass(frozen=True)
class SessionPlan:
    """The x axis of a therapy: where ratings are asked for and how far the course is told."""

    first: int
    horizon: int
    n_held: int
    sessions: tuple[PlannedSession, ...]


def session_plan(therapy: Therapy, instrument: Instrument) -> SessionPlan:
    """The sessions at which this form is or was asked for, up to the next one that is planned."""
    now = timezone.now()
    states: dict[str, str] = {
        Assignment.State.SUBMITTED: "received",
        Assignment.State.DECLINED: "declined",
        Assignment.State.WITHDRAWN: "declined",
    }
    asked = {
        row.session.number: states.get(row.state, "open" if row.closes_at >= now else "missing")
        for row in Assignment.objects.filter(session__therapy=therapy, instrument=instrument).select_related(
            "session"
        )
        if row.session is not None and row.session.number is not None
    }
    n_held = therapy.sessions.filter(number__isnull=False).count()
    lines = [
        line.pure()
        for line in therapy.study.plan_lines.filter(
            instrument=instrument, arm__in=["", therapy.arm]
        ).select_related("instrument")
    ]
    ahead = None if therapy.ended_on else next_asked(lines, after=n_held)
    if ahead is not None:
        asked[ahead] = "planned"
    return SessionPlan(
        first=min(asked, default=1),
        horizon=max([n_held, *asked, 1]),
        n_held=n_held,
        sessions=tuple(PlannedSession(number, asked[number]) for number in sorted(asked)),
    )


def export_rows(study: Study) -> Iterator[Response]:
    """Received forms of a study, therapist by therapist; scores come prefetched, 500 forms at a time."""
    return (
        Response.objects.filter(assignment__study=study)
        .select_related(
            "instrument",
            "assignment__therapist",
            "assignment__session__therapy__therapist",
            "assignment__session__therapy__patient",
        )
        .prefetch_related("scores")
        .order_by(
            "assignment__session__therapy__therapist__code",
            "assignment__session__therapy__code",
            "submitted_at",
            "id",
        )
        .iterator(chunk_size=500)
    )


def study_instruments(study: Study) -> QuerySet[Instrument]:
    """Every instrument that the study's plan asks for or that a form of it was received with."""
    return Instrument.objects.filter(
        Q(pk__in=study.plan_lines.values("instrument"))
        | Q(pk__in=Assignment.objects.filter(study=study).values("instrument"))
    ).order_by("code", "version", "rater", "language")


def with_counts(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Studies with the number of their therapies and of the forms received."""
    received = Q(assignments__state__in=RECEIVED)
    return studies.annotate(
        n_therapies=Count("therapies", distinct=True),
        n_forms=Count("assignments", filter=received, distinct=True),
        last_received=Max("assignments__response__submitted_at"),
    ).order_by("code")


def study_counts(study: Study) -> Sequence[Mapping[str, object]]:
    """Forms asked for and received, by instrument and rater."""
    return list(
        Assignment.objects.filter(study=study)
        .values("instrument__code", "rater")
        .annotate(n_asked=Count("pk"), n_received=Count("pk", filter=Q(state__in=RECEIVED)))
        .order_by("instrument__code", "rater")
    )
