"""Rows 67 to 75: what an address, a header or a cookie may hold."""

import gzip
import time

from django.conf import settings
from django.core.cache import cache
from django.test import Client

from surveys.services.people import staff_leave
from tests import factories
from tests.bad_inputs.conftest import FORM, JSON, Api, Sheet
from tests.bad_inputs.rows import CANARY, nothing_stored, refused, row
from tests.conftest import Cast, signed_in

LOGIN = "/accounts/login/"


@row(67, "/r/ + 10 kB, %00, ..%2f, double-encoded")
def odd_link(db: None) -> None:
    """The server itself takes no address of this length (the real one, below, says 400)."""
    cache.clear()
    Client().get("/r/x/")
    odd = (
        "A" * 10_000,
        "%00",
        "A%00",
        "..%2f..%2f",
        "%252e%252e%252f",
        "%2500",
        "%c3%28",
        "%ed%a0%80",
        CANARY,
    )
    seconds = []
    for token in odd:
        begun = time.perf_counter()
        refused(Client().get(f"/r/{token}/"), 404)
        seconds.append(time.perf_counter() - begun)
    # 50 ms on a machine that does nothing else; here the one in the middle, of a machine that may be busy.
    assert sorted(seconds)[len(odd) // 2] < 0.25


@row(68, "?next=//evil, javascript:")
def elsewhere(cast: Cast) -> None:
    targets = (
        "//evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\\evil",
        "\\/evil",
        "///evil",
    )
    for target in targets:
        account = {"login": cast.therapist.email, "password": factories.PASSWORD}
        answer = Client().post(LOGIN, {**account, "next": target})
        assert (answer.status_code, answer["Location"]) == (302, "/")
        answer = Client().post("/language/", {"language": "de", "next": target})
        assert (answer.status_code, answer["Location"]) == (302, "/")


@row(69, "bad Host")
def other_host(db: None) -> None:
    hosts = ("evil.example", "evil.example:80", "testserver.evil.example", "a b", "@", f"{CANARY}.example")
    for host in hosts:
        refused(Client(HTTP_HOST=host).get(LOGIN), 400)
        answer = Client(HTTP_HOST=host).get("/api/v1/patients/")
        refused(answer, 400)
        assert answer["Content-Type"] == JSON


@row(70, "forged X-Forwarded-For/Proto/Host")
def forged(cast: Cast) -> None:
    said = {"x-forwarded-host": "evil.example", "x-forwarded-proto": "https", "x-forwarded-for": "9.9.9.9"}
    answer = Client().get("/caseload/", headers=said)
    assert (answer.status_code, answer["Location"]) == (302, f"{LOGIN}?next=/caseload/")
    assert not answer.wsgi_request.is_secure()
    assert "evil.example" not in Client().get(LOGIN, headers=said).content.decode()
    # Who guesses links is counted by the address that the line is from, whatever they say that it is.
    cache.clear()
    answers = [Client().get("/r/x/", headers={"x-forwarded-for": f"9.9.9.{n}"}) for n in range(32)]
    assert (answers[0].status_code, answers[-1].status_code) == (404, 429)


@row(71, "8 kB cookie, unknown session id, session of a disabled user")
def odd_cookies(cast: Cast) -> None:
    closed = signed_in(cast.therapist)
    assert closed.get("/caseload/").status_code == 200
    staff_leave(clinic=cast.clinic, user=cast.therapist)
    session = settings.SESSION_COOKIE_NAME
    # The last two are how a cookie writes a NUL and bytes that are no text.
    values = ("a" * 32, "a" * 8_000, f'"{CANARY}{CANARY}\\000"', '"' + "\\355\\240\\200" * 6 + '"')
    with nothing_stored():
        answers = [closed.get("/caseload/")]
        for name in (session, "__Host-browser", "__Host-tablet", settings.LANGUAGE_COOKIE_NAME):
            answers += [Client().get("/caseload/", headers={"cookie": f"{name}={text}"}) for text in values]
        refused(Client().get("/api/v1/patients/", headers={"cookie": f"{session}={values[2]}"}), 401)
    for answer in answers:
        assert answer.status_code == 302
        assert answer["Location"] in (f"{LOGIN}?next=/caseload/", "/tablet/")


@row(72, "CR LF in file name or redirect")
def line_ends(admin: Client, cast: Cast) -> None:
    for target in ("/caseload/\r\nX-Evil: 1", "/caseload/%0d%0aX-Evil: 1"):
        for answer in (
            Client().post("/language/", {"language": "de", "next": target}),
            Client().get("/caseload/", {"x": target}),
        ):
            assert answer.status_code in (302, 400)
            assert "X-Evil" not in answer.headers
            assert not {"\r", "\n"} & set(answer.headers.get("Location", ""))
    # A file is named by the site, after codes that hold no such thing.
    instrument = factories.instrument("wai-s", "patient")
    answer = admin.get(f"/instruments/{instrument.pk}/file/")
    assert answer.status_code == 200
    assert answer["Content-Disposition"].isascii() and not {"\r", "\n"} & set(answer["Content-Disposition"])


@row(74, "Accept-Language of 5 kB")
def long_list_of_languages(db: None) -> None:
    for wish in ("de;q=0.1," * 600, "x" * 5_000, "\x00", "*", "de-" * 40, "de;q=٣"):
        answer = Client().get(LOGIN, headers={"accept-language": wish})
        assert (answer.status_code, answer["Content-Language"]) == (200, "en-gb")
    assert Client().get(LOGIN, headers={"accept-language": "de"})["Content-Language"] == "de"


@row(75, "gzip bomb body")
def packed(sheet: Sheet, api: Api) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    with nothing_stored():
        for coding in ("gzip", "deflate", "br", "identity, gzip"):
            refused(sheet.raw(bomb, FORM, headers={"content-encoding": coding}), 415, "Packed content")
            refused(api.post(bomb, headers={"content-encoding": coding}), 415, "Packed content")
