"""The session log: entering and correcting a session derives every number and what is due because of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Min
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit, clock, jobs
from surveys.access import Actor, LinkState, form_state
from surveys.changes import FormChange, LogChange, Moved, moved_together
from surveys.models import Assignment, DraftAnswer, Rater, Response, Session, Therapy, User
from surveys.planning import LoggedSession, number_sessions
from surveys.selectors import OPEN
from surveys.services.assignments import forms_lock, forms_sync, sync_request
from surveys.services.responses import reveal

HELD = Session.Status.HELD


class LogRefused(Exception):
    """The log stays as it was; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str = "held_at") -> None:
        super().__init__(sentence)
        self.field = field


class SessionExists(LogRefused):
    """The log already has a session of this therapy at this time."""


@dataclass(frozen=True)
class Entry:
    """One session as it is entered: when, what happened and, where it was not held, why."""

    held_at: datetime
    status: str
    reason: str = ""


def session_close(
    *, therapy: Therapy, held_at: datetime, status: str, reason: str = "", actor: Actor | None = None
) -> LogChange:
    """Enters one session into the log; see `sessions_close`."""
    return sessions_close(therapy=therapy, entries=[Entry(held_at, status, reason)], actor=actor)


@transaction.atomic
def sessions_close(*, therapy: Therapy, entries: Sequence[Entry], actor: Actor | None = None) -> LogChange:
    """Enters sessions into the log, renumbers what comes after them and makes the forms due that the study's
    plan asks for. The result depends on the log alone, never on the order of entry.

    Raises SessionExists, and enters nothing, when the log has a session at one of these times.
    """
    therapy = _lock(therapy.pk)
    there = forms_lock(therapy)
    logged = list(therapy.sessions.all())
    new = [
        Session(
            therapy=therapy,
            held_at=entry.held_at,
            status=entry.status,
            reason=entry.reason,
            closed_by=actor if isinstance(actor, User) else None,
        )
        for entry in entries
    ]
    moved = _renumber(logged, new)
    Session.objects.bulk_create(new)
    forms = forms_sync(therapy, [*logged, *new], there)
    detail = _detail(moved, forms) if len(new) == 1 else {}
    events = audit.record_each(
        "session.close",
        [
            (row, {"status": row.status, **({"reason": row.reason} if row.reason else {}), **detail})
            for row in new
        ],
        actor=actor,
        clinic=therapy.study.clinic,
    )
    if moved:
        jobs.request("refit", therapy.study_id)
    return LogChange(new, moved, forms, events[0] if events else None)


@transaction.atomic
def session_correct(
    *, session: Session, held_at: datetime, status: str, reason: str = "", actor: Actor | None = None
) -> LogChange:
    """Corrects time, status or reason of an entered session; everything is recomputed as if it had been
    entered so from the start. The trace keeps old and new.

    Raises SessionExists, or LogRefused where a received answer would come to stand before its session or
    at none: answers are never deleted, and a rating needs a session that was held.
    """
    therapy = _lock(session.therapy_id)
    there = forms_lock(therapy)
    logged = list(therapy.sessions.all())
    row = next(one for one in logged if one.pk == session.pk)
    was = {
        "held_at": row.held_at.isoformat(),
        "status": row.status,
        "reason": row.reason,
        "number": row.number,
    }
    if (row.held_at, row.status, row.reason) == (held_at, status, reason):
        return LogChange([row])
    if status != HELD and row.status == HELD:
        _refuse_if_rated([form for form in there if form.session_id == row.pk])
    if held_at > row.held_at:
        _refuse_if_rated_before(row, held_at)
    row.held_at, row.status, row.reason = held_at, status, reason
    # Whoever corrects a session from a file knows when it was.
    row.timing = Session.Timing.EXACT
    moved = _renumber([one for one in logged if one is not row], [row])
    row.save(update_fields=["held_at", "status", "reason", "number", "timing"])
    forms = forms_sync(therapy, logged, there)
    event = audit.record(
        "session.correct",
        subject=row,
        actor=actor,
        clinic=therapy.study.clinic,
        was=was,
        held_at=held_at.isoformat(),
        status=status,
        reason=reason,
        number=row.number,
        **_detail(moved, forms),
    )
    if moved:
        jobs.request("refit", therapy.study_id)
    return LogChange([row], moved, forms, event)


def _lock(therapy_id: UUID) -> Therapy:
    rows = Therapy.objects.select_for_update(of=("self",)).select_related("study__clinic")
    return rows.get(pk=therapy_id)


def _renumber(others: Sequence[Session], changed: Sequence[Session]) -> list[Moved]:
    """Gives every session its number by the log, and stores those of the others; how theirs moved."""
    rows = [*others, *changed]
    log = [LoggedSession(row.pk, row.held_at, row.status) for row in rows]
    if len({session.held_at for session in log}) < len(log):
        there = _("The log already has a session at this time.")
        next_step = _("Enter another time, or correct that session in the log.")
        raise SessionExists(f"{there} {next_step}")
    numbers = number_sessions(log)
    moved = [row for row in others if row.number != numbers.get(row.pk)]
    pairs = [(row.number or 0, numbers[row.pk]) for row in moved]
    for row in rows:
        row.number = numbers.get(row.pk)
    Session.objects.bulk_update(moved, ["number"])
    return moved_together(pairs)


def _detail(moved: Sequence[Moved], forms: FormChange) -> dict[str, object]:
    return {
        "moved": [[run.first, run.last, run.by] for run in moved],
        "asked": [str(row.pk) for row in forms.asked],
        "withdrawn": [str(row.pk) for row in forms.withdrawn],
    }


def _refuse_if_rated(forms: Sequence[Assignment]) -> None:
    received = Response.objects.filter(assignment__in=forms).values_list("assignment__rater", flat=True)
    if received:
        raise LogRefused(
            _(
                "A form about this session was received, so it stays held: the answers would belong to no "
                "session. If only the time is wrong, correct the time."
            ),
            "status",
        )
    now = clock.now()
    open_now = [form for form in forms if form_state(form, now) is LinkState.OPEN]
    if DraftAnswer.objects.filter(assignment__in=open_now).exists():
        raise LogRefused(
            _(
                "Somebody is filling in a form about this session just now, so it stays held. If that form "
                "is not sent, correct the session once the form’s time is over."
            ),
            "status",
        )


def _refuse_if_rated_before(session: Session, held_at: datetime) -> None:
    first = Response.objects.filter(assignment__session=session).aggregate(at=Min("submitted_at"))["at"]
    if first is not None and first < held_at:
        raise LogRefused(
            _("A form about this session was received on {when}. Enter a time before that.").format(
                when=timezone.localtime(first).strftime("%Y-%m-%d %H:%M")
            )
        )


@transaction.atomic
def rating_decline(*, session: Session, actor: Actor | None = None) -> int:
    """The therapist gives no rating of their own for this session: their forms about it that are not
    received are declined, also when their time is over, and the patient's rating shows as the policy allows.
    How many forms; none, and nothing done, where all were received or declined before."""
    own = Assignment.objects.select_for_update(of=("self",)).select_related("study__clinic", "session")
    forms = list(own.filter(session=session, rater=Rater.THERAPIST, state__in=OPEN).order_by("pk"))
    if not forms:
        return 0
    DraftAnswer.objects.filter(assignment__in=forms).delete()
    Assignment.objects.filter(pk__in=[form.pk for form in forms]).update(state=Assignment.State.DECLINED)
    reveal([session.pk], declined_at=clock.now())
    audit.record_each(
        "rating.decline", [(form, {}) for form in forms], actor=actor, clinic=forms[0].study.clinic
    )
    for form in forms:
        sync_request(form)
    return len(forms)
