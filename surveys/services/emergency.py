"""An operator reads one patient's pages in an emergency: for a reason, half an hour, and never alone with it.

Two people at least are told by mail as soon as it begins: the administrators of the clinic, and where there
is one alone, the other operators as well. Where there are no two, nothing is opened. Each page that is read
is a row of the trace in the role `emergency`.
"""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit, jobs
from surveys.emergency_access import open_emergencies, patient_of_code
from surveys.models import Clinic, EmergencyAccess, Role, User
from surveys.services.notices import notice_send

JOB = "emergency_mail"


class EmergencyRefused(Exception):
    """Nothing was opened; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


@transaction.atomic
def emergency_open(*, by: User, clinic: Clinic, code: str, reason: str) -> EmergencyAccess:
    """Raises EmergencyRefused, e.g. where not two people can be told."""
    operator = User.objects.select_for_update(no_key=True).get(pk=by.pk)
    if not operator.is_superuser:
        raise EmergencyRefused(_("This is for operators of the server."))
    if open_emergencies(operator).exists():
        raise EmergencyRefused(_("You have opened a patient’s pages already. End that first."))
    if len(reason.strip()) < EmergencyAccess.LEAST_REASON:
        raise EmergencyRefused(_("Say in a sentence why: the clinic reads it."), "reason")
    patient = patient_of_code(clinic, code.strip())
    if patient is None:
        raise EmergencyRefused(_("No patient and no therapy of this clinic has this code."), "code")
    told = people_to_tell(clinic, operator)
    now = timezone.now()
    row = EmergencyAccess.objects.create(
        by=operator,
        clinic=clinic,
        patient=patient,
        reason=reason.strip(),
        told=[str(person.pk) for person in told],
        began_at=now,
        ends_at=now + EmergencyAccess.LASTS,
    )
    audit.record(
        "emergency.open", subject=patient, actor=operator, clinic=clinic, emergency=str(row.pk), told=row.told
    )
    jobs.request(JOB, row.pk)
    return row


@transaction.atomic
def emergency_end(*, by: User) -> int:
    """Before its time; how many ended."""
    rows = list(open_emergencies(by).select_for_update(of=("self",)).select_related("patient", "clinic"))
    for row in rows:
        row.ended_at = timezone.now()
        row.save(update_fields=["ended_at"])
        audit.record("emergency.end", subject=row.patient, actor=by, clinic=row.clinic, emergency=str(row.pk))
    return len(rows)


def people_to_tell(clinic: Clinic, operator: User) -> list[User]:
    """Two at least; raises EmergencyRefused where there are none."""
    others = User.objects.filter(is_active=True).exclude(pk=operator.pk)
    administrators = others.filter(memberships__clinic=clinic, memberships__role=Role.CLINIC_ADMIN).distinct()
    told = list(administrators.order_by("email"))
    if len(told) == 1:
        told += others.filter(is_superuser=True).order_by("email")
    if len(told) < 2:
        raise EmergencyRefused(
            _(
                "Two people have to be told, and there are not two: two administrators of the clinic, or one "
                "and another operator. Nothing was opened."
            )
        )
    return told


def emergency_mails(scope: str) -> jobs.Write:
    row = EmergencyAccess.objects.select_related("by", "clinic").get(pk=scope)
    notice_send("emergency", {"emergency": row, "clinic": row.clinic}, User.objects.filter(pk__in=row.told))
    return lambda: None
