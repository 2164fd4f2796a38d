"""What somebody of the clinic types in from paper: a form, a declaration of consent."""

from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from surveys.models import Sharing
from surveys.packs import InstrumentFile
from surveys.scoring import PREFER_NOT, parse_answer

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# On every keyboard, and no answer of any form.
DECLINED_MARK = "-"


def _choice(
    label: "_StrPromise", choices: list[tuple[str, "_StrPromise | str"]], missing: "_StrPromise"
) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label,
        choices=choices,
        widget=forms.RadioSelect,
        error_messages={"required": missing, "invalid_choice": missing},
    )


class PaperForm(forms.Form):
    """One field for each item, as short as the number that is typed; day, sharing and consent as ticked.

    `moment_on` says at which time of a day the form was open, None for a day on which it was not."""

    filled_on = forms.DateField(
        label=_("Day written on the sheet"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        error_messages={
            "required": _("Enter the day on which the sheet was filled in."),
            "invalid": _("Enter the day like this: 2026-05-12."),
        },
    )

    def __init__(
        self,
        *args: object,
        questionnaire: InstrumentFile,
        moment_on: Callable[[date], datetime | None],
        asks_sharing: bool,
        owes_consent: bool,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.questionnaire, self.moment_on = questionnaire, moment_on
        for item in questionnaire.items:
            self.fields[f"item_{item.number}"] = forms.CharField(
                label=item.text,
                required=False,
                widget=forms.TextInput(
                    attrs={
                        "class": "one-digit",
                        "autocomplete": "off",
                        "size": 3,
                        "data-digits": len(str(questionnaire.maximum)),
                        "aria-describedby": "how",
                    }
                ),
            )
        if asks_sharing:
            self.fields["sharing"] = _choice(
                _("What the therapist may see"),
                [
                    (Sharing.NONE, _("Nothing, or nothing is ticked")),
                    (Sharing.SCORES, Sharing.SCORES.label),
                    (Sharing.ANSWERS, Sharing.ANSWERS.label),
                ],
                _("Choose what is ticked on the sheet."),
            )
        if owes_consent:
            self.fields["agreed"] = _choice(
                _("Declaration of consent"),
                [("yes", _("Agreed")), ("no", _("Not agreed, or nothing is ticked"))],
                _("Choose what is ticked under the declaration of consent."),
            )

    @property
    def items(self) -> list[forms.BoundField]:
        return [self[f"item_{item.number}"] for item in self.questionnaire.items]

    @property
    def choices_below(self) -> list[forms.BoundField]:
        return [self[name] for name in ("sharing", "agreed") if name in self.fields]

    @property
    def answers(self) -> dict[int, int]:
        """The items with something on the sheet."""
        typed = {item.number: self.cleaned_data[f"item_{item.number}"] for item in self.questionnaire.items}
        return {number: value for number, value in typed.items() if value is not None}

    @property
    def agreed(self) -> bool | None:
        return {"yes": True, "no": False}.get(self.cleaned_data.get("agreed", ""))

    def clean_filled_on(self) -> date:
        day: date = self.cleaned_data["filled_on"]
        if self.moment_on(day) is None:
            raise forms.ValidationError(
                _("The form was not open on this day. Look at the sheet again, and at the days named above.")
            )
        return day

    def clean(self) -> dict[str, object]:
        cleaned: dict[str, object] = super().clean() or {}
        for item in self.questionnaire.items:
            name = f"item_{item.number}"
            try:
                cleaned[name] = self._value(str(cleaned.get(name) or ""))
            except ValueError:
                self.add_error(
                    name,
                    _("A number from %(first)d to %(last)d, - or nothing.")
                    % {"first": self.questionnaire.minimum, "last": self.questionnaire.maximum},
                )
        return cleaned

    def _value(self, text: str) -> int | None:
        if not text:
            return None
        return PREFER_NOT if text == DECLINED_MARK else parse_answer(self.questionnaire, text)


class ConsentForm(forms.Form):
    """A declaration that was signed on paper: what is ticked, and the day beside the signature."""

    agreed = _choice(
        _("Declaration of consent"),
        [("yes", _("I agree")), ("no", _("I do not agree"))],
        _("Choose what is ticked under the declaration of consent."),
    )
    signed_on = forms.DateField(
        label=_("Day beside the signature"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        error_messages={
            "required": _("Fill this in."),
            "invalid": _("Enter the day like this: 2026-05-12."),
        },
    )

    def clean_signed_on(self) -> date:
        day: date = self.cleaned_data["signed_on"]
        if day > timezone.localdate():
            raise forms.ValidationError(_("This day is still to come. Enter it once it is there."))
        return day
