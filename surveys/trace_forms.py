"""What of the trace is looked at, as the address says it."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from surveys.models import User
from surveys.trace_access import CHANGED, READ, REFUSED, Wish

KIND_WORDS = {READ: _("Read"), CHANGED: _("Changed"), REFUSED: _("Refused")}
_DAY = {"invalid": _("Give a day as year-month-day, like 2026-05-26.")}


class TraceForm(forms.Form):
    """Without `people`, of one's own acts: then there is neither a person nor a code to choose."""

    person = forms.ModelChoiceField(
        label=_("Person"), queryset=User.objects.none(), required=False, empty_label=_("everybody")
    )
    kind = forms.ChoiceField(
        label=_("What"), required=False, choices=[("", _("everything")), *KIND_WORDS.items()]
    )
    code = forms.CharField(
        label=_("Code of a patient or therapy"),
        required=False,
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "ltr"}),
    )
    since = forms.DateField(
        label=_("From"),
        required=False,
        widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"),
        error_messages=_DAY,
    )
    until = forms.DateField(
        label=_("To"),
        required=False,
        widget=forms.DateInput({"type": "date"}, "%Y-%m-%d"),
        error_messages=_DAY,
    )
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def __init__(self, *args: Any, people: QuerySet[User] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if people is None:
            del self.fields["person"], self.fields["code"]
        else:
            self.fields["person"].queryset = people  # type: ignore[attr-defined]

    def wish(self) -> Wish:
        """Of a valid form."""
        said = self.cleaned_data
        return Wish(
            person=said["person"].pk if said.get("person") else None,
            kind=said["kind"],
            code=said.get("code", ""),
            since=said["since"],
            until=said["until"],
            before=said["before"],
        )
