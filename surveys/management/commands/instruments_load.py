"""The instruments of a release, beside those that are there."""

from django.core.management.base import BaseCommand, CommandError

from surveys.models import Instrument
from surveys.packs import InstrumentFileError
from surveys.services.instruments import built_in_load


class Command(BaseCommand):
    help = (
        "Add the instruments that ship with this release; what is there stays as it is. After every migrate."
    )

    def handle(self, *_args: object, **_options: object) -> None:
        shipped = Instrument.objects.filter(clinic=None)
        n_before = shipped.count()
        try:
            built_in_load()
        except InstrumentFileError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Shipped instruments: {shipped.count()}, of which new: {shipped.count() - n_before}."
        )
