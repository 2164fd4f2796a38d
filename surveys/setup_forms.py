"""What the pages of a study's set-up accept. Every page may be saved unfinished, but never with something on
it that no plan may hold."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from surveys.models import PlanLine, StudyVersion
from surveys.planning import MAX_SESSION, MAX_TOLERANCE, MAX_WINDOW_HOURS
from surveys.plans import read_sessions, write_sessions
from surveys.services.studies import LineSpec
from surveys.text_fields import OwnWords

FILL_IN = gettext_lazy("Fill this in.")
LISTED, NTH, EVERY, ARMS = "listed", "nth", "every", "arms"


class StudyForm(forms.Form):
    name = OwnWords(
        label=gettext_lazy("Name of the study"),
        max_length=120,
        help_text=gettext_lazy("For staff, for example: Routine care 2027."),
        error_messages={"required": FILL_IN},
    )
    code = forms.RegexField(
        r"^[A-Za-z][A-Za-z0-9-]{1,30}$",
        label=gettext_lazy("Code"),
        max_length=31,
        help_text=gettext_lazy(
            "2 to 31 letters, digits or hyphens. It names the study in downloads and is fixed once the study "
            "is active."
        ),
        error_messages={
            "required": FILL_IN,
            "invalid": gettext_lazy("Begin with a letter; then letters, digits and hyphens, 2 to 31 in all."),
        },
    )

    def __init__(self, *args: Any, is_code_fixed: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_code_fixed:
            self.fields["code"].disabled = True


class LineForm(forms.Form):
    """One line of a plan. The line of all therapies has no field for the arm."""

    arm = forms.CharField(
        label=gettext_lazy("Arm"),
        max_length=40,
        required=False,
        help_text=gettext_lazy("As it is entered with the therapy. Empty: this line is left out."),
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("After which sessions?"),
        choices=[
            (LISTED, gettext_lazy("After the sessions that I list")),
            (NTH, gettext_lazy("After every n-th session")),
            (EVERY, gettext_lazy("After every session")),
        ],
        widget=forms.RadioSelect,
        required=False,
        error_messages={"invalid_choice": gettext_lazy("Choose one of the three.")},
    )
    sessions = forms.CharField(
        label=gettext_lazy("Listed sessions"),
        max_length=400,
        required=False,
        help_text=gettext_lazy("Numbers with commas: 3, 12, 20, 40."),
    )
    nth = forms.IntegerField(
        label=gettext_lazy("n, for every n-th session"),
        min_value=2,
        max_value=MAX_SESSION,
        required=False,
        help_text=gettext_lazy("4 asks after sessions 4, 8, 12, …"),
    )
    tolerance = forms.IntegerField(
        label=gettext_lazy("Tolerance in sessions"),
        min_value=0,
        max_value=MAX_TOLERANCE,
        required=False,
        help_text=gettext_lazy(
            "For listed sessions, 0 to 5. With 1, a form of session 11 or 13 counts for session 12."
        ),
    )
    catch_up = forms.BooleanField(
        label=gettext_lazy("Ask again within the tolerance when the form was missed"), required=False
    )
    window_hours = forms.IntegerField(
        label=gettext_lazy("Open for how many hours"),
        min_value=1,
        max_value=MAX_WINDOW_HOURS,
        required=False,
        help_text=gettext_lazy("Counted from the session. 48 is usual."),
    )

    def __init__(self, *args: Any, is_common: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_common = is_common
        if is_common:
            del self.fields["arm"]
            only_arms = (ARMS, gettext_lazy("Not in every therapy: only in the arms named below"))
            kind = self.fields["kind"]
            kind.choices = [*kind.choices, only_arms]  # type: ignore[attr-defined]

    @property
    def is_left_out(self) -> bool:
        """Whether a valid form plans nothing: the line of an arm without its name, or of all where only
        arms are asked."""
        if self.is_common:
            return bool(self.cleaned_data["kind"] == ARMS)
        return not self.cleaned_data.get("arm")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind = cleaned.get("kind")
        if not self.is_common and not cleaned.get("arm"):
            if kind or cleaned.get("sessions") or cleaned.get("nth"):
                self.add_error("arm", _("Name the arm that this line is for."))
            return cleaned
        if kind == ARMS:
            return cleaned
        if not kind and "kind" not in self.errors:
            self.add_error("kind", _("Choose after which sessions the form is asked for."))
        if kind == LISTED:
            try:
                cleaned["sessions"] = read_sessions(cleaned.get("sessions") or "")
            except ValueError as error:
                self.add_error("sessions", str(error))
        if kind == NTH and cleaned.get("nth") is None and "nth" not in self.errors:
            self.add_error("nth", _("Enter a number from 2 on."))
        if cleaned.get("window_hours") is None and "window_hours" not in self.errors:
            self.add_error("window_hours", _("Enter for how many hours a form stays open."))
        if cleaned.get("tolerance") and kind in (NTH, EVERY):
            self.add_error("tolerance", _("Only listed sessions have a tolerance. Enter 0 here."))
        if cleaned.get("catch_up") and not cleaned.get("tolerance") and "tolerance" not in self.errors:
            self.add_error("tolerance", _("Asking again needs a tolerance of at least 1."))
        return cleaned

    @property
    def spec(self) -> LineSpec:
        """Of a valid form that is not left out."""
        cleaned = self.cleaned_data
        kind = cleaned["kind"]
        return LineSpec(
            arm=cleaned.get("arm", ""),
            sessions=cleaned["sessions"] if kind == LISTED else (),
            every={NTH: cleaned["nth"], EVERY: 1}.get(kind),
            tolerance=cleaned["tolerance"] or 0,
            catch_up=cleaned["catch_up"],
            window_hours=cleaned["window_hours"],
        )


def line_initial(line: PlanLine | None, *, has_others: bool = False) -> dict[str, object]:
    """The fields of a line that is there, or of a new one: nothing is chosen for anybody."""
    if line is None:
        return {"tolerance": 0, "window_hours": 48, **({"kind": ARMS} if has_others else {})}
    kind = LISTED if line.every is None else EVERY if line.every == 1 else NTH
    return {
        "arm": line.arm,
        "kind": kind,
        "sessions": write_sessions(line.sessions),
        "nth": line.every if kind == NTH else None,
        "tolerance": line.tolerance,
        "catch_up": line.catch_up,
        "window_hours": line.window_hours,
    }


class PracticeForm(forms.Form):
    """The forms about practice in general: a choice for each."""

    def __init__(self, *args: Any, titles: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", gettext_lazy("Not asked for")), *PlanLine.Period.choices]
        for key, title in titles.items():
            self.fields[key] = forms.ChoiceField(
                label=title,
                choices=choices,
                widget=forms.RadioSelect,
                required=False,
                error_messages={"invalid_choice": _("Choose one of the three.")},
            )


class VisibilityForm(forms.Form):
    visibility = forms.ChoiceField(
        label=gettext_lazy("Who sees the patients’ answers?"),
        choices=StudyVersion.Visibility.choices,
        widget=forms.RadioSelect,
        error_messages={
            "required": gettext_lazy("Choose one of the three. None is chosen for you."),
            "invalid_choice": gettext_lazy("Choose one of the three."),
        },
    )
    is_open_to_supervisors = forms.BooleanField(
        label=gettext_lazy("Supervisors may see what the therapist sees"), required=False
    )


class TextForm(forms.Form):
    information = OwnWords(
        label=gettext_lazy("Privacy information"),
        max_length=20_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 12}),
        help_text=gettext_lazy(
            "Required. Who collects what and why, who sees it, how long it is kept, and whom to ask. "
            "An empty line begins a new paragraph."
        ),
    )
    declaration = OwnWords(
        label=gettext_lazy("Declaration of consent"),
        max_length=4_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text=gettext_lazy(
            "Optional. With a declaration, patients are asked to agree to it before their first form; "
            "without one, nobody is asked."
        ),
    )

    def __init__(self, *args: Any, language: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs |= {"lang": language, "dir": "auto"}


class RemindersForm(forms.Form):
    first = forms.IntegerField(
        label=gettext_lazy("First reminder after how many hours"),
        min_value=1,
        max_value=MAX_WINDOW_HOURS,
        required=False,
        help_text=gettext_lazy("Counted from the invitation. Empty: no reminder."),
    )
    second = forms.IntegerField(
        label=gettext_lazy("Second reminder after how many hours"),
        min_value=1,
        max_value=MAX_WINDOW_HOURS,
        required=False,
        help_text=gettext_lazy("Counted from the invitation, too. Empty: none."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, second = cleaned.get("first"), cleaned.get("second")
        if first and second and second <= first:
            self.add_error("second", _("The second reminder comes after the first. Enter more hours."))
        if second and not first and "first" not in self.errors:
            self.add_error("first", _("Enter the first reminder, too, or leave both empty."))
        return cleaned

    @property
    def hours(self) -> list[int]:
        return [hours for hours in (self.cleaned_data["first"], self.cleaned_data["second"]) if hours]
