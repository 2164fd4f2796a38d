"""What the pages about frozen data and files accept."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from analytics.models import Export
from analytics.selection import Selection
from surveys.text_fields import OwnWords

FILL_IN = gettext_lazy("Fill this in.")
CHOOSE = {"required": gettext_lazy("Choose one."), "invalid_choice": gettext_lazy("Choose one of the list.")}
TIERS = [
    (
        Export.Tier.SCORES,
        gettext_lazy("Scale scores by week of the therapy: no single answers, no dates. One approval."),
    ),
    (
        Export.Tier.ITEMS,
        gettext_lazy("Every answer, with dates. It needs a signed agreement and two approvals."),
    ),
]


class _Day(forms.DateField):
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    input_formats = ["%Y-%m-%d"]
    default_error_messages = {"invalid": gettext_lazy("Enter a day like this: 2026-05-12.")}


class FreezeForm(forms.Form):
    """Which therapies; nothing chosen is all of them."""

    started_from = _Day(label=gettext_lazy("Begun on or after"), required=False)
    started_until = _Day(label=gettext_lazy("Begun on or before"), required=False)
    arms = forms.MultipleChoiceField(
        label=gettext_lazy("Arms"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None chosen: all of them."),
        error_messages=CHOOSE,
    )
    only_ended = forms.BooleanField(label=gettext_lazy("Ended therapies only"), required=False)

    def __init__(self, *args: Any, arms: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.fields["arms"]
        assert isinstance(chosen, forms.MultipleChoiceField), "declared above"
        chosen.choices = [(arm, arm) for arm in arms]
        if not arms:
            del self.fields["arms"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("started_from"), cleaned.get("started_until")
        if first and last and first > last:
            self.add_error("started_until", _("The last day is before the first one."))
        return cleaned

    @property
    def selection(self) -> Selection:
        """Of a form in order."""
        chosen = self.cleaned_data
        return Selection(
            chosen["started_from"],
            chosen["started_until"],
            tuple(chosen.get("arms", ())),
            chosen["only_ended"],
        )


class RequestForm(forms.Form):
    """What a file is for, and what is to be in it."""

    purpose = OwnWords(
        label=gettext_lazy("What is the file for?"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=gettext_lazy(
            "The question, who works with it and where it is kept. Who approves reads it; no names of"
            " patients."
        ),
        error_messages={"required": FILL_IN},
    )
    tier = forms.ChoiceField(
        label=gettext_lazy("What is in it?"), choices=TIERS, widget=forms.RadioSelect, error_messages=CHOOSE
    )
    agreement = OwnWords(
        label=gettext_lazy("Signed agreement"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("For every answer: its date or number, and where it is kept."),
        widget=forms.TextInput(attrs={"dir": "auto"}),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("tier") == Export.Tier.ITEMS and not cleaned.get("agreement"):
            self.add_error("agreement", _("Every answer leaves only with a signed agreement: say which."))
        return cleaned


class DecisionForm(forms.Form):
    """An administrator's answer to a request; the buttons are the decision."""

    decision = forms.ChoiceField(
        choices=[(code, code) for code in ("approve", "decline", "withdraw")], error_messages=CHOOSE
    )
    reason = OwnWords(
        label=gettext_lazy("Reason"),
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "auto"}),
        help_text=gettext_lazy("Needed to decline, or to take an approval back; who asked reads it."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("decision") in ("decline", "withdraw") and not cleaned.get("reason"):
            self.add_error("reason", _("Say in a few words why."))
        return cleaned
