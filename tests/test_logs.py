"""No token of a link reaches a log, and a refused page is one line of it."""

import io
import logging
from unittest import mock

import pytest
from django.test import Client

from alliance_site.logs import HideTokens
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
