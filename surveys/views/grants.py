"""Roles that wait for a second person, and the second person's answer."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.grant_access import get_grant_or_404, grant_deciders, waiting_grants
from surveys.models import RoleGrant
from surveys.services.grants import grant_confirm, grant_decline
from surveys.services.roles import PeopleRefused


def grants(request: HttpRequest) -> HttpResponse:
    rows = list(waiting_grants(request.user))
    return render(request, "people/grants.html", {"rows": rows, "now": timezone.now()})


def grant(request: HttpRequest, grant_id: UUID) -> HttpResponse:
    """One of them: who is to get what, and who asked for it."""
    row = get_grant_or_404(request.user, grant_id)
    refusal = ""
    if request.method == "POST":
        try:
            _answer(request, row)
            return redirect("role-grants")
        except PeopleRefused as refused:
            refusal = str(refused)
    user = person(request.user)
    context = {
        "grant": row,
        "refusal": refusal,
        "is_open": row.decided_at is None and not row.is_over,
        "may_confirm": grant_deciders(row).filter(pk=user.pk).exists(),
        "has_asked": row.asked_by_id == user.pk,
    }
    return render(request, "people/grant.html", context, status=422 if refusal else 200)


def _answer(request: HttpRequest, row: RoleGrant) -> None:
    name = row.user.name or row.user.email
    if request.POST.get("decision") == "confirm":
        grant_confirm(grant=row, actor=person(request.user))
        messages.success(request, _("%(name)s has the role now, and a mail says so.") % {"name": name})
    elif request.POST.get("decision") == "decline":
        grant_decline(grant=row, actor=person(request.user))
        messages.success(request, _("%(name)s does not get the role.") % {"name": name})
    else:
        raise PeopleRefused(_("Choose one of the two."))
