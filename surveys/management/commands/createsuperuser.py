"""In place of Django's command of this name, which leaves no trace and asks nobody."""

from django.contrib.auth.management.commands import createsuperuser
from django.core.management.base import CommandError


class Command(createsuperuser.Command):
    help = "Refused: manage.py role_grant EMAIL superuser makes an operator."

    def handle(self, *_args: object, **_options: object) -> None:
        raise CommandError(
            "Nothing was done. An operator is made with manage.py role_grant EMAIL superuser: that leaves a "
            "trace, and from the second operator on another one confirms it."
        )
