"""The desk's first step: a study's data frozen, and files of them that leave with somebody's approval."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _

from analytics.access import get_export_or_404, get_own_export_or_404, get_snapshot_or_404
from analytics.data_forms import FreezeForm, RequestForm
from analytics.data_selectors import (
    data_desk,
    export_job,
    export_row,
    snapshot_page,
)
from analytics.data_words import export_refusal, gone_words, refusal, stage_words
from analytics.models import Export, Snapshot, StoredFile
from analytics.services.exports import (
    ExportRefused,
    Gone,
    NotConfirmed,
    State,
    export_approve,
    export_ask,
    export_cancel,
    export_confirm,
    export_fetch,
    export_rebuild,
    export_withdraw,
)
from analytics.services.freeze import NoKey
from analytics.services.snapshots import SelectionRefused, snapshot_ask, snapshot_cancel
from analytics.storage import pieces
from surveys.access import get_study_or_404, person


def data(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    desk = data_desk(study)
    form = FreezeForm(request.POST if request.method == "POST" else None, arms=desk.arms)
    if form.is_valid():
        try:
            snapshot_ask(study=study, selection=form.selection, actor=person(request.user))
            return redirect("desk-data", study.pk)
        except SelectionRefused as refused:
            form.add_error(None, refusal(refused))
    context = {"study": study, "clinic": study.clinic, "desk": desk, "form": form}
    if desk.unread and desk.unread.job:
        context |= {
            "job": desk.unread.job,
            "stage": stage_words(desk.unread.job.stage),
            "cancel_url": reverse("desk-snapshot-cancel", args=[desk.unread.snapshot.pk]),
        }
    return render(request, "desk/data.html", context, status=422 if form.errors else 200)


def cancel(request: HttpRequest, snapshot_id: UUID) -> HttpResponse:
    snapshot = get_snapshot_or_404(request.user, snapshot_id)
    snapshot_cancel(snapshot=snapshot, actor=person(request.user))
    return redirect("desk-data", snapshot.study_id)


def snapshot(request: HttpRequest, snapshot_id: UUID) -> HttpResponse:
    """One snapshot, and the form with which a file of it is asked for."""
    row = get_snapshot_or_404(request.user, snapshot_id)
    form = RequestForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and (made := _asked(request, row, form)):
        return redirect("desk-export", made.pk)
    context = {
        "study": row.study,
        "clinic": row.study.clinic,
        "page": snapshot_page(request.user, row),
        "snapshot": row,
        "form": form,
    }
    return render(request, "desk/snapshot.html", context, status=422 if form.errors else 200)


def _asked(request: HttpRequest, row: Snapshot, form: RequestForm) -> Export | None:
    try:
        return export_ask(snapshot=row, actor=person(request.user), **form.cleaned_data)
    except ExportRefused as refused:
        form.add_error(None, export_refusal(refused.code))
    except NoKey:
        form.add_error(None, export_refusal("key"))
    return None


def export(request: HttpRequest, export_id: UUID) -> HttpResponse:
    row = get_export_or_404(request.user, export_id)
    return _export_page(request, row)


def _export_page(
    request: HttpRequest, row: Export, status: int = 200, gone: State | None = None
) -> HttpResponse:
    job = export_job(row)
    found = export_row(row)
    is_own = row.asked_by_id == person(request.user).pk
    may_approve = (
        found.state is State.WAITING
        and row.tier == Export.Tier.ITEMS
        and not is_own
        and all(approval.by_id != person(request.user).pk for approval in row.approvals.all())
    )
    context = {
        "study": row.snapshot.study,
        "clinic": row.snapshot.study.clinic,
        "row": found,
        "is_own": is_own,
        "may_approve": may_approve,
        "gone": gone_words(gone) if gone else "",
        "job": job if is_own else None,
        "stage": stage_words(job.stage) if job else "",
        "cancel_url": reverse("desk-export-cancel", args=[row.pk]),
    }
    return render(request, "desk/export.html", context, status=status)


def approve(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """The second approval of every answer, by another researcher of the study."""
    row = get_export_or_404(request.user, export_id)
    try:
        if row.tier != Export.Tier.ITEMS:
            raise ExportRefused("decided")
        export_approve(export=row, actor=person(request.user), is_admin=False)
        messages.success(request, _("Approved."))
    except ExportRefused as refused:
        messages.error(request, export_refusal(refused.code))
    return redirect("desk-export", row.pk)


def withdraw(request: HttpRequest, export_id: UUID) -> HttpResponse:
    """Who asked needs the file no more."""
    row = get_own_export_or_404(request.user, export_id)
    try:
        export_withdraw(export=row, actor=person(request.user), reason="")
        messages.success(request, _("Taken back; the file is deleted."))
    except ExportRefused as refused:
        messages.error(request, export_refusal(refused.code))
    return redirect("desk-export", row.pk)


def rebuild(request: HttpRequest, export_id: UUID) -> HttpResponse:
    row = get_own_export_or_404(request.user, export_id)
    try:
        export_rebuild(export=row, actor=person(request.user))
    except ExportRefused as refused:
        messages.error(request, export_refusal(refused.code))
    return redirect("desk-export", row.pk)


def export_stop(request: HttpRequest, export_id: UUID) -> HttpResponse:
    row = get_own_export_or_404(request.user, export_id)
    export_cancel(export=row, actor=person(request.user))
    return redirect("desk-export", row.pk)


def file(request: HttpRequest, export_id: UUID) -> HttpResponseBase:
    """The bytes, for who asked and has given their password once more; from then on also by the API."""
    row = get_own_export_or_404(request.user, export_id)
    # Asked for without a body, nothing is fetched, and nothing is written down.
    return HttpResponse() if request.method == "HEAD" else _fetched(request, row)


def _fetched(request: HttpRequest, row: Export) -> HttpResponseBase:
    try:
        return download(row, export_fetch(export=row, actor=person(request.user)))
    except Gone as gone:
        return _export_page(request, row, 410, gone.state)
    except NotConfirmed:
        export_confirm(export=row)
        return _fetched(request, row)


def download(row: Export, stored: StoredFile) -> StreamingHttpResponse:
    name = f"{row.snapshot.study.code}-snapshot-{row.snapshot.number}-{row.tier}.zip"
    return StreamingHttpResponse(
        pieces(stored),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(stored.n_bytes),
        },
    )
