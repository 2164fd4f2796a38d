"""Questions over rows for the daily round of therapists and reception: what is to close, what waits for a
rating, and what the last change of a session log did."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import BooleanField, Count, ExpressionWrapper, Max, Q, QuerySet
from django.utils import timezone

from surveys.access import (
    Actor,
    LinkState,
    clinic_therapies,
    form_state,
    visible_forms,
    visible_therapies,
)
from surveys.board import Facts
from surveys.changes import FormChange, LogChange, Moved
from surveys.models import Assignment, AuditEvent, Clinic, Rater, Session, StudyVersion, Therapy
from surveys.selectors import LAST_HELD_FIRST, OPEN, with_progress

# A running therapy without a line in its log for longer than this is asked about.
QUIET_AFTER = timedelta(days=7)


def sessions_to_close(user: Actor) -> QuerySet[Therapy]:
    """The therapist's running therapies whose log has been silent for more than a week, the longest first;
    `last_logged` is the time of the last line, held or not, None where there is none."""
    rows = visible_therapies(user).annotate(last_logged=Max("sessions__held_at"))
    return rows.filter(_quiet()).order_by("last_logged", "started_on", "code")


def _quiet() -> Q:
    """Of therapies with `last_logged`: running, and nothing in the log for more than a week."""
    before = timezone.now() - QUIET_AFTER
    begun = Q(last_logged=None, started_on__lt=timezone.localdate(before))
    return Q(ended_on=None) & (Q(last_logged__lt=before) | begun)


def therapies_facts(therapies: QuerySet[Therapy]) -> list[tuple[Therapy, Facts]]:
    """Therapies with their progress, each with what a board is ordered by; possible dips are not known here.
    In a number of queries that does not grow with them."""
    quiet = ExpressionWrapper(_quiet(), output_field=BooleanField())
    rows = list(with_progress(therapies).annotate(is_quiet=quiet))
    forms = _forms_by_therapy([row.pk for row in rows])
    return [(row, _facts(row, *forms.get(row.pk, (0, ())))) for row in rows]


def _facts(therapy: Therapy, n_open: int, late: tuple[str, ...]) -> Facts:
    counted = vars(therapy)
    return Facts(
        code=therapy.code,
        therapist=therapy.therapist.code,
        is_running=therapy.ended_on is None,
        n_sessions=counted["n_sessions"] or 0,
        last_session=therapy.last_held_at,
        is_stopped=therapy.stopped_at is not None,
        is_quiet=counted["is_quiet"],
        late=late,
        n_open=n_open,
        n_received=counted["n_patient_received"] + counted["n_therapist_received"],
        n_therapist_missing=counted["n_therapist_due"] - counted["n_therapist_received"],
        n_patient_missing=counted["n_patient_due"] - counted["n_patient_received"],
    )


def _forms_by_therapy(therapies: Sequence[UUID]) -> dict[UUID, tuple[int, tuple[str, ...]]]:
    """By therapy: how many forms are open now, and whose last form ran out unanswered. An earlier one that
    did is over: a later form has come in or can still be filled."""
    now = timezone.now()
    asked = Assignment.objects.filter(session__therapy__in=therapies).exclude(
        state=Assignment.State.WITHDRAWN
    )
    newest = {
        (therapy, rater): at
        for therapy, rater, at in asked.values_list("session__therapy", "rater").annotate(
            Max("session__held_at")
        )
    }
    found: dict[UUID, tuple[int, tuple[str, ...]]] = {}
    for form in asked.filter(state__in=OPEN).select_related("session").order_by("rater"):
        assert form.session is not None, "found by its session"
        therapy = form.session.therapy_id
        n_open, late = found.get(therapy, (0, ()))
        if form_state(form, now) is LinkState.OPEN:
            n_open += 1
        elif form.session.held_at == newest[therapy, form.rater] and form.rater not in late:
            late += (form.rater,)
        found[therapy] = n_open, late
    return found


def unrated_therapies(user: Actor) -> QuerySet[Therapy]:
    """The therapist's therapies with sessions whose patient's rating stays hidden, because a form of the
    therapist's own was neither received nor declined and its time is over; `n_unrated` is how many."""
    return (
        visible_therapies(user)
        .annotate(
            n_unrated=Count(
                "sessions", filter=Q(sessions__assignments__in=expired_own_forms(user)), distinct=True
            )
        )
        .filter(n_unrated__gt=0)
        .order_by("code")
    )


def expired_own_forms(user: Actor) -> QuerySet[Assignment]:
    """Forms about sessions that keep the patient's rating hidden for good unless the therapist says that
    they give no rating."""
    return visible_forms(user).filter(
        state__in=OPEN,
        closes_at__lt=timezone.now(),
        session__isnull=False,
        version__visibility=StudyVersion.Visibility.FEEDBACK,
    )


def unrated_forms(session: Session) -> QuerySet[Assignment]:
    """The therapist's own forms about a session that are neither received nor declined."""
    forms = session.assignments.filter(rater=Rater.THERAPIST, state__in=OPEN)
    return forms.select_related("instrument", "version").order_by("instrument__code")


def clinic_caseload(user: Actor, clinic: Clinic, code: str = "", is_all: bool = False) -> QuerySet[Therapy]:
    """What reception works with: therapies of the clinic by code of therapy, patient or therapist, the one
    last held first. Running ones, unless all are asked for."""
    therapies = clinic_therapies(user).filter(therapist__clinic=clinic)
    if not is_all:
        therapies = therapies.filter(ended_on=None)
    if code:
        therapies = therapies.filter(
            Q(code__icontains=code) | Q(patient__code__icontains=code) | Q(therapist__code__icontains=code)
        )
    return therapies.order_by(*LAST_HELD_FIRST)


def caseload_rows(page: QuerySet[Therapy]) -> QuerySet[Therapy]:
    """The therapies of one page of it, with progress only. Counted of the whole list, a late page would take
    the time of all pages before it."""
    rows = with_progress(Therapy.objects.filter(pk__in=page.values("pk")))
    return rows.select_related("therapist", "patient", "study")


def log_change(therapy: Therapy, event_id: str) -> LogChange | None:
    """What a change of this therapy's log did, by the number of its trace; None for any other number."""
    if not (event_id.isascii() and event_id.isdigit() and len(event_id) < 19):
        return None
    event = AuditEvent.objects.filter(pk=int(event_id), act__in=["session.close", "session.correct"]).first()
    if event is None:
        return None
    session = therapy.sessions.filter(pk=event.subject.partition(":")[2]).first()
    if session is None:
        return None
    moved = [Moved(*run) for run in event.detail.get("moved", [])]
    forms = FormChange(_forms(event, "asked"), _forms(event, "withdrawn"))
    return LogChange([session], moved, forms, event)


def entered_before(
    therapy: Therapy, actor: Actor, held_at: datetime, status: str, reason: str
) -> LogChange | None:
    """The same entry by the same person, as a second tap on the button makes it; None where it is another."""
    same = therapy.sessions.filter(held_at=held_at, status=status, reason=reason, closed_by=actor.pk)
    session = same.first()
    if session is None:
        return None
    entry = AuditEvent.objects.filter(act="session.close", subject=f"session:{session.pk}")
    return LogChange([session], event=entry.first())


def _forms(event: AuditEvent, name: str) -> Sequence[Assignment]:
    rows = Assignment.objects.filter(pk__in=event.detail.get(name, []))
    return list(rows.select_related("instrument", "session").order_by("session__held_at", "-rater", "pk"))
