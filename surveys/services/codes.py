"""Codes of people that nobody else of a clinic has."""

from typing import TypeVar

from django.db.models import QuerySet

from surveys.ids import new_code
from surveys.models import Patient, Therapist

Row = TypeVar("Row", Patient, Therapist)


def free_code(rows: QuerySet[Row]) -> str:
    """A code that none of the rows has: among thousands, two equal draws are likely. Of two draws in the
    same moment the unique constraint lets one in."""
    code = new_code()
    while rows.filter(code=code).exists():
        code = new_code()
    return code
