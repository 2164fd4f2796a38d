"""While the database is away, a page says so also to who is signed in; what is made already is sent."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from surveys.session_store import SessionStore
from tests.conftest import Cast, signed_in

ADDRESSES = ["/", "/caseload/", "/status/", "/accounts/login/", "/accounts/password/change/", "/no-page/"]


def gone(*_args: Any, **_options: Any) -> Any:
    raise OperationalError("secret words")


@pytest.fixture
def client(cast: Cast) -> Client:
    return signed_in(cast.therapist, raise_request_exception=False)


@pytest.mark.parametrize("address", [*ADDRESSES, "/api/v1/therapies/"])
def test_who_is_signed_in_is_told_and_when_to_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(SessionStore, "load", gone)
    answer = client.get(address)
    assert (answer.status_code, answer["Retry-After"]) == (503, "10")
    assert b"secret words" not in answer.content


def test_what_is_made_already_is_sent_though_its_session_cannot_be_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first one keeps the name of the browser.
    client.get("/caseload/")
    monkeypatch.setattr(SessionStore, "create_model_instance", gone)
    assert client.get("/caseload/").status_code == 200


def test_a_session_that_has_changed_is_not_said_to_be_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionStore, "create_model_instance", gone)
    assert client.get("/caseload/").status_code == 503


def test_a_session_that_was_ended_meanwhile_is_no_fault_of_the_database(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = SessionStore.create_model_instance

    def ended(store: SessionStore, data: dict[str, Any]) -> Any:
        store.delete()
        return make(store, data)

    monkeypatch.setattr(SessionStore, "create_model_instance", ended)
    assert client.get("/caseload/").status_code == 400
