"""The second factor: whether a session has given one, and what a code is worth.

Everybody who signs in has one. A session that has not given one is let nowhere but to the page that sets one
up (`alliance_site.policy`); there is no setting that relaxes this.
"""

import time

from allauth.account.internal.flows.login import get_authentication_records, record_authentication
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, validate_totp_code
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.http import HttpRequest

from surveys import audit
from surveys.demo.build import is_demo_account
from surveys.models import User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
# Longer than any code is taken.
USED_FOR = 5 * 60


def is_proven(request: HttpRequest, user: User | AnonymousUser) -> bool:
    """Whether this session gave a second factor of its user: a code, a passkey, or by the word of the
    operator (OIDC_MFA) the sign-in at the provider. Asks the session alone."""
    records = get_authentication_records(request, user)
    return is_vouched_for(request, user) or any(record.get("method") == "mfa" for record in records)


def is_vouched_for(request: HttpRequest, user: User | AnonymousUser) -> bool:
    records = get_authentication_records(request, user) if settings.OIDC_MFA else []
    return any(record.get("method") == "socialaccount" for record in records)


def is_fresh(request: HttpRequest, user: User | AnonymousUser, seconds: float) -> bool:
    """Whether the person signed in or confirmed who they are so recently."""
    records = get_authentication_records(request, user)
    return bool(records) and time.time() - records[-1]["at"] < seconds


def prove(request: HttpRequest, user: User, kind: str) -> None:
    """Who has just set a factor up has given it."""
    record_authentication(request, user, "mfa", type=kind)
    audit.record("factor.add", subject=user, actor=user, kind=kind)


def has_factor(user: User, *kinds: str) -> bool:
    """Of these kinds, or of any that counts: recovery codes alone are none."""
    return Authenticator.objects.filter(user=user, type__in=kinds or FACTORS).exists()


def factor_of(user: User, code: str) -> Authenticator | None:
    """The factor that the code belongs to. A code is taken once; those of a demonstration, which its own page
    shows, as often as somebody tries the product out."""
    for row in Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.WEBAUTHN):
        if row.type == Authenticator.Type.TOTP:
            is_right = validate_totp_code(decrypt(row.data["secret"]), code) and _first_use(user, code)
        else:
            is_right = row.wrap().validate_code(code)
        if is_right:
            row.user = user
            return row
    return None


def _first_use(user: User, code: str) -> bool:
    key = f"totp-used:{user.pk}:{normalize_user_code(code)}"
    return is_demo_account(user) or cache.add(key, True, timeout=USED_FOR)


def demo_code(user: User, secret: str = "") -> str:
    """The code that is right now, `123 456`, of an account of the demonstration; empty for everybody else.
    `secret`: of an app that is being set up."""
    if not is_demo_account(user):
        return ""
    if not secret:
        row = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first()
        secret = decrypt(row.data["secret"]) if row else ""
    code = format_hotp_value(hotp_value(secret, int(time.time()) // app_settings.TOTP_PERIOD))
    return f"{code[:3]} {code[3:]}" if secret else ""


def other_factors(row: Authenticator) -> bool:
    """Whether its owner would still have a factor without this one."""
    return Authenticator.objects.filter(user=row.user_id, type__in=FACTORS).exclude(pk=row.pk).exists()
