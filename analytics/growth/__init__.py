"""Exact ML and REML for nested growth models of ratings: pure NumPy and SciPy, usable alone.

>>> spec = GrowthSpec.from_formula("y ~ time", ["1 + time | therapist", "1 + time | therapist:patient"])
>>> result = fit(LongData.from_columns(columns, spec), spec)

What follows from a fit (`inference`, `compare`, `intervals`, `effects`, `modes`, `predict`, `sensitivity`,
`serial`) and what precedes one (`times`, `simulate`, `power`) is taken from its module; docs/growth-models.md
lists them.
"""

from .data import LongData
from .engine import Estimate, estimate, fit
from .errors import DataError, SpecError
from .joint import fit_joint
from .predict import Course, expected_course
from .results import FitResult, JointResult
from .spec import GrowthSpec, JointSpec, RandomTerm
from .store import UnitSums

__all__ = [
    "Course",
    "DataError",
    "Estimate",
    "FitResult",
    "GrowthSpec",
    "JointResult",
    "JointSpec",
    "LongData",
    "RandomTerm",
    "SpecError",
    "UnitSums",
    "estimate",
    "expected_course",
    "fit",
    "fit_joint",
]
