"""The forms of signing in and of passwords, in the words of the house."""

from allauth.account import forms
from django.utils.translation import gettext_lazy as _

LABELS = {
    "login": _("E-mail"),
    "email": _("E-mail"),
    "password": _("Password"),
    "oldpassword": _("Current password"),
    "password1": _("New password"),
    "password2": _("New password (again)"),
}


class PlainWords:
    """Labels in sentence case, and no placeholder that repeats a label."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():  # type: ignore[attr-defined]
            field.label = LABELS[name]
            field.widget.attrs.pop("placeholder", None)


class LoginForm(PlainWords, forms.LoginForm):
    pass


class ReauthenticateForm(PlainWords, forms.ReauthenticateForm):
    pass


class ChangePasswordForm(PlainWords, forms.ChangePasswordForm):
    pass


class ResetPasswordForm(PlainWords, forms.ResetPasswordForm):
    pass


class ResetPasswordKeyForm(PlainWords, forms.ResetPasswordKeyForm):
    pass
