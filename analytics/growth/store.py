"""Sums per lowest unit: all that a growth model needs of the ratings, whatever their number.

For the ratings (t, y) of a unit: their number, means, and sums of squares and products about these means.
They can be kept beside the data: a database makes them in one `GROUP BY`, and only the units whose ratings
changed are summed again.  Sums about the unit's own means lose nothing to a far origin of time, and every
coding of time that is linear in t, and every predictor that is constant in a unit, can be fitted from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .covariance import Array
from .data import Label, LongData, Units
from .errors import DataError, SpecError
from .fingerprint import fingerprint_of_rows, fingerprints_of_rows
from .formula import is_name
from .spec import GrowthSpec, RandomTerm

MEASURES = ("n", "mean_time", "mean_y", "css_time", "csp", "css_y")


@dataclass(frozen=True, eq=False)
class UnitSums:
    """Sums of J lowest units, sorted by label.

    `units`: one entry per level, the highest first, each counting lowest units instead of rows.  `n`,
    `mean_time`, `mean_y`, `css_time`, `csp`, `css_y` (J,): number of ratings, means of time and outcome, and
    corrected sums of squares of time, of products, and of squares of the outcome.  `predictors`: name to J
    values (floats, or strings for categories), constant in a unit.
    """

    time: str
    outcome: str
    units: tuple[Units, ...]
    n: Array
    mean_time: Array
    mean_y: Array
    css_time: Array
    csp: Array
    css_y: Array
    predictors: Mapping[str, NDArray[Any]]
    n_dropped: int = 0

    def __len__(self) -> int:
        return len(self.n)

    @property
    def n_rows(self) -> int:
        """Ratings in all."""
        return int(self.n.sum())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of labels, sums and predictors."""
        sums = {measure: getattr(self, measure) for measure in MEASURES}
        own = {f"predictor {name}": values for name, values in self.predictors.items()}
        words = fingerprint_of_rows(sums | own, self.units, np.arange(len(self)))
        return hashlib.sha256(f"{self.time}\x1e{self.outcome}\x1e{words}".encode()).hexdigest()

    def fingerprints(self, outcome: str) -> dict[str, str]:
        """As LongData's, of the sums: of the outcome, the time, each predictor and each level."""
        of_outcome = np.column_stack([self.n, self.mean_y, self.css_y])
        of_time = np.column_stack([self.mean_time, self.css_time, self.csp])
        columns = {self.time: of_time, **self.predictors}
        flat = {name: _one_word(column) for name, column in columns.items()}
        return fingerprints_of_rows(flat, self.units, np.arange(len(self)), _one_word(of_outcome), outcome)

    @classmethod
    def from_table(
        cls,
        columns: Mapping[str, ArrayLike] | pd.DataFrame,
        *,
        groups: Sequence[str] = ("therapist", "therapist:therapy"),
        time: str = "time",
        outcome: str = "y",
        predictors: Sequence[str] = (),
    ) -> Self:
        """Sums made elsewhere, one row per lowest unit: label columns, `MEASURES` and predictors.

        Raises DataError where labels repeat or a sum cannot be one: no rating, or a square below zero.
        """
        if not (is_name(time) and is_name(outcome)):
            raise SpecError("time and outcome must be column names")
        taken = {time, outcome, *MEASURES, *(name for group in groups for name in group.split(":"))}
        doubled = sorted(taken.intersection(predictors))
        if doubled:
            raise SpecError(f"predictor {doubled[0]!r} has the name of something else in the sums: rename it")
        random = tuple(RandomTerm(group) for group in groups)
        spec = GrowthSpec("n", " + ".join(("1", *MEASURES[1:], *predictors)), random, "ml")
        table = LongData.from_columns(columns, spec)
        if table.n_dropped:
            raise DataError(
                f"{table.n_dropped} rows of the table of sums have a missing value: sum them again"
            )
        if len(table.units[-1]) < len(table):
            raise DataError(f"the table of sums has more than one row for a {table.units[-1].group!r}")
        for measure in MEASURES:
            if table.columns[measure].dtype.kind != "f":
                raise DataError(f"column {measure!r} of the table of sums must be numeric", column=measure)
        sums = {measure: table.columns[measure] for measure in MEASURES}
        _require_sums(sums, table.row_numbers)
        own = {name: table.columns[name] for name in predictors}
        return cls(
            time=time,
            outcome=outcome,
            units=table.units,
            n=sums["n"],
            mean_time=sums["mean_time"],
            mean_y=sums["mean_y"],
            css_time=sums["css_time"],
            csp=sums["csp"],
            css_y=sums["css_y"],
            predictors=own,
        )

    @classmethod
    def from_data(cls, data: LongData, spec: GrowthSpec) -> Self:
        """Sums of the rows; raises SpecError where the model needs more of them than these sums."""
        time = time_column(spec, data)
        t, y, start = data.columns[time], data.columns[spec.outcome], data.units[-1].start
        n = np.diff(start, append=len(data)).astype(np.float64)
        sums = corrected_sums([t, y], start, n)
        predictors = {}
        for name in spec.predictors:
            if name != time:
                column = data.columns[name]
                if not is_constant(column, start):
                    raise SpecError(
                        f"predictor {name!r} varies inside a {data.units[-1].group!r}: fit it from the rows"
                    )
                predictors[name] = column[start]
        units = tuple(
            Units(level.group, np.searchsorted(start, level.start), level.codes, level.names)
            for level in data.units
        )
        (mean_time, mean_y), ((css_time, csp), (_, css_y)) = sums
        return cls(
            time, spec.outcome, units, n, mean_time, mean_y, css_time, csp, css_y, predictors, data.n_dropped
        )

    def replace(self, touched: UnitSums, gone: Collection[Label] = ()) -> UnitSums:
        """These sums with the units of `touched` in the place of those with the same labels, or added.

        `gone`: labels of units without a rating any more, as in `labels`.
        """
        same = ("time", "outcome")
        mine, theirs = (
            ([getattr(s, name) for name in same], [u.group for u in s.units], set(s.predictors))
            for s in (self, touched)
        )
        if mine != theirs:
            raise SpecError(
                "the touched units must have the same time, outcome, levels and predictors as these sums"
            )
        place = None if gone else self._places(touched)
        if place is not None:
            values = {measure: getattr(self, measure).copy() for measure in MEASURES}
            own = {name: column.copy() for name, column in self.predictors.items()}
            for name, column in values.items():
                column[place] = getattr(touched, name)
            for name, column in own.items():
                column[place] = touched.predictors[name]
            return replace(self, **values, predictors=own)
        out = {*touched.labels, *gone}
        keep = np.array([label not in out for label in self.labels], dtype=bool)
        merged = UnitSums.from_table(
            pd.concat([self.table()[keep], touched.table()], ignore_index=True),
            groups=[level.group for level in self.units],
            time=self.time,
            outcome=self.outcome,
            predictors=tuple(self.predictors),
        )
        return replace(merged, n_dropped=self.n_dropped)

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """Label of each lowest unit: its text in every grouping column, those of the highest level first."""
        columns = self._label_columns()
        return tuple(zip(*(column.tolist() for column in columns.values()), strict=True))

    def _label_columns(self) -> dict[str, NDArray[Any]]:
        out = {}
        for level in self.units:
            inside = np.diff(level.start, append=len(self))
            for name, codes, names in zip(level.group.split(":"), level.codes, level.names, strict=True):
                out[name] = np.repeat(names.astype(str).astype(object)[codes], inside)
        return out

    def _places(self, touched: UnitSums) -> NDArray[np.intp] | None:
        """Where the touched units stand in these sums; None where one of them is new."""
        mine, theirs = np.zeros(len(self), dtype=np.intp), np.zeros(len(touched), dtype=np.intp)
        for own, other in zip(self.units, touched.units, strict=True):
            for i, names in enumerate(own.names):
                wanted = other.names[i]
                if names.dtype != wanted.dtype:
                    return None
                at = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
                if (names[at] != wanted).any():
                    return None
                inside = np.diff(own.start, append=len(self))
                other_inside = np.diff(other.start, append=len(touched))
                mine = mine * len(names) + np.repeat(own.codes[i], inside)
                theirs = theirs * len(names) + np.repeat(at[other.codes[i]], other_inside)
        place = np.minimum(np.searchsorted(mine, theirs), len(self) - 1)
        return place if (mine[place] == theirs).all() else None

    def table(self) -> pd.DataFrame:
        """One row per lowest unit, as `from_table` takes them."""
        measures = {measure: getattr(self, measure) for measure in MEASURES}
        return pd.DataFrame({**self._label_columns(), **measures, **self.predictors})

    def differences(self, other: UnitSums, tolerance: float = 1e-9) -> tuple[Label, ...]:
        """Labels of units that differ by over `tolerance` of a column's size, or are in one only."""
        mine, theirs = (dict(zip(s.labels, range(len(s)), strict=True)) for s in (self, other))
        wrong = {label for label in {**mine, **theirs} if label not in mine or label not in theirs}
        both = [label for label in mine if label in theirs]
        a, b = (s.table().drop(columns=list(s._label_columns())) for s in (self, other))
        if set(a.columns) != set(b.columns):
            raise SpecError("only sums with the same predictors can be compared")
        a, b = a.iloc[[mine[label] for label in both]], b.iloc[[theirs[label] for label in both]]
        for name in a.columns:
            x, y = a[name].to_numpy(), b[name].to_numpy()
            if x.dtype.kind == "f" and y.dtype.kind == "f" and len(x):
                differs = np.abs(x - y) > tolerance * max(float(np.abs(x).max()), float(np.abs(y).max()))
            else:
                differs = x != y
            wrong |= {label for label, bad in zip(both, differs, strict=True) if bad}
        return tuple(sorted(wrong))


def _one_word(columns: NDArray[Any]) -> NDArray[Any]:
    """Rows of several numbers (n, k) as one float each that depends on all digits; others as they are."""
    if columns.ndim == 1:
        return columns
    words = np.zeros(len(columns), dtype=np.uint64)
    for column in columns.T:
        words = words * np.uint64(0x9E3779B97F4A7C15) + (np.ascontiguousarray(column) + 0.0).view(np.uint64)
    return (words >> np.uint64(12)).astype(np.float64)


def _require_sums(sums: Mapping[str, Array], row_numbers: NDArray[np.intp]) -> None:
    """Raises DataError where numbers cannot be sums of ratings."""
    n, css_time, csp, css_y = (sums[measure] for measure in ("n", "css_time", "csp", "css_y"))
    if not len(n):
        return
    size_t, size_y = (
        max(float(np.ptp(sums[mean])), float(np.sqrt(css.max())))
        for mean, css in (("mean_time", css_time), ("mean_y", css_y))
    )
    rounding = 1e-9 * css_time * css_y + (1e-12 * n * size_t * size_y) ** 2
    checks = (
        ("n", (n < 1) | (n != np.round(n)), "must be a whole number of ratings, at least 1"),
        ("css_time", css_time < 0, "must be a sum of squares, not below 0"),
        ("css_y", css_y < 0, "must be a sum of squares, not below 0"),
        ("csp", csp**2 > css_time * css_y + rounding, "is larger than the two sums of squares allow"),
        (
            "css_time",
            (n == 1) & (css_time > (1e-9 * size_t) ** 2),
            "cannot be with one rating, which is its mean",
        ),
        ("css_y", (n == 1) & (css_y > (1e-9 * size_y) ** 2), "cannot be with one rating, which is its mean"),
    )
    for measure, is_wrong, why in checks:
        if is_wrong.any():
            i = int(np.flatnonzero(is_wrong)[0])
            row = int(row_numbers[i])
            raise DataError(
                f"column {measure!r}, row {row}: {sums[measure][i]:g} {why}", column=measure, row=row
            )


def time_column(spec: GrowthSpec, data: LongData) -> str:
    """The one column of time that the sums are about; raises SpecError if the model is not linear in one.

    The column with random slopes, or, with random intercepts alone, the predictor that varies inside a unit.
    """
    slopes = {column for term in spec.random for column in term.columns if column != "1"}
    if not slopes:
        start = data.units[-1].start
        slopes = {name for name in spec.predictors if not is_constant(data.columns[name], start)}
    if len(slopes) != 1 or not is_name(next(iter(slopes))):
        raise SpecError(
            "sums per unit hold the ratings' course in one column of time: fit this model from the rows"
        )
    return next(iter(slopes))


def is_constant(column: NDArray[Any], start: NDArray[np.intp]) -> bool:
    """Whether a column has one value in each run of rows that begins at `start`."""
    if column.dtype.kind == "f":
        return bool((np.maximum.reduceat(column, start) == np.minimum.reduceat(column, start)).all())
    codes = pd.factorize(column)[0]
    return bool((np.maximum.reduceat(codes, start) == np.minimum.reduceat(codes, start)).all())


def corrected_sums(columns: Sequence[Array], start: NDArray[np.intp], n: Array) -> tuple[Array, Array]:
    """Means (v, J) and sums of squares and products about them (v, v, J) in runs of rows."""
    v = len(columns)
    centres = np.array([column.mean() for column in columns])
    about = [column - centre for column, centre in zip(columns, centres, strict=True)]
    means = np.array([np.add.reduceat(column, start) for column in about]) / n
    cross = np.empty((v, v, len(start)))
    for i in range(v):
        for j in range(i, v):
            cross[i, j] = np.add.reduceat(about[i] * about[j], start) - n * means[i] * means[j]
            cross[j, i] = cross[i, j]
        cross[i, i] = np.where(n > 1, np.maximum(cross[i, i], 0.0), 0.0)
    is_flat = cross[range(v), range(v)] == 0.0
    cross[is_flat[:, None] | is_flat[None]] = 0.0
    return means + centres[:, None], cross
