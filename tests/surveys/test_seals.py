"""The trace under seals: what was altered, taken away or added is found and named."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from surveys import audit, tasks
from surveys.models import AuditSeal, Clinic, User
from surveys.sealing import COLUMNS, digest, ids, ranges, seal_hash
from surveys.services import seals
from surveys.services.seals import head_tell, seal_add, seals_add, trace_check
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def clinic() -> Clinic:
    return factories.make_clinic()


def act(clinic: Clinic, n: int = 1) -> list[int]:
    return [audit.record("therapy.begin", subject=clinic, clinic=clinic, n=k).pk for k in range(n)]


@contextmanager
def as_owner() -> Iterator[Any]:
    """Who owns the table can take its triggers away, and put them back so that nobody sees it."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in ("surveys_auditevent", "surveys_auditseal"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield cursor
        for table in ("surveys_auditevent", "surveys_auditseal"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


@pytest.fixture
def rows(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seven rows under three seals."""
    monkeypatch.setattr(seals, "BATCH", 3)
    keys = act(clinic, 7)
    assert seals_add() == 3
    assert trace_check().fault == ""
    return keys


def test_ids_are_kept_as_ranges() -> None:
    assert ranges([3, 4, 5, 8, 10, 11]) == [[3, 5], [8, 8], [10, 11]]
    assert list(ids([[3, 5], [8, 8]])) == [3, 4, 5, 8]


@pytest.mark.parametrize("place", range(len(COLUMNS)))
def test_every_column_is_in_the_digest(place: int) -> None:
    row = list(range(len(COLUMNS)))
    assert digest(row) != digest([*row[:place], 99, *row[place + 1 :]])


def test_a_seal_holds_all_before_it() -> None:
    assert seal_hash(2, "a", [[1, 2]], b"x") != seal_hash(2, "b", [[1, 2]], b"x")


def test_the_command_says_how_much_is_sealed(rows: list[int], clinic: Clinic, capsys: Any) -> None:
    act(clinic)
    call_command("audit_check")
    said = capsys.readouterr().out
    assert said.startswith("7 rows under 3 seals are as they were sealed; 1 rows wait for their seal")
    assert f"Head: {AuditSeal.objects.get(number=3)}" in said


@pytest.mark.parametrize(
    "change",
    [
        "act = 'nothing'",
        "actor_id = (SELECT id FROM surveys_user)",
        "at = at + interval '1 microsecond'",
        "detail = '{}'",
        "patient = '00000000-0000-0000-0000-000000000001'",
        "status = 404",
    ],
)
def test_an_altered_row_is_named(rows: list[int], change: str, user: User) -> None:
    with as_owner() as cursor:
        cursor.execute(f"UPDATE surveys_auditevent SET {change} WHERE id = %s", [rows[4]])
    with pytest.raises(CommandError, match=f"^Row {rows[4]} was altered. 3 rows before"):
        call_command("audit_check")


@pytest.fixture
def user() -> User:
    return factories.make_user("somebody@example.org")


def test_a_row_that_was_taken_away_is_named(rows: list[int]) -> None:
    with as_owner() as cursor:
        cursor.execute("DELETE FROM surveys_auditevent WHERE id = %s", [rows[2]])
    assert trace_check().fault == f"Row {rows[2]} is missing."


@pytest.mark.parametrize("is_sealed_since", [False, True])
def test_a_row_that_was_added_among_others_is_named(
    rows: list[int], clinic: Clinic, is_sealed_since: bool
) -> None:
    (key,) = act(clinic)
    with as_owner() as cursor:
        cursor.execute(
            "UPDATE surveys_auditevent SET at = at - interval '9 days' WHERE id = %s",
            [key],
        )
    if is_sealed_since:
        assert seal_add() is not None
    assert trace_check().fault.startswith(f"Row {key} was added")


def test_a_row_in_a_hole_of_old_seals_is_named(clinic: Clinic) -> None:
    first, hole, _ = act(clinic, 3)
    with as_owner() as cursor:
        cursor.execute("UPDATE surveys_auditevent SET at = at - interval '9 days'")
        cursor.execute("CREATE TEMP TABLE kept AS SELECT * FROM surveys_auditevent WHERE id = %s", [hole])
        cursor.execute("DELETE FROM surveys_auditevent WHERE id = %s", [hole])
    assert seals_add() == 1
    assert AuditSeal.objects.get().rows == [[first, first], [first + 2, first + 2]]
    with as_owner() as cursor:
        cursor.execute("INSERT INTO surveys_auditevent SELECT * FROM kept")
    assert trace_check().fault.startswith(f"Row {hole} was added")


def test_a_row_that_was_committed_late_is_under_the_next_seal(clinic: Clinic) -> None:
    """As one that a long transaction wrote: its id is lower than those that are sealed already."""
    _, hole, _ = act(clinic, 3)
    with as_owner() as cursor:
        cursor.execute("CREATE TEMP TABLE late AS SELECT * FROM surveys_auditevent WHERE id = %s", [hole])
        cursor.execute("DELETE FROM surveys_auditevent WHERE id = %s", [hole])
    assert seals_add() == 1
    with as_owner() as cursor:
        cursor.execute("INSERT INTO surveys_auditevent SELECT * FROM late")
    (later,) = act(clinic)
    assert trace_check().fault == ""
    assert seals_add() == 1
    assert AuditSeal.objects.get(number=2).rows == [[hole, hole], [later, later]]
    assert (trace_check().n_rows, trace_check().fault) == (4, "")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("UPDATE surveys_auditseal SET rows = '[[1, 2]]' WHERE number = 2", "Seal 2 is not what it was."),
        ("UPDATE surveys_auditseal SET digests = '\\x00' WHERE number = 1", "Seal 1 is not what it was."),
        ("DELETE FROM surveys_auditseal WHERE number = 2", "Seal 2 is missing."),
    ],
)
def test_a_seal_that_was_altered_or_taken_away_is_named(rows: list[int], change: str, fault: str) -> None:
    with as_owner() as cursor:
        cursor.execute(change)
    assert trace_check().fault == fault


def test_seals_that_were_made_anew_are_known_by_the_head_that_was_kept_elsewhere(rows: list[int]) -> None:
    kept = str(AuditSeal.objects.get(number=2))
    assert trace_check(kept).fault == ""
    with as_owner() as cursor:
        cursor.execute("UPDATE surveys_auditevent SET act = 'nothing' WHERE id = %s", [rows[0]])
        cursor.execute("DELETE FROM surveys_auditseal")
    assert seals_add() == 3
    assert trace_check().fault == "", "whoever owns the database can make a whole new trace"
    with pytest.raises(CommandError, match="they were made anew"):
        call_command("audit_check", head=kept)
    for slip in ("nonsense", kept[:-1], kept.partition(":")[2]):
        with pytest.raises(CommandError, match=f"^{slip} is no head, and nothing was checked"):
            call_command("audit_check", head=slip)


def test_seals_cannot_be_changed_by_the_application(rows: list[int]) -> None:
    for change in (lambda: AuditSeal.objects.update(rows=[]), lambda: AuditSeal.objects.all().delete()):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            change()


def test_nothing_new_makes_no_seal_and_after_days_without_a_row_the_chain_goes_on(
    rows: list[int], clinic: Clinic
) -> None:
    with as_owner() as cursor:
        cursor.execute("UPDATE surveys_auditseal SET made_at = made_at - interval '2 days'")
    tasks.seal_trace()
    assert AuditSeal.objects.count() == 3
    (key,) = act(clinic)
    tasks.seal_trace()
    assert AuditSeal.objects.get(number=4).rows == [[key, key]]
    assert trace_check().fault == ""


def test_the_head_leaves_the_machine_by_log_and_mail(
    rows: list[int], settings: Any, mailoutbox: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    head = str(AuditSeal.objects.get(number=3))
    with caplog.at_level(logging.INFO):
        tasks.tell_head()
    assert head in caplog.text and mailoutbox == []
    settings.AUDIT_HEAD_TO = ["auditor@example.org"]
    assert head_tell() == head
    (mail,) = mailoutbox
    assert mail.to == ["auditor@example.org"] and head in mail.body


def test_before_the_first_seal_there_is_nothing_to_tell(clinic: Clinic, capsys: Any) -> None:
    assert head_tell() == ""
    call_command("audit_check")
    assert capsys.readouterr().out.startswith("0 rows under 0 seals")
    assert timedelta(hours=3) <= seals.WINDOW, "longer than the longest job"


def test_rows_that_are_left_without_a_seal_are_named_though_no_seal_is_made_any_more(clinic: Clinic) -> None:
    """As after a row whose number is the last of all: nothing comes after it."""
    first, *_ = act(clinic, 2)
    with as_owner() as cursor:
        cursor.execute("UPDATE surveys_auditevent SET id = 9223372036854775807 WHERE id = %s", [first])
        cursor.execute("UPDATE surveys_auditevent SET at = at - interval '3 days'")
    assert seals_add() == 1
    (later,) = act(clinic)
    with as_owner() as cursor:
        cursor.execute("UPDATE surveys_auditseal SET made_at = made_at - interval '3 days'")
        cursor.execute("UPDATE surveys_auditevent SET at = at - interval '2 days' WHERE id = %s", [later])
    assert seals_add() == 0
    assert trace_check().fault.startswith(f"Row {later} was added")


def test_a_seal_that_says_a_last_row_it_does_not_hold_is_named(rows: list[int]) -> None:
    last = AuditSeal.objects.latest("number")
    number, sha256 = last.number + 1, seal_hash(last.number + 1, last.sha256, [], b"")
    AuditSeal.objects.create(
        number=number, made_at=last.made_at, rows=[], digests=b"", last_id=1 << 62, sha256=sha256
    )
    assert trace_check().fault == f"Seal {number} says a last row that is not under it."
