"""Instrument files into the database."""

from collections.abc import Iterable

from django.db import transaction

from surveys.models import Instrument
from surveys.packs import InstrumentFile, InstrumentFileError, built_in, version_problems


@transaction.atomic
def built_in_load() -> list[Instrument]:
    """Adds the shipped instruments that are not there yet; a version once loaded is never changed."""
    known = list(Instrument.objects.all())
    loaded = []
    for form in built_in():
        instrument = instrument_add(form=form, beside=known)
        known.append(instrument)
        loaded.append(instrument)
    return loaded


def instrument_load(*, form: InstrumentFile) -> Instrument:
    return instrument_add(form=form, beside=Instrument.objects.filter(code=form.code, rater=form.rater))


def instrument_add(*, form: InstrumentFile, beside: Iterable[Instrument]) -> Instrument:
    """The instrument of this file, added where it is not `beside` the others yet.

    Raises InstrumentFileError where the same version is there with other content, where it is no
    translation of the other languages of its version, or where it answers on another range.
    """
    others = [other for other in beside if (other.code, other.rater) == (form.code, form.rater)]
    problems = [problem for other in others for problem in version_problems(form, other.form)]
    if problems:
        raise InstrumentFileError(list(dict.fromkeys(problems)))
    for other in others:
        if (other.version, other.language) == (form.version, form.language):
            return other
    return Instrument.objects.create(
        code=form.code,
        version=form.version,
        rater=form.rater,
        language=form.language,
        definition=form.to_definition(),
    )
