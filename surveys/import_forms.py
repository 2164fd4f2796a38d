"""What the pages about imports accept."""

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from surveys.imports.mapping import (
    ANSWERS,
    DAY_FIRST,
    DOTS,
    ISO,
    LONG,
    MONTH_FIRST,
    SCORES,
    WIDE,
    Mapping,
)
from surveys.imports.source import Head
from surveys.models import Instrument, Rater
from surveys.text_fields import OwnWords

# After the file in the page: what comes without it was cut off on the way.
END = "whole"


class UploadForm(forms.Form):
    """Name and type that the browser claims are not looked at: the content alone says what it is."""

    file = forms.FileField(
        label=gettext_lazy("File with old ratings"),
        allow_empty_file=True,
        error_messages={"required": gettext_lazy("Choose a file first.")},
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("file") and END not in self.data:
            self.add_error("file", _("The file was cut off on the way. Send it again."))
        return cleaned

    @property
    def name(self) -> str:
        file: UploadedFile = self.cleaned_data["file"]
        return file.name or ""

    @property
    def pieces(self) -> Iterator[bytes]:
        file: UploadedFile = self.cleaned_data["file"]
        return file.chunks()


class MappingForm(forms.Form):
    layout = forms.ChoiceField(
        label=gettext_lazy("What is one row?"),
        choices=[
            (LONG, gettext_lazy("One form of one rater after one session")),
            (WIDE, gettext_lazy("One therapy, with its sessions side by side in columns")),
        ],
        widget=forms.RadioSelect,
    )
    patient = forms.ChoiceField(label=gettext_lazy("Patient"), required=False)
    therapist = forms.ChoiceField(label=gettext_lazy("Therapist"), required=False)
    session = forms.ChoiceField(
        label=gettext_lazy("Number of the session"),
        required=False,
        help_text=gettext_lazy("Where a row is one form."),
    )
    rater = forms.ChoiceField(label=gettext_lazy("Who rated"), required=False)
    patient_words = forms.CharField(
        label=gettext_lazy("Words for patients"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("As they stand in the cells, or in the names of the columns; with commas."),
    )
    therapist_words = forms.CharField(
        label=gettext_lazy("Words for therapists"), max_length=200, required=False
    )
    content = forms.ChoiceField(
        label=gettext_lazy("What do the cells hold?"),
        choices=[
            (ANSWERS, gettext_lazy("The single answers; scores are made from them here")),
            (SCORES, gettext_lazy("Scores alone: means of the items of a scale, not sums")),
        ],
        widget=forms.RadioSelect,
    )
    pattern = forms.CharField(
        label=gettext_lazy("Columns of the answers or scores"),
        max_length=8_000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "ltr", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "A pattern, such as wai_{item}, WAI_{rater}_s{session}_{item} or "
            "wai_{rater}_{scale}_s{session}. Or, where a row is one form, the names of the columns in the "
            "order of the items, with commas; of scores: total=wai_mean, bond=wai_bond."
        ),
        error_messages={"required": gettext_lazy("Name the columns.")},
    )
    patient_form = forms.ChoiceField(label=gettext_lazy("Form that patients filled"), required=False)
    therapist_form = forms.ChoiceField(label=gettext_lazy("Form that therapists filled"), required=False)
    day = forms.CharField(
        label=gettext_lazy("Day of the session"),
        max_length=120,
        required=False,
        widget=forms.TextInput(attrs={"list": "columns", "dir": "ltr", "autocomplete": "off"}),
        help_text=gettext_lazy(
            "The name of the column; where a row is a therapy, a pattern such as date_s{session}. Empty: the "
            "file has no days."
        ),
    )
    day_format = forms.ChoiceField(
        label=gettext_lazy("How days are written"),
        choices=[
            (ISO, gettext_lazy("2015-03-31: year, month, day")),
            (DOTS, gettext_lazy("31.3.2015: day, month, year")),
            (DAY_FIRST, gettext_lazy("31/3/2015: day, month, year")),
            (MONTH_FIRST, gettext_lazy("3/31/2015: month, day, year")),
        ],
    )
    missing = forms.CharField(
        label=gettext_lazy("Codes for no answer"),
        max_length=400,
        required=False,
        widget=forms.TextInput(attrs={"dir": "ltr", "autocomplete": "off"}),
        help_text=gettext_lazy(
            "With commas. -99 is kept as skipped, -98 as preferred not to answer, -97 as not shown; others "
            "become skipped, unless they say otherwise: 8=-98."
        ),
    )
    save_as = OwnWords(
        label=gettext_lazy("Keep this under a name"),
        max_length=80,
        required=False,
        help_text=gettext_lazy("Optional. It is offered for the next file with the same columns."),
    )

    def __init__(
        self, *args: Any, head: Head, instruments: Dict[str, Sequence[Instrument]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        labels = head.columns.labels
        columns = [
            (name, f"{name} ({labels[name]})" if name in labels else name) for name in head.columns.names
        ]
        for name in ("patient", "therapist", "session"):
            self._offer(name, [("", "–"), *columns])
        whole_file = [(f"={rater.value}", str(words)) for rater, words in _WHOLE_FILE.items()]
        self._offer("rater", [("", _("As the names of the columns say")), *whole_file, *columns])
        for rater in Rater:
            forms_of = [(str(row.pk), _form_name(row)) for row in instruments[rater]]
            self._offer(f"{rater.value}_form", [("", "–"), *forms_of])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]
        self.fields[name].error_messages["invalid_choice"] = _("Choose one of the list.")

    @property
    def mapping(self) -> Mapping:
        """Of a valid form."""
        cleaned = dict(self.cleaned_data)
        cleaned.pop("save_as")
        chosen = {rater.value: cleaned.pop(f"{rater.value}_form") for rater in Rater}
        return Mapping(forms={rater: key for rater, key in chosen.items() if key}, **cleaned)

    def refuse(self, problems: Sequence[tuple[str, str]]) -> None:
        """Puts what is wrong beside the field where it belongs."""
        for name, sentence in problems:
            self.add_error(name if name in self.fields else "patient_form", sentence)


def mapping_initial(mapping: Mapping) -> dict[str, object]:
    return mapping.to_dict() | {f"{rater}_form": key for rater, key in mapping.forms.items()}


_WHOLE_FILE = {
    Rater.PATIENT: gettext_lazy("Patients alone, in the whole file"),
    Rater.THERAPIST: gettext_lazy("Therapists alone, in the whole file"),
}


def _form_name(row: Instrument) -> str:
    return f"{row.form.title} · {row.language} · {row.version}"


class StoreForm(forms.Form):
    consent = OwnWords(
        label=gettext_lazy("Under which consent were these ratings collected?"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=gettext_lazy(
            "In your own words: what patients signed, when, and for what. It stands in the codebook of the "
            "study."
        ),
        error_messages={"required": gettext_lazy("Say under which consent these ratings were collected.")},
    )
