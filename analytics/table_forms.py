"""What the pages about published tables accept."""

from django import forms
from django.utils.translation import gettext_lazy

from surveys.text_fields import OwnWords

FILL_IN = gettext_lazy("Fill this in.")


class PublishForm(forms.Form):
    title = OwnWords(
        label=gettext_lazy("Title of the table"), max_length=200, error_messages={"required": FILL_IN}
    )
    code = forms.RegexField(
        r"^[a-z][a-z0-9-]{2,39}$",
        label=gettext_lazy("Address"),
        max_length=40,
        help_text=gettext_lazy(
            "It stands in the permanent link: /tables/address/. With the address of an earlier table this"
            " is a new version of it."
        ),
        error_messages={
            "required": FILL_IN,
            "invalid": gettext_lazy("3 to 40 small letters, digits or hyphens, with a letter first."),
        },
    )


class WithdrawForm(forms.Form):
    reason = OwnWords(
        label=gettext_lazy("Why it is withdrawn"),
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=gettext_lazy("Everybody who follows the link reads this. No names."),
        error_messages={"required": FILL_IN},
    )
