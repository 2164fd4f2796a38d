"""A patient's visit to their own data: the receipt codes that open it, and the secret that keeps it open.

The secret is known to the browser's cookie alone; the cache, which every web process shares, holds its hash,
whose visit it is and which forms their codes opened, until a quarter of an hour after it was last used.
"""

import time
import unicodedata
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Visit:
    """Whose data a browser may show now, and which of the forms that this patient sent."""

    patient: UUID
    responses: frozenset[UUID]


def wait_for_code(place: UUID) -> int:
    """After too many wrong codes at the link of a form, or on the page of a patient, the seconds until the
    next is looked at; else 0."""
    n_wrong, at = cache.get(_wrong_key(place), (0, 0.0))
    return max(1, int(at + PAUSE - time.time()) + 1) if n_wrong >= MAX_WRONG else 0


def count_wrong_code(place: UUID) -> int:
    """Counts a wrong code; how many tries are left. Two at the same instant may count as one: that helps
    nobody against half a million million codes."""
    n_wrong = cache.get(_wrong_key(place), (0, 0.0))[0] + 1
    cache.set(_wrong_key(place), (n_wrong, time.time()), timeout=PAUSE)
    return max(0, MAX_WRONG - n_wrong)


def visit_begin(response: HttpResponseBase, visit: Visit) -> None:
    _keep(response, new_token(), visit)


def visit_of(request: HttpRequest) -> Visit | None:
    """What this browser may show now."""
    secret = request.COOKIES.get(_cookie_name(), "")
    kept = cache.get(_visit_key(secret)) if secret else None
    return Visit(UUID(kept["patient"]), frozenset(map(UUID, kept["responses"]))) if kept else None


def visit_add(request: HttpRequest, response_id: UUID) -> None:
    """One more form was opened by its code."""
    visit = visit_of(request)
    if visit is not None:
        more = replace(visit, responses=visit.responses | {response_id})
        _remember(request.COOKIES[_cookie_name()], more)


def visit_prolong(request: HttpRequest, response: HttpResponseBase) -> None:
    """Another quarter of an hour; a page that is left open until after it leaves the screen by itself."""
    visit = visit_of(request)
    if visit is not None:
        _keep(response, request.COOKIES[_cookie_name()], visit)
    response["Refresh"] = str(VISIT + 5)


def visit_end(request: HttpRequest, response: HttpResponseBase) -> None:
    cache.delete(_visit_key(request.COOKIES.get(_cookie_name(), "")))
    response.delete_cookie(_cookie_name(), path="/", samesite="Lax")


def _keep(response: HttpResponseBase, secret: str, visit: Visit) -> None:
    _remember(secret, visit)
    response.set_cookie(
        _cookie_name(),
        secret,
        max_age=VISIT,
        path="/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def _remember(secret: str, visit: Visit) -> None:
    kept = {"patient": str(visit.patient), "responses": sorted(map(str, visit.responses))}
    cache.set(_visit_key(secret), kept, timeout=VISIT)


def _cookie_name() -> str:
    return "__Host-your-data" if settings.HTTPS else "your-data"


def _visit_key(secret: str) -> str:
    return f"your-data:{token_hash(secret)}"


def _wrong_key(place: UUID) -> str:
    return f"wrong-codes:{place}"
