"""Who may use which route, and for which of them they give their password again: the lists, and the two gates
that enforce them.

A route or method without a line here is refused; a test walks the URLconf and fails on one. Pages pass
`PolicyMiddleware`, the API passes `PolicyPermission` (Django's own login middleware does not guard DRF).
A line says which roles get in; which rows they find there is decided by `surveys.access`. Before it, both
gates ask for the second factor: a session that has not given one is let to `UNPROVEN` alone.
"""

from collections.abc import Callable
from functools import partial

from django.contrib.auth import logout
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.exceptions import PermissionDenied as NotPermitted
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from alliance_site.confirming import confirmation, is_confirmed
from alliance_site.factors import has_factor, is_proven
from alliance_site.views import not_allowed
from surveys.access import roles
from surveys.api_access import token_scopes
from surveys.emergency_access import open_emergency
from surveys.models import Role, Scope, User

ANYONE = "anyone"
SIGNED_IN = "signed in"
# Who runs the machine: no role of a clinic, and no row of one.
OPERATOR = "operator"
# Who runs the machine, while an emergency is open to them (`surveys.services.emergency`): to read alone.
EMERGENCY = "emergency"
THERAPIST, SUPERVISOR = Role.THERAPIST.value, Role.SUPERVISOR.value
CLINIC_ADMIN, RESEARCHER = Role.CLINIC_ADMIN.value, Role.RESEARCHER.value
STAFF = f"{THERAPIST}|{SUPERVISOR}|{CLINIC_ADMIN}|{RESEARCHER}"

# A patient has no account: these routes are open, and the link or the browser's cookie is the key.
LINK_HOLDER = ANYONE
# Nor has who holds a tablet of the clinic: its cookie is the key.
TABLET = ANYONE


def _lines(
    allowed: str, *routes: str, methods: tuple[str, ...] = ("GET",)
) -> dict[tuple[str, str], frozenset[str]]:
    return {(route, method): frozenset(allowed.split("|")) for route in routes for method in methods}


POLICY: dict[tuple[str, str], frozenset[str]] = {
    # What `metrics` says is for who has its token.
    **_lines(ANYONE, "health", "schema", "metrics"),
    **_lines(f"{OPERATOR}|{CLINIC_ADMIN}", "status"),
    **_lines(ANYONE, "set-language", methods=("POST",)),
    **_lines(ANYONE, "account_login", "account_reset_password", methods=("GET", "POST")),
    **_lines(ANYONE, "account_signup", "account_inactive", "account_reset_password_done"),
    **_lines(ANYONE, "account_reset_password_from_key_done"),
    **_lines(ANYONE, "account_reset_password_from_key", methods=("GET", "POST")),
    **_lines(SIGNED_IN, "home", "sign-ins"),
    **_lines(SIGNED_IN, "sign-in-end", methods=("POST",)),
    **_lines(ANYONE, "mfa_authenticate", "mfa_login_webauthn", methods=("GET", "POST")),
    **_lines(ANYONE, "openid_connect_login", "openid_connect_callback"),
    **_lines(SIGNED_IN, "mfa_index", "mfa_view_recovery_codes"),
    **_lines(
        SIGNED_IN,
        "account_logout",
        "account_change_password",
        "account_reauthenticate",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "mfa_activate_totp",
        "mfa_deactivate_totp",
        "mfa_add_webauthn",
        "mfa_remove_webauthn",
        "mfa_generate_recovery_codes",
        methods=("GET", "POST"),
    ),
    **_lines(LINK_HOLDER, "link", methods=("GET", "POST")),
    **_lines(LINK_HOLDER, "form", "form-receipt", "form-offline", "form-worker"),
    **_lines(LINK_HOLDER, "form-begin", methods=("GET", "POST")),
    **_lines(LINK_HOLDER, "your-data-enter", "your-data", "your-data-end", methods=("GET", "POST")),
    **_lines(LINK_HOLDER, "your-data-ended"),
    **_lines(LINK_HOLDER, "your-data-sharing", "your-data-close", methods=("POST",)),
    **_lines(LINK_HOLDER, "form-answers", "form-restart", "form-send", methods=("POST",)),
    **_lines(TABLET, "tablet", "tablet-leave", methods=("GET", "POST")),
    **_lines(TABLET, "tablet-done"),
    **_lines(CLINIC_ADMIN, "tablets", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "tablet-revoke", methods=("POST",)),
    **_lines(f"{THERAPIST}|{CLINIC_ADMIN}", "start-code", methods=("POST",)),
    **_lines(f"{THERAPIST}|{CLINIC_ADMIN}", "paper-form"),
    **_lines(CLINIC_ADMIN, "paper-entry", methods=("GET", "POST")),
    **_lines(THERAPIST, "therapist-home"),
    **_lines(THERAPIST, "own-form-start", methods=("POST",)),
    **_lines(THERAPIST, "no-rating", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "reception"),
    **_lines(
        f"{THERAPIST}|{CLINIC_ADMIN}",
        "session-log",
        "session-today",
        "session-correct",
        methods=("GET", "POST"),
    ),
    **_lines(f"{THERAPIST}|{SUPERVISOR}|{EMERGENCY}", "therapy", "therapy-chart"),
    **_lines(f"{THERAPIST}|{SUPERVISOR}", "therapy-pdf", "api-therapy-trend"),
    **_lines(OPERATOR, "emergency", methods=("GET", "POST")),
    **_lines(OPERATOR, "emergency-end", methods=("POST",)),
    **_lines(THERAPIST, "agreement", "practice"),
    **_lines(THERAPIST, "practice-sharing", methods=("POST",)),
    **_lines(f"{THERAPIST}|{SUPERVISOR}", "practice-chart"),
    **_lines(THERAPIST, "dip", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "study-dips", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "clinic-completion", "clinic-completion-chart"),
    **_lines(f"{THERAPIST}|{CLINIC_ADMIN}", "form-links"),
    **_lines(
        f"{THERAPIST}|{CLINIC_ADMIN}",
        "form-links-screen",
        "form-links-paper",
        "form-links-mail",
        "form-links-revoke",
        methods=("POST",),
    ),
    **_lines(SUPERVISOR, "supervisor-home", "supervision-file"),
    **_lines(SUPERVISOR, "shared-practices", "supervisee-practice"),
    **_lines(CLINIC_ADMIN, "admin-home", "clinic-messages", "clinic-trace"),
    **_lines(CLINIC_ADMIN, "people-staff", "people-patients", "people-therapy", "people-access-file-zip"),
    **_lines(
        CLINIC_ADMIN,
        "people-staff-new",
        "people-account",
        "people-patient-new",
        "people-therapy-new",
        "clinic-choose",
        "clinic-describe",
        "consent-enter",
        "withdrawal-enter",
        "retention",
        "people-access-file",
        methods=("GET", "POST"),
    ),
    **_lines(f"{CLINIC_ADMIN}|{EMERGENCY}", "people-patient"),
    **_lines(CLINIC_ADMIN, "people-patient", methods=("POST",)),
    **_lines(
        CLINIC_ADMIN,
        "people-invite",
        "people-sign-out",
        "people-factor-ask",
        "people-factor-settle",
        "people-leave",
        "retention-approve",
        "people-therapy-end",
        "people-therapy-transfer",
        methods=("POST",),
    ),
    **_lines(f"{OPERATOR}|{CLINIC_ADMIN}", "role-grants"),
    **_lines(f"{OPERATOR}|{CLINIC_ADMIN}", "role-grant", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "setup-studies", "setup-study"),
    **_lines(CLINIC_ADMIN, "setup-study-new", "setup-step", "setup-plan", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "setup-draft-new", "setup-draft-drop", "setup-activate", methods=("POST",)),
    **_lines(CLINIC_ADMIN, "setup-test"),
    **_lines(CLINIC_ADMIN, "setup-test-new", "setup-test-link", "setup-test-clear", methods=("POST",)),
    **_lines(RESEARCHER, "desk-tables"),
    **_lines(RESEARCHER, "desk-publish", "desk-table-withdraw", "desk-lock", methods=("GET", "POST")),
    # What was published has an address for everybody.
    **_lines(ANYONE, "table-latest", "table"),
    **_lines(RESEARCHER, "desk-plans", "desk-plan"),
    **_lines(RESEARCHER, "desk-plan-new", methods=("GET", "POST")),
    **_lines(RESEARCHER, "desk-plan-cancel", methods=("POST",)),
    **_lines(CLINIC_ADMIN, "imports", "import", "import-rejected"),
    **_lines(CLINIC_ADMIN, "import-new", "import-columns", methods=("GET", "POST")),
    **_lines(
        CLINIC_ADMIN,
        "import-check",
        "import-store",
        "import-find",
        "import-drop",
        "import-undo",
        "import-cancel",
        methods=("POST",),
    ),
    **_lines(CLINIC_ADMIN, "privacy-kit", "privacy-paper", "privacy-information"),
    **_lines(CLINIC_ADMIN, "clinic-requests"),
    **_lines(CLINIC_ADMIN, "clinic-request", methods=("GET", "POST")),
    **_lines(RESEARCHER, "study-list", "study-codebook", "desk-export", "desk-export-file"),
    **_lines(RESEARCHER, "desk-data", "desk-snapshot", methods=("GET", "POST")),
    **_lines(
        RESEARCHER,
        "desk-snapshot-cancel",
        "desk-export-approve",
        "desk-export-withdraw",
        "desk-export-again",
        "desk-export-cancel",
        methods=("POST",),
    ),
    **_lines(RESEARCHER, "desk-analyses", "desk-analysis", "desk-analysis-trace", "desk-analysis-table"),
    **_lines(RESEARCHER, "desk-analysis-table-tex", "desk-analysis-table-csv", "desk-analysis-table-html"),
    **_lines(RESEARCHER, "desk-analysis-new", methods=("GET", "POST")),
    **_lines(RESEARCHER, "desk-analysis-ask-table", "desk-analysis-cancel", methods=("POST",)),
    **_lines(CLINIC_ADMIN, "instrument-list", "instrument", "instrument-file"),
    **_lines(CLINIC_ADMIN, "instrument-upload", "licences", methods=("GET", "POST")),
    **_lines(STAFF, "own-trace"),
    **_lines(STAFF, "api-tokens", methods=("GET", "POST")),
    **_lines(STAFF, "api-token-revoke", methods=("POST",)),
    **_lines(CLINIC_ADMIN, "api-patients", methods=("GET", "POST")),
    **_lines(CLINIC_ADMIN, "api-patient"),
    **_lines(f"{THERAPIST}|{CLINIC_ADMIN}", "api-therapies", "api-therapy", "api-sessions", "api-session"),
    **_lines(CLINIC_ADMIN, "api-therapies", "api-sessions", methods=("POST",)),
    **_lines(STAFF, "api-questionnaires", "api-questionnaire"),
    **_lines(THERAPIST, "api-answers", "api-answer"),
    **_lines(RESEARCHER, "api-studies", "api-export", "api-export-file"),
    **_lines(RESEARCHER, "api-snapshots", "api-exports", methods=("GET", "POST")),
}


# Before these, who is signed in gives their password once more, unless they did so in the last quarter of an
# hour (`alliance_site.confirming`): nobody who finds a browser signed in leaves with data, a key or a role.
# A page that is there for the act alone asks when it is opened, so that nobody begins a form in vain; a page
# that is read as well asks when its form is sent.
CONFIRMED: frozenset[tuple[str, str]] = frozenset(
    (route, method)
    for routes, methods in (
        # Coded data that leave, and whoever lets them
        (("desk-export-file", "api-export-file"), ("GET",)),
        (("desk-snapshot", "api-exports", "desk-export-approve", "desk-export-again"), ("POST",)),
        (("clinic-request",), ("GET", "POST")),
        (("people-access-file",), ("POST",)),
        (("people-access-file-zip",), ("GET",)),
        # Accounts, roles and keys
        (("people-staff-new", "people-account", "role-grant"), ("GET", "POST")),
        (("people-invite", "people-sign-out", "people-leave", "sign-in-end"), ("POST",)),
        (("people-factor-ask", "people-factor-settle"), ("POST",)),
        (("api-tokens", "api-token-revoke"), ("POST",)),
        (("retention-approve",), ("POST",)),
        # What cannot be taken back, and what opens a patient's pages. Not a patient's address: who changes it
        # could hand the same forms out by QR code, reads no answer by them, and does it all day.
        (("withdrawal-enter", "emergency"), ("GET", "POST")),
        (("people-therapy-transfer",), ("POST",)),
    )
    for route in routes
    for method in methods
)
# Where somebody may be who has signed in and not given a second factor, beside signing out: setting the first
# one up. With a factor set up meanwhile, they are signed out. On pages for everybody they are nobody.
UNPROVEN = frozenset(
    {"mfa_activate_totp", "mfa_add_webauthn", "account_change_password", "account_reauthenticate"}
)
# What the session keeps of where somebody wanted to go before that.
WANTED = "wanted"


def _scope(scope: Scope, *routes: str, methods: tuple[str, ...] = ("GET",)) -> dict[tuple[str, str], str]:
    return {(route, method): scope.value for route in routes for method in methods}


# What a token must be for, beside what the role of its owner allows. A route without a line is refused to
# every token that is for something; only a token without a list of uses may do all that its owner may.
SCOPES: dict[tuple[str, str], str] = {
    **_scope(Scope.PATIENTS_READ, "api-patients", "api-patient"),
    **_scope(Scope.PATIENTS_WRITE, "api-patients", methods=("POST",)),
    **_scope(Scope.THERAPIES_READ, "api-therapies", "api-therapy"),
    **_scope(Scope.THERAPIES_WRITE, "api-therapies", methods=("POST",)),
    **_scope(Scope.SESSIONS_READ, "api-sessions", "api-session"),
    **_scope(Scope.SESSIONS_WRITE, "api-sessions", methods=("POST",)),
    **_scope(Scope.FORMS_READ, "api-questionnaires", "api-questionnaire"),
    **_scope(Scope.RATINGS_READ, "api-therapy-trend", "api-answers", "api-answer"),
    **_scope(Scope.STUDIES_READ, "api-studies"),
    **_scope(Scope.DATASETS_READ, "api-snapshots", "api-exports", "api-export", "api-export-file"),
    **_scope(Scope.DATASETS_WRITE, "api-snapshots", "api-exports", methods=("POST",)),
}


def scopes_for(own_roles: frozenset[str]) -> list[Scope]:
    """The uses of a token that mean anything for somebody with these roles."""
    found = {scope for line, scope in SCOPES.items() if POLICY[line] & own_roles}
    return [scope for scope in Scope if scope.value in found]


def permitted(route: str, method: str) -> frozenset[str] | None:
    """Who may use a route with a method; HEAD is GET without a body. None: nobody."""
    return POLICY.get((route, "GET" if method == "HEAD" else method))


def methods(route: str) -> list[str]:
    return sorted(method for name, method in POLICY if name == route)


def is_permitted(user: User | AnonymousUser, allowed: frozenset[str]) -> bool:
    if ANYONE in allowed:
        return True
    if not user.is_authenticated:
        return False
    if SIGNED_IN in allowed or (OPERATOR in allowed and user.is_superuser):
        return True
    if EMERGENCY in allowed and user.is_superuser and open_emergency(user) is not None:
        return True
    return bool(roles(user) & allowed)


def _route(request: HttpRequest) -> str:
    return request.resolver_match.view_name if request.resolver_match else ""


def _is_confirmed(request: HttpRequest) -> bool:
    method = "GET" if request.method == "HEAD" else request.method or ""
    return (_route(request), method) not in CONFIRMED or is_confirmed(request)


class PolicyMiddleware:
    """The gate of every page. Views of the API are left to `PolicyPermission`, which they must carry:
    a token is known only there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponse],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> HttpResponse | None:
        if PolicyPermission in getattr(getattr(view, "cls", None), "permission_classes", ()):
            return None
        route = _route(request)
        allowed = permitted(route, request.method or "")
        if allowed is None:
            if methods(route):
                return not_allowed(request, methods(route))
            raise PermissionDenied(_("This address has no rule that lets anybody in."))
        if ANYONE in allowed:
            request.user = SimpleLazyObject(partial(_known, request, request.user))  # type: ignore[assignment]
            return None
        if isinstance(request.user, User) and not _may_be_here(request, request.user, route):
            return _to_the_factor(request)
        if is_permitted(request.user, allowed):
            return None if _is_confirmed(request) else confirmation(request)
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        raise PermissionDenied(_("Your role in the clinic does not include this page."))


def _known(request: HttpRequest, user: User | AnonymousUser) -> User | AnonymousUser:
    """On pages for everybody, who has not given a second factor is nobody. Asked late: most do not ask."""
    return user if user.is_authenticated and is_proven(request, user) else AnonymousUser()


def _may_be_here(request: HttpRequest, user: User, route: str) -> bool:
    """Who has given a factor, anywhere; who has none, where one is set up. Else a password alone would
    replace the factor that its owner set up meanwhile."""
    if is_proven(request, user) or route == "account_logout":
        return True
    return route in UNPROVEN and not has_factor(user)


def _to_the_factor(request: HttpRequest) -> HttpResponse:
    """To the page that sets one up; and to the sign-in again where that was done meanwhile somewhere else."""
    if isinstance(request.user, User) and has_factor(request.user):
        logout(request)
        return redirect_to_login(request.get_full_path())
    if request.method == "GET":
        request.session[WANTED] = request.get_full_path()
    return redirect_to_login(request.get_full_path(), reverse("mfa_activate_totp"))


class PolicyPermission(BasePermission):
    """The same list for the API, and what a token is for; 401 or 403 as the authentication asks for."""

    message = "Your role in the clinic does not include this."

    def has_permission(self, request: Request, view: object) -> bool:
        route, method = _route(request._request), request.method or ""
        allowed = permitted(route, method)
        if allowed is None:
            if methods(route):
                raise MethodNotAllowed(method)
            return False
        if not is_permitted(request.user, allowed):
            return False
        # A token was made after the password was asked for; a browser may have been left alone.
        if request.auth is None and not _is_confirmed(request._request):
            raise NotPermitted(
                "Confirm your password first: open /accounts/reauthenticate/ in this browser, then ask again."
            )
        is_session = request.auth is None and request.user.is_authenticated and ANYONE not in allowed
        if is_session and not is_proven(request._request, request.user):
            raise NotPermitted("Sign in with a second factor first: open the site in this browser.")
        scopes = None if ANYONE in allowed else token_scopes(request.auth)
        needed = SCOPES.get((route, "GET" if method == "HEAD" else method))
        if scopes is not None and needed not in scopes:
            what = f"the scope {needed}" if needed else "a scope for this"
            raise NotPermitted(f"This token does not have {what}. Make one that has, or use another one.")
        return True
