"""The pages of the trace: an administrator's of the clinic, and everybody's of their own acts."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from surveys.trace_access import Part, Wish, clinic_trace, own_trace, trace_people
from surveys.trace_forms import TraceForm
from surveys.views.clinics import own_clinic

PAGE_ROWS = 50


def clinic(request: HttpRequest) -> HttpResponse:
    place = own_clinic(request)
    form = TraceForm(request.GET, people=trace_people(place))
    return _page(request, form, lambda wish: clinic_trace(request.user, place, wish, PAGE_ROWS), clinic=place)


def own(request: HttpRequest) -> HttpResponse:
    form = TraceForm(request.GET, people=None)
    return _page(request, form, lambda wish: own_trace(request.user, wish, PAGE_ROWS), is_own=True)


def _page(
    request: HttpRequest, form: TraceForm, rows: Callable[[Wish], Part], **context: object
) -> HttpResponse:
    """A choice that is not understood shows nothing but what is wrong with it."""
    part = rows(form.wish()) if form.is_valid() else Part([], None)
    older = request.GET.copy()
    older["before"] = str(part.before or "")
    newest = request.GET.copy()
    newest.pop("before", None)
    context |= {
        "form": form,
        "part": part,
        "older": older.urlencode() if part.before else "",
        "newest": newest.urlencode(),
        "is_chosen": any(value for value in newest.values()),
        "now": timezone.now(),
    }
    return render(request, "people/trace.html", context, status=200 if form.is_valid() else 422)
