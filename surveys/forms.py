"""What the pages accept: a questionnaire as it was sent, and the entry of a session.

A questionnaire is refused at the first field that is not exactly as the page would send it; the sentence
names the field and repeats no value.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from surveys import clock
from surveys.models import Instrument, Session, Sharing, Therapy
from surveys.packs import InstrumentFile
from surveys.scoring import PREFER_NOT, parse_answer
from surveys.text_fields import OwnWords

ANYWAY = "anyway"
MAX_FIELDS = 60

_ITEM = re.compile(r"item_([1-9][0-9]{0,2})")
_NAME = re.compile(r"[A-Za-z0-9_]{1,40}")
_CSRF = "csrfmiddlewaretoken"
_FIELDS = frozenset({_CSRF, "key", "version", "sharing", "send", "language"})
_KEPT_FIELD = re.compile(r"(item_[0-9]{1,3}|sharing|key|version|send)")
_KEPT_VALUE = re.compile(r"[A-Za-z0-9.-]{1,40}")


class BadField(ValueError):
    """What was sent is not what the page sends; the message names the field."""


class OutdatedForm(ValueError):
    """The page holds another version of the questionnaire than the one that is asked for."""


@dataclass(frozen=True)
class SentForm:
    """One questionnaire as it was sent, in the wording that was shown; `sharing` is None where nothing was
    chosen, `language` that of the wording asked for instead."""

    key: UUID
    instrument: Instrument
    answers: Mapping[int, int]
    sharing: str | None
    is_anyway: bool
    language: str = ""


def read_form(
    data: QueryDict, files: MultiValueDict[str, UploadedFile], wordings: Sequence[Instrument]
) -> SentForm:
    """A questionnaire sent in one of the wordings it may be shown in; raises BadField or OutdatedForm."""
    fields = _single_fields(data, files, len(wordings[0].form.items) + len(_FIELDS))
    version, language = _uuid(fields, "version"), fields.get("language", "")
    instrument = next((row for row in wordings if row.pk == version), None)
    # First, because a page of another version may hold items that this one does not have.
    if instrument is None:
        raise OutdatedForm(gettext("This page holds an older version of the form."))
    if "language" in fields and language not in {row.language for row in wordings}:
        raise BadField(gettext("The field language holds a language that the form does not have."))
    sharing = fields.get("sharing")
    if sharing is not None and sharing not in Sharing.values:
        raise BadField(gettext("The field sharing holds a choice that the form does not offer."))
    return SentForm(
        key=_uuid(fields, "key"),
        instrument=instrument,
        answers=_answers(fields, instrument.form, _FIELDS),
        sharing=sharing,
        is_anyway=fields.get("send") == ANYWAY,
        language=language,
    )


def read_answers(
    data: QueryDict, files: MultiValueDict[str, UploadedFile], instrument: Instrument
) -> Mapping[int, int]:
    """The answers of one autosave; raises BadField."""
    fields = _single_fields(data, files, len(instrument.form.items) + 1)
    return _answers(fields, instrument.form, frozenset({_CSRF}))


def kept_fields(data: QueryDict) -> dict[str, str]:
    """What a page may offer again after a failure: the fields of a questionnaire, in harmless characters."""
    return {
        name: str(value)
        for name, value in data.items()
        if _KEPT_FIELD.fullmatch(name) and _KEPT_VALUE.fullmatch(str(value))
    }


def _single_fields(data: QueryDict, files: MultiValueDict[str, UploadedFile], n_most: int) -> dict[str, str]:
    if files:
        raise BadField(gettext("A file was sent; this form has no field for one."))
    n_values = sum(len(values) for _, values in data.lists())
    if n_values > max(MAX_FIELDS, n_most):
        raise BadField(gettext("More fields were sent than this form has."))
    for name, values in data.lists():
        if len(values) != 1:
            raise BadField(gettext("%(field)s was sent more than once.") % {"field": shown_name(name)})
    return {name: str(value) for name, value in data.items()}


def _answers(fields: Mapping[str, str], form: InstrumentFile, others: frozenset[str]) -> dict[int, int]:
    on_form = {item.number for item in form.items}
    answers = {}
    for name, text in fields.items():
        if name in others:
            continue
        match = _ITEM.fullmatch(name)
        if match is None or int(match[1]) not in on_form:
            raise BadField(gettext("%(field)s is not part of this form.") % {"field": shown_name(name)})
        try:
            answers[int(match[1])] = PREFER_NOT if text == str(PREFER_NOT) else parse_answer(form, text)
        except ValueError as error:
            sentence = gettext("%(field)s must hold a whole number from %(minimum)d to %(maximum)d.")
            words = {"field": shown_name(name), "minimum": form.minimum, "maximum": form.maximum}
            raise BadField(sentence % words) from error
    return answers


def _uuid(fields: Mapping[str, str], name: str) -> UUID:
    try:
        value = UUID(fields[name])
    except (KeyError, ValueError):
        value = None
    # UUID() also takes braces, a prefix and other spellings that no page of ours writes.
    if value is None or str(value) != fields[name]:
        raise BadField(
            gettext("The field %(name)s is missing or not as this page sends it.") % {"name": name}
        )
    return value


def shown_name(name: str) -> str:
    """A field as a refusal may name it: what was sent as a name may be anything."""
    if _NAME.fullmatch(name):
        return gettext("The field %(name)s") % {"name": name}
    return gettext("A field with a name that no form uses")


def _digits(text: str) -> str:
    """Digits of any script, typed in groups or not, as 0 to 9; empty where there is anything else."""
    joined = "".join(text.split())
    return "".join(str(int(digit)) for digit in joined) if joined.isdecimal() else ""


class StartCodeForm(forms.Form):
    """The one field of the lock page."""

    code = forms.CharField(
        label=_("Start code"),
        max_length=20,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "autocomplete": "off", "class": "digits", "dir": "ltr"}
        ),
        error_messages={"required": _("Type the six digits of the start code.")},
    )

    def clean_code(self) -> str:
        code = _digits(self.cleaned_data["code"])
        if len(code) != 6:
            raise forms.ValidationError(_("A start code has six digits."))
        return code


class PinForm(forms.Form):
    # Not a password field: a browser offers to keep what is typed there, and this one goes to patients.
    pin = forms.CharField(
        label=_("PIN of the staff"),
        max_length=20,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "autocomplete": "off", "class": "digits masked", "dir": "ltr"}
        ),
        error_messages={"required": _("Type the PIN.")},
    )

    def clean_pin(self) -> str:
        return _digits(self.cleaned_data["pin"]) or self.cleaned_data["pin"]


class TabletForm(PinForm):
    """What makes the browser in front of the administrator a tablet of the clinic."""

    name = OwnWords(
        label=_("Name of the tablet"),
        max_length=80,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": _("Give it a name by which you will know it in the list.")},
    )
    field_order = ["name", "pin"]

    def clean_pin(self) -> str:
        pin = _digits(self.cleaned_data["pin"])
        if not 6 <= len(pin) <= 12:
            raise forms.ValidationError(_("Choose 6 to 12 digits."))
        if len(set(pin)) < 3 or pin in "01234567890123" or pin in "98765432109876":
            raise forms.ValidationError(_("This PIN is easy to guess. Choose digits without such a pattern."))
        return pin


def time_fault(therapy: Therapy, held_at: datetime) -> str:
    """Why a session of the therapy cannot have been at this time; empty where it can."""
    day = timezone.localdate(held_at)
    if held_at > clock.now():
        return gettext("This time is still to come. Enter a session once its time is over.")
    # Nobody can take a session out of the log, so a slip of the year is caught here.
    if day < therapy.started_on:
        return gettext("The therapy began on {day}. Enter a time after that.").format(
            day=date_format(therapy.started_on)
        )
    if therapy.ended_on and day > therapy.ended_on:
        return gettext("The therapy ended on {day}. Enter a time before that.").format(
            day=date_format(therapy.ended_on)
        )
    return ""


class SessionForm(forms.Form):
    """One line of the session log; times are those of the clinic (settings.TIME_ZONE)."""

    held_at = forms.DateTimeField(
        label=_("Date and time"),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        error_messages={
            "required": _("Enter the date and time of the session."),
            "invalid": _("Enter the date and time like this: 2026-05-12 14:00."),
        },
    )
    status = forms.ChoiceField(
        label=_("What happened"),
        choices=Session.Status.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": _("Choose what happened."),
            "invalid_choice": _("Choose one of the three: held, cancelled, or patient did not come."),
        },
    )
    reason = forms.ChoiceField(
        label=_("Reason, if it was not held"),
        choices=[("", _("Not known")), *Session.Reason.choices],
        required=False,
        error_messages={"invalid_choice": _("Choose one of the reasons in the list.")},
    )

    def __init__(self, *args: object, therapy: Therapy, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.therapy = therapy

    def clean_held_at(self) -> datetime:
        held_at: datetime = self.cleaned_data["held_at"]
        if fault := time_fault(self.therapy, held_at):
            raise forms.ValidationError(fault)
        return held_at

    def clean(self) -> dict[str, object]:
        if self.cleaned_data.get("reason") and self.cleaned_data.get("status") == Session.Status.HELD:
            self.add_error(
                "reason",
                _("A session that was held has no such reason. Choose “Not known”, or what happened."),
            )
        return self.cleaned_data
