"""Whether the trace is as it was sealed, by the operator of the server."""

import re
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.services.seals import trace_check


class Command(BaseCommand):
    help = "Compute all seals of the trace anew and name the first row that was altered, taken away or added."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--head", default="", help="number:hash from the log or a mail of an earlier day")

    def handle(self, *_args: object, head: str, **_options: object) -> None:
        if head and not re.fullmatch(r"[0-9]+:[0-9a-f]{64}", head):
            # A slip of the hand must not look like a trace that was made anew.
            raise CommandError(
                f"{head} is no head, and nothing was checked. One is a number, a colon and 64 of 0-9 and "
                "a-f, as in the log or the mail: copy all of it."
            )
        found = trace_check(head)
        if found.fault:
            raise CommandError(f"{found.fault} {found.n_rows} rows before it are as they were sealed.")
        waiting = f"{found.n_waiting} rows wait for their seal"
        if found.waiting_since:
            waiting += f", the first since {found.waiting_since:%Y-%m-%d %H:%M} UTC"
        self.stdout.write(
            f"{found.n_rows} rows under {found.n_seals} seals are as they were sealed; {waiting}."
        )
        if found.head:
            self.stdout.write(f"Head: {found.head}")
