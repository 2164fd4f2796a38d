"""An operator's way to one patient's pages in an emergency, and its end."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from surveys.access import person
from surveys.desk import therapies_of
from surveys.emergency_access import all_clinics, open_emergency
from surveys.models import Clinic, EmergencyAccess
from surveys.services.emergency import EmergencyRefused, emergency_end, emergency_open
from surveys.text_fields import OwnWords

FILL_IN = {"required": gettext_lazy("Fill this in.")}


class EmergencyForm(forms.Form):
    clinic = forms.ModelChoiceField(
        Clinic.objects.none(),
        label=gettext_lazy("Clinic"),
        error_messages={
            "required": gettext_lazy("Choose one."),
            "invalid_choice": gettext_lazy("Choose one."),
        },
    )
    code = forms.CharField(
        label=gettext_lazy("Code of a patient or therapy"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "ltr"}),
        error_messages=FILL_IN,
    )
    reason = OwnWords(
        label=gettext_lazy("Why"),
        max_length=1000,
        min_length=EmergencyAccess.LEAST_REASON,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=gettext_lazy(
            "What has happened, and who asked you. The clinic reads it beside each page that you open."
        ),
        error_messages={
            **FILL_IN,
            "min_length": gettext_lazy("Say in a sentence why: the clinic reads it."),
        },
    )

    def __init__(self, *args: Any, clinics: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clinic"].queryset = clinics  # type: ignore[attr-defined]


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
