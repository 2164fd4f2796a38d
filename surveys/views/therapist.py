"""The therapist's own pages: what is to do, and the caseload; and a supervisor's overview."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from surveys.access import browser_hash, first_clinic, form_state, get_form_or_404
from surveys.browsers import device_class
from surveys.models import Role
from surveys.selectors import caseload, supervised_progress, todo_forms
from surveys.services.responses import FormClosed, form_open
from surveys.views.notices import NOTICES, notice_page, see_other
from surveys.worklist import sessions_to_close, unrated_therapies


def home(request: HttpRequest) -> HttpResponse:
    context = {
        "clinic": first_clinic(request.user, Role.THERAPIST),
        "forms": todo_forms(request.user),
        "to_close": sessions_to_close(request.user),
        "unrated": unrated_therapies(request.user),
        "therapies": caseload(request.user),
    }
    return render(request, "surveys/caseload.html", context)


def supervision(request: HttpRequest) -> HttpResponse:
    context = {
        "clinic": first_clinic(request.user, Role.SUPERVISOR),
        "therapies": supervised_progress(request.user),
    }
    return render(request, "surveys/supervision.html", context)


def form_start(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    assignment = get_form_or_404(request.user, assignment_id)
    try:
        form_open(
            assignment_id=assignment.pk,
            browser_hash=browser_hash(request.user, ""),
            device=device_class(request),
        )
    except FormClosed:
        state = form_state(assignment, timezone.now())
        return notice_page(request, NOTICES.get(state, NOTICES[FormClosed]), assignment)
    return see_other("form", assignment.pk)
