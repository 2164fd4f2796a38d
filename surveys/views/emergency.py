"""An operator's way to one patient's pages in an emergency, and its end."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.desk import therapies_of
from surveys.emergency_access import all_clinics, open_emergency
from surveys.emergency_forms import EmergencyForm
from surveys.services.emergency import EmergencyRefused, emergency_end, emergency_open


def emergency(request: HttpRequest) -> HttpResponse:
    now_open = open_emergency(request.user)
    if now_open is not None and request.method == "GET":
        context = {"opened": now_open, "therapies": therapies_of(now_open.patient)}
        return render(request, "emergency.html", context)
    sent = request.POST if request.method == "POST" else None
    form = EmergencyForm(sent, clinics=all_clinics(request.user))
    if form.is_valid():
        try:
            emergency_open(by=person(request.user), **form.cleaned_data)
            return redirect("emergency")
        except EmergencyRefused as refusal:
            form.add_error(refusal.field, str(refusal))
    return render(request, "emergency.html", {"form": form}, status=422 if form.errors else 200)


def end(request: HttpRequest) -> HttpResponse:
    emergency_end(by=person(request.user))
    messages.success(request, _("It has ended. Nothing of the patient is open to you any more."))
    return redirect("emergency")
