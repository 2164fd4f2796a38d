"""The browser behind a request: its secret, its kind, its address, and the wrong links it tried."""

import base64
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
MAX_MISSES = 30
MISSES_WINDOW = 600
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def _cookie_name() -> str:
    return "__Host-browser" if settings.HTTPS else "browser"


def browser_secret(request: HttpRequest) -> str:
    """What this browser was given at its first start; empty where it has none of our making."""
    secret = request.COOKIES.get(_cookie_name(), "")
    return secret if _SECRET.fullmatch(secret) else ""


def new_browser_secret() -> str:
    return new_token()


def keep_browser_secret(response: HttpResponseBase, secret: str, until: datetime) -> None:
    """For as long as a form that was begun in this browser may still be sent."""
    response.set_cookie(
        _cookie_name(),
        secret,
        max_age=max(LEAST_COOKIE_AGE, until - timezone.now()),
        path="/",
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )


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


def client_address(request: HttpRequest) -> str:
    """The address that the outermost trusted proxy saw; what stands left of it anybody can write."""
    passed = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    n_proxies = settings.TRUSTED_PROXIES
    if n_proxies > 0 and len(passed) >= n_proxies:
        return passed[-n_proxies]
    return request.META.get("REMOTE_ADDR", "")


def count_miss(request: HttpRequest) -> int | None:
    """Counts a link that leads nowhere; after too many from one address, the seconds to wait."""
    now = time.time()
    key = f"link-misses:{client_address(request)[:64]}:{int(now // MISSES_WINDOW)}"
    # Misses at the same instant may count as one. With 256 random bits in a link that helps nobody.
    n_misses = cache.get(key, 0) + 1
    cache.set(key, n_misses, timeout=MISSES_WINDOW)
    return int(MISSES_WINDOW - now % MISSES_WINDOW) + 1 if n_misses > MAX_MISSES else None
