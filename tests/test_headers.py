"""Refusals and faults of every layer carry the headers of a page. All routes with all methods and roles:
tests/doors."""

import io
from collections.abc import Callable
from unittest import mock

import pytest
from django.db import OperationalError
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from alliance_site import wsgi
from tests.conftest import Cast, signed_in
from tests.headers import EXPECTED, wrong_headers

PATIENTS = "/api/v1/patients/"
LOGIN = "/accounts/login/"


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda client: client.get("/nowhere/"), 404),
        (lambda client: client.get("/%00/"), 404),
        (lambda client: client.get("/r/nothing/"), 404),
        (lambda client: client.get(f"{LOGIN}?x=%00"), 400),
        (lambda client: client.post(LOGIN, {"login": "\0"}), 400),
        (lambda client: client.post(LOGIN, {"x": "x" * 300_000}), 413),
        (lambda client: client.post(LOGIN, {}, content_type="application/json"), 415),
        (lambda client: client.get(LOGIN, headers={"host": "evil.example"}), 400),
        (lambda client: client.get("/api/v1/nothing/"), 404),
        (lambda client: client.get(PATIENTS), 401),
        (lambda client: client.post(PATIENTS, b"x" * 300_000, content_type="application/json"), 413),
    ],
)
def test_a_refusal_of_any_layer_carries_them(
    db: None, ask: Callable[[Client], HttpResponse], status: int
) -> None:
    answer = ask(Client())
    assert answer.status_code == status
    assert wrong_headers(answer, is_secure=False) == {}


def test_a_form_that_the_browser_does_not_vouch_for_too(db: None) -> None:
    answer = Client(enforce_csrf_checks=True).post(LOGIN, {})
    assert answer.status_code == 403 and wrong_headers(answer, is_secure=False) == {}


@pytest.mark.parametrize(
    ("fault", "status"), [(RuntimeError("secret words"), 500), (OperationalError("secret words"), 503)]
)
def test_a_fault_carries_them_and_tells_nothing(cast: Cast, fault: Exception, status: int) -> None:
    client = signed_in(cast.clinic_admin, raise_request_exception=False)
    with (
        mock.patch("surveys.api.people.clinic_patients", side_effect=fault),
        mock.patch("alliance_site.views.roles", side_effect=fault),
    ):
        page, data = client.get(reverse("home")), client.get(PATIENTS)
    for answer in (page, data):
        assert answer.status_code == status
        assert wrong_headers(answer, is_secure=False) == {}
        assert b"secret words" not in answer.content
    assert "text/html" in page["Content-Type"] and data["Content-Type"] == "application/json"
    assert set(data.json()) == {"detail"}


def test_what_is_answered_before_django_too() -> None:
    environ = {"PATH_INFO": "/", "CONTENT_TYPE": "text/html; charset=utf-16", "wsgi.input": io.BytesIO()}
    headers: list[tuple[str, str]] = []
    list(wsgi.application(environ, lambda _status, given, *_: headers.extend(given)))
    assert dict(headers).items() >= EXPECTED.items()


def test_the_browser_is_bound_to_https_by_https_alone(db: None) -> None:
    assert wrong_headers(Client().get(LOGIN, secure=True)) == {}
    assert wrong_headers(Client().get(LOGIN), is_secure=False) == {}
