"""The second net, as a site runs under it: as the role that owns nothing, with the rules switched on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connection

from alliance_site.database import guard

ROLE = "alliance_app_of_the_net"


def spread() -> None:
    """Within the transaction of a test, which takes all of it back."""
    call_command("app_role", role=ROLE)
    # Rows that were made before would still have checks to run, and tables could not be altered.
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    guard.switch(on=True)


def spread_for_all() -> None:
    """Before the first test, for good."""
    os.environ.setdefault("APP_DATABASE_PASSWORD", "a password of the tests")
    spread()
    with connection.cursor() as cursor:
        # What tests that commit are cleared with.
        cursor.execute(f"GRANT TRUNCATE ON ALL TABLES IN SCHEMA public TO {ROLE}")
    connection.close()
    connection.settings_dict["OPTIONS"]["assume_role"] = ROLE


def gather_for_all() -> None:
    """The owner takes the database away."""
    connection.settings_dict["OPTIONS"].pop("assume_role", None)


def gather() -> None:
    """The role away, where no transaction takes it back."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {ROLE}")
        cursor.execute(f"DROP ROLE {ROLE}")


@contextmanager
def as_application() -> Iterator[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {ROLE}")
        try:
            yield cursor
        finally:
            cursor.execute("RESET ROLE")
