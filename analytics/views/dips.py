"""Possible dips: what a therapist is told of one and does about it, and an administrator's page of the rules
of a study and of how often each points at a rating."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from analytics import dip_words, wording
from analytics.dip_forms import ReviewForm, RulesForm
from analytics.dip_selectors import (
    PossibleDip,
    TherapyDips,
    dip_rules,
    dip_rules_history,
    dip_tally,
    therapy_dips,
)
from analytics.dips import RULES, Rule
from analytics.models import DipReview, DipTally
from analytics.services.dip_tally import BATCH
from analytics.services.dips import DipGone, dip_review, dip_rules_choose
from surveys.access import get_therapy_or_404, person
from surveys.clinic_access import get_administered_study_or_404

# Of fewer, a count would say something about one of them.
MIN_PATIENTS, MIN_THERAPISTS = 5, 3


def _writing() -> wording.Writing:
    """With two decimals, so that the sums can be checked."""
    return wording.Writing(translate=_, number=lambda value: number_format(f"{value:.2f}", 2))


@dataclass(frozen=True)
class DipCard:
    """One possible dip as the page shows it."""

    dip: PossibleDip
    change: str
    grounds: tuple[tuple[str, str], ...]
    form: ReviewForm


def _card(dip: PossibleDip, form: ReviewForm | None = None) -> DipCard:
    writing = _writing()
    return DipCard(
        dip,
        dip_words.change(dip.judgements[0], writing) if dip.judgements else "",
        tuple(
            (dip_words.name(found.rule, writing), dip_words.grounds(found, writing))
            for found in dip.judgements
        ),
        # Several of them stand on one page.
        form or ReviewForm(auto_id=f"id_{dip.rating.session}_%s"),
    )


def dips_context(found: TherapyDips) -> dict[str, object]:
    """The section of a therapy's page: possible dips in words."""
    writing = _writing()
    # The latest can still be asked about; earlier ones must not bury the page.
    waiting = [_card(row) for row in found.waiting]
    return {
        "found": found,
        "latest": waiting[:1],
        "earlier": waiting[1:],
        "settled": [_card(row) for row in found.settled],
        "silence": dip_words.silence(found.silence, writing) if found.silence else "",
        "rules": [
            (dip_words.name(rule, writing), dip_words.by_chance(rule, writing)) for rule in found.rules
        ],
    }


def _dip_or_404(request: HttpRequest, therapy_id: UUID, response_id: UUID) -> tuple[TherapyDips, PossibleDip]:
    """A possible dip in the ratings that the user may see; any other rating has no such page."""
    found = therapy_dips(request.user, get_therapy_or_404(request.user, therapy_id))
    rows = found.rows if found else ()
    dip = next((row for row in rows if row.rating.response == response_id), None)
    if found is None or dip is None:
        raise Http404("No such possible dip.")
    return found, dip


@transaction.atomic
def dip(request: HttpRequest, therapy_id: UUID, response_id: UUID) -> HttpResponse:
    found, row = _dip_or_404(request, therapy_id, response_id)
    if request.method == "POST":
        return _review(request, found, row)
    return _dip_page(request, found, _card(row))


def _review(request: HttpRequest, found: TherapyDips, row: PossibleDip) -> HttpResponse:
    if not found.may_review:
        raise Http404("Only who treats the patient says what was done.")
    form = ReviewForm(request.POST)
    if not form.is_valid():
        return _dip_page(request, found, _card(row, form), status=422)
    try:
        dip_review(
            response_id=row.rating.response,
            rules=[judgement.rule.code for judgement in row.judgements],
            state=form.cleaned_data["state"],
            reason=form.cleaned_data["reason"],
            actor=person(request.user),
        )
    except DipGone as gone:
        raise Http404("The rating was erased.") from gone
    messages.success(request, _("Written down for session %(n)d.") % {"n": row.rating.session})
    return redirect(reverse("therapy", args=[found.therapy.pk]) + "#dips-title")


def _dip_page(request: HttpRequest, found: TherapyDips, card: DipCard, status: int = 200) -> HttpResponse:
    context = {
        "therapy": found.therapy,
        "clinic": found.therapy.study.clinic,
        "found": found,
        "card": card,
        "form": card.form,
    }
    return render(request, "analytics/dip.html", context, status=status)


def study(request: HttpRequest, study_id: UUID) -> HttpResponse:
    """The rules of a study, to choose, each with what it did in this study's own data."""
    row = get_administered_study_or_404(request.user, study_id)
    form = RulesForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        dip_rules_choose(study=row, rules=form.cleaned_data["rules"], actor=person(request.user))
        messages.success(request, _("The rules are in force from now on."))
        return redirect("study-dips", row.pk)
    in_force = dip_rules(row.pk)
    tally = dip_tally(row)
    context = {
        "clinic": row.clinic,
        "study": row,
        "form": form,
        "rules": [_rule_row(rule, in_force, tally) for rule in RULES.values()],
        "tally": tally,
        "batch": BATCH,
        "min_patients": MIN_PATIENTS,
        "min_therapists": MIN_THERAPISTS,
        "history": [
            (choice, [dip_words.name(RULES[code], _writing()) for code in choice.rules if code in RULES])
            for choice in dip_rules_history(row.pk)
        ],
    }
    return render(request, "analytics/study_dips.html", context, status=422 if form.errors else 200)


@dataclass(frozen=True)
class RuleRow:
    """One rule on the administrator's page. `counts` is None where there are too few people for a count;
    `done` is None where the rule was not in force when it was counted."""

    rule: Rule
    name: str
    definition: str
    by_chance: str
    is_chosen: bool
    counts: dict[str, int] | None
    share: float | None
    done: dict[str, int] | None


def _rule_row(rule: Rule, in_force: tuple[Rule, ...], tally: DipTally | None) -> RuleRow:
    writing = _writing()
    counts = tally.counts.get(rule.code) if tally else None
    if counts and (counts["n_patients"] < MIN_PATIENTS or counts["n_therapists"] < MIN_THERAPISTS):
        counts = None
    done = None
    if counts and tally and rule.code in tally.rules:
        done = {state: counts["done"].get(state, 0) for state in ("new", *DipReview.State.values)}
    return RuleRow(
        rule,
        dip_words.name(rule, writing),
        dip_words.definition(rule, writing),
        dip_words.by_chance(rule, writing),
        rule in in_force,
        counts,
        100 * counts["n_dips"] / counts["n_judged"] if counts else None,
        done,
    )
