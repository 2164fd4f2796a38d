"""How a patient can be reached."""

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit
from surveys.models import Assignment, FormLink, Patient, User
from surveys.selectors import OPEN
from surveys.services.messages import invitations_plan

MAX_LENGTH = 254


class ContactRefused(ValueError):
    """The text is no e-mail address; the sentence says what to do."""


@transaction.atomic
def patient_contact_set(*, patient: Patient, contact: str, actor: User | None = None) -> Patient:
    """Sets the e-mail address of a patient, or with an empty text removes it.

    Links that were sent to another address before lead nowhere from now on, and the open forms are sent to
    the new one. The trace says that it was changed, and holds no address. Raises ContactRefused.
    """
    contact = contact.strip()
    if contact:
        try:
            validate_email(contact)
        except ValidationError:
            raise ContactRefused(_("Enter one e-mail address, like name@example.org.")) from None
    if len(contact) > MAX_LENGTH:
        raise ContactRefused(_("This address is too long for an e-mail address. Please check it."))
    row = Patient.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=patient.pk)
    if row.contact == contact:
        return row
    detail = {"before": bool(row.contact), "after": bool(contact)}
    row.contact, row.contact_at = contact, timezone.now() if contact else None
    row.save(update_fields=["contact", "contact_at"])
    audit.record("patient.contact", subject=row, actor=actor, clinic=row.clinic, **detail)
    _turn_to_new_address(row)
    return row


def _turn_to_new_address(patient: Patient) -> None:
    forms = list(
        Assignment.objects.select_for_update(of=("self",))
        .filter(session__therapy__patient=patient, state__in=OPEN)
        .order_by("pk")
    )
    links = FormLink.objects.filter(assignment__in=forms, via=FormLink.Via.MAIL, revoked_at=None)
    links.update(revoked_at=timezone.now())
    invitations_plan(forms=forms, is_anew=True)
