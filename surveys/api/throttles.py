"""How many requests of one sender are answered in a minute."""

import time

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from surveys.models import User
from surveys.tokens import token_hash

WINDOW = 60


class PerMinute(BaseThrottle):
    """Counts by the minute of the clock. The cache is a table: one small number for each sender, and not, as
    usual, the time of every request. Two at the same instant may count as one."""

    def allow_request(self, request: Request, view: object) -> bool:
        is_known = isinstance(request.user, User)
        sender = f"user:{request.user.pk}" if is_known else f"address:{self.get_ident(request)}"
        most = settings.API_RATE_USER if is_known else settings.API_RATE_ANONYMOUS
        now = time.time()
        key = f"api:{token_hash(sender)}:{int(now // WINDOW)}"
        n_before = cache.get(key, 0)
        if n_before >= most:
            return False
        cache.set(key, n_before + 1, timeout=WINDOW)
        return True

    def wait(self) -> float:
        """Seconds until the next minute."""
        return WINDOW - time.time() % WINDOW
