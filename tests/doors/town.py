"""Two clinics with everybody who could knock, and one of everything that somebody could knock at.

Who somebody is and whose a thing is stand here as plain facts (`ROLES`, `Place`), for `tests.doors.addresses`
to say who finds what; nothing of it is asked of the code that is tested. What is sensitive has a mark in it
that occurs nowhere else (`Canaries`), with the actors who may read it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from surveys.models import Clinic, Role, Study, User
from tests.conftest import confirm
from tests.sign_in import sign_in_fully

HARBOUR, HILL = "Harbour Clinic", "Hill Clinic"
THERAPIST, SUPERVISOR = Role.THERAPIST.value, Role.SUPERVISOR.value
ADMIN, RESEARCHER = Role.CLINIC_ADMIN.value, Role.RESEARCHER.value

# Who has an account, and what they are in which clinic. One line more is one actor more.
ROLES: dict[str, frozenset[tuple[str, str]]] = {
    "therapist": frozenset({(THERAPIST, HARBOUR)}),
    "colleague": frozenset({(THERAPIST, HARBOUR)}),
    "foreign therapist": frozenset({(THERAPIST, HILL)}),
    # Treated in the one clinic, and works in the other one now.
    "former therapist": frozenset({(THERAPIST, HILL)}),
    "disabled therapist": frozenset({(THERAPIST, HARBOUR)}),
    "supervisor": frozenset({(SUPERVISOR, HARBOUR)}),
    "other supervisor": frozenset({(SUPERVISOR, HARBOUR)}),
    "former supervisor": frozenset({(SUPERVISOR, HILL)}),
    "clinic admin": frozenset({(ADMIN, HARBOUR)}),
    "foreign admin": frozenset({(ADMIN, HILL)}),
    "researcher": frozenset({(RESEARCHER, HARBOUR)}),
    "foreign researcher": frozenset({(RESEARCHER, HILL)}),
    # Treats in the clinic whose coded data they would analyse.
    "treating researcher": frozenset({(RESEARCHER, HARBOUR), (THERAPIST, HARBOUR)}),
    # Has given the password and no second factor.
    "half signed in": frozenset({(THERAPIST, HARBOUR)}),
    "operator": frozenset(),
    # One to whom an emergency of the therapist's patient is open.
    "emergency operator": frozenset(),
}
OPERATORS = frozenset({"operator", "emergency operator"})
# Who has none: a browser with nothing, with an open form, with a form that was sent, of a clinic's tablet.
BROWSERS = ("anonymous", "patient", "former patient", "tablet")
ACTORS = (*BROWSERS, *ROLES)
# One has signed in, and was closed since; one is on the way.
HALF = "half signed in"
NOBODY = frozenset({*BROWSERS, "disabled therapist", HALF})

BROWSER, USED_BROWSER = "B" * 43, "U" * 43


@dataclass(frozen=True)
class Place:
    """Whose a thing is. `clinic` empty: everybody's. `is_open`: to supervisors; `shares`: the therapist shows
    their practice to the supervisor; `holders`: who opened the form in this browser or under this name."""

    clinic: str
    therapist: str = ""
    supervisor: str = ""
    is_open: bool = False
    shares: bool = False
    asked_by: str = ""
    holders: frozenset[str] = frozenset()


PLACES = {
    "own": Place(HARBOUR, "therapist", "supervisor", is_open=True, shares=True),
    "near": Place(HARBOUR, "colleague", "other supervisor"),
    "far": Place(HILL, "foreign therapist", is_open=True, shares=True),
    "left": Place(HARBOUR, "former therapist", "former supervisor", is_open=True),
}
Kwargs = dict[str, Any]


@dataclass
class Canaries:
    """Marks, and who may read each. Ids and marks in words are looked up in what an answer holds; a rating is
    known by its number (a quarter or three quarters between whole ones)."""

    readers: dict[str, frozenset[str]] = field(default_factory=dict)
    WORD = re.compile(
        r"qzx[a-z0-9]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-z]{4}-[0-9a-z]{4}\b|md5\$"
        r"|(?<![\w-])[\w-]{43}(?![\w-])|(?<![\d.,:])[1-6][.,](?:25|75)(?![\d.:]|\s?%)",
        re.IGNORECASE,
    )

    def plant(self, mark: object, readers: Iterable[str] = ()) -> str:
        text = self._plain(str(mark))
        assert self.WORD.fullmatch(text), text
        self.readers[text] = self.readers.get(text, frozenset()) | frozenset(readers)
        return str(mark)

    def seen(self, text: str) -> set[str]:
        return {
            word for found in set(self.WORD.findall(text)) if (word := self._plain(found)) in self.readers
        }

    @staticmethod
    def _plain(word: str) -> str:
        # Secrets differ by case alone.
        return word if len(word) == 43 else word.lower().replace(",", ".")


@dataclass
class Town:
    clinics: dict[str, Clinic] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    studies: dict[str, Study] = field(default_factory=dict)
    # By kind of object and where it is: what the address needs, and whose it is.
    objects: dict[str, dict[str, tuple[Kwargs, Place]]] = field(default_factory=dict)
    canaries: Canaries = field(default_factory=Canaries)
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)
    # Whose an address is; and the id of the form that a link leads to.
    mail_of: dict[str, str] = field(default_factory=dict)
    behind: dict[str, set[str]] = field(default_factory=dict)

    def add(self, kind: str, at: str, place: Place, **kwargs: Any) -> None:
        self.objects.setdefault(kind, {})[at] = (kwargs, place)

    def client(self, actor: str) -> Client:
        """A browser of this actor. Who was disabled had signed in before."""
        client = Client(raise_request_exception=False)
        if actor in self.users:
            sign_in_fully(client, self.users[actor])
            confirm(client, self.users[actor], has_factor=actor != HALF)
        for name, secret in self.cookies.get(actor, {}).items():
            client.cookies[name] = secret
        return client


def members(clinic: str) -> frozenset[str]:
    return frozenset(actor for actor, held in ROLES.items() if any(at == clinic for _, at in held))


def in_role(role: str, clinic: str) -> frozenset[str]:
    return frozenset(actor for actor, held in ROLES.items() if (role, clinic) in held)


def patients_of(clinic: str) -> frozenset[str]:
    return frozenset({"patient", "former patient", "tablet"} if clinic == HARBOUR else ())
