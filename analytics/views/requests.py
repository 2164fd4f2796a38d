"""Requests for data, for the clinic's administrators: what is asked for, what it tells of people, and their
decision."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from analytics.access import get_administered_export_or_404
from analytics.data_forms import DecisionForm
from analytics.data_selectors import clinic_requests, export_row
from analytics.data_words import export_refusal
from analytics.models import Export
from analytics.services.exports import (
    ExportRefused,
    export_approve,
    export_decline,
    export_withdraw,
)
from surveys.access import person
from surveys.clinic_access import CHOSEN_CLINIC, get_administered_clinic_or_404


def requests(request: HttpRequest) -> HttpResponse:
    clinic = get_administered_clinic_or_404(request.user, request.session.get(CHOSEN_CLINIC, ""))
    context = {"clinic": clinic, "found": clinic_requests(request.user, clinic)}
    return render(request, "analytics/requests.html", context)


def decide(request: HttpRequest, export_id: UUID) -> HttpResponse:
    row = get_administered_export_or_404(request.user, export_id)
    form = DecisionForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            _decide(request, row, **form.cleaned_data)
            return redirect("clinic-request", row.pk)
        except ExportRefused as refused:
            form.add_error(None, export_refusal(refused.code))
    context = {
        "clinic": row.snapshot.study.clinic,
        "study": row.snapshot.study,
        "row": export_row(row),
        "is_own": row.asked_by_id == person(request.user).pk,
        "has_approved": any(given.by_id == person(request.user).pk for given in row.approvals.all()),
        "form": form,
    }
    return render(request, "analytics/request.html", context, status=422 if form.errors else 200)


def _decide(request: HttpRequest, row: Export, decision: str, reason: str) -> None:
    actor = person(request.user)
    if decision == "approve":
        export_approve(export=row, actor=actor, is_admin=True)
        messages.success(request, _("Approved."))
    elif decision == "decline":
        export_decline(export=row, actor=actor, reason=reason)
        messages.success(request, _("Declined."))
    else:
        export_withdraw(export=row, actor=actor, reason=reason)
        messages.success(request, _("The approval is taken back, and the file is deleted."))
