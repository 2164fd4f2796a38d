"""What the pages about possible dips accept."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from analytics.dips import RULES
from analytics.models import DipReview
from surveys.text_fields import OwnWords

State = DipReview.State
DONE = [
    (State.ACTED, gettext_lazy("I acted on it: asked, noted it, or took it to supervision")),
    (State.DISMISSED, gettext_lazy("I dismiss it: there is a reason why it needs nothing")),
]


class ReviewForm(forms.Form):
    """What was done about a possible dip; `seen` comes from a button of its own."""

    state = forms.ChoiceField(
        label=gettext_lazy("What did you do?"),
        choices=[(State.SEEN, ""), *DONE],
        widget=forms.RadioSelect(choices=DONE),
        error_messages={
            "required": gettext_lazy("Choose one of the two."),
            "invalid_choice": gettext_lazy("Choose one of the two."),
        },
    )
    reason = OwnWords(
        label=gettext_lazy("In words"),
        max_length=1000,
        required=False,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=gettext_lazy("What you did, or why it needs nothing. No names. It stays as you write it."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The choice of the button is accepted and not shown.
        self.fields["state"].widget.choices = DONE

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        needs_words = cleaned.get("state") in (State.ACTED, State.DISMISSED)
        if needs_words and not cleaned.get("reason") and "reason" not in self.errors:
            self.add_error("reason", _("Say in a few words what you did or why it needs nothing."))
        return cleaned


class RulesForm(forms.Form):
    rules = forms.MultipleChoiceField(
        choices=[(code, code) for code in RULES],
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose among the rules that are listed.")},
    )
