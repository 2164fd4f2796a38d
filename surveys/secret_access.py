"""The doors of who has a secret and no account: a tablet, and a patient on a visit to their own data.

Whose a secret is, is asked of all clinics, once; from then on the request reaches rows of that one alone.
"""

import uuid

from django.http import Http404

from surveys import scope
from surveys.models import Patient, Rater, Response, Tablet
from surveys.tokens import token_hash


def this_tablet(secret: str) -> Tablet | None:
    """The tablet that holds this secret, as long as the clinic keeps it as one."""
    rows = Tablet.objects.select_related("clinic").filter(revoked_at=None)
    with scope.everything():
        tablet = rows.filter(secret_hash=token_hash(secret)).first()
    if tablet is not None:
        scope.open_only(tablet.clinic_id)
    return tablet


def get_visitor_or_404(patient_id: uuid.UUID | None) -> Patient:
    """The patient whose own data a browser may show now."""
    rows = Patient.objects.select_related("clinic")
    with scope.everything():
        patient = rows.filter(pk=patient_id).first() if patient_id else None
    if patient is None:
        raise Http404("No such patient.")
    scope.open_only(patient.clinic_id)
    return patient


def response_of_code(patient: Patient, receipt_code: str) -> Response | None:
    """What a patient sent under this code. The code opens this form and no other: who holds a link can send
    its form and so has a code, and must not read by it what the patient sent before or sends later."""
    sent = Response.objects.filter(
        assignment__rater=Rater.PATIENT, assignment__session__therapy__patient=patient
    )
    return sent.filter(receipt_code=receipt_code).first() if receipt_code else None
