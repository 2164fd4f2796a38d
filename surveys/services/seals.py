"""Sealing the trace in batches, beside the requests that write it, and checking what was sealed.

A row gets its number before it is committed, so a batch may have holes that are filled later: the next seals
look for such rows as long as a job may last (WINDOW).
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from surveys.models import AuditEvent, AuditSeal
from surveys.sealing import COLUMNS, DIGEST, digest, ids, ranges, seal_hash

log = logging.getLogger(__name__)

WINDOW = timedelta(days=1)
BATCH = 20_000
# Of rows that are read at once.
PART = 5_000


def seals_add(most: int = 10) -> int:
    """Seals what is not sealed yet, in at most so many seals; how many were made."""
    return next((n for n in range(most) if seal_add() is None), most)


@transaction.atomic
def seal_add() -> AuditSeal | None:
    """One more seal over the rows that have none, or None where all have."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('surveys.seals'))")
    now = timezone.now()
    before = AuditSeal.objects.order_by("-number").first()
    keys = sorted(_unsealed(before, now))[:BATCH]
    if not keys:
        return None
    rows = list(_rows(keys))
    number, members = before.number + 1 if before else 1, ranges(row[0] for row in rows)
    digests = b"".join(map(digest, rows))
    return AuditSeal.objects.create(
        number=number,
        made_at=now,
        rows=members,
        digests=digests,
        last_id=max(before.last_id if before else 0, members[-1][1]),
        sha256=seal_hash(number, before.sha256 if before else "", members, digests),
    )


def _unsealed(before: AuditSeal | None, now: datetime) -> set[int]:
    """Ids of a batch of rows without a seal: of late ones, and of those after the last seal."""
    top = before.last_id if before else 0
    fresh = AuditEvent.objects.filter(pk__gt=top).order_by("pk").values_list("pk", flat=True)[:BATCH]
    recent = AuditSeal.objects.filter(made_at__gt=now - WINDOW).order_by("number").defer("digests")
    old = AuditSeal.objects.filter(made_at__lte=now - WINDOW).order_by("-number").defer("digests").first()
    floor = old.last_id if old else 0
    held = AuditEvent.objects.filter(pk__gt=floor, pk__lte=top).values_list("pk", flat=True)
    n_sealed = sum(max(0, last - max(first, floor + 1) + 1) for seal in recent for first, last in seal.rows)
    if held.count() == n_sealed:
        return set(fresh)
    return set(fresh) | set(held) - {key for seal in recent for key in ids(seal.rows)}


def _rows(keys: Iterable[int]) -> Iterator[tuple[Any, ...]]:
    """The rows of these ids that are there, as `surveys.sealing` takes them."""
    rest = iter(keys)
    while part := list(islice(rest, PART)):
        yield from AuditEvent.objects.filter(pk__in=part).order_by("pk").values_list(*COLUMNS)


@dataclass(frozen=True)
class Checked:
    """`fault` names the first row or seal that is not as it was sealed; empty: all are."""

    n_rows: int
    n_seals: int
    head: AuditSeal | None
    n_waiting: int
    waiting_since: datetime | None
    fault: str


class _Fault(Exception):
    """The first thing that is wrong; not an error of the program."""


def trace_check(head: str = "") -> Checked:
    """Computes every seal anew. `head`, as it was kept elsewhere (number:hash), must be among them."""
    n_rows, fault = 0, ""
    last = AuditSeal.objects.order_by("-number").first()
    try:
        previous, latest, top = "", None, 0
        for number, seal in enumerate(AuditSeal.objects.order_by("number").iterator(50), start=1):
            if seal.number != number:
                raise _Fault(f"Seal {number} is missing.")
            if seal.sha256 != seal_hash(number, previous, seal.rows, bytes(seal.digests)):
                raise _Fault(f"Seal {number} is not what it was.")
            top = max(top, seal.rows[-1][1] if seal.rows else 0)
            if seal.last_id != top:
                raise _Fault(f"Seal {number} says a last row that is not under it.")
            n_seal, latest = _compare(seal, latest)
            n_rows, previous = n_rows + n_seal, seal.sha256
        _find_added(last, n_rows)
        if head and not _has(head):
            raise _Fault(f"The head {head}, as it was kept, is not among the seals: they were made anew.")
    except _Fault as found:
        fault = str(found)
    waiting = AuditEvent.objects.filter(pk__gt=last.last_id if last else 0).order_by("pk")
    return Checked(
        n_rows,
        last.number if last else 0,
        last,
        waiting.count(),
        waiting.values_list("at", flat=True).first(),
        fault,
    )


def _compare(seal: AuditSeal, latest: datetime | None) -> tuple[int, datetime | None]:
    """The number of rows under a seal, and the latest time up to it. Raises _Fault."""
    found = _rows(ids(seal.rows))
    row, n = next(found, None), 0
    for key in ids(seal.rows):
        if row is None or row[0] != key:
            raise _Fault(f"Row {key} is missing.")
        if digest(row) != bytes(seal.digests[n * DIGEST : (n + 1) * DIGEST]):
            raise _Fault(f"Row {key} was altered.")
        at = row[1]
        if latest is not None and at < latest - WINDOW:
            raise _Fault(f"Row {key} was added: it says a time before those that came before it.")
        latest = at if latest is None else max(latest, at)
        row, n = next(found, None), n + 1
    return n, latest


def _find_added(last: AuditSeal | None, n_sealed: int) -> None:
    """A row without a seal that should have had one. Raises _Fault."""
    if last is None:
        return
    late = (
        AuditEvent.objects.filter(at__lt=last.made_at - WINDOW, pk__gt=last.last_id)
        .order_by("pk")
        .values_list("pk", flat=True)
    )
    if key := late.first():
        raise _Fault(f"Row {key} was added: it says a time that was sealed before.")
    below = AuditEvent.objects.filter(pk__lte=last.last_id)
    if below.count() == n_sealed:
        return
    seals = AuditSeal.objects.order_by("number").values_list("rows", flat=True).iterator(50)
    sealed = {key for rows in seals for key in ids(rows)}
    # By the clock: whoever ended the sealing ended the last seal's as well.
    old = Q(at__lt=timezone.now() - WINDOW)
    for key in below.filter(old).order_by("pk").values_list("pk", flat=True).iterator(PART):
        if key not in sealed:
            raise _Fault(f"Row {key} was added: it was not there when those around it were sealed.")


def _has(head: str) -> bool:
    number, _, sha256 = head.partition(":")
    return number.isdecimal() and AuditSeal.objects.filter(number=int(number), sha256=sha256).exists()


def head_tell() -> str:
    """Writes the newest seal where the database cannot reach: to the log, and in a mail where somebody is to
    get one. Empty where nothing is sealed yet."""
    head = AuditSeal.objects.order_by("-number").defer("digests").first()
    if head is None:
        return ""
    log.info("The trace is sealed up to row %d, head %s", head.last_id, head)
    if settings.AUDIT_HEAD_TO:
        text = (
            f"The trace is sealed up to row {head.last_id}, at {head.made_at:%Y-%m-%d %H:%M} UTC.\n\n"
            f"{head}\n\n"
            f"Keep this mail apart from the server. Whether the trace is still the same:\n"
            f"manage.py audit_check --head {head}\n"
        )
        send_mail(f"Trace: head {head.number}", text, None, settings.AUDIT_HEAD_TO)
    return str(head)
