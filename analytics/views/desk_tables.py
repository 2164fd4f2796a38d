"""Published tables of a study and locked questions: the researcher's page, the public page, the stone."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from analytics.access import (
    get_analysis_or_404,
    get_lock_or_404,
    get_published_or_404,
    get_table_or_404,
    usable_snapshot,
)
from analytics.analysis_selectors import scale_titles, study_forms
from analytics.data_words import refusal
from analytics.disclosure import MIN_PATIENTS as FEW
from analytics.research.frames import MIN_PATIENTS, MIN_THERAPISTS
from analytics.research.words import Words
from analytics.services.locks import lock_run
from analytics.services.publishing import (
    PublishRefused,
    table_publish,
    table_withdraw,
)
from analytics.services.snapshots import SelectionRefused
from analytics.table_forms import PublishForm, WithdrawForm
from surveys.access import get_study_or_404, person


def _why_refused(code: str) -> str:
    few = _(
        "Numbers are published of at least %(patients)d patients and %(therapists)d therapists, none of whom"
        " treats more than half of the patients: in each model, and in each group that a predictor sets"
        " apart. This analysis has fewer somewhere. Ask without that predictor, of more sessions, or of"
        " later data."
    )
    return {
        "unanswered": _("This analysis has no answer that could be published."),
        "erased": _(
            "The data that it was computed from are gone, because a patient’s answers were erased; nobody"
            " could compute it again. Ask the same question of a new snapshot, and publish that."
        ),
        "few": few % {"patients": MIN_PATIENTS, "therapists": MIN_THERAPISTS},
        "difference": _(
            "The answer to the same question that was published before is of nearly the same patients: 1 to"
            " %(n)d came or went since, and the change of the numbers would tell of them. Publish once they"
            " are more."
        )
        % {"n": FEW - 1},
        "taken": _("Another study has a table at this address. Choose another address."),
        "twice": _("This analysis is published at this address already."),
    }[code]


def tables(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    context = {
        "study": study,
        "clinic": study.clinic,
        "tables": study.published_tables.select_related("analysis", "published_by").order_by(
            "code", "-version"
        ),
        "locks": study.analysis_locks.select_related("locked_by").order_by("-locked_at"),
    }
    return render(request, "desk/tables.html", context)


def publish(request: HttpRequest, analysis_id: UUID) -> HttpResponse:
    analysis = get_analysis_or_404(request.user, analysis_id)
    study = analysis.study
    form = PublishForm(request.POST or None, initial={"title": analysis.title})
    if request.method == "POST" and form.is_valid():
        try:
            row = table_publish(
                analysis=analysis,
                code=form.cleaned_data["code"],
                title=form.cleaned_data["title"],
                words=Words(titles=scale_titles(study_forms(study))),
                actor=person(request.user),
            )
            return redirect("table", row.code, row.version)
        except PublishRefused as refused:
            form.add_error("code" if refused.code in ("taken", "twice") else None, _why_refused(refused.code))
    context = {"study": study, "clinic": study.clinic, "analysis": analysis, "form": form}
    return render(request, "desk/publish.html", context, status=422 if form.errors else 200)


def withdraw(request: HttpRequest, table_id: UUID) -> HttpResponse:
    row = get_table_or_404(request.user, table_id)
    form = WithdrawForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        table_withdraw(row=row, reason=form.cleaned_data["reason"], actor=person(request.user))
        return redirect("table", row.code, row.version)
    context = {"study": row.study, "clinic": row.study.clinic, "table": row, "form": form}
    return render(request, "desk/withdraw.html", context, status=422 if form.errors else 200)


def lock(request: HttpRequest, lock_id: UUID) -> HttpResponse:
    """What was fixed, and the analyses that asked it; POST asks it of the latest snapshot or a new one."""
    row = get_lock_or_404(request.user, lock_id)
    if request.method == "POST":
        snapshot = usable_snapshot(row.study) if request.POST.get("data") == "latest" else None
        try:
            analysis = lock_run(lock=row, snapshot=snapshot, actor=person(request.user))
            return redirect("desk-analysis", analysis.pk)
        except SelectionRefused as refused:
            messages.error(request, refusal(refused))
            return redirect("desk-lock", row.pk)
    context = {
        "study": row.study,
        "clinic": row.study.clinic,
        "lock": row,
        "analyses": row.analyses.order_by("number"),
        "snapshot": usable_snapshot(row.study),
    }
    return render(request, "desk/lock.html", context)


def latest(request: HttpRequest, code: str) -> HttpResponse:
    """The permanent address without a version: the newest one that stands, else the newest."""
    rows = get_published_or_404(code)
    row = next((row for row in rows if row.withdrawn_at is None), rows[0])
    return redirect("table", row.code, row.version)


def table(request: HttpRequest, code: str, version: int) -> HttpResponse:
    """For everybody. A version that was withdrawn leaves its stone (410)."""
    rows = get_published_or_404(code)
    row = next((row for row in rows if row.version == version), None)
    context: dict[str, Any] = {
        "table": row,
        "versions": rows,
        "code": code,
        "clinic": rows[0].study.clinic,
    }
    if row is None:
        return render(request, "desk/table_unknown.html", context, status=404)
    lock = row.content["lock"]
    context["read_at"] = datetime.fromisoformat(row.content["snapshot"]["read_at"])
    context["locked_at"] = datetime.fromisoformat(lock["locked_at"]) if lock else None
    return render(request, "desk/table.html", context, status=410 if row.withdrawn_at else 200)
