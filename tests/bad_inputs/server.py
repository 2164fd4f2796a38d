"""The web server as the image starts it, for what Django never sees."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.conftest import ROOT, free_port, wait_for

# Of the test; the product gives a body thirty.
SECONDS = 1
HOOK = f"""
from django.conf import settings

plain = {{"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
settings.STORAGES = {{**settings.STORAGES, "staticfiles": plain}}


def post_worker_init(worker):
    import alliance_site.middleware

    alliance_site.middleware.LONGEST_BODY = {SECONDS}
"""


def started_by_the_image() -> list[str]:
    """The command of the image, on a port of the test's own."""
    lines = (ROOT / "Dockerfile").read_text().rpartition("CMD ")[2]
    return json.loads(lines.replace("\\\n", ""))


def answers(port: int) -> bool:
    try:
        return "400 Bad Request" in said(port, "GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n")
    except OSError:
        return False


def said(port: int, *parts: str, every: float = 0) -> str:
    """What the server answers to these parts, one after the other; sending ends with its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        for part in parts:
            line.sendall(part.encode())
            line.settimeout(every or 20)
            if every:
                try:
                    if got := line.recv(65_536):
                        return got.decode(errors="replace")
                except TimeoutError:
                    continue
        line.settimeout(20)
        return line.recv(65_536).decode(errors="replace")


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """The port of the real web server, whose bodies have a second."""
    hook = folder / "hook.py"
    hook.write_text(HOOK)
    port = free_port()
    command = [f"127.0.0.1:{port}" if part == "0.0.0.0:8000" else part for part in started_by_the_image()[1:]]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *command, "--config", str(hook)],
        cwd=ROOT,
        env=os.environ | {"WEB_CONCURRENCY": "1"},
    )
    try:
        wait_for("the web server", lambda: answers(port), 60)
        yield port
    finally:
        process.terminate()
        process.wait(10)
