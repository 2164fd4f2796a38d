"""Questions over rows: to-do list, caseload, and the long rows that analytics reads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from django.db.models import (
    Aggregate,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from surveys.access import (
    SEND_GRACE,
    Actor,
    visible_forms,
)
from surveys.clinic_access import visible_tablets
from surveys.models import OUTCOME_SCALE as OUTCOME_SCALE
from surveys.models import (
    Assignment,
    Clinic,
    DraftAnswer,
    ImportBatch,
    Instrument,
    Opening,
    PlanLine,
    Rater,
    Response,
    Score,
    Session,
    StartCode,
    Study,
    StudyVersion,
    Tablet,
    Therapy,
)

OPEN = (Assignment.State.DUE, Assignment.State.OPENED)
RECEIVED = (Assignment.State.SUBMITTED, Assignment.State.DECLINED)


def todo_forms(user: Actor) -> QuerySet[Assignment]:
    """The therapist's own forms that can be filled now, the one that closes first on top."""
    now = timezone.now()
    return (
        visible_forms(user)
        .filter(
            Q(state=Assignment.State.DUE, closes_at__gte=now)
            | Q(state=Assignment.State.OPENED, closes_at__gte=now - SEND_GRACE)
        )
        .select_related("instrument", "session__therapy", "therapist")
        .order_by("closes_at", "id")
    )


def _one(rows: QuerySet[Any], value: Aggregate) -> Subquery:
    """A number of the rows that belong to an outer row; they are filtered by it. Joined to it instead,
    sessions, forms and therapies of a large clinic would multiply before anything is counted."""
    return Subquery(
        rows.order_by().annotate(_all=Value(1)).values("_all").annotate(_one=value).values("_one")
    )


# Running therapies first, and of these the one last held; an index has this order.
LAST_HELD_FIRST = (F("ended_on").desc(nulls_first=True), F("last_held_at").desc(nulls_last=True), "code")


def with_progress(therapies: QuerySet[Therapy]) -> QuerySet[Therapy]:
    """Therapies in the order of `LAST_HELD_FIRST`, each with its session and form counts and the time of the
    last line of its log, held or not."""
    sessions = Session.objects.filter(therapy=OuterRef("pk"))
    asked = Assignment.objects.filter(session__therapy=OuterRef("pk")).exclude(
        state=Assignment.State.WITHDRAWN
    )

    def forms(rater: Rater, **rule: object) -> Coalesce:
        return Coalesce(_one(asked.filter(rater=rater, **rule), Count("*")), 0)

    return (
        therapies.select_related("therapist", "study")
        .annotate(
            n_sessions=_one(sessions, Max("number")),
            last_logged=_one(sessions, Max("held_at")),
            n_patient_due=forms(Rater.PATIENT),
            n_patient_received=forms(Rater.PATIENT, state__in=RECEIVED),
            n_therapist_due=forms(Rater.THERAPIST),
            n_therapist_received=forms(Rater.THERAPIST, state__in=RECEIVED),
        )
        .order_by(*LAST_HELD_FIRST)
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


def n_drafts(assignment: Assignment) -> int:
    """How many items of an open form were answered on a screen, wherever."""
    return DraftAnswer.objects.filter(assignment=assignment).count()


def last_closing(browser_hash: str) -> datetime:
    """When the last of the forms closes that were begun in a browser, with at least one begun."""
    closing: datetime = Opening.objects.filter(browser_hash=browser_hash).aggregate(
        at=Max("assignment__closes_at")
    )["at"]
    return closing


def logged_sessions(therapy: Therapy) -> QuerySet[Session]:
    """The session log, the latest on top, each session with the forms asked for it; `is_unrated` where a form
    of the therapist's own is neither received nor declined."""
    forms = Assignment.objects.exclude(state=Assignment.State.WITHDRAWN).select_related("instrument")
    owed = Assignment.objects.filter(session=OuterRef("pk"), rater=Rater.THERAPIST, state__in=OPEN)
    return (
        therapy.sessions.annotate(is_unrated=Exists(owed))
        .prefetch_related(Prefetch("assignments", queryset=forms.order_by("-rater", "instrument__code")))
        .order_by("-held_at")
    )


def active_versions(study: Study) -> QuerySet[StudyVersion]:
    """The versions of a study that are or were in force, the earliest first."""
    return (
        study.versions.filter(active_from__isnull=False).select_related("study").order_by("active_from", "pk")
    )


def version_at(study: Study, at: datetime) -> StudyVersion | None:
    """The version in force at a time; None before the study began."""
    return active_versions(study).filter(active_from__lte=at).last()


def _outcome_lines(versions: QuerySet[StudyVersion] | list[StudyVersion]) -> QuerySet[PlanLine]:
    return PlanLine.objects.filter(
        version__in=versions, instrument__definition__scales__contains=[{"code": OUTCOME_SCALE}]
    ).select_related("instrument", "version")


def current_outcome_lines(study: Study) -> QuerySet[PlanLine]:
    """What the version in force asks for on the alliance."""
    return _outcome_lines([study.current] if study.current else [])


class OutcomeForm(NamedTuple):
    """An alliance form that a study asks or once asked for; models are fitted for each of its scales."""

    rater: str
    code: str
    scales: tuple[str, ...]


def outcome_forms(study: Study) -> list[OutcomeForm]:
    forms: dict[tuple[str, str], dict[str, None]] = {}
    for line in _outcome_lines(active_versions(study)):
        scales = forms.setdefault((line.instrument.rater, line.instrument.code), {OUTCOME_SCALE: None})
        scales.update(dict.fromkeys(scale.code for scale in line.instrument.form.scales))
    return [OutcomeForm(*key, tuple(forms[key])) for key in sorted(forms)]


def therapy_forms(therapy: Therapy) -> dict[str, Instrument]:
    """The alliance form that each rater of a therapy is asked for: that of the therapy's arm before the
    study's common one, and of several the one that was planned first."""
    return _asked_forms(current_outcome_lines(therapy.study), therapy.arm)


def therapies_forms(therapies: Iterable[Therapy]) -> dict[tuple[UUID, str], dict[str, Instrument]]:
    """The same of many therapies, by study and arm, in two queries."""
    arms = {(therapy.study_id, therapy.arm) for therapy in therapies}
    lines = list(_outcome_lines(list(current_versions({study for study, _ in arms}).values())))
    by_study: dict[UUID, list[PlanLine]] = {}
    for line in lines:
        by_study.setdefault(line.version.study_id, []).append(line)
    return {(study, arm): _asked_forms(by_study.get(study, []), arm) for study, arm in arms}


def current_versions(studies: Collection[UUID]) -> dict[UUID, StudyVersion]:
    """The version of each of these studies that is in force now."""
    rows = StudyVersion.objects.filter(study__in=studies, active_from__lte=timezone.now())
    latest = rows.order_by("study", "-active_from").distinct("study")
    return {version.study_id: version for version in latest}


def _asked_forms(lines: Iterable[PlanLine], arm: str) -> dict[str, Instrument]:
    asked = [line for line in lines if line.arm in ("", arm)]
    asked.sort(key=lambda line: (line.arm, -line.pk))
    return {line.instrument.rater: line.instrument for line in asked}


class RatingRow(TypedDict):
    """One score of one rater at one session."""

    scale: str
    perspective: str
    instrument: str
    therapist: UUID
    therapy: UUID
    session: int
    value: float


def study_ratings(study_id: UUID, scales: Collection[str]) -> QuerySet[Any, RatingRow]:
    """Every scored rating of a study on these scales: what the models are made of, in no order."""
    session = "response__assignment__session"
    return Score.objects.filter(
        response__assignment__study=study_id,
        scale__in=scales,
        mean__isnull=False,
        **{f"{session}__number__isnull": False, f"{session}__therapy__excluded_at": None},
    ).values(
        "scale",
        perspective=F("response__assignment__rater"),
        instrument=F("response__instrument__code"),
        therapist=F(f"{session}__therapy__therapist"),
        therapy=F(f"{session}__therapy"),
        session=F(f"{session}__number"),
        value=F("mean"),
    )


def study_instruments(study: Study) -> QuerySet[Instrument]:
    """Every instrument that the study's plan asks for or that a form of it was received with."""
    own = {"instrument": OuterRef("pk")}
    return Instrument.objects.filter(
        Exists(PlanLine.objects.filter(version__in=active_versions(study), **own))
        | Exists(Assignment.objects.filter(study=study, **own))
        # A patient may have read it in another language than the plan names.
        | Exists(Response.objects.filter(assignment__study=study, **own))
    ).order_by("code", "version", "rater", "language")


def with_counts(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Studies with the number of their therapies and of the forms received, without what is left out of the
    research, and how many therapies that are."""
    therapies = Therapy.objects.filter(study=OuterRef("pk"))
    received = Assignment.objects.filter(study=OuterRef("pk"), state__in=RECEIVED)
    left_out = received.filter(session__therapy__excluded_at__isnull=False)
    kept = Response.objects.filter(
        assignment__study=OuterRef("pk"), assignment__session__therapy__excluded_at=None
    )
    return studies.annotate(
        n_therapies=Coalesce(_one(therapies.filter(excluded_at=None), Count("*")), 0),
        n_left_out=Coalesce(_one(therapies.filter(excluded_at__isnull=False), Count("*")), 0),
        # All, from the index alone, without the few that are left out.
        n_forms=Coalesce(_one(received, Count("*")), 0) - Coalesce(_one(left_out, Count("*")), 0),
        last_received=Subquery(kept.order_by("-submitted_at").values("submitted_at")[:1]),
    ).order_by("code")


def study_counts(study: Study) -> Sequence[Mapping[str, object]]:
    """Forms asked for, received, and scored on every scale, by instrument and rater, as in the dataset."""
    unscored = Score.objects.filter(response__assignment=OuterRef("pk"), mean=None)
    return list(
        Assignment.objects.filter(study=study, session__therapy__excluded_at=None)
        .values("instrument__code", "rater")
        .exclude(state=Assignment.State.WITHDRAWN)
        .annotate(
            n_asked=Count("pk"),
            n_received=Count("pk", filter=Q(state__in=RECEIVED)),
            n_scored=Count("pk", filter=Q(~Exists(unscored), state__in=RECEIVED)),
        )
        .order_by("instrument__code", "rater")
    )


def stored_imports(study: Study) -> QuerySet[ImportBatch]:
    """Files with old ratings whose forms are in a study's data."""
    return study.imports.filter(state=ImportBatch.State.STORED).order_by("stored_at")


def n_left_out(study: Study) -> int:
    """How many therapies are in no dataset and no model, by the will of their patients."""
    return study.therapies.filter(excluded_at__isnull=False).count()


def tablets_in_use(user: Actor, clinic: Clinic) -> QuerySet[Tablet]:
    """The tablets of a clinic that the user administers, those in use first, with the time of the last start
    code on each."""
    used = StartCode.objects.filter(tablet=OuterRef("pk")).order_by("-used_at").values("used_at")[:1]
    return (
        visible_tablets(user)
        .filter(clinic=clinic)
        .select_related("clinic", "enrolled_by")
        .annotate(last_used=Subquery(used))
        .order_by(F("revoked_at").desc(nulls_first=True), "-enrolled_at")
    )


def has_tablet(clinic: Clinic) -> bool:
    return Tablet.objects.filter(clinic=clinic, revoked_at=None).exists()
