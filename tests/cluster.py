"""A PostgreSQL of the tests' own, without fsync. Loaded as a plugin, before Django reads its settings."""

import atexit
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path

from alliance_site.embedded import EmbeddedPostgres
from alliance_site.folders import open_lock

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var" / "test"
CLUSTER = EmbeddedPostgres(VAR / "postgres", durable=False)


def _start() -> str:
    """Every test process holds a share; the last one to leave stops the cluster."""
    VAR.mkdir(parents=True, exist_ok=True)
    stack = ExitStack()
    users = stack.enter_context(open_lock(VAR / "users.lock"))
    fcntl.flock(users, fcntl.LOCK_SH)

    def leave() -> None:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        CLUSTER.stop()

    stack.callback(leave)
    atexit.register(stack.close)
    return CLUSTER.start()


os.environ.update(
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL") or _start(),
    CELERY_BROKER_URL="redis://127.0.0.1:1/0",  # nobody listens there: no request may need a broker
    SECRET_KEY="a key of the tests, long enough to be accepted at the start",
    FIELD_KEY="another key of the tests, for patients' addresses, long enough",
    PSEUDONYM_KEY="a third key of the tests, for the names of people in datasets",
    BACKUP_KEY="a fourth key of the tests, for the files of backups, long enough",
    ALLOWED_HOSTS="testserver,localhost",
    VAR=str(VAR),
    LOG_LEVEL="WARNING",
)
os.environ.pop("ALLIANCE_DEMO", None)
