"""What a patient's own device keeps to bridge a lost connection: one page without any answer."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from surveys.views.wording import speak


def page(request: HttpRequest) -> HttpResponse:
    speak(request.GET.get("language", ""))
    return render(request, "surveys/offline.html", {"is_patient_page": True})


def worker(request: HttpRequest) -> HttpResponse:
    """The script that shows that page; its address under /f/ keeps it away from all other pages."""
    speak(request.GET.get("language", ""))
    return render(request, "surveys/worker.js", content_type="text/javascript")
