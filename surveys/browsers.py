"""The browser behind a request: its secret, its kind, its address, and the wrong links it tried.

A tablet of the clinic has a secret of its own for years, and for each start code a new one of the opening;
the second is worth nothing without the first. Between two patients only the first stays.
"""

import base64
import logging
import re
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.utils.crypto import salted_hmac

from surveys.models import Opening
from surveys.tokens import new_token

LEAST_COOKIE_AGE = timedelta(hours=72)
# The longest that browsers grant; every visit of the lock page renews it.
TABLET_AGE = timedelta(days=400)
TABLET_FORM_AGE = timedelta(hours=2)
RECEIPT_AGE = timedelta(minutes=2)
MAX_MISSES = 30
MISSES_WINDOW = 600
# From all addresses together, in an hour; then the operator is told, and nobody is kept out.
MANY_MISSES = 1000
log = logging.getLogger(__name__)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def _name(kind: str) -> str:
    return f"__Host-{kind}" if settings.HTTPS else kind


def _secret(request: HttpRequest, kind: str) -> str:
    secret = request.COOKIES.get(_name(kind), "")
    return secret if _SECRET.fullmatch(secret) else ""


def _keep(response: HttpResponseBase, kind: str, secret: str, age: timedelta) -> None:
    response.set_cookie(
        _name(kind),
        secret,
        max_age=age,
        path="/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def browser_secret(request: HttpRequest) -> str:
    """What this browser was given when it began a form; empty where it has none of our making."""
    own, tablet = _secret(request, "browser"), tablet_secret(request)
    return bound(own, tablet) if own and tablet else own


def bound(secret: str, tablet: str) -> str:
    """The secret of an opening on a tablet, as it is good on that tablet only."""
    return f"{secret} {tablet}"


def new_browser_secret() -> str:
    return new_token()


def keep_browser_secret(response: HttpResponseBase, secret: str, until: datetime) -> None:
    """For as long as a form that was begun in this browser may still be sent."""
    _keep(response, "browser", secret, max(LEAST_COOKIE_AGE, until - timezone.now()))


def keep_opening_secret(response: HttpResponseBase, secret: str) -> None:
    """On a tablet, for as long as somebody may sit over one form."""
    _keep(response, "browser", secret, TABLET_FORM_AGE)


def tablet_secret(request: HttpRequest) -> str:
    """What makes this browser a tablet of a clinic; empty on every other device."""
    return _secret(request, "tablet")


def keep_tablet_secret(response: HttpResponseBase, secret: str) -> None:
    _keep(response, "tablet", secret, TABLET_AGE)


def forget_tablet(response: HttpResponseBase) -> None:
    response.delete_cookie(_name("tablet"), samesite="Lax")


def forget_patient(response: HttpResponseBase) -> None:
    """Nothing of who used the browser last stays in its cookies."""
    others = (settings.SESSION_COOKIE_NAME, settings.LANGUAGE_COOKIE_NAME)
    for name in (_name("browser"), _name("receipt"), *others):
        response.delete_cookie(name, samesite="Lax")


def keep_receipt(response: HttpResponseBase, code: str, language: str) -> None:
    """For the last page on a tablet, where the opening is closed already: the code, and its language."""
    response.set_signed_cookie(
        _name("receipt"),
        f"{code} {language}",
        max_age=RECEIPT_AGE,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


def kept_receipt(request: HttpRequest) -> tuple[str, str]:
    kept = request.get_signed_cookie(_name("receipt"), default="", max_age=RECEIPT_AGE) or ""
    code, _, language = kept.partition(" ")
    return code, language


def seal_key(opening: Opening) -> str:
    """The key under which a device keeps what it could not store yet; handed out with the open form only."""
    key = salted_hmac("surveys.browsers.seal", str(opening.client_key), algorithm="sha256").digest()
    return base64.b64encode(key).decode()


def device_class(request: HttpRequest) -> str:
    """phone, tablet or desktop, as the browser calls itself."""
    agent = request.headers.get("User-Agent", "").lower()
    if "ipad" in agent or "tablet" in agent or ("android" in agent and "mobile" not in agent):
        return "tablet"
    return "phone" if "mobi" in agent or "iphone" in agent else "desktop"


def passed_on(request: HttpRequest) -> list[str]:
    """The addresses that a request came from, the nearest proxy's word last; anybody can write the others."""
    return [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]


def client_address(request: HttpRequest) -> str:
    """The address that the outermost trusted proxy saw; what stands left of it anybody can write."""
    passed = passed_on(request)
    n_proxies = settings.TRUSTED_PROXIES
    if n_proxies > 0 and len(passed) >= n_proxies:
        return passed[-n_proxies]
    return request.META.get("REMOTE_ADDR", "")


def count_miss(request: HttpRequest) -> int | None:
    """Counts a link that leads nowhere; after too many from one address, the seconds to wait."""
    now = time.time()
    key = f"link-misses:{client_address(request)[:64]}:{int(now // MISSES_WINDOW)}"
    n_misses = _one_more(key, MISSES_WINDOW)
    if _one_more(f"link-misses:{int(now // 3600)}", 3600) == MANY_MISSES:
        log.error(
            "%s links that lead nowhere were tried within an hour: somebody may be guessing.", MANY_MISSES
        )
    return int(MISSES_WINDOW - now % MISSES_WINDOW) + 1 if n_misses > MAX_MISSES else None


def _one_more(key: str, seconds: int) -> int:
    """Misses at the same instant may count as one. With 256 random bits in a link that helps nobody."""
    n_misses: int = cache.get(key, 0) + 1
    cache.set(key, n_misses, timeout=seconds)
    return n_misses
