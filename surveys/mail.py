"""E-mails to patients: what they say, and whether the mail server took them.

They hold nothing clinical and name neither clinic nor therapist: a mailbox is often not read by one person
alone, and a subject shows on a locked phone.
"""

import smtplib
from contextlib import suppress

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.template.loader import render_to_string
from django.utils import translation

from surveys.models import Assignment, Message, Patient


class MailRefused(Exception):
    """The mail server has certainly not taken the mail; final where it will not take it later, either."""

    def __init__(self, problem: Message.Problem, is_final: bool = False) -> None:
        super().__init__(problem.value)
        self.problem, self.is_final = problem, is_final


class MailUnsure(Exception):
    """Nobody can say whether the mail server took the mail."""


def mail_language(patient: Patient) -> str:
    """The language of the site's that is nearest to the patient's."""
    try:
        return translation.get_supported_language_variant(patient.language)
    except LookupError:
        return settings.LANGUAGE_CODE


def masked(address: str) -> str:
    """Enough of an address to recognise it, not enough to write to it."""
    name, at, host = address.partition("@")
    return f"{name[:1]}…{at}{host}"


def compose(kind: str, form: Assignment, patient: Patient, url: str) -> EmailMessage:
    context = {
        "url": url,
        "closes_at": form.closes_at,
        "contact": form.study.clinic.contact,
        "minutes": form.instrument.form.minutes,
    }
    with translation.override(mail_language(patient)):
        subject = render_to_string(f"emails/{kind}-subject.txt", context).strip()
        text = render_to_string(f"emails/{kind}-text.txt", context)
    # Asks programs that answer for people on holiday to stay silent (RFC 3834).
    headers = {"Auto-Submitted": "auto-generated"}
    return EmailMessage(subject, text, to=[patient.contact], headers=headers)


def deliver(mail: EmailMessage) -> None:
    """Hands one mail to the mail server. Raises MailRefused or MailUnsure; neither repeats what the server
    said, as it may hold the address."""
    line = get_connection()
    try:
        line.open()
    except (smtplib.SMTPException, OSError):
        raise MailRefused(Message.Problem.NO_SERVER) from None
    try:
        line.send_messages([mail])
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise MailRefused(Message.Problem.ADDRESS, is_final=min(codes) >= 500) from None
    except smtplib.SMTPResponseException as error:
        if error.smtp_code < 400:
            raise MailUnsure from None
        raise MailRefused(Message.Problem.REFUSED, is_final=error.smtp_code >= 500) from None
    except Exception:
        # Whatever else happens after the first word may have happened after the last one.
        raise MailUnsure from None
    finally:
        with suppress(smtplib.SMTPException, OSError):
            line.close()
