"""Where somebody is signed in: the session of a browser, which Django keeps, with what its owner knows it
by. No address of the browser's is kept, and of its name two words."""

from importlib import import_module

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils.crypto import salted_hmac

from surveys.models.clinic import User


class SignIn(AbstractBaseSession):
    """A row that is not there, or past its end, is nobody's session any more."""

    user = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        related_name="sign_ins",
        help_text="Empty: nobody is signed in in this browser",
    )
    began_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField()
    browser = models.CharField(max_length=20, blank=True)
    system = models.CharField(max_length=20, blank=True)

    @classmethod
    def get_session_store_class(cls) -> type[SessionBase]:
        store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
        return store

    @property
    def mark(self) -> str:
        """What a page calls it by: the key itself is for its browser alone."""
        return salted_hmac("surveys.sign_ins", self.session_key).hexdigest()[:20]
