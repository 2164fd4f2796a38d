"""The clinic's patients and their therapies: who is there, who begins, ends or goes on elsewhere."""

from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys.clinic_access import (
    get_clinic_therapy_or_404,
    get_patient_or_404,
    get_patient_to_read_or_404,
)
from surveys.desk import active_studies, own_patients, own_therapists, therapies_of
from surveys.models import User
from surveys.parts import declarations, entered_at, own_parts
from surveys.people_forms import (
    PatientForm,
    TherapyEndForm,
    TherapyForm,
    TransferForm,
    patient_initial,
    therapist_name,
)
from surveys.services.patients import ContactRefused, patient_contact_set
from surveys.services.people import patient_add, patient_language_set
from surveys.services.roles import PeopleRefused
from surveys.services.therapies import TherapyRefused, therapy_begin, therapy_end, therapy_transfer
from surveys.views.clinics import own_clinic
from surveys.views.setup import refuse, sent

PAGE_ROWS = 50


def patients(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    code = request.GET.get("code", "").strip()[:20]
    pages = Paginator(own_patients(request.user, clinic, code), PAGE_ROWS)
    context = {"clinic": clinic, "page": pages.get_page(request.GET.get("page")), "code": code}
    return render(request, "people/patients.html", context)


def patient_new(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    form = PatientForm(sent(request))
    if form.is_valid():
        try:
            patient = patient_add(clinic=clinic, actor=request.user, **form.cleaned_data)
            messages.success(request, _("The patient is entered. Their code stands below."))
            return redirect("people-patient", patient.pk)
        except PeopleRefused as refusal:
            refuse(form, refusal)
    return _page(request, "people/patient_new.html", form, clinic=clinic)


def patient(request: HttpRequest, patient_id: UUID) -> HttpResponse:
    door = get_patient_or_404 if request.method == "POST" else get_patient_to_read_or_404
    row = door(request.user, patient_id)
    form = PatientForm(sent(request), initial=patient_initial(row))
    if form.is_valid():
        try:
            language, contact = form.cleaned_data["language"], form.cleaned_data["contact"]
            actor = request.user if isinstance(request.user, User) else None
            patient_contact_set(patient=row, contact=contact, actor=actor)
            patient_language_set(patient=row, language=language, actor=request.user)
            messages.success(request, _("Saved."))
            return redirect("people-patient", row.pk)
        except ContactRefused as refusal:
            form.add_error("contact", str(refusal))
    context = {
        "clinic": row.clinic,
        "patient": row,
        "therapies": therapies_of(row),
        "parts": [
            (part, entered_at(part.consent), bool(declarations(part.study))) for part in own_parts(row)
        ],
    }
    return _page(request, "people/patient.html", form, **context)


def therapy_new(request: HttpRequest, patient_id: UUID) -> HttpResponse:
    row = get_patient_or_404(request.user, patient_id)
    form = TherapyForm(
        sent(request),
        therapists=own_therapists(row.clinic),
        studies=active_studies(row.clinic),
        initial={"started_on": timezone.localdate()},
    )
    if form.is_valid():
        try:
            therapy = therapy_begin(patient=row, actor=request.user, **form.cleaned_data)
            messages.success(request, _("The therapy %(code)s has begun.") % {"code": therapy.code})
            return redirect("people-therapy", therapy.pk)
        except TherapyRefused as refusal:
            refuse(form, refusal)
    return _page(request, "people/therapy_new.html", form, clinic=row.clinic, patient=row)


def therapy(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    return _therapy(request, therapy_id)


def therapy_close(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    row = get_clinic_therapy_or_404(request.user, therapy_id)
    form = TherapyEndForm(request.POST, prefix="end")
    if form.is_valid():
        try:
            therapy_end(therapy=row, actor=request.user, **form.cleaned_data)
            messages.success(request, _("The therapy has ended. What was rated stays with it."))
            return redirect("people-therapy", row.pk)
        except TherapyRefused as refusal:
            refuse(form, refusal)
    return _therapy(request, therapy_id, end=form)


def therapy_move(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    row = get_clinic_therapy_or_404(request.user, therapy_id)
    therapists = own_therapists(row.study.clinic, without=row.therapist)
    form = TransferForm(request.POST, prefix="move", therapists=therapists)
    if form.is_valid():
        try:
            new = therapy_transfer(therapy=row, actor=request.user, **form.cleaned_data)
            messages.success(
                request,
                _(
                    "The patient goes on with %(therapist)s in the new therapy %(code)s. All earlier ratings "
                    "stay with the therapy before."
                )
                % {"therapist": therapist_name(new.therapist), "code": new.code},
            )
            return redirect("people-therapy", new.pk)
        except TherapyRefused as refusal:
            refuse(form, refusal)
    return _therapy(request, therapy_id, move=form)


def _therapy(
    request: HttpRequest,
    therapy_id: UUID,
    end: TherapyEndForm | None = None,
    move: TransferForm | None = None,
) -> HttpResponse:
    row = get_clinic_therapy_or_404(request.user, therapy_id)
    today = timezone.localdate()
    others = own_therapists(row.study.clinic, without=row.therapist)
    context = {
        "clinic": row.study.clinic,
        "therapy": row,
        "therapist": therapist_name(row.therapist),
        "next": getattr(row, "next", None),
        "n_sessions": row.sessions.filter(number__isnull=False).count(),
        "end": end or TherapyEndForm(prefix="end", initial={"ended_on": today}),
        "move": move or TransferForm(prefix="move", initial={"on": today}, therapists=others),
    }
    wrong = next((form for form in (end, move) if form is not None), None)
    context["wrong"] = wrong
    return render(request, "people/therapy.html", context, status=422 if wrong else 200)


def _page(request: HttpRequest, template: str, form: forms.Form, **context: object) -> HttpResponse:
    return render(request, template, {**context, "form": form}, status=422 if form.errors else 200)
