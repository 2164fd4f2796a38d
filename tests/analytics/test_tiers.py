"""What of the frozen tables is in a file, by its tier: columns, names, order, and who stands with whom."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analytics.anonymity import anonymity
from analytics.export.tiers import ITEMS, SCORES, Rules, for_tier, rules, table_of, tables_of
from analytics.frozen import Column, Table, tables
from analytics.models import Snapshot
from analytics.selection import Pseudonyms
from analytics.storage import fetch
from surveys.models import Study
from surveys.selectors import study_instruments
from tests.analytics.clinics import frozen, rated_clinic, read

KEY = "k" * 50


def therapies(*caseloads: int, **columns: object) -> pd.DataFrame:
    """Therapists with so many patients each, one therapy a patient."""
    rows = [
        {"therapist": f"T{t}", "patient": f"P{t}-{p}", "therapy": f"E{t}-{p}"}
        for t, n in enumerate(caseloads)
        for p in range(n)
    ]
    same = {"arm": None, "patient_language": "en", "n_held": 3, "is_ended": 0, "end_reason": None}
    return pd.DataFrame(rows).assign(**(same | columns))


def rules_of(
    tier: str, frame: pd.DataFrame, left_out: frozenset[str] = frozenset(), names: str = ""
) -> Rules:
    therapists = pd.DataFrame({"therapist": sorted(set(frame["therapist"]))})
    return rules(tier, Pseudonyms.of(KEY, tier, names), frame, therapists, left_out)


def test_therapists_with_few_patients_stand_under_one_name() -> None:
    found = rules_of(SCORES, therapies(6, 7, 8, 2, 2, 2))
    assert found.together == {"T3", "T4", "T5"}
    assert found.caseloads[None] == (6, 6, 3)
    # One alone with few patients would be named by the number of those together.
    assert rules_of(SCORES, therapies(6, 7, 8, 9, 2)).together == {"T0", "T1", "T4"}
    assert rules_of(SCORES, therapies(6, 7, 2)).together == {"T0", "T1", "T2"}
    assert rules_of(ITEMS, therapies(6, 7, 8, 2, 2, 2)).together == frozenset()


def test_who_has_left_is_counted_nowhere() -> None:
    found = rules_of(SCORES, therapies(6, 6, 6, 6), left_out=frozenset({"P0-0", "P0-1"}))
    assert (found.found.n_patients, found.caseloads[None].n_patients) == (22, 4 + 6 + 6 + 6 - 6)
    assert "T0" in found.together


def test_columns_are_withheld_one_after_the_other_until_nobody_stands_alone() -> None:
    frame = therapies(6, 6, 6)
    assert anonymity(frame, frozenset()).withheld == ()
    odd = frame.assign(patient_language=["nb", *["en"] * 17])
    found = anonymity(odd, frozenset())
    assert (found.smallest_before, found.smallest, found.n_unique) == (1, 18, 1)
    assert (found.withheld, found.languages) == (("patient_language",), {"en"})
    armed = frame.assign(arm=["a", *["b"] * 17])
    assert anonymity(armed, frozenset()).withheld == ("arm",), "the others are given back"


def test_a_file_is_not_made_where_withholding_does_not_help() -> None:
    long = therapies(6, 6, 6).assign(n_held=[40, *[3] * 17])
    found = anonymity(long, frozenset())
    assert (found.smallest, found.lacks, found.n_alone) == (1, ("groups",), 1)
    assert anonymity(therapies(2, 1, 1), frozenset()).lacks == ("patients",)
    assert anonymity(therapies(9, 9), frozenset()).lacks == ("therapists",)
    assert anonymity(therapies(2, 2), frozenset()).lacks == ("patients", "therapists")


def test_a_rare_language_is_not_named_and_a_missing_value_stays_missing() -> None:
    frame = therapies(6, 6, 6).assign(patient_language=[*["nb"] * 5, "de", *["en"] * 12])
    loose = replace(rules_of(SCORES, frame), withheld=())
    table = Table("therapies", "", (Column("patient_language", "patient", "text", "", ""),))
    days = {"started_on": pd.NaT, "ended_on": pd.NaT}
    shown = for_tier(table, frame.assign(**days), loose)["patient_language"]
    assert sorted(set(shown)) == ["en", "nb", "other"]


def prepared(study: Study, snapshot: Snapshot, folder: Path, tier: str) -> tuple[list[Table], Rules]:
    schema = tables([instrument.form for instrument in study_instruments(study)])
    frames = {table.name: read(snapshot, table.name, folder) for table in schema}
    names = Pseudonyms.of(KEY, study.pk, tier)
    return list(schema), rules(tier, names, frames["therapies"], frames["therapists"])


def made(snapshot: Snapshot, table: Table, found: Rules, folder: Path) -> pd.DataFrame:
    path = fetch(snapshot, f"{table.name}.parquet", folder / f"{table.name}.parquet")
    blocks = list(tables_of(table, path, found))
    return pd.concat(blocks, ignore_index=True) if blocks else pd.DataFrame()


@pytest.mark.django_db
def test_scores_leave_without_answers_dates_or_how_a_form_was_filled(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=5)
    snapshot = frozen(study)
    schema, found = prepared(study, snapshot, tmp_path, SCORES)
    for table in schema:
        described, frame = table_of(table, found), made(snapshot, table, found, tmp_path)
        names = {column.name for column in described.columns}
        assert not any(column.tells == "when" for column in described.columns), table.name
        assert not names & {"minutes", "device", "channel", "language", "item_1", "held_on", "reason"}
        if len(frame):
            assert list(frame) == [column.name for column in described.columns], table.name
    ratings = made(snapshot, schema[0], found, tmp_path)
    assert len(ratings) == 3 * 5 * 6 and {"total", "week", "session"} <= set(ratings)
    assert list(ratings["therapist"]) == sorted(ratings["therapist"])


@pytest.mark.django_db
def test_items_leave_whole_under_other_names_in_another_order(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=5)
    snapshot = frozen(study)
    schema, found = prepared(study, snapshot, tmp_path, ITEMS)
    whole = read(snapshot, "ratings", tmp_path)
    ratings = made(snapshot, schema[0], found, tmp_path)
    assert list(ratings) == list(whole) and len(ratings) == len(whole)
    values = [f"item_{n}" for n in range(1, 13)]
    as_rows = [sorted(frame[values].itertuples(index=False, name=None)) for frame in (ratings, whole)]
    assert as_rows[0] == as_rows[1]
    for kind in ("therapist", "patient", "therapy"):
        assert not set(ratings[kind]) & set(whole[kind])
        assert ratings[kind].nunique() == whole[kind].nunique()


@pytest.mark.django_db
def test_two_files_cannot_be_joined_by_names_or_by_the_places_of_their_rows(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=5)
    snapshot = frozen(study)
    both = [
        made(snapshot, schema[0], found, tmp_path)
        for schema, found in (prepared(study, snapshot, tmp_path, tier) for tier in (SCORES, ITEMS))
    ]
    for kind in ("therapist", "patient", "therapy"):
        assert not set(both[0][kind]) & set(both[1][kind])
    scores = [frame[["session", "rater", "total", "task"]].to_numpy().tolist() for frame in both]
    assert scores[0] != scores[1] and sorted(map(str, scores[0])) == sorted(map(str, scores[1]))


@pytest.mark.django_db
def test_therapists_together_are_one_row_and_their_practice_is_nobody_s(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=2)
    snapshot = frozen(study)
    schema, found = prepared(study, snapshot, tmp_path, SCORES)
    by_name = {table.name: table for table in schema}
    therapists = made(snapshot, by_name["therapists"], found, tmp_path)
    assert therapists.to_dict("records") == [
        {"therapist": found.one_name, "n_therapies": 12, "n_patients": 12, "n_together": 6}
    ]
    trait = pd.DataFrame(
        {column.name: [pd.NA] for column in by_name["practice"].columns}
        | {"about": ["trait"], "therapist": [next(iter(found.together))]}
    )
    assert for_tier(by_name["practice"], trait, found).empty
    assert len(for_tier(by_name["practice"], trait.assign(about="state"), found)) == 1
