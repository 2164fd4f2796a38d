"""What happens before Django: a request in an odd character set is answered, and logs nothing secret."""

import io
import json
import logging
from typing import Any

import pytest

from alliance_site import wsgi
from alliance_site.logs import HideTokens


def answer(content_type: str) -> str:
    statuses: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/nowhere/",
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "CONTENT_TYPE": content_type,
        "wsgi.input": io.BytesIO(),
        "wsgi.url_scheme": "http",
    }
    list(wsgi.application(environ, lambda status, headers, *_: statuses.append(status)))
    return statuses[0]


@pytest.mark.django_db
@pytest.mark.parametrize("charset", ["hex", "undefined", "rot13", "idna", "utf-16"])
def test_another_character_set_is_refused(charset: str) -> None:
    assert answer(f"text/html; charset={charset}").startswith("415")


def test_a_program_is_refused_in_json() -> None:
    environ = {"PATH_INFO": "/api/v1/patients/", "CONTENT_TYPE": "application/json; charset=utf-16"}
    headers: list[tuple[str, str]] = []
    body = b"".join(wsgi.application(environ, lambda _status, given, *_: headers.extend(given)))
    assert ("Content-Type", "application/json") in headers
    assert json.loads(body) == {"detail": "Only UTF-8 is accepted."}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content_type", ["", "text/html", "text/html; charset=UTF-8", 'a/b; charset="utf-8"']
)
def test_the_usual_ones_reach_the_site(content_type: str) -> None:
    assert answer(content_type).startswith("404")


def test_the_server_s_own_log_hides_tokens() -> None:
    import importlib

    server_log = logging.getLogger("gunicorn.error")
    handler = logging.StreamHandler()
    server_log.addHandler(handler)
    try:
        importlib.reload(wsgi)
        assert any(isinstance(filter_, HideTokens) for filter_ in handler.filters)
    finally:
        server_log.removeHandler(handler)
