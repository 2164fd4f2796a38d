"""What a patient agrees to, and what they let others see of what they sent."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from surveys import audit, jobs
from surveys.models import (
    Channel,
    Consent,
    ConsentText,
    Patient,
    Response,
    Sharing,
    StudyVersion,
    Therapy,
    User,
)
from surveys.parts import consent_of, own_responses, strongest_withdrawal
from surveys.services.withdrawals import Choice, Part, part_leave_out, part_lock, part_stop


@transaction.atomic
def consent_give(
    *,
    patient: Patient,
    text: ConsentText,
    agreed: bool,
    channel: str = Channel.LINK,
    recorded_by: User | None = None,
    at: datetime | None = None,
) -> Consent:
    """The patient's answer to the declaration that was shown; the same answer again is the first one.

    Research and care are two things: who does not agree is left out of datasets and models, and may go on
    filling forms that their therapist works with. Under the blind policy forms are for research alone, so
    that nothing is left to ask. Who agrees later is taken in again, unless they withdrew. An answer from
    before a known one, on a paper that comes late, is kept and changes nothing. Raises ValueError for a text
    that asks for no consent or is not of the patient's clinic.
    """
    now = at or timezone.now()
    version = text.version
    if not text.declaration or version.study.clinic_id != patient.clinic_id:
        raise ValueError("There is nothing in this text for this patient to agree to.")
    part = part_lock(patient, version.study)
    known = consent_of(patient, version)
    if known is not None and known.agreed == agreed:
        return known
    consent = Consent.objects.create(
        patient=patient, text=text, agreed=agreed, at=now, channel=channel, recorded_by=recorded_by
    )
    audit.record(
        "consent.give",
        subject=consent,
        actor=recorded_by,
        clinic=version.study.clinic,
        agreed=agreed,
        version=version.number,
    )
    if consent_of(patient, version) != consent:
        return consent
    if agreed:
        n_changed = _take_in(part)
    else:
        n_changed = part_leave_out(part, now)
        if version.visibility == StudyVersion.Visibility.BLIND:
            part_stop(part, now)
    if n_changed:
        jobs.request("refit", version.study_id)
    return consent


def _take_in(part: Part) -> int:
    withdrawal = strongest_withdrawal(part.patient, part.study)
    if withdrawal is not None and withdrawal.choice != Choice.STOP:
        return 0
    keys = [row.pk for row in part.therapies]
    return Therapy.objects.filter(pk__in=keys, excluded_at__isnull=False).update(excluded_at=None)


@transaction.atomic
def sharing_narrow(*, patient: Patient, choice: str, response_id: UUID | None = None) -> int:
    """Lets therapists see less of one response of the patient, or of all, from now on; of how many that is a
    change. What is shared less already stays as it is."""
    wider = Sharing.values[Sharing.values.index(choice) + 1 :]
    rows = own_responses(patient).filter(sharing__in=wider)
    if response_id is not None:
        rows = rows.filter(pk=response_id)
    changed = list(rows.select_for_update(of=("self",)).order_by("pk"))
    Response.objects.filter(pk__in=[row.pk for row in changed]).update(sharing=choice)
    audit.record_each("sharing.narrow", [(row, {"to": choice}) for row in changed], clinic=patient.clinic)
    return len(changed)
