"""The second person's word for how long a clinic keeps things, where it has one administrator alone."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext

from surveys.keeping import kept
from surveys.management.commands.role_grant import clinic_of_name
from surveys.models import Clinic
from surveys.retention_forms import time_words
from surveys.sentences import translated
from surveys.services.retention import keep_approve_at_server


class Command(BaseCommand):
    help = (
        "Say what a clinic's wishes to delete earlier would delete, and approve those of its only "
        "administrator."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--clinic", required=True, help="its name")
        parser.add_argument("--approve", nargs="+", type=int, default=[], metavar="NUMBER", help="of a wish")

    def handle(self, *_args: object, clinic: str, approve: list[int], **_options: object) -> None:
        place = clinic_of_name(clinic)
        if not approve:
            self._say(place)
            return
        n = keep_approve_at_server(clinic=place, rules=approve)
        if not n:
            raise CommandError(
                "Nothing is approved: the wish was changed meanwhile, or another administrator of the clinic "
                "approves it, on the page about how long things are kept."
            )
        self.stdout.write(f"Approved: {n}. What is too old is deleted every night from now on.")

    def _say(self, place: Clinic) -> None:
        n = 0
        for row in kept(place, timezone.now()):
            if row.waiting is None or row.wish is None:
                continue
            n += 1
            wish = f"{row.kind.label}: {time_words(row.wish.days)}, until now: {time_words(row.rule.days)}"
            gone = f"{row.wish.n_today} would go in the coming night, {row.wish.n_soon} in the 90 days after"
            self.stdout.write(f"{row.waiting.pk}  {wish}. {gone}; it cannot be brought back.")
            for remark in row.remarks:
                self.stdout.write(f"   {translated(remark, gettext)}")
        self.stdout.write("Approve with --approve NUMBER." if n else "Nothing waits for approval.")
