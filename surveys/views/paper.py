"""A patient's form on paper: the sheet to print, and typing in what came back."""

from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from surveys import clock
from surveys.access import (
    LinkState,
    form_state,
    get_form_to_enter_or_404,
    get_patient_form_or_404,
    person,
)
from surveys.models import Assignment, Sharing
from surveys.paper_forms import PaperForm
from surveys.parts import consent_text, owed_consent
from surveys.selectors import n_drafts
from surveys.services.paper import Sheet, moment_on, paper_enter
from surveys.services.responses import Refusal
from surveys.views.notices import NOTICES, Notice, about, see_other
from surveys.views.respond import SHARING_LABELS, asks_sharing
from surveys.views.wording import find_wording, wording_of


def sheet(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    """The form to print, in the patient's language or another that there is; it names no patient."""
    assignment = get_patient_form_or_404(request.user, assignment_id)
    wording = wording_of(assignment, wish=request.GET.get("language", ""))
    languages = [wording.instrument.language]
    context = {
        **about(assignment),
        # Somebody of the staff reads it on the screen; the navigation is not printed.
        "is_patient_page": False,
        "wording": wording,
        "questionnaire": wording.instrument.form,
        "sharing_labels": SHARING_LABELS if asks_sharing(assignment) else {},
        "text": consent_text(assignment.version, languages),
        "owed": owed_consent(assignment, languages),
        "is_over": form_state(assignment, clock.now()) is not LinkState.OPEN,
    }
    return render(request, "surveys/paper/sheet.html", context)


def entry(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    """Takes what stands on one sheet. Once it is stored, no page shows its answers to whoever typed them."""
    assignment = get_form_to_enter_or_404(request.user, assignment_id)
    state = form_state(assignment, clock.now())
    if state in (LinkState.RECEIVED, LinkState.WITHDRAWN):
        return _over(request, assignment, NOTICES[state], 200)
    wish = request.POST.get("language") or request.GET.get("language", "")
    wording = find_wording(assignment, wish=wish)
    owed = owed_consent(assignment, [wording.instrument.language])
    form = PaperForm(
        request.POST or None,
        questionnaire=wording.instrument.form,
        moment_on=partial(moment_on, assignment=assignment, now=clock.now()),
        asks_sharing=asks_sharing(assignment),
        owes_consent=owed is not None,
    )
    if request.method == "POST" and form.is_valid():
        filled = Sheet(
            instrument=wording.instrument,
            filled_on=form.cleaned_data["filled_on"],
            answers=form.answers,
            sharing=form.cleaned_data.get("sharing", Sharing.NONE),
            agreed=form.agreed,
        )
        try:
            paper_enter(assignment=assignment, sheet=filled, text=owed, actor=person(request.user))
        except Refusal as error:
            return _over(request, assignment, NOTICES[type(error)], 409)
        return see_other("paper-entry", assignment.pk)
    context = {
        "clinic": assignment.study.clinic,
        "assignment": assignment,
        "wording": wording,
        "questionnaire": wording.instrument.form,
        "form": form,
        "n_on_screen": n_drafts(assignment),
        "last_day": min(assignment.closes_at, clock.now()),
    }
    return render(request, "surveys/paper/entry.html", context, status=422 if form.errors else 200)


def _over(request: HttpRequest, assignment: Assignment, notice: Notice, status: int) -> HttpResponse:
    context = {"clinic": assignment.study.clinic, "assignment": assignment, "notice": notice}
    return render(request, "surveys/paper/over.html", context, status=status)
