"""What a therapist chooses to show their supervisor."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from surveys.models import Therapist
from surveys.practice_access import get_own_practice_or_404
from surveys.services.sharing import SharingRefused, sharing_set


def sharing(request: HttpRequest, therapist_id: UUID) -> HttpResponse:
    practice = get_own_practice_or_404(request.user, therapist_id)
    try:
        row = sharing_set(
            therapist=practice,
            supervisor=request.POST.get("supervisor", ""),
            ratings="ratings" in request.POST,
            practice="practice" in request.POST,
            actor=request.user,
        )
    except SharingRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, _now_sees(row))
    return redirect(f"{reverse('practice')}?therapist={practice.pk}")


def _now_sees(row: Therapist) -> str:
    if row.supervisor is None:
        return _("Nobody sees your ratings or what you say of your practice.")
    words = {
        (True, True): _("%(name)s now sees your own ratings of the alliance and your practice (DPCCQ)."),
        (True, False): _("%(name)s now sees your own ratings of the alliance, not your practice (DPCCQ)."),
        (False, True): _("%(name)s now sees your practice (DPCCQ), not your own ratings of the alliance."),
        (False, False): _("%(name)s now sees neither; only which of your forms are done."),
    }
    chosen = (row.ratings_shared_with_id is not None, row.practice_shared_with_id is not None)
    return words[chosen] % {"name": row.supervisor.name or row.supervisor.email}
