"""Who is signed in, is so no more: one account, or everybody."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.models import User
from surveys.services.sign_ins import sign_ins_end


class Command(BaseCommand):
    help = "End all sessions of one account, or of everybody; who is still to get in signs in again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("email", nargs="?")
        whose.add_argument("--all", action="store_true", dest="everybody", help="everybody’s")

    def handle(self, *_args: object, email: str | None, everybody: bool, **_options: object) -> None:
        users = User.objects.filter(sign_ins__isnull=False).distinct()
        if not everybody:
            users = User.objects.filter(email=(email or "").lower())
            if not users.exists():
                raise CommandError("There is no account with this address.")
        n = sum(sign_ins_end(user=user) for user in users.order_by("pk"))
        self.stdout.write(f"{n} {'session was' if n == 1 else 'sessions were'} ended.")
