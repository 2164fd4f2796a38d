"""docs/nginx.conf.example as it is given to operators: nginx takes it, and keeps from the site what no site
should see. Needs nginx; what patients notice of it is in benchmarks/faults (--proxy)."""

import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.proxy import BOTH, EXAMPLE, command, written
from tests.journeys.conftest import free_port, wait_for

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
HEAD = "POST /f/ HTTP/1.1\r\nHost: clinic.example\r\nContent-Length: {}\r\n\r\n"


def test_the_example_names_what_the_handbook_asks_for() -> None:
    words = EXAMPLE.read_text()
    for line in (
        "access_log off;",
        "proxy_set_header Host $host;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
        "proxy_request_buffering on;",
    ):
        assert line in words
    ours = written(words, Path("/x"), 4000, [4001, 4002])
    assert "server 127.0.0.1:4001 max_fails=0;\n    server 127.0.0.1:4002 max_fails=0;" in ours
    assert "listen 127.0.0.1:4000;" in ours
    assert "ssl" not in ours
    assert "8000" not in ours


class Heard(http.server.BaseHTTPRequestHandler):
    """A web process that answers everybody and counts."""

    requests: list[dict[str, str]] = []
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.requests.append(dict(self.headers))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nothing."""


@pytest.fixture
def front(tmp_path: Path) -> Iterator[int]:
    """The port of nginx before one web process."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    Heard.requests = []
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Heard)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    # The account of nginx may enter every folder above its own.
    tmp_path.chmod(0o755)
    port = free_port()
    nginx = subprocess.Popen(command(tmp_path, port, [site.server_address[1]]))

    def listens() -> bool:
        assert nginx.poll() is None, (tmp_path / "nginx.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for("nginx listens", listens, 10)
        yield port
    finally:
        nginx.terminate()
        nginx.wait(10)
        site.shutdown()


def said(port: int, request: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(request.encode())
        return line.recv(4000)


@pytest.mark.slow
def test_a_request_with_two_lengths_never_reaches_the_site(front: int) -> None:
    assert said(front, BOTH).startswith(b"HTTP/1.1 400")
    assert Heard.requests == []


@pytest.mark.slow
def test_the_site_hears_of_a_body_when_it_is_whole_and_from_whom_it_came(front: int) -> None:
    with socket.create_connection(("127.0.0.1", front), timeout=10) as line:
        line.sendall(HEAD.format(3).encode())
        for _ in range(2):
            line.sendall(b"x")
            time.sleep(0.2)
        assert Heard.requests == []
        line.sendall(b"x")
        assert line.recv(4000).startswith(b"HTTP/1.1 200")
    (heard,) = Heard.requests
    assert heard["Host"] == "clinic.example"
    assert heard["X-Forwarded-Proto"] == "http"
    assert heard["X-Forwarded-For"] == "127.0.0.1"


@pytest.mark.slow
def test_only_a_file_for_the_clinic_may_be_large(front: int) -> None:
    assert said(front, HEAD.format(2_000_000)).startswith(b"HTTP/1.1 413")
    large = HEAD.replace("/f/", "/clinic/").format(252 << 20)
    assert said(front, large).startswith(b"HTTP/1.1 413")
    assert Heard.requests == []
