"""Links to a patient's form. The token leaves this room once and is stored nowhere."""

from django.db import transaction
from django.utils import timezone

from surveys import audit
from surveys.access import LinkState, form_state
from surveys.models import Assignment, FormLink, Rater, User
from surveys.tokens import new_token, token_hash


@transaction.atomic
def link_issue(
    *, assignment: Assignment, via: FormLink.Via = FormLink.Via.SCREEN, actor: User | None = None
) -> str:
    """The token of a new link to a patient's open form; earlier links to it go on working. Raises ValueError
    for a form that is not a patient's or is no longer open."""
    row = (
        Assignment.objects.select_for_update(of=("self",))
        .select_related("study__clinic")
        .get(pk=assignment.pk)
    )
    if row.rater != Rater.PATIENT:
        raise ValueError("Only a patient's form has a link; a therapist signs in.")
    state = form_state(row, timezone.now())
    if state is LinkState.EXPIRED:
        raise ValueError("The time for this form is over; a link would lead nowhere.")
    if state is not LinkState.OPEN:
        raise ValueError("This form was received or withdrawn; it needs no link.")
    token = new_token()
    FormLink.objects.create(assignment=row, token_hash=token_hash(token), via=via, issued_at=timezone.now())
    audit.record("link.issue", subject=row, actor=actor, clinic=row.study.clinic, via=str(via))
    return token
