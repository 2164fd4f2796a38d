"""How long a clinic keeps what it may choose about: the rules, what they would delete, and their approval."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys.access import person
from surveys.grant_access import administrators
from surveys.keeping import kept
from surveys.retention import CHOSEN, FIXED
from surveys.retention_forms import KeepForm, time_words
from surveys.sentences import translated
from surveys.services.retention import keep_approve, keep_propose
from surveys.views.clinics import own_clinic
from surveys.views.setup import sent


def page(request: HttpRequest) -> HttpResponse:
    """Rules and their dry run; a wish that deletes more than the rule in force waits below it."""
    clinic, now, own = own_clinic(request), timezone.now(), person(request.user).pk
    rows = kept(clinic, now)
    wished = {row.kind.value: (row.waiting or row.rule).days for row in rows}
    form = KeepForm(sent(request), initial=wished)
    if form.is_valid():
        for kind in CHOSEN:
            keep_propose(clinic=clinic, kind=kind, days=form.cleaned_data[kind], actor=request.user)
        messages.success(request, _("Saved. What deletes more than before waits for approval."))
        return redirect("retention")
    lines = [
        (
            row,
            time_words(row.rule.days),
            time_words(row.wish.days) if row.wish else "",
            [translated(remark, _) for remark in row.remarks],
        )
        for row in rows
    ]
    context = {
        "clinic": clinic,
        "form": form,
        "lines": lines,
        "waiting": [line for line in lines if line[0].waiting],
        "may_approve": any(row.waiting and row.waiting.proposed_by_id != own for row in rows),
        "own": own,
        "is_alone": not administrators(clinic).exclude(pk=own).exists(),
        "fixed": FIXED,
        "now": now,
    }
    return render(request, "people/retention.html", context, status=422 if form.errors else 200)


def approve(request: HttpRequest) -> HttpResponse:
    """The wishes whose dry run was on the page, once the box is ticked."""
    if "seen" not in request.POST:
        messages.error(request, _("Nothing is approved. Tick first that you have seen what goes."))
        return redirect("retention")
    rules = [int(text) for text in request.POST.getlist("rule") if text.isascii() and text.isdigit()]
    known = [rule for rule in rules if rule < 2**63]
    n = keep_approve(clinic=own_clinic(request), rules=known, actor=request.user)
    if n:
        messages.success(request, _("Approved. What is too old is deleted every night from now on."))
    else:
        messages.error(
            request,
            _("Nothing is approved: the wish was changed meanwhile, or is your own. Look at it again."),
        )
    return redirect("retention")
