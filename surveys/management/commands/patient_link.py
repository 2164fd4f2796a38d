"""Issue a link by hand."""

import uuid
from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from surveys.models import Assignment, FormLink
from surveys.services.invitations import link_issue


class Command(BaseCommand):
    help = "Print a new link to one patient's form."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("assignment_id", type=uuid.UUID)
        parser.add_argument("--base-url", default=settings.SITE_URL, help="instead of SITE_URL")

    def handle(self, *_args: object, assignment_id: uuid.UUID, base_url: str, **_options: object) -> None:
        assignment = Assignment.objects.filter(pk=assignment_id).first()
        if not base_url:
            raise CommandError("The site does not know its own address. Set SITE_URL, or name --base-url.")
        if assignment is None:
            raise CommandError(f"There is no form with the id {assignment_id}.")
        try:
            token = link_issue(assignment=assignment, via=FormLink.Via.COMMAND)
        except ValueError as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(base_url.rstrip("/") + reverse("link", args=[token]))
