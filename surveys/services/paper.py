"""Forms that a patient filled on paper and somebody of the clinic typed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.db import transaction
from django.utils import timezone

from surveys import scoring
from surveys.access import browser_hash
from surveys.models import Assignment, Channel, ConsentText, Instrument, Opening, Response, Sharing, User
from surveys.services.consent import consent_give
from surveys.services.responses import FormClosed, Paradata, form_open, response_submit


@dataclass(frozen=True)
class Sheet:
    """What stands on the paper; items that `answers` leaves out were left blank."""

    instrument: Instrument
    filled_on: date
    answers: Mapping[int, int]
    sharing: str = Sharing.NONE
    agreed: bool | None = None


def moment_on(day: date, assignment: Assignment, now: datetime) -> datetime | None:
    """The moment of a day at which the form was open, noon if it was; None where it was not open that day.

    A sheet has a day and no time. The form must have been open then, however late somebody types it in."""
    start = timezone.make_aware(datetime.combine(day, time.min))
    first = max(start, assignment.opens_at)
    last = min(start + timedelta(days=1, microseconds=-1), assignment.closes_at, now)
    if first > last:
        return None
    return min(max(start + timedelta(hours=12), first), last)


def signed_at(day: date, now: datetime) -> datetime:
    """The moment of a day on which a declaration was signed: noon, or now where the day is not that far."""
    return min(timezone.make_aware(datetime.combine(day, time(12))), now)


@transaction.atomic
def paper_enter(
    *, assignment: Assignment, sheet: Sheet, actor: User, text: ConsentText | None = None
) -> Response | None:
    """Stores the sheet as the response to its form, with who typed it in; twice the same is one response.

    `text` is the declaration whose answer is on the sheet. None where the patient did not agree to it and the
    form was for research alone. What the patient began on a screen is replaced. Raises what `response_submit`
    raises, and FormClosed for a day on which the form was not open."""
    at = moment_on(sheet.filled_on, assignment, timezone.now())
    if at is None:
        raise FormClosed("This form was not open on that day.")
    if text is not None and sheet.agreed is not None and assignment.session is not None:
        consent_give(
            patient=assignment.session.therapy.patient,
            text=text,
            agreed=sheet.agreed,
            channel=Channel.PAPER,
            recorded_by=actor,
            at=at,
        )
        assignment.refresh_from_db(fields=["state"])
        if assignment.state == Assignment.State.WITHDRAWN:
            return None
    opening = _opening(assignment, sheet, actor, at)
    items = (item.number for item in assignment.instrument.form.items)
    return response_submit(
        opening=opening,
        answers={item: sheet.answers.get(item, scoring.SKIPPED) for item in items},
        sharing=sheet.sharing,
        client_key=opening.client_key,
        paradata=Paradata(device="paper", channel=Channel.PAPER, entered_by=actor),
        instrument=sheet.instrument,
        actor=actor,
        at=at,
    )


def _opening(assignment: Assignment, sheet: Sheet, actor: User, at: datetime) -> Opening:
    own = browser_hash(actor, "")
    try:
        return form_open(
            assignment_id=assignment.pk,
            browser_hash=own,
            device="paper",
            language=sheet.instrument.language,
            channel=Channel.PAPER,
            at=at,
        )
    except FormClosed:
        # A second click, while the first stored the sheet.
        known = Opening.objects.filter(assignment=assignment, browser_hash=own).first()
        if known is None:
            raise
        return known
