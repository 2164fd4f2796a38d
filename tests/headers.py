"""What every answer carries, word by word."""

import re

from django.http import HttpResponse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "object-src 'none'"
)
OFF = (
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), encrypted-media=(), "
    "geolocation=(), gyroscope=(), hid=(), idle-detection=(), magnetometer=(), microphone=(), midi=(), "
    "payment=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()"
)
EXPECTED = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": OFF,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
}
SECURE = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
# What the policy would not let a browser run or show, so that the page would be without it.
INLINE = re.compile(
    r"<script(?![^>]*\ssrc=)(?![^>]*application/json)|<style|\sstyle=|\son[a-z]+=|javascript:", re.I
)


def wrong_headers(answer: HttpResponse, is_secure: bool = True) -> dict[str, str | None]:
    """Headers that are not as they have to be."""
    expected = EXPECTED | (SECURE if is_secure else {})
    found = {name: answer.headers.get(name) for name in EXPECTED | SECURE}
    return {name: value for name, value in found.items() if value != expected.get(name)}
