"""Pure: from the frozen tables to the one long frame of an analysis, and what was left out of it.

One row a rating: therapist, therapy, patient, rater, session, the columns of time, y, and one column for
each predictor, sorted by therapist, therapy, session and rater.  Time is counted in sessions held; in the
coding by occasion in planned ones.

A scale of the forms about one session is split, as its two parts answer different questions (Curran & Bauer
2011, Annu Rev Psychol 62, 583-619): `_mean` is the mean over the sessions of the therapy, `_within` the
distance of the session from it.

Of forms about practice in general the first counts unless the question says otherwise: what therapists say of
themselves later may be a consequence of the alliances that it is to explain.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any, Literal

import numpy as np
import pandas as pd

from analytics.growth.errors import SpecError
from analytics.research.spec import CATEGORIES, AnalysisSpec, Predictor
from surveys.composites import ScaleKey, composite_value, composites

Tables = Mapping[str, pd.DataFrame]
Unit = Literal["therapist", "therapy", "session"]
MAX_CATEGORIES = 10
# What a published number is over, at least, in every group that a predictor sets apart.
MIN_PATIENTS, MIN_THERAPISTS = 10, 3


class Refusal(Exception):
    """The data cannot carry the question; `code` and `values` are for `analytics.research.words`."""

    def __init__(self, code: str, **values: Any) -> None:
        self.code, self.values_of = code, values
        super().__init__(code)


@dataclass(frozen=True)
class Column:
    """A predictor as it enters the model: its unit, and mean and SD over these units before any scaling.

    `value`: of a category, what 1 stands for; 0 is every other value.  `n`: units with a value, `n_missing`
    without.
    """

    name: str
    key: str
    unit: Unit
    value: str
    mean: float
    sd: float
    n: int
    n_missing: int
    is_scaled: bool

    @property
    def is_category(self) -> bool:
        return self.value != ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Frame:
    """`rows` as above; `left_out`: ratings that are not among them, by reason; `constant`: predictors without
    variation, which are no columns; `late`: by predictor, how many therapists filled their first form
    about practice after the first rating here."""

    rows: pd.DataFrame
    columns: tuple[Column, ...]
    left_out: Mapping[str, int]
    constant: tuple[str, ...] = field(default=())
    late: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def model_frame(tables: Tables, spec: AnalysisSpec) -> pd.DataFrame:
    """The rows of `build`."""
    return build(tables, spec).rows


def build(tables: Tables, spec: AnalysisSpec) -> Frame:
    """Raises Refusal where there is nothing to analyse, or a predictor is in no table."""
    ratings, left_out = _ratings(tables["ratings"], spec)
    try:
        number = ratings["occasion" if spec.coding.name == "occasion" else "session"]
        times = spec.coding.columns(number.to_numpy(dtype=float))
    except SpecError as error:
        raise Refusal("time", detail=str(error)) from error
    rows = ratings[["therapist", "therapy", "patient", "rater", "session"]].assign(**times, y=ratings["y"])
    columns: list[Column] = []
    constant: list[str] = []
    for predictor in spec.predictors:
        for stem, unit, value, values in _values(tables, spec, predictor, rows):
            name = _free(stem, rows.columns)
            column, scaled = _column(name, predictor.key, unit, value, values, rows, spec.scaling)
            if column is None:
                constant.append(name)
            else:
                rows[name] = scaled
                columns.append(column)
    rows = rows.sort_values(["therapist", "therapy", "session", "rater"], kind="stable")
    about = [predictor for predictor in spec.predictors if predictor.source in ("trait", "composite")]
    late = {predictor.name: _late(tables["practice"], predictor, ratings) for predictor in about}
    return Frame(rows.reset_index(drop=True), tuple(columns), left_out, tuple(constant), late)


def complete(frame: Frame, raters: tuple[str, ...]) -> pd.DataFrame:
    """Rows of these raters without a missing predictor."""
    rows = frame.rows[frame.rows["rater"].isin(raters)]
    return rows.dropna(subset=list(frame.names)).reset_index(drop=True)


def groups(frame: Frame, rows: pd.DataFrame) -> Iterator[tuple[Column | None, pd.DataFrame]]:
    """Everybody in these rows, and whom each predictor sets apart, with the predictor: those in a category,
    those in none of its categories, those whose number is not the most frequent one.

    An effect of a group of one patient is that patient's.
    """
    yield None, rows
    by_key: dict[str, list[Column]] = {}
    for column in frame.columns:
        if column.is_category:
            by_key.setdefault(column.key, []).append(column)
            yield column, rows[rows[column.name] == 1]
    for columns in by_key.values():
        yield columns[0], rows[(rows[[column.name for column in columns]] == 0).all(axis=1)]
    for column in frame.columns:
        if not column.is_category:
            yield column, rows[rows[column.name] != rows[column.name].mode().iloc[0]]


def _free(stem: str, taken: Collection[str]) -> str:
    """The stem, or with a number: values that differ by a sign or a letter beyond A to Z have one stem."""
    names = (stem if n == 1 else f"{stem}_{n}" for n in count(1))
    return next(name for name in names if name not in taken)


def _ratings(ratings: pd.DataFrame, spec: AnalysisSpec) -> tuple[pd.DataFrame, dict[str, int]]:
    """The ratings that count, with their score as y, and how many do not, by reason."""
    if spec.scale not in ratings.columns:
        raise Refusal("no_scale", scale=spec.scale)
    left_out = {}

    def keep(rows: pd.DataFrame, reason: str, kept: Any) -> pd.DataFrame:
        left_out[reason] = int((~kept).sum())
        return rows[kept]

    rows = ratings[ratings["rater"].isin(spec.raters)]
    rows = keep(rows, "other_form", rows["instrument"] == rows["rater"].map(spec.instruments))
    if spec.sessions:
        rows = keep(rows, "other_session", rows["occasion"].isin(spec.sessions))
    rows = keep(rows, "no_score", rows[spec.scale].notna())
    rows = rows.sort_values("submitted_on", kind="stable")
    rows = keep(rows, "second_form", ~rows.duplicated(["therapy", "session", "rater"]))
    for rater in spec.raters:
        if not (rows["rater"] == rater).any():
            raise Refusal("no_ratings", rater=rater)
    return rows.assign(y=rows[spec.scale].astype(float)).reset_index(drop=True), left_out


# Name of the column, its unit, the category that is 1, and its value by unit.
Found = tuple[str, Unit, str, pd.Series]


def _values(tables: Tables, spec: AnalysisSpec, predictor: Predictor, rows: pd.DataFrame) -> list[Found]:
    if predictor.source == "trait":
        forms = _forms(tables, predictor, "trait")
        return [(predictor.name, "therapist", "", _of_forms(forms, predictor.name, spec))]
    if predictor.source == "composite":
        return [(predictor.name, "therapist", "", _composite(tables, predictor.name, spec))]
    if predictor.source == "state":
        return _state(_forms(tables, predictor, "state"), predictor.name)
    if predictor.source == "therapist":
        return [
            (predictor.name, "therapist", "", tables["therapists"].set_index("therapist")[predictor.name])
        ]
    values = tables["therapies"].set_index("therapy")[predictor.name]
    if predictor.name not in CATEGORIES:
        return [(predictor.name, "therapy", "", values)]
    return _categories(predictor.name, values[values.index.isin(rows["therapy"])])


def _forms(tables: Tables, predictor: Predictor, about: str) -> pd.DataFrame:
    practice = tables["practice"]
    own = practice[(practice["about"] == about) & (practice["instrument"] == predictor.instrument)]
    if predictor.name not in own.columns or own[predictor.name].isna().all():
        raise Refusal("no_predictor", key=predictor.key)
    return own.dropna(subset=[predictor.name]).sort_values("submitted_on", kind="stable")


def _of_forms(forms: pd.DataFrame, name: str, spec: AnalysisSpec) -> pd.Series:
    """One value for each therapist, from rows in the order of time."""
    by_therapist = forms.groupby("therapist")[name]
    if spec.trait_at == "mean":
        return by_therapist.mean().astype(float)
    return (by_therapist.first() if spec.trait_at == "first" else by_therapist.last()).astype(float)


def _composite(tables: Tables, code: str, spec: AnalysisSpec) -> pd.Series:
    """By therapist, from the forms of one period each."""
    composite = next((row for row in composites() if row.code == code), None)
    if composite is None:
        raise Refusal("no_predictor", key=f"composite:{code}")
    practice = tables["practice"]
    keys = [key for part in composite.components for key in part.keys]
    found = []
    own = practice[practice["about"] == "trait"].sort_values("submitted_on", kind="stable")
    for (therapist, _), forms in own.groupby(["therapist", "period"], sort=False):
        last = forms.drop_duplicates("instrument", keep="last").set_index("instrument")
        values: dict[ScaleKey, float | None] = {}
        for form, scale in keys:
            if form in last.index and scale in last.columns:
                mean = float(last[scale].to_numpy(dtype=float)[last.index.get_loc(form)])
                values[form, scale] = None if np.isnan(mean) else _share(mean, *spec.ranges[form])
        found.append((therapist, composite_value(composite, values)))
    table = pd.DataFrame(found, columns=["therapist", code]).dropna()
    if table.empty:
        raise Refusal("no_predictor", key=f"composite:{code}")
    return _of_forms(table, code, spec)


def _late(practice: pd.DataFrame, predictor: Predictor, ratings: pd.DataFrame) -> int:
    keys = [
        key
        for row in composites()
        if row.code == predictor.name
        for part in row.components
        for key in part.keys
    ]
    codes = {predictor.instrument} if predictor.source == "trait" else {form for form, _ in keys}
    own = practice[(practice["about"] == "trait") & practice["instrument"].isin(codes)]
    first = own.groupby(["therapist", "instrument"])["submitted_on"].min().groupby("therapist").max()
    begun = ratings.groupby("therapist")["submitted_on"].min()
    both = first.index.intersection(begun.index)
    return int((first[both] > begun[both]).sum())


def _share(mean: float, low: int, high: int) -> float:
    return (mean - low) / (high - low)


def _state(forms: pd.DataFrame, name: str) -> list[Found]:
    forms = forms.drop_duplicates(["therapy", "session"])
    by_therapy = forms.groupby("therapy")[name].mean().astype(float)
    within = forms[name].astype(float) - forms["therapy"].map(by_therapy)
    within.index = pd.MultiIndex.from_frame(forms[["therapy", "session"]])
    return [(f"{name}_mean", "therapy", "", by_therapy), (f"{name}_within", "session", "", within)]


def _categories(name: str, values: pd.Series) -> list[Found]:
    """0 or 1 for each value but the most frequent, which the others are compared with."""
    values = values.astype(object).where(values.notna(), "–") if name == "arm" else values.dropna()
    order = sorted(values.value_counts().items(), key=lambda pair: (-pair[1], str(pair[0])))
    if len(order) > MAX_CATEGORIES:
        raise Refusal("many_categories", name=name, n=len(order), most=MAX_CATEGORIES)
    return [
        (
            f"{name}_{re.sub(r'[^0-9A-Za-z]', '_', str(value)).strip('_').lower() or 'none'}",
            "therapy",
            str(value),
            (values == value).astype(float),
        )
        for value, _ in order[1:]
    ] or [(name, "therapy", "", pd.Series(0.0, index=values.index))]


def _column(
    name: str, key: str, unit: Unit, value: str, values: pd.Series, rows: pd.DataFrame, scaling: str
) -> tuple[Column | None, Any]:
    """The column of the rows, scaled over the units that have ratings; None where it has one value only."""
    ids = rows[[unit]] if unit != "session" else rows[["therapy", "session"]]
    units = ids.drop_duplicates()
    own = values.reindex(_index(units)).to_numpy(dtype=float)
    there = own[~np.isnan(own)]
    if len(there) < 2 or np.ptp(there) <= 1e-12 * max(1.0, float(np.abs(there).max())):
        return None, None
    mean, sd = float(there.mean()), float(there.std(ddof=1))
    is_scaled = scaling == "sd" and not value
    column = Column(name, key, unit, value, mean, sd, len(there), len(own) - len(there), is_scaled)
    raw = values.reindex(_index(ids)).to_numpy(dtype=float)
    return column, (raw - mean) / sd if is_scaled else raw


def _index(ids: pd.DataFrame) -> pd.Index:
    return pd.Index(ids.iloc[:, 0]) if ids.shape[1] == 1 else pd.MultiIndex.from_frame(ids)
