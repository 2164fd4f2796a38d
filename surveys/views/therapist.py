"""The therapist's own pages: what is to do, the caseload, the session log; and a supervisor's overview."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from surveys.access import browser_hash, first_clinic, form_state, get_form_or_404, get_therapy_or_404
from surveys.browsers import device_class
from surveys.forms import SessionForm
from surveys.models import Role
from surveys.selectors import caseload, logged_sessions, supervised_progress, todo_forms
from surveys.services.responses import FormClosed, form_open
from surveys.services.sessions import SessionExists, session_close
from surveys.views.notices import NOTICES, notice_page, see_other


def home(request: HttpRequest) -> HttpResponse:
    context = {
        "clinic": first_clinic(request.user, Role.THERAPIST),
        "forms": todo_forms(request.user),
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


def session_log(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """The log of a therapy, and the entry of a session that took place or did not."""
    therapy = get_therapy_or_404(request.user, therapy_id)
    hour = timezone.localtime().replace(minute=0, second=0, microsecond=0)
    form = SessionForm(request.POST or None, therapy=therapy, initial={"held_at": hour, "status": "held"})
    if request.method == "POST" and form.is_valid():
        try:
            session = session_close(therapy=therapy, actor=request.user, **form.cleaned_data).session
            return see_other("session-log", therapy.pk, f"?entered={session.pk}")
        except SessionExists as error:
            form.add_error("held_at", f"{error} Enter another time.")
    context = {
        "therapy": therapy,
        "clinic": therapy.therapist.clinic,
        "form": form,
        "sessions": logged_sessions(therapy),
        "entered": None if form.errors else request.GET.get("entered"),
        "now": timezone.now(),
    }
    return render(request, "surveys/session_log.html", context, status=422 if form.errors else 200)
