"""The mail with which somebody of the staff sets the password of a new account."""

import smtplib

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse

from surveys import audit
from surveys.access import Actor
from surveys.models import Clinic, User


class InvitationNotSent(Exception):
    """The mail server did not take the mail."""


def password_link(user: User, base_url: str) -> str:
    """A link that sets the password once; it works for three days, as the one of a forgotten password."""
    key = default_token_generator.make_token(user)
    path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
    return base_url.rstrip("/") + path


def account_invite(*, clinic: Clinic, user: User, base_url: str, actor: Actor | None = None) -> None:
    """Sends the link to the address of the account; nobody else sees it. Raises InvitationNotSent."""
    context = {"clinic": clinic, "url": password_link(user, base_url)}
    subject = render_to_string("emails/account-subject.txt", context).strip()
    try:
        send_mail(subject, render_to_string("emails/account-text.txt", context), None, [user.email])
    except (smtplib.SMTPException, OSError) as error:
        raise InvitationNotSent(type(error).__name__) from error
    audit.record("account.invite", subject=user, actor=actor, clinic=clinic)
