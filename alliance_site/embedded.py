"""The embedded servers of one VAR folder: where they are, who needs them, when they stop.

Without DATABASE_URL or CELERY_BROKER_URL, `hold` starts the missing one and counts its users by a
shared lock; the last to leave stops it. A user that was killed with -9 leaves the servers to the
next one, which finds them running.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from alliance_site.folders import PROJECT, EmbeddedError, make_folder, open_lock, project_user
from alliance_site.servers import EmbeddedPostgres, EmbeddedValkey, Server

__all__ = [
    "ROLE",
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedValkey",
    "clear",
    "hold",
    "prepare",
    "servers",
    "urls",
]

DEMO_MARK = "demo-data"
# Names the database's role for web, worker and beat, which own nothing; its owner's by default.
ROLE = "EMBEDDED_DATABASE_ROLE"


def urls(var: Path) -> tuple[str, str]:
    """The URLs of database and broker under `var`; nothing is made or started."""
    database, broker = _both(var)
    role = os.environ.get(ROLE, "")
    return database.url().replace("//alliance@", f"//{role or 'alliance'}@", 1), broker.url()


def servers(var: Path) -> list[Server]:
    """The servers this process needs under `var`: those whose URL the environment does not give."""
    both = zip(("DATABASE_URL", "CELERY_BROKER_URL"), _both(var), strict=True)
    return [server for name, server in both if not os.environ.get(name, "").strip()]


def prepare(var: Path) -> None:
    """Make `var` where servers will be needed: from then on the answer where they are stays the same."""
    if not servers(var):
        return
    user = project_user()
    owns_project = user is not None and user.pw_uid == PROJECT.stat().st_uid
    make_folder(var.resolve(), 0o755, user if owns_project else None)


@contextlib.contextmanager
def hold(var: Path) -> Iterator[None]:
    """Keep the needed servers running inside the block. The last user of `var` stops them."""
    needed = servers(var)
    if not needed:
        yield
        return
    prepare(var)
    with _ended_by_signals(), open_lock(var / "servers.lock") as users:
        # Waits where the last user is just stopping the servers.
        fcntl.flock(users, fcntl.LOCK_SH)
        try:
            for server in needed:
                server.start()
            yield
        finally:
            if _alone(users):
                for server in reversed(_both(var)):
                    server.stop()


def clear(var: Path) -> None:
    """Delete a demo's folder with its servers' data; refuses a running one and any other data."""
    var = var.resolve()
    if not var.exists():
        return
    if not (var / DEMO_MARK).exists() or PROJECT.is_relative_to(var):
        raise EmbeddedError(f"{var} was not made by make demo, so it is left alone. Delete it by hand.")
    with open_lock(var / "servers.lock") as users:
        if not _alone(users):
            raise EmbeddedError(f"The demo in {var} is running. Stop it with Ctrl-C, then try again.")
        for server in reversed(_both(var)):
            server.remove()
        shutil.rmtree(var)


def _both(var: Path) -> tuple[Server, Server]:
    return EmbeddedPostgres(var / "pg"), EmbeddedValkey(var / "valkey")


def _alone(users: int) -> bool:
    """Turn the shared lock into the only one; false where somebody else still has a share.

    The kernel gives up the share before it tries, so of two who leave together one succeeds.
    """
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block like an exception: by default nothing is stopped."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    ours = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "clear":
        sys.exit("usage: python -m alliance_site.embedded clear VAR")
    try:
        clear(Path(sys.argv[2]))
    except EmbeddedError as error:
        sys.exit(str(error))
