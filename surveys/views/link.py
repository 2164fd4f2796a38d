"""A patient's link: the start page, which changes nothing, and its button, which opens the form."""

import re
from datetime import datetime

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from surveys import clock
from surveys.access import (
    SEND_GRACE,
    Link,
    LinkState,
    browser_hash,
    form_state,
    get_link,
    get_opening_or_404,
    has_sent,
)
from surveys.browsers import (
    browser_secret,
    count_miss,
    device_class,
    keep_browser_secret,
    new_browser_secret,
)
from surveys.models import Assignment, Opening
from surveys.selectors import last_closing
from surveys.services.responses import FormClosed, form_open
from surveys.views.consent import study_text, take_consent
from surveys.views.notices import NOTICES, TOO_MANY_MISSES, about, notice_page, see_other
from surveys.views.wording import wording_of

# A link with the bracket, the full stop or the quotation mark that stood behind it in a mail.
_FRAYED = re.compile(r"([A-Za-z0-9_-]{43})[^A-Za-z0-9_-]{1,8}")


def link(request: HttpRequest, token: str) -> HttpResponse:
    """The start page; only its button (POST) opens the form, so that mail scanners change nothing."""
    now = clock.now()
    found = get_link(token, now)
    if found.assignment is None:
        return frayed(request, token)
    if found.state is not LinkState.OPEN:
        return _over(request, found, found.assignment, token)
    if request.method == "POST":
        return _start(request, found.assignment)
    return render(request, "surveys/start.html", start_page(request, found.assignment, now))


def unanswered(request: HttpRequest, assignment: Assignment) -> HttpResponse:
    """The start page again, for somebody who has not said yet whether they agree."""
    context = {**start_page(request, assignment, clock.now()), "is_unanswered": True}
    return render(request, "surveys/start.html", context, status=422)


def closed(request: HttpRequest, assignment: Assignment) -> HttpResponse:
    """A form that cannot be begun: its time is over, or somebody who does not agree has nothing to fill."""
    assignment.refresh_from_db(fields=["state"])
    is_withdrawn = form_state(assignment, clock.now()) is LinkState.WITHDRAWN
    return notice_page(
        request, NOTICES[LinkState.WITHDRAWN if is_withdrawn else LinkState.EXPIRED], assignment
    )


def _start(request: HttpRequest, assignment: Assignment) -> HttpResponse:
    secret = browser_secret(request) or new_browser_secret()
    wish = request.POST.get("language", "")
    wording = wording_of(assignment, _opening_here(request, assignment), wish)
    own_hash = browser_hash(AnonymousUser(), secret)
    if not take_consent(request, assignment, wording.instrument.language):
        return unanswered(request, assignment)
    try:
        form_open(
            assignment_id=assignment.pk,
            browser_hash=own_hash,
            device=device_class(request),
            language=wording.instrument.language,
        )
    except FormClosed:
        return closed(request, assignment)
    response = see_other("form", assignment.pk)
    keep_browser_secret(response, secret, until=last_closing(own_hash) + SEND_GRACE)
    return response


def start_page(request: HttpRequest, assignment: Assignment, now: datetime) -> dict[str, object]:
    """A link that is still open after the closing time leads to a form that was begun before it."""
    is_late = now > assignment.closes_at
    opening = _opening_here(request, assignment)
    wish = request.POST.get("language", "") or request.GET.get("language", "")
    wording = wording_of(assignment, opening, wish)
    return {
        **about(assignment),
        **study_text(assignment, wording.instrument.language),
        "wording": wording,
        "questionnaire": wording.instrument.form,
        "minutes": wording.instrument.form.minutes,
        "is_begun": opening is not None,
        "is_late": is_late,
        "open_until": assignment.closes_at + SEND_GRACE if is_late else assignment.closes_at,
    }


def _opening_here(request: HttpRequest, assignment: Assignment) -> Opening | None:
    """What this browser began of a patient's form."""
    try:
        return get_opening_or_404(AnonymousUser(), browser_secret(request), assignment.pk)
    except Http404:
        return None


def frayed(request: HttpRequest, typed: str) -> HttpResponse:
    """Where no form is found: a link that was copied with a sign too many leads on to its own address."""
    match = _FRAYED.fullmatch(typed)
    if match and get_link(match[1], clock.now()).assignment is not None:
        return HttpResponseRedirect(reverse("link", args=[match[1]]), status=303)
    return unknown(request)


def unknown(request: HttpRequest) -> HttpResponse:
    """The page of a link that leads nowhere; every one counts."""
    wait = count_miss(request)
    response = notice_page(request, TOO_MANY_MISSES if wait else NOTICES[LinkState.UNKNOWN], None)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _over(request: HttpRequest, found: Link, assignment: Assignment, token: str) -> HttpResponse:
    """A link holder learns the day of receipt; the code is for the browser that sent the form, and opens
    the page of what was sent."""
    context: dict[str, object] = {}
    opening = _opening_here(request, assignment)
    wording_of(assignment, opening)
    if found.state is LinkState.RECEIVED:
        context = {
            "received": assignment.response,
            "is_own": opening is not None and has_sent(opening),
            "your_data": reverse("your-data-enter", args=[token]),
        }
    return notice_page(request, NOTICES[found.state], assignment, **context)
