"""The second person's word for an administrator whose clinic has no other administrator."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.management.commands.role_grant import account, clinic_of_name
from surveys.models import Role, RoleGrant
from surveys.services.grants import grant_confirm_at_server
from surveys.services.roles import PeopleRefused


class Command(BaseCommand):
    help = "Confirm an administrator whom the only other one of the clinic has asked for."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--clinic", required=True, help="its name")

    def handle(self, *_args: object, email: str, clinic: str, **_options: object) -> None:
        place, user = clinic_of_name(clinic), account(email)
        rows = RoleGrant.objects.filter(clinic=place, user=user, role=Role.CLINIC_ADMIN, decided_at=None)
        grant = rows.first()
        if grant is None:
            raise CommandError(
                "Nobody has asked for that. An administrator does so on the page of the staff."
            )
        try:
            grant_confirm_at_server(grant=grant)
        except PeopleRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{user.email} administers {place.name} now, and a mail says so.")
