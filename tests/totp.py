"""The codes of an authenticator app (RFC 6238), without the application's own code."""

import base64
import hashlib
import hmac
import time


def code_of(secret: str, periods: int = 0) -> str:
    """What an app with this key (base32) shows now, or so many half minutes later."""
    counter = int(time.time()) // 30 + periods
    digest = hmac.digest(base64.b32decode(secret), counter.to_bytes(8, "big"), hashlib.sha1)
    place = digest[-1] & 15
    number = int.from_bytes(digest[place : place + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
