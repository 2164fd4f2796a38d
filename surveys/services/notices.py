"""Short mails to staff about their site: who gets which role, who opened what in an emergency."""

import smtplib
from collections.abc import Iterable, Mapping

from django.core.mail import send_mail
from django.template.loader import render_to_string

from surveys import jobs
from surveys.models import User


def notice_send(name: str, context: Mapping[str, object], people: Iterable[User]) -> None:
    """One mail to each, by a job; raises TryAgain where the mail server does not take one."""
    subject = render_to_string(f"emails/{name}-subject.txt", context).strip()
    text = render_to_string(f"emails/{name}-text.txt", context)
    for person in people:
        try:
            send_mail(subject, text, None, [person.email])
        except (smtplib.SMTPException, OSError) as error:
            raise jobs.TryAgain("The mail server did not take a notice.") from error
