"""The forms of signing in, of passwords and of codes, in the words of the house."""

from typing import Any

from allauth.account import forms
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms as codes
from allauth.mfa.base.internal.flows import check_rate_limit
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm, LoginWebAuthnForm
from allauth.mfa.webauthn.internal import auth
from django.core.exceptions import ValidationError
from django.forms import CharField
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from fido2.webauthn import UserVerificationRequirement

from alliance_site.factors import demo_code, factor_of, has_factor
from surveys import audit
from surveys.models import User

LABELS = {
    "login": _("E-mail"),
    "email": _("E-mail"),
    "password": _("Password"),
    "oldpassword": _("Current password"),
    "password1": _("New password"),
    "password2": _("New password (again)"),
    "code": _("Code"),
    "name": _("Name of this passkey"),
    "passwordless": _("Sign in with it alone, without the password"),
}
ALONE, WITH_FACTOR = 15, 12


class LengthByFactor:
    """A password that stands alone, before its owner has a second factor, is the longer one."""

    def validate(self, password: str, user: User | None = None) -> None:
        least = self._least(user)
        if len(password) < least:
            raise ValidationError(
                ngettext(
                    "It has fewer than %(least)s character.", "It has fewer than %(least)s characters.", least
                ),
                code="password_too_short",
                params={"least": least},
            )

    def get_help_text(self) -> str:
        return gettext("At least 15 characters; 12 once you have a second factor.")

    def _least(self, user: User | None) -> int:
        return WITH_FACTOR if isinstance(user, User) and has_factor(user) else ALONE


class PlainWords:
    """Labels in sentence case, and no placeholder that repeats a label."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():  # type: ignore[attr-defined]
            field.label = LABELS.get(name, field.label)
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


class TakesCode(PlainWords):
    """A code of the app, or one of the recovery codes."""

    user: User
    cleaned_data: dict[str, str]

    def clean_code(self) -> str:
        forget_tries = check_rate_limit(self.user)
        found = factor_of(self.user, self.cleaned_data["code"])
        if found is None:
            audit.record("account.refuse", subject=self.user, factor="code")
            raise get_adapter().validation_error("incorrect_code")
        forget_tries()
        self.authenticator = found
        return self.cleaned_data["code"]

    def demo_code(self) -> str:
        return demo_code(self.user)


class CodeForm(TakesCode, codes.AuthenticateForm):
    def has_passkey(self) -> bool:
        return has_factor(self.user, Authenticator.Type.WEBAUTHN)


class CodeAgainForm(TakesCode, codes.ReauthenticateForm):
    pass


class AppForm(PlainWords, ActivateTOTPForm):
    def demo_code(self) -> str:
        return demo_code(self.user, self.secret)


class PasskeyForm(PlainWords, AddWebAuthnForm):
    """The name, and whether the key is enough alone; the browser fills in the key itself."""

    name = CharField(required=False, max_length=60)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        hint = _("It then asks for your finger, your face or a PIN. The password works as before.")
        self.fields["passwordless"].help_text = hint
        self.fields["name"].widget.attrs["autocomplete"] = "off"

    def clean(self) -> dict[str, Any]:
        """Whether it may sign in alone is what its owner says here, not what the key could do."""
        cleaned: dict[str, Any] = super().clean()
        credential = cleaned.get("credential")
        if isinstance(credential, dict):
            outcome = {"credProps": {"rk": bool(cleaned.get("passwordless"))}}
            cleaned["credential"] = credential | {"clientExtensionResults": outcome}
        return cleaned


class KeyAloneForm(LoginWebAuthnForm):
    """A passkey in place of the password: one that may sign in alone, which asked who holds it just now."""

    def clean_credential(self) -> Authenticator:
        # The question of another page, that a key answers by a touch, is not this one.
        if (auth.get_state() or {}).get("user_verification") != UserVerificationRequirement.REQUIRED:
            auth.clear_state()
            raise get_adapter().validation_error("incorrect_code")
        found: Authenticator = super().clean_credential()
        if not found.wrap().is_passwordless:
            audit.record("account.refuse", subject=found.user, factor="passkey")
            raise get_adapter().validation_error("incorrect_code")
        return found
