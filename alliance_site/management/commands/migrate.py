"""Django's `migrate`, beside a site that is in use: it never makes patients wait behind it for long."""

import time
from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError, connections

# While a migration waits for a table, everybody who comes after it waits as well.
LOCK_TIMEOUT = "2s"
TRIES = 30
PAUSE = 1.0
NOT_AVAILABLE = "55P03"


class Command(migrate.Command):
    """A migration that does not get its table within two seconds is taken back whole and tried again."""

    def handle(self, *args: Any, **options: Any) -> None:
        for left in reversed(range(TRIES)):
            try:
                with connections[options["database"]].cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
                super().handle(*args, **options)
                return
            except OperationalError as error:
                if getattr(error.__cause__, "pgcode", "") != NOT_AVAILABLE or not left:
                    raise
                self.stdout.write(f"A table is in use; trying again in {PAUSE:.0f} s.")
                time.sleep(PAUSE)
            finally:
                with connections[options["database"]].cursor() as cursor:
                    cursor.execute("RESET lock_timeout")
