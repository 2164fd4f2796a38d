"""Roles that no administrator may give, by the operator of the server."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.models import Clinic, Role, User
from surveys.services.people import PeopleRefused, role_grant, role_revoke


class Command(BaseCommand):
    help = "Give somebody a role in a clinic, or take it: the only way to the role of researcher."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("role", choices=Role.values)
        parser.add_argument("--clinic", required=True, help="its name")
        parser.add_argument("--revoke", action="store_true", help="take the role")

    def handle(
        self, *_args: object, email: str, role: str, clinic: str, revoke: bool, **_options: object
    ) -> None:
        place = Clinic.objects.filter(name=clinic).first()
        if place is None:
            names = ", ".join(Clinic.objects.order_by("name").values_list("name", flat=True))
            raise CommandError(f"There is no clinic of this name. There are: {names or 'none'}.")
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise CommandError("There is no account with this address. An administrator adds it first.")
        try:
            changed = (role_revoke if revoke else role_grant)(clinic=place, user=user, role=role)
        except PeopleRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        state = "has no longer" if revoke else "has"
        before = "" if changed else ", as before"
        self.stdout.write(f"{user.email} {state} the role {role} in {place.name}{before}.")
