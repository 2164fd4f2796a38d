"""A PostgreSQL of the tests' own, without fsync. Loaded as a plugin, before Django reads its settings."""

import atexit
import os
from pathlib import Path

from alliance_site.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
CLUSTER = EmbeddedPostgres(ROOT / "var" / "test" / "postgres", durable=False)

os.environ.update(
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL") or CLUSTER.start(),
    CELERY_BROKER_URL="redis://127.0.0.1:1/0",  # nobody listens there: no request may need a broker
    SECRET_KEY="a key of the tests, long enough to be accepted at the start",
    ALLOWED_HOSTS="testserver,localhost",
    VAR=str(ROOT / "var" / "test"),
    LOG_LEVEL="WARNING",
)
os.environ.pop("ALLIANCE_DEMO", None)

if "PYTEST_XDIST_WORKER" not in os.environ and "TEST_DATABASE_URL" not in os.environ:
    atexit.register(CLUSTER.stop)
