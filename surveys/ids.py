"""Public identifiers: UUIDv7 for rows, random codes with a check character for people."""

import os
import secrets
import time
import uuid
from datetime import datetime

# Read aloud and typed on a tablet: no 0/O, 1/I/L, S, U. The 29 left are a prime number, which
# the check character needs.
ALPHABET = "23456789ABCDEFGHJKMNPQRTVWXYZ"


def uuid7() -> uuid.UUID:
    """A time-ordered UUID (RFC 9562, version 7): 48 bits of milliseconds, 74 random bits."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def first_uuid7(at: datetime) -> uuid.UUID:
    """The lowest that `uuid7` gives from this moment on."""
    return uuid.UUID(int=int(at.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62)


def check_character(body: str) -> str:
    """Catches every single wrong character and every swap of two neighbours."""
    total = sum((place + 1) * ALPHABET.index(char) for place, char in enumerate(body))
    return ALPHABET[total % len(ALPHABET)]


def new_code(length: int = 5) -> str:
    """A random code such as K7MN4-X; it says nothing about the person."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(length))
    return f"{body}-{check_character(body)}"


def new_receipt_code() -> str:
    """A code such as ABCD-2345, quoted by a patient without an account."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(8))
    return f"{body[:4]}-{body[4:]}"
