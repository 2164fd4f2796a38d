"""The session log of a therapy, kept by its therapist or by reception: entering, correcting, and saying
that one gives no rating."""

from datetime import datetime, timedelta
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys.access import (
    get_logged_session_or_404,
    get_logged_therapy_or_404,
    get_own_session_or_404,
    is_own,
)
from surveys.changes import LogChange
from surveys.forms import SessionForm
from surveys.models import Session, Therapy
from surveys.selectors import logged_sessions
from surveys.services.sessions import LogRefused, rating_decline, session_close, session_correct
from surveys.views.clinics import own_clinic
from surveys.views.notices import see_other
from surveys.worklist import caseload_rows, clinic_caseload, entered_before, log_change, unrated_forms

PAGE_ROWS = 50
# A session is mostly entered right after it; half an hour back, the full hour is when it began.
SINCE_START = timedelta(minutes=30)


def reception(request: HttpRequest) -> HttpResponse:
    code, is_all = request.GET.get("code", "").strip()[:20], "all" in request.GET
    clinic = own_clinic(request)
    found = clinic_caseload(request.user, clinic, code, is_all)
    page = Paginator(found, PAGE_ROWS).get_page(request.GET.get("page"))
    context = {
        "clinic": clinic,
        "page": page,
        "therapies": caseload_rows(found[max(0, page.start_index() - 1) : page.end_index()]),
        "code": code,
        "is_all": is_all,
    }
    return render(request, "surveys/reception.html", context)


def log(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """The log, and the entry of a session that took place or did not."""
    therapy = get_logged_therapy_or_404(request.user, therapy_id)
    # Into the log of a therapy that has ended nothing of today is entered.
    initial = {"held_at": None if therapy.ended_on else _started(), "status": Session.Status.HELD}
    form = SessionForm(request.POST or None, therapy=therapy, initial=initial)
    if request.method == "POST":
        change = _enter(request, therapy, form)
        if change is not None:
            return _told(therapy, change)
    context = {
        **_about(request, therapy),
        "form": form,
        "sessions": logged_sessions(therapy),
        "change": None if form.errors else log_change(therapy, request.GET.get("change", "")),
    }
    return render(request, "surveys/session_log.html", context, status=422 if form.errors else 200)


def today(request: HttpRequest, therapy_id: UUID) -> HttpResponse:
    """The second of two taps: a session that was held just now, its time already filled in."""
    therapy = get_logged_therapy_or_404(request.user, therapy_id)
    data = {"held_at": request.POST.get("held_at", ""), "status": Session.Status.HELD}
    form = SessionForm(
        data if request.method == "POST" else None, therapy=therapy, initial={"held_at": _started()}
    )
    if request.method == "POST":
        change = _enter(request, therapy, form)
        if change is not None:
            return _told(therapy, change)
    context = {**_about(request, therapy), "form": form}
    return render(request, "surveys/session_today.html", context, status=422 if form.errors else 200)


def correct(request: HttpRequest, session_id: UUID) -> HttpResponse:
    session = get_logged_session_or_404(request.user, session_id)
    initial = {"held_at": session.held_at, "status": session.status, "reason": session.reason}
    form = SessionForm(request.POST or None, therapy=session.therapy, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            typed = form.cleaned_data
            change = session_correct(
                session=session,
                held_at=_kept_seconds(typed["held_at"], session),
                status=typed["status"],
                reason=typed["reason"],
                actor=request.user,
            )
            return _told(session.therapy, change)
        except LogRefused as refusal:
            form.add_error(refusal.field, str(refusal))
    context = {
        **_about(request, session.therapy),
        "session": session,
        "forms": session.assignments.select_related("instrument").order_by("-rater", "instrument__code"),
        "form": form,
    }
    return render(request, "surveys/session_correct.html", context, status=422 if form.errors else 200)


def no_rating(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """The therapist says that they give no rating of their own for this session."""
    session = get_own_session_or_404(request.user, session_id)
    if request.method == "POST":
        n_declined = rating_decline(session=session, actor=request.user)
        if n_declined:
            words = _("You give no rating of session {number}.").format(number=session.number)
        else:
            words = _("Your forms about this session were received or declined before. Nothing has changed.")
        messages.success(request, words)
        return see_other("session-log", session.therapy_id)
    context = {**_about(request, session.therapy), "session": session, "forms": unrated_forms(session)}
    return render(request, "surveys/no_rating.html", context)


def _about(request: HttpRequest, therapy: Therapy) -> dict[str, object]:
    return {
        "therapy": therapy,
        "clinic": therapy.therapist.clinic,
        "is_own": is_own(request.user, therapy),
        "now": timezone.now(),
    }


def _started() -> datetime:
    return (timezone.localtime() - SINCE_START).replace(minute=0, second=0, microsecond=0)


def _enter(request: HttpRequest, therapy: Therapy, form: SessionForm) -> LogChange | None:
    if not form.is_valid():
        return None
    try:
        return session_close(therapy=therapy, actor=request.user, **form.cleaned_data)
    except LogRefused as refusal:
        before = entered_before(therapy, request.user, **form.cleaned_data)
        if before is None:
            form.add_error(refusal.field, str(refusal))
        return before


def _told(therapy: Therapy, change: LogChange) -> HttpResponse:
    return see_other("session-log", therapy.pk, f"?change={change.event.pk}" if change.event else "")


def _kept_seconds(typed: datetime, session: Session) -> datetime:
    """The field shows no seconds: a time that was left as it was shown is the time that was stored."""
    is_same = typed == session.held_at.replace(second=0, microsecond=0)
    return session.held_at if is_same else typed
