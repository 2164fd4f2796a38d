"""Taking the second factor of somebody who lost it: two administrators of the clinic, or the operator.

The account then asks for a new factor at the next sign-in. Nobody takes part in a reset of their own. And the
mail about a factor that was changed, by whomever.
"""

import logging
import smtplib

from allauth.mfa.models import Authenticator
from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit
from surveys.clinic_access import open_resets
from surveys.models import Clinic, FactorReset, User
from surveys.services.roles import works_elsewhere
from surveys.services.sign_ins import sign_ins_end

log = logging.getLogger(__name__)


class ResetRefused(Exception):
    """Nothing was changed; the sentence says why and what to do."""


@transaction.atomic
def reset_ask(*, clinic: Clinic, user: User, actor: User) -> FactorReset:
    """Raises ResetRefused for one's own factor, for that of somebody who also works in another clinic, and
    while another request waits."""
    if actor == user:
        raise ResetRefused(_("Nobody resets their own second factor. Ask two other administrators."))
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    _refuse_elsewhere(clinic, user)
    if open_resets(clinic).filter(user=user).exists():
        raise ResetRefused(_("A reset is asked for already. Another administrator confirms it."))
    now = timezone.now()
    FactorReset.objects.filter(clinic=clinic, user=user, settled_at=None).update(settled_at=now)
    reset = FactorReset.objects.create(clinic=clinic, user=user, asked_by=actor, asked_at=now)
    audit.record("factor.reset.ask", subject=user, actor=actor, clinic=clinic)
    return reset


@transaction.atomic
def reset_drop(*, reset: FactorReset, actor: User) -> None:
    """Without anything taken; by any administrator but the person."""
    row = _waiting(reset, actor)
    row.settled_at, row.settled_by = timezone.now(), actor
    row.save(update_fields=["settled_at", "settled_by"])
    audit.record("factor.reset.drop", subject=row.user, actor=actor, clinic=row.clinic)


def reset_confirm(*, reset: FactorReset, actor: User) -> bool:
    """By somebody else than who asked: the factor is taken, all sessions of the person end. Whether the mail
    that tells them could be sent. Raises ResetRefused."""
    with transaction.atomic():
        row = _waiting(reset, actor)
        if row.asked_by_id == actor.pk:
            raise ResetRefused(_("You asked for this reset. Another administrator confirms it."))
        _refuse_elsewhere(row.clinic, row.user)
        row.settled_at, row.settled_by, row.is_done = timezone.now(), actor, True
        row.save(update_fields=["settled_at", "settled_by", "is_done"])
        _take(row.user)
        audit.record(
            "factor.reset", subject=row.user, actor=actor, clinic=row.clinic, asked_by=str(row.asked_by_id)
        )
    return _tell(row.user, row.clinic.name)


def reset_by_operator(*, user: User, reason: str) -> bool:
    """As `reset_confirm`, where there are no two administrators to do it."""
    with transaction.atomic():
        _take(user)
        audit.record("factor.reset", subject=user, reason=reason)
    return _tell(user, _("the operator of this site"))


def _waiting(reset: FactorReset, actor: User) -> FactorReset:
    rows = open_resets(reset.clinic).select_for_update(of=("self",), no_key=True)
    row = rows.filter(pk=reset.pk).exclude(user=actor).first()
    if row is None:
        raise ResetRefused(_("This reset was settled meanwhile, or is too old. Ask for a new one if needed."))
    return row


def _refuse_elsewhere(clinic: Clinic, user: User) -> None:
    if works_elsewhere(clinic, user):
        raise ResetRefused(
            _("This person also works in another clinic. The operator of this site resets the second factor.")
        )


def _take(user: User) -> None:
    Authenticator.objects.filter(user=user).delete()
    sign_ins_end(user=user)


def tell_change(user: User, sentence: object) -> None:
    """Tells people what they changed of their factors themselves, once it is stored: it may have been
    somebody else. A mail server that fails undoes nothing."""
    words = str(sentence)

    def send() -> None:
        if not _sent(user, "factor-changed", {"sentence": words}):
            log.warning("the mail about a changed second factor was not sent to user %s", user.pk)

    transaction.on_commit(send)


def _tell(user: User, by: str) -> bool:
    return _sent(user, "factor-reset", {"by": by})


def _sent(user: User, name: str, context: dict[str, str]) -> bool:
    subject = render_to_string(f"emails/{name}-subject.txt", context).strip()
    text = render_to_string(f"emails/{name}-text.txt", context)
    try:
        send_mail(subject, text, None, [user.email])
    except (smtplib.SMTPException, OSError):
        return False
    return True
