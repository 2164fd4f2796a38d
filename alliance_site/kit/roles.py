"""Who may do what, as a table: read from the list by which the site itself refuses (`alliance_site.policy`).

An area is a group of routes; a route of no area stands under its own name, so that nothing is left out. Whose
rows somebody finds on a page they may open is decided by the doors of `surveys.access` and its siblings; the
last column says it in words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from alliance_site.kit.documents import Grid
from alliance_site.policy import ANYONE, EMERGENCY, OPERATOR, POLICY, SIGNED_IN
from surveys.models import Role


@dataclass(frozen=True)
class Area:
    title: str | Promise
    whose: str | Promise
    routes: tuple[str, ...]
    """Names, or beginnings with a star. The first area that a route is of counts."""


AREAS: Sequence[Area] = (
    Area(
        _("Patients’ forms, and their own page"),
        _(
            "Who holds a link, or a tablet with its code: this one form, to write. Own answers only with "
            "the receipt code."
        ),
        (
            "link",
            "form",
            "form-receipt",
            "form-offline",
            "form-worker",
            "form-begin",
            "form-answers",
            "form-restart",
            "form-send",
            "your-data*",
            "tablet",
            "tablet-leave",
            "tablet-done",
        ),
    ),
    Area(
        _("Ratings of a therapy"),
        _(
            "Therapists: own therapies. Supervisors: those of whom they supervise, where the study or "
            "the therapist opens them. Of patients’ ratings what study and patient allow, after the own "
            "rating."
        ),
        ("therapy", "therapy-*", "dip", "agreement", "api-therapy-trend", "api-answer*"),
    ),
    Area(
        _("Boards and caseloads"),
        _("Own therapies, or those of whom somebody supervises: which forms are in."),
        ("therapist-home", "supervisor-home", "supervision-file"),
    ),
    Area(
        _("A therapist’s own practice"),
        _("The therapist. The supervisor where the therapist shares it."),
        ("practice*", "shared-practices", "supervisee-practice", "own-form-start", "no-rating"),
    ),
    Area(
        _("Session logs, links, paper, codes for tablets"),
        _(
            "Therapists: own therapies. Administrators: the clinic’s. No link of a patient that was sent "
            "can be seen again."
        ),
        (
            "session-*",
            "reception",
            "form-links*",
            "paper-*",
            "start-code",
            "api-therapies",
            "api-therapy",
            "api-session*",
        ),
    ),
    Area(
        _("Patients, therapies, addresses, consents, withdrawals"),
        _(
            "The clinic’s; no rating. The one exception is the file for a patient who asks what is kept "
            "about them."
        ),
        ("people-patient*", "people-therapy*", "people-access*", "consent-*", "withdrawal-*", "api-patient*"),
    ),
    Area(
        _("Staff, roles, tablets, the clinic itself"),
        _("The clinic’s."),
        (
            "people-*",
            "role-grant*",
            "tablets",
            "tablet-revoke",
            "clinic-choose",
            "clinic-describe",
            "admin-home",
        ),
    ),
    Area(
        _("Studies, questionnaires, licences"),
        _("The clinic’s."),
        ("setup-*", "study-dips", "instrument*", "licences", "api-questionnaire*"),
    ),
    Area(_("Imported files"), _("The clinic’s."), ("import*",)),
    Area(
        _("Numbers of many together"),
        _("The clinic’s; of at least 5 patients and 3 therapists."),
        ("clinic-completion*",),
    ),
    Area(_("How long things are kept, privacy papers"), _("The clinic’s."), ("retention*", "privacy-*")),
    Area(
        _("E-mails sent, the trace"),
        _("The clinic’s; everybody their own acts."),
        ("clinic-messages", "clinic-trace", "own-trace"),
    ),
    Area(
        _("Coded data, analyses, files for research"),
        _(
            "Researchers: studies of their clinic, under pseudonyms; a file leaves with the approval of "
            "others."
        ),
        ("desk-*", "study-list", "study-codebook", "api-studies", "api-snapshots", "api-export*"),
    ),
    Area(_("Approval of files for research"), _("Those asked for in the clinic."), ("clinic-request*",)),
    Area(_("Published tables"), _("What researchers published: everybody."), ("table", "table-latest")),
    Area(
        _("Own account, signing in, programs with a token"),
        _("One’s own."),
        ("account*", "home", "api-token*", "set-language", "mfa*", "openid*", "sign-in*"),
    ),
    Area(
        _("Opening one patient’s pages in an emergency"),
        _("Operators, for half an hour: two people of the clinic are told, and each page is in its trace."),
        ("emergency*",),
    ),
    Area(
        _("State of the machine"),
        _("Counts alone, nothing about a person."),
        ("status", "health", "metrics", "schema"),
    ),
)
COLUMNS: Mapping[str, str | Promise] = {
    ANYONE: _("Without an account"),
    Role.THERAPIST: Role.THERAPIST.label,
    Role.SUPERVISOR: Role.SUPERVISOR.label,
    Role.CLINIC_ADMIN: Role.CLINIC_ADMIN.label,
    Role.RESEARCHER: Role.RESEARCHER.label,
    OPERATOR: _("Operator of the site"),
    EMERGENCY: _("Operator, in an emergency"),
}


def area_of(route: str) -> Area:
    found = next((area for area in AREAS if any(fnmatch(route, name) for name in area.routes)), None)
    return found or Area(route, "", (route,))


def matrix() -> Grid:
    """One row for each area of which the site has a route."""
    may: dict[str, dict[str, set[str]]] = {}
    areas = {}
    for (route, method), allowed in POLICY.items():
        area = area_of(route)
        areas[str(area.title)] = area
        row = may.setdefault(str(area.title), {})
        for column in COLUMNS:
            if _lets_in(allowed, column):
                row.setdefault(column, set()).add(method)
    order = {str(area.title): number for number, area in enumerate(AREAS)}
    titles = sorted(may, key=lambda title: (order.get(title, len(order)), title))
    return Grid(
        [str(_("Area")), *map(str, COLUMNS.values()), str(_("Whose"))],
        [
            [title, *(_may(may[title].get(column, set())) for column in COLUMNS), str(areas[title].whose)]
            for title in titles
        ],
    )


def _lets_in(allowed: frozenset[str], column: str) -> bool:
    return ANYONE in allowed or column in allowed or (SIGNED_IN in allowed and column != ANYONE)


def _may(methods: set[str]) -> str:
    if methods - {"GET"}:
        return str(_("sees, changes") if "GET" in methods else _("changes"))
    return str(_("sees")) if methods else "–"
