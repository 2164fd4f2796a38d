"""Which reading leaves a trace: a line for every page and API address that shows sensitive rows.

It stands beside `alliance_site.policy`: a route that somebody signed in may open has a line in `TRACED` or in
`PLAIN`, and a test fails on one that has neither. `TraceMiddleware` writes the one row of a request after
the page is made and before it is sent: a page whose row cannot be written is not sent.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from uuid import UUID

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from alliance_site.logs import request_id
from alliance_site.middleware import away
from alliance_site.policy import ANYONE, EMERGENCY, SIGNED_IN, permitted
from alliance_site.subjects import KINDS, NOBODY, Subject, acting_role, subject_of
from surveys import audit
from surveys.emergency_access import open_emergency
from surveys.models import Fields, Membership, User

log = logging.getLogger(__name__)

REFUSED = (403, 404)
# In place of a file that is no more, the page that says what it was.
GONE = 410
# What a form sent back with a complaint shows is the page with everything on it.
SHOWN_AGAIN = (200, 409, 422)


@dataclass(frozen=True)
class Trace:
    """What is written of a reading. Of the address's query, the `kept` names are (what was searched for);
    `asks_for` is the one that holds the id of the row, and its kind."""

    act: str
    fields: Fields
    kept: tuple[str, ...] = ()
    asks_for: tuple[str, str] | None = None
    writes_its_own: bool = False
    """The act itself is recorded by its service, in its transaction; here only that it was refused."""


def _each(trace: Trace, *routes: str) -> dict[str, Trace]:
    return dict.fromkeys(routes, trace)


_SEARCH = ("code", "all")
_BOARD = ("show", "therapist", "sort")
_TRACE = ("person", "kind", "code", "since", "until", "before")
_API = ("study", "patient", "therapist", "status", "code")

TRACED: dict[str, Trace] = {
    # Ratings and answers
    **_each(
        Trace("therapy.view", Fields.RATINGS, ("perspective", "scale", "time")),
        "therapy",
        "api-therapy-trend",
    ),
    **_each(Trace("therapy.chart", Fields.RATINGS), "therapy-chart"),
    **_each(Trace("therapy.pdf", Fields.RATINGS), "therapy-pdf"),
    **_each(Trace("dip.view", Fields.RATINGS), "dip"),
    **_each(Trace("agreement.view", Fields.RATINGS), "agreement"),
    **_each(Trace("answers.view", Fields.RATINGS, asks_for=("therapy", "therapy_id")), "api-answers"),
    **_each(Trace("answers.view", Fields.RATINGS), "api-answer"),
    # Sessions and forms; a board says of dips in which session they may be
    **_each(Trace("caseload.view", Fields.PROGRESS, _BOARD), "therapist-home"),
    **_each(Trace("board.view", Fields.PROGRESS, _BOARD), "supervisor-home"),
    **_each(Trace("board.export", Fields.PROGRESS, _BOARD), "supervision-file"),
    **_each(Trace("reception.view", Fields.PROGRESS, _SEARCH), "reception"),
    **_each(
        Trace("sessions.view", Fields.PROGRESS),
        "session-log",
        "session-today",
        "session-correct",
        "no-rating",
    ),
    **_each(Trace("sessions.view", Fields.PROGRESS), "api-sessions", "api-session", "people-therapy"),
    **_each(Trace("sessions.view", Fields.PROGRESS, _API), "api-therapies", "api-therapy"),
    **_each(
        Trace("completion.view", Fields.PROGRESS, ("study", "period")),
        "clinic-completion",
        "clinic-completion-chart",
    ),
    **_each(Trace("form.print", Fields.PROGRESS), "paper-form"),
    **_each(Trace("form.enter", Fields.PROGRESS), "paper-entry"),
    # Who somebody is
    **_each(Trace("patients.view", Fields.IDENTITY, _SEARCH), "people-patients", "api-patients"),
    **_each(Trace("messages.view", Fields.IDENTITY, _SEARCH), "clinic-messages"),
    **_each(Trace("patient.view", Fields.IDENTITY), "people-patient", "people-therapy-new", "api-patient"),
    **_each(Trace("patient.view", Fields.IDENTITY), "consent-enter", "withdrawal-enter", "form-links"),
    **_each(Trace("patient.view", Fields.IDENTITY), "people-access-file"),
    **_each(Trace("patient.access-file", Fields.RATINGS, writes_its_own=True), "people-access-file-zip"),
    **_each(Trace("import.view", Fields.IDENTITY), "import", "import-columns"),
    **_each(Trace("import.rejected", Fields.IDENTITY), "import-rejected"),
    # What a therapist says of their practice, to somebody else
    **_each(Trace("practice.view", Fields.PRACTICE), "supervisee-practice", "practice-chart"),
    **_each(Trace("trace.view", Fields.TRACE, _TRACE), "clinic-trace"),
    # The research desk
    **_each(Trace("analysis.view", Fields.RESULTS), "desk-analysis", "desk-analysis-trace", "desk-publish"),
    **_each(Trace("analysis.table", Fields.RESULTS), "desk-analysis-table", "desk-analysis-table-tex"),
    **_each(Trace("analysis.table", Fields.RESULTS), "desk-analysis-table-csv", "desk-analysis-table-html"),
    **_each(Trace("snapshot.view", Fields.CODED), "desk-snapshot"),
    **_each(Trace("export.view", Fields.CODED), "desk-export", "clinic-request", "api-export"),
    **_each(
        Trace("export.download", Fields.CODED, writes_its_own=True), "desk-export-file", "api-export-file"
    ),
}

# What is only posted, and shows the page of another route when it is refused.
SHOWS = dict.fromkeys(("form-links-mail", "form-links-screen", "form-links-paper"), "form-links")

# Pages for people who are signed in that show no sensitive row: forms to begin something, settings, texts of
# questionnaires, the clinic's staff, lists of names of studies and of analyses without a number of anybody,
# one's own account, and what a therapist said themselves.
PLAIN = frozenset(
    {
        "home",
        "account_logout",
        "account_change_password",
        "account_reauthenticate",
        "sign-ins",
        "mfa_index",
        "mfa_activate_totp",
        "mfa_deactivate_totp",
        "mfa_view_recovery_codes",
        "mfa_generate_recovery_codes",
        "mfa_add_webauthn",
        "mfa_remove_webauthn",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "api-tokens",
        "own-trace",
        "practice",
        "shared-practices",
        "status",
        "admin-home",
        "clinic-choose",
        "clinic-describe",
        "retention",
        "privacy-kit",
        "privacy-paper",
        "privacy-information",
        "tablets",
        "licences",
        "people-staff",
        "people-staff-new",
        "people-account",
        "emergency",
        "role-grants",
        "role-grant",
        "people-patient-new",
        "setup-studies",
        "setup-study",
        "setup-study-new",
        "setup-step",
        "setup-plan",
        "setup-test",
        "study-dips",
        "instrument-list",
        "instrument",
        "instrument-file",
        "instrument-upload",
        "imports",
        "import-new",
        "clinic-requests",
        "study-list",
        "study-codebook",
        "desk-tables",
        "desk-table-withdraw",
        "desk-lock",
        "desk-plans",
        "desk-plan",
        "desk-plan-new",
        "desk-data",
        "desk-analyses",
        "desk-analysis-new",
        "api-questionnaires",
        "api-questionnaire",
        "api-studies",
        "api-snapshots",
        "api-exports",
    }
)


class TraceMiddleware:
    """Writes who read what, and who was refused."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        number = UUID(request_id.get())
        with audit.trail(audit.Trail(number, cache(partial(_role, request)))):
            response = self.get_response(request)
            try:
                _write(request, response)
            except (OperationalError, InterfaceError) as error:
                response = away(request, error)
        return response


def _route(request: HttpRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""


def _role(request: HttpRequest, person: User) -> str:
    allowed = permitted(_route(request), request.method or "") or frozenset()
    held = Membership.objects.filter(user=person).values_list("clinic", "role")
    return acting_role(allowed, list(held), NOBODY, person.pk)[0]


def _write(request: HttpRequest, response: HttpResponseBase) -> None:
    route, status = _route(request), response.status_code
    allowed = permitted(route, request.method or "") or frozenset()
    trace, is_refused = TRACED.get(SHOWS.get(route, route)), status in REFUSED
    if trace is not None and trace.writes_its_own and status == GONE:
        trace, is_read = Trace("export.view", trace.fields), True
    else:
        is_read = trace is not None and not trace.writes_its_own and _shows(request, status)
    if not allowed - {ANYONE, SIGNED_IN} or not (is_refused or is_read):
        return
    # Asked last: pages for everybody do not need to know who it is.
    user = request.user
    if not isinstance(user, User):
        return
    subject = _subject(request, trace)
    is_own_practice = trace is not None and trace.fields == Fields.PRACTICE and subject.therapist == user.pk
    if is_own_practice and not is_refused:
        return
    held = list(Membership.objects.filter(user=user).values_list("clinic", "role"))
    role, own_clinic = acting_role(allowed, held, subject, user.pk)
    opened = open_emergency(user) if EMERGENCY in allowed else None
    audit.record_reading(
        audit.Reading(
            act=trace.act if trace else "page.refuse",
            fields=trace.fields if trace else "",
            actor=user,
            role=EMERGENCY if opened else role,
            clinic=subject.clinic or own_clinic,
            subject=subject.name or f"user:{user.pk}",
            patient=subject.patient,
            status=status if is_refused else None,
            detail={
                "route": route,
                **_searched(request, trace),
                **({"emergency": str(opened.pk)} if opened else {}),
            },
        )
    )


def _shows(request: HttpRequest, status: int) -> bool:
    if request.method in ("GET", "HEAD"):
        return 200 <= status < 300
    return status in SHOWN_AGAIN


def _subject(request: HttpRequest, trace: Trace | None) -> Subject:
    """The row that the address names first; of a list nobody's."""
    named: Mapping[str, object] = request.resolver_match.kwargs if request.resolver_match else {}
    kind, value = next(((name, value) for name, value in named.items() if name in KINDS), ("", None))
    if trace is not None and trace.asks_for is not None:
        query, kind = trace.asks_for
        try:
            value = UUID(request.GET.get(query, ""))
        except ValueError:
            return NOBODY
    return subject_of(kind, value) if isinstance(value, UUID) else NOBODY


def _searched(request: HttpRequest, trace: Trace | None) -> dict[str, object]:
    kept = {name: request.GET[name][:40] for name in trace.kept if request.GET.get(name)} if trace else {}
    return {"query": kept} if kept else {}
