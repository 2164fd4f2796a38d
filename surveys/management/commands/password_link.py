"""The link that sets somebody's password, where no mail can bring it."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from surveys.management.commands.role_grant import account
from surveys.services.accounts import password_link_give


class Command(BaseCommand):
    help = "Print the link with which somebody sets a new password themselves; the person is told by mail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--reason", required=True, help="who asked, and how you know that it is them")
        parser.add_argument("--base-url", default=settings.SITE_URL, help="instead of SITE_URL")

    def handle(self, *_args: object, email: str, reason: str, base_url: str, **_options: object) -> None:
        if not base_url:
            raise CommandError("The site does not know its own address. Set SITE_URL, or name --base-url.")
        if not reason.strip():
            raise CommandError("Say why: it is written into the trace.")
        user = account(email)
        if not user.is_active:
            raise CommandError("This account is closed, and no password opens it.")
        link = password_link_give(user=user, base_url=base_url, reason=reason.strip()[:200])
        self.stdout.write(f"{user.email} sets a new password once, within three days, here:")
        self.stdout.write(link)
