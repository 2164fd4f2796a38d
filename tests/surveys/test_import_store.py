"""A file of old ratings is checked as a whole, stored all or nothing, found again, and taken out again."""

import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers what hangs on ratings
import surveys.tasks  # noqa: F401  registers the jobs
from surveys import jobs
from surveys.import_pages import first_rejected
from surveys.imports.guess import guess
from surveys.models import (
    Assignment,
    AuditEvent,
    ImportBatch,
    Job,
    Patient,
    Rater,
    Response,
    Score,
    Session,
    Therapy,
)
from surveys.progress import Cancelled, silent
from surveys.services.imports import (
    PIECE,
    ImportRefused,
    batch_store,
    check_ask,
    first_version,
    import_upload,
    mapping_set,
    read_head,
    store_ask,
    undo_ask,
)
from surveys.services.studies import study_describe
from tests import factories
from tests.conftest import Cast

ITEMS = [f"wai_{number}" for number in range(1, 13)]
LONG = ["patient", "therapist", "session", "date", "rater", *ITEMS]


def table(*rows: Sequence[object], head: Sequence[str] = LONG) -> bytes:
    return "\n".join(",".join(map(str, row)) for row in [head, *rows]).encode()


def form(
    patient: object = 1,
    therapist: object = "A",
    session: object = 3,
    day: object = "2015-03-01",
    rater: object = "P",
    answers: Sequence[object] = (5,) * 12,
) -> list[object]:
    return [patient, therapist, session, day, rater, *answers]


def uploaded(cast: Cast, content: bytes, **changes: object) -> ImportBatch:
    """Uploaded, mapped as guessed with these changes, and checked."""
    batch = import_upload(study=cast.study, name="old.csv", pieces=[content], actor=cast.clinic_admin)
    forms = {rater: factories.instrument("wai-s", rater) for rater in Rater.values}
    mapping = guess(read_head(batch), {rater: row.form for rater, row in forms.items()})
    ids = {rater: str(row.pk) for rater, row in forms.items()}
    mapping_set(
        batch=batch, mapping=dataclasses.replace(mapping, forms=ids, **changes), actor=cast.clinic_admin
    )
    check_ask(batch=batch, actor=cast.clinic_admin)
    jobs.run_due(is_long=True)
    batch.refresh_from_db()
    return batch


def stored(cast: Cast, content: bytes, **changes: object) -> ImportBatch:
    batch = uploaded(cast, content, **changes)
    store_ask(batch=batch, consent="Signed on paper in 2015.", actor=cast.clinic_admin)
    jobs.run_due(is_long=True)
    batch.refresh_from_db()
    return batch


def undone(cast: Cast, batch: ImportBatch) -> ImportBatch:
    undo_ask(batch=batch, actor=cast.clinic_admin)
    jobs.run_due(is_long=True)
    batch.refresh_from_db()
    return batch


def reasons(batch: ImportBatch) -> list[tuple[int, str, str]]:
    return [(one.row, one.column, one.reason) for one in batch.rejections.order_by("row", "id")]


def figures(batch: ImportBatch) -> tuple[int, ...]:
    counts = batch.counts
    assert counts["forms"] == counts["accepted"] + counts["known"] + counts["rejected"]
    return tuple(counts[name] for name in ("rows", "accepted", "known", "rejected"))


def test_a_check_stores_nothing_and_says_of_every_row_what_becomes_of_it(cast: Cast) -> None:
    content = table(
        form(),
        form(rater="T"),
        form(patient=""),
        form(session="x"),
        form(session=2015),
        form(rater="aunt"),
        form(session=12, day="01.02.2015"),
        form(session=12, answers=[9] + [5] * 11),
        form(session=12, answers=["good"] + [5] * 11),
        form(session=12, answers=[""] * 12),
        [1, "A", 20],
    )
    before = Therapy.objects.count()
    batch = uploaded(cast, content)
    assert figures(batch) == (11, 2, 0, 9)
    assert reasons(batch) == [
        (4, "patient", "no_patient"),
        (5, "session", "bad_session"),
        (6, "session", "bad_session"),
        (7, "rater", "bad_rater"),
        (8, "date", "bad_date"),
        (9, "wai_1", "out_of_range"),
        (10, "wai_1", "not_a_number"),
        (11, "", "empty"),
        (12, "", "ragged"),
    ]
    assert Therapy.objects.count() == before and not Response.objects.filter(channel="import").exists()


def test_what_stood_in_a_rejected_cell_is_encrypted_and_shown_to_who_brought_the_file(cast: Cast) -> None:
    batch = uploaded(cast, table(form(answers=["Eva Berg"] + [5] * 11), form(rater="aunt Eva")))
    with connection.cursor() as cursor:
        cursor.execute('SELECT string_agg("values"::text, %s) FROM surveys_importrejection', [" "])
        stored = cursor.fetchone()[0]
    assert "value" in stored and "Eva" not in stored
    shown = [row.why for row in first_rejected(batch)]
    assert shown[0] == "“Eva Berg” is no number." and "“aunt Eva”" in shown[1]


def test_a_row_that_lies_across_the_first_piece_of_a_file_is_no_fault_of_it(cast: Cast) -> None:
    notes = [f"note_{n}_text" for n in range(400)]
    rows = [form(session=n) + ["ø" * 60 + "."] * len(notes) for n in range(1, 31)]
    batch = uploaded(cast, table(*rows, head=[*LONG, *notes]))
    assert batch.n_bytes > PIECE and figures(batch) == (30, 30, 0, 0)


def test_rows_are_checked_against_each_other(cast: Cast) -> None:
    batch = uploaded(
        cast,
        table(
            form(),
            form(answers=[4] * 12),
            form(patient=2, therapist="A", session=3),
            form(patient=2, therapist="B", session=12, day="2015-06-01"),
            form(patient=3, session=3, day="2015-06-01"),
            form(patient=3, session=12, day="2015-05-01"),
            form(patient=3, session=20, day="2015-07-01"),
            form(patient=4, session=3, day="2015-06-01"),
            form(patient=4, session=3, day="2015-06-02", rater="T"),
        ),
    )
    assert figures(batch) == (9, 2, 0, 7)
    assert reasons(batch) == [
        (2, "session", "double"),
        (3, "session", "double"),
        (4, "therapist", "two_therapists"),
        (5, "therapist", "two_therapists"),
        (7, "date", "date_order"),
        (9, "date", "two_dates"),
        (10, "date", "two_dates"),
    ]
    assert batch.rejections.get(row=7).values == {"other": 6}


def test_what_is_stored_is_what_a_form_of_ours_would_be(cast: Cast) -> None:
    vector = [6, 5, 7, 1, 6, 5, 6, 4, 7, 3, 5, 6]
    batch = stored(
        cast, table(form(answers=vector), form(session=12, day="2015-06-01", answers=["", -98] + [5] * 10))
    )
    assert batch.state == ImportBatch.State.STORED and batch.head == "" and not batch.chunks.exists()
    first = Response.objects.get(assignment__batch=batch, assignment__session__number=3)
    sums = {score.scale: score.mean * score.n_items for score in first.scores.all()}
    assert sums == pytest.approx({"task": 21, "bond": 26, "goal": 22, "total": 69})
    assert {score.scoring_version for score in first.scores.all()} == {"item-mean-1"}
    second = Response.objects.get(assignment__batch=batch, assignment__session__number=12)
    assert (second.answers["1"], second.answers["2"], second.answers["3"]) == (-99, -98, 5)
    assert second.channel == "import" and second.sharing == "none" and second.reveal_at is None
    assert second.receipt_code == "" and second.language == ""
    assert second.assignment.version == first_version(cast.study)
    therapy = second.assignment.session.therapy
    assert therapy.patient.code != "1" and len(therapy.patient.code) == 7
    assert (therapy.started_on, therapy.ended_on) == (date(2015, 3, 1), date(2015, 6, 1))
    assert Job.objects.filter(kind="refit", scope=str(cast.study.pk), state="pending").exists()
    event = AuditEvent.objects.get(act="import.store")
    assert event.actor == cast.clinic_admin and event.detail["accepted"] == 2


def test_session_twelve_of_the_file_is_session_twelve_here_and_no_day_is_made_up(cast: Cast) -> None:
    batch = stored(cast, table(form(session=3), form(session=5, day=""), form(session=7, day="2015-06-01")))
    sessions = list(Session.objects.filter(batch=batch).order_by("held_at"))
    assert [session.number for session in sessions] == list(range(1, 8))
    assert [session.timing for session in sessions] == [*["order"] * 2, "day", *["order"] * 3, "day"]
    days = {session.number: timezone.localdate(session.held_at) for session in sessions}
    assert days[3] == days[1] == days[5] == date(2015, 3, 1) and days[7] == date(2015, 6, 1)


def test_a_file_without_days_has_none_afterwards(cast: Cast) -> None:
    batch = stored(cast, table(form(day=""), form(session=12, day="")), day="")
    therapy = Therapy.objects.get(batch=batch)
    assert therapy.known_start is None and therapy.known_end is None
    assert set(Session.objects.filter(batch=batch).values_list("timing", flat=True)) == {"order"}


def test_the_same_file_again_adds_nothing_and_another_about_the_same_people_finds_them(cast: Cast) -> None:
    content = table(form(), form(rater="T"), form(session=12, day="2015-06-01"))
    stored(cast, content)
    again = uploaded(cast, content.replace(b",5,", b",5.0,").replace(b"\n", b"\r\n"))
    assert figures(again) == (3, 0, 3, 0)
    with pytest.raises(ImportRefused):
        store_ask(batch=again, consent="x", actor=cast.clinic_admin)
    more = stored(cast, table(form(session=20, day="2015-09-01"), form(rater="T", patient=2)))
    assert more.state == ImportBatch.State.STORED
    assert Patient.objects.filter(imported__isnull=False).count() == 2
    therapy = Therapy.objects.get(sessions__number=20)
    assert therapy.sessions.count() == 20 and therapy.ended_on == date(2015, 9, 1)


def test_a_second_file_is_held_against_what_stands_here(cast: Cast) -> None:
    stored(cast, table(form(), form(session=12, day="2015-06-01"), form(patient=2, day="")))
    more = uploaded(
        cast,
        table(
            form(answers=[4] * 12),
            form(session=21, day="2015-09-01"),
            form(session=12, day="2015-06-02", rater="T"),
            form(patient=2, rater="T"),
            form(patient=2, therapist="B", session=4),
        ),
    )
    assert reasons(more) == [
        (2, "", "other_answers"),
        (4, "date", "other_date"),
        (5, "therapist", "two_therapists"),
        (6, "therapist", "two_therapists"),
    ]
    assert figures(more) == (5, 1, 0, 4)
    other = uploaded(
        cast, table(form(patient=2, therapist="B", session=4), form(patient=1, rater="T", day=""))
    )
    assert reasons(other) == [(2, "therapist", "other_therapist")]
    days = uploaded(cast, table(form(patient=2, rater="T"), form(session=20, day="2015-05-01")))
    assert reasons(days) == [(2, "date", "date_unknown_here"), (3, "date", "date_before")]


def test_scores_without_answers_are_stored_as_given(cast: Cast) -> None:
    head = ["pat", "ther", "wai_p_total_s3", "wai_p_bond_s3", "wai_t_total_s3"]
    batch = stored(cast, table([7, "B", "4.25", -99, 5.5], head=head))
    assert figures(batch) == (1, 2, 0, 0)
    scores = Score.objects.filter(response__assignment__batch=batch, response__assignment__rater="patient")
    found = {
        score.scale: (score.mean, score.n_answered, score.n_items, score.scoring_version) for score in scores
    }
    assert found == {"total": (4.25, None, 12, "given"), "bond": (None, None, 4, "given")}
    assert Response.objects.filter(assignment__batch=batch, answers={}).count() == 2
    again = uploaded(cast, table([7, "B", "4.250", -99, 5.5], head=head))
    assert figures(again) == (1, 0, 2, 0)


def test_nothing_is_stored_where_something_changed_since_the_check(cast: Cast) -> None:
    first = uploaded(cast, table(form()))
    stored(cast, table(form()))
    store_ask(batch=first, consent="Signed.", actor=cast.clinic_admin)
    jobs.run_due(is_long=True)
    first.refresh_from_db()
    assert first.state == ImportBatch.State.OPEN and first.counts["changed"]
    assert figures(first) == (1, 0, 1, 0)


def test_a_batch_is_taken_out_again_as_a_whole(cast: Cast) -> None:
    before = (Therapy.objects.count(), Session.objects.count(), Patient.objects.count())
    one = stored(cast, table(form(), form(patient=2, therapist="B")))
    two = stored(cast, table(form(session=12, day="2015-06-01")))
    assert undone(cast, one).state == ImportBatch.State.STORED
    assert "Later forms or sessions" in json.dumps(one.counts["kept"])
    assert undone(cast, two).state == ImportBatch.State.UNDONE
    assert set(Therapy.objects.filter(batch=one).values_list("ended_on", flat=True)) == {date(2015, 3, 1)}
    assert undone(cast, one).state == ImportBatch.State.UNDONE
    assert (Therapy.objects.count(), Session.objects.count(), Patient.objects.count()) == before
    assert not Assignment.objects.filter(batch__isnull=False).exists()


def test_no_code_of_the_file_stands_in_the_database_in_plain(cast: Cast) -> None:
    stored(cast, table(form(patient="MILLER-77", therapist="DR-GRANT")))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM \"{name}\" kept WHERE kept::text ~ 'MILLER|GRANT'")
            assert cursor.fetchone() == (0,), name


@pytest.mark.parametrize("stage", ["reading", "sessions", "forms", "finishing"])
def test_who_is_stopped_at_any_stage_leaves_nothing(cast: Cast, stage: str) -> None:
    batch = uploaded(cast, table(form(), form(session=12, day="2015-06-01")))
    store_ask(batch=batch, consent="Signed.", actor=cast.clinic_admin)
    before = (Therapy.objects.count(), Session.objects.count(), Patient.objects.count())

    def stop(at: str, done: int = 0, total: int = 0) -> None:
        if at == stage:
            raise Cancelled

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("surveys.services.import_rows.BLOCK", 1)
        with pytest.raises(Cancelled):
            batch_store(str(batch.pk), stop)
    batch.refresh_from_db()
    assert batch.state == ImportBatch.State.OPEN and batch.chunks.exists()
    assert (Therapy.objects.count(), Session.objects.count(), Patient.objects.count()) == before
    assert not Response.objects.filter(channel="import").exists()
    jobs.run_due(is_long=True)
    assert Response.objects.filter(channel="import").count() == 2
    # A second worker that had the same job finds it done.
    batch_store(str(batch.pk), silent)()
    assert Response.objects.filter(channel="import").count() == 2


@pytest.mark.django_db(transaction=True)
def test_nobody_of_the_clinic_waits_while_a_file_is_stored(cast: Cast) -> None:
    batch = uploaded(cast, table(form()))
    store_ask(batch=batch, consent="Signed.", actor=cast.clinic_admin)
    stages: list[str] = []

    def work(_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        try:
            factories.hold_session(cast.therapy)
            study_describe(study=cast.study, code=cast.study.code, name="Its new name")
        finally:
            connection.close()

    def report(stage: str, done: int = 0, total: int = 0) -> None:
        if stage == "forms" and done == total:
            with ThreadPoolExecutor(1) as pool:
                list(pool.map(work, [None]))
            stages.append(stage)

    batch_store(str(batch.pk), report)
    batch.refresh_from_db()
    assert (batch.state, stages) == (ImportBatch.State.STORED, ["forms"])
    assert cast.therapy.sessions.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_files_about_the_same_people_stored_at_once_bring_them_once(cast: Cast) -> None:
    batches = [uploaded(cast, table(form(session=n, day=f"2015-0{n}-01"))) for n in (3, 4)]
    for batch in batches:
        store_ask(batch=batch, consent="Signed.", actor=cast.clinic_admin)

    def store(batch: ImportBatch) -> None:
        write = batch_store(str(batch.pk), silent)
        with transaction.atomic():
            write()
        connection.close()

    n_before = Patient.objects.count()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(store, batches))
    assert Patient.objects.count() == n_before + 1
    assert Therapy.objects.filter(batch__isnull=False).count() == 1


def test_as_many_questions_are_asked_for_twenty_people_as_for_one(cast: Cast) -> None:
    counts = []
    for n in (1, 20):
        rows = [form(patient=f"{n}-{number}", therapist=f"{n}-{number}") for number in range(n)]
        with CaptureQueriesContext(connection) as queries:
            stored(cast, table(*rows))
        counts.append(len(queries))
    assert counts[0] == counts[1]
