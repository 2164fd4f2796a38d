"""In place of Django's command of this name, which leaves no trace and tells nobody."""

from django.contrib.auth.management.commands import changepassword
from django.core.management.base import CommandError


class Command(changepassword.Command):
    help = "Refused: manage.py password_link EMAIL prints a link with which somebody sets their own."

    def handle(self, *_args: object, **_options: object) -> None:
        raise CommandError(
            "Nothing was done. Nobody chooses a password for somebody else: manage.py password_link EMAIL "
            "--reason WHY prints a link with which they set their own, and leaves a trace."
        )
