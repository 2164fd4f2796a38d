"""The form with which an operator opens a patient's pages in an emergency."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from surveys.models import Clinic, EmergencyAccess
from surveys.text_fields import OwnWords

FILL_IN = {"required": _("Fill this in.")}


class EmergencyForm(forms.Form):
    clinic = forms.ModelChoiceField(
        Clinic.objects.none(),
        label=_("Clinic"),
        error_messages={
            "required": _("Choose one."),
            "invalid_choice": _("Choose one."),
        },
    )
    code = forms.CharField(
        label=_("Code of a patient or therapy"),
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "ltr"}),
        error_messages=FILL_IN,
    )
    reason = OwnWords(
        label=_("Why"),
        max_length=1000,
        min_length=EmergencyAccess.LEAST_REASON,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_(
            "What has happened, and who asked you. The clinic reads it beside each page that you open."
        ),
        error_messages={
            **FILL_IN,
            "min_length": _("Say in a sentence why: the clinic reads it."),
        },
    )

    def __init__(self, *args: Any, clinics: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clinic"].queryset = clinics  # type: ignore[attr-defined]
