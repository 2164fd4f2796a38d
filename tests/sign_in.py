"""Signing in with both factors, without the pages."""

import json
import secrets

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import ec
from django.http import HttpRequest
from django.test import Client
from fido2.cose import ES256
from fido2.utils import sha256, websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

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


def passkey_credential(challenge: str = "AA") -> dict[str, object]:
    """A key as a browser makes it when a page asks with this challenge; its other half nobody has."""
    key = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    number = secrets.token_bytes(16)
    flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.AT
    made = AttestedCredentialData.create(Aaguid.NONE, number, key)
    data = AuthenticatorData.create(sha256(b"testserver"), flags, 0, made)
    client = {"type": "webauthn.create", "challenge": challenge, "origin": "https://testserver"}
    return {
        "id": websafe_encode(number),
        "rawId": websafe_encode(number),
        "type": "public-key",
        "response": {
            "clientDataJSON": websafe_encode(json.dumps(client).encode()),
            "attestationObject": websafe_encode(AttestationObject.create("none", data, {})),
        },
    }


def give_passkey(user: User, name: str) -> Authenticator:
    row: Authenticator = Authenticator.objects.create(
        user=user, type="webauthn", data={"name": name, "credential": passkey_credential()}
    )
    return row
