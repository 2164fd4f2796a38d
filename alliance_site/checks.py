"""What `manage.py check --database`, `migrate` and `up` refuse before they touch anything."""

from collections.abc import Mapping, Sequence

from django.core.checks import CheckMessage, Error
from django.db import connections

# With any of them off, Postgres forgets after a power failure what it has acknowledged.
DURABLE = ("fsync", "synchronous_commit", "full_page_writes")


def forgetful(values: Mapping[str, str]) -> list[str]:
    """Which of these server settings let an acknowledged response be lost."""
    return [name for name in DURABLE if values[name] == "off"]


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
