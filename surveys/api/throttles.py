"""How many requests of one sender are answered in a minute."""

from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from surveys.models import User
from surveys.tokens import token_hash

WINDOW = timedelta(minutes=1)
# Django's cache would ask six times, once of them for the size of the whole table. Its own clearing finds
# these rows by their end, and none of its keys begins like theirs.
COUNT = """
    INSERT INTO cache (cache_key, value, expires) VALUES (%(key)s, '1', %(end)s)
    ON CONFLICT (cache_key) DO UPDATE SET
        value = CASE WHEN cache.expires <= %(now)s THEN '1' ELSE (cache.value::int + 1)::text END,
        expires = CASE WHEN cache.expires <= %(now)s THEN excluded.expires ELSE cache.expires END
    RETURNING value::int, expires
"""


class PerMinute(BaseThrottle):
    """Counts from a sender's first request on for a minute, then anew: one small row for each sender in the
    table of the cache, and one statement for each request."""

    seconds = 0.0

    def allow_request(self, request: Request, view: object) -> bool:
        is_known = isinstance(request.user, User)
        sender = f"user:{request.user.pk}" if is_known else f"address:{self.get_ident(request)}"
        now = timezone.now()
        with connection.cursor() as cursor:
            key = f"api:{token_hash(sender)}"
            cursor.execute(COUNT, {"key": key, "now": now, "end": now + WINDOW})
            n, end = cursor.fetchone()
        self.seconds = (end - now).total_seconds()
        most: int = settings.API_RATE_USER if is_known else settings.API_RATE_ANONYMOUS
        return n <= most

    def wait(self) -> float:
        """Seconds until the count begins anew."""
        return self.seconds
