"""What an address, a header or a cookie may hold, and the right answer to each.

The numbers are those of the table of bad inputs that the project answers to.
"""

import time

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import Client

from surveys.services.people import staff_leave
from tests import factories
from tests.conftest import Cast, signed_in

LOGIN = "/accounts/login/"


@pytest.mark.parametrize(
    "token", ["A" * 10_000, "%00", "A%00", "..%2f..%2f", "%252e%252e%252f", "%2500", "%c3%28"]
)
def test_row_67_a_link_of_any_shape_leads_nowhere_and_soon(db: None, token: str) -> None:
    cache.clear()
    Client().get("/r/x/")
    begun = time.perf_counter()
    answer = Client().get(f"/r/{token}/")
    assert answer.status_code == 404
    assert time.perf_counter() - begun < 0.5


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "javascript:alert(1)", "/\\evil"]
)
def test_row_68_signing_in_leads_to_no_other_site(cast: Cast, target: str) -> None:
    account = {"login": cast.therapist.email, "password": factories.PASSWORD}
    answer = Client().post(LOGIN, {**account, "next": target})
    assert (answer.status_code, answer["Location"]) == (302, "/")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "testserver.evil.example", "a b", ""])
def test_row_69_another_host_is_refused(db: None, host: str) -> None:
    assert Client(HTTP_HOST=host or "@").get(LOGIN).status_code == 400


def test_row_70_what_only_a_proxy_may_say_is_not_believed(cast: Cast) -> None:
    forged = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https", "x-forwarded-for": "9.9.9.9"}
    answer = Client().get("/caseload/", headers=forged)
    assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next=/caseload/")
    assert "evil.example" not in Client().get(LOGIN, headers=forged).content.decode()


def test_row_71_a_session_that_is_none_or_of_a_closed_account_leads_to_the_sign_in(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    assert client.get("/caseload/").status_code == 200
    staff_leave(clinic=cast.clinic, user=cast.therapist)
    unknown, huge = Client(), Client()
    unknown.cookies[settings.SESSION_COOKIE_NAME] = "a" * 32
    huge.cookies[settings.SESSION_COOKIE_NAME] = "a" * 8_000
    huge.cookies["__Host-browser"] = "a" * 8_000
    for stranger in (client, unknown, huge):
        answer = stranger.get("/caseload/")
        assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next=/caseload/")


@pytest.mark.parametrize("target", ["/caseload/\r\nX-Evil: 1", "/caseload/%0d%0aX-Evil: 1"])
def test_row_72_a_line_end_starts_no_header(db: None, target: str) -> None:
    answer = Client().post("/language/", {"language": "de", "next": target})
    assert answer.status_code in (302, 400)
    assert "X-Evil" not in answer.headers
    assert not {"\r", "\n"} & set(answer.headers.get("Location", ""))
