"""Old ratings from a file in models, datasets and counts, and nothing that the file did not say."""

from datetime import date
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from analytics.models import GrowthFit
from analytics.services.refit import study_refit
from surveys.completion import form_delay, forms_by_therapist, session_counts
from surveys.models import ImportBatch, Patient, Withdrawal
from surveys.services.withdrawals import withdrawal_enter
from tests.analytics.test_freeze import frozen, read
from tests.conftest import Cast, signed_in
from tests.surveys.test_import_store import form, reasons, stored, table, undone, uploaded

WIDE = ["pat", "ther", "wai_p_total_s3", "wai_p_bond_s3"]


def test_a_dataset_has_no_day_no_minutes_and_no_count_that_a_file_did_not_give(
    cast: Cast, tmp_path: Path
) -> None:
    stored(cast, table([7, "B", "4.25", ""], head=WIDE))
    snapshot = frozen(cast.study)
    (rating,) = read(snapshot, "ratings", tmp_path).to_dict("records")
    assert (rating["session"], rating["channel"], rating["scoring_version"]) == (3, "import", "given")
    assert (rating["total"], rating["sharing"]) == (4.25, "none")
    empty = ("week", "submitted_on", "minutes", "total_answered", "bond", "goal", "item_1", "occasion")
    assert {
        name: rating[name] for name in empty if rating[name] == rating[name] and rating[name] is not None
    } == {}
    sessions = read(snapshot, "sessions", tmp_path)
    assert list(sessions["session"]) == [1, 2, 3] and sessions["held_on"].isna().all()
    therapies = read(snapshot, "therapies", tmp_path).set_index("end_reason").loc["imported"]
    assert therapies["started_on"] is None and therapies["ended_on"] is None


def test_a_day_that_the_file_gave_is_in_the_dataset(cast: Cast, tmp_path: Path) -> None:
    stored(cast, table(form(session=2)))
    sessions = read(frozen(cast.study), "sessions", tmp_path)
    assert [day if day == day else None for day in sessions["held_on"]] == [None, date(2015, 3, 1)]


def test_the_frozen_table_and_its_codebook_say_what_was_taken_over(cast: Cast, tmp_path: Path) -> None:
    batch = stored(cast, table([7, "B", "4.25", ""], head=WIDE))
    ratings = read(frozen(cast.study), "ratings", tmp_path)
    assert list(ratings["channel"]) == ["import"] and "1900" not in ratings.to_csv()
    assert "B" not in set(ratings["therapist"])
    page = signed_in(cast.researcher).get(reverse("study-codebook", args=[cast.study.pk])).content.decode()
    assert "Signed on paper in 2015." in page and batch.file_name not in page


def test_completion_counts_nothing_that_nobody_was_asked_for(cast: Cast) -> None:
    stored(cast, table(form(), form(rater="T")))
    assert forms_by_therapist(cast.study, timezone.now(), None).by_key == {}
    assert session_counts(cast.study, None) == {}
    assert form_delay(cast.study, "therapist", None) is None


def test_a_model_is_fitted_to_them(cast: Cast) -> None:
    rows = [
        form(patient=f"{therapist}{patient}", therapist=therapist, session=session, day="", answers=answers)
        for therapist in "ABCDEF"
        for patient in range(4)
        for session in (3, 12, 20)
        for answers in [
            [1 + (ord(therapist) * patient * 7 + session * 3 + item * patient) % 7 for item in range(12)]
        ]
    ]
    stored(cast, table(*rows))
    study_refit(str(cast.study.pk))()
    fits = GrowthFit.objects.filter(study=cast.study, scale="total", perspective="patient")
    assert {(row.n_ratings, row.n_therapies, row.n_therapists) for row in fits} == {(72, 24, 6)}


def test_what_patients_decided_and_what_was_frozen_keeps_a_file_where_it_is(cast: Cast) -> None:
    batch = stored(cast, table(form()))
    frozen(cast.study)
    assert "Frozen data of the study" in str(undone(cast, batch).counts["kept"])
    assert batch.state == ImportBatch.State.STORED
    patient = Patient.objects.get(imported__batch=batch)
    withdrawal_enter(
        patient=patient, study=cast.study, choice=Withdrawal.Choice.EXCLUDE, recorded_by=cast.clinic_admin
    )
    assert "decided about their data" in str(undone(cast, batch).counts["kept"])
    again = uploaded(cast, table(form(), form(rater="T")))
    assert {reason for _row, _column, reason in reasons(again)} == {"left_out"}


@pytest.fixture(autouse=True)
def _key(settings: object) -> None:
    settings.PSEUDONYM_KEY = "a key for tests alone, long enough to be taken for one, and then some more"
