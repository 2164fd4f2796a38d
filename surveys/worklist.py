"""Questions over rows for the daily round of therapists and reception: what is to close, what waits for a
rating, and what the last change of a session log did."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from surveys.access import Actor, clinic_therapies, visible_forms, visible_therapies
from surveys.changes import FormChange, LogChange, Moved
from surveys.models import Assignment, AuditEvent, Clinic, Rater, Session, StudyVersion, Therapy
from surveys.selectors import OPEN, with_progress

# A running therapy without a line in its log for longer than this is asked about.
QUIET_AFTER = timedelta(days=7)


def sessions_to_close(user: Actor) -> QuerySet[Therapy]:
    """The therapist's running therapies whose log has been silent for more than a week, the longest first;
    `last_logged` is the time of the last line, held or not, None where there is none."""
    before = timezone.now() - QUIET_AFTER
    return (
        visible_therapies(user)
        .filter(ended_on=None)
        .annotate(last_logged=Max("sessions__held_at"))
        .filter(Q(last_logged__lt=before) | Q(last_logged=None, started_on__lt=timezone.localdate(before)))
        .order_by("last_logged", "started_on", "code")
    )


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
    """What reception works with: therapies of the clinic by code of therapy, patient or therapist, with
    progress only. Running ones, unless all are asked for."""
    therapies = clinic_therapies(user).filter(therapist__clinic=clinic)
    if not is_all:
        therapies = therapies.filter(ended_on=None)
    if code:
        therapies = therapies.filter(
            Q(code__icontains=code) | Q(patient__code__icontains=code) | Q(therapist__code__icontains=code)
        )
    return with_progress(therapies).select_related("therapist", "patient", "study")


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
