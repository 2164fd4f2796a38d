"""Who sends bad inputs, and what to."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from analytics.models import Snapshot
from surveys.models import Assignment, Opening, Role, User
from surveys.services.invitations import link_issue
from tests import factories
from tests.analytics.clinics import frozen, research_clinic
from tests.bad_inputs.server import running
from tests.conftest import Cast, signed_in

SECTIONS = ("forms", "api", "imports", "instruments", "addresses", "exports", "wire", "rows")
pytest.register_assert_rewrite(*(f"tests.bad_inputs.{section}" for section in SECTIONS))

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass
class Sheet:
    """An opened form in a browser, and its fields as the page would send them."""

    client: Client
    assignment: Assignment
    fields: dict[str, str]
    token: str

    @property
    def url(self) -> str:
        return f"/f/{self.assignment.pk}/send/"

    def send(self, without: str = "", **changed: object) -> HttpResponse:
        fields = {name: value for name, value in {**self.fields, **changed}.items() if name != without}
        return self.raw(urlencode(fields, doseq=True))

    def raw(self, body: str | bytes, content_type: str = FORM, **extra: object) -> HttpResponse:
        return self.client.post(self.url, body, content_type=content_type, **extra)

    def save(self, **data: object) -> HttpResponse:
        """One answer, as it is given."""
        return self.client.post(f"/f/{self.assignment.pk}/answers/", data)

    def shift(self, **hours: int) -> None:
        """Moves the closing time of the form by so many hours from now."""
        opens = timezone.now() - timedelta(days=9)
        closes = timezone.now() + timedelta(**hours)
        Assignment.objects.filter(pk=self.assignment.pk).update(opens_at=opens, closes_at=closes)


OpenSheet = Callable[..., Sheet]


@pytest.fixture
def open_sheet(cast: Cast) -> OpenSheet:
    cache.clear()

    def opened(**client_options: object) -> Sheet:
        assignment = factories.form_of(factories.hold_session(cast.therapy), "patient")
        token = link_issue(assignment=assignment)
        client = Client(**client_options)
        with mock.patch("django.middleware.csrf.CsrfViewMiddleware._check_token"):
            client.post(f"/r/{token}/", headers={"origin": "http://testserver"})
        fields = {f"item_{number}": "6" for number in range(1, 13)}
        fields |= {
            "key": str(Opening.objects.get(assignment=assignment).client_key),
            "version": str(assignment.instrument_id),
            "sharing": "scores",
            "send": "send",
        }
        return Sheet(client, assignment, fields, token)

    return opened


@pytest.fixture
def sheet(open_sheet: OpenSheet) -> Sheet:
    return open_sheet()


@dataclass
class Api:
    """An administrator's program."""

    client: Client
    log: str
    patients: str = "/api/v1/patients/"
    therapies: str = "/api/v1/therapies/"

    def post(self, body: Any, url: str = "", **extra: Any) -> HttpResponse:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        headers = {"Idempotency-Key": str(uuid4())} | extra.pop("headers", {})
        options = {"content_type": JSON, "headers": headers, **extra}
        # The client's own post() fails at a character set that there is not.
        return self.client.generic("POST", url or self.patients, text, **options)

    def get(self, query: str, url: str = "") -> HttpResponse:
        return self.client.get(f"{url or self.patients}?{query}")


@pytest.fixture
def api(cast: Cast) -> Api:
    return Api(signed_in(cast.clinic_admin), f"/api/v1/therapies/{cast.therapy.pk}/sessions/")


@pytest.fixture
def admin(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


@dataclass
class Desk:
    """Frozen data, who works with them, and who decides."""

    snapshot: Snapshot
    researcher: User
    admin: User


@pytest.fixture
def desk(db: None) -> Desk:
    snapshot = frozen(research_clinic())
    clinic = snapshot.study.clinic
    people = [
        factories.make_user(f"{role}@example.org", role, clinic=clinic)
        for role in (Role.RESEARCHER, Role.CLINIC_ADMIN)
    ]
    return Desk(snapshot, *people)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the real web server."""
    with running(tmp_path_factory.mktemp("server")) as port:
        yield port
