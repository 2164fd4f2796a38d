"""A patient who ends their part on paper: the same three choices, entered by the clinic."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.clinic_access import get_patient_or_404
from surveys.models import Withdrawal
from surveys.parts import own_part_or_404
from surveys.services.withdrawals import withdrawal_enter
from surveys.views.your_data import choices_page


def enter(request: HttpRequest, patient_id: UUID, study_id: UUID) -> HttpResponse:
    """The choice that stands on the paper, then the question whether it is right; the second answer
    stores it."""
    patient = get_patient_or_404(request.user, patient_id)
    part = own_part_or_404(patient, study_id)
    choice = request.POST.get("choice", "")
    is_confirmed = "confirm" in request.POST and choice in Withdrawal.Choice.values
    if is_confirmed:
        withdrawal_enter(patient=patient, study=part.study, choice=choice, recorded_by=person(request.user))
        messages.success(request, _("The patient’s part has ended. Please tell them so."))
    if is_confirmed or not part.choices:
        return redirect("people-patient", patient.pk)
    is_missing = request.method == "POST" and choice not in dict(part.choices)
    context = {
        **choices_page(patient, part, choice),
        "clinic": patient.clinic,
        "patient": patient,
        "is_missing": is_missing,
    }
    return render(request, "people/withdrawal.html", context, status=422 if is_missing else 200)
