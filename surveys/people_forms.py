"""What the pages about patients, therapies and staff accept."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from surveys.desk import study_arms
from surveys.models import Patient, Role, Study, Therapist, Therapy, User
from surveys.readiness import form_languages
from surveys.services.access_files import Asked
from surveys.services.people import GRANTABLE
from surveys.text_fields import OwnWords

FILL_IN = gettext_lazy("Fill this in.")
CHOOSE = {"required": gettext_lazy("Choose one."), "invalid_choice": gettext_lazy("Choose one of the list.")}


class DayField(forms.DateField):
    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    input_formats = ["%Y-%m-%d"]
    default_error_messages = {
        "required": FILL_IN,
        "invalid": gettext_lazy("Enter a day like this: 2026-05-12."),
    }


class ClinicForm(forms.Form):
    name = OwnWords(
        label=gettext_lazy("Name of the clinic"), max_length=120, error_messages={"required": FILL_IN}
    )
    contact = OwnWords(
        label=gettext_lazy("Whom patients may ask"),
        max_length=200,
        help_text=gettext_lazy(
            "On every page for patients and in every e-mail to them: a place and a telephone number, nothing "
            "that tells what they are treated for."
        ),
        error_messages={"required": FILL_IN},
    )


class PatientForm(forms.Form):
    language = forms.ChoiceField(
        label=gettext_lazy("Language of the patient’s forms"),
        help_text=gettext_lazy("The patient may switch to another one on every form."),
        error_messages=CHOOSE,
    )
    contact = forms.CharField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        required=False,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Optional; for links to forms only. It is stored encrypted and never part of a dataset."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["language"].choices = list(form_languages().items())  # type: ignore[attr-defined]


class AccessFileForm(forms.Form):
    """Before a file with everything about a patient is made."""

    asked = forms.ChoiceField(
        label=gettext_lazy("How did the patient ask for it?"),
        choices=Asked.choices,
        widget=forms.RadioSelect,
        error_messages=CHOOSE,
    )
    is_checked = forms.BooleanField(
        label=gettext_lazy("I made sure that it is this patient who asks."),
        error_messages={"required": gettext_lazy("Check first who asks: the file holds every answer.")},
    )


class TherapyForm(forms.Form):
    """The beginning of a therapy."""

    therapist = forms.ModelChoiceField(
        Therapist.objects.none(), label=gettext_lazy("Therapist"), error_messages=CHOOSE
    )
    study = forms.ModelChoiceField(
        Study.objects.none(),
        label=gettext_lazy("Study"),
        help_text=gettext_lazy("Its plan says which forms are asked for. Routine care is a study, too."),
        error_messages=CHOOSE,
    )
    arm = forms.ChoiceField(
        label=gettext_lazy("Arm of the study"),
        required=False,
        help_text=gettext_lazy("Only where the plan of the study has lines for single arms."),
        error_messages=CHOOSE,
    )
    started_on = DayField(label=gettext_lazy("First day of the therapy"))

    def __init__(
        self, *args: Any, therapists: Iterable[Therapist], studies: Iterable[Study], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        _offer(self, "therapist", therapists)
        _offer(self, "study", studies)
        choices = [("", gettext_lazy("None")), *((arm, arm) for arm in study_arms(studies))]
        self.fields["arm"].choices = choices  # type: ignore[attr-defined]
        if len(choices) == 1:
            del self.fields["arm"]


# Of these a therapy ends by another deed.
NOT_CHOSEN = (Therapy.EndReason.TRANSFER, Therapy.EndReason.IMPORTED)


class TherapyEndForm(forms.Form):
    ended_on = DayField(label=gettext_lazy("Last day of the therapy"))
    reason = forms.ChoiceField(
        label=gettext_lazy("How it ended"),
        choices=[choice for choice in Therapy.EndReason.choices if choice[0] not in NOT_CHOSEN],
        widget=forms.RadioSelect,
        error_messages=CHOOSE,
    )


class TransferForm(forms.Form):
    therapist = forms.ModelChoiceField(
        Therapist.objects.none(), label=gettext_lazy("New therapist"), error_messages=CHOOSE
    )
    on = DayField(
        label=gettext_lazy("From which day"),
        help_text=gettext_lazy("Also the last day of the therapy so far."),
    )

    def __init__(self, *args: Any, therapists: Iterable[Therapist], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self, "therapist", therapists)


def therapist_name(therapist: Therapist) -> str:
    """The name of the account beside the code, where there is an account."""
    name = therapist.user.name or therapist.user.email if therapist.user else ""
    return f"{name} ({therapist.code})" if name else therapist.code


class RolesForm(forms.Form):
    roles = forms.MultipleChoiceField(
        label=gettext_lazy("Roles"),
        choices=[(role.value, role.label) for role in GRANTABLE],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one of the roles.")},
    )
    supervisor = forms.ModelChoiceField(
        User.objects.none(),
        label=gettext_lazy("Supervisor"),
        required=False,
        help_text=gettext_lazy("Of a therapist: sees how far their therapies are, and no ratings."),
        error_messages=CHOOSE,
    )

    def __init__(self, *args: Any, supervisors: Iterable[User], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer(self, "supervisor", supervisors)


class StaffForm(RolesForm):
    name = OwnWords(label=gettext_lazy("Name"), max_length=120, error_messages={"required": FILL_IN})
    email = forms.CharField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("They sign in with it; a mail lets them set their password."),
        error_messages={"required": FILL_IN},
    )
    field_order = ["name", "email", "roles", "supervisor"]


def _offer(form: forms.Form, name: str, rows: Iterable[object]) -> None:
    """A choice among rows of the clinic; a value that is not among them does not exist."""
    field = form.fields[name]
    field.queryset = rows  # type: ignore[attr-defined]
    if name == "therapist":
        field.label_from_instance = therapist_name  # type: ignore[attr-defined]
    if name == "study":
        field.label_from_instance = lambda study: f"{study.name} ({study.code})"  # type: ignore[attr-defined]
    if name == "supervisor":
        field.label_from_instance = lambda user: user.name or user.email  # type: ignore[attr-defined]


def patient_initial(patient: Patient) -> dict[str, str]:
    return {"language": patient.language, "contact": patient.contact}


def roles_initial(user: User, roles: Iterable[str], therapist: Therapist | None) -> dict[str, object]:
    granted = [role for role in roles if role in {str(role) for role in GRANTABLE}]
    return {"roles": granted, "supervisor": therapist.supervisor_id if therapist else None}


ROLE_LABELS = {role.value: role.label for role in Role}
