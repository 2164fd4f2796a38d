"""The pages of what a therapist said of their own practice: their own, and those that a supervisor was let
see."""

from uuid import UUID

import vl_convert
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from analytics.look import PICTURE
from analytics.practice import Practice, practice
from analytics.practice_page import PLANE, mirror
from analytics.views.writing import writing_of_the_page
from surveys.access import own_practices
from surveys.models import Therapist
from surveys.practice_access import (
    get_readable_practice_or_404,
    get_shared_practice_or_404,
    is_supervisor_today,
    shared_practices,
)


def own(request: HttpRequest) -> HttpResponse:
    """Of a therapist in several clinics: the chosen one, else the one that was there first."""
    practices = list(own_practices(request.user).select_related("clinic", "supervisor").order_by("pk"))
    chosen = request.GET.get("therapist", "")
    therapist = next((row for row in practices if chosen in ("", str(row.pk))), None)
    if therapist is None:
        raise Http404("No such practice.")
    context = _context(request, therapist, practice(request.user, therapist))
    context |= {
        "is_own": True,
        "elsewhere": [row for row in practices if row != therapist],
        "has_supervisor_today": is_supervisor_today(therapist),
    }
    return render(request, "analytics/practice.html", context)


def shared(request: HttpRequest) -> HttpResponse:
    rows = shared_practices(request.user).select_related("clinic", "user").order_by("code")
    context = {"practices": rows, "clinic": next((row.clinic for row in rows), None)}
    return render(request, "analytics/shared_practices.html", context)


def supervisee(request: HttpRequest, therapist_id: UUID) -> HttpResponse:
    therapist = get_shared_practice_or_404(request.user, therapist_id)
    return render(
        request, "analytics/practice.html", _context(request, therapist, practice(request.user, therapist))
    )


def chart(request: HttpRequest, therapist_id: UUID) -> HttpResponse:
    """One of the pictures, for a browser without script."""
    therapist = get_readable_practice_or_404(request.user, therapist_id)
    charts = mirror(practice(request.user, therapist), writing_of_the_page(), PICTURE).charts
    spec = charts.get(request.GET.get("of", ""))
    if spec is None:
        raise Http404("There is no such picture.")
    width = 420 if request.GET["of"] == PLANE else 360
    return HttpResponse(vl_convert.vegalite_to_svg({**spec, "width": width}), content_type="image/svg+xml")


def _context(request: HttpRequest, therapist: Therapist, found: Practice) -> dict[str, object]:
    return {
        "clinic": therapist.clinic,
        "therapist": therapist,
        "mirror": mirror(found, writing_of_the_page()),
        "plane_key": PLANE,
    }
