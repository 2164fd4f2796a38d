"""Instrument files into the database."""

from collections.abc import Iterable

from django.db import transaction

from surveys import audit
from surveys.access import Actor
from surveys.clinic_access import clinic_instruments
from surveys.models import Clinic, Instrument
from surveys.packs import InstrumentFile, InstrumentFileError, built_in, version_problems


@transaction.atomic
def built_in_load() -> list[Instrument]:
    """Adds the shipped instruments that are not there yet; a version once loaded is never changed."""
    known = list(Instrument.objects.filter(clinic=None))
    loaded = []
    for form in built_in():
        instrument = _found(form, known) or _add(form, None)
        known.append(instrument)
        loaded.append(instrument)
    return loaded


@transaction.atomic
def instrument_upload(*, clinic: Clinic, actor: Actor, form: InstrumentFile) -> Instrument:
    """A clinic's own form, for this clinic alone; the row that is there where it was uploaded before.

    Raises InstrumentFileError where the form cannot stand beside those that the clinic knows.
    """
    # One upload of a clinic at a time: what is checked here is still so when the row is added.
    Clinic.objects.select_for_update(no_key=True).get(pk=clinic.pk)
    found = _found(form, _beside(clinic, form))
    if found is not None:
        return found
    instrument = _add(form, clinic)
    audit.record("instrument.upload", subject=instrument, actor=actor, clinic=clinic, instrument=form.name)
    return instrument


def instrument_check(*, clinic: Clinic, form: InstrumentFile) -> None:
    """Raises InstrumentFileError where `instrument_upload` would; stores nothing."""
    _found(form, _beside(clinic, form))


def _beside(clinic: Clinic, form: InstrumentFile) -> Iterable[Instrument]:
    """The forms that the clinic knows under this code and rater: shipped ones and its own."""
    return clinic_instruments(clinic).filter(code=form.code, rater=form.rater)


def _found(form: InstrumentFile, beside: Iterable[Instrument]) -> Instrument | None:
    """The row with exactly this content. Raises InstrumentFileError where the same version is there with
    other content, where the file is no translation of its version, or where it answers on another range."""
    others = [other for other in beside if (other.code, other.rater) == (form.code, form.rater)]
    problems = [problem for other in others for problem in version_problems(form, other.form)]
    if problems:
        raise InstrumentFileError(list(dict.fromkeys(problems)))
    return next((other for other in others if other.form == form), None)


def _add(form: InstrumentFile, clinic: Clinic | None) -> Instrument:
    return Instrument.objects.create(
        clinic=clinic,
        code=form.code,
        version=form.version,
        rater=form.rater,
        language=form.language,
        definition=form.to_definition(),
    )
