"""Instrument files into the database."""

from django.db import transaction

from surveys.models import Instrument
from surveys.packs import InstrumentFile, built_in


@transaction.atomic
def built_in_load() -> list[Instrument]:
    """Adds the shipped instruments that are not there yet; a version once loaded is never changed."""
    return [instrument_load(form=form) for form in built_in()]


def instrument_load(*, form: InstrumentFile) -> Instrument:
    """Raises ValueError where the same version is there with other content: that needs a new version; or
    where another version answers on another range: its ratings must not enter one model with the others."""
    for other in Instrument.objects.filter(code=form.code, rater=form.rater):
        if (other.form.minimum, other.form.maximum) != (form.minimum, form.maximum):
            raise ValueError(f"{other} answers on another range; give the new form a code of its own.")
    instrument, _ = Instrument.objects.get_or_create(
        code=form.code,
        version=form.version,
        rater=form.rater,
        language=form.language,
        defaults={"definition": form.to_definition()},
    )
    if instrument.form != form:
        raise ValueError(f"{instrument} is loaded with other content; give the changed file a new version.")
    return instrument
