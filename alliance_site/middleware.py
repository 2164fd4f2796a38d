"""What every request must satisfy and every response carries."""

import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import RequestDataTooBig
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation.trans_real import LANGUAGE_CODE_MAX_LENGTH as LONGEST_LIST

from alliance_site.headers import HEADERS
from alliance_site.logs import request_id
from surveys.api.refusals import AWAY, api_refusal
from surveys.away import is_database_away
from surveys.browsers import browser_secret, tablet_secret
from surveys.forms import shown_name
from surveys.models import User
from surveys.secret_access import this_tablet
from surveys.session_store import BROWSER
from surveys.uploads import MAX_UPLOAD, is_upload_leave
from surveys.uploads import NAME as LEAVE
from surveys.user_agents import browser_and_system

log = logging.getLogger(__name__)
requests = logging.getLogger("alliance.request")
GetResponse = Callable[[HttpRequest], HttpResponse]

API = "/api/"
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
# Seconds that a body may take, except of a large file whose sender has leave.
LONGEST_BODY = 30
NUL = "\x00"


class SecurityHeaders:
    """The headers of every answer, errors included; nothing but static files is ever kept by a cache."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response


class RequestLog:
    """A number for each request, which its answer and every line of the log about it carry, and one line
    about its end where the log is JSON. The line names the route, not the address, and no person."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        number = str(uuid4())
        mark, began = request_id.set(number), time.perf_counter()
        try:
            response = self.get_response(request)
            response.headers["X-Request-ID"] = number
            route = request.resolver_match.view_name if request.resolver_match else ""
            if route != "health" and requests.isEnabledFor(logging.INFO):
                found = {
                    "method": request.method,
                    "route": route,
                    "status": response.status_code,
                    "ms": round(1000 * (time.perf_counter() - began), 1),
                    "user": _mark_of(request),
                }
                requests.info("%s %s", request.method, response.status_code, extra=found)
            return response
        finally:
            request_id.reset(mark)


def _mark_of(request: HttpRequest) -> str:
    """The same twelve characters for the same person, from which nobody finds out who; empty where nobody was
    looked up. Looking now would ask the database, which may be away."""
    user = request.__dict__.get("_cached_user")
    if user is None and type(request.__dict__.get("user")) is User:
        user = request.user
    if user is None or isinstance(user, AnonymousUser):
        return ""
    return salted_hmac("alliance.logs", str(user.pk)).hexdigest()[:12]


class Sessions(SessionMiddleware):
    """Django's. A page that is made already, and stored in the session nothing but that it was asked for, is
    sent also while the database is away."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        try:
            return super().process_response(request, response)
        except (Error, SessionInterrupted) as error:
            if not _is_of_database_away(error):
                raise
            return away(request, error) if request.session.modified else response


def _is_of_database_away(error: BaseException | None) -> bool:
    """Whether it, or what it was raised for, says so: a session that could not be stored hides the cause."""
    while error is not None and not is_database_away(error):
        error = error.__context__
    return error is not None


class NameBrowser:
    """Tells a new sign-in in which browser it is, for the list of its owner's."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        session = request.session
        # Looked at only where it was read already: the database may be away.
        if "_session_cache" in session.__dict__ and SESSION_KEY in session and BROWSER not in session:
            session[BROWSER] = browser_and_system(request.headers.get("User-Agent", ""))
        return response


class Language:
    """The language of a page: the one that was chosen, else the first of the browser's that the site speaks.
    Data for programs stay English."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with translation.override(self._language(request)):
            response = self.get_response(request)
            # Asked again: a patient's page speaks the language of its form.
            response.headers.setdefault("Content-Language", translation.get_language())
        return response

    def _language(self, request: HttpRequest) -> str:
        is_chosen = translation.check_for_language(request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME))
        is_list_too_long = len(request.META.get("HTTP_ACCEPT_LANGUAGE", "")) > LONGEST_LIST
        if request.path.startswith(API) or (is_list_too_long and not is_chosen):
            return settings.LANGUAGE_CODE
        return translation.get_language_from_request(request)


def away(request: HttpRequest, error: BaseException) -> HttpResponse:
    log.error("The database is away.", exc_info=error)
    # The page would ask it who this is.
    request.user = AnonymousUser()
    response = (
        api_refusal(request, 503, AWAY)
        if request.path.startswith(API)
        else render(request, "away.html", {"is_patient_page": True}, status=503)
    )
    response.headers["Retry-After"] = "10"
    return response


class DatabaseAway:
    """A page that needs the database while it is away says so and when to come back, instead of an error."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not is_database_away(exception):
            return None
        return away(request, exception)


class TabletMode:
    """A browser that is a tablet of a clinic shows its lock page and the form that a start code opened, and
    no other page; once the clinic has revoked it, only the page that says so."""

    OWN = frozenset({"tablet-done", "tablet-leave", "set-language"})
    # What a personal device keeps for later has no place on a tablet.
    NEVER = frozenset({"form-offline", "form-worker"})

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *view: object) -> HttpResponse | None:
        secret = tablet_secret(request)
        route = request.resolver_match.view_name if request.resolver_match else ""
        if not secret or route in ("tablet", "health"):
            return None
        is_form = route.startswith("form") and route not in self.NEVER and bool(browser_secret(request))
        try:
            is_open = (is_form or route in self.OWN) and this_tablet(secret) is not None
        except Error as error:
            if not is_database_away(error):
                raise
            # The view needs the database as well, and keeps what was typed.
            return None
        return None if is_open else redirect("tablet")


def _may_upload(request: HttpRequest) -> bool:
    is_file = request.path.startswith("/clinic/") and request.content_type == "multipart/form-data"
    return is_file and is_upload_leave(request.GET.get(LEAVE, ""))


@contextmanager
def _in_time(request: HttpRequest) -> Iterator[None]:
    """Ends a body that comes too slowly: whoever reads it is told that it is over. Without this, a sender of
    single bytes keeps a thread of the server for as long as they like."""
    line = request.META.get("gunicorn.socket")
    if line is None:
        yield
        return

    def end() -> None:
        # The sender may have left meanwhile.
        with suppress(OSError):
            line.shutdown(socket.SHUT_RD)

    clock = Timer(LONGEST_BODY, end)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()


class InputGate:
    """Refuses a request body that is too large, too slow, packed, cut off or of a kind no page sends, and NUL
    characters in an address or a form, before anything reads them. A cookie with one is no cookie of this
    site."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # The database takes no NUL, and the rules of quoting let one into a cookie.
        request.COOKIES = {name: text for name, text in request.COOKIES.items() if NUL not in text}
        refusal = self._of_address(request) or self._of_body(request)
        if refusal is not None:
            status, sentence = refusal
            if request.path.startswith(API):
                return api_refusal(request, status, sentence)
            return render(request, "refused.html", {"sentence": sentence}, status=status)
        return self.get_response(request)

    def _of_address(self, request: HttpRequest) -> tuple[int, str] | None:
        if NUL in request.path:
            return 404, _("There is no such page, or it is not yours to see.")
        try:
            query = unquote_to_bytes(request.META.get("QUERY_STRING", "")).decode()
        except UnicodeDecodeError:
            query = NUL
        return (400, _("The address holds a character that no page uses.")) if NUL in query else None

    def _of_body(self, request: HttpRequest) -> tuple[int, str] | None:
        if request.META.get("HTTP_CONTENT_ENCODING"):
            return 415, _("Packed content is not accepted; send it as it is.")
        try:
            length = int(request.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            return 400, _("The length of what was sent is not a number.")
        if length == 0:
            return None
        if _may_upload(request):
            # Left to the page, which reads it into a file on disk.
            return None if length <= MAX_UPLOAD else (413, _("The file is too large. Split it into parts."))
        if length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            if request.path.startswith("/instruments/"):
                return 415, _("A file of this size is no instrument file. Choose another one.")
            return 413, _("More was sent than this page accepts.")
        if not request.path.startswith(API) and request.content_type not in FORM_TYPES:
            return 415, _("This page accepts forms only.")
        try:
            with _in_time(request):
                complete = len(request.body) == length
        except (UnreadablePostError, RequestDataTooBig):
            complete = False
        if not complete:
            return 400, _("What was sent was cut off on the way. Nothing was stored; send it again.")
        return None if request.path.startswith(API) else self._of_fields(request)

    def _of_fields(self, request: HttpRequest) -> tuple[int, str] | None:
        for name, values in request.POST.lists():
            if NUL in name or any(NUL in str(value) for value in values):
                return 400, _("%(field)s holds a character that is no text.") % {"field": shown_name(name)}
        return None
