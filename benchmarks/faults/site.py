"""The site under test: real servers and the product's own command lines, each a process group of its own.

What ends is started again at once, as a service manager would do; `held` keeps a part down for a while.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from django.core.management import call_command
from django.db import connections

from alliance_site import embedded
from alliance_site.folders import PROJECT, open_lock
from alliance_site.management.commands.up import HOST, ORPHAN_GUARD, children
from alliance_site.servers import Server

LOOK_EVERY = 0.1
PATIENCE = 20.0
APP = "alliance_site.celery:app"
# The product's app, and beside it the bad jobs that P12 needs.
OUR_APP = "benchmarks.faults.worker:app"


class SiteBroken(RuntimeError):
    """The site did not come (back) up; the text says which part."""


@dataclass
class Service:
    """A program that should always run."""

    name: str
    argv: list[str]
    port: int = 0
    # The code that it runs, and what its environment has beside ours.
    folder: Path = PROJECT
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill_group(self) -> None:
        """The workers of a killed master still hold its port."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


def faketime() -> str:
    """The program that gives one process another clock; empty where it is not installed."""
    return shutil.which("faketime") or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, condition: Callable[[], Any], seconds: float) -> Any:
    """The first true answer; raises SiteBroken with `what` when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise SiteBroken(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)
    return answer


class Site:
    """Postgres, Valkey, web, worker and beat under `var`; `n_web` and `n_workers` of them on one database,
    and the workers know the jobs of `app`."""

    def __init__(self, var: Path, n_web: int, n_workers: int, app: str = OUR_APP) -> None:
        self.var = var
        self.log = var / "faults.log"
        self.database, self.broker = embedded.servers(var)
        # Where patients come in: the web processes by turns, or a proxy.
        self.front = self.ports = [free_port() for _ in range(n_web)]
        web, worker, beat = _programs(app)
        self.services = [
            Service("beat", beat),
            *(Service("web", web(port), port) for port in self.ports),
            *(Service("worker", worker(number)) for number in range(n_workers)),
        ]
        self.held: set[str] = set()
        self.restarts = 0
        self.problems: list[str] = []
        self._ended = threading.Event()
        self._held = contextlib.ExitStack()
        self._threads = [
            threading.Thread(target=self._keep_services),
            *(
                threading.Thread(target=self._keep_server, args=pair)
                for pair in (("database", self.database), ("broker", self.broker))
            ),
        ]

    def start_servers(self) -> None:
        """Empty database, migrated, with the built-in instruments."""
        # Of whom this is, should somebody find it later.
        (self.var / embedded.DEMO_MARK).touch()
        # Commands that end would stop the servers, were nobody else there.
        users = self._held.enter_context(open_lock(self.var / "servers.lock"))
        fcntl.flock(users, fcntl.LOCK_SH)
        for server in (self.database, self.broker):
            server.start()
        call_command("check", tags=["database"], databases=["default"], stdout=StringIO())
        call_command("migrate", interactive=False, verbosity=0)
        call_command("instruments_load", verbosity=0, stdout=StringIO())
        call_command("build_vega", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        connections.close_all()

    def put_before(self, port: int, argv: list[str]) -> None:
        """From now on patients come through this proxy."""
        self.front = [port]
        self.services.append(Service("proxy", argv, port))

    def start(self) -> None:
        """Returns when every web process answers."""
        for thread in self._threads:
            thread.start()
        self.wait_ready(120)

    def wait_ready(self, seconds: float = 60) -> None:
        for port in {*self.ports, *self.front}:
            wait_until(f"web on port {port} answers", partial(answers, port), seconds)

    def stop(self) -> None:
        """No process stays behind; the data do, until `clear`."""
        self._ended.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for service in self.services:
            self._end(service)
        connections.close_all()
        for server in (self.broker, self.database):
            server.stop()
        self._held.close()

    def clear(self) -> None:
        """Deletes all files of a stopped site."""
        embedded.clear(self.var)

    def add_web(self, folder: Path = PROJECT, env: dict[str, str] | None = None) -> Service:
        """One more web process on the same database, with the code in the folder."""
        web, _worker, _beat = _programs(OUR_APP)
        service = Service("web", web(free_port()), folder=folder, env=env or {})
        service.port = int(service.argv[service.argv.index("--bind") + 1].rpartition(":")[2])
        self.services.append(service)
        wait_until(f"web on port {service.port} answers", partial(answers, service.port), 120)
        self.ports.append(service.port)
        # One that was left to refuse.
        known = {one.port for one in self.services}
        for port in [port for port in self.ports if port not in known]:
            self.ports.remove(port)
        return service

    def take_away(self, service: Service) -> None:
        """It ends in order and is not started again."""
        if len(self.ports) > 1:
            # The last port stays, and refuses whoever comes.
            self.ports.remove(service.port)
        self.services.remove(service)
        self._end(service)

    @contextlib.contextmanager
    def with_other_clock(self, offset: str) -> Iterator[int]:
        """Inside the block the workers, and one more web process, whose port it is, have a clock that is off
        by as much, such as +2h."""
        off = [faketime(), "-m", "-f", offset]
        web, _worker, _beat = _programs(OUR_APP)
        port = free_port()
        service = Service("web", [*off, *web(port)], port)
        self.services.append(service)
        workers = [one for one in self.services if one.name == "worker"]
        try:
            for worker in workers:
                self._begin_anew(worker, [*off, *worker.argv])
            wait_until(f"web with a clock of {offset} answers", partial(answers, port), 120)
            yield port
        finally:
            self.services.remove(service)
            self._end(service)
            for worker in workers:
                self._begin_anew(worker, worker.argv[len(off) :])

    def _begin_anew(self, service: Service, argv: list[str]) -> None:
        service.argv, old = argv, service.process
        if old is not None:
            old.terminate()

    def renew(self, service: Service, number: signal.Signals) -> None:
        """Another code or setting comes in: SIGTERM ends it in order and it is started again, SIGHUP has the
        master change its processes. Returns when none of the old ones is left."""
        if service.process is None:
            raise SiteBroken(f"{service.name} does not run")
        old = psutil.Process(service.process.pid).children()
        service.process.send_signal(number)
        ended = f"the old processes of {service.name} are gone after {number.name}"
        wait_until(ended, lambda: not any(map(_is_alive, old)), 60)
        wait_until(f"web on port {service.port} answers again", lambda: answers(service.port), 60)

    def named(self, name: str) -> list[Service]:
        return [service for service in self.services if service.name == name and service.is_running]

    @contextlib.contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Inside the block nobody starts this part again."""
        self.held.add(name)
        try:
            yield
        finally:
            self.held.discard(name)

    def server(self, name: str) -> psutil.Process | None:
        """The running process of `database` or `broker`."""
        return (self.database if name == "database" else self.broker).process()

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Rows straight from the database, which may just be coming back."""

        def ask() -> list[list[tuple[Any, ...]]]:
            try:
                return [self._ask(query, parameters)]
            except psycopg2.OperationalError:
                return []

        rows: list[tuple[Any, ...]] = wait_until("the database answers the auditor", ask, 60)[0]
        return rows

    def autonomous(self, statement: str) -> None:
        """One statement outside any transaction, once. Raises OperationalError."""
        line = psycopg2.connect(self.database.url(), connect_timeout=5)
        try:
            line.autocommit = True
            with line.cursor() as cursor:
                cursor.execute(statement)
        finally:
            line.close()

    def _ask(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        line = psycopg2.connect(self.database.url(), connect_timeout=5)
        try:
            with line, line.cursor() as cursor:
                cursor.execute(query, parameters)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            line.close()

    def _keep_services(self) -> None:
        # The kernel ends a guarded child with the thread that started it, so this one starts them all.
        with self.log.open("ab") as log:
            while not self._ended.is_set():
                for service in self.services:
                    if not service.is_running and service.name not in self.held:
                        service.kill_group()
                        self.restarts += service.process is not None
                        service.process = _spawn(service, log)
                self._ended.wait(LOOK_EVERY)
            for service in self.services:
                self._end(service)

    def _keep_server(self, name: str, server: Server) -> None:
        while not self._ended.wait(LOOK_EVERY):
            if name not in self.held and server.process() is None:
                try:
                    # It tries again by itself while the killed one is still reaped.
                    server.start()
                    self.restarts += 1
                except embedded.EmbeddedError as error:
                    self.problems.append(str(error).splitlines()[0])

    def _end(self, service: Service) -> None:
        if service.process is None:
            return
        if service.is_running:
            service.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(PATIENCE)
        service.kill_group()
        service.process.wait()


def _is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it may wait long for who reaps it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(port: int) -> bool:
    """Whether a page comes from this web process."""
    line = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        line.request("GET", "/accounts/login/")
        return line.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        line.close()


def _programs(app: str) -> tuple[Callable[[int], list[str]], Callable[[int], list[str]], list[str]]:
    """What `manage.py up` runs, jobs by this app: web on a port, worker of a number, beat."""
    argv = {child.name: child.argv for child in children(0)}

    def web(port: int) -> list[str]:
        return [f"{HOST}:{port}" if word == f"{HOST}:0" else word for word in argv["web"]]

    def worker(number: int) -> list[str]:
        own = {"worker@alliance": f"worker{number}@alliance", APP: app}
        return [own.get(word, word) for word in argv["worker"]]

    # The beat writes the time limits of our app into its messages.
    return web, worker, [app if word == APP else word for word in argv["beat"]]


def _spawn(service: Service, log: Any) -> subprocess.Popen[bytes]:
    guarded = [sys.executable, "-c", ORPHAN_GUARD, str(os.getpid()), *service.argv]
    return subprocess.Popen(
        guarded,
        cwd=service.folder,
        env=os.environ | service.env,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
