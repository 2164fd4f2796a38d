"""Sessions in a table of our own, so that somebody sees where they are signed in, and can end it.

A session ends after half an hour without a request (Django's rule), and twelve hours after the sign-in
whatever happens: both are the one end that is stored with it. All of this rides on the one row that each
request saves. The row has a hash of the key: who reads the table, or a dump of it, is signed in nowhere.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone

from surveys.models import SignIn, User
from surveys.tokens import token_hash

LONGEST = timedelta(hours=12)
BEGAN, BROWSER = "sign_in_began", "sign_in_browser"


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> type[SignIn]:
        return SignIn

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(_hashed(session_key)))

    def delete(self, session_key: str | None = None) -> None:
        SignIn.objects.filter(pk=_hashed(session_key or self.session_key)).delete()

    def _get_session_from_db(self) -> SignIn | None:
        row = SignIn.objects.filter(pk=row_key(self), expire_date__gt=timezone.now()).first()
        if row is None:
            self._session_key = None
        return row

    def create_model_instance(self, data: dict[str, Any]) -> SignIn:
        """The row as it is stored, at the end of every request. A sign-in is dated when it is first stored,
        whichever way it came about; a new key for the same session keeps its date."""
        now, user = timezone.now(), data.get(SESSION_KEY)
        if user is not None:
            data.setdefault(BEGAN, now.timestamp())
        row = super().create_model_instance(data)
        assert isinstance(row, SignIn), "the model of this store"
        row.session_key = row_key(self)
        row.used_at = now
        if user is not None:
            row.user_id = User._meta.pk.to_python(user)
            row.began_at = datetime.fromtimestamp(data[BEGAN], UTC)
            row.expire_date = min(row.expire_date, row.began_at + LONGEST)
            row.browser, row.system = data.get(BROWSER, ("", ""))
        return row


def _hashed(key: str | None) -> str:
    """As long as the column is: 160 bits."""
    return token_hash(key)[:40] if key else ""


def row_key(session: SessionBase) -> str:
    """By which the row of a session is found; empty where there is none."""
    return _hashed(session.session_key)
