"""What the pages about instruments accept: a file or its text, and a licence record."""

import re
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from surveys.models import Licence, Rater
from surveys.packs import MAX_FILE_BYTES
from surveys.text_fields import OwnWords

_LANGUAGE_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}")


class InstrumentUpload(forms.Form):
    """A file to be checked, or the text of one that was checked on this page and is now to be added.

    Name and type that the browser claims are not looked at: the content alone says what it is.
    """

    file = forms.FileField(label=gettext_lazy("Instrument file"), required=False, allow_empty_file=True)
    content = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not cleaned.get("file") and not cleaned.get("content"):
            self.add_error("file", _("Choose a file first."))
        return cleaned

    @property
    def data_sent(self) -> bytes:
        """One byte more than a file may have is enough to refuse it."""
        file: UploadedFile | None = self.cleaned_data["file"]
        content: str = self.cleaned_data["content"]
        return file.read(MAX_FILE_BYTES + 1) if file else content.encode()

    @property
    def is_to_be_added(self) -> bool:
        return not self.cleaned_data["file"]


class LicenceForm(forms.Form):
    code = forms.ChoiceField(
        label=gettext_lazy("Instrument"),
        error_messages={"invalid_choice": gettext_lazy("Choose one of the instruments.")},
    )
    rater = forms.ChoiceField(
        label=gettext_lazy("For whose forms"),
        choices=[("", gettext_lazy("Patients and therapists")), *Rater.choices],
        required=False,
    )
    language = forms.CharField(
        label=gettext_lazy("Language of the wording"),
        max_length=12,
        help_text=gettext_lazy("As a tag: en, de, nb, ar, pt-BR."),
    )
    holder = OwnWords(
        label=gettext_lazy("Holder of the rights"),
        max_length=200,
        help_text=gettext_lazy("Who granted the use. For a form of your own: the clinic."),
    )
    reference = OwnWords(
        label=gettext_lazy("Reference"),
        max_length=200,
        help_text=gettext_lazy(
            "Letter, contract or number. Entering a reference again replaces what was recorded for it."
        ),
    )
    use = forms.ChoiceField(
        label=gettext_lazy("What it permits"),
        choices=[("", "–"), *Licence.Use.choices],
        help_text=gettext_lazy(
            "Research: a study whose answers therapists never see, or in which patients are asked to agree "
            "to the research. Care: a study in which therapists work with the answers."
        ),
    )
    permitted_use = OwnWords(
        label=gettext_lazy("Permitted use"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy("In the words of the licence, for example: routine care in this clinic."),
    )
    valid_from = forms.DateField(
        label=gettext_lazy("Valid from"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
    )
    valid_until = forms.DateField(
        label=gettext_lazy("Valid until"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        help_text=gettext_lazy("The last day. Empty: without an end."),
    )

    def __init__(self, *args: Any, codes: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].choices = [("", "–"), *((code, code) for code in codes)]  # type: ignore[attr-defined]
        for field in self.fields.values():
            field.error_messages["required"] = _("Fill this in.")
            if isinstance(field, forms.DateField):
                field.error_messages["invalid"] = _("Enter a day like this: 2026-05-12.")

    def clean_language(self) -> str:
        language: str = self.cleaned_data["language"]
        if not _LANGUAGE_TAG.fullmatch(language):
            raise forms.ValidationError(_("Enter a language tag such as en, de, nb, ar or pt-BR."))
        return language

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("valid_from"), cleaned.get("valid_until")
        if first and last and last < first:
            self.add_error("valid_until", _("The last day lies before the first. Change one of them."))
        return cleaned
