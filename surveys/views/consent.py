"""The study's text before a form, and what the patient answers to its declaration, there or on paper."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.clinic_access import get_patient_or_404
from surveys.models import Assignment, Channel, ConsentText, Patient, Rater, StudyVersion
from surveys.paper_forms import ConsentForm
from surveys.parts import consent_of, consent_text, declarations, owed_consent, own_part_or_404
from surveys.readiness import language_name
from surveys.services.consent import consent_give
from surveys.services.paper import signed_at

YES, NO = "yes", "no"


def study_text(assignment: Assignment, language: str) -> dict[str, object]:
    """What a start page or form shows of the text: the information always, the declaration while it is
    owed."""
    if assignment.rater != Rater.PATIENT or assignment.session is None:
        return {}
    therapy = assignment.session.therapy
    return {
        "study_text": consent_text(assignment.version, [language]),
        "owed_consent": owed_consent(assignment, [language]),
        "is_left_out": therapy.excluded_at is not None,
        "is_blind": assignment.version.visibility == StudyVersion.Visibility.BLIND,
    }


def take_consent(
    request: HttpRequest, assignment: Assignment, language: str, channel: str = Channel.LINK
) -> bool:
    """Stores the answer to a declaration that is owed; False where it is owed and none was given."""
    text = owed_consent(assignment, [language])
    if text is None or assignment.session is None:
        return True
    answer = request.POST.get("consent")
    if answer not in (YES, NO):
        return False
    patient = assignment.session.therapy.patient
    consent_give(patient=patient, text=text, agreed=answer == YES, channel=channel)
    return True


def enter(request: HttpRequest, patient_id: UUID, study_id: UUID) -> HttpResponse:
    """Takes a declaration that the patient signed on paper, in the words that are in force and in the
    language of the paper."""
    patient = get_patient_or_404(request.user, patient_id)
    part = own_part_or_404(patient, study_id)
    texts = {text.language: text for text in declarations(part.study)}
    if not texts or part.withdrawal:
        return redirect("people-patient", patient.pk)
    wish = request.POST.get("language") or request.GET.get("language", "")
    text = texts.get(wish) or texts.get(patient.language) or next(iter(texts.values()))
    form = ConsentForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        _enter(request, patient, text, form)
        return redirect("people-patient", patient.pk)
    context = {
        "clinic": patient.clinic,
        "patient": patient,
        "part": part,
        "text": text,
        "choices": [(language, language_name(language)) for language in texts],
        "is_blind": text.version.visibility == StudyVersion.Visibility.BLIND,
        "form": form,
    }
    return render(request, "people/consent.html", context, status=422 if form.errors else 200)


def _enter(request: HttpRequest, patient: Patient, text: ConsentText, form: ConsentForm) -> None:
    at = signed_at(form.cleaned_data["signed_on"], timezone.now())
    consent = consent_give(
        patient=patient,
        text=text,
        agreed=form.cleaned_data["agreed"] == YES,
        channel=Channel.PAPER,
        recorded_by=person(request.user),
        at=at,
    )
    if consent.at != at:
        messages.success(request, _("The patient had given this answer before. Nothing has changed."))
    elif consent_of(patient, text.version) != consent:
        messages.success(request, _("It is kept, but the patient gave a later answer, and that one counts."))
    else:
        messages.success(request, _("It is entered. The patient is not asked for it again."))
