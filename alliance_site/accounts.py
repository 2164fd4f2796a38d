"""Accounts are made by the clinic; nobody signs up."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _


class ClosedAccountAdapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("E-mail address or password is not right."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
