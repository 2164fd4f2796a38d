"""No page fails at a parameter or a field that holds something odd, whoever sends it."""

import re
from collections.abc import Iterator

import pytest
from django import forms
from django.test import Client

from alliance_site.policy import POLICY
from tests import factories
from tests.conftest import Cast
from tests.journeys.conftest import ROOT
from tests.test_permissions import NAMES, client_of, url_of

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
ACTORS = ("anonymous", "therapist", "supervisor", "clinic_admin", "researcher")
ODD = (
    *("²", "٣", "x" * 3000, "-1", "1e9", "9" * 30, "{}", "\u202e", "'", "", "%", "../../etc", "None"),
    "0000-00-00",
)
# Words behind which a view reads one thing: request.GET.get("page").
READ = re.compile(r'(?:GET|POST)(?:\.get|\.getlist)?[\[(]"(\w+)"')


def read_by_hand() -> set[str]:
    apps = (ROOT / "surveys", ROOT / "analytics", ROOT / "alliance_site")
    return {name for app in apps for path in app.rglob("*.py") for name in READ.findall(path.read_text())}


def kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


def read_by_forms() -> set[str]:
    found = {name for kind in kinds(forms.BaseForm) for name in getattr(kind, "base_fields", {})}
    assert len(found) > 50
    return found


def open_to(actor: str, method: str, cast: Cast) -> Iterator[tuple[str, Client]]:
    """Addresses that the actor may ask in this way, and a browser."""
    client = client_of(actor, cast)
    client.raise_request_exception = False
    for name in NAMES:
        allowed = POLICY.get((name, method), frozenset())
        is_own = actor in allowed or "anyone" in allowed or (actor != "anonymous" and "signed in" in allowed)
        if is_own and name not in ("account_logout", "health") and not name.startswith("api-"):
            yield url_of(name, cast), client


@pytest.mark.parametrize("actor", ACTORS)
def test_no_page_fails_at_a_parameter(cast: Cast, actor: str) -> None:
    factories.hold_session(cast.therapy)
    names = read_by_hand()
    failed = []
    for url, client in open_to(actor, "GET", cast):
        for value in ODD:
            status = client.get(url, dict.fromkeys(names, value)).status_code
            if status >= 500:
                failed.append((url, value, status))
    assert failed == []


@pytest.mark.parametrize("actor", ACTORS)
def test_no_page_fails_at_a_field(cast: Cast, actor: str) -> None:
    factories.hold_session(cast.therapy)
    names = sorted(read_by_hand() | read_by_forms())[:190]
    failed = []
    for url, _ in open_to(actor, "POST", cast):
        for value in (*ODD, "\x00"):
            client = client_of(actor, cast)
            client.raise_request_exception = False
            status = client.post(url, dict.fromkeys(names, value[:1000])).status_code
            if status >= 500:
                failed.append((url, value, status))
    assert failed == []
