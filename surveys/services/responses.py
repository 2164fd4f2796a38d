"""From an opened form to a stored response."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from surveys import audit, clock, compiled, jobs, scoring
from surveys.access import Actor, LinkState, form_state
from surveys.models import (
    Assignment,
    Channel,
    DraftAnswer,
    Instrument,
    Opening,
    Rater,
    Response,
    Score,
    Sharing,
    User,
)
from surveys.packs import InstrumentFile
from surveys.selectors import OPEN
from surveys.services.assignments import sync_request
from surveys.wordings import instrument_of

_IS_ANSWERED = (
    "EXISTS (SELECT 1 FROM surveys_response given WHERE given.assignment_id = surveys_assignment.id)"
)

# The two raters may send at the same moment: one of them must see the other's form, so the sessions are
# locked before the question is asked. Both statements go in one message; the second sees what the first
# waited for.
_REVEAL = """
SELECT 1 FROM surveys_session WHERE id = ANY(%(sessions)s) ORDER BY id FOR NO KEY UPDATE;
UPDATE surveys_response response
SET reveal_at = GREATEST(response.submitted_at, %(declined_at)s::timestamptz, (
        SELECT max(given.submitted_at) FROM surveys_response given
        JOIN surveys_assignment own ON own.id = given.assignment_id
        WHERE own.session_id = form.session_id AND own.rater = 'therapist'))
FROM surveys_assignment form
WHERE form.id = response.assignment_id AND form.session_id = ANY(%(sessions)s) AND form.rater = 'patient'
  AND response.reveal_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM surveys_assignment owed WHERE owed.session_id = form.session_id
                  AND owed.rater = 'therapist' AND owed.state IN ('due', 'opened'))
"""


_CLOSE = """
UPDATE surveys_assignment SET state = %(state)s WHERE id = %(form)s;
DELETE FROM surveys_draftanswer WHERE assignment_id = %(form)s;
"""


class Refusal(Exception):
    """The form is not stored, and why; nothing that was typed is lost by it."""


class AlreadyReceived(Refusal):
    """Another browser has sent this form before."""


class DifferentAnswers(Refusal):
    """This browser has sent this form before, with other answers."""


class FormClosed(Refusal):
    """The form has expired or was withdrawn."""


class WrongKey(Refusal):
    """The page that was sent is not the one that was opened in this browser."""


@dataclass(frozen=True)
class Paradata:
    """How a form was filled, beside the answers."""

    device: str
    channel: str
    with_staff_session: bool = False
    entered_by: User | None = None


@transaction.atomic
def form_open(
    *,
    assignment_id: uuid.UUID,
    browser_hash: str,
    device: str,
    language: str = "",
    channel: str = Channel.LINK,
    at: datetime | None = None,
) -> Opening:
    """Begins the form in a browser, or finds what that browser began; in the language, where one is given.
    Raises FormClosed."""
    now = at or clock.now()
    assignment = Assignment.objects.select_for_update().get(pk=assignment_id)
    opening = Opening.objects.filter(assignment=assignment, browser_hash=browser_hash).first()
    # The extra day after closing is for those who had begun, not for a new beginning.
    if form_state(assignment, now) is not LinkState.OPEN or (now > assignment.closes_at and not opening):
        raise FormClosed("This form can no longer be opened.")
    if assignment.state == Assignment.State.DUE:
        assignment.state = Assignment.State.OPENED
        assignment.save(update_fields=["state"])
    if opening is None:
        # Nobody else can have made it meanwhile: the form is locked.
        return Opening.objects.create(
            assignment=assignment,
            browser_hash=browser_hash,
            device=device,
            opened_at=now,
            channel=channel,
            language=language,
        )
    if language and opening.language != language:
        opening.language = language
        opening.save(update_fields=["language"])
    return opening


@transaction.atomic
def drafts_save(
    *, opening: Opening, answers: Mapping[int, int], sharing: str | None = None, language: str = ""
) -> None:
    """Keeps answers of an open form, and sharing choice and language where they are given; raises FormClosed
    when the form is no longer open."""
    rows = Assignment.objects.select_for_update().annotate(now=clock.NOW)
    assignment = rows.get(pk=opening.assignment_id)
    now = assignment.now
    if form_state(assignment, now) is not LinkState.OPEN:
        raise FormClosed("This form can no longer be changed.")
    chosen = {"sharing": sharing, "language": language or None}
    changes = {name: value for name, value in chosen.items() if value is not None}
    if changes:
        Opening.objects.filter(pk=opening.pk).update(**changes)
    DraftAnswer.objects.bulk_create(
        [
            DraftAnswer(assignment=assignment, opening=opening, item=item, value=value, saved_at=now)
            for item, value in answers.items()
        ],
        update_conflicts=True,
        unique_fields=["assignment", "item"],
        update_fields=["opening", "value", "saved_at"],
    )


@transaction.atomic
def drafts_clear(*, opening: Opening) -> None:
    """Start again: forgets what was answered so far, on whatever device."""
    assignment = Assignment.objects.select_for_update().get(pk=opening.assignment_id)
    if form_state(assignment, clock.now()) is LinkState.OPEN:
        DraftAnswer.objects.filter(assignment=assignment).delete()


@transaction.atomic
def response_submit(
    *,
    opening: Opening,
    answers: Mapping[int, int],
    sharing: str,
    client_key: uuid.UUID,
    paradata: Paradata,
    instrument: Instrument | None = None,
    actor: Actor | None = None,
    at: datetime | None = None,
) -> Response:
    """Stores one form, once: response, scores, audit row and refit request commit together.

    `answers` are those of this page; items answered on another device are added from the drafts, what
    is left is stored as skipped. `instrument` is the wording that was shown, where not that of the plan.
    The same key with the same answers returns the first response; raises AlreadyReceived, DifferentAnswers,
    FormClosed or WrongKey.
    """
    assignment, is_over, now = _locked(opening)
    now = at or now
    if client_key != opening.client_key:
        raise WrongKey("The form on this page is not the one that was opened here.")
    form = assignment.instrument.form
    received = Response.objects.filter(assignment=assignment).first() if is_over else None
    if received is not None:
        return _replay(received, answers, sharing, client_key)
    if form_state(assignment, now) is not LinkState.OPEN:
        raise FormClosed("This form has expired.")
    drafts = DraftAnswer.objects.filter(assignment=assignment)
    saved = {item: (value, row) for item, value, row in drafts.values_list("item", "value", "opening")}
    kept = {item: value for item, (value, _row) in saved.items()}
    complete = {
        item.number: answers.get(item.number, kept.get(item.number, scoring.SKIPPED)) for item in form.items
    }
    elsewhere = [item for item, (_, row) in saved.items() if row != opening.pk and item not in answers]
    response = response_row(opening, assignment, complete, sharing, paradata, now)
    response.instrument = instrument or assignment.instrument
    response.language = response.instrument.language
    response.elsewhere = sorted(elsewhere)
    response.save(force_insert=True)
    Score.objects.bulk_create(score_rows(response, form, complete))
    assignment.state = state_after(complete)
    _close(assignment)
    audit.record("response.submit", subject=response, actor=actor, clinic=assignment.study.clinic_id)
    sync_request(assignment)
    if assignment.session_id is None:
        jobs.request("practice_bands", assignment.study.clinic_id)
    jobs.request("refit", assignment.study_id)
    return response


def _locked(opening: Opening) -> tuple[Assignment, bool, datetime]:
    """The form, which nobody else changes until the end of the transaction; whether it may have been
    received; and the time. Who waited for the lock sees the new state of the form, but of other rows what was
    there before."""
    assignment = compiled.first(_form_to_lock, opening.assignment_id)
    if assignment is None:
        raise FormClosed("This form is not there any more.")
    assignment.instrument = instrument_of(assignment.instrument_id)
    return assignment, assignment.is_answered or assignment.state not in OPEN, assignment.now


def _form_to_lock(pk: uuid.UUID) -> QuerySet[Any]:
    is_answered = RawSQL(_IS_ANSWERED, [], BooleanField())  # noqa: S611  text of our own
    rows = Assignment.objects.select_for_update(of=("self",)).select_related("study", "session")
    return rows.annotate(is_answered=is_answered, now=clock.NOW).filter(pk=pk)


def _replay(received: Response, answers: Mapping[int, int], sharing: str, client_key: uuid.UUID) -> Response:
    """The answer to a form that is sent again: 10 tabs, a double tap or a retry are one response."""
    if received.client_key != client_key:
        raise AlreadyReceived("This form was received before, from another device.")
    is_patients = received.assignment.rater == Rater.PATIENT
    # Whoever sent the rest of a form must not find out by trying what was answered on another device.
    is_same = all(
        item not in received.elsewhere and received.answers[str(item)] == value
        for item, value in answers.items()
    )
    if not is_same or (is_patients and received.sharing != sharing):
        raise DifferentAnswers("This form was received before, with other answers; those were kept.")
    return received


def response_row(
    opening: Opening,
    assignment: Assignment,
    answers: Mapping[int, int],
    sharing: str,
    paradata: Paradata,
    at: datetime,
) -> Response:
    """The response, not yet stored, to a form that was begun with this opening."""
    return Response(
        assignment=assignment,
        instrument=assignment.instrument,
        language=assignment.instrument.language,
        answers={str(item): value for item, value in answers.items()},
        client_key=opening.client_key,
        device=paradata.device,
        channel=paradata.channel,
        with_staff_session=paradata.with_staff_session,
        entered_by=paradata.entered_by,
        started_at=min(opening.opened_at, at),
        submitted_at=at,
        sharing=sharing if assignment.rater == Rater.PATIENT else Sharing.NONE,
    )


def score_rows(response: Response, form: InstrumentFile, answers: Mapping[int, int]) -> list[Score]:
    """The scores, not yet stored, of every scale of the form."""
    return [
        Score(
            response=response,
            scale=row.scale,
            mean=row.mean,
            n_answered=row.n_answered,
            n_items=row.n_items,
            scoring_version=form.scoring_version,
        )
        for row in scoring.score(form, answers)
    ]


def state_after(answers: Mapping[int, int]) -> str:
    """A form that was sent without a single answer is declined."""
    is_empty = all(value in scoring.MISSING_CODES for value in answers.values())
    return Assignment.State.DECLINED if is_empty else Assignment.State.SUBMITTED


def _close(assignment: Assignment) -> None:
    """The form's new state; its drafts go, and what it kept covered is revealed: in one message."""
    text = _CLOSE
    values: dict[str, Any] = {"state": assignment.state, "form": assignment.pk}
    if assignment.session_id is not None:
        text, values = text + _REVEAL, values | _to_reveal([assignment.session_id])
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def reveal(sessions: Collection[uuid.UUID], declined_at: datetime | None = None) -> None:
    """Rate, then reveal: the patient's ratings of a session show once every form that the
    therapist owes for it is given or declined, at once where none was asked. `declined_at` is the time of
    a rating that was declined just now."""
    with connection.cursor() as cursor:
        cursor.execute(_REVEAL, _to_reveal(sessions, declined_at))


def _to_reveal(sessions: Collection[uuid.UUID], declined_at: datetime | None = None) -> dict[str, Any]:
    return {"sessions": list(sessions), "declined_at": declined_at}
