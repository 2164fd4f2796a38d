"""The researcher's studies, and what every column of their data means."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.export.composites import composites_table
from analytics.export.tiers import ENDED_WEEK, N_TOGETHER, is_in_scores
from analytics.frozen import MISSING, tables
from surveys.access import get_study_or_404, visible_studies
from surveys.selectors import n_left_out, stored_imports, study_counts, study_instruments, with_counts


def studies(request: HttpRequest) -> HttpResponse:
    return render(request, "analytics/studies.html", {"studies": with_counts(visible_studies(request.user))})


def codebook(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    instruments = list(study_instruments(study))
    context = {
        "study": study,
        "clinic": study.clinic,
        "tables": [
            (table, [(column, is_in_scores(column)) for column in table.columns])
            for table in (*tables([row.form for row in instruments]), composites_table())
        ],
        "only_scores": (("therapies", ENDED_WEEK), ("therapists", N_TOGETHER)),
        "missing": MISSING,
        "counts": study_counts(study),
        "n_left_out": n_left_out(study),
        "instruments": instruments,
        "imports": stored_imports(study),
    }
    return render(request, "desk/codebook.html", context)
