"""Pages of the site itself: the way home, and what stands where something went wrong."""

import sys
from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from alliance_site.factors import is_proven
from alliance_site.middleware import away
from surveys.access import clinic_therapies, roles
from surveys.api.refusals import FAULT, NOT_FOUND, api_refusal
from surveys.away import is_database_away
from surveys.browsers import browser_secret
from surveys.forms import kept_fields
from surveys.models import Role
from surveys.views.link import frayed
from surveys.views.respond import signed_out

HOMES = {
    Role.THERAPIST.value: "therapist-home",
    Role.SUPERVISOR.value: "supervisor-home",
    Role.CLINIC_ADMIN.value: "admin-home",
    Role.RESEARCHER.value: "study-list",
}

LINKS = "/r/"


def home(request: HttpRequest) -> HttpResponse:
    """Sends everybody to the page of their first role, or says why there is none. An administrator keeps
    session logs every day; while there are none to keep, the clinic is to be set up."""
    own = roles(request.user)
    for role, route in HOMES.items():
        if role in own:
            is_set_up = route == "admin-home" and clinic_therapies(request.user).exists()
            return redirect("reception" if is_set_up else route)
    return render(request, "no_role.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form that the browser did not vouch for is not taken; what was filled in is offered again."""
    kept = kept_fields(request.POST) if request.path.startswith("/f/") else {}
    # With the cookies the form is gone, too: one explanation instead of two, one after the other.
    if kept and not browser_secret(request) and not is_proven(request, request.user):
        return signed_out(request, kept)
    # Somebody of the staff may have signed in beside a patient's page: that is no place for their menu.
    context = {"kept": kept, "is_patient_page": bool(kept)}
    return render(request, "csrf_failure.html", context, status=403)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    sentence = _("What was sent could not be read. Nothing was stored; go back and try again.")
    if request.path.startswith("/api/"):
        return api_refusal(request, 400, sentence)
    return render(request, "refused.html", {"sentence": sentence}, status=400)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return render(
        request, "refused.html", {"sentence": str(exception) or _("This page is not for you.")}, status=403
    )


def not_allowed(request: HttpRequest, methods: Sequence[str]) -> HttpResponse:
    """At an address that only takes what a form sends, opened again by itself: a tab that came back, Enter in
    the address bar."""
    response = HttpResponseNotAllowed(methods)
    if request.method not in ("GET", "HEAD") or request.resolver_match is None:
        return response
    form = request.resolver_match.kwargs.get("assignment_id") if request.path.startswith("/f/") else None
    own_data = reverse("your-data") if request.path.startswith("/your-data/") else ""
    context = {
        "title": _("Nothing was sent just now"),
        "sentence": _(
            "This address is only for the moment at which a page is sent. "
            "What was sent or saved before is kept."
        ),
        "back": reverse("form", args=[form]) if form else own_data,
        "is_form": form is not None,
        "is_patient_page": bool(form or own_data),
    }
    response.content = render(request, "refused.html", context).content
    return response


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if request.path.startswith("/api/"):
        return api_refusal(request, 404, NOT_FOUND)
    if request.path.startswith(LINKS) and request.resolver_match is None:
        return frayed(request, request.path.removeprefix(LINKS))
    sentence = _("There is no such page, or it is not yours to see.")
    return render(request, "refused.html", {"title": _("Page not found"), "sentence": sentence}, status=404)


def too_many(request: HttpRequest) -> HttpResponse:
    sentence = _("There were too many tries from here. Wait a minute before the next one.")
    response = render(
        request, "refused.html", {"title": _("Wait a moment"), "sentence": sentence}, status=429
    )
    response.headers["Retry-After"] = "60"
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Django asks for it while it handles the error: one from beside the views, where it is found out who
    somebody is, may be that of a database that is away."""
    error = sys.exc_info()[1]
    if error is not None and is_database_away(error):
        return away(request, error)
    if request.path.startswith("/api/"):
        return api_refusal(request, 500, FAULT)
    return render(None, "500.html", status=500)
