"""Questionnaires as each process keeps them. A row of `Instrument` is never changed (a trigger refuses it),
so it is read and parsed once; which of them there are is asked each time."""

from copy import copy
from functools import lru_cache
from uuid import UUID

from surveys.models import Assignment, Instrument


@lru_cache(maxsize=500)
def _kept(pk: UUID) -> Instrument:
    row = Instrument.objects.get(pk=pk)
    # Parsed here, so that no copy has to do it again.
    _ = row.form
    return row


def instrument_of(pk: UUID) -> Instrument:
    """A copy of the caller's own: what else hangs on a row may change, and is loaded anew."""
    return copy(_kept(pk))


def form_wordings(assignment: Assignment) -> list[Instrument]:
    """The languages in which a form can be shown: its questionnaire in the same version and from the same
    hand, so that a clinic's licensed wording is never mixed with another."""
    own = assignment.instrument
    rows = Instrument.objects.filter(
        clinic=own.clinic_id, code=own.code, version=own.version, rater=own.rater
    )
    return [instrument_of(pk) for pk in rows.order_by("language").values_list("pk", flat=True)]
