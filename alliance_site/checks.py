"""What `manage.py check --database`, `migrate` and `up` refuse before they touch anything."""

from collections.abc import Mapping, Sequence

from django.core.checks import CheckMessage, Error, Warning
from django.db import connections
from django.utils import timezone

# With any of them off, Postgres forgets after a power failure what it has acknowledged.
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")

# Seconds by which the clocks of two machines may differ before somebody is told.
CLOCK_OFF = 60.0


def forgetful(values: Mapping[str, str]) -> list[str]:
    """Which of these server settings let an acknowledged response be lost."""
    return [name for name in DURABLE if values[name] == "off"]


def clocks(databases: Sequence[str] | None = None, **_options: object) -> list[CheckMessage]:
    """Warns of a clock here that differs from the database's. Forms open and close by the latter alone."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            offset = (timezone.now() - cursor.fetchone()[0]).total_seconds()
        if abs(offset) >= CLOCK_OFF:
            problem = f"The clock of this machine is {offset:+.0f} s off that of the database."
            hint = "Set both by the same time server: sign-ins and throttles go by this machine's clock."
            found.append(Warning(problem, hint=hint, id="alliance_site.W001"))
    return found


def durability(databases: Sequence[str] | None = None, **_options: object) -> list[CheckMessage]:
    """Refuses a database that would lose in a power failure what it has acknowledged."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(DURABLE)])
            weak = forgetful(dict(cursor.fetchall()))
        if weak:
            switches = ", ".join(f"{name}=off" for name in weak)
            problem = (
                f"The database runs with {switches}: a power failure would lose answers it has accepted."
            )
            hint = f"Set {', '.join(weak)} to on in the configuration of PostgreSQL and start it again."
            found.append(Error(problem, hint=hint, id="alliance_site.E001"))
    return found
