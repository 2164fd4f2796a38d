"""A patient's visit to their own data: the receipt code that opens it, and the secret that keeps it open.

The secret is known to the browser's cookie alone; the cache, which every web process shares, holds its hash
and whose visit it is, until a quarter of an hour after it was last used.
"""

import time
import unicodedata
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponseBase

from surveys.ids import ALPHABET
from surveys.tokens import new_token, token_hash

VISIT = 15 * 60
MAX_WRONG = 5
PAUSE = 15 * 60


def read_code(text: str) -> str:
    """A receipt code as it is stored, from one typed in any case and digits, with or without hyphen and
    spaces; empty for what can be none."""
    plain = unicodedata.normalize("NFKC", text[:40]).upper()
    digits = [str(unicodedata.digit(char, char)) for char in plain]
    code = "".join(char for char in digits if char.isalnum())
    return f"{code[:4]}-{code[4:]}" if len(code) == 8 and set(code) <= set(ALPHABET) else ""


def wait_for_code(assignment_id: UUID) -> int:
    """After too many wrong codes at the link of a form, the seconds until the next is looked at; else 0."""
    n_wrong, at = cache.get(_wrong_key(assignment_id), (0, 0.0))
    return max(1, int(at + PAUSE - time.time()) + 1) if n_wrong >= MAX_WRONG else 0


def count_wrong_code(assignment_id: UUID) -> int:
    """Counts a wrong code; how many tries are left. Two at the same instant may count as one: that helps
    nobody against half a million million codes."""
    n_wrong = cache.get(_wrong_key(assignment_id), (0, 0.0))[0] + 1
    cache.set(_wrong_key(assignment_id), (n_wrong, time.time()), timeout=PAUSE)
    return max(0, MAX_WRONG - n_wrong)


def visit_begin(response: HttpResponseBase, patient_id: UUID) -> None:
    _keep(response, new_token(), patient_id)


def visitor(request: HttpRequest) -> UUID | None:
    """Whose data this browser may show now."""
    secret = request.COOKIES.get(_cookie_name(), "")
    return cache.get(_visit_key(secret)) if secret else None


def visit_prolong(request: HttpRequest, response: HttpResponseBase, patient_id: UUID) -> None:
    """Another quarter of an hour; a page that is left open until after it leaves the screen by itself."""
    _keep(response, request.COOKIES[_cookie_name()], patient_id)
    response["Refresh"] = str(VISIT + 5)


def visit_end(request: HttpRequest, response: HttpResponseBase) -> None:
    cache.delete(_visit_key(request.COOKIES.get(_cookie_name(), "")))
    response.delete_cookie(_cookie_name(), path="/", samesite="Lax")


def _keep(response: HttpResponseBase, secret: str, patient_id: UUID) -> None:
    cache.set(_visit_key(secret), patient_id, timeout=VISIT)
    response.set_cookie(
        _cookie_name(),
        secret,
        max_age=VISIT,
        path="/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _cookie_name() -> str:
    return "__Host-your-data" if settings.HTTPS else "your-data"


def _visit_key(secret: str) -> str:
    return f"visit:{token_hash(secret)}"


def _wrong_key(assignment_id: UUID) -> str:
    return f"wrong-codes:{assignment_id}"
