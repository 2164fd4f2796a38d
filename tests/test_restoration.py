"""A restoration is complete or the database is closed, whenever it is ended and whatever is missing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from alliance_site import env
from alliance_site.backups import programs, restore
from alliance_site.database import unfinished
from surveys import jobs
from surveys.services.seals import Checked
from surveys.services.withdrawal_list import list_path
from surveys.services.withdrawals import withdrawal_enter
from tests.conftest import Cast
from tests.test_backups import empty_database, folder, manage, rated

__all__ = ["empty_database", "folder", "rated"]
CLOSED = "A restoration into this database was not finished, so it stays closed"
# What a web process says of itself, started without `up`.
ASK = "from django.test import Client; a = Client().get('/health/'); print(a.status_code, a.json())"
# The command, ended by a signal as it comes to one of its steps.
ENDED = """
import os, signal, sys
# A shell that puts the tests in the background lets them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
number, (place, name) = int(sys.argv.pop()), sys.argv.pop(1).split(":")
import django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alliance_site.settings")
django.setup()
from alliance_site.backups import restore
from alliance_site.database import unfinished
def end(*_args, **_options):
    os.kill(os.getpid(), number)
setattr({"restore": restore, "contents": restore.contents, "unfinished": unfinished}[place], name, end)
import manage
manage.main()
"""


@pytest.fixture
def backup(cast: Cast, rated: Any, folder: Path) -> Path:
    """A backup, and somebody who withdrew after it."""
    call_command("backup", out=folder / "first.alliance")
    withdrawal_enter(patient=rated.patient, study=rated.study, choice="erase")
    jobs.run_due(30)
    return folder / "first.alliance"


def ended(step: str, number: int, backup: Path, database: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", ENDED, step, "restore", str(backup), str(number)]
    variables = os.environ | {"BACKUP_DIR": str(site.BACKUP_DIR), "DATABASE_URL": database}
    return subprocess.run(argv, cwd=site.BASE_DIR, env=variables, capture_output=True, text=True)


def n_answers(database: str) -> str:
    code = "from surveys.models import *; print(Response.objects.count())"
    return manage("shell", "-v0", "-c", code, DATABASE_URL=database).stdout.strip()


@pytest.fixture
def marked(transactional_db: None) -> Iterator[None]:
    """The site's own database, as a restoration that was killed leaves it."""
    with closing(programs.connect()) as link, link, link.cursor() as cursor:
        unfinished.begin(cursor, "of another file")
    connection.close()
    try:
        yield
    finally:
        with closing(programs.connect()) as link, link, link.cursor() as cursor:
            unfinished.end(cursor)


def test_nobody_gets_a_connection_to_an_unfinished_restoration(marked: None) -> None:
    with pytest.raises(unfinished.RestorationUnfinished, match=CLOSED):
        connection.ensure_connection()
    answer = Client().get("/health/")
    assert answer.status_code == 503
    assert answer.json()["message"].startswith(CLOSED)
    assert "manage.py restore again" in answer.json()["message"]
    with unfinished.finishing():
        connection.ensure_connection()


def test_a_file_that_is_not_there_is_named(db: None, tmp_path: Path) -> None:
    for command in ("restore", "drill_restore"):
        with pytest.raises(CommandError, match=r"The backup .*nofile cannot be read: No such file or dir"):
            call_command(command, str(tmp_path / "nofile"))


def test_a_restoration_makes_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "restore", "file"])
    with pytest.raises(ImproperlyConfigured, match=r"FIELD_KEY is missing: there is no file .*field_key\."):
        env.kept_data_key(tmp_path / "field_key")
    assert not (tmp_path / "field_key").exists()
    monkeypatch.setattr(sys, "argv", ["manage.py", "up"])
    made = env.kept_data_key(tmp_path / "field_key")
    monkeypatch.setattr(sys, "argv", ["manage.py", "restore", "file"])
    assert env.kept_data_key(tmp_path / "field_key") == made


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_without_the_list_the_site_stays_closed_until_it_is_there(backup: Path, empty_database: str) -> None:
    kept = list_path().read_bytes()
    list_path().unlink()
    done = manage("restore", str(backup), DATABASE_URL=empty_database)
    assert done.returncode == 1
    assert "there is no list at" in done.stderr and "The database stays closed." in done.stderr
    for words in (["migrate"], ["check", "--database", "default"], ["backup"]):
        refused = manage(*words, DATABASE_URL=empty_database)
        assert refused.returncode == 1
        assert refused.stderr.startswith(CLOSED), words
    asked = manage("shell", "-v0", "-c", ASK, DATABASE_URL=empty_database).stdout
    assert asked.startswith("503") and CLOSED in asked
    list_path().write_bytes(kept)
    assert manage("withdrawals_replay", DATABASE_URL=empty_database).stderr.startswith(CLOSED)
    done = manage("restore", str(backup), DATABASE_URL=empty_database)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 entered again" in done.stdout
    assert n_answers(empty_database) == "0"


STEPS = [
    "restore:_load",
    "contents:compare",
    "unfinished:compared",
    "restore:trace_check",
    "restore:withdrawals_replay",
    "restore:messages_doubt",
    "unfinished:end",
]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_the_site_is_closed_and_the_same_call_goes_on(
    backup: Path, empty_database: str, step: str
) -> None:
    assert ended(step, 9, backup, empty_database).returncode == -9
    refused = manage("check", "--database", "default", DATABASE_URL=empty_database)
    assert refused.returncode == 1 and refused.stderr.startswith(CLOSED)
    done = manage("restore", str(backup), DATABASE_URL=empty_database)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "withdrawals: " in done.stdout
    assert n_answers(empty_database) == "0"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_interrupted_it_says_what_to_do_and_takes_no_other_backup(
    backup: Path, empty_database: str, folder: Path
) -> None:
    done = ended("contents:compare", 2, backup, empty_database)
    assert done.returncode == 130
    assert "the database stays closed: call manage.py restore again, with the same file" in done.stderr
    call_command("backup", out=folder / "second.alliance")
    other = manage("restore", str(folder / "second.alliance"), DATABASE_URL=empty_database)
    assert other.returncode == 1 and "another backup was being restored" in other.stderr


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_with_another_key_nothing_is_changed(backup: Path, empty_database: str) -> None:
    other = {"DATABASE_URL": empty_database, "PSEUDONYM_KEY": "987654321" * 6}
    lost = ["restore", str(backup), "--accept", "pseudonyms"]
    done = manage(*lost, **other, FIELD_KEY="0123456789" * 6)
    assert done.returncode == 1
    assert "nothing was restored. FIELD_KEY: 0 of 1 of the backup; not here" in done.stderr
    done = manage("restore", str(backup), **other)
    assert done.returncode == 1
    assert "nothing was restored. PSEUDONYM_KEY: 0 of 1 of the backup; not here" in done.stderr
    with closing(programs.psycopg2.connect(empty_database)) as link, link.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchone() == (0,)
    done = manage(*lost, **other)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_beside_somebody_who_is_connected_nothing_is_restored(backup: Path, empty_database: str) -> None:
    with closing(programs.psycopg2.connect(empty_database)):
        done = manage("restore", str(backup), DATABASE_URL=empty_database)
    assert done.returncode == 1 and "Others are connected to this database (1)" in done.stderr
    done = manage("restore", str(backup), DATABASE_URL=empty_database)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize(("accepted", "is_ok"), [((), False), (("trace",), True)])
def test_a_trace_that_was_broken_in_the_backup_is_for_a_person_to_accept(
    accepted: tuple[str, ...], is_ok: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Checked(7, 1, None, 0, None, "Row 3 was altered.")
    monkeypatch.setattr(restore, "trace_check", lambda: broken)
    list_path().touch()
    failed = [check.what for check in restore._bring_up_to_date(accepted) if not check.ok]
    assert (not failed) == is_ok
    assert is_ok or "Row 3 was altered. It was so in the backup; a person may --accept trace" in failed[0]
