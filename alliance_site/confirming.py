"""Confirm again: who is signed in gives their password once more before what is sensitive, at most a quarter
of an hour earlier. Which routes ask for it stands in `alliance_site.policy`; this is how.

allauth keeps when somebody last confirmed, by whichever of its means. A page that is opened too late leads to
its page and back. What was typed into a form that is sent too late is kept on no server: the answer holds it,
asks for the password, and sends both.
"""

from time import time

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.reauthentication import (
    did_recently_reauthenticate,
    reauthenticate_by_password,
)
from allauth.core import ratelimit
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode

from alliance_site.account_forms import ReauthenticateForm
from surveys.access import person

# Beside the fields of whichever form was sent.
PREFIX = "confirm"
PASSWORD = f"{PREFIX}-password"


def is_confirmed(request: HttpRequest) -> bool:
    if _ways(request):
        return did_recently_reauthenticate(request)
    # Somebody who signs in elsewhere and has nothing here to confirm by: a fresh sign-in counts.
    records = get_authentication_records(request, person(request.user))
    return bool(records) and time() - records[-1]["at"] < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


def confirmation(request: HttpRequest) -> HttpResponse | None:
    """What is answered in place of the page; None once the password came along and is right."""
    if not _ways(request):
        return _asked(request, _form(request))
    if request.method in ("GET", "HEAD"):
        return HttpResponseRedirect(confirm_page(request, request.get_full_path()))
    if PASSWORD not in request.POST:
        return _asked(request, _form(request))
    # Asked before the password is looked at: whoever tries many is not told which one is right.
    if not ratelimit.consume(request, action="reauthenticate", user=request.user):
        return _asked(request, _form(request), is_too_often=True)
    form = _form(request, request.POST)
    if not form.is_valid():
        return _asked(request, form)
    reauthenticate_by_password(request)
    sent = request.POST.copy()
    del sent[PASSWORD]
    request.POST = sent  # type: ignore[assignment]
    return None


def confirm_page(request: HttpRequest, then: str) -> str:
    """Where this account confirms, which leads on to `then`."""
    return f"{_ways(request)[0]}?{urlencode({'next': then})}"


def _ways(request: HttpRequest) -> list[str]:
    """The pages on which this account can confirm."""
    return [way["url"] for way in get_adapter().get_reauthentication_methods(request.user)]


def _form(request: HttpRequest, data: QueryDict | None = None) -> ReauthenticateForm:
    return ReauthenticateForm(data, user=request.user, prefix=PREFIX)


def _asked(request: HttpRequest, form: ReauthenticateForm, *, is_too_often: bool = False) -> HttpResponse:
    kept = [
        (name, value)
        for name, values in request.POST.lists()
        if name not in ("csrfmiddlewaretoken", PASSWORD)
        for value in values
    ]
    context = {
        "form": form,
        "is_too_often": is_too_often,
        "kept": kept,
        "has_password": person(request.user).has_usable_password(),
        # Another window of the same browser: this one keeps what was typed.
        "other_way": confirm_page(request, reverse("sign-ins")) if _ways(request) else "",
    }
    answer = render(request, "account/confirm.html", context, status=401)
    # Which way of signing in is meant, in a word that no browser opens a window of its own for.
    answer.headers["WWW-Authenticate"] = 'Page realm="confirm again"'
    return answer
