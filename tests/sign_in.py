"""Signing in with both factors, without the pages."""

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from django.http import HttpRequest
from django.test import Client

from surveys.fields import encrypt
from surveys.models import User

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def sign_in_fully(client: Client, user: User) -> None:
    """As if password and code had been given; the user needs no row of a factor for it."""
    client.force_login(user, backend=BACKEND)
    prove(client, user)


def prove(client: Client, user: User) -> None:
    """As if a client that has given the password had given a code as well."""
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, "mfa", type="totp")
    request.session.save()


def give_app(user: User, secret: str = SECRET) -> str:
    """An app on the user's phone; the secret that it holds."""
    Authenticator.objects.create(user=user, type="totp", data={"secret": encrypt(secret)})
    return secret
