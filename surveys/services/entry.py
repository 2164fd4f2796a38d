"""Forms that were filled before they came here: many at once, each at the time when it was filled.

What is stored is what `form_open` and `response_submit` would have stored then, one form after another.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from surveys import audit, jobs, scoring
from surveys.access import LinkState, form_state
from surveys.models import Assignment, DraftAnswer, Instrument, Opening, Response, Score, Sharing, Study, User
from surveys.services.responses import (
    AlreadyReceived,
    FormClosed,
    Paradata,
    response_row,
    reveal,
    score_rows,
    state_after,
)


@dataclass(frozen=True)
class FilledForm:
    """One form as it was filled; items that `answers` leaves out were skipped."""

    assignment_id: uuid.UUID
    answers: Mapping[int, int]
    opened_at: datetime
    submitted_at: datetime
    browser_hash: str
    paradata: Paradata
    sharing: str = Sharing.NONE


@transaction.atomic
def responses_enter(
    *, study: Study, forms: Sequence[FilledForm], actor: User | None = None
) -> list[Response]:
    """Stores forms of one study: openings, responses, scores, audit rows and refit request commit together.

    Raises AlreadyReceived for a form that was received before, also in the same list, and FormClosed for
    one that was not open at its time, ValueError for one of another study; nothing is stored then.
    """
    rows = Assignment.objects.select_for_update(of=("self",)).filter(study=study).order_by("pk")
    locked = rows.in_bulk([filled.assignment_id for filled in forms])
    instruments = Instrument.objects.in_bulk({row.instrument_id for row in locked.values()})
    openings, responses, scores = [], [], []
    for filled in forms:
        if filled.assignment_id not in locked:
            raise ValueError("A form of another study, or of none, cannot be entered here.")
        assignment = locked[filled.assignment_id]
        _refuse_unless_open(assignment, filled.submitted_at)
        assignment.instrument = instruments[assignment.instrument_id]
        form = assignment.instrument.form
        complete = {item.number: filled.answers.get(item.number, scoring.SKIPPED) for item in form.items}
        opening = Opening(
            assignment=assignment,
            browser_hash=filled.browser_hash,
            device=filled.paradata.device,
            opened_at=filled.opened_at,
        )
        response = response_row(
            opening, assignment, complete, filled.sharing, filled.paradata, filled.submitted_at
        )
        assignment.state = state_after(complete)
        openings.append(opening)
        responses.append(response)
        scores += score_rows(response, form, complete)
    Opening.objects.bulk_create(openings)
    Response.objects.bulk_create(responses)
    Score.objects.bulk_create(scores)
    for state in (Assignment.State.SUBMITTED, Assignment.State.DECLINED):
        changed = [key for key, row in locked.items() if row.state == state]
        Assignment.objects.filter(pk__in=changed).update(state=state)
    DraftAnswer.objects.filter(assignment__in=locked).delete()
    reveal([row.session_id for row in locked.values() if row.session_id is not None])
    audit.record_each("response.submit", [(row, {}) for row in responses], actor=actor, clinic=study.clinic)
    if any(row.session_id is None for row in locked.values()):
        jobs.request("practice_bands", study.clinic_id)
    jobs.request("refit", study.pk)
    return responses


def _refuse_unless_open(assignment: Assignment, at: datetime) -> None:
    state = form_state(assignment, at)
    if state is LinkState.RECEIVED:
        raise AlreadyReceived("This form was received before.")
    if state is not LinkState.OPEN:
        raise FormClosed("This form was not open at that time.")
