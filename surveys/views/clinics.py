"""In which clinic somebody works who administers several."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from surveys.access import administered_clinics, get_administered_clinic_or_404
from surveys.models import Clinic

CHOSEN = "clinic"


def own_clinic(request: HttpRequest) -> Clinic:
    """The clinic that the administrator works in until they choose another or sign out."""
    return get_administered_clinic_or_404(request.user, request.session.get(CHOSEN, ""))


def choose(request: HttpRequest) -> HttpResponse:
    """What the session holds is a wish: every page asks anew whether the clinic is still administered."""
    if request.method == "POST":
        wish = request.POST.get("clinic", "")
        if str(get_administered_clinic_or_404(request.user, wish).pk) != wish:
            raise Http404("No such clinic.")
        request.session[CHOSEN] = wish
        return redirect("admin-home")
    context = {"clinic": own_clinic(request), "clinics": administered_clinics(request.user).order_by("name")}
    return render(request, "people/clinics.html", context)
