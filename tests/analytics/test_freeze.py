"""A study's data frozen at one moment: whole, under pseudonyms, the same whenever they are read again."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from analytics.frozen import Table, tables
from analytics.models import Snapshot, StoredChunk, StoredFile
from analytics.selection import Selection
from analytics.services.freeze import NoKey, snapshot_freeze
from analytics.services.frozen_sql import query
from surveys.jobs import TryAgain
from surveys.models import Response, Score, Study, Therapy
from surveys.packs import RESERVED_COLUMNS
from surveys.progress import silent
from surveys.scoring import is_straight_lined
from surveys.selectors import study_instruments
from surveys.services.withdrawals import withdrawal_enter
from tests.analytics.clinics import frozen, rated_clinic, read

pytestmark = pytest.mark.django_db


def schema_of(study: Study) -> tuple[Table, ...]:
    return tables([instrument.form for instrument in study_instruments(study)])


def test_every_table_has_the_columns_that_its_description_lists(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2)
    snapshot = frozen(study)
    for table in schema_of(study):
        frame = read(snapshot, table.name, tmp_path)
        assert list(frame.columns) == [column.name for column in table.columns], table.name
    assert snapshot.counts["n_episodes"] == 6


def test_no_scale_may_take_the_name_of_another_column() -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1)
    for table in schema_of(study)[:2]:
        names = {column.name for column in table.columns}
        fixed = {name for name in names if not name.startswith("item_") and f"{name}_answered" not in names}
        assert {name for name in fixed if not name.endswith("_answered")} <= RESERVED_COLUMNS


def test_a_description_survives_its_own_file() -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1)
    for table in schema_of(study):
        assert Table.from_dict(table.to_dict()) == table
        assert query(table, "UTC")


def test_ratings_are_those_of_the_forms(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2)
    ratings = read(frozen(study), "ratings", tmp_path)
    stored = Response.objects.filter(assignment__study=study)
    assert len(ratings) == stored.count() == 36
    totals = Score.objects.filter(response__in=stored, scale="total").values_list("mean", flat=True)
    assert sorted(ratings["total"]) == sorted(totals)
    answers = sorted(tuple(row.answers[str(n)] for n in range(1, 13)) for row in stored)
    items = ratings[[f"item_{n}" for n in range(1, 13)]]
    assert sorted(items.itertuples(index=False, name=None)) == answers
    assert set(ratings.loc[ratings["rater"] == "therapist", "sharing"].map(pd.isna)) == {True}


def test_straight_lines_are_those_that_the_form_finds(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1)
    form = Response.objects.filter(assignment__study=study).first().instrument.form
    rng = np.random.default_rng(3)
    for response in Response.objects.filter(assignment__study=study):
        values = [int(v) for v in rng.choice([-99, 4], 12)] if rng.random() < 0.8 else list(range(1, 8)) * 2
        answers = {str(n): values[n - 1] for n in range(1, 13)}
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            Response.objects.filter(pk=response.pk).update(answers=answers)
            cursor.execute("SET session_replication_role = DEFAULT")
    expected = sorted(
        int(is_straight_lined(form, {int(k): v for k, v in row.answers.items()}))
        for row in Response.objects.filter(assignment__study=study)
    )
    found = read(frozen(study), "ratings", tmp_path)["straight_lined"]
    assert sorted(found) == expected and set(expected) == {0, 1}


def test_the_same_data_are_frozen_to_the_same_bytes() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    first, again = frozen(study), frozen(study)
    assert first.sha256 == again.sha256
    other = frozen(study, Selection(only_ended=False, started_from=date(2000, 1, 1)))
    assert other.counts == first.counts and other.sha256 != first.sha256, "another dataset, other names"


def test_no_code_and_no_key_of_the_site_is_in_any_file(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    snapshot = frozen(study)
    text = "".join(read(snapshot, table.name, tmp_path).to_csv() for table in schema_of(study))
    for therapy in Therapy.objects.select_related("patient", "therapist"):
        for person in (therapy, therapy.patient, therapy.therapist):
            assert person.code not in text and str(person.pk) not in text


def test_without_a_key_nothing_is_frozen(settings: LazySettings) -> None:
    study, _ = rated_clinic(n_therapists=1, n_therapies=1)
    settings.PSEUDONYM_KEY = ""
    with pytest.raises(NoKey):
        frozen(study)


def test_who_left_is_in_no_later_copy_and_who_erased_is_in_none(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    before = frozen(study)
    leaver, eraser = (row.patient for row in Therapy.objects.order_by("pk")[:2])
    withdrawal_enter(patient=leaver, study=study, choice="exclude")
    after = frozen(study)
    assert (before.counts["n_episodes"], after.counts["n_episodes"], after.counts["n_left_out"]) == (4, 3, 1)
    assert StoredFile.objects.filter(snapshot=before).exists(), "what was frozen before stays"
    withdrawal_enter(patient=eraser, study=study, choice="erase")
    assert not StoredFile.objects.exists(), "it was in both"
    assert not StoredChunk.objects.exists()
    before.refresh_from_db()
    assert before.erased_at is not None and eraser.pk not in before.patients


def test_what_was_asked_for_and_did_not_come_stands_among_the_missing(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2, raters=("therapist",))
    missing = read(frozen(study), "missing", tmp_path)
    assert len(missing) == 12
    assert set(missing["rater"]) == {"patient"} and set(missing["fate"]) <= {"missed", "open"}


def test_an_erasure_while_data_are_read_is_not_outlived_by_them() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=2)
    snapshot = Snapshot.objects.create(
        study=study, number=1, selection=Selection().to_dict(), asked_at=timezone.now()
    )
    write = snapshot_freeze(str(snapshot.pk), silent)
    withdrawal_enter(patient=study.therapies.first().patient, study=study, choice="erase")
    with pytest.raises(TryAgain):
        write()
    assert not StoredFile.objects.exists()
    snapshot_freeze(str(snapshot.pk), silent)()
    snapshot.refresh_from_db()
    assert snapshot.counts["n_patients"] == 3
