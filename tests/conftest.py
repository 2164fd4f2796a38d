"""The cast: two clinics, and in the first one therapist, a colleague, a supervisor, an administrator and
a researcher, and a stranger from the second."""

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from xdist.scheduler import LoadFileScheduling

from surveys import scope
from surveys.models import Assignment, Clinic, Role, Study, Therapy, User
from tests import factories, net
from tests.sign_in import sign_in_fully

JOURNEYS = "tests/journeys/"


def pytest_configure(config: pytest.Config) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    # Walks of all routes ask more often than anybody; the tests of the rates set their own.
    settings.API_RATE_USER = settings.API_RATE_ANONYMOUS = 100_000
    # This process keeps what hundreds of tests have made; a worker does not.
    settings.JOB_MEMORY_MB = 1 << 20
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


class ByFile(LoadFileScheduling):
    """All journeys are one file: each process that runs one of them builds a demonstration first."""

    def _split_scope(self, nodeid: str) -> str:
        return JOURNEYS if nodeid.startswith(JOURNEYS) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """With ROWS=1 all tests run under the second net, as the role of the application. The tests' own
    questions are asked of all clinics; those of a request are not."""
    if os.environ.get("ROWS"):
        with django_db_blocker.unblock():
            net.spread_for_all()
    yield
    net.gather_for_all()


@pytest.fixture(scope="session", autouse=True)
def _of_all_clinics() -> Iterator[None]:
    with scope.everything() if os.environ.get("ROWS") else nullcontext():
        yield


@dataclass(frozen=True)
class Cast:
    clinic: Clinic
    study: Study
    therapist: User
    colleague: User
    supervisor: User
    clinic_admin: User
    researcher: User
    stranger: User
    superuser: User
    therapy: Therapy
    colleague_therapy: Therapy
    stranger_therapy: Therapy
    stranger_study: Study


@pytest.fixture
def cast(db: None) -> Cast:
    clinic, other = factories.make_clinic(), factories.make_clinic("Hill Clinic")
    study, other_study = factories.make_study(clinic), factories.make_study(other, code="S2")
    supervisor = factories.make_user("supervisor@example.org", Role.SUPERVISOR, clinic=clinic)
    therapist = factories.make_user("therapist@example.org", Role.THERAPIST, clinic=clinic)
    colleague = factories.make_user("colleague@example.org", Role.THERAPIST, clinic=clinic)
    stranger = factories.make_user("stranger@example.org", Role.THERAPIST, Role.RESEARCHER, clinic=other)
    return Cast(
        clinic=clinic,
        study=study,
        therapist=therapist,
        colleague=colleague,
        supervisor=supervisor,
        clinic_admin=factories.make_user("admin@example.org", Role.CLINIC_ADMIN, clinic=clinic),
        researcher=factories.make_user("researcher@example.org", Role.RESEARCHER, clinic=clinic),
        stranger=stranger,
        superuser=factories.make_user("root@example.org", is_superuser=True),
        therapy=factories.make_therapy(study, therapist, supervisor),
        colleague_therapy=factories.make_therapy(study, colleague),
        stranger_therapy=factories.make_therapy(other_study, stranger),
        stranger_study=other_study,
    )


@pytest.fixture
def patient_form(cast: Cast) -> Assignment:
    """The form that the patient owes for the one session of the therapist's therapy."""
    return factories.form_of(factories.hold_session(cast.therapy), "patient")


def signed_in(user: User, *, is_confirmed: bool = True, **options: object) -> Client:
    """Somebody who has just given their password again, too; the tests of that are without."""
    client = Client(**options)
    sign_in_fully(client, user)
    if is_confirmed:
        confirm(client, user)
    return client


def confirm(client: Client, user: User, ago: float = 0, *, has_factor: bool = True) -> None:
    """As if the user had given their password again so many seconds ago, after a code or without one."""
    session = client.session
    at = time.time() - ago
    session["account_authentication_methods"] = [
        *([{"method": "mfa", "type": "totp", "at": at - 3600}] if has_factor else []),
        {"method": "password", "at": at, "reauthenticated": True},
    ]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
