"""Short mails to staff about their site: who gets which role, who opened what in an emergency."""

import logging
import smtplib
from collections.abc import Callable, Iterable, Mapping

from django.core.mail import send_mail
from django.template.loader import render_to_string

from surveys.models import User

log = logging.getLogger(__name__)

NOT_TAKEN = "The mail server did not take a notice."


def notice_send(
    name: str,
    context: Mapping[str, object],
    people: Iterable[User],
    when_told: Callable[[User], object] = lambda _person: None,
) -> int:
    """One mail to each, by a job; to how many the mail server did not take it. A mailbox that is refused
    keeps nobody else from being told. `when_told` writes down whose mail was taken, before the next one."""
    subject = render_to_string(f"emails/{name}-subject.txt", context).strip()
    text = render_to_string(f"emails/{name}-text.txt", context)
    n_missed = 0
    for person in people:
        try:
            send_mail(subject, text, None, [person.email])
        # An address that cannot stand in the head of a mail is a ValueError.
        except (smtplib.SMTPException, OSError, ValueError) as error:
            log.warning("a notice was not taken: %s", type(error).__name__)
            n_missed += 1
        else:
            when_told(person)
    return n_missed
