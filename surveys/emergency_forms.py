"""What an operator says who opens a patient's pages in an emergency."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from surveys.models import Clinic, EmergencyAccess
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

    def __init__(self, *args: Any, clinics: Iterable[Clinic], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["clinic"].queryset = clinics  # type: ignore[attr-defined]
