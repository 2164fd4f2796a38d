"""From a link, or a therapist's to-do list, through the form to the receipt."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from surveys.access import (
    SEND_GRACE,
    Link,
    LinkState,
    browser_hash,
    form_state,
    get_link,
    get_opening_or_404,
)
from surveys.browsers import (
    browser_secret,
    count_miss,
    device_class,
    keep_browser_secret,
    new_browser_secret,
    seal_key,
)
from surveys.forms import ANYWAY, BadField, OutdatedForm, SentForm, kept_fields, read_answers, read_form
from surveys.models import Assignment, Opening, Rater, Sharing, StudyVersion
from surveys.scoring import PREFER_NOT
from surveys.selectors import OPEN, form_progress, todo_forms
from surveys.services.responses import (
    AlreadyReceived,
    DifferentAnswers,
    FormClosed,
    Paradata,
    Refusal,
    WrongKey,
    drafts_clear,
    drafts_save,
    form_open,
    response_submit,
)
from surveys.views.cards import cards_of

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponse]

BLIND = StudyVersion.Visibility.BLIND
WHO_SEES_PATIENT = {
    BLIND: "Your therapist will never see your answers.",
    StudyVersion.Visibility.DELAYED: (
        "While the therapy goes on, your therapist sees nothing of this. "
        "After its end they see what you allow on the form."
    ),
    StudyVersion.Visibility.FEEDBACK: (
        "Your therapist sees what you allow on the form, "
        "once they have given their own rating of the same session."
    ),
}
WHO_SEES_THERAPIST = (
    "Your patient does not see your answers. Your supervisor sees only that the form is done."
)
SHARING_LABELS = {
    Sharing.NONE: "Nothing: only that I have sent the form",
    Sharing.SCORES: "My result in numbers, but not the single answers",
    Sharing.ANSWERS: "My result and each of my answers",
}


@dataclass(frozen=True)
class Notice:
    """A page in place of the form: what happened, and what to do next."""

    status: int
    title: str
    sentence: str


NOTICES: dict[LinkState | type[Exception], Notice] = {
    LinkState.RECEIVED: Notice(200, "Your form was received", "There is nothing more to do."),
    LinkState.EXPIRED: Notice(
        410, "This form is closed", "The time for filling it in is over. Nothing is expected of you now."
    ),
    LinkState.WITHDRAWN: Notice(200, "Thank you, there is nothing to do", "This form is no longer needed."),
    LinkState.UNKNOWN: Notice(
        404,
        "This link leads to no form",
        "Part of it may have been lost on the way: open it from the message itself, or copy the whole line. "
        "If you were sent more than one link, use the newest.",
    ),
    BadField: Notice(
        400,
        "This form could not be read",
        "Nothing was stored. Go back, reload the page and send it again.",
    ),
    OutdatedForm: Notice(
        409, "The form has changed", "Nothing was stored. Go back, reload the page and send it again."
    ),
    WrongKey: Notice(
        409,
        "This page is not the one that was opened last",
        "Nothing was stored. Go back, reload the page and send it again.",
    ),
    DifferentAnswers: Notice(
        422,
        "This form was sent before",
        "The answers that came first are kept; those of this page were not stored.",
    ),
    AlreadyReceived: Notice(
        409,
        "This form was received before",
        "It was sent from another device. The answers of this page were not stored.",
    ),
    FormClosed: Notice(
        409,
        "This form is closed",
        "Its time is over, or it is no longer needed. The answers of this page were not stored.",
    ),
}
TOO_MANY_MISSES = Notice(
    429, "Too many links that lead nowhere", "Wait ten minutes, then open the link from the message itself."
)


def link(request: HttpRequest, token: str) -> HttpResponse:
    """The start page; only its button (POST) opens the form, so that mail scanners change nothing."""
    found = get_link(token, timezone.now())
    if found.assignment is None:
        return _unknown_link(request)
    if found.state is not LinkState.OPEN:
        return _link_state(request, found)
    if request.method == "POST":
        return _start(request, found.assignment)
    return render(request, "surveys/start.html", _start_page(request, found.assignment))


def form(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    state = form_state(opening.assignment, timezone.now())
    if state is LinkState.RECEIVED:
        return see_other("form-receipt", assignment_id)
    if state is not LinkState.OPEN:
        return notice_page(request, NOTICES[state], opening.assignment)
    return render(request, "surveys/form.html", _form_page(request, opening))


def _survives_lost_database(view: View) -> View:
    """A database that is away for a moment costs nobody their answers: the page offers to send them again."""

    @wraps(view)
    def guarded(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
        try:
            return view(request, assignment_id)
        except (OperationalError, InterfaceError):
            logger.exception("The database was lost while a form was sent.")
        context = {"kept": kept_fields(request.POST), "is_patient_page": True}
        response = render(request, "surveys/unavailable.html", context, status=503)
        response.headers["Retry-After"] = "10"
        return response

    return guarded


@_survives_lost_database
def answers(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    try:
        given = read_answers(request.POST, request.FILES, opening.assignment.instrument)
        drafts_save(opening=opening, answers=given)
    except (BadField, Refusal) as error:
        return _refused(request, opening, error)
    return HttpResponse(status=204)


def restart(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    drafts_clear(opening=opening)
    return see_other("form", assignment_id)


@_survives_lost_database
def send(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    kept = kept_fields(request.POST)
    if kept and not request.user.is_authenticated and not browser_secret(request):
        return _signed_out(request, kept)
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    try:
        sent = read_form(request.POST, request.FILES, opening.assignment.instrument)
        if not sent.is_anyway and _is_incomplete(opening, sent):
            drafts_save(opening=opening, answers=sent.answers, sharing=sent.sharing)
            return see_other("form", assignment_id, "?open=1")
        response_submit(
            opening=opening,
            answers=sent.answers,
            sharing=(sent.sharing if _asks_sharing(opening.assignment) else None) or Sharing.NONE,
            client_key=sent.key,
            paradata=_paradata(request, opening),
            actor=request.user if opening.assignment.rater == Rater.THERAPIST else None,
        )
    except (BadField, OutdatedForm, Refusal) as error:
        return _refused(request, opening, error)
    return see_other("form-receipt", assignment_id)


def receipt(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    assignment = opening.assignment
    if form_state(assignment, timezone.now()) is not LinkState.RECEIVED:
        return see_other("form", assignment_id)
    if not _is_own(opening):
        return notice_page(request, NOTICES[LinkState.RECEIVED], assignment, received=assignment.response)
    context = {**_about(assignment), "response": assignment.response}
    if assignment.rater == Rater.THERAPIST:
        context["next_form"] = todo_forms(request.user).first()
        context["is_revealed"] = _is_revealed(assignment)
    return render(request, "surveys/receipt.html", context)


def see_other(route: str, row_id: UUID, query: str = "") -> HttpResponse:
    """On to a page by GET, so that a reload never sends a form twice."""
    return HttpResponseRedirect(reverse(route, args=[row_id]) + query, status=303)


def notice_page(
    request: HttpRequest, notice: Notice, assignment: Assignment | None, **context: object
) -> HttpResponse:
    about = _about(assignment) if assignment else {"is_patient_page": True}
    return render(
        request, "surveys/notice.html", {**about, "notice": notice, **context}, status=notice.status
    )


def _start(request: HttpRequest, assignment: Assignment) -> HttpResponse:
    secret = browser_secret(request) or new_browser_secret()
    try:
        form_open(
            assignment_id=assignment.pk,
            browser_hash=browser_hash(AnonymousUser(), secret),
            device=device_class(request),
        )
    except FormClosed:
        return notice_page(request, NOTICES[LinkState.EXPIRED], assignment)
    response = see_other("form", assignment.pk)
    keep_browser_secret(response, secret)
    return response


def _signed_out(request: HttpRequest, kept: dict[str, str]) -> HttpResponse:
    """A therapist's sitting ended, or a browser forgot its cookie, in the middle of a form: nothing typed is
    lost by it."""
    context = {"kept": kept, "is_patient_page": True}
    return render(request, "surveys/signed_out.html", context, status=403)


def _is_own(opening: Opening) -> bool:
    """Whether this browser sent the form; with a forwarded link others may have opened it, too."""
    return opening.client_key == opening.assignment.response.client_key


def _unknown_link(request: HttpRequest) -> HttpResponse:
    wait = count_miss(request)
    response = notice_page(request, TOO_MANY_MISSES if wait else NOTICES[LinkState.UNKNOWN], None)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _link_state(request: HttpRequest, found: Link) -> HttpResponse:
    """A link holder learns the day of receipt; the code is for the browser that sent the form."""
    context: dict[str, object] = {}
    if found.assignment is not None and found.state is LinkState.RECEIVED:
        opening = _opening_here(request, found.assignment)
        context = {
            "received": found.assignment.response,
            "is_own": opening is not None and _is_own(opening),
        }
    return notice_page(request, NOTICES[found.state], found.assignment, **context)


def _refused(request: HttpRequest, opening: Opening, error: Exception) -> HttpResponse:
    context: dict[str, object] = {"back": reverse("form", args=[opening.assignment_id])}
    if isinstance(error, BadField | OutdatedForm):
        context["reason"] = str(error)
    if isinstance(error, AlreadyReceived | DifferentAnswers):
        context = {"received": opening.assignment.response, "is_own": _is_own(opening)}
    return notice_page(request, NOTICES[type(error)], opening.assignment, **context)


def _about(assignment: Assignment) -> dict[str, object]:
    """What every page of a form knows."""
    is_patient_page = assignment.rater == Rater.PATIENT
    return {
        "assignment": assignment,
        "clinic": assignment.study.clinic,
        "questionnaire": assignment.instrument.form,
        "minutes": max(1, round(len(assignment.instrument.form.items) / 4)),
        "is_patient_page": is_patient_page,
        "who_sees": WHO_SEES_PATIENT[StudyVersion.Visibility(assignment.version.visibility)]
        if is_patient_page
        else WHO_SEES_THERAPIST,
    }


def _opening_here(request: HttpRequest, assignment: Assignment) -> Opening | None:
    """What this browser began of a patient's form."""
    try:
        return get_opening_or_404(AnonymousUser(), browser_secret(request), assignment.pk)
    except Http404:
        return None


def _start_page(request: HttpRequest, assignment: Assignment) -> dict[str, object]:
    """A link that is still open after the closing time leads to a form that was begun before it."""
    is_late = timezone.now() > assignment.closes_at
    return {
        **_about(assignment),
        "is_begun": _opening_here(request, assignment) is not None,
        "is_late": is_late,
        "open_until": assignment.closes_at + SEND_GRACE if is_late else assignment.closes_at,
    }


def _is_revealed(own: Assignment) -> bool:
    """Whether this form of the therapist was the last that the patient's rating of the session waited for."""
    if own.session is None or own.version.visibility != StudyVersion.Visibility.FEEDBACK:
        return False
    return not own.session.assignments.filter(rater=Rater.THERAPIST, state__in=OPEN).exists()


def _form_page(request: HttpRequest, opening: Opening) -> dict[str, object]:
    assignment, progress = opening.assignment, form_progress(opening)
    cards = cards_of(assignment.instrument.form, progress.here, without=progress.elsewhere)
    return {
        **_about(assignment),
        "opening": opening,
        "seal_key": seal_key(opening) if assignment.rater == Rater.PATIENT else "",
        "cards": cards,
        "open_cards": [card for card in cards if card.chosen is None],
        "is_returned": "open" in request.GET,
        "n_elsewhere": len(progress.elsewhere),
        "n_answered": len(progress.elsewhere) + sum(card.is_answered for card in cards),
        "n_left_out": sum(card.is_left_out for card in cards),
        "prefer_not": PREFER_NOT,
        "sharing_labels": SHARING_LABELS if _asks_sharing(assignment) else {},
        "sharing": opening.sharing,
        "anyway": ANYWAY,
    }


def _asks_sharing(assignment: Assignment) -> bool:
    return assignment.rater == Rater.PATIENT and assignment.version.visibility != BLIND


def _is_incomplete(opening: Opening, sent: SentForm) -> bool:
    """Whether to ask once more before storing; a form that is in or closed is for the service to answer."""
    if form_state(opening.assignment, timezone.now()) is not LinkState.OPEN:
        return False
    progress = form_progress(opening)
    answered = sent.answers.keys() | progress.here.keys() | progress.elsewhere
    return len(answered) < len(opening.assignment.instrument.form.items) or (
        _asks_sharing(opening.assignment) and sent.sharing is None
    )


def _paradata(request: HttpRequest, opening: Opening) -> Paradata:
    is_patient = opening.assignment.rater == Rater.PATIENT
    return Paradata(
        device=device_class(request),
        channel="link" if is_patient else "staff",
        with_staff_session=is_patient and request.user.is_authenticated,
    )
