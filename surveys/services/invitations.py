"""Links to a patient's form. The token leaves this room once and is stored nowhere."""

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext as _

from surveys import audit, clock
from surveys.access import Actor, LinkState, form_state
from surveys.models import Assignment, FormLink, Message, Rater
from surveys.tokens import new_token, token_hash


class LinkRefused(ValueError):
    """No link is made; the sentence says why."""


@transaction.atomic
def link_issue(
    *, assignment: Assignment, via: FormLink.Via = FormLink.Via.SCREEN, actor: Actor | None = None
) -> str:
    """The token of a new link to a patient's open form; earlier links to it go on working. Raises LinkRefused
    for a form that is not a patient's or is no longer open."""
    row = (
        Assignment.objects.select_for_update(of=("self",))
        .select_related("study__clinic")
        .get(pk=assignment.pk)
    )
    if row.rater != Rater.PATIENT:
        raise LinkRefused(_("Only a patient’s form has a link; a therapist signs in."))
    state = form_state(row, clock.now())
    if state is LinkState.EXPIRED:
        raise LinkRefused(_("The time for this form is over; a link would lead nowhere."))
    if state is not LinkState.OPEN:
        raise LinkRefused(_("This form was received or withdrawn; it needs no link."))
    token = new_token()
    FormLink.objects.create(assignment=row, token_hash=token_hash(token), via=via, issued_at=clock.now())
    audit.record("link.issue", subject=row, actor=actor, clinic=row.study.clinic, via=str(via))
    return token


def link_url(token: str) -> str:
    """The whole address of a link. Raises LinkRefused where the site does not know its own."""
    if not settings.SITE_URL:
        raise LinkRefused(str(Message.Problem.NO_SITE.label))
    return settings.SITE_URL + reverse("link", args=[token])


@transaction.atomic
def links_revoke(*, form: Assignment, actor: Actor | None = None) -> int:
    """Ends every link to a form, and sends none of the e-mails that wait, as they would carry new ones. Who
    has begun the form in a browser can still send it. Returns how many links there were."""
    row = Assignment.objects.select_for_update(of=("self",)).select_related("study__clinic").get(pk=form.pk)
    n_links = row.links.filter(revoked_at=None).update(revoked_at=clock.now())
    n_messages = row.messages.filter(state=Message.State.WAITING).update(state=Message.State.NOT_NEEDED)
    if n_links or n_messages:
        audit.record(
            "link.revoke",
            subject=row,
            actor=actor,
            clinic=row.study.clinic,
            n_links=n_links,
            n_messages=n_messages,
        )
    return n_links
