"""What a program sends under a key of its own is done once, however often it is sent."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.crypto import salted_hmac

from surveys.models import ClientKey, User

KEPT = timedelta(days=30)


class KeyUsedBefore(Exception):
    """Something else was sent under this key before; nothing was done now."""


@transaction.atomic
def once(*, user: User, key: UUID, sent: Mapping[str, object], do: Callable[[], Model]) -> tuple[UUID, bool]:
    """Does it, unless the same was sent under this key before; the id of the row that came of it, and whether
    it is new. What `do` refuses leaves the key free.

    Raises KeyUsedBefore where something else was sent under the key in the last 30 days.
    """
    ClientKey.objects.filter(user=user, at__lt=timezone.now() - KEPT).delete()
    # Of two at the same moment the second waits here until the first is done.
    text = json.dumps(sent, sort_keys=True, default=str)
    digest = salted_hmac("surveys.client_keys", text, algorithm="sha256").hexdigest()
    ClientKey.objects.bulk_create([ClientKey(user=user, key=key, digest=digest)], ignore_conflicts=True)
    row = ClientKey.objects.select_for_update().get(user=user, key=key)
    if row.made is not None:
        if row.digest != digest:
            raise KeyUsedBefore("Something else was sent under this key before.")
        return row.made, False
    row.made = do().pk
    row.save(update_fields=["made"])
    assert row.made is not None
    return row.made, True
