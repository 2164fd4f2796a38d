"""Pure: the tables of a file that leaves, made from frozen ones: what of them is in it, under which names.

Tier `items` holds every column of the frozen tables. Tier `scores` holds no answer, no calendar date (`week`
counts from the first day of a therapy) and nothing that says how, when or in which language a form was
filled; therapists with few patients stand in it under one name.

Decided over the whole dataset, once (`rules`): who is left out, which therapists stand together and how many
patients they have, which values are withheld. All else is decided row by row, so `for_tier` takes a table in
blocks of any size; `tables_of` sorts the blocks by the new names, because the order of the frozen rows would
join two files that no name joins. Only the table `therapists`, one row a therapist, is given whole.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analytics.anonymity import Anonymity, anonymity
from analytics.disclosure import put_together
from analytics.frozen import Column, Table
from analytics.selection import Pseudonyms
from surveys.ids import ALPHABET

SCORES, ITEMS = "scores", "items"
PREFIX = {"therapist": "T", "patient": "P", "therapy": "E", "transferred_from": "E"}
# How and when a form was filled: of use for its quality, and known to whoever filled it or stood beside.
PARADATA = frozenset(
    {
        "language",
        "study_version",
        "consent_version",
        "minutes",
        "channel",
        "device",
        "layout",
        "hours_to_reveal",
        "reason",
    }
)
WITHHELD = "empty throughout: withheld, since it would set too few patients apart"
ENDED_WEEK = Column(
    "ended_week",
    "therapy",
    "integer",
    "Whole weeks from the first to the last day of the therapy",
    "whole number from 0; empty: it goes on",
)
N_TOGETHER = Column(
    "n_together",
    "therapist",
    "integer",
    "How many therapists stand under this name, because they have few patients each",
    "1, or more for the one name of all of them",
)
ORDER = ("therapist", "about", "period", "patient", "therapy", "line", "session", "rater", "instrument")
# Frozen integers may be missing; floats would make 3.0 of 3.
TYPES = {pa.int32(): pd.Int32Dtype()}
BLOCK = 20_000


class Caseload(NamedTuple):
    n_therapies: int
    n_patients: int
    n_together: int = 1


@dataclass(frozen=True)
class Rules:
    """What holds for every table of one file. People go by the names that they have in the frozen tables.

    `together`: therapists under one name, whose forms about practice in general are left out, since they
    would be of nobody; `withheld`: columns of the therapies without values; `left_out`: patients who have
    asked for it since the data were frozen; `caseloads`: of those who stay, by therapist, None for those
    together. Models with therapists as a level give other numbers where some stand together."""

    tier: str
    names: Pseudonyms
    together: frozenset[str]
    withheld: tuple[str, ...]
    languages: frozenset[str]
    left_out: frozenset[str]
    caseloads: Mapping[str | None, Caseload]
    found: Anonymity

    @property
    def one_name(self) -> str:
        return self.names("T", "together")


class _Group(NamedTuple):
    """A therapist, for `put_together`."""

    code: str
    n_patients: int


def rules(
    tier: str,
    names: Pseudonyms,
    therapies: pd.DataFrame,
    therapists: pd.DataFrame,
    left_out: frozenset[str] = frozenset(),
) -> Rules:
    """From the frozen tables of therapies and therapists, whole."""
    staying = therapies[~therapies["patient"].isin(left_out)]
    patients = staying.groupby("therapist")["patient"].nunique()
    sizes = {name: int(patients.get(name, 0)) for name in sorted(therapists["therapist"])}
    together: frozenset[str] = frozenset()
    if tier == SCORES:
        _own, few = put_together([_Group(*item) for item in sizes.items()])
        together = frozenset(group.code for group in few)
    found = anonymity(staying, together)
    in_scores = tier == SCORES
    return Rules(
        tier=tier,
        names=names,
        together=together,
        withheld=found.withheld if in_scores else (),
        languages=found.languages if in_scores else frozenset(therapies["patient_language"].dropna()),
        left_out=left_out,
        caseloads=_caseloads(staying, sizes, together),
        found=found,
    )


def _caseloads(
    staying: pd.DataFrame, sizes: Mapping[str, int], together: frozenset[str]
) -> dict[str | None, Caseload]:
    episodes = staying.groupby("therapist")["therapy"].count()
    found: dict[str | None, Caseload] = {
        name: Caseload(int(episodes.get(name, 0)), n) for name, n in sizes.items() if name not in together
    }
    rest = staying[staying["therapist"].isin(together)]
    found[None] = Caseload(len(rest), rest["patient"].nunique(), len(together))
    return found


def table_of(table: Table, rules: Rules) -> Table:
    """The description of a table as it is in the file."""
    if rules.tier == ITEMS:
        return table
    columns = [_described(column, rules) for column in table.columns if is_in_scores(column)]
    extra = {"therapies": (ENDED_WEEK,), "therapists": (N_TOGETHER,)}.get(table.name, ())
    return replace(table, columns=(*columns, *(_described(column, rules) for column in extra)))


def is_in_scores(column: Column) -> bool:
    """Whether a file of scores has this column of a frozen table."""
    is_item = column.name.startswith("item_") and column.kind == "integer" and bool(column.missing)
    return column.tells != "when" and column.name not in PARADATA and not is_item


def _described(column: Column, rules: Rules) -> Column:
    if column.name in _empty(rules):
        return replace(column, values=WITHHELD)
    if column.name == "therapist":
        return replace(column, values=f"{column.values}; those with few patients stand under one")
    if column.name == "patient_language":
        return replace(column, values=f"{column.values}; other: one of few patients")
    return column


def _empty(rules: Rules) -> set[str]:
    """Columns without values; when a therapy ended says that it did."""
    return {*rules.withheld, *(["ended_week"] if "is_ended" in rules.withheld else [])}


def for_tier(table: Table, frame: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """A block of a frozen table as it stands in the file: columns of `table_of`, rows in the order given."""
    if "patient" in frame:
        frame = frame[~frame["patient"].isin(rules.left_out)]
    if table.name == "therapists":
        return _therapists(table, rules)
    if table.name == "practice":
        frame = frame[~((frame["about"] == "trait") & frame["therapist"].isin(rules.together))]
    values = {column.name: _values(column.name, frame, rules) for column in table_of(table, rules).columns}
    return pd.DataFrame(values, index=frame.index).reset_index(drop=True)


def _values(name: str, frame: pd.DataFrame, rules: Rules) -> "pd.Series[Any]":
    if name in _empty(rules):
        return pd.Series([pd.NA] * len(frame), index=frame.index, dtype=_type_of(name, frame))
    if name == ENDED_WEEK.name:
        days = pd.to_datetime(frame["ended_on"]) - pd.to_datetime(frame["started_on"])
        return (days.dt.days // 7).astype("Int32")
    column = frame[name]
    if name in PREFIX:
        return column.map(_new_names(name, column, rules)).astype(column.dtype)
    if name == "patient_language":
        return column.where(column.isna() | column.isin(rules.languages), "other")
    return column


def _type_of(name: str, frame: pd.DataFrame) -> Any:
    return frame[name].dtype if name in frame else "Int32"


def _new_names(name: str, column: "pd.Series[str]", rules: Rules) -> dict[str, str]:
    """Of the names in a column; a name that is nobody's stays missing."""
    known = column.dropna().unique()
    if name == "therapist":
        return {old: _name_of(old, rules) for old in known}
    return {old: rules.names(PREFIX[name], old) for old in known}


def _name_of(therapist: str, rules: Rules) -> str:
    return rules.one_name if therapist in rules.together else rules.names("T", therapist)


def _therapists(table: Table, rules: Rules) -> pd.DataFrame:
    rows = [
        {"therapist": rules.one_name if old is None else rules.names("T", old), **caseload._asdict()}
        for old, caseload in rules.caseloads.items()
        if caseload.n_together
    ]
    names = [column.name for column in table_of(table, rules).columns]
    frame = pd.DataFrame(rows, columns=["therapist", *Caseload._fields])
    counts = dict.fromkeys(Caseload._fields, "Int32")
    return frame.astype(counts)[names].sort_values("therapist", ignore_index=True)


def tables_of(table: Table, path: Path, rules: Rules) -> Iterator[pd.DataFrame]:
    """A frozen table (Parquet) as it stands in the file, block by block, its rows in the order of the new
    names. At most about a thirtieth of it is in memory, or all that stands under one therapist's name."""
    with tempfile.TemporaryDirectory(prefix="tier-") as folder, pq.ParquetFile(path) as source:
        root = Path(folder)
        for number, block in enumerate(source.iter_batches(batch_size=BLOCK)):
            frame = for_tier(table, block.to_pandas(types_mapper=TYPES.get), rules)
            for letter, rows in frame.groupby(frame["therapist"].str[1]):
                rows.reset_index(drop=True).to_feather(root / f"{letter}-{number:08d}")
            pa.default_memory_pool().release_unused()
            if table.name == "therapists":
                break
        for letter in ALPHABET:
            if parts := sorted(root.glob(f"{letter}-*")):
                # Not bound here: the reader alone decides how long it stays in memory.
                yield _in_order(parts)


def _in_order(parts: Sequence[Path]) -> pd.DataFrame:
    frame = pd.concat([pd.read_feather(part) for part in parts], ignore_index=True)
    keys = [name for name in ORDER if name in frame]
    return frame.sort_values(keys, kind="stable", na_position="first", ignore_index=True)
