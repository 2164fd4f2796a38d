"""Exact ML and REML for nested growth models of ratings: pure NumPy and SciPy, usable alone.

>>> spec = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
>>> result = fit(LongData.from_columns(columns, spec), spec)
"""

from .data import LongData
from .engine import fit
from .errors import DataError, SpecError
from .predict import Course, expected_course
from .results import FitResult
from .spec import GrowthSpec, RandomTerm

__all__ = [
    "Course",
    "DataError",
    "FitResult",
    "GrowthSpec",
    "LongData",
    "RandomTerm",
    "SpecError",
    "expected_course",
    "fit",
]
