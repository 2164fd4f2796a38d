"""What people do about possible dips, and the choice of a study's rules. Both are added to, never changed."""

from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from analytics.dip_selectors import dip_rules
from analytics.dips import RULES
from analytics.models import DipReview, DipRules
from surveys import audit
from surveys.models import Response, Study, User


class DipGone(Exception):
    """The response was erased since the page was made."""


@transaction.atomic
def dip_review(
    *, response_id: UUID, rules: Collection[str], state: str, reason: str, actor: User
) -> list[DipReview]:
    """Writes down what was done about one rating, for each of the rules that point at it. What says nothing
    new is not written: the same again, or that something was seen with which more was done.

    Raises ValueError for acting or dismissing without a reason, DipGone.
    """
    state = DipReview.State(state)
    reason = "" if state == DipReview.State.SEEN else reason.strip()
    if state != DipReview.State.SEEN and not reason:
        raise ValueError("Acting and dismissing need a reason.")
    # Two presses of a button come one after the other.
    rows = Response.objects.select_for_update(of=("self",)).select_related("assignment__study__clinic")
    response = rows.filter(pk=response_id).first()
    if response is None:
        raise DipGone
    earlier = DipReview.objects.filter(response=response).order_by("id")
    known = {row.rule: (row.state, row.reason) for row in earlier}
    reviews = [
        DipReview.objects.create(
            response=response, rule=rule, state=state, reason=reason, by=actor, at=timezone.now()
        )
        for rule in sorted(rules)
        if not (rule in known and (state == DipReview.State.SEEN or known[rule] == (state, reason)))
    ]
    audit.record_each(
        "dip.review",
        [(review, {"rule": review.rule, "state": review.state}) for review in reviews],
        actor=actor,
        clinic=response.assignment.study.clinic,
    )
    return reviews


@transaction.atomic
def dip_rules_choose(*, study: Study, rules: Sequence[str], actor: User) -> DipRules | None:
    """From now on a study's possible dips are looked for by these rules; none at all is a choice, too.
    Returns None where these are in force already. Raises ValueError for a rule that is not there."""
    chosen = [code for code in RULES if code in rules]
    if len(chosen) != len(set(rules)):
        raise ValueError("There is no such rule.")
    Study.objects.select_for_update(no_key=True, of=("self",)).get(pk=study.pk)
    if chosen == [rule.code for rule in dip_rules(study.pk)]:
        return None
    row = DipRules.objects.create(study=study, rules=chosen, chosen_by=actor, chosen_at=timezone.now())
    audit.record("dip_rules.choose", subject=row, actor=actor, clinic=study.clinic, rules=chosen)
    return row
