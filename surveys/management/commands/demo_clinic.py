"""Load the simulated clinic."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from surveys.demo.build import CLINIC, DemoRefused, build
from surveys.demo.parameters import SIZES


class Command(BaseCommand):
    help = "Load the Demonstration Clinic: simulated people, sessions and answers. Only in demo mode."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--size", choices=sorted(SIZES), default="study")

    def handle(self, *_args: object, size: str, **_options: object) -> None:
        try:
            is_new = build(SIZES[size])
        except DemoRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        if is_new:
            people = SIZES[size]
            self.stdout.write(
                f"{CLINIC} loaded: {people.n_therapists} therapists, {people.n_patients} patients."
            )
        else:
            self.stdout.write(f"{CLINIC} is loaded already; nothing was changed.")
