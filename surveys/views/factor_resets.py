"""Two administrators take away the second factor of somebody who lost it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.clinic_access import get_open_reset_or_404, get_staff_or_404
from surveys.services.factor_resets import ResetRefused, reset_ask, reset_confirm, reset_drop
from surveys.views.clinics import own_clinic


def ask(request: HttpRequest, user_id: UUID) -> HttpResponse:
    clinic = own_clinic(request)
    colleague = get_staff_or_404(clinic, user_id)
    try:
        reset_ask(clinic=clinic, user=colleague, actor=person(request.user))
    except ResetRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _("The reset is asked for. Another administrator confirms it here."))
    return redirect("people-account", colleague.pk)


def settle(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Confirms with `do=confirm`; anything else drops the request."""
    clinic = own_clinic(request)
    colleague = get_staff_or_404(clinic, user_id)
    reset, actor = get_open_reset_or_404(clinic, colleague), person(request.user)
    try:
        if request.POST.get("do") != "confirm":
            reset_drop(reset=reset, actor=actor)
            messages.success(request, _("The request is dropped. Nothing was changed."))
        elif reset_confirm(reset=reset, actor=actor):
            messages.success(request, _("The second factor is reset. An e-mail tells the person so."))
        else:
            sentence = _("The second factor is reset, but the e-mail could not be sent. Tell the person.")
            messages.warning(request, sentence)
    except ResetRefused as refusal:
        messages.error(request, str(refusal))
    return redirect("people-account", colleague.pk)
