"""Two clinics by turns through a pooler that hands each connection of the database to whoever comes next."""

import getpass
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.db import connection

from alliance_site.database import guard
from alliance_site.database.base import ScopedConnection, ScopedCursor
from surveys import scope
from surveys.models import Patient
from tests import factories
from tests.net import ROLE, gather, spread

PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
TURNS, THREADS = 10_000, 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(PROGRAM).exists(), reason="There is no pgbouncer: make r installs it."),
]


@pytest.fixture
def clinics(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[UUID]]:
    monkeypatch.setenv("APP_DATABASE_PASSWORD", "a password of the tests")
    found = [factories.make_clinic(name) for name in ("Harbour", "Hill")]
    Patient.objects.bulk_create(Patient(clinic=clinic) for clinic in found for _ in range(3))
    spread()
    yield [clinic.pk for clinic in found]
    guard.switch(on=False)
    gather()


@pytest.fixture
def pooler(clinics: list[UUID], tmp_path: Path) -> Iterator[int]:
    """Its port. Two connections to the database for all who come, each for one transaction at a time."""
    place = connection.settings_dict
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The socket of the database is for the account that it runs as.
    owner = Path(place["HOST"]).owner()
    words = tmp_path / "pgbouncer.ini"
    words.write_text(
        f"[databases]\nsite = host={place['HOST']} port={place['PORT']} dbname={place['NAME']} user={ROLE}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 2\nserver_check_query = select 1\n"
    )
    for folder in (words, *list(words.parents)[:3]):
        folder.chmod(0o755)
    as_owner = ["-u", owner] if getpass.getuser() == "root" else []
    process = subprocess.Popen(
        [PROGRAM, "-q", *as_owner, str(words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.1)
    yield port
    process.terminate()
    process.wait(10)


def turns(port: int, clinics: list[UUID], seed: int, seen: set[Any]) -> None:
    """Some in transactions, some of these taken back, and some past the application's own cursor, which says
    nothing and must find nothing."""
    chance = Random(seed)
    line = psycopg2.connect(
        host="127.0.0.1", port=port, dbname="site", user="x", connection_factory=ScopedConnection
    )
    asked = "SELECT DISTINCT clinic_id::text, pg_backend_pid() FROM surveys_patient"
    with closing(line):
        for _turn in range(TURNS // THREADS):
            clinic = chance.choice(clinics)
            line.autocommit = chance.random() < 0.5
            with scope.clinics([clinic]), line.cursor(cursor_factory=ScopedCursor) as cursor:
                cursor.execute(asked)
                seen |= {(str(clinic), *row) for row in cursor.fetchall()}
            if not line.autocommit:
                (line.rollback if chance.random() < 0.3 else line.commit)()
            line.autocommit = True
            if chance.random() < 0.2:
                with line.cursor() as cursor:
                    cursor.execute(asked)
                    seen |= {("nobody", *row) for row in cursor.fetchall()}


def test_no_row_of_the_other_clinic_in_ten_thousand_turns(clinics: list[UUID], pooler: int) -> None:
    seen: set[Any] = set()
    threads = [threading.Thread(target=turns, args=(pooler, clinics, seed, seen)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(asked, found) for asked, found, _ in seen} == {(str(key), str(key)) for key in clinics}
    # It was a pool: each connection served both.
    assert {(asked, server) for asked, _, server in seen} == {
        (str(key), server) for key in clinics for _, _, server in seen
    }
    assert len({server for _, _, server in seen}) <= 2
