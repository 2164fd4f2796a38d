"""The end of a patient's part in a study, in three strengths; it holds for all their therapies in it.

1. `stop`: open forms are withdrawn (links to them say thank you, start codes open nothing), waiting messages
   are not sent, drafts are deleted, and no later session asks the patient for anything.
2. `exclude`: also nothing of the therapies is in a dataset or model from now on, and therapists no longer see
   what the patient sent.
3. `erase`: also what the patient sent is deleted. The row of the withdrawal and the withdrawn forms stay;
   they hold no answer.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from surveys import audit, jobs
from surveys.access import LinkState, form_state
from surveys.models import (
    Assignment,
    DraftAnswer,
    Message,
    Opening,
    Patient,
    Rater,
    Response,
    Sharing,
    Study,
    Therapy,
    User,
    Withdrawal,
)
from surveys.parts import strongest_withdrawal

Choice = Withdrawal.Choice


@dataclass(frozen=True)
class Part:
    """A patient's part in a study: their therapies in it, and their own forms about these, all locked."""

    patient: Patient
    study: Study
    therapies: list[Therapy]
    forms: list[Assignment]


@transaction.atomic
def withdrawal_enter(
    *,
    patient: Patient,
    study: Study,
    choice: str,
    recorded_by: User | None = None,
    at: datetime | None = None,
) -> Withdrawal:
    """Ends the patient's part; `recorded_by` where they asked for it on paper. A choice that goes no further
    than an earlier one changes nothing and returns the earlier one. Raises ValueError for a patient without a
    therapy in the study."""
    now = at or timezone.now()
    part = part_lock(patient, study)
    if not part.therapies:
        raise ValueError("This patient has no part in this study.")
    choice = Choice(choice)
    earlier = strongest_withdrawal(patient, study)
    if earlier is not None and Choice.values.index(earlier.choice) >= Choice.values.index(choice):
        return earlier
    n_closed = part_stop(part, now)
    n_erased = 0
    if choice != Choice.STOP:
        part_leave_out(part, now)
        Response.objects.filter(assignment__in=part.forms).exclude(sharing=Sharing.NONE).update(
            sharing=Sharing.NONE
        )
    if choice == Choice.ERASE:
        n_erased = _erase(part)
    withdrawal = Withdrawal.objects.create(
        patient=patient, study=study, choice=choice, at=now, n_erased=n_erased, recorded_by=recorded_by
    )
    audit.record(
        "withdrawal.enter",
        subject=withdrawal,
        actor=recorded_by,
        clinic=study.clinic,
        choice=choice.value,
        n_closed=n_closed,
        n_erased=n_erased,
    )
    if choice != Choice.STOP:
        jobs.request("refit", study.pk)
    jobs.request("list_withdrawals", "all")
    return withdrawal


def part_lock(patient: Patient, study: Study) -> Part:
    """The patient's part, locked in the order of everybody who writes: therapies, forms, then the rest."""
    therapies = Therapy.objects.select_for_update(of=("self",)).filter(patient=patient, study=study)
    # A transfer holds a therapy while it adds the next one; once no therapy can come any more, they are read
    # again.
    list(therapies.order_by("pk"))
    locked = Patient.objects.select_for_update(of=("self",)).get(pk=patient.pk)
    all_therapies = list(therapies.order_by("pk"))
    forms = Assignment.objects.select_for_update(of=("self",)).filter(
        session__therapy__in=all_therapies, rater=Rater.PATIENT
    )
    return Part(locked, study, all_therapies, list(forms.order_by("pk")))


def part_stop(part: Part, now: datetime) -> int:
    """The patient is asked nothing more; how many open forms that ends. What was missed stays missed."""
    open_forms = [row.pk for row in part.forms if form_state(row, now) is LinkState.OPEN]
    Assignment.objects.filter(pk__in=open_forms).update(state=Assignment.State.WITHDRAWN)
    DraftAnswer.objects.filter(assignment__in=part.forms).delete()
    Message.objects.filter(assignment__in=part.forms, state=Message.State.WAITING).update(
        state=Message.State.NOT_NEEDED
    )
    _set_once(part, "stopped_at", now)
    return len(open_forms)


def part_leave_out(part: Part, now: datetime) -> int:
    """The therapies are in no dataset and no model any more; for how many that is new."""
    return _set_once(part, "excluded_at", now)


def _set_once(part: Part, field: str, now: datetime) -> int:
    keys = [row.pk for row in part.therapies]
    return Therapy.objects.filter(pk__in=keys, **{field: None}).update(**{field: now})


def _erase(part: Part) -> int:
    """Deletes what the patient sent and how to reach them; how many forms that were."""
    responses = Response.objects.filter(assignment__in=part.forms)
    received = list(responses.values_list("assignment", flat=True))
    responses.delete()
    # A form without its response would say that it was received.
    Assignment.objects.filter(pk__in=received).update(state=Assignment.State.WITHDRAWN)
    Opening.objects.filter(assignment__in=part.forms).delete()
    elsewhere = Therapy.objects.filter(patient=part.patient, ended_on=None, stopped_at=None)
    if not elsewhere.exists():
        Patient.objects.filter(pk=part.patient.pk).update(contact="", contact_at=None)
    return len(received)
