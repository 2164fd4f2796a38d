"""Rows 29 and 73: what Django never sees, sent to the web server as the image starts it.

Both are for the proxy in front as well, which also has to cut what nothing here can: the head of a request
that comes byte by byte (README, "Run it in a clinic").
"""

import time

import pytest

from tests.bad_inputs.rows import CANARY, row
from tests.bad_inputs.server import SECONDS, said
from tests.journeys.conftest import ROOT

HEAD = (
    "POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
)


@row(29, "slow body (1 byte/s)", pytest.mark.slow)
def slow(server: int) -> None:
    begun = time.monotonic()
    answer = said(server, f"{HEAD}Content-Length: 600\r\n\r\n", *(CANARY * 60), every=0.1)
    assert answer.startswith("HTTP/1.1 400"), answer[:200]
    assert CANARY not in answer
    assert SECONDS <= time.monotonic() - begun < SECONDS + 8
    # One that is sent at once has its answer, and so the next one: nothing waits for the slow.
    assert said(server, f"{HEAD}Content-Length: 5\r\n\r\na=%00").startswith("HTTP/1.1 400")


@row(73, "both Content-Length and chunked")
def two_lengths(server: int) -> None:
    both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    hidden = f"GET /r/{CANARY}/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for request in (
        HEAD + both + hidden,
        f"{HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        f"{HEAD}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        # Of row 67: an address that is longer than any of the site.
        f"GET /r/{'A' * 10_000}/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        answer = said(server, request)
        assert answer.startswith("HTTP/1.1 4"), answer[:200]
        assert answer.count("HTTP/1.1") == 1, "the hidden request is not answered"
        assert "Connection: close" in answer
    assert (ROOT / "docker-compose.yml").read_text().count("127.0.0.1:${PORT:-8000}:8000") == 1
