"""From the opened form, a patient's or a therapist's, to the receipt."""

import logging
from collections.abc import Callable
from functools import wraps
from uuid import UUID

from django.db import Error
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from surveys import clock
from surveys.access import LinkState, form_state, get_opening_or_404, has_sent
from surveys.away import is_database_away
from surveys.browsers import browser_secret, forget_patient, keep_receipt, seal_key
from surveys.forms import ANYWAY, BadField, OutdatedForm, SentForm, kept_fields, read_answers, read_form
from surveys.models import Assignment, Channel, Instrument, Opening, Rater, Response, Sharing, StudyVersion
from surveys.parts import owed_consent
from surveys.scoring import PREFER_NOT
from surveys.selectors import OPEN, form_progress, todo_forms
from surveys.services.responses import (
    AlreadyReceived,
    DifferentAnswers,
    Paradata,
    Refusal,
    drafts_clear,
    drafts_save,
    response_submit,
)
from surveys.views.cards import cards_of
from surveys.views.consent import study_text
from surveys.views.notices import NOTICES, about, notice_page, see_other
from surveys.views.wording import Wording, wording_of
from surveys.wordings import form_wordings

logger = logging.getLogger(__name__)
View = Callable[..., HttpResponse]

SHARING_LABELS = {
    Sharing.NONE: _("Nothing: only that I have sent the form"),
    Sharing.SCORES: _("My result in numbers, but not the single answers"),
    Sharing.ANSWERS: _("My result and each of my answers"),
}


def form(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    state = form_state(opening.assignment, clock.now())
    if state is LinkState.RECEIVED:
        return see_other("form-receipt", assignment_id)
    wording = wording_of(opening.assignment, opening)
    if state is not LinkState.OPEN:
        return notice_page(request, NOTICES[state], opening.assignment)
    if owed_consent(opening.assignment, [wording.instrument.language]):
        # A tablet's start code opens the form before anybody was asked.
        return see_other("form-begin", assignment_id)
    return render(request, "surveys/form.html", _form_page(request, opening, wording))


def _survives_lost_database(view: View) -> View:
    """A database that is away for a moment costs nobody their answers: the page offers to send them again."""

    @wraps(view)
    def guarded(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
        try:
            return view(request, assignment_id)
        except Error as error:
            if not is_database_away(error):
                raise
            logger.exception("The database was lost while a form was sent.")
        context = {"kept": kept_fields(request.POST), "is_patient_page": True}
        response = render(request, "surveys/unavailable.html", context, status=503)
        response.headers["Retry-After"] = "10"
        return response

    return guarded


@_survives_lost_database
def answers(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id, for_page=False)
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
    """Stores the form; or keeps its answers, where items are open or another language was chosen."""
    kept = kept_fields(request.POST)
    if kept and not request.user.is_authenticated and not browser_secret(request):
        return signed_out(request, kept)
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id, for_page=False)
    try:
        sent = read_form(request.POST, request.FILES, _wordings(request, opening.assignment))
        is_open = not sent.is_anyway and _is_incomplete(opening, sent)
        if sent.language or is_open:
            drafts_save(opening=opening, answers=sent.answers, sharing=sent.sharing, language=sent.language)
            return see_other("form", assignment_id, "" if sent.language else "?open=1")
        response = response_submit(
            opening=opening,
            answers=sent.answers,
            sharing=(sent.sharing if asks_sharing(opening.assignment) else None) or Sharing.NONE,
            client_key=sent.key,
            paradata=_paradata(request, opening),
            instrument=sent.instrument,
            actor=request.user if opening.assignment.rater == Rater.THERAPIST else None,
        )
    except (BadField, OutdatedForm, Refusal) as error:
        return _refused(request, opening, error)
    return _after_sending(opening, response)


def _wordings(request: HttpRequest, assignment: Assignment) -> list[Instrument]:
    """Those among which a sent page's own must be; which others there are is asked only where it is another
    than the planned one, or another was chosen."""
    planned = assignment.instrument
    is_planned = request.POST.get("version") == str(planned.pk) and "language" not in request.POST
    return [planned] if is_planned else form_wordings(assignment)


def _after_sending(opening: Opening, response: Response) -> HttpResponse:
    """On to the receipt. On a tablet the browser loses the opening with this very answer: with the cookie
    goes every page of the form that its memory could show again."""
    if opening.channel != Channel.TABLET:
        return see_other("form-receipt", opening.assignment_id)
    answer = HttpResponseRedirect(reverse("tablet-done"), status=303)
    forget_patient(answer)
    keep_receipt(answer, response.receipt_code, response.language)
    return answer


def receipt(request: HttpRequest, assignment_id: UUID) -> HttpResponse:
    opening = get_opening_or_404(request.user, browser_secret(request), assignment_id)
    assignment = opening.assignment
    if form_state(assignment, clock.now()) is not LinkState.RECEIVED:
        return see_other("form", assignment_id)
    wording = wording_of(assignment, opening)
    if not has_sent(opening):
        return notice_page(request, NOTICES[LinkState.RECEIVED], assignment, received=assignment.response)
    context = {
        **about(assignment),
        "questionnaire": wording.instrument.form,
        "response": assignment.response,
    }
    if assignment.rater == Rater.THERAPIST:
        context["next_form"] = todo_forms(request.user).first()
        context["is_revealed"] = _is_revealed(assignment)
    return render(request, "surveys/receipt.html", context)


def signed_out(request: HttpRequest, kept: dict[str, str]) -> HttpResponse:
    """A therapist's sitting ended, or a browser forgot its cookie, in the middle of a form: nothing typed is
    lost by it."""
    form_page = request.path.removesuffix("send/")
    context = {"kept": kept, "is_patient_page": True, "form_page": form_page}
    return render(request, "surveys/signed_out.html", context, status=403)


def _refused(request: HttpRequest, opening: Opening, error: Exception) -> HttpResponse:
    wording_of(opening.assignment, opening)
    context: dict[str, object] = {"back": reverse("form", args=[opening.assignment_id])}
    if isinstance(error, BadField | OutdatedForm):
        context["reason"] = str(error)
    if isinstance(error, AlreadyReceived | DifferentAnswers):
        context = {"received": opening.assignment.response, "is_own": has_sent(opening)}
    return notice_page(request, NOTICES[type(error)], opening.assignment, **context)


def _is_revealed(own: Assignment) -> bool:
    """Whether this form of the therapist was the last that the patient's rating of the session waited for."""
    if own.session is None or own.version.visibility != StudyVersion.Visibility.FEEDBACK:
        return False
    return not own.session.assignments.filter(rater=Rater.THERAPIST, state__in=OPEN).exists()


def _form_page(request: HttpRequest, opening: Opening, wording: Wording) -> dict[str, object]:
    assignment, progress = opening.assignment, form_progress(opening)
    cards = cards_of(wording.instrument.form, progress.here, without=progress.elsewhere)
    is_personal = assignment.rater == Rater.PATIENT and opening.channel == Channel.LINK
    return {
        **about(assignment),
        **study_text(assignment, wording.instrument.language),
        "opening": opening,
        "wording": wording,
        "questionnaire": wording.instrument.form,
        "seal_key": seal_key(opening) if is_personal else "",
        "cards": cards,
        "open_cards": [card for card in cards if card.chosen is None],
        "is_returned": "open" in request.GET,
        "n_elsewhere": len(progress.elsewhere),
        "n_answered": len(progress.elsewhere) + sum(card.is_answered for card in cards),
        "n_left_out": sum(card.is_left_out for card in cards),
        "prefer_not": PREFER_NOT,
        "sharing_labels": SHARING_LABELS if asks_sharing(assignment) else {},
        "sharing": opening.sharing,
        "anyway": ANYWAY,
    }


def asks_sharing(assignment: Assignment) -> bool:
    is_blind = assignment.version.visibility == StudyVersion.Visibility.BLIND
    return assignment.rater == Rater.PATIENT and not is_blind


def _is_incomplete(opening: Opening, sent: SentForm) -> bool:
    """Whether to ask once more before storing; a form that is in or closed is for the service to answer."""
    n_items = len(opening.assignment.instrument.form.items)
    owes_choice = asks_sharing(opening.assignment) and sent.sharing is None
    if len(sent.answers) == n_items and not owes_choice:
        return False
    if form_state(opening.assignment, clock.now()) is not LinkState.OPEN:
        return False
    if owes_choice:
        return True
    progress = form_progress(opening)
    return len(sent.answers.keys() | progress.here.keys() | progress.elsewhere) < n_items


def _paradata(request: HttpRequest, opening: Opening) -> Paradata:
    is_patient = opening.assignment.rater == Rater.PATIENT
    return Paradata(
        device=opening.device,
        channel=opening.channel if is_patient else Channel.STAFF,
        with_staff_session=is_patient and request.user.is_authenticated,
    )
