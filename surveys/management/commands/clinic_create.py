"""The first clinic of a new site."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from surveys.services.accounts import password_link
from surveys.services.people import clinic_create
from surveys.services.roles import PeopleRefused


class Command(BaseCommand):
    help = (
        "Make a clinic and its first administrator; prints the link that sets the administrator's password."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--contact", required=True, help="whom a patient may call; on every patient page")
        parser.add_argument("--admin", required=True, metavar="EMAIL", help="of the administrator")
        parser.add_argument("--base-url", default=settings.SITE_URL, help="instead of SITE_URL")

    def handle(
        self, *_args: object, name: str, contact: str, admin: str, base_url: str, **_options: object
    ) -> None:
        if not base_url:
            raise CommandError("The site does not know its own address. Set SITE_URL, or name --base-url.")
        try:
            clinic, user = clinic_create(name=name, contact=contact, admin_email=admin)
        except PeopleRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{clinic.name} is there, and {user.email} administers it.")
        if user.has_usable_password():
            self.stdout.write("They sign in with the password that they have.")
        else:
            self.stdout.write("They set their password once, within three days, here:")
            self.stdout.write(password_link(user, base_url))
