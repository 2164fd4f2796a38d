"""A tablet of the clinic: how it becomes one, its lock page, the way of a start code to the form and back."""

from uuid import UUID

from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys import clock
from surveys.access import browser_hash, get_opening_or_404, get_patient_form_or_404, person
from surveys.browsers import (
    bound,
    browser_secret,
    forget_patient,
    forget_tablet,
    keep_opening_secret,
    keep_tablet_secret,
    kept_receipt,
    new_browser_secret,
    tablet_secret,
)
from surveys.clinic_access import get_tablet_or_404
from surveys.forms import PinForm, StartCodeForm, TabletForm
from surveys.models import Tablet
from surveys.secret_access import this_tablet
from surveys.selectors import has_tablet, tablets_in_use
from surveys.services.responses import FormClosed, form_open
from surveys.services.tablets import (
    TooManyTries,
    WrongCode,
    WrongPin,
    start_code_issue,
    start_code_use,
    tablet_enrol,
    tablet_leave,
    tablet_revoke,
)
from surveys.views.clinics import own_clinic
from surveys.views.consent import take_consent
from surveys.views.link import closed, start_page, unanswered
from surveys.views.notices import see_other
from surveys.views.wording import speak, wording_of


def devices(request: HttpRequest) -> HttpResponse:
    """The tablets of the clinic; the browser in front of the administrator becomes one more."""
    clinic = own_clinic(request)
    form = TabletForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        _tablet, secret = tablet_enrol(clinic=clinic, actor=person(request.user), **form.cleaned_data)
        # A patient will hold this browser next: the administrator leaves it with everything they brought.
        logout(request)
        response = HttpResponseRedirect(reverse("tablet"), status=303)
        forget_patient(response)
        keep_tablet_secret(response, secret)
        response.headers["Clear-Site-Data"] = '"storage"'
        return response
    context = {"clinic": clinic, "form": form, "tablets": tablets_in_use(request.user, clinic)}
    return render(request, "surveys/tablets/devices.html", context, status=422 if form.errors else 200)


def revoke(request: HttpRequest, tablet_id: UUID) -> HttpResponse:
    tablet_revoke(tablet=get_tablet_or_404(request.user, tablet_id), actor=person(request.user))
    return HttpResponseRedirect(reverse("tablets"), status=303)


def start_code(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    """Shows a new code once; it is stored nowhere in a form that could be shown again."""
    assignment = get_patient_form_or_404(request.user, assignment_id)
    context: dict[str, object] = {
        "clinic": assignment.study.clinic,
        "assignment": assignment,
        "has_tablet": has_tablet(assignment.study.clinic),
    }
    if context["has_tablet"]:
        try:
            context["code"], context["expires_at"] = start_code_issue(
                assignment=assignment, actor=person(request.user)
            )
        except FormClosed:
            context["is_closed"] = True
    return render(request, "surveys/tablets/start_code.html", context)


def lock(request: HttpRequest) -> HttpResponse:
    """Where a tablet rests between two patients, and where a start code is typed."""
    secret = tablet_secret(request)
    tablet = this_tablet(secret)
    if tablet is None:
        return _no_tablet(request)
    form, status = StartCodeForm(request.POST or None), 200
    wait = 0
    if request.method == "POST" and form.is_valid():
        own = new_browser_secret()
        try:
            opening = start_code_use(
                tablet=tablet,
                code=form.cleaned_data["code"],
                browser_hash=browser_hash(AnonymousUser(), bound(own, secret)),
            )
        except TooManyTries as error:
            wait = error.seconds
            form.add_error("code", _waiting(wait))
        except WrongCode:
            form.add_error("code", wrong_code())
        else:
            response = see_other("form-begin", opening.assignment_id)
            keep_opening_secret(response, own)
            return response
    if form.errors:
        status = 429 if wait else 422
    return _locked(request, tablet, form, status, wait)


def _locked(
    request: HttpRequest, tablet: Tablet, form: StartCodeForm, status: int, wait: int
) -> HttpResponse:
    rotate_token(request)
    context = {"clinic": tablet.clinic, "tablet": tablet, "form": form}
    response = render(request, "surveys/tablets/lock.html", context, status=status)
    forget_patient(response)
    keep_tablet_secret(response, tablet_secret(request))
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def begin(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    """The start page of a form that a start code opened."""
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    if request.method == "POST":
        wording = wording_of(opening.assignment, opening, request.POST.get("language", ""))
        if not take_consent(request, opening.assignment, wording.instrument.language, opening.channel):
            return unanswered(request, opening.assignment)
        try:
            form_open(
                assignment_id=assignment_id,
                browser_hash=opening.browser_hash,
                device=opening.device,
                language=wording.instrument.language,
            )
        except FormClosed:
            return closed(request, opening.assignment)
        return see_other("form", assignment_id)
    context = {**start_page(request, opening.assignment, clock.now()), "is_begun": False}
    return render(request, "surveys/start.html", context)


def done(request: HttpRequest) -> HttpResponse:
    """After sending: the opening is closed on this tablet, and only the receipt code is left of it."""
    tablet = this_tablet(tablet_secret(request))
    code, language = kept_receipt(request)
    if tablet is None or not code:
        return redirect("tablet")
    speak(language)
    return render(request, "surveys/tablets/done.html", {"clinic": tablet.clinic, "receipt_code": code})


def leave(request: HttpRequest) -> HttpResponse:
    """Out of tablet mode, for somebody of the staff who knows the PIN."""
    tablet = this_tablet(tablet_secret(request))
    if tablet is None:
        return redirect("tablet")
    form, wait = PinForm(request.POST or None), 0
    if request.method == "POST" and form.is_valid():
        try:
            tablet_leave(tablet=tablet, pin=form.cleaned_data["pin"])
        except TooManyTries as error:
            wait = error.seconds
            form.add_error("pin", _waiting(wait))
        except WrongPin:
            form.add_error("pin", _("This is not the PIN of this tablet."))
        else:
            away = HttpResponseRedirect(reverse("account_login"), status=303)
            forget_patient(away)
            forget_tablet(away)
            return away
    status = (429 if wait else 422) if form.errors else 200
    context = {"clinic": tablet.clinic, "tablet": tablet, "form": form}
    response = render(request, "surveys/tablets/leave.html", context, status=status)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def wrong_code() -> str:
    """The one sentence about every code that opens nothing, whatever the reason."""
    return _("No form opens with this code. Check the six digits, or ask for a new code.")


def _waiting(seconds: int) -> str:
    if seconds > 90:
        minutes = round(seconds / 60)
        return ngettext(
            "Several tries did not fit. Please wait %(n)d minute, then try again.",
            "Several tries did not fit. Please wait %(n)d minutes, then try again.",
            minutes,
        ) % {"n": minutes}
    return ngettext(
        "Several tries did not fit. Please wait %(n)d second, then try again.",
        "Several tries did not fit. Please wait %(n)d seconds, then try again.",
        seconds,
    ) % {"n": seconds}


def _no_tablet(request: HttpRequest) -> HttpResponse:
    """This browser is none, or the clinic has revoked it; then it forgets that it ever was one."""
    refusal = wrong_code() if request.method == "POST" else ""
    was_tablet = bool(tablet_secret(request))
    context = {"is_patient_page": was_tablet, "refusal": refusal, "on_tablet": False}
    response = render(request, "surveys/tablets/none.html", context, status=404)
    if was_tablet:
        forget_patient(response)
        forget_tablet(response)
    return response
