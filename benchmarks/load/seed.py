"""Patients' forms for the load: one for each of as many therapies, as a clinic has them at one moment.

Some stand at their beginning and are known by the token of their link. The others were begun: each is open in
a browser of its own, and every answer is saved, as the page does it while somebody fills it.
"""

from __future__ import annotations

import random
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.utils import timezone

from benchmarks.faults.seed import Form, Seed, plant
from surveys.access import browser_hash
from surveys.models import Assignment, Opening
from surveys.tokens import new_token

BATCH = 5000
# Of the bare view.
TABLE = "CREATE TABLE load_bare (id uuid PRIMARY KEY, answers jsonb NOT NULL, at timestamptz NOT NULL)"
# With every answer as a draft, each of its own second: as the page saves them.
DRAFTS = """
INSERT INTO surveys_draftanswer (assignment_id, opening_id, item, value, saved_at)
SELECT o.assignment_id, o.id, item, 1 + (o.id + item) %% %s, o.opened_at + item * interval '1 second'
FROM surveys_opening o CROSS JOIN unnest(%s::int[]) item
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """A form that is open in a browser: where it stands, its cookies, and what its page will send."""

    path: str
    cookie: str
    body: bytes


@dataclass(frozen=True)
class Load:
    """`fresh` forms stand at their beginning."""

    seed: Seed
    fresh: list[Form]
    begun: list[Begun]


def prepare(n_fresh: int, n_begun: int) -> Load:
    """In an empty, migrated database with the built-in instruments."""
    seed = plant(n_fresh + n_begun, 0, n_sessions=1)
    begun = []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TABLE)
        for start in range(n_fresh, n_fresh + n_begun, BATCH):
            begun += _begin(seed.forms[start : min(start + BATCH, n_fresh + n_begun)], seed)
        Assignment.objects.filter(openings__isnull=False).update(state=Assignment.State.OPENED)
        span = seed.highest - seed.lowest + 1
        cursor.execute(DRAFTS, [span, [int(item) for item in seed.items]])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()
    return Load(seed, seed.forms[:n_fresh], begun)


def _begin(forms: Sequence[Form], seed: Seed) -> list[Begun]:
    secret_of = {form.id: new_token() for form in forms}
    now = timezone.now()
    openings = Opening.objects.bulk_create(
        Opening(
            assignment_id=uuid.UUID(form.id),
            browser_hash=browser_hash(AnonymousUser(), secret_of[form.id]),
            device="phone",
            language="en",
            opened_at=now,
        )
        for form in forms
    )
    version = Assignment.objects.values_list("instrument", flat=True).get(pk=forms[0].id)
    return [
        _begun(str(row.assignment_id), secret_of[str(row.assignment_id)], row.client_key, version, seed)
        for row in openings
    ]


def _begun(form: str, secret: str, key: uuid.UUID, version: uuid.UUID, seed: Seed) -> Begun:
    csrf = secrets.token_hex(16)
    browser = "__Host-browser" if settings.HTTPS else "browser"
    fields = {"csrfmiddlewaretoken": csrf, "key": str(key), "version": str(version)}
    return Begun(
        f"/f/{form}/",
        f"{settings.CSRF_COOKIE_NAME}={csrf}; {browser}={secret}",
        urlencode(fields | answered(seed) | {"sharing": "scores", "send": "send"}).encode(),
    )


def answered(seed: Seed) -> dict[str, str]:
    """A value for every item, as the form sends it."""
    return {f"item_{item}": str(random.randint(seed.lowest, seed.highest)) for item in seed.items}  # noqa: S311
