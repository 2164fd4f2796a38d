"""A patient's own page: what they sent, who may see it, and the end of their part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from surveys import audit, clock
from surveys.access import LinkState, get_link
from surveys.models import Assignment, Patient, Response, Sharing, StudyVersion, Withdrawal
from surveys.parts import MISSING, OwnPart, own_language, own_part_or_404, own_parts, own_responses
from surveys.scoring import NOT_SHOWN
from surveys.secret_access import get_visitor_or_404, response_of_code
from surveys.services.consent import sharing_narrow
from surveys.services.withdrawals import withdrawal_enter
from surveys.trace_access import reading_days
from surveys.views.link import unknown
from surveys.views.notices import SUPERVISOR_SEES, Notice, about, notice_page
from surveys.views.wording import speak
from surveys.visits import (
    PAUSE,
    Visit,
    count_wrong_code,
    read_code,
    visit_add,
    visit_begin,
    visit_end,
    visit_of,
    visit_prolong,
    wait_for_code,
)

View = Callable[..., HttpResponse]

CLOSED = Notice(
    410,
    gettext_lazy("This page is closed"),
    gettext_lazy(
        "It closes a quarter of an hour after it was last used. To see it again, open the link to a form "
        "that you sent, and enter your receipt code."
    ),
)
TOO_MANY_CODES = Notice(
    429,
    gettext_lazy("Too many wrong codes"),
    gettext_lazy("For a quarter of an hour no code is looked at here. Then try again, or call the clinic."),
)
ELSEWHERE = gettext_lazy("Answered on another device, so it is not shown here")
SEE_LESS = {
    Sharing.NONE: gettext_lazy("Nothing: only that I sent it"),
    Sharing.SCORES: gettext_lazy("My result in numbers, but not the single answers"),
}


@dataclass(frozen=True)
class Line:
    """One item of a form that was sent; `is_missing` where there is no answer to it."""

    text: str
    answer: str
    is_missing: bool


@dataclass(frozen=True)
class Submission:
    """One form as its patient reads it again, and how much less their therapist may see of it."""

    response: Response
    lines: Sequence[Line]
    who_sees: str
    narrower: dict[str, object]


def enter(request: HttpRequest, token: str) -> HttpResponse:
    """At the link of a form that was received: asks for a receipt code, which opens the page."""
    found = get_link(token, clock.now())
    form = found.assignment
    if form is None:
        return unknown(request)
    if form.session is None or found.state is not LinkState.RECEIVED:
        return HttpResponseRedirect(reverse("link", args=[token]), status=303)
    speak(form.response.instrument.language)
    patient, error = form.session.therapy.patient, ""
    typed = request.POST.get("code", "")[:40]
    wait = wait_for_code(form.pk)
    if not wait and request.method == "POST":
        sent = response_of_code(patient, read_code(typed))
        if sent is not None:
            audit.record("your-data.open", subject=patient, clinic=form.study.clinic)
            response = HttpResponseRedirect(reverse("your-data"), status=303)
            visit_begin(response, Visit(patient.pk, frozenset({sent.pk})))
            return response
        error, wait = _wrong_code(form)
    if wait:
        return _too_many_codes(request, form, wait)
    context = {**about(form), "error": error, "typed": typed, "link": reverse("link", args=[token])}
    return render(request, "surveys/your_data_enter.html", context, status=422 if error else 200)


def _wrong_code(place: Assignment | Patient) -> tuple[str, int]:
    """What a wrong code is told at the link of a form or on a patient's page, and the seconds to wait."""
    clinic = place.clinic if isinstance(place, Patient) else place.study.clinic
    audit.record("your-data.refuse", subject=place, clinic=clinic)
    n_left = count_wrong_code(place.pk)
    error = ngettext(
        "This is not the code of a form that you sent. {n} try is left.",
        "This is not the code of a form that you sent. {n} tries are left.",
        n_left,
    )
    return error.format(n=n_left), 0 if n_left else PAUSE


def _too_many_codes(request: HttpRequest, assignment: Assignment | None, wait: int) -> HttpResponse:
    refused = notice_page(request, TOO_MANY_CODES, assignment)
    refused.headers["Retry-After"] = str(wait)
    return refused


def _visited(view: View) -> View:
    """Whose visit it is comes from the browser's cookie alone, never from an address."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: object) -> HttpResponse:
        visit = visit_of(request)
        try:
            patient = get_visitor_or_404(visit.patient if visit else None)
        except Http404:
            return notice_page(request, CLOSED, None)
        speak(own_language(patient))
        response = view(request, patient, **kwargs)
        visit_prolong(request, response)
        return response

    return guarded


@_visited
def page(request: HttpRequest, patient: Patient) -> HttpResponse:
    """The forms that were opened by their codes; another code (POST) opens one more."""
    is_code, error, typed = request.method == "POST", "", request.POST.get("code", "")[:40]
    wait = wait_for_code(patient.pk) if is_code else 0
    if is_code and not wait:
        sent = response_of_code(patient, read_code(typed))
        if sent is not None:
            audit.record("your-data.open", subject=patient, clinic=patient.clinic)
            visit_add(request, sent.pk)
            return HttpResponseRedirect(reverse("your-data") + f"#form-{sent.pk}", status=303)
        error, wait = _wrong_code(patient)
    if wait:
        return _too_many_codes(request, None, wait)
    visit, everything = visit_of(request), list(own_responses(patient))
    opened = visit.responses if visit else frozenset()
    submissions = [_submission(row) for row in everything if row.pk in opened]
    context = {
        **_around(patient),
        "submissions": submissions,
        "n_sent": len(everything),
        "parts": own_parts(patient),
        "readers": reading_days(patient),
        # Less may be shown of forms, too, whose code is not at hand.
        "narrower": _narrower({row.sharing for row in everything}) if len(everything) > 1 else {},
        "is_changed": "changed" in request.GET,
        "error": error,
        "typed": typed,
    }
    return render(request, "surveys/your_data.html", context, status=422 if error else 200)


@_visited
def sharing(request: HttpRequest, patient: Patient) -> HttpResponse:
    choice, one = request.POST.get("sharing", ""), request.POST.get("form", "")
    if choice not in SEE_LESS:
        return HttpResponseRedirect(reverse("your-data"), status=303)
    sharing_narrow(patient=patient, choice=choice, response_id=_uuid_or_404(one) if one else None)
    return HttpResponseRedirect(reverse("your-data") + "?changed=1", status=303)


@_visited
def end(request: HttpRequest, patient: Patient, study_id: UUID) -> HttpResponse:
    """The three choices, then the question whether it is meant, then the result: nothing is stored before
    the second answer."""
    part = own_part_or_404(patient, study_id)
    choice = request.POST.get("choice", "")
    is_confirmed = "confirm" in request.POST and choice in Withdrawal.Choice.values
    if is_confirmed:
        # At a second tap the service changes nothing.
        withdrawal_enter(patient=patient, study=part.study, choice=choice)
    if is_confirmed or not part.choices:
        return HttpResponseRedirect(reverse("your-data-ended", args=[part.study.pk]), status=303)
    is_missing = request.method == "POST" and choice not in dict(part.choices)
    context = {**_around(patient), **choices_page(patient, part, choice), "is_missing": is_missing}
    return render(request, "surveys/your_data_end.html", context, status=422 if is_missing else 200)


@_visited
def ended(request: HttpRequest, patient: Patient, study_id: UUID) -> HttpResponse:
    part = own_part_or_404(patient, study_id)
    if part.withdrawal is None:
        return HttpResponseRedirect(reverse("your-data"), status=303)
    return render(request, "surveys/your_data_ended.html", {**_around(patient), "part": part})


def close(request: HttpRequest) -> HttpResponse:
    response = notice_page(request, CLOSED, None)
    visit_end(request, response)
    return response


def choices_page(patient: Patient, part: OwnPart, choice: str) -> dict[str, object]:
    """What a page knows that ends a part: for the patient, or for staff with a request on paper."""
    chosen = choice if choice in dict(part.choices) else ""
    return {
        "part": part,
        # All that the choice concerns, whichever of them this visit may show.
        "n_sent": own_responses(patient).filter(assignment__session__therapy__study=part.study).count(),
        "is_blind": part.study.visibility == StudyVersion.Visibility.BLIND,
        "chosen": chosen,
        "chosen_label": dict(part.choices).get(chosen, ""),
        "today": timezone.localdate(),
    }


def _around(patient: Patient) -> dict[str, object]:
    return {"clinic": patient.clinic, "patient": patient, "is_patient_page": True, "now": timezone.now()}


def _submission(response: Response) -> Submission:
    form = response.instrument.form
    labels = {option.value: option.label for option in form.options}
    lines = []
    for item in form.items:
        value = response.answers.get(str(item.number), NOT_SHOWN)
        missing = ELSEWHERE if item.number in response.elsewhere else MISSING.get(value)
        lines.append(
            Line(item.text, labels.get(value, "") if missing is None else str(missing), missing is not None)
        )
    is_blind = response.assignment.version.visibility == StudyVersion.Visibility.BLIND
    return Submission(response, lines, who_sees(response), {} if is_blind else _narrower({response.sharing}))


def _narrower(chosen: set[str]) -> dict[str, object]:
    """The choices below the widest of those made."""
    widest = max(map(Sharing.values.index, chosen), default=0)
    return {value: SEE_LESS[Sharing(value)] for value in Sharing.values[:widest]}


def who_sees(response: Response) -> str:
    """What the therapist sees of this form, now or one day, and whether a supervisor sees the same."""
    sentence = _therapist_sees(response)
    return f"{sentence} {SUPERVISOR_SEES}" if response.assignment.version.is_open_to_supervisors else sentence


def _therapist_sees(response: Response) -> str:
    version, session = response.assignment.version, response.assignment.session
    if version.visibility == StudyVersion.Visibility.BLIND:
        return _("Your therapist never sees your answers.")
    if response.sharing == Sharing.NONE:
        return _("Your therapist sees that you sent it, and nothing of your answers.")
    is_whole = response.sharing == Sharing.ANSWERS
    if version.visibility == StudyVersion.Visibility.DELAYED:
        if session is not None and session.therapy.ended_on is None:
            return (
                _("Your therapist will see your result and each answer after the therapy has ended.")
                if is_whole
                else _("Your therapist will see your result in numbers after the therapy has ended.")
            )
        since = session.therapy.ended_on if session else None
    elif response.reveal_at is None:
        return (
            _("Your therapist will see your result and each answer once they have given their own rating.")
            if is_whole
            else _("Your therapist will see your result in numbers once they have given their own rating.")
        )
    else:
        since = timezone.localdate(response.reveal_at)
    sentence = (
        _("Your therapist can see your result and each answer since {day}.")
        if is_whole
        else _("Your therapist can see your result in numbers since {day}.")
    )
    return sentence.format(day=date_format(since)) if since else sentence


def _uuid_or_404(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Http404("No such form.") from None
