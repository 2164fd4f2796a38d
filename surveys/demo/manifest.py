"""VAR/demo.json: how to sign in to the demonstration and which patient forms are open.

The database keeps hashes only, so this file is the one place of the demo's secrets; only its owner can
read it. What it holds from an earlier start is used again as long as it is still right.
"""

import base64
import json
import os
import secrets
from pathlib import Path

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from knox.crypto import hash_token
from knox.models import AuthToken

from surveys.demo.build import ACCOUNTS, STUDY, DemoRefused, require_demo_mode
from surveys.demo.refill import forms_to_fill
from surveys.fields import decrypt, encrypt
from surveys.models import Assignment, FormLink, Study, Therapist, Therapy, User
from surveys.services.invitations import link_issue
from surveys.tokens import token_hash

FILE = "demo.json"


def write_manifest(base_url: str) -> Path:
    """Writes the file anew and returns its path; adds recent sessions where too few forms are open.

    Raises DemoRefused outside demo mode and where the demonstration clinic is not loaded.
    """
    require_demo_mode()
    path = settings.VAR / FILE
    base_url = base_url.rstrip("/")
    manifest = _manifest(base_url, _earlier(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{FILE}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    # The file is never readable by others, not even for the moment before a chmod.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(manifest, file, indent=2)
    draft.replace(path)
    return path


def _earlier(path: Path) -> dict[str, object]:
    """The file of an earlier start; empty where there is none or it cannot be read."""
    try:
        earlier = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return earlier if isinstance(earlier, dict) else {}


@transaction.atomic
def _manifest(base_url: str, earlier: dict[str, object]) -> dict[str, object]:
    study = Study.objects.select_for_update().filter(code=STUDY, clinic__is_simulated=True).first()
    if study is None:
        raise DemoRefused("The demonstration clinic is not loaded. Load it first: manage.py demo_clinic")
    users = {name: User.objects.get(email=email) for name, (email, _roles) in ACCOUNTS.items()}
    known = _table(earlier, "accounts")
    therapist = Therapist.objects.get(clinic=study.clinic, user=users["therapist"])
    tokens = _link_tokens(forms_to_fill(study, therapist, timezone.now()), earlier)
    therapies = Therapy.objects.filter(therapist=therapist).order_by("started_on", "id")
    return {
        "base_url": base_url,
        "accounts": {
            name: {
                "email": user.email,
                "password": _password(user, _table(known, name).get("password")),
                "totp_secret": _totp_secret(user, _table(known, name).get("totp_secret")),
                "api_token": _api_token(user, _table(known, name).get("api_token")),
            }
            for name, user in users.items()
        },
        "patient_links": [base_url + reverse("link", args=[token]) for token in tokens],
        "therapy_ids": [str(therapy.pk) for therapy in therapies],
    }


def _table(earlier: dict[str, object], key: str) -> dict[str, object]:
    value = earlier.get(key)
    return value if isinstance(value, dict) else {}


def _password(user: User, earlier: object) -> str:
    if isinstance(earlier, str) and user.check_password(earlier):
        return earlier
    password = secrets.token_urlsafe(18)
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


def _totp_secret(user: User, earlier: object) -> str:
    """In base32, as an app takes it. Who set another app up meanwhile gets the one of this file again."""
    app = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first()
    if app is not None and isinstance(earlier, str) and decrypt(app.data["secret"]) == earlier:
        return earlier
    secret = base64.b32encode(secrets.token_bytes(20)).decode()
    Authenticator.objects.update_or_create(
        user=user, type=Authenticator.Type.TOTP, defaults={"data": {"secret": encrypt(secret)}}
    )
    return secret


def _api_token(user: User, earlier: object) -> str:
    own = AuthToken.objects.filter(user=user)
    if isinstance(earlier, str) and own.filter(digest=hash_token(earlier)).exists():
        return earlier
    own.delete()
    _row, token = AuthToken.objects.create(user)
    return str(token)


def _link_tokens(forms: list[Assignment], earlier: dict[str, object]) -> list[str]:
    """One token for each form: the one that the earlier file holds, or a new one."""
    links = earlier.get("patient_links")
    tokens = [str(link).rstrip("/").rsplit("/", 1)[-1] for link in links] if isinstance(links, list) else []
    by_hash = {token_hash(token): token for token in tokens}
    links = FormLink.objects.filter(assignment__in=forms, token_hash__in=by_hash, revoked_at=None)
    known = {link.assignment_id: by_hash[link.token_hash] for link in links}
    return [known.get(form.pk) or link_issue(assignment=form, via=FormLink.Via.COMMAND) for form in forms]
