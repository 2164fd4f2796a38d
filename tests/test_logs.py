"""No token of a link reaches a log."""

import logging

import pytest
from django.test import Client

from alliance_site.logs import HideTokens

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
