"""Passwords: the link that sets one, by mail or printed at the server, and what a new one brings with it."""

import smtplib
from functools import partial

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from surveys import audit
from surveys.access import Actor
from surveys.models import Clinic, User
from surveys.services.api_tokens import tokens_end
from surveys.services.notices import notice_send
from surveys.services.sign_ins import sign_ins_end


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


@transaction.atomic
def password_link_give(*, user: User, base_url: str, reason: str) -> str:
    """The link, for the operator of the server to hand on; its person is told that there is one."""
    audit.record("account.link", subject=user, reason=reason)
    transaction.on_commit(partial(notice_send, "password-link", {}, [user]))
    return password_link(user, base_url)


@transaction.atomic
def password_set(*, user: User, password: str, actor: Actor) -> None:
    """Whoever was signed in with the old one is so no more, nor is a program that speaks for its owner; who
    is told: it may have been somebody else. A mail server that fails undoes nothing."""
    user.set_password(password)
    user.save(update_fields=["password"])
    sign_ins_end(user=user, actor=actor)
    context = {"n_tokens": tokens_end(user=user, actor=actor)}
    audit.record("account.password", subject=user, actor=actor)
    transaction.on_commit(partial(notice_send, "password-changed", context, [user]))
