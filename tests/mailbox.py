"""A mail server for tests that does as it is told, one word for each mail that it is offered."""

from collections.abc import Sequence
from smtplib import SMTPDataError, SMTPRecipientsRefused, SMTPServerDisconnected
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

BACKEND = "tests.mailbox.ToldBackend"
# Deaths of the worker, in the order in which it gets there.
DEATHS = ("dies before it begins", "dies at the door", "dies before the word", "dies after the word")
ANSWERS = ("away", "not now", "no such address", "not now, address", "breaks off", "breaks off late", "ok")

accepted: list[EmailMessage] = []
told: list[str] = []


class Killed(BaseException):
    """The worker is gone; nothing after this line runs."""


def start(words: Sequence[str] = ()) -> list[EmailMessage]:
    """Empties the box and says what will be answered, `ok` after the last word. Gives the box."""
    accepted.clear()
    told[:] = words
    return accepted


class ToldBackend(BaseEmailBackend):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.word = told.pop(0) if told else "ok"

    def open(self) -> bool:
        if self.word == "dies at the door":
            raise Killed
        if self.word == "away":
            raise ConnectionRefusedError
        return True

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        (mail,) = email_messages
        address = mail.to[0]
        match self.word:
            case "dies before the word":
                raise Killed
            case "not now":
                raise SMTPDataError(451, b"try later, " + address.encode())
            case "no such address":
                raise SMTPRecipientsRefused({address: (550, b"no such user " + address.encode())})
            case "not now, address":
                raise SMTPRecipientsRefused({address: (450, b"greylisted")})
            case "breaks off":
                raise SMTPServerDisconnected
        accepted.append(mail)
        if self.word == "breaks off late":
            raise TimeoutError
        if self.word == "dies after the word":
            raise Killed
        return 1
