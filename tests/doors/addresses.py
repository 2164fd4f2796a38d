"""Who finds what behind which address: the second telling of the policy and of the doors.

`alliance_site.policy` and the access modules decide in the product; this page is written by hand from what is
promised (docs/access.md) and asks neither. A route or method that has no line here fails
`tests/doors/test_doors.py`, which says what to add.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.doors.town import (
    ADMIN,
    NOBODY,
    OPERATORS,
    PLACES,
    RESEARCHER,
    ROLES,
    SUPERVISOR,
    THERAPIST,
    Place,
)

Rule = Callable[[str, Place], bool]
ANYONE, SIGNED_IN, OPERATOR, EMERGENCY = "anyone", "signed_in", "operator", "emergency"
STAFF = (THERAPIST, SUPERVISOR, ADMIN, RESEARCHER)


def _has(actor: str, role: str, place: Place) -> bool:
    return (role, place.clinic) in ROLES.get(actor, ())


def all_of_them(actor: str, place: Place) -> bool:
    return True


def treats(actor: str, place: Place) -> bool:
    return place.therapist == actor and _has(actor, THERAPIST, place)


def supervises(actor: str, place: Place) -> bool:
    return place.supervisor == actor and _has(actor, SUPERVISOR, place)


def opened(actor: str, place: Place) -> bool:
    """What the study opens to supervisors."""
    return supervises(actor, place) and place.is_open


def shown(actor: str, place: Place) -> bool:
    """What a therapist, who still works there, shares with the supervisor."""
    return supervises(actor, place) and place.shares and treats(place.therapist, place)


def administers(actor: str, place: Place) -> bool:
    return not place.clinic or _has(actor, ADMIN, place)


def works_there(actor: str, place: Place) -> bool:
    return not place.clinic or any(clinic == place.clinic for _, clinic in ROLES.get(actor, ()))


def researches(actor: str, place: Place) -> bool:
    """Nobody analyses the data of a clinic where they treat."""
    return _has(actor, RESEARCHER, place) and not _has(actor, THERAPIST, place)


def asked(actor: str, place: Place) -> bool:
    return researches(actor, place) and place.asked_by == actor


def holds(actor: str, place: Place) -> bool:
    """The browser's cookie or the account that a form was opened with is the key."""
    return actor in place.holders


def in_need(actor: str, place: Place) -> bool:
    """The one patient of whom an emergency is open."""
    return place is PLACES["own"]


def is_theirs(actor: str, place: Place) -> bool:
    return place.therapist == actor


@dataclass(frozen=True)
class Door:
    """Behind one route and method: by role (or ANYONE, SIGNED_IN, OPERATOR) the rule of what is found there.

    `kind` is of `Town.objects`; empty: the address names nothing. `answers`: the statuses of who finds it,
    where they are not the usual ones; `lost`: of who does not; `without_key`: of who holds nothing of the
    kind.
    """

    finds: Mapping[str, Rule]
    kind: str = ""
    answers: frozenset[int] = frozenset()
    lost: int = 404
    without_key: int = 0

    def admits(self, actor: str) -> bool:
        return any(self._is(actor, role) for role in self.finds)

    def is_found_by(self, actor: str, place: Place) -> bool:
        return any(self._is(actor, role) and rule(actor, place) for role, rule in self.finds.items())

    @staticmethod
    def _is(actor: str, role: str) -> bool:
        if role == ANYONE:
            return True
        if actor in NOBODY:
            return False
        if role in (SIGNED_IN, OPERATOR):
            return role == SIGNED_IN or actor in OPERATORS
        return (role in (EMERGENCY, actor) and actor == "emergency operator") or any(
            held == role for held, _ in ROLES[actor]
        )


DOORS: dict[tuple[str, str], Door] = {}


def _behind(
    routes: str,
    kind: str = "",
    *,
    methods: str = "GET",
    answers: tuple[int, ...] = (),
    lost: int = 404,
    without_key: int = 0,
    **finds: Rule,
) -> None:
    for route in routes.split():
        for method in methods.split():
            assert (route, method) not in DOORS, route
            DOORS[route, method] = Door(finds, kind, frozenset(answers), lost, without_key)


def _staff(rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(STAFF, rule)


READ, POST, BOTH = "GET", "POST", "GET POST"

# The site
# Without a worker the site says that it is not well.
_behind("health", anyone=all_of_them, answers=(200, 503))
_behind("schema", anyone=all_of_them)
_behind("metrics", anyone=all_of_them, answers=(404,))
_behind("status", operator=all_of_them, clinic_admin=all_of_them)
_behind("set-language", methods=POST, anyone=all_of_them)
_behind("account_login account_reset_password", methods=BOTH, anyone=all_of_them, answers=(200, 302))
_behind("account_signup account_inactive account_reset_password_done", anyone=all_of_them, answers=(200, 302))
_behind("account_reset_password_from_key_done", anyone=all_of_them)
_behind("account_reset_password_from_key", "key", methods=BOTH, anyone=all_of_them)
_behind("home", signed_in=all_of_them, answers=(200, 302))
_behind("sign-ins mfa_index", signed_in=all_of_them)
_behind("sign-in-end", methods=POST, signed_in=all_of_them)
# The second step of a sign-in that has not begun leads to its first.
_behind("mfa_authenticate mfa_login_webauthn", methods=BOTH, anyone=all_of_them, answers=(200, 302, 400))
# No provider is named to this site.
_behind("openid_connect_login openid_connect_callback", "provider", anyone=all_of_them, answers=(404,))
_behind("mfa_view_recovery_codes", signed_in=all_of_them, answers=(200, 302, 404))
_behind(
    "mfa_reauthenticate mfa_reauthenticate_webauthn mfa_activate_totp mfa_deactivate_totp mfa_add_webauthn "
    "mfa_generate_recovery_codes",
    methods=BOTH,
    signed_in=all_of_them,
    answers=(200, 302, 404),
)
_behind("mfa_remove_webauthn", "passkey", methods=BOTH, signed_in=is_theirs, answers=(200, 302))
_behind("emergency", methods=BOTH, operator=all_of_them, answers=(200, 302, 422))
_behind("emergency-end", methods=POST, operator=all_of_them)
_behind("role-grants", operator=all_of_them, clinic_admin=all_of_them)
_behind("role-grant", "grant", methods=BOTH, operator=all_of_them, clinic_admin=administers)
_behind(
    "account_logout account_change_password account_reauthenticate",
    methods=BOTH,
    signed_in=all_of_them,
    answers=(200, 302),
)

# A patient's form: the link, the browser's cookie, the tablet's cookie, the receipt code
_behind("link", "link", methods=BOTH, anyone=all_of_them, answers=(200, 303, 410))
_behind("your-data-enter", "link", methods=BOTH, anyone=all_of_them, answers=(200, 303, 422))
_behind("form form-receipt", "opening", anyone=holds, answers=(200, 303))
_behind("form-begin", "opening", methods=BOTH, anyone=holds, answers=(200, 303, 410))
_behind("form-answers form-restart form-send", "opening", methods=POST, anyone=holds)
_behind("form-offline form-worker", anyone=all_of_them)
_behind("your-data", "visit", methods=BOTH, anyone=holds, lost=410, answers=(200, 422))
_behind("your-data-sharing", "visit", methods=POST, anyone=holds, lost=410)
_behind("your-data-close", methods=POST, anyone=all_of_them, answers=(410,))
_behind("your-data-end", "own part", methods=BOTH, anyone=holds, without_key=410, answers=(200, 303, 422))
_behind("your-data-ended", "own part", anyone=holds, without_key=410, answers=(200, 303))
_behind("tablet", "lock page", methods=BOTH, anyone=holds, answers=(200, 422))
_behind("tablet-leave", "lock page", methods=BOTH, anyone=holds, answers=(200, 422), lost=302)
_behind("tablet-done", anyone=all_of_them, answers=(302,))

# Care
_behind("therapist-home agreement practice", therapist=all_of_them)
_behind("therapy therapy-chart", "therapy", therapist=treats, supervisor=opened, emergency=in_need)
_behind("therapy-pdf api-therapy-trend", "therapy", therapist=treats, supervisor=opened)
_behind("dip", "dip", methods=BOTH, therapist=treats)
_behind("session-log session-today", "therapy", methods=BOTH, therapist=treats, clinic_admin=administers)
_behind("session-correct", "session", methods=BOTH, therapist=treats, clinic_admin=administers)
_behind("no-rating", "session", methods=BOTH, therapist=treats, answers=(200, 303))
_behind("own-form-start", "own form", methods=POST, therapist=treats)
_behind("paper-form", "patient form", therapist=treats, clinic_admin=administers)
_behind("paper-entry", "patient form", methods=BOTH, clinic_admin=administers)
_behind("form-links", "patient form", therapist=treats, clinic_admin=administers)
_behind(
    "start-code form-links-screen form-links-paper form-links-mail form-links-revoke",
    "patient form",
    methods=POST,
    therapist=treats,
    clinic_admin=administers,
)
_behind("practice-sharing", "practice", methods=POST, therapist=treats)
_behind("practice-chart", "picture", therapist=treats, supervisor=shown)
_behind("supervisee-practice", "practice", supervisor=shown)
_behind("supervisor-home supervision-file shared-practices", supervisor=all_of_them)

# The clinic's administration
_behind("reception admin-home clinic-messages clinic-trace", clinic_admin=all_of_them)
_behind("clinic-completion", clinic_admin=all_of_them)
# Nothing is counted yet of which there could be a picture.
_behind("clinic-completion-chart", clinic_admin=all_of_them, answers=(404,))
_behind("people-staff people-patients setup-studies imports clinic-requests", clinic_admin=all_of_them)
_behind("clinic-choose", "clinic", methods=POST, clinic_admin=administers)
_behind("clinic-choose", clinic_admin=all_of_them)
_behind(
    "clinic-describe tablets people-staff-new people-patient-new setup-study-new",
    methods=BOTH,
    clinic_admin=all_of_them,
)
_behind("tablet-revoke", "tablet", methods=POST, clinic_admin=administers)
_behind("people-account", "user", methods=BOTH, clinic_admin=administers)
_behind("people-invite people-leave people-sign-out", "user", methods=POST, clinic_admin=administers)
_behind("people-factor-ask", "user", methods=POST, clinic_admin=administers)
# Nobody has asked for it.
_behind("people-factor-settle", "user", methods=POST, clinic_admin=administers, answers=(404,))
_behind("people-patient", "patient", clinic_admin=administers, emergency=in_need)
_behind("people-patient", "patient", methods=POST, clinic_admin=administers)
_behind("people-therapy-new people-access-file", "patient", methods=BOTH, clinic_admin=administers)
# Without the ticket that the page gives it leads back there.
_behind("people-access-file-zip", "patient", clinic_admin=administers, answers=(302,))
_behind("retention", methods=BOTH, clinic_admin=all_of_them)
_behind("retention-approve", methods=POST, clinic_admin=all_of_them)
_behind("privacy-kit", clinic_admin=all_of_them)
_behind("privacy-paper", "paper", clinic_admin=all_of_them)
_behind("privacy-information", "study", clinic_admin=administers)
_behind(
    "consent-enter withdrawal-enter",
    "part",
    methods=BOTH,
    clinic_admin=administers,
    answers=(200, 302, 422),
)
_behind("people-therapy", "therapy", clinic_admin=administers)
_behind("people-therapy-end people-therapy-transfer", "therapy", methods=POST, clinic_admin=administers)
_behind("setup-study", "study", clinic_admin=administers)
_behind("setup-step", "step", methods=BOTH, clinic_admin=administers, answers=(200, 302, 422))
_behind("setup-plan", "planned form", methods=BOTH, clinic_admin=administers, answers=(200, 302, 422))
_behind(
    "setup-draft-new setup-draft-drop setup-activate setup-test-new",
    "study",
    methods=POST,
    clinic_admin=administers,
)
_behind("setup-test", "test", clinic_admin=administers)
_behind("setup-test-link setup-test-clear", "test", methods=POST, clinic_admin=administers)
_behind("study-dips", "study", methods=BOTH, clinic_admin=administers)
_behind("import-new", "study", methods=BOTH, clinic_admin=administers)
_behind("import import-rejected", "import", clinic_admin=administers)
_behind("import-columns", "import", methods=BOTH, clinic_admin=administers)
_behind(
    "import-check import-store import-find import-drop import-undo import-cancel",
    "import",
    methods=POST,
    clinic_admin=administers,
)
_behind("clinic-request", "export", methods=BOTH, clinic_admin=administers)
_behind("instrument-list", clinic_admin=all_of_them)
_behind("instrument instrument-file", "instrument", clinic_admin=administers)
_behind("instrument-upload licences", methods=BOTH, clinic_admin=all_of_them)

# The research desk
_behind("study-list", researcher=all_of_them)
_behind("study-codebook desk-tables desk-plans desk-analyses", "study", researcher=researches)
_behind("desk-data desk-plan-new desk-analysis-new", "study", methods=BOTH, researcher=researches)
_behind("desk-analysis-ask-table", "study", methods=POST, researcher=researches)
_behind("desk-snapshot", "snapshot", methods=BOTH, researcher=researches)
_behind("desk-snapshot-cancel", "snapshot", methods=POST, researcher=researches)
_behind("desk-export", "export", researcher=researches)
_behind("desk-export-approve", "export", methods=POST, researcher=researches)
# Its bytes, and what becomes of it: of who asked for it.
_behind("desk-export-file", "export", researcher=asked, answers=(200, 302, 410))
_behind("desk-export-withdraw desk-export-again desk-export-cancel", "export", methods=POST, researcher=asked)
_behind("desk-analysis", "analysis", researcher=researches)
_behind("desk-analysis-trace", "analysis model", researcher=researches, answers=(404,))
# Nobody has answered it yet.
_behind("desk-analysis-table", "analysis", researcher=researches, answers=(200, 302, 404))
_behind(
    "desk-analysis-table-tex desk-analysis-table-csv desk-analysis-table-html",
    "analysis",
    researcher=researches,
    answers=(200, 302, 404),
)
_behind("desk-analysis-cancel", "analysis", methods=POST, researcher=researches)
_behind("desk-publish", "analysis", methods=BOTH, researcher=researches)
_behind("desk-table-withdraw", "published", methods=BOTH, researcher=researches)
_behind("desk-lock", "lock", methods=BOTH, researcher=researches)
_behind("table-latest", "table", anyone=all_of_them, answers=(302,))
_behind("table", "table version", anyone=all_of_them)
_behind("desk-plan", "plan", researcher=researches)
_behind("desk-plan-cancel", "plan", methods=POST, researcher=researches)

# What everybody has who works in a clinic, and their programs
_behind("own-trace", **_staff(all_of_them))
_behind("api-tokens", methods=BOTH, **_staff(all_of_them))
_behind("api-token-revoke", "token", methods=POST, **_staff(is_theirs))
_behind("api-patients", methods=BOTH, clinic_admin=all_of_them)
_behind("api-patient", "patient", clinic_admin=administers)
_behind("api-therapies", therapist=all_of_them, clinic_admin=all_of_them)
_behind("api-therapies", methods=POST, clinic_admin=all_of_them)
_behind("api-therapy api-sessions", "therapy", therapist=treats, clinic_admin=administers)
_behind("api-sessions", "therapy", methods=POST, clinic_admin=administers)
_behind("api-session", "session", therapist=treats, clinic_admin=administers)
_behind("api-questionnaires", **_staff(all_of_them))
_behind("api-questionnaire", "instrument", **_staff(works_there))
_behind("api-answers", "answers", therapist=treats)
_behind("api-answer", "response", therapist=treats)
_behind("api-studies", researcher=all_of_them)
_behind("api-snapshots api-exports", "study", methods=BOTH, researcher=researches)
_behind("api-export", "export", researcher=researches)
_behind("api-export-file", "export", researcher=asked, answers=(200, 403, 409, 410))

# A browser that is a tablet of a clinic shows these alone; a form with its opening.
ON_TABLETS = frozenset({"tablet", "tablet-done", "tablet-leave", "set-language", "health"})
