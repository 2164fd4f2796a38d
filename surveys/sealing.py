"""Hashes over the trace: what a seal is, so that anybody with the rows can compute it anew.

A row's digest is the first 16 bytes of SHA-256 over its columns as a JSON list. A seal's hash is SHA-256 over
its number, the hash of the seal before it, the ids of its rows and their digests: it holds all up to it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

DIGEST = 16
# In this order; `at` is the second.
COLUMNS = (
    "id",
    "at",
    "act",
    "actor_id",
    "role",
    "clinic_id",
    "subject",
    "patient",
    "fields",
    "status",
    "request",
    "detail",
)
Ranges = Sequence[Sequence[int]]


def digest(row: Sequence[object]) -> bytes:
    """Of one row, its columns in the order of COLUMNS."""
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), default=_text)
    return hashlib.sha256(text.encode()).digest()[:DIGEST]


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value)


def seal_hash(number: int, previous: str, rows: Ranges, digests: bytes) -> str:
    head = json.dumps([number, previous, [list(row) for row in rows]], separators=(",", ":"))
    return hashlib.sha256(head.encode() + b"\n" + digests).hexdigest()


def ranges(ids: Iterable[int]) -> list[list[int]]:
    """Rising ids as [first, last] of each run without a gap."""
    found: list[list[int]] = []
    for key in ids:
        if found and found[-1][1] == key - 1:
            found[-1][1] = key
        else:
            found.append([key, key])
    return found


def ids(rows: Ranges) -> Iterator[int]:
    for first, last in rows:
        yield from range(first, last + 1)
