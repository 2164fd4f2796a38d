"""Codings of time: how the number of a session becomes the columns of a growth model.

With s the session, o the origin and k_1 < k_2 < ... the knots, both in sessions, and d the unit:

    linear       time = (s - o) / d
    log          log_time = log(1 + (s - o) / d)
    occasion     occasion = 0, 1, 2, ...                the rank of s among the *planned* sessions
    piecewise    time, time_after_k = (max(s - k, 0) - max(o - k, 0)) / d        one column for each knot
    quadratic    time, time_squared = time^2

Every column is zero at the origin, so in every coding the intercept is the level there.  With random slopes
its variance, and every intraclass correlation made of it, belongs to that session as well: with
b(new) = M b the covariance matrix at another origin is M T M' (Snijders & Bosker 2012, Multilevel Analysis,
2nd ed., sec. 5.1), and neither of the two is the right one.  The shapes are those of Singer & Willett (2003,
Applied Longitudinal Data Analysis, ch. 6).

The coefficients of a piecewise coding are the change per unit up to the first knot and what each knot adds to
it.  The rank among a therapy's *observed* sessions would give the session after a missed one another
meaning than in other therapies; the planned rank does not.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .covariance import Array
from .errors import DataError, SpecError
from .formula import is_name, variables


@dataclass(frozen=True)
class TimeCoding(ABC):
    """One way to count time: `columns` for the data, `fixed` and `random` for the spec."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of the columns, as formulas use them."""

    @property
    @abstractmethod
    def zero(self) -> float:
        """The session at which every column is zero."""

    @property
    @abstractmethod
    def _shape(self) -> str: ...

    @abstractmethod
    def _values(self, session: Array) -> list[Array]: ...

    def columns(self, session: ArrayLike) -> dict[str, Array]:
        """Name to column (N,) for session numbers (N,); a missing session (NaN) stays missing.

        Raises DataError for what is not a list of numbers, SpecError for sessions that the coding has no
        value for.
        """
        try:
            sessions = np.asarray(session, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"sessions must be numbers: {error}") from error
        if sessions.ndim != 1:
            raise DataError("sessions must be a list of numbers, one for each row")
        return dict(zip(self.names, self._values(sessions), strict=True))

    def describe(self) -> str:
        """One sentence for people."""
        return f"{self._shape}; the intercept and its variance belong to session {self.zero:g}."

    def check(self, session: ArrayLike) -> None:
        """Raise SpecError where ratings at these sessions cannot tell the coding's columns apart."""
        distinct = np.unique(np.asarray(session, dtype=np.float64))
        distinct = distinct[np.isfinite(distinct)]
        enough = len(distinct) > len(self.names)
        if enough:
            columns = np.column_stack(list(self.columns(distinct).values()))
            # About its mean each column is free of the intercept, and of what a far origin adds to it.
            centred = columns - columns.mean(axis=0)
            enough = np.linalg.matrix_rank(centred / np.linalg.norm(centred, axis=0)) == len(self.names)
        if not enough:
            raise SpecError(
                f"ratings at {len(distinct)} different sessions cannot carry the {self.name} coding with "
                f"{', '.join(self.names)}: choose one with fewer columns, or knots between those sessions"
            )

    def fixed(self, predictors: Sequence[str] = ()) -> str:
        """Right-hand side for the fixed effects: time, predictors, and how each acts on the change.

        >>> Linear(origin=3, unit=10).fixed(["x", "z"])
        'time * (x + z)'
        """
        for predictor in predictors:
            if set(variables(predictor)) & set(self.names) or not variables(predictor):
                raise SpecError(f"predictor {predictor!r} must name columns of the data other than time")
        if not predictors:
            return " + ".join(self.names)
        return f"{_sum(self.names)} * {_sum(predictors)}"

    def random(self, *, every: bool = False) -> tuple[str, ...]:
        """Columns of a `RandomTerm`: the intercept and the first column, or `every` column.

        With few ratings a therapy a second random slope cannot be told from the residual.
        """
        return ("1", *(self.names if every else self.names[:1]))

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, ready for JSON."""
        parameters = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"name": self.name} | {
            key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items()
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TimeCoding:
        """The coding that `to_dict` was made from; raises SpecError for anything else."""
        parameters = dict(values)
        name = parameters.pop("name", None)
        kind = CODINGS.get(name) if isinstance(name, str) else None
        if kind is None:
            raise SpecError(f"time coding {name!r} must be one of {', '.join(CODINGS)}")
        known = {field.name for field in fields(kind)}
        if parameters.keys() != known:
            raise SpecError(f"time coding {name!r} takes {', '.join(sorted(known))} and nothing else")
        return kind(**parameters)


@dataclass(frozen=True)
class _Scaled(TimeCoding):
    """A coding with an origin and a unit, both in sessions."""

    origin: float
    unit: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "origin", _number("origin", self.origin))
        object.__setattr__(self, "unit", _number("unit", self.unit))
        if self.unit <= 0:
            raise SpecError(f"the unit of time must be more than 0 sessions, not {self.unit:g}")

    def _time(self, session: Array) -> Array:
        out: Array = (session - self.origin) / self.unit
        return out

    @property
    def zero(self) -> float:
        """The origin."""
        return self.origin

    @property
    def _per_unit(self) -> str:
        return f"counted per {_sessions(self.unit)} from session {self.origin:g}"


@dataclass(frozen=True)
class Linear(_Scaled):
    """A straight line in the session number."""

    name: ClassVar[str] = "linear"

    @property
    def names(self) -> tuple[str, ...]:
        """`time`."""
        return ("time",)

    @property
    def _shape(self) -> str:
        return f"Change is a straight line, {self._per_unit}"

    def _values(self, session: Array) -> list[Array]:
        return [self._time(session)]


@dataclass(frozen=True)
class Log(_Scaled):
    """Change that is fast at first and slows down.

    The 1 makes the column zero at the origin, as in the other codings; with `unit` equal to `origin` it is
    log(session / origin).  Sessions must lie after origin - unit.
    """

    name: ClassVar[str] = "log"

    @property
    def names(self) -> tuple[str, ...]:
        """`log_time`."""
        return ("log_time",)

    @property
    def _shape(self) -> str:
        return f"Change slows down, as the logarithm of 1 plus time, {self._per_unit}"

    def _values(self, session: Array) -> list[Array]:
        first = self.origin - self.unit
        if (session <= first).any():
            raise SpecError(
                f"session {np.nanmin(session):g} has no logarithm in this coding: sessions must come after "
                f"{first:g}; move the origin to the first planned session"
            )
        return [np.log1p(self._time(session))]


@dataclass(frozen=True)
class Occasion(TimeCoding):
    """The rank of a session among the planned ones: equal steps, however far apart the sessions are."""

    planned: tuple[float, ...]
    name: ClassVar[str] = "occasion"

    def __post_init__(self) -> None:
        planned = _increasing("planned sessions", self.planned)
        if len(planned) < 2:
            raise SpecError("the occasion coding needs at least two planned sessions")
        object.__setattr__(self, "planned", planned)

    @property
    def names(self) -> tuple[str, ...]:
        """`occasion`."""
        return ("occasion",)

    @property
    def zero(self) -> float:
        """The first planned session."""
        return self.planned[0]

    @property
    def _shape(self) -> str:
        return f"Change is a straight line over the planned occasions 0, 1, 2, ... (sessions {self._listed})"

    @property
    def _listed(self) -> str:
        return ", ".join(f"{session:g}" for session in self.planned)

    def _values(self, session: Array) -> list[Array]:
        planned = np.array(self.planned)
        rank = np.minimum(np.searchsorted(planned, session), len(planned) - 1).astype(np.float64)
        missing = np.isnan(session)
        astray = np.flatnonzero((planned[rank.astype(np.intp)] != session) & ~missing)
        if len(astray):
            raise SpecError(
                f"session {session[astray[0]]:g} is not among the planned sessions {self._listed}: "
                "plan it, or count time by another coding"
            )
        rank[missing] = np.nan
        return [rank]


@dataclass(frozen=True)
class Piecewise(_Scaled):
    """A line whose slope may change at each knot."""

    knots: tuple[float, ...]
    name: ClassVar[str] = "piecewise"

    def __post_init__(self) -> None:
        super().__post_init__()
        knots = _increasing("knots", self.knots)
        if not knots:
            raise SpecError("the piecewise coding needs at least one knot; without one it is linear")
        object.__setattr__(self, "knots", knots)
        for knot, column in zip(knots, self.names[1:], strict=True):
            if not is_name(column):
                raise SpecError(f"knot {knot!r} must be a session number from 0 to 999999")
        if len(set(self.names)) < len(self.names):
            raise SpecError("knots must be further apart")

    @property
    def names(self) -> tuple[str, ...]:
        """`time` and, for each knot, `time_after_<knot>`."""
        return ("time", *(f"time_after_{knot:g}".replace(".", "_") for knot in self.knots))

    @property
    def _shape(self) -> str:
        knots = ", ".join(f"{knot:g}" for knot in self.knots)
        return f"Change is a line that may bend at session {knots}, {self._per_unit}"

    def check(self, session: ArrayLike) -> None:
        """Raise SpecError for knots outside the sessions, too, and name them."""
        sessions = np.asarray(session, dtype=np.float64)
        sessions = sessions[np.isfinite(sessions)]
        for knot in self.knots:
            if not (len(sessions) and sessions.min() < knot < sessions.max()):
                raise SpecError(f"knot {knot:g} lies outside the rated sessions: nothing can bend there")
        super().check(session)

    def _values(self, session: Array) -> list[Array]:
        after = [np.maximum(session - k, 0.0) - max(self.origin - k, 0.0) for k in self.knots]
        return [self._time(session), *(column / self.unit for column in after)]


@dataclass(frozen=True)
class Quadratic(_Scaled):
    """A parabola: the first coefficient is the rate of change at the origin, the second half its change."""

    name: ClassVar[str] = "quadratic"

    @property
    def names(self) -> tuple[str, ...]:
        """`time` and `time_squared`."""
        return ("time", "time_squared")

    @property
    def _shape(self) -> str:
        return f"Change is a parabola, {self._per_unit}, and the first slope is the rate of change there"

    def _values(self, session: Array) -> list[Array]:
        time = self._time(session)
        return [time, time**2]


CODINGS: Mapping[str, type[TimeCoding]] = {
    kind.name: kind for kind in (Linear, Log, Occasion, Piecewise, Quadratic)
}


def _number(what: str, value: Any) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        raise SpecError(f"{what} must be a finite number, not {value!r}")
    return float(value)


def _increasing(what: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise SpecError(f"{what} must be a list of session numbers, not {values!r}")
    numbers = tuple(_number(what, value) for value in values)
    if any(a >= b for a, b in pairwise(numbers)):
        raise SpecError(f"{what} must be in increasing order, not {', '.join(f'{n:g}' for n in numbers)}")
    return numbers


def _sum(terms: Sequence[str]) -> str:
    """Terms as one factor of a product, in brackets unless it is a plain name."""
    return terms[0] if len(terms) == 1 and is_name(terms[0]) else f"({' + '.join(terms)})"


def _sessions(n: float) -> str:
    return "session" if n == 1 else f"{n:g} sessions"
