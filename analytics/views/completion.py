"""The clinic's completion page: how many forms come in, from whom and when; never what is in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import vl_convert
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.completion import PERIODS, Completion, Period, completed_studies, share_of, study_completion
from analytics.completion_chart import completion_spec
from analytics.disclosure import MIN_PATIENTS, MIN_THERAPISTS, Share
from analytics.look import PICTURE
from analytics.panel_selectors import clinic_panels
from analytics.views.writing import writing_of_the_page
from surveys.clinic_access import CHOSEN_CLINIC, get_administered_clinic_or_404
from surveys.completion import LATEST
from surveys.models import Clinic, Study

PAGE_ROWS = 50


@dataclass(frozen=True)
class Choice:
    """Of which study and period; the address holds it. No study where none was ever in force."""

    clinic: Clinic
    studies: list[Study]
    study: Study | None
    period: Period

    @classmethod
    def of(cls, request: HttpRequest) -> "Choice":
        """Raises Http404 for another clinic's study, and for a period that there is not."""
        clinic = get_administered_clinic_or_404(request.user, request.session.get(CHOSEN_CLINIC, ""))
        studies = list(completed_studies(request.user, clinic))
        wish = request.GET.get("study", str(studies[0].pk) if studies else "")
        study = next((row for row in studies if str(row.pk) == wish), None)
        period = PERIODS.get(request.GET.get("period", "90d"))
        if period is None or (study is None and wish):
            raise Http404("There is no such study or period.")
        return cls(clinic, studies, study, period)


@dataclass(frozen=True)
class Facet:
    """The forms of one rater and questionnaire by session number: a picture and its table."""

    rater: str
    code: str
    shares: Mapping[int, Share]
    query: str
    chart: dict[str, object] | None

    @property
    def spec_id(self) -> str:
        return f"spec-{self.rater}-{self.code}"


def _facets(found: Completion, study: Study, period: Period) -> list[Facet]:
    facets = []
    for (rater, code), numbers in found.by_session.items():
        # Sessions whose forms are all asked for no more have nothing to say.
        shares = {number: share_of(forms) for number, forms in numbers.items() if forms.n_asked}
        query = urlencode({"study": str(study.pk), "period": period.code, "rater": rater, "form": code})
        is_drawn = any(share.n for share in shares.values())
        spec = completion_spec(rater, shares, writing=writing_of_the_page()) if is_drawn else None
        if shares:
            facets.append(Facet(rater, code, shares, query, spec))
    return facets


def _therapists(request: HttpRequest, choice: Choice, found: Completion) -> dict[str, object]:
    """One page of the lines by therapist, of all or of those with these letters in their code."""
    assert choice.study is not None, "counted of a study"
    code = request.GET.get("code", "").strip()[:20]
    query = {"study": str(choice.study.pk), "period": choice.period.code, "code": code}
    return {
        "code": code,
        "therapists": Paginator(found.therapists_of(code), PAGE_ROWS).get_page(request.GET.get("page")),
        "list_query": urlencode(query),
    }


def page(request: HttpRequest) -> HttpResponse:
    choice = Choice.of(request)
    context: dict[str, object] = {
        "clinic": choice.clinic,
        "choice": choice,
        "periods": PERIODS.values(),
        "min_patients": MIN_PATIENTS,
        "min_therapists": MIN_THERAPISTS,
        "latest": LATEST,
    }
    if choice.study is not None:
        context["tiles"] = clinic_panels(request.user, choice.study)
        found = study_completion(choice.study, choice.period)
        if found is not None:
            context |= {
                "found": found,
                "facets": _facets(found, choice.study, choice.period),
                **_therapists(request, choice, found),
            }
    return render(request, "analytics/completion.html", context)


def chart(request: HttpRequest) -> HttpResponse:
    """One of its pictures, for a browser without script and for print."""
    choice = Choice.of(request)
    if choice.study is None:
        raise Http404("There is nothing to draw.")
    found = study_completion(choice.study, choice.period)
    if found is None:
        raise Http404("It is still being counted.")
    numbers = found.by_session.get((request.GET.get("rater", ""), request.GET.get("form", "")), {})
    shares = {number: share_of(forms) for number, forms in numbers.items()}
    if not any(share.n for share in shares.values()):
        raise Http404("There is nothing to draw yet.")
    spec = completion_spec(request.GET["rater"], shares, colours=PICTURE, writing=writing_of_the_page())
    return HttpResponse(vl_convert.vegalite_to_svg({**spec, "width": 480}), content_type="image/svg+xml")
