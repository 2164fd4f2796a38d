"""Link tokens and browser secrets: 256 random bits, of which the database keeps only a hash. Start codes of
tablets: six digits, of which it keeps a hash under the key of the site."""

import hashlib
import hmac
import secrets


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """SHA-256 in hex. A plain hash is enough for 256 random bits (ASVS 5.0, 6.5.2)."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_start_code() -> str:
    return f"{secrets.randbelow(10**6):06d}"


def start_code_hash(code: str, key: str) -> str:
    """Six digits are guessed from a plain hash in no time, so who reads the database needs the key, too."""
    return hmac.new(key.encode(), b"start code " + code.encode(), hashlib.sha256).hexdigest()
