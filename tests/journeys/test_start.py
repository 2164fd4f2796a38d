"""The operator's side of the demo: it stops without a trace, keeps its data, and recovers from a kill."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import psycopg2
import pytest

from alliance_site.embedded import urls
from tests.journeys.conftest import ROOT, environment, free_port, wait_for

pytestmark = pytest.mark.slow
VAR = ROOT / "var" / "start"


def start(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "manage.py", "up", "--port", str(port), "--demo", "small"]
    with (ROOT / "var" / "start.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(VAR), stdout=log, stderr=log, start_new_session=True
        )

    def healthy() -> bool:
        assert process.poll() is None, Path(log.name).read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health/", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    wait_for("health", healthy, 120)
    wait_for("the manifest", lambda: manifest()["base_url"].endswith(str(port)), 30)
    return process


def manifest() -> dict:
    path = VAR / "demo.json"
    return json.loads(path.read_text()) if path.exists() else {"base_url": ""}


def family(process: psutil.Process) -> list[psutil.Process]:
    """The supervisor, its children, and the servers, which name the data folder in their command lines."""
    servers = [p for p in psutil.process_iter(["cmdline"]) if str(VAR) in " ".join(p.info["cmdline"] or [])]
    return [process, *process.children(recursive=True), *servers]


def n_responses() -> int:
    connection = psycopg2.connect(urls(VAR)[0])
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM surveys_response")
            return int(cursor.fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def port() -> Iterator[int]:
    clear = [sys.executable, "-m", "alliance_site.embedded", "clear", str(VAR)]
    subprocess.run(clear, cwd=ROOT, env=environment(VAR), check=True)
    yield free_port()
    subprocess.run(clear, cwd=ROOT, env=environment(VAR), check=True)


def test_the_demo_stops_clean_keeps_its_data_and_survives_a_kill(port: int) -> None:
    process = start(port)
    stored, accounts = n_responses(), manifest()["accounts"]
    assert stored > 500
    assert (VAR / "demo.json").stat().st_mode & 0o777 == 0o600
    members = family(psutil.Process(process.pid))
    assert len(members) >= 8

    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    _, alive = psutil.wait_procs(members, timeout=10)
    assert alive == []

    process = start(port)
    assert n_responses() == stored
    assert manifest()["accounts"] == accounts
    members = family(psutil.Process(process.pid))
    for member in members:
        if member.is_running():
            member.kill()
    psutil.wait_procs(members, timeout=10)
    process.wait(10)

    process = start(port)
    assert n_responses() == stored
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
