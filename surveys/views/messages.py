"""How a patient's form reaches the patient, for staff: QR code, slip, e-mail, and what was sent.

A token stands in one kind of answer alone: the page with the QR code, for the patient in the room, which is
made when somebody asks for it and is in the trace. It is a decision, not an oversight: a form right after
the session needs a way onto the patient's own phone (docs/messages.md).
"""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys.access import get_patient_form_or_404
from surveys.mail import mail_language, masked
from surveys.message_log import clinic_messages, form_messages, n_live_links
from surveys.models import Assignment, FormLink
from surveys.qr import qr_image
from surveys.services.invitations import LinkRefused, link_issue, link_url, links_revoke
from surveys.services.messages import MessageRefused, link_refusal, message_request, sending_refusal
from surveys.views.clinics import own_clinic
from surveys.views.notices import see_other

PAGE_ROWS = 50


def form_links(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    return _page(request, get_patient_form_or_404(request.user, assignment_id))


def screen(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    return _handed_over(request, assignment_id, FormLink.Via.SCREEN)


def paper(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    return _handed_over(request, assignment_id, FormLink.Via.PAPER)


def mail(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    form = get_patient_form_or_404(request.user, assignment_id)
    try:
        message_request(form=form, actor=request.user)
    except MessageRefused as refusal:
        return _page(request, form, str(refusal))
    messages.success(request, _("The e-mail is on its way. Below you see in a moment whether it was sent."))
    return see_other("form-links", form.pk)


def revoke(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    form = get_patient_form_or_404(request.user, assignment_id)
    n_links = links_revoke(form=form, actor=request.user)
    words = ngettext("{n} link was ended.", "{n} links were ended.", n_links).format(n=n_links)
    messages.success(request, words if n_links else _("There was no link to end."))
    return see_other("form-links", form.pk)


def clinic_log(request: HttpRequest) -> HttpResponse:
    """What was sent to the patients of the clinic, and what became of it and of the form."""
    clinic = own_clinic(request)
    code = request.GET.get("code", "").strip()[:20]
    pages = Paginator(clinic_messages(clinic, code), PAGE_ROWS)
    context = {"clinic": clinic, "page": pages.get_page(request.GET.get("page")), "code": code}
    return render(request, "people/messages.html", {**context, "now": timezone.now()})


def _page(request: HttpRequest, form: Assignment, refusal: str = "") -> HttpResponse:
    therapy = form.session.therapy if form.session else None
    context = {
        "form": form,
        "therapy": therapy,
        "clinic": form.study.clinic,
        "contact": masked(therapy.patient.contact) if therapy and therapy.patient.contact else "",
        "letters": form_messages(form),
        "now": timezone.now(),
        "n_links": n_live_links(form),
        "no_mail": sending_refusal(form),
        "no_link": link_refusal(form),
        "mail_stays_here": settings.MAIL_STAYS_HERE,
        "refusal": refusal,
    }
    return render(request, "surveys/form_links.html", context, status=409 if refusal else 200)


def _handed_over(request: HttpRequest, assignment_id: UUID, via: FormLink.Via) -> HttpResponse:
    """A new link as a QR code, in the patient's words; the two sentences for staff are in theirs."""
    form = get_patient_form_or_404(request.user, assignment_id)
    refusal = link_refusal(form)
    if refusal or form.session is None:
        return _page(request, form, refusal)
    try:
        url = link_url(link_issue(assignment=form, via=via, actor=request.user))
    except LinkRefused as error:
        return _page(request, form, str(error))
    context = {
        "form": form,
        "clinic": form.study.clinic,
        "qr": qr_image(url),
        "minutes": form.instrument.form.minutes,
        "staff_language": translation.get_language(),
        "back": _("Back to the form’s page"),
        "hint": _("This code is shown once. Print this page now, or make another slip later."),
        "is_patient_page": True,
    }
    template = "surveys/form_slip.html" if via == FormLink.Via.PAPER else "surveys/form_qr.html"
    with translation.override(mail_language(form.session.therapy.patient)):
        return render(request, template, context)
