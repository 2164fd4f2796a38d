"""Where a therapist begins or goes on with a form of their own."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from surveys.access import browser_hash, form_state, get_form_or_404
from surveys.browsers import device_class
from surveys.services.responses import FormClosed, form_open
from surveys.views.notices import NOTICES, notice_page, see_other


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
