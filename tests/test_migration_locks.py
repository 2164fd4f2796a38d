"""A migration runs beside a site that is in use: none locks a large table for as long as it takes to read or
write all of its rows, unless it is listed here with a reason. What was released before 0.7.0 is as it is."""

import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import psycopg2
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from alliance_site.folders import PROJECT
from benchmarks.faults.releases import RELEASES, added_since

# Tables that grow with every form.
LARGE = (
    "surveys_assignment",
    "surveys_auditevent",
    "surveys_draftanswer",
    "surveys_formlink",
    "surveys_job",
    "surveys_message",
    "surveys_opening",
    "surveys_response",
    "surveys_score",
    "surveys_session",
)
# Migration: why it may, and what the operator is told in CHANGELOG.
ACCEPTED: dict[str, str] = {}

HEAVY = {
    "an index without CONCURRENTLY": r'CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)\S+ ON "?{table}"?[ (]',
    "a rule that is checked at once": r'ALTER TABLE "?{table}"? (?:\S+ )*?ADD CONSTRAINT(?!.*NOT VALID)',
    "another type of a column": r'ALTER TABLE "?{table}"? ALTER COLUMN \S+ TYPE',
    "a column that may not be empty any more": r'ALTER TABLE "?{table}"? ALTER COLUMN \S+ SET NOT NULL',
    "a column that is computed for each row": r'ALTER TABLE "?{table}"? ADD COLUMN.*(?:GENERATED|\w+\(\))',
    "a change of all rows": r'UPDATE "?{table}"?\s',
}


def heavy(sql: str) -> list[str]:
    """What in the statements locks a large table for long."""
    # What a function or trigger does later is not done by the migration.
    statements = re.sub(r"\$(\w*)\$.*?\$\1\$", "", sql, flags=re.DOTALL).split(";\n")
    return [
        f"{what}: {table}"
        for statement in statements
        for table in LARGE
        for what, pattern in HEAVY.items()
        if re.search(pattern.format(table=table), " ".join(statement.split()), re.IGNORECASE)
    ]


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ('CREATE INDEX "x" ON "surveys_response" ("a");', "an index without CONCURRENTLY"),
        ('CREATE INDEX CONCURRENTLY "x" ON "surveys_response" ("a");', ""),
        ('CREATE INDEX "x" ON "surveys_clinic" ("a");', ""),
        ('ALTER TABLE "surveys_job" ADD CONSTRAINT "c" CHECK (a > 1);', "a rule that is checked at once"),
        ('ALTER TABLE "surveys_job" ADD CONSTRAINT "c" CHECK (a > 1) NOT VALID;', ""),
        ('ALTER TABLE "surveys_score" ALTER COLUMN "a" TYPE text;', "another type of a column"),
        ("ALTER TABLE surveys_score ALTER COLUMN a SET NOT NULL;", "a column that may not be empty any more"),
        ('ALTER TABLE "surveys_score" ADD COLUMN "a" text DEFAULT \'\' NOT NULL;', ""),
        (
            'ALTER TABLE "surveys_score" ADD COLUMN "a" uuid DEFAULT gen_random_uuid();',
            "a column that is computed for each row",
        ),
        ("UPDATE surveys_assignment SET state = 'due';", "a change of all rows"),
        ("CREATE FUNCTION f() RETURNS int AS $$ UPDATE surveys_job SET a = 1; $$ LANGUAGE sql;", ""),
    ],
)
def test_what_locks_a_large_table_is_seen(sql: str, found: str) -> None:
    assert [line.partition(":")[0] for line in heavy(sql)] == ([found] if found else [])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", added_since("0.6.0"), ids=lambda path: f"{path.parts[-3]} {path.stem}")
def test_no_new_migration_locks_a_large_table_for_long(path: Path) -> None:
    app, name = path.parts[-3], path.stem
    written = StringIO()
    call_command("sqlmigrate", app, name, stdout=written)
    if name not in ACCEPTED:
        hint = "Make it in steps that lock briefly, or list it in ACCEPTED and say it in CHANGELOG."
        assert heavy(written.getvalue()) == [], hint


def test_what_is_accepted_is_there_and_says_why() -> None:
    assert set(ACCEPTED) <= {path.stem for path in added_since("0.6.0")}
    assert all(len(reason) > 20 for reason in ACCEPTED.values())


def test_the_releases_name_migrations_that_exist() -> None:
    for release in RELEASES:
        for app, name in RELEASES[release].schema.items():
            assert (PROJECT / app / "migrations" / f"{name}.py").exists()


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], list[str]]:
    """Django's own `migrate` finds a table in use so many times."""

    def run(n: int, code: str) -> list[str]:
        timeouts: list[str] = []

        def handle(*_args: object, **_options: object) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SHOW lock_timeout")
                timeouts.append(cursor.fetchone()[0])
            if len(timeouts) <= n:
                raise OperationalError("canceling statement due to lock timeout") from _refused(code)

        monkeypatch.setattr("django.core.management.commands.migrate.Command.handle", handle)
        monkeypatch.setattr("alliance_site.management.commands.migrate.PAUSE", 0)
        call_command("migrate", stdout=StringIO())
        return timeouts

    return run


def _refused(code: str) -> psycopg2.OperationalError:
    class Refused(psycopg2.OperationalError):
        pgcode = code

    return Refused()


@pytest.mark.django_db
def test_a_table_in_use_is_waited_for_two_seconds_and_tried_again(locked: Callable[..., list[str]]) -> None:
    assert locked(3, "55P03") == ["2s"] * 4
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("0",)


@pytest.mark.django_db
def test_another_error_is_not_tried_again(locked: Callable[..., list[str]]) -> None:
    with pytest.raises(OperationalError):
        locked(1, "57014")


@pytest.mark.django_db
def test_a_table_that_stays_in_use_ends_it(locked: Callable[..., list[str]]) -> None:
    with pytest.raises(OperationalError):
        locked(1000, "55P03")
