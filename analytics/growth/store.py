"""Sums per lowest unit: all that a growth model needs of the ratings, whatever their number.

For the ratings (t, y) of a unit: their number, means, and sums of squares and products about these means.
They can be kept beside the data: a database makes them in one `GROUP BY`, and only the units whose ratings
changed are summed again.  Sums about the unit's own means lose nothing to a far origin of time, and every
coding of time that is linear in t, and every predictor that is constant in a unit, can be fitted from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .covariance import Array
from .data import LongData, Units
from .errors import DataError, SpecError
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
        digest = hashlib.sha256(f"{self.time}\x1e{self.outcome}".encode())
        for level in self.units:
            digest.update("\x1f".join("\x1d".join(label) for label in level.labels).encode())
        for measure in MEASURES:
            digest.update(getattr(self, measure).astype("<f8").tobytes())
        for name in sorted(self.predictors):
            digest.update("\x1f".join([name, *map(str, self.predictors[name].tolist())]).encode())
        return digest.hexdigest()

    def fingerprint_of(self, outcome: str) -> str:
        """SHA-256 of the sums of the outcome alone."""
        values = np.sort(np.column_stack([self.n, self.mean_y, self.css_y]).astype("<f8"), axis=0)
        return hashlib.sha256(outcome.encode() + values.tobytes()).hexdigest()

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
        random = tuple(RandomTerm(group) for group in groups)
        spec = GrowthSpec("n", " + ".join(("1", *MEASURES[1:], *predictors)), random, "ml")
        table = LongData.from_columns(columns, spec)
        if table.n_dropped:
            raise DataError(
                f"{table.n_dropped} rows of the table of sums have a missing value: sum them again"
            )
        if len(table.units[-1]) < len(table):
            raise DataError(f"the table of sums has more than one row for a {table.units[-1].group!r}")
        sums = {measure: np.asarray(table.columns[measure], dtype=np.float64) for measure in MEASURES}
        for measure, least in (("n", 1.0), ("css_time", 0.0), ("css_y", 0.0)):
            wrong = np.flatnonzero(sums[measure] < least)
            if len(wrong):
                row = int(table.row_numbers[wrong[0]])
                raise DataError(
                    f"column {measure!r}, row {row}: {sums[measure][wrong[0]]:g} is below {least:g}",
                    column=measure,
                    row=row,
                )
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
        time = time_column(spec)
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

    def replace(self, touched: UnitSums) -> UnitSums:
        """These sums with the units of `touched` put in the place of those with the same label, or added."""
        low = self.units[-1].group
        fresh = set(touched.units[-1].labels)
        keep = np.array([label not in fresh for label in self.units[-1].labels], dtype=bool)
        groups = [level.group for level in self.units]
        tables = [self.table()[keep], touched.table()]
        if low != touched.units[-1].group or set(self.predictors) != set(touched.predictors):
            raise SpecError(
                "the touched units must have the same levels and predictors as the sums they join"
            )
        return UnitSums.from_table(
            pd.concat(tables, ignore_index=True),
            groups=groups,
            time=self.time,
            outcome=self.outcome,
            predictors=tuple(self.predictors),
        )

    def table(self) -> pd.DataFrame:
        """One row per lowest unit, as `from_table` takes them."""
        low, frame = self.units[-1], {}
        high = self.units[0]
        inside = np.diff(high.start, append=len(self))
        for level, repeats in ((high, inside), (low, None)):
            for name, codes, names in zip(level.group.split(":"), level.codes, level.names, strict=True):
                own = names.astype(str).astype(object)[codes]
                frame[name] = own if repeats is None else np.repeat(own, repeats)
        frame |= {measure: getattr(self, measure) for measure in MEASURES}
        return pd.DataFrame(frame | dict(self.predictors))

    def differences(self, other: UnitSums, tolerance: float = 1e-9) -> tuple[tuple[str, ...], ...]:
        """Labels of units whose sums differ by over `tolerance` of a column's size, or are in one only."""
        mine, theirs = (dict(zip(s.units[-1].labels, range(len(s)), strict=True)) for s in (self, other))
        wrong = [label for label in {**mine, **theirs} if label not in mine or label not in theirs]
        both = [label for label in mine if label in theirs]
        i, j = np.array([mine[label] for label in both]), np.array([theirs[label] for label in both])
        if both:
            differs = np.zeros(len(both), dtype=bool)
            for measure in MEASURES:
                a, b = getattr(self, measure)[i], getattr(other, measure)[j]
                differs |= np.abs(a - b) > tolerance * max(float(np.abs(a).max()), float(np.abs(b).max()))
            wrong += [label for label, bad in zip(both, differs, strict=True) if bad]
        return tuple(sorted(wrong))


def time_column(spec: GrowthSpec) -> str:
    """The one column of time that the sums are about; raises SpecError if the model is not linear in one."""
    slopes = {column for term in spec.random for column in term.columns if column != "1"}
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
    return means + centres[:, None], cross
