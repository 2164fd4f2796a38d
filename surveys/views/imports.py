"""The administrator's pages that bring old ratings in: upload, columns, check, store, take out again."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from surveys import audit
from surveys.access import person
from surveys.clinic_access import get_administered_study_or_404, get_import_or_404
from surveys.import_forms import MappingForm, StoreForm, UploadForm, mapping_initial
from surveys.import_pages import (
    clinic_imports,
    first_cells,
    first_forms,
    first_mapping,
    first_rejected,
    kept_mappings,
    person_of,
    recognised,
    rejected_cells,
    session_instruments,
    stage_words,
)
from surveys.imports.mapping import Mapping, MappingRefused
from surveys.models import Fields, ImportBatch, Job
from surveys.sentences import translated
from surveys.services.imports import (
    ImportRefused,
    batch_drop,
    check_ask,
    import_upload,
    job_cancel,
    kept_sentences,
    latest_job,
    mapping_set,
    read_head,
    store_ask,
    undo_ask,
)
from surveys.uploads import MAX_FILE, upload_leave
from surveys.views.clinics import own_clinic

PAGE_ROWS = 50


def imports(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    page = Paginator(clinic_imports(clinic), PAGE_ROWS).get_page(request.GET.get("page"))
    return render(request, "imports/list.html", {"clinic": clinic, "page": page})


def upload(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_administered_study_or_404(request.user, study_id)
    form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
    if form.is_valid():
        try:
            batch = import_upload(study=study, name=form.name, pieces=form.pieces, actor=request.user)
            return redirect("import-columns", batch.pk)
        except ImportRefused as refusal:
            form.add_error(refusal.field, str(refusal))
    context = {
        "clinic": study.clinic,
        "study": study,
        "form": form,
        "max_mb": MAX_FILE // 1_000_000,
        "leave": upload_leave(person(request.user)),
    }
    return render(request, "imports/upload.html", context, status=422 if form.errors else 200)


def columns(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """What the columns are; saved, the page of the import shows the first forms as they would be stored."""
    batch = get_import_or_404(request.user, batch_id)
    if not batch.head:
        return redirect("import", batch.pk)
    head = read_head(batch)
    instruments = session_instruments(batch.study)
    kept = kept_mappings(batch, head)
    mapping = first_mapping(batch, head, instruments)
    wished = next((row for row in kept if str(row.pk) == request.GET.get("kept")), None)
    if wished is not None:
        mapping = Mapping.from_dict(wished.mapping)
    form = MappingForm(
        request.POST if request.method == "POST" else None,
        initial=mapping_initial(mapping),
        head=head,
        instruments=instruments,
    )
    if form.is_valid():
        try:
            mapping_set(
                batch=batch, mapping=form.mapping, save_as=form.cleaned_data["save_as"], actor=request.user
            )
            return redirect("import", batch.pk)
        except MappingRefused as refusal:
            form.refuse([(name, translated(problem, _)) for name, problem in refusal.problems])
        except ImportRefused as refusal:
            form.add_error(None, str(refusal))
    context = {
        "clinic": batch.clinic,
        "batch": batch,
        "form": form,
        "kept": kept,
        "samples": first_cells(head),
    }
    return render(request, "imports/columns.html", context, status=422 if form.errors else 200)


def show(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    job = latest_job(batch_id)
    return _page(request, get_import_or_404(request.user, batch_id), StoreForm(), job)


def _page(request: HttpRequest, batch: ImportBatch, form: StoreForm, job: Job | None) -> HttpResponse:
    head = read_head(batch) if batch.head and batch.mapping else None
    rows = first_rejected(batch)
    context = {
        "clinic": batch.clinic,
        "batch": batch,
        "counts": batch.counts,
        "form": form,
        "job": job,
        "stage": stage_words(job.stage) if job else "",
        "first": first_forms(batch, head) if head else [],
        "recognised": recognised(batch, head) if head else [],
        "rejected": rows,
        "n_rejected_shown": sum(row.n for row in rows),
        "refused": [translated(one, _) for one in kept_sentences(batch.counts.get("refused", []))],
        "kept": [translated(one, _) for one in kept_sentences(batch.counts.get("kept", []))],
    }
    return render(request, "imports/import.html", context, status=422 if form.errors else 200)


def _acts(act: Callable[..., None]) -> Callable[..., HttpResponse]:
    """A page whose button does one thing with an import, and shows it again."""

    def view(request: HttpRequest, batch_id: UUID) -> HttpResponse:
        batch = get_import_or_404(request.user, batch_id)
        try:
            act(batch=batch, actor=request.user)
        except ImportRefused as refusal:
            messages.error(request, str(refusal))
        return redirect("import", batch.pk)

    return view


check = _acts(check_ask)
drop = _acts(batch_drop)
undo = _acts(undo_ask)
cancel = _acts(job_cancel)


def store(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    job = latest_job(batch_id)
    batch = get_import_or_404(request.user, batch_id)
    form = StoreForm(request.POST)
    if form.is_valid():
        try:
            store_ask(batch=batch, consent=form.cleaned_data["consent"], actor=request.user)
        except ImportRefused as refusal:
            messages.error(request, str(refusal))
        return redirect("import", batch.pk)
    return _page(request, batch, form, job)


def rejected_file(request: HttpRequest, batch_id: UUID) -> StreamingHttpResponse:
    batch = get_import_or_404(request.user, batch_id)
    return StreamingHttpResponse(
        _lines(rejected_cells(batch)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="rejected.csv"'},
    )


def _lines(rows: Iterator[Sequence[object]]) -> Iterator[str]:
    buffer = io.StringIO("\ufeff")
    buffer.seek(0, io.SEEK_END)
    writer = csv.writer(buffer, lineterminator="\r\n")
    for row in rows:
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def find(request: HttpRequest, batch_id: UUID) -> HttpResponse:
    """Whom a code of the file stands for: a patient who calls may want to see or withdraw what there is."""
    batch = get_import_or_404(request.user, batch_id)
    found = person_of(batch, request.POST.get("code", "").strip())
    audit.record_each(
        "import.find",
        [(batch, {"found": found is not None})],
        actor=request.user,
        clinic=batch.clinic,
        read=Fields.IDENTITY,
    )
    if found is None or found.patient_id is None:
        messages.error(request, _("No patient of an imported file has this code."))
        return redirect("import", batch.pk)
    return redirect("people-patient", found.patient_id)
