"""One command for the whole site: servers, migrations, web, worker and beat, until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command, get_commands
from django.db import connections

from alliance_site import embedded
from alliance_site.folders import open_lock
from alliance_site.management.commands import app_role

HOST = "127.0.0.1"
PATIENCE = 20  # seconds a child has to end by itself
LONGEST_PAUSE = 30
SOUND = 60  # seconds after which a child is no longer counted as crashing at its start
SERVER_CHECK = 3
# Not the least there is: a job has a lease, and must end within it on a machine that is busy all day. At 10,
# freezing a small study's data took more than a minute beside two other programs that took all they got.
WORKER_NICE = 5

# On Linux the kernel ends a child whose supervisor was killed. A small program does it between
# fork and exec, where Python code could hang on a lock of another thread.
ORPHAN_GUARD = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""

# Where the kernel shares the processors among sessions, a nice value counts within a session only; that of
# the session itself stands in this file. Linux takes ten changes a second of all users together, and a worker
# that does not give way is better than none.
GIVES_WAY = """
import os, sys, time
os.nice(int(sys.argv[1]))
refusal = "Linux refused five times in a second"
if os.getsid(0) != os.getpid() or not os.path.exists("/proc/self/autogroup"):
    refusal = ""
for _ in range(5 if refusal else 0):
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write(sys.argv[1])
        refusal = ""
        break
    except BlockingIOError:
        time.sleep(0.2)
    except OSError as error:
        refusal = error
        break
if refusal:
    print("The worker's session cannot give way:", refusal, file=sys.stderr)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass
class Child:
    """A process that should always run."""

    name: str
    argv: list[str]
    process: subprocess.Popen[bytes] | None = None
    crashes: int = 0
    since: float = 0.0  # when it was started
    due: float = 0.0  # when to start it next

    def start(self, env: dict[str, str]) -> None:
        self.process, self.since = _spawn(self.argv, env), time.monotonic()

    def kill_group(self) -> None:
        """End what the process left behind: its workers hold the port and the tasks."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Keeps children and embedded servers running until it is told to stop."""

    def __init__(self, children: list[Child], env: dict[str, str], say: Callable[[str], None]) -> None:
        self.children, self.env, self.say = children, env, say
        self.servers = embedded.servers(settings.VAR)
        self.servers_due = 0.0
        self.stopping = False

    def look(self) -> None:
        """Notice what ended and start what is due."""
        self._look_at_servers()
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                child.crashes = 1 if now - child.since > SOUND else child.crashes + 1
                pause = min(2 ** (child.crashes - 1), LONGEST_PAUSE)
                self.say(f"{child.name} {_how(child.process.returncode)}; starting it again in {pause} s")
                child.kill_group()
                child.process, child.due = None, now + pause
            if child.process is None and now >= child.due:
                child.start(self.env)

    def _look_at_servers(self) -> None:
        if time.monotonic() < self.servers_due:
            return
        for server in self.servers:
            if not server.alive():
                self.say(f"{server.title} does not answer; starting it again")
                try:
                    server.start()
                except embedded.EmbeddedError as error:
                    self.say(f"{error}\nTrying again in {LONGEST_PAUSE} s")
                    self.servers_due = time.monotonic() + LONGEST_PAUSE
                    return
        self.servers_due = time.monotonic() + SERVER_CHECK

    def stop(self) -> None:
        """End all children: whoever makes work is asked first. Nothing is left behind."""
        running = [(child, child.process) for child in self.children if child.process is not None]
        for _child, process in running:
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for child, process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{child.name} did not end within {PATIENCE} s and is killed")
            child.kill_group()
            process.wait()


class Command(BaseCommand):
    help = "Run the site at 127.0.0.1: embedded servers, migrations, web, worker and beat, until Ctrl-C."
    supervisor: Supervisor | None = None
    interrupted = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=_port, default=os.environ.get("PORT") or "8000")
        parser.add_argument("--demo", metavar="SIZE", choices=["small", "study", "large"])

    def handle(self, *_args: object, port: int, demo: str | None, **_options: object) -> None:
        if demo and not settings.DEMO:
            raise CommandError("--demo makes accounts with known passwords. Set ALLIANCE_DEMO=1 to allow it.")
        _refuse_taken(port)
        try:
            with _only_one(settings.VAR), self._signals():
                if demo:
                    _mark_new_demo(settings.VAR)
                with embedded.hold(settings.VAR):
                    self._prepare(port, demo)
                    self._run(port, demo)
        except embedded.EmbeddedError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.say("Interrupted before the start was complete")
        self.say("Stopped.")

    def say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _prepare(self, port: int, demo: str | None) -> None:
        self.say("Preparing database and static files")
        call_command("check", tags=["database"], databases=["default"], stdout=StringIO())
        call_command("migrate", interactive=False, verbosity=0)
        call_command("instruments_load", stdout=StringIO())
        if settings.EMBEDDED:
            # Nothing of an older version runs any more, or not yet.
            call_command("app_role", no_password=True, stdout=StringIO())
            call_command("rows_guard", stdout=StringIO())
        if "build_vega" in get_commands():
            call_command("build_vega", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        # A connection that waits unused would be broken by a restart of the database.
        connections.close_all()
        if demo:
            self.say(f"Loading the demo clinic ({demo}); nothing is done when it is loaded already")
            argv = [sys.executable, str(settings.BASE_DIR / "manage.py"), "demo_clinic", f"--size={demo}"]
            _finish(argv, _environment(port))

    def _run(self, port: int, demo: str | None) -> None:
        env = _environment(port) | {embedded.ROLE: app_role.ROLE}
        supervisor = self.supervisor = Supervisor(children(port), env, self.say)
        ready, began = False, time.monotonic()
        try:
            while not supervisor.stopping:
                supervisor.look()
                if not ready:
                    problem = _health(port)
                    ready = not problem
                    if ready:
                        self._greet(port, demo)
                    elif time.monotonic() - began > SOUND:
                        self.say(f"Not ready yet: {problem}")
                        began = time.monotonic()
                time.sleep(0.3 if ready else 0.5)
        finally:
            self.say("Stopping")
            supervisor.stop()

    def _greet(self, port: int, demo: str | None) -> None:
        base_url = f"http://{HOST}:{port}"
        if demo:
            call_command("demo_ready", base_url=base_url)
            if "analyse" in get_commands():
                # The worker does it, once: nobody waits for it.
                call_command("analyse", "DEMO", later=True, once=True, stdout=StringIO())
            connections.close_all()
        self.say(f"Ready: {base_url}/ (Ctrl-C stops everything)")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first signal ends the work in order; later ones would only leave processes behind."""

        def end(_number: int, _frame: FrameType | None) -> None:
            if self.supervisor is not None:
                self.supervisor.stopping = True
            elif not self.interrupted:
                self.interrupted = True
                raise KeyboardInterrupt

        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = [(number, signal.signal(number, end)) for number in numbers]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ArgumentTypeError(f"a port is a number from 1 to 65535; this is {text!r}")
    return int(text)


def _refuse_taken(port: int) -> None:
    """Wait a moment: web processes of a supervisor that was killed need a second to end."""
    deadline = time.monotonic() + 2
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                return
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise CommandError(
                        f"Port {port} cannot be used ({error.strerror}). Stop the program that has it, or "
                        f"choose another port: make demo PORT={port + 1}, or manage.py up --port {port + 1}."
                    ) from error
        time.sleep(0.2)


@contextlib.contextmanager
def _only_one(var: Path) -> Iterator[None]:
    with open_lock(var / "up.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"The site of {var} is running already. Stop it with Ctrl-C, or run a second site "
                "with a folder and a port of its own: VAR=... PORT=..."
            ) from None
        yield


def _mark_new_demo(var: Path) -> None:
    """Only data that began as a demo may later be cleared as one."""
    servers = embedded.servers(var)
    if servers and not any(server.data.exists() for server in servers):
        (var / embedded.DEMO_MARK).touch()


def _environment(port: int) -> dict[str, str]:
    # The address of the servers follows from VAR, that of the links in mails from PORT.
    return {**os.environ, "VAR": str(settings.VAR), "PORT": str(port), "PYTHONUNBUFFERED": "1"}


def giving_way(argv: list[str]) -> list[str]:
    """Where both want all of the machine, web has about three times as much of it as this; as the leader of a
    session of its own."""
    return [sys.executable, "-c", GIVES_WAY, str(WORKER_NICE), *argv]


def children(port: int) -> list[Child]:
    python = [sys.executable, "-m"]
    celery = [*python, "celery", "--quiet", "-A", "alliance_site.celery:app"]
    quiet = ["-l", "WARNING"]
    beat = [*celery, "beat", *quiet, "-s", str(settings.VAR / "beat.db"), "--pidfile="]
    # No access log: link tokens stand in paths. No preload: chart rendering hangs after a fork.
    web = [
        *python, "gunicorn", "alliance_site.wsgi:application", "--bind", f"{HOST}:{port}",
        "--worker-class", "gthread", "--workers", str(settings.WEB_CONCURRENCY), "--threads", "4",
        "--timeout", "30", "--graceful-timeout", "10", "--limit-request-line", "4094", "--no-control-socket",
        "--log-level", "warning",
    ]  # fmt: skip
    fixed = ["-n", "worker@alliance", "--without-gossip", "--without-mingle"]
    worker = giving_way([*celery, "worker", "-c", "2", *fixed, *quiet])
    return [Child("beat", beat), Child("web", web), Child("worker", worker)]


def _spawn(argv: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process in a group of its own: Ctrl-C in the terminal reaches the supervisor alone."""
    guarded = [sys.executable, "-c", ORPHAN_GUARD, str(os.getpid()), *argv]
    return subprocess.Popen(guarded, env=env, cwd=settings.BASE_DIR, start_new_session=True)


def _finish(argv: list[str], env: dict[str, str]) -> None:
    process = _spawn(argv, env)
    try:
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)
    if status:
        raise CommandError(f"{argv[2]} {_how(status)}; its own words stand above.")


def _how(status: int) -> str:
    return (
        f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
    )


def _health(port: int) -> str:
    """Why the site is not healthy; empty when it is."""
    known = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    line = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        line.request("GET", "/health/", headers={"Host": known[0] if known else HOST})
        answer = line.getresponse()
        body = answer.read(500).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"web does not answer ({error})"
    finally:
        line.close()
    return "" if answer.status == http.HTTPStatus.OK else f"/health/ says {answer.status} {body}"
