"""The pages of the privacy kit, for clinic administrators."""

from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext as _

from alliance_site.kit import papers
from alliance_site.kit.breach import breach
from alliance_site.kit.documents import Paper, markdown
from alliance_site.kit.facts import Facts, facts, study_facts
from surveys.clinic_access import get_administered_study_or_404
from surveys.views.clinics import own_clinic

PAPERS = {
    "record": papers.record,
    "roles": papers.role_matrix,
    "assessment": papers.assessment,
    "breach": breach,
}


def kit(request: HttpRequest) -> HttpResponse:
    known = facts(request.user, own_clinic(request))
    made = [make(known) for make in PAPERS.values()]
    context = {"clinic": known.clinic, "papers": made, "facts": known}
    return render(request, "kit/kit.html", context)


def paper(request: HttpRequest, code: str) -> HttpResponse:
    if code not in PAPERS:
        raise Http404("No such paper.")
    with translation.override(_language(request)):
        known = facts(request.user, own_clinic(request))
        return _answer(request, PAPERS[code](known), known)


def information(request: HttpRequest, study_id: UUID) -> HttpResponse:
    """The sheet for patients of one study, as it is in force."""
    study = get_administered_study_or_404(request.user, study_id)
    if study.current is None:
        raise Http404("The study is not active yet.")
    with translation.override(_language(request)):
        known = facts(request.user, study.clinic)
        return _answer(request, papers.information(known, study_facts(study, study.current)), known)


def _language(request: HttpRequest) -> str:
    """The language asked for, where the site speaks it; the reader's own otherwise."""
    wished = request.GET.get("language", "")
    return wished if wished in dict(settings.LANGUAGES) else translation.get_language() or "en"


def _answer(request: HttpRequest, made: Paper, known: Facts) -> HttpResponse:
    if request.GET.get("as") == "markdown":
        return HttpResponse(
            markdown(made, _("to fill in")),
            content_type="text/markdown; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{made.code}.md"'},
        )
    context = {
        "clinic": known.clinic,
        "paper": made,
        "languages": settings.LANGUAGES,
        "language": translation.get_language(),
    }
    return render(request, "kit/paper.html", context)
