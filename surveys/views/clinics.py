"""The clinic itself: its name and contact, and in which one somebody works who administers several."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from surveys.access import administered_clinics
from surveys.clinic_access import CHOSEN_CLINIC, get_administered_clinic_or_404
from surveys.models import Clinic
from surveys.people_forms import ClinicForm
from surveys.services.people import clinic_describe
from surveys.services.roles import PeopleRefused


def own_clinic(request: HttpRequest) -> Clinic:
    """The clinic that the administrator works in until they choose another or sign out."""
    return get_administered_clinic_or_404(request.user, request.session.get(CHOSEN_CLINIC, ""))


def describe(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    form = ClinicForm(
        request.POST if request.method == "POST" else None,
        initial={"name": clinic.name, "contact": clinic.contact},
    )
    if form.is_valid():
        try:
            clinic_describe(clinic=clinic, actor=request.user, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("admin-home")
        except PeopleRefused as refusal:
            form.add_error(refusal.field, str(refusal))
    context = {"clinic": clinic, "form": form}
    return render(request, "people/clinic.html", context, status=422 if form.errors else 200)


def choose(request: HttpRequest) -> HttpResponse:
    """What the session holds is a wish: every page asks anew whether the clinic is still administered."""
    if request.method == "POST":
        wish = request.POST.get("clinic", "")
        if str(get_administered_clinic_or_404(request.user, wish).pk) != wish:
            raise Http404("No such clinic.")
        request.session[CHOSEN_CLINIC] = wish
        return redirect("admin-home")
    context = {"clinic": own_clinic(request), "clinics": administered_clinics(request.user).order_by("name")}
    return render(request, "people/clinics.html", context)
