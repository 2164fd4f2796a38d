"""What a file is made from: the frozen tables of its snapshot on disk, and the rules that hold in it."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from django.conf import settings

from analytics.export.tiers import Rules, rules
from analytics.frozen import Table
from analytics.models import Export, Snapshot
from analytics.selection import Pseudonyms
from analytics.services.freeze import SCHEMA, NoKey, pseudonyms
from analytics.services.snapshots import left_out_since
from analytics.storage import fetch

WHOLE = ("therapies", "therapists")


@dataclass(frozen=True)
class Source:
    """`tables` as they were frozen; `rules.left_out` is whom the file leaves out since then."""

    tables: tuple[Table, ...]
    rules: Rules
    folder: Path

    def path(self, table: Table) -> Path:
        return self.folder / f"{table.name}.parquet"


class TooFew(Exception):
    """Too few people are left for the file to be made; `lacks` as `Anonymity` has it."""

    def __init__(self, lacks: Sequence[str]) -> None:
        super().__init__(", ".join(lacks))
        self.lacks = tuple(lacks)


def export_source(export: Export, folder: Path) -> Source:
    """Fetches the frozen tables into the folder. Raises NoKey and TooFew."""
    snapshot = export.snapshot
    schema = json.loads(fetch(snapshot, SCHEMA, folder / SCHEMA).read_text())
    tables = tuple(Table.from_dict(values) for values in schema["tables"])
    for table in tables:
        fetch(snapshot, f"{table.name}.parquet", folder / f"{table.name}.parquet")
    source = Source(tables, _rules(snapshot, export.tier, folder), folder)
    if lacks := lacking(source.rules):
        raise TooFew(lacks)
    return source


def lacking(found: Rules) -> tuple[str, ...]:
    """Why a file is not made: too few people, and of scores alone a group that is too small."""
    return tuple(code for code in found.found.lacks if code != "groups" or found.tier == Export.Tier.SCORES)


def tier_rules(snapshot: Snapshot, tier: str) -> Rules:
    """The rules of a file of a tier as it would be made now. Raises NoKey."""
    with tempfile.TemporaryDirectory(prefix="rules-") as name:
        folder = Path(name)
        for table in WHOLE:
            fetch(snapshot, f"{table}.parquet", folder / f"{table}.parquet")
        return _rules(snapshot, tier, folder)


def _rules(snapshot: Snapshot, tier: str, folder: Path) -> Rules:
    frozen = pseudonyms(snapshot)
    therapies, therapists = (pd.read_parquet(folder / f"{name}.parquet") for name in WHOLE)
    left_out = frozenset(frozen("P", patient) for patient in left_out_since(snapshot))
    return rules(tier, export_names(snapshot, tier), therapies, therapists, left_out)


def export_names(snapshot: Snapshot, tier: str) -> Pseudonyms:
    """Of the files of a study, selection and tier: the same in each of them, and in no other."""
    if not settings.PSEUDONYM_KEY:
        raise NoKey("PSEUDONYM_KEY is not set.")
    selection = json.dumps(snapshot.selection, sort_keys=True)
    return Pseudonyms.of(settings.PSEUDONYM_KEY, snapshot.study_id, selection, tier)
