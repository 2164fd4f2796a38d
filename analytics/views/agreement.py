"""The page of a therapist's agreement with their own patients, for their own eyes."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.agreement_chart import agreement_spec
from analytics.agreement_words import difference_sentence, tracking_sentence
from analytics.caseload import FormAgreement, caseload_agreement
from analytics.views.writing import writing_of_the_page
from surveys.access import first_clinic
from surveys.models import Role


@dataclass(frozen=True)
class Block:
    """One form as the page tells it."""

    form: FormAgreement
    difference: str
    tracking: str
    chart: dict[str, Any]
    spec_id: str


def agreement(request: HttpRequest) -> HttpResponse:
    found = caseload_agreement(request.user)
    writing = writing_of_the_page()
    context = {
        "clinic": first_clinic(request.user, Role.THERAPIST),
        "found": found,
        "blocks": [
            Block(
                form,
                difference_sentence(form.agreement, writing),
                tracking_sentence(form.agreement, writing),
                agreement_spec(form.agreement, writing=writing),
                f"chart-spec-{number}",
            )
            for number, form in enumerate(found.forms, start=1)
        ],
    }
    return render(request, "analytics/agreement.html", context)
