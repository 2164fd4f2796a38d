"""No token of a link reaches a log, and a refused page is one line of it. As JSON it names no person."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from django.db import Error, connection, transaction
from django.test import Client

from alliance_site.logs import HideTokens, JsonLines, NoRefusals, request_id
from tests.conftest import Cast, signed_in

TOKEN = "q" * 43


def written(record: logging.LogRecord) -> str:
    assert HideTokens().filter(record)
    return logging.Formatter().format(record)


def test_a_token_in_a_message_is_hidden() -> None:
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "Not Found: %s", (f"/r/{TOKEN}/",), None)
    assert written(record) == "Not Found: /r/.../"


def test_a_token_in_a_traceback_is_hidden() -> None:
    try:
        raise ValueError(f"GET /r/{TOKEN}/ failed")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    text = written(logging.LogRecord("x", logging.ERROR, __file__, 1, "Oops", (), info))
    assert "ValueError" in text
    assert TOKEN not in text


def test_the_handler_of_every_log_hides_tokens(db: None, capfd: pytest.CaptureFixture[str]) -> None:
    Client().get(f"/r/{TOKEN}/")
    Client().put(f"/r/{TOKEN}/")
    assert all(
        any(isinstance(f, HideTokens) for f in h.filters)
        for h in logging.getLogger().handlers
        if type(h) is logging.StreamHandler
    )
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the site's own handler writes."""
    (console,) = (h for h in logging.getLogger().handlers if type(h) is logging.StreamHandler)
    text = io.StringIO()
    monkeypatch.setattr(console, "stream", text)
    return text


def test_a_refused_page_is_one_line_in_the_log(cast: Cast, log: io.StringIO) -> None:
    assert signed_in(cast.supervisor).get("/caseload/").status_code == 403
    (line,) = log.getvalue().splitlines()
    assert "Forbidden" in line
    assert "/caseload/" in line


def test_an_error_of_our_own_keeps_its_traceback(cast: Cast, log: io.StringIO) -> None:
    client = signed_in(cast.therapist, raise_request_exception=False)
    with mock.patch("analytics.views.board.caseload_board", side_effect=RuntimeError("broken")):
        assert client.get("/caseload/").status_code == 500
    assert "Traceback" in log.getvalue()
    assert "RuntimeError: broken" in log.getvalue()


def test_what_the_database_says_about_values_is_not_in_the_log(
    db: None, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row that it refuses, the text that is no number, the statement that it quotes."""
    value = "canary-of-a-value"
    refused = (
        "CREATE TEMP TABLE t (a text CONSTRAINT short CHECK (length(a) < 9)); INSERT INTO t VALUES (%s)",
        "SELECT %s::int",
        "SELECT nothing FROM t WHERE a = %s",
        # A traceback shows a line of code, which holds no value.
        "DO $$ BEGIN RAISE EXCEPTION 'a canary'; END $$; SELECT %s",
    )
    for statement in refused:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement, [value])
        except Error:
            logging.getLogger("x").exception("It failed.")
    text = log.getvalue()
    assert "canary" not in text
    for words in ("CheckViolation: 23514 short", "IntegrityError: 23514 short", ": 22P02", ": P0001"):
        assert f"{words}\n" in text
    assert '42P01 relation "t" does not exist' in text
    assert text.count("test_logs.py") >= 4


@pytest.fixture
def lines(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the handler writes with LOG_FORMAT=json."""
    (console,) = (h for h in logging.getLogger().handlers if type(h) is logging.StreamHandler)
    monkeypatch.setattr(console, "formatter", JsonLines())
    monkeypatch.setattr(console, "filters", [NoRefusals(), *console.filters])
    requests = logging.getLogger("alliance.request")
    before = requests.level
    requests.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in log.getvalue().splitlines()]
    requests.setLevel(before)


def test_a_request_is_one_line_with_its_route_and_no_person(cast: Cast, lines: Any) -> None:
    address = f"/therapies/{cast.therapy.pk}/?perspective=therapist"
    answer = signed_in(cast.therapist).get(address)
    signed_in(cast.therapist).get("/caseload/")
    signed_in(cast.supervisor).get("/caseload/")
    Client().get(f"/r/{TOKEN}/")
    Client().get("/health/")
    own, again, refused, link = lines()
    assert (own["route"], own["status"], own["method"]) == ("therapy", 200, "GET")
    assert own["request"] == answer.headers["X-Request-ID"]
    assert own["ms"] > 0
    assert own["user"] == again["user"] != refused["user"]
    assert len(own["user"]) == 12
    assert (refused["route"], refused["status"]) == ("therapist-home", 403)
    assert (link["route"], link["user"]) == ("link", "")
    text = json.dumps(lines())
    people = (str(cast.therapist.pk), cast.therapist.email, str(cast.therapy.pk), TOKEN, "perspective")
    assert not [word for word in people if word in text]


def test_an_error_says_what_and_where_and_not_its_words(cast: Cast, lines: Any) -> None:
    client = signed_in(cast.therapist, raise_request_exception=False)
    words = RuntimeError("Key (email)=(patient@example.org) already exists.")
    with mock.patch("analytics.views.board.caseload_board", side_effect=words):
        answer = client.get("/caseload/?code=ABC")
    error, request = lines()
    assert error["error"] == ["RuntimeError"]
    assert any("therapist-home" in at or "board" in at for at in error["at"])
    assert (error["message"], error["request"]) == ("Internal Server Error: /…", request["request"])
    assert request["status"] == answer.status_code == 500
    assert not [word for word in ("patient@example.org", "already", "ABC") if word in json.dumps(lines())]


def test_addresses_of_pages_and_people_are_taken_out_of_any_message() -> None:
    text = f"GET /r/{TOKEN}/?next=/x for reception@example.org failed; 3/4 done"
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, text, (), None)
    assert json.loads(JsonLines().format(record))["message"] == "GET /… for … failed; 3/4 done"


def test_an_answer_has_its_number_while_the_log_is_plain(db: None, log: io.StringIO) -> None:
    first, second = (Client().get("/accounts/login/").headers["X-Request-ID"] for _ in range(2))
    assert first != second
    assert log.getvalue() == ""
    assert request_id.get() == ""
