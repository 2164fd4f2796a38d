"""A lost second factor, by the operator of the server."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.models import User
from surveys.services.factor_resets import reset_by_operator


class Command(BaseCommand):
    help = "Take somebody's second factor away, where no two administrators of the clinic can do it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--reason", required=True, help="who asked, and how you know that it is them")

    def handle(self, *_args: object, email: str, reason: str, **_options: object) -> None:
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise CommandError("There is no account with this address.")
        if not reason.strip():
            raise CommandError("Say why: it is written into the trace.")
        told = reset_by_operator(user=user, reason=reason.strip()[:200])
        mail = "A mail tells them so." if told else "The mail could not be sent: tell them yourself."
        self.stdout.write(f"{user.email} sets up a new second factor at the next sign-in. {mail}")
