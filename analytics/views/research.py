"""The researcher's way to the data: studies, their codebook, the download."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.export.codebook import columns
from analytics.export.composites import composite_columns
from surveys.access import get_study_or_404, visible_studies
from surveys.selectors import n_left_out, stored_imports, study_counts, study_instruments, with_counts


def studies(request: HttpRequest) -> HttpResponse:
    return render(request, "analytics/studies.html", {"studies": with_counts(visible_studies(request.user))})


def codebook(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    context = {
        "study": study,
        "clinic": study.clinic,
        "columns": columns(study),
        "composite_columns": composite_columns(),
        "counts": study_counts(study),
        "n_left_out": n_left_out(study),
        "instruments": study_instruments(study),
        "imports": stored_imports(study),
    }
    return render(request, "analytics/codebook.html", context)
