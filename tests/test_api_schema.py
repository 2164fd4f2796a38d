"""The description of the API is whole, and the API answers nothing that it does not describe."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis
from knox.models import AuthToken
from rest_framework.views import APIView
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alliance_site.wsgi import application
from surveys.services.responses import reveal
from tests import factories
from tests.conftest import Cast
from tests.test_permissions import ROUTES, snapshot_of

pytestmark = pytest.mark.django_db
SCHEMA = "/api/v1/schema/"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ROLES = ("clinic_admin", "therapist", "supervisor", "researcher", "stranger", "anonymous")


@pytest.fixture
def description(client: Client) -> dict[str, Any]:
    answer = client.get(SCHEMA, headers={"accept": "application/vnd.oai.openapi+json"})
    assert answer.status_code == 200
    return answer.json()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_has_a_name_a_place_an_example_and_all_its_answers(
    description: dict[str, Any],
) -> None:
    found = list(operations(description))
    assert len({operation["operationId"] for _, _, operation in found}) == len(found) >= 14
    for path, method, operation in found:
        where = f"{method} {path}"
        assert len(operation["tags"]) == 1 and operation["summary"], where
        answers = operation["responses"]
        expected = {"200", "400", "401", "403", "405", "406", "415", "429", "503"}
        expected |= {"404"} if "{" in path or path.endswith("QuestionnaireResponse") else set()
        expected |= {"201", "409", "412", "413"} if method == "post" else set()
        expected |= {"410"} if path.endswith("/file") else set()
        assert set(answers) == expected, where
        for code, answer in answers.items():
            ((media, content),) = answer["content"].items()
            assert content.get("examples") or media == "application/zip", (where, code)
        if method == "post":
            (content,) = operation["requestBody"]["content"].values()
            assert content["examples"], where
        assert {"Retry-After"} <= set(answers["429"]["headers"]), where


def test_what_may_be_sent_is_described_as_closed(description: dict[str, Any]) -> None:
    sent = [operation for _, method, operation in operations(description) if method == "post"]
    assert len(sent) == 5
    for operation in sent:
        (content,) = operation["requestBody"]["content"].values()
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert description["components"]["schemas"][name]["additionalProperties"] is False


def test_every_api_view_of_ours_counts_its_requests_and_is_described() -> None:
    from surveys.api.base import ApiView

    own = [
        route.callback.cls
        for route in ROUTES
        if issubclass(getattr(route.callback, "cls", object), APIView) and route.name != "schema"
    ]
    assert len(own) >= 12 and all(issubclass(view, ApiView) for view in own)


@contextmanager
def one_connection() -> Iterator[None]:
    """A server closes what it asked the database with; here that is the test's own."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def town(cast: Cast) -> Cast:
    session = factories.hold_session(cast.therapy, timezone.now() - timedelta(hours=3))
    factories.give(factories.form_of(session, "patient"), 6, sharing="answers")
    factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    reveal([session.pk])
    return cast


def ids(cast: Cast) -> dict[str, str]:
    """Of rows that are there, so that a path leads somewhere."""
    session = cast.therapy.sessions.get()
    response = factories.form_of(session, "patient").response
    return {
        "patient_id": str(cast.therapy.patient_id),
        "therapy_id": str(cast.therapy.pk),
        "session_id": str(session.pk),
        "instrument_id": str(factories.instrument("wai-s", "patient").pk),
        "response_id": str(response.pk),
        "study_id": str(cast.study.pk),
        "export_id": str(snapshot_of(cast).exports.get().pk),
    }


def fuzz(
    cast: Cast, description: dict[str, Any], n: int, roles: tuple[str, ...] = ROLES
) -> dict[str, Counter[int]]:
    """Every operation with n odd requests of each kind and of each role; how often which status, by
    operation."""
    schema = schemathesis.openapi.from_dict(description)
    schema.app = application
    people = [getattr(cast, role) if role != "anonymous" else None for role in roles]
    headers = [
        {"Authorization": f"Token {AuthToken.objects.create(user)[1]}"} if user else {} for user in people
    ]
    with one_connection():
        return {
            f"{operation.method.upper()} {operation.path}": statuses_of(operation, ids(cast), headers, n)
            for operation in (result.ok() for result in schema.get_all_operations())
        }


def statuses_of(operation: Any, real: dict[str, str], senders: list[dict[str, str]], n: int) -> Counter[int]:
    """Asks with what fits the description and with what does not, at made up rows and at real ones."""
    statuses: Counter[int] = Counter()

    def ask(case: schemathesis.Case) -> None:
        places = [case.path_parameters, {name: real[name] for name in case.path_parameters or {}}]
        for headers in senders:
            for case.path_parameters in places:
                answer = case.call(headers=headers)
                statuses[answer.status_code] += 1
                case.validate_response(answer, checks=CHECKS)

    for mode in schemathesis.GenerationMode:
        limits = hypothesis(
            max_examples=n,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        limits(given(case=operation.as_strategy(generation_mode=mode))(ask))()
    return statuses


def test_no_odd_request_breaks_the_api_or_gets_an_answer_that_is_not_described(
    town: Cast, description: dict[str, Any]
) -> None:
    seen = fuzz(town, description, n=1, roles=("clinic_admin", "therapist", "researcher", "anonymous"))
    assert len(seen) >= 14
    assert any(200 in statuses for statuses in seen.values())


@pytest.mark.slow
def test_no_odd_request_of_very_many_breaks_the_api(town: Cast, description: dict[str, Any]) -> None:
    seen = fuzz(town, description, n=25)
    assert all(401 in statuses for statuses in seen.values()), seen
    assert sum(seen.values(), Counter()).keys() >= {200, 201, 400, 403, 404}, seen
    assert sum(sum(statuses.values()) for statuses in seen.values()) >= 10_000
