"""A patient asks for all that is kept about them: an administrator makes the file and fetches it at once."""

from uuid import UUID

from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from surveys.access import person
from surveys.clinic_access import get_patient_or_404
from surveys.models import Patient
from surveys.people_forms import AccessFileForm
from surveys.services.access_files import Asked, access_file_make

SALT = "surveys.access-file"
# How long the link on the page works after the password was given.
GOOD_FOR = 600


def ask(request: HttpRequest, patient_id: UUID) -> HttpResponse:
    """What is in the file, and who it is for; after the password, a link that fetches it."""
    patient = get_patient_or_404(request.user, patient_id)
    form = AccessFileForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        ticket = signing.dumps([str(patient.pk), str(request.user.pk), form.cleaned_data["asked"]], salt=SALT)
        address = reverse("people-access-file", args=[patient.pk])
        return redirect(f"{address}?ticket={ticket}")
    ticket = request.GET.get("ticket", "")
    context = {
        "clinic": patient.clinic,
        "patient": patient,
        "form": form,
        "ticket": ticket if _asked(request, patient, ticket) else "",
    }
    return render(request, "people/access_file.html", context, status=422 if form.errors else 200)


def fetch(request: HttpRequest, patient_id: UUID) -> HttpResponse:
    patient = get_patient_or_404(request.user, patient_id)
    asked = _asked(request, patient, request.GET.get("ticket", ""))
    if asked is None:
        return redirect("people-access-file", patient.pk)
    # Asked for without a body, nothing is made, and nothing is written down.
    content = b""
    if request.method != "HEAD":
        content = access_file_make(patient=patient, asked=asked, actor=person(request.user))
    return HttpResponse(
        content,
        content_type="application/zip",
        headers={"Content-Disposition": f'attachment; filename="patient-{patient.code}.zip"'},
    )


def _asked(request: HttpRequest, patient: Patient, ticket: str) -> Asked | None:
    """How the patient asked, where the ticket is for this patient and this administrator, and still good."""
    try:
        about, by, asked = signing.loads(ticket, salt=SALT, max_age=GOOD_FOR)
    except signing.BadSignature:
        return None
    return Asked(asked) if (about, by) == (str(patient.pk), str(request.user.pk)) else None
