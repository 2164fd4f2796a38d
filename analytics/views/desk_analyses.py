"""Questions asked of frozen data: the list, a new one, the answer, its table, where each number is from."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.formats import date_format, number_format
from django.utils.translation import get_language, get_language_bidi
from django.utils.translation import gettext as _

from analytics import analysis_page, data_words
from analytics.access import get_analysis_or_404
from analytics.analysis_forms import NEW, AnalysisForm
from analytics.analysis_selectors import scale_titles, study_analyses, study_forms, usable_snapshots
from analytics.growth.errors import SpecError
from analytics.models import Analysis, AnalysisLock
from analytics.research import table
from analytics.research import words as say
from analytics.research.refusals import refusal
from analytics.research.spec import study_table
from analytics.research.words import Words
from analytics.services.analyses import JOB, analysis_ask, analysis_cancel
from analytics.services.locks import lock_make
from analytics.services.snapshots import SelectionRefused
from surveys import jobs
from surveys.access import get_study_or_404, person
from surveys.models import Study

FILES = {
    "tex": ("application/x-tex", table.as_tex),
    "html": ("text/html", table.as_html),
}


def words_of_the_page(study: Study) -> Words:
    """As the language of the page has them."""
    return Words(
        translate=_,
        day=lambda day: date_format(day, "DATE_FORMAT"),
        is_rtl=get_language_bidi(),
        digits=lambda value, n: number_format(f"{value:.{n}f}", n),
        titles=scale_titles(study_forms(study), get_language() or "en"),
    )


def _english(study: Study) -> Words:
    """For files, whose contents are English."""
    return Words(titles=scale_titles(study_forms(study)))


def analyses(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    context = {
        "study": study,
        "clinic": study.clinic,
        "analyses": study_analyses(study),
        "why_no_table": _why_no_table(study),
    }
    return render(request, "desk/analyses.html", context)


def _why_no_table(study: Study) -> str:
    """Empty where the study's table can be asked for."""
    try:
        study_table(study_forms(study))
    except SpecError:
        return _(
            "The study’s table needs ratings of the alliance by patients and therapists, and forms of the"
            " therapists about difficulties in practice or feelings in sessions in general. This study does"
            " not ask for them."
        )
    return ""


def new(request: HttpRequest, study_id: UUID) -> HttpResponse:
    study = get_study_or_404(request.user, study_id)
    form = _form(request, study)
    if request.method == "POST" and form.is_valid():
        if request.POST.get("do") == "lock":
            return redirect("desk-lock", _lock(request, study, form).pk)
        try:
            analysis = analysis_ask(
                study=study,
                spec=form.spec,
                title=form.cleaned_data["title"],
                snapshot=form.snapshots.get(form.cleaned_data["snapshot"]),
                actor=person(request.user),
            )
            return redirect("desk-analysis", analysis.pk)
        except SelectionRefused as refused:
            form.add_error(None, data_words.refusal(refused))
    context = {"study": study, "clinic": study.clinic, "form": form}
    return render(request, "desk/analysis_new.html", context, status=422 if form.errors else 200)


def _lock(request: HttpRequest, study: Study, form: AnalysisForm) -> AnalysisLock:
    return lock_make(
        study=study,
        title=form.cleaned_data["title"],
        spec=form.spec,
        exclusions=form.cleaned_data["exclusions"],
        actor=person(request.user),
    )


def _form(request: HttpRequest, study: Study) -> AnalysisForm:
    known, snapshots = study_forms(study), list(usable_snapshots(study))
    names = [
        (
            str(row.pk),
            _("Snapshot %(number)d of %(time)s")
            % {"number": row.number, "time": date_format(row.read_at, "DATETIME_FORMAT")},
        )
        for row in snapshots
        if row.read_at
    ]
    return AnalysisForm(
        request.POST if request.method == "POST" else None,
        initial=AnalysisForm.defaults(known, snapshots),
        forms_of_study=known,
        snapshots=snapshots,
        words=words_of_the_page(study),
        snapshot_words=[*names, (NEW, _("A new snapshot, frozen now"))],
    )


def ask_table(request: HttpRequest, study_id: UUID) -> HttpResponse:
    """The study's table by one click, of the latest snapshot, or of a new one where there is none."""
    study = get_study_or_404(request.user, study_id)
    try:
        spec = study_table(study_forms(study))
        analysis = analysis_ask(
            study=study,
            spec=spec,
            title=_("The study’s table"),
            snapshot=usable_snapshots(study).first(),
            actor=person(request.user),
        )
        return redirect("desk-analysis", analysis.pk)
    except SpecError:
        messages.error(request, _why_no_table(study))
    except SelectionRefused as refused:
        messages.error(request, data_words.refusal(refused))
    return redirect("desk-analyses", study.pk)


def analysis(request: HttpRequest, analysis_id: UUID) -> HttpResponse:
    job = jobs.latest(JOB, analysis_id)
    row = get_analysis_or_404(request.user, analysis_id)
    words = words_of_the_page(row.study)
    context = {
        "study": row.study,
        "clinic": row.study.clinic,
        "analysis": row,
        "job": job,
        "stage": say.stage(job.stage, words) if job else "",
        "cancel_url": reverse("desk-analysis-cancel", args=[row.pk]),
    }
    result = row.result or {}
    if row.status == Analysis.Status.REFUSED:
        found = result["refusal"]
        context["refusal"] = refusal(found["code"], found["values"], words)
    elif row.status:
        context |= analysis_page.page(row, words, request.GET.get("of", ""))
    return render(request, "desk/analysis.html", context)


def cancel(request: HttpRequest, analysis_id: UUID) -> HttpResponse:
    row = get_analysis_or_404(request.user, analysis_id)
    analysis_cancel(analysis=row, actor=person(request.user))
    return redirect("desk-analysis", row.pk)


def trace(request: HttpRequest, analysis_id: UUID, model: str) -> HttpResponse:
    row = _answered_or_404(request, analysis_id)
    context = {"study": row.study, "clinic": row.study.clinic, "analysis": row}
    context |= analysis_page.trace(row, model, words_of_the_page(row.study))
    return render(request, "desk/analysis_trace.html", context)


def table_page(request: HttpRequest, analysis_id: UUID) -> HttpResponse:
    """The table alone, for paper."""
    row = _answered_or_404(request, analysis_id)
    words = words_of_the_page(row.study)
    context = {"study": row.study, "clinic": row.study.clinic, "analysis": row}
    context |= analysis_page.page(row, words, "")
    context |= analysis_page.table_lines(row, words)
    return render(request, "desk/analysis_table.html", context)


def table_file(request: HttpRequest, analysis_id: UUID, ending: str) -> HttpResponse:
    """The table as a file."""
    row = _answered_or_404(request, analysis_id)
    result = row.result or {}
    name = table.file_name(row.study.code, row.number, ending)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if ending == "csv":
        return HttpResponse(table.as_csv(result), content_type="text/csv; charset=utf-8", headers=headers)
    kind, write = FILES[ending]
    words = _english(row.study)
    text = write(result, analysis_page.heading(row, words), words)
    return HttpResponse(text, content_type=f"{kind}; charset=utf-8", headers=headers)


def _answered_or_404(request: HttpRequest, analysis_id: UUID) -> Analysis:
    row = get_analysis_or_404(request.user, analysis_id)
    if row.status != Analysis.Status.ANSWERED:
        raise Http404("There is no answer.")
    return row
