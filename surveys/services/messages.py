"""E-mails about patients' forms: when they are due, and sending each at most once.

1. A form that becomes due has an invitation, and an invitation that was sent has reminders: rows of
   `Message`, each with a job of its own.
2. The worker writes down that it begins to send, and commits that, before it talks to the mail server.
3. A mail that the server has certainly not taken is tried again, three times at most.
4. A message that is found being sent by a later attempt may or may not have arrived. It becomes `unsure`
   and is never sent again by itself.

The link is made while a message is being sent; its token is in the mail and nowhere else.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext as _

from surveys import audit, clock, jobs
from surveys.access import Actor
from surveys.mail import MailRefused, MailUnsure, compose, deliver
from surveys.models import Assignment, FormLink, Message, Rater, User
from surveys.selectors import OPEN
from surveys.services.invitations import link_issue, link_url
from surveys.tokens import token_hash

INVITATION, REMINDER = Message.Kind.INVITATION, Message.Kind.REMINDER
WAITING, SENDING, SENT = Message.State.WAITING, Message.State.SENDING, Message.State.SENT
FAILED, UNSURE, NOT_NEEDED = Message.State.FAILED, Message.State.UNSURE, Message.State.NOT_NEEDED

JOB = "message"
RETRY_AFTER = timedelta(minutes=5)


class MessageRefused(Exception):
    """No e-mail will be sent; the sentence says why and what to do."""


def invitations_plan(*, forms: Collection[Assignment], is_anew: bool = False) -> int:
    """Invites the patients whose forms these are, where they can be asked by e-mail; how many. Who was
    invited before is only where the address is another one now (`is_anew`). A form whose time is over,
    because its session was entered late, is not among them."""
    now = clock.now()
    patients = [form.pk for form in forms if form.rater == Rater.PATIENT and form.closes_at > now]
    if not patients:
        return 0
    done = (Q(state=WAITING) & Q(kind=INVITATION)) if is_anew else ~Q(state=NOT_NEEDED)
    asked = Message.objects.filter(done, assignment=OuterRef("pk"))
    rows = Assignment.objects.filter(
        ~Exists(asked), pk__in=patients, state__in=OPEN, session__therapy__stopped_at=None
    ).exclude(session__therapy__patient__contact="")
    for row in rows:
        _add(row, INVITATION, max(now, row.opens_at))
    return len(rows)


@transaction.atomic
def message_request(*, form: Assignment, actor: Actor) -> Message:
    """Another invitation to an open form, whatever was sent before. Raises MessageRefused, also while one is
    under way: a second click sends nothing."""
    row = _lock(form.pk)
    refusal = sending_refusal(row)
    if refusal:
        raise MessageRefused(refusal)
    if row.messages.filter(Q(state=SENDING) | Q(state=WAITING, kind=INVITATION)).exists():
        raise MessageRefused(
            _("An e-mail about this form is under way. Wait a minute, then see below whether it was sent.")
        )
    message = _add(row, INVITATION, clock.now(), actor)
    audit.record("message.request", subject=message, actor=actor, clinic=row.study.clinic, form=str(row.pk))
    return message


def sending_refusal(form: Assignment) -> str:
    """Why no e-mail can be sent about a patient's form now, as a sentence; empty where one can."""
    return _needless(form) or ("" if settings.SITE_URL else str(Message.Problem.NO_SITE.label))


def link_refusal(form: Assignment) -> str:
    """Why no link to a patient's form can be handed over now; empty where one can."""
    return _over(form) or ("" if settings.SITE_URL else str(Message.Problem.NO_SITE.label))


def _over(form: Assignment) -> str:
    if form.state not in OPEN or form.closes_at <= clock.now() or form.session is None:
        return _("This form is not open any more, so there is nothing to send.")
    if form.session.therapy.stopped_at is not None:
        return _("This patient wants to be asked no more, so nothing is sent.")
    return ""


def _needless(form: Assignment) -> str:
    if not _over(form) and form.session is not None and not form.session.therapy.patient.contact:
        return _("There is no e-mail address of this patient. The clinic’s administration can enter one.")
    return _over(form)


def message_send(scope: str) -> jobs.Write:
    """The job of one message; its scope is the message's id."""
    begun = _begin(int(scope))
    if begun is None:
        return _nothing
    try:
        deliver(begun.mail)
    except MailRefused as refusal:
        problem = refusal.problem
        if refusal.is_final:
            return lambda: _end(begun, FAILED, problem)
        _take_back(begun, problem)
        raise jobs.TryAgain(problem.value) from None
    except MailUnsure:
        return lambda: _end(begun, UNSURE, Message.Problem.LOST)
    sent_at = clock.now()
    return lambda: _end(begun, SENT, sent_at=sent_at)


def message_give_up(scope: str) -> None:
    """After the last attempt: what waits will not be sent."""
    row = Message.objects.filter(pk=int(scope)).first()
    if row is None:
        return
    _lock(row.assignment_id)
    row.refresh_from_db()
    if row.state == WAITING:
        _move(row, FAILED, row.error or Message.Problem.BROKEN)
    elif row.state == SENDING:
        _move(row, UNSURE, Message.Problem.LOST)


@transaction.atomic
def messages_doubt() -> int:
    """After older data were restored: what they say is due may have been sent since. No patient gets a mail
    twice because of it: it is called unsure, and a person decides. How many."""
    rows = Message.objects.filter(state__in=[WAITING, SENDING], due_at__lte=clock.now())
    keys = list(rows.order_by("pk").values_list("pk", "assignment_id"))
    for key, form_id in keys:
        _lock(form_id)
        _move(Message.objects.get(pk=key), UNSURE, Message.Problem.LOST)
    return len(keys)


@dataclass(frozen=True)
class _Begun:
    """A message that this worker is sending, and no other one."""

    id: int
    form_id: UUID
    started_at: datetime
    mail: EmailMessage
    link_hash: str


def _nothing() -> None:
    return None


@transaction.atomic
def _begin(message_id: int) -> _Begun | None:
    """Commits that the message is being sent; None where there is nothing to send."""
    row = Message.objects.filter(pk=message_id).first()
    if row is None:
        return None
    form = _lock(row.assignment_id)
    row.refresh_from_db()
    if row.state == SENDING:
        _move(row, UNSURE, Message.Problem.LOST)
    if row.state != WAITING:
        return None
    if _needless(form) or form.session is None:
        _move(row, NOT_NEEDED)
        return None
    if not settings.SITE_URL:
        _move(row, FAILED, Message.Problem.NO_SITE)
        return None
    patient = form.session.therapy.patient
    token = link_issue(assignment=form, via=FormLink.Via.MAIL)
    mail = compose(row.kind, form, patient, link_url(token))
    # Made here once for all, so that a mail that cannot be made is no mail that may have been sent.
    mail.message()
    row.started_at = clock.now()
    _move(row, SENDING)
    return _Begun(row.pk, form.pk, row.started_at, mail, token_hash(token))


def _held(begun: _Begun) -> Message | None:
    """The message, where no later attempt has begun to send it since; its form is locked."""
    _lock(begun.form_id)
    return Message.objects.filter(pk=begun.id, started_at=begun.started_at).first()


@transaction.atomic
def _take_back(begun: _Begun, problem: Message.Problem) -> None:
    """The server has not taken it: it waits again, and nobody has its link."""
    row = _held(begun)
    if row is not None and row.state == SENDING:
        FormLink.objects.filter(token_hash=begun.link_hash).update(revoked_at=clock.now())
        row.started_at = None
        _move(row, WAITING, problem)


def _end(begun: _Begun, state: Message.State, problem: str = "", sent_at: datetime | None = None) -> None:
    """What became of it; also where another attempt thought this one dead and called it unsure."""
    row = _held(begun)
    if row is None:
        return
    if state == FAILED:
        FormLink.objects.filter(token_hash=begun.link_hash).update(revoked_at=clock.now())
    row.sent_at = sent_at
    _move(row, state, problem)
    if sent_at is not None and row.kind == INVITATION:
        _plan_reminders(row, sent_at)


def _plan_reminders(invitation: Message, sent_at: datetime) -> None:
    """Those of the form's version, where the form is open long enough and has none yet."""
    form = invitation.assignment
    if form.messages.filter(~Q(state=NOT_NEEDED), kind=REMINDER).exists():
        return
    for hours in sorted(set(form.version.reminder_hours)):
        due_at = sent_at + timedelta(hours=hours)
        if due_at < form.closes_at:
            _add(form, REMINDER, due_at)


def _lock(form_id: UUID) -> Assignment:
    """Everybody locks a form before its messages."""
    rows = Assignment.objects.select_for_update(of=("self",))
    return rows.select_related("study__clinic", "instrument", "version", "session__therapy__patient").get(
        pk=form_id
    )


def _add(form: Assignment, kind: Message.Kind, due_at: datetime, by: Actor | None = None) -> Message:
    number = form.messages.filter(kind=kind).count() + 1
    person = by if isinstance(by, User) else None
    row = Message.objects.create(
        assignment=form, kind=kind, number=number, due_at=due_at, requested_by=person
    )
    jobs.request(JOB, row.pk, due_at)
    return row


def _move(row: Message, state: Message.State, problem: str = "") -> None:
    row.state, row.error = state, str(problem)
    row.save(update_fields=["state", "error", "started_at", "sent_at"])
    audit.record(
        f"message.{state}",
        subject=row,
        clinic=row.assignment.study.clinic,
        form=str(row.assignment_id),
        kind=row.kind,
        number=row.number,
    )
