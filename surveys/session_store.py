"""Sessions in a table of our own, so that somebody sees where they are signed in, and can end it.

A session ends after half an hour without a request (Django's rule), and twelve hours after the sign-in
whatever happens: both are the one end that is stored with it. All of this rides on the one row that each
request saves.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

from surveys.models import SignIn, User

LONGEST = timedelta(hours=12)
BEGAN, BROWSER = "sign_in_began", "sign_in_browser"


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> type[SignIn]:
        return SignIn

    def create_model_instance(self, data: dict[str, Any]) -> SignIn:
        """The row as it is stored, at the end of every request. A sign-in is dated when it is first stored,
        whichever way it came about; a new key for the same session keeps its date."""
        now, user = timezone.now(), data.get(SESSION_KEY)
        if user is not None:
            data.setdefault(BEGAN, now.timestamp())
        row = super().create_model_instance(data)
        assert isinstance(row, SignIn), "the model of this store"
        row.used_at = now
        if user is not None:
            row.user_id = User._meta.pk.to_python(user)
            row.began_at = datetime.fromtimestamp(data[BEGAN], UTC)
            row.expire_date = min(row.expire_date, row.began_at + LONGEST)
            row.browser, row.system = data.get(BROWSER, ("", ""))
        return row
