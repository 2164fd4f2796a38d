"""Make the demonstration ready to be used."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.demo.build import DemoRefused
from surveys.demo.manifest import write_manifest


class Command(BaseCommand):
    help = "Write demo.json under VAR: accounts, API tokens and open patient links. Only in demo mode."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--base-url", default="http://127.0.0.1:8000")

    def handle(self, *_args: object, base_url: str, **_options: object) -> None:
        try:
            path = write_manifest(base_url)
        except DemoRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"Accounts and patient links stand in {path}")
