"""The second net on, or off: docs/rows.md."""

from argparse import ArgumentParser

from django.core.management import BaseCommand

from alliance_site.database.guard import switch
from alliance_site.database.tables import PROTECTED


class Command(BaseCommand):
    help = (
        "Let the database itself keep the clinics' rows apart: once every process of an older version has "
        "ended, as the owner of the database, after every upgrade. It can be called again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--off", action="store_true", help="until it is called without")

    def handle(self, *_args: object, off: bool, **_options: object) -> None:
        n = switch(on=not off)
        state = "off: the application's own rules alone hold" if off else "on"
        self.stdout.write(f"The second net over {len(PROTECTED)} tables is {state}; {n} tables changed.")
