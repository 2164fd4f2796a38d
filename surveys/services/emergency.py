"""An operator reads one patient's pages in an emergency: for a reason, half an hour, and never alone with it.

Mails to two people at least leave as soon as it begins: to the administrators of the clinic, and where
there is one alone, to the other operators as well. Where there are no two, or mails stay on this machine,
nothing is opened. Each mail that was taken is a row of the trace; where after the last attempt there are not
two, it ends. Each page that is read is a row of the trace in the role `emergency`.
"""

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit, jobs, scope
from surveys.emergency_access import open_emergencies, patient_of_code
from surveys.models import AuditEvent, Clinic, EmergencyAccess, Role, User
from surveys.services.notices import NOT_TAKEN, notice_send

JOB, TOLD = "emergency_mail", "emergency.told"
LEAST_TOLD = 2


class EmergencyRefused(Exception):
    """Nothing was opened; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


@scope.everything()
@transaction.atomic
def emergency_open(*, by: User, clinic: Clinic, code: str, reason: str) -> EmergencyAccess:
    """Raises EmergencyRefused, e.g. where not two people can be told."""
    operator = User.objects.select_for_update(no_key=True).get(pk=by.pk)
    if not operator.is_superuser:
        raise EmergencyRefused(_("This is for operators of the server."))
    if settings.MAIL_STAYS_HERE and not settings.DEMO:
        raise EmergencyRefused(
            _(
                "E-mails of this site stay on the server, so nobody would be told. Nothing was opened. Name "
                "a mail server first (EMAIL_HOST)."
            )
        )
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
    if len(told) < LEAST_TOLD:
        raise EmergencyRefused(
            _(
                "Two people have to be told, and there are not two: two administrators of the clinic, or one "
                "and another operator. Nothing was opened."
            )
        )
    return told


def emergency_mails(scope: str) -> jobs.Write:
    """To each once, whatever becomes of the others. Raises TryAgain where somebody was not told."""
    row = EmergencyAccess.objects.select_related("by", "clinic", "patient").get(pk=scope)

    def write_down(person: User) -> None:
        audit.record(
            TOLD, subject=row.patient, clinic=row.clinic, emergency=str(row.pk), person=str(person.pk)
        )

    waiting = User.objects.filter(pk__in=set(row.told) - _told(row)).order_by("email")
    if notice_send("emergency", {"emergency": row, "clinic": row.clinic}, waiting, write_down):
        raise jobs.TryAgain(NOT_TAKEN)
    return lambda: None


@transaction.atomic
def emergency_give_up(scope: str) -> None:
    """After the last attempt: where not two people were told, nothing stays open, and the trace says so."""
    rows = EmergencyAccess.objects.select_for_update(of=("self",)).select_related("clinic", "patient")
    row, now = rows.get(pk=scope), timezone.now()
    told = _told(row)
    if len(told) >= LEAST_TOLD:
        return
    if row.ended_at is None and row.ends_at > now:
        row.ended_at = now
        row.save(update_fields=["ended_at"])
    audit.record(
        "emergency.untold", subject=row.patient, clinic=row.clinic, emergency=str(row.pk), told=sorted(told)
    )


def _told(row: EmergencyAccess) -> set[str]:
    """Ids of the people whose mail was taken."""
    rows = AuditEvent.objects.filter(act=TOLD, patient=row.patient_id, detail__emergency=str(row.pk))
    return set(rows.values_list("detail__person", flat=True))
