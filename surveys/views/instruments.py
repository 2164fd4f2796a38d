"""The administrator's pages about forms: what there is, what a form looks like, upload, licences."""

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext

from surveys.clinic_access import clinic_instruments, get_instrument_or_404
from surveys.instrument_forms import InstrumentUpload, LicenceForm
from surveys.licences import form_versions, licence_register, licences_that_count, standing
from surveys.packs import MAX_FILE_BYTES, InstrumentFile, InstrumentFileError, UnreadableFileError, parse
from surveys.scoring import PREFER_NOT
from surveys.sentences import translated
from surveys.services.instruments import instrument_check, instrument_upload
from surveys.services.licences import licence_record
from surveys.views.cards import cards_of
from surveys.views.clinics import own_clinic


def instrument_list(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    versions = form_versions(clinic, clinic_instruments(clinic), timezone.localdate())
    return render(request, "surveys/instruments.html", {"clinic": clinic, "versions": versions})


def instrument(request: HttpRequest, instrument_id: UUID) -> HttpResponse:
    """A form as its rater sees it; nothing can be sent from here."""
    clinic = own_clinic(request)
    row = get_instrument_or_404(clinic, instrument_id)
    today = timezone.localdate()
    same_form = clinic_instruments(clinic).filter(
        code=row.code, rater=row.rater, version=row.version, clinic=row.clinic
    )
    context = _preview(row.form) | {
        "clinic": clinic,
        "instrument": row,
        "reversed": [item.number for item in row.form.items if item.reverse],
        "languages": same_form.order_by("language"),
        "standing": standing(row, licences_that_count(clinic), today),
    }
    return render(request, "surveys/instrument.html", context)


def instrument_file(request: HttpRequest, instrument_id: UUID) -> HttpResponse:
    form = get_instrument_or_404(own_clinic(request), instrument_id).form
    name = f"{form.code}.{form.rater}.{form.language}.{form.version}.toml"
    return HttpResponse(
        form.to_toml(),
        content_type="application/toml; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def upload(request: HttpRequest) -> HttpResponse:
    """First the file is checked and shown as a preview, then its text comes back to be added."""
    clinic = own_clinic(request)
    sent = InstrumentUpload(request.POST, request.FILES) if request.method == "POST" else InstrumentUpload()
    context: dict[str, object] = {"clinic": clinic, "form": sent, "max_kb": MAX_FILE_BYTES // 1000}
    if not sent.is_valid():
        status = 422 if sent.is_bound else 200
        return render(request, "surveys/instrument_upload.html", context, status=status)
    data = sent.data_sent
    try:
        form = parse(data)
        if sent.is_to_be_added:
            row = instrument_upload(clinic=clinic, actor=request.user, form=form)
            return redirect(reverse("instrument", args=[row.pk]) + "?added=1")
        instrument_check(clinic=clinic, form=form)
    except InstrumentFileError as error:
        status = 415 if isinstance(error, UnreadableFileError) else 422
        context["problems"] = [translated(problem, gettext) for problem in error.problems]
        return render(request, "surveys/instrument_upload.html", context, status=status)
    context |= _preview(form) | {"content": data.decode("utf-8-sig")}
    return render(request, "surveys/instrument_upload.html", context)


def _preview(form: InstrumentFile) -> dict[str, object]:
    return {"questionnaire": form, "cards": cards_of(form), "prefer_not": PREFER_NOT}


def licences(request: HttpRequest) -> HttpResponse:
    clinic = own_clinic(request)
    codes = sorted(set(clinic_instruments(clinic).values_list("code", flat=True)))
    form = LicenceForm(
        request.POST or None, codes=codes, initial={"code": request.GET.get("code"), "language": "en"}
    )
    if request.method == "POST" and form.is_valid():
        licence_record(clinic=clinic, actor=request.user, **form.cleaned_data)
        return redirect(reverse("licences") + "?recorded=1")
    context = {
        "clinic": clinic,
        "form": form,
        "records": licence_register(clinic, timezone.localdate()),
        "is_recorded": "recorded" in request.GET and not form.errors,
    }
    return render(request, "surveys/licences.html", context, status=422 if form.errors else 200)
