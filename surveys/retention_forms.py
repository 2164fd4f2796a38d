"""What the page about how long things are kept accepts, and how it says times."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from surveys.keeping import in_years
from surveys.models import KeepRule
from surveys.people_forms import CHOOSE
from surveys.retention import CHOSEN

HELP = {
    KeepRule.Kind.ANSWERS: gettext_lazy(
        "From the end of the patient’s last therapy in the study on. The therapy, its sessions and consents "
        "stay; models are fitted again, and frozen data that hold the answers are deleted."
    ),
    KeepRule.Kind.CONTACTS: gettext_lazy("From the end of the patient’s last therapy on."),
    KeepRule.Kind.MESSAGES: gettext_lazy("From the time on that each was to be sent."),
    KeepRule.Kind.IMPORTS: gettext_lazy(
        "From the end of the work on each file on, or from its upload. Ratings that were stored stay."
    ),
}


def time_words(days: int | None) -> str:
    if days is None:
        return _("Kept for good")
    n = in_years(days)
    if n:
        return ngettext("%(n)s year", "%(n)s years", n) % {"n": n}
    return ngettext("%(n)s day", "%(n)s days", days) % {"n": days}


class KeepForm(forms.Form):
    """One choice for each class; empty: kept for good."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind in map(KeepRule.Kind, CHOSEN):
            self.fields[kind.value] = forms.TypedChoiceField(
                label=kind.label,
                required=False,
                coerce=int,
                empty_value=None,
                choices=[("", time_words(None)), *((days, time_words(days)) for days in CHOSEN[kind])],
                help_text=HELP[kind],
                error_messages=CHOOSE,
            )
