"""Accounts are made by the clinic; nobody signs up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from surveys.models import User
from surveys.services.sign_ins import sign_ins_end


class ClosedAccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("E-mail address or password is not right."),
    }

    def set_password(self, user: User, password: str) -> None:
        """Whoever was signed in with the old one is so no more; the browser at hand gets a new session."""
        super().set_password(user, password)
        sign_ins_end(user=user, actor=user)

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
