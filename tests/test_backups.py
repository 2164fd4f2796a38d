"""Backups: a file that is whole or refused, figures that tell any difference, withdrawals that outlive the
database, and a restoration that is rehearsed."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.conf import settings as site
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

import surveys.tasks  # noqa: F401  registers the list of withdrawals
from alliance_site.backups import contents, make, programs, restore, stream
from surveys import jobs
from surveys.models import AuditEvent, BackupRun, Job, Message, Patient, Response, Therapy, Withdrawal
from surveys.services.messages import messages_doubt
from surveys.services.operation import backup_record
from surveys.services.seals import seals_add
from surveys.services.withdrawal_list import list_path, withdrawals_list, withdrawals_replay
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.conftest import Cast

KEY = "a key of fifty characters and more, for this file alone"
CANARY = "canary@example.org"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.BACKUP_DIR.mkdir(mode=0o700)
    return settings.BACKUP_DIR


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 1000)


def sealed(*pieces: bytes) -> bytes:
    file = io.BytesIO()
    stream.seal(pieces, file, KEY)
    return file.getvalue()


def plain(content: bytes, key: str = KEY) -> bytes:
    return b"".join(stream.opened(io.BytesIO(content), key))


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 2000, 2500])
def test_what_is_sealed_opens_as_it_was_whatever_its_length(small_chunks: None, size: int) -> None:
    content = os.urandom(size)
    file = sealed(content[:10], b"", content[10:])
    assert plain(file) == content
    assert content[:16] not in file or size < 16


def test_a_changed_cut_off_or_rearranged_file_is_refused(small_chunks: None) -> None:
    file = sealed(os.urandom(2500))
    head, chunk = len(file) - 2500 - 3 * stream.TAG, 1000 + stream.TAG
    first, second = file[head : head + chunk], file[head + chunk : head + 2 * chunk]
    wrong = {
        "a byte": file[: head + 5] + bytes([file[head + 5] ^ 1]) + file[head + 6 :],
        "the last byte": file[:-1] + bytes([file[-1] ^ 1]),
        "in a chunk": file[:-7],
        "after a chunk": file[: head + 2 * chunk],
        "all chunks": file[:head],
        "order": file[:head] + second + first + file[head + 2 * chunk :],
        "one left out": file[: head + chunk] + file[head + 2 * chunk :],
        "something added": file + b"more",
    }
    for name, content in wrong.items():
        with pytest.raises(stream.BadBackup, match="damaged or cut off"):
            plain(content)
            pytest.fail(name)


def test_another_key_and_another_kind_of_file_are_told_apart() -> None:
    with pytest.raises(stream.BadBackup, match="BACKUP_KEY is not the key"):
        plain(sealed(b"data"), "another key of fifty characters and more, for something else")
    for content in (b"", b"PGDMP", sealed(b"data")[:20]):
        with pytest.raises(stream.BadBackup, match="no backup of this application"):
            plain(content)


def fake_program(folder: Path, name: str, says: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\n")
    (folder / name).chmod(0o755)


def test_the_program_nearest_to_the_server_is_used_and_an_older_one_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (15, 17, 19):
        fake_program(tmp_path / "pg" / f"{version}" / "bin", "pg_dump", f"pg_dump (PostgreSQL) {version}.2")
    fake_program(tmp_path / "path", "pg_dump", "pg_dump (PostgreSQL) 14.1 (Debian)")
    monkeypatch.setattr(programs, "DEBIAN", tmp_path / "pg")
    monkeypatch.setattr(programs, "_wheel", lambda name: [])
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:{os.environ['PATH']}")
    assert programs.find("pg_dump", 14) == tmp_path / "path" / "pg_dump"
    assert programs.find("pg_dump", 16) == tmp_path / "pg" / "17" / "bin" / "pg_dump"
    with pytest.raises(programs.NoProgram, match=r"found: 14 .*apt-get install postgresql-client-20"):
        programs.find("pg_dump", 20)


@pytest.fixture
def rated(cast: Cast) -> Therapy:
    """A therapy with a rating of the patient and a mail that waits."""
    session = factories.hold_session(cast.therapy, timezone.now() - timedelta(hours=20))
    factories.give(factories.form_of(session, "patient"), {1: 7, 2: 3, 5: 6}, sharing="answers")
    Patient.objects.filter(pk=cast.therapy.patient_id).update(contact=CANARY)
    return cast.therapy


def figures() -> contents.Manifest:
    with connection.cursor() as cursor:
        return contents.read(cursor)


def differences(manifest: contents.Manifest) -> list[str]:
    with connection.cursor() as cursor:
        return [check.what for check in contents.compare(manifest, cursor) if not check.ok]


def test_any_difference_between_two_databases_is_named(rated: Therapy) -> None:
    before = contents.Manifest.from_json(figures().to_json())
    assert differences(before) == []
    Patient.objects.filter(pk=rated.patient_id).update(language="de")
    (changed,) = differences(before)
    assert changed.startswith(f"contents: {len(before.tables) - 1} of {len(before.tables)} tables")
    assert "surveys_patient: 3 rows" in changed
    Response.objects.all().delete()
    assert any(words.startswith("rows: ") for words in differences(before))
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER audit_append_only ON surveys_auditevent")
    assert any("nothing refuses to change them" in words for words in differences(before))
    assert any(words.startswith("triggers: ") for words in differences(before))


def test_keys_that_this_site_does_not_have_are_named_by_fingerprint(db: None, settings: Any) -> None:
    manifest = figures()
    assert all(check.ok for check in contents.compare_keys(manifest))
    text = manifest.to_json().decode()
    assert not any(key in text for key in (site.SECRET_KEY, site.FIELD_KEYS[0], site.PSEUDONYM_KEY))
    settings.FIELD_KEYS = ["new" * 20, *settings.FIELD_KEYS]
    assert all(check.ok for check in contents.compare_keys(manifest))
    settings.FIELD_KEYS, settings.SECRET_KEY = ["new" * 20], "new" * 20
    checks = contents.compare_keys(manifest)
    (wrong,) = [check.what for check in checks if not check.ok]
    assert wrong.startswith(f"FIELD_KEY: 0 of 1 of the backup; not here: {manifest.keys['FIELD_KEY'][0]}")
    assert any("everybody signs in anew" in check.what for check in checks)


def entered(therapy: Therapy, choice: str = "erase") -> Withdrawal:
    return withdrawal_enter(patient=therapy.patient, study=therapy.study, choice=choice)


def test_a_withdrawal_is_on_the_list_once_and_without_a_name(rated: Therapy) -> None:
    withdrawal = entered(rated)
    assert Job.objects.filter(kind="list_withdrawals", state="pending").count() == 1
    jobs.run_due(30)
    assert Job.objects.get(kind="list_withdrawals").state == "done"
    (line,) = list_path().read_text().splitlines()
    assert json.loads(line) == {
        "patient": str(rated.patient_id),
        "study": str(rated.study_id),
        "choice": "erase",
        "at": withdrawal.at.isoformat(),
        "recorded_by": None,
    }
    assert list_path().stat().st_mode & 0o777 == 0o600
    assert withdrawals_list() == 0
    assert list_path().read_text().count("\n") == 1


def test_a_line_that_a_power_cut_left_unfinished_is_counted_and_harms_no_other(rated: Therapy) -> None:
    list_path().write_text('{}\n[1]\n{"patient": "0190')
    entered(rated)
    assert withdrawals_list() == 1
    replay = withdrawals_replay()
    assert (replay.n_there, replay.n_unreadable) == (1, 3)


def test_a_replay_erases_again_who_withdrew_after_the_backup(cast: Cast, rated: Therapy) -> None:
    """As after a restoration: the list knows more than the database."""
    lines = [
        {"patient": str(rated.patient_id), "choice": "stop"},
        {"patient": str(rated.patient_id), "choice": "erase", "recorded_by": str(cast.clinic_admin.pk)},
        {"patient": str(uuid4()), "choice": "erase"},
    ]
    at = timezone.now() - timedelta(minutes=5)
    common = {"study": str(rated.study_id), "at": at.isoformat(), "recorded_by": None}
    list_path().write_text("".join(json.dumps(common | line) + "\n" for line in lines))
    assert Response.objects.exists()
    replay = withdrawals_replay()
    assert (replay.n_there, replay.n_entered, replay.n_unknown) == (0, 2, 1)
    assert not Response.objects.exists()
    assert Patient.objects.get(pk=rated.patient_id).contact == ""
    last = Withdrawal.objects.get(choice="erase")
    assert (last.at, last.recorded_by, last.n_erased) == (at, cast.clinic_admin, 1)
    assert AuditEvent.objects.filter(act="withdrawal.replay").count() == 2
    assert withdrawals_replay().n_there == 2


def test_mails_that_older_data_call_due_are_left_to_a_person(rated: Therapy) -> None:
    form, now = rated.sessions.get().assignments.get(rater="patient"), timezone.now()
    Message.objects.create(assignment=form, kind="invitation", number=1, due_at=now)
    Message.objects.create(assignment=form, kind="reminder", number=1, due_at=now + timedelta(days=1))
    assert messages_doubt() == 1
    assert dict(Message.objects.values_list("kind", "state")) == {
        "invitation": "unsure",
        "reminder": "waiting",
    }


def test_without_a_key_or_over_another_file_no_backup_is_made(db: None, folder: Path, settings: Any) -> None:
    (folder / "there").write_text("mine")
    with pytest.raises(CommandError, match="not overwritten"):
        call_command("backup", out=folder / "there")
    assert (folder / "there").read_text() == "mine"
    with pytest.raises(CommandError, match="There is no folder"):
        call_command("backup", out=folder / "nowhere" / "file")
    settings.BACKUP_KEY = ""
    with pytest.raises(CommandError, match="BACKUP_KEY is not set"):
        call_command("backup")
    assert [run.is_good for run in BackupRun.objects.all()] == [False], "a mistyped place is no run"


@pytest.mark.django_db(transaction=True)
def test_a_backup_is_one_closed_file_with_the_figures_of_its_instant(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = Patient.objects.create(clinic=factories.make_clinic(), contact=CANARY)
    call_command("backup")
    (path,) = folder.glob("*.alliance")
    assert sorted(file.name for file in folder.iterdir()) == [path.name, "withdrawals.jsonl"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(
        word in path.read_bytes() for word in (b"PGDMP", b"surveys_patient", patient.code.encode())
    )
    manifest = restore.manifest_of(path)
    assert manifest.tables["surveys_patient"] == figures().tables["surveys_patient"]
    assert not set(contents.LEFT_OUT) & set(manifest.tables)
    run = BackupRun.objects.get()
    assert (run.kind, run.is_good, run.n_rows, run.n_bytes, run.taken_at) == (
        "backup",
        True,
        manifest.n_rows,
        path.stat().st_size,
        manifest.taken,
    )
    assert "fingerprints: FIELD_KEY" in capsys.readouterr().out
    with pytest.raises(CommandError, match=r"has \d+ tables. A backup is restored into an empty one only"):
        call_command("restore", str(path))
    older = contents.Manifest.from_json(manifest.to_json().replace(b"surveys.0001_", b"surveys.9001_"))
    with pytest.raises(make.BackupRefused, match="newer than this one"):
        restore._refuse_unusable(older)


@pytest.mark.django_db(transaction=True)
def test_a_dump_that_fails_leaves_no_file_and_says_so(folder: Path) -> None:
    fake_program(folder.parent / "bin", "pg_dump", "half a dump")
    program = folder.parent / "bin" / "pg_dump"
    program.write_text("#!/bin/sh\necho half a dump\necho 'the disk is broken' >&2\nexit 1\n")
    with (
        mock.patch.object(programs, "find", return_value=program),
        pytest.raises(CommandError, match="pg_dump failed: the disk is broken"),
    ):
        call_command("backup")
    assert [file.name for file in folder.iterdir()] == ["withdrawals.jsonl"]
    assert BackupRun.objects.get().problem == "pg_dump failed: the disk is broken"


def test_a_run_is_never_changed_and_leaves_its_trace(db: None) -> None:
    run = backup_record(kind=BackupRun.Kind.DRILL, began_at=timezone.now(), file="x", problem="Not as it was")
    assert AuditEvent.objects.get(act="backup.drill").detail["is_good"] is False
    assert not run.is_good
    with pytest.raises(Exception, match="append-only"):
        BackupRun.objects.update(is_good=True)


@contextmanager
def another_database(name: str, owner: str = "") -> Iterator[str]:
    """A further database of the tests' server; its address for a program that asks as its owner."""
    name, known = f"{name}_{os.getpid()}", connection.settings_dict
    owner = owner or known["USER"]
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name} OWNER {owner}")
    try:
        yield f"postgresql://{owner}@/{name}?host={known['HOST']}&port={known['PORT']}"
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def empty_database() -> Iterator[str]:
    with another_database("restored") as address:
        yield address


@pytest.fixture
def plain_owner(db: None) -> Iterator[str]:
    """A role that may sign in, and nothing else: the rules of rows hold for it."""
    name = f"plain_{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS")
    yield name
    with connection.cursor() as cursor:
        cursor.execute(f"DROP ROLE {name}")


def manage(*words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "manage.py", *words]
    env = os.environ | {"BACKUP_DIR": str(site.BACKUP_DIR)} | changes
    return subprocess.run(argv, cwd=site.BASE_DIR, env=env, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_backup_is_restored_compared_and_who_withdrew_since_is_erased_again(
    cast: Cast, rated: Therapy, empty_database: str, folder: Path
) -> None:
    path = folder / "first.alliance"
    assert seals_add() == 1
    call_command("backup", out=path)
    entered(rated)
    jobs.run_due(30)
    done = manage("restore", str(path), DATABASE_URL=empty_database)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok  ") for line in lines[:-1])
    assert any(
        re.match(r"ok    trace: \d+ rows under 1 seals are as they were sealed", line) for line in lines
    )
    assert "ok    withdrawals: 0 were in the backup, 1 entered again, 0 of people who came after it" in lines
    code = "from surveys.models import *; print(Response.objects.count(), BackupRun.objects.get().kind)"
    assert manage("shell", "-v0", "-c", code, DATABASE_URL=empty_database).stdout.split() == ["0", "restore"]
    again = manage("restore", str(path), DATABASE_URL=empty_database)
    assert again.returncode == 1
    assert "into an empty one only" in again.stderr


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_owner_for_whom_the_rules_of_rows_hold_backs_up_every_clinic(
    cast: Cast, rated: Therapy, plain_owner: str, empty_database: str, folder: Path
) -> None:
    call_command("backup", out=folder / "first.alliance")
    with another_database("owned", plain_owner) as owned:
        for words in (["restore", "first.alliance"], ["rows_guard"], ["backup", "--out", "second.alliance"]):
            words = [str(folder / word) if word.endswith(".alliance") else word for word in words]
            done = manage(*words, DATABASE_URL=owned)
            assert done.returncode == 0, done.stdout + done.stderr
        code = "from surveys import scope; from surveys.models import *; print(Patient.objects.count());"
        code += "scope._now.set(scope.NOTHING); print(Patient.objects.count())"
        shown, hidden = manage("shell", "-v0", "-c", code, DATABASE_URL=owned).stdout.split()
        assert int(shown) > 0 and hidden == "0", "the rules hold for this owner"
    done = manage("restore", str(folder / "second.alliance"), DATABASE_URL=empty_database)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(line.startswith("ok  ") for line in done.stdout.splitlines()[:-1])


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_drill_restores_into_a_server_of_its_own_and_keeps_how_that_went(
    cast: Cast, rated: Therapy, folder: Path
) -> None:
    call_command("backup", out=folder / "1.alliance")
    call_command("drill_restore")
    drill = BackupRun.objects.get(kind="drill")
    assert (drill.is_good, drill.problem, drill.file) == (True, "", "1.alliance")
    # Without the list it cannot be known who withdrew.
    list_path().unlink()
    with pytest.raises(CommandError, match=r"The drill failed: .*there is no list at"):
        call_command("drill_restore")
    content = bytearray((folder / "1.alliance").read_bytes())
    content[-1] ^= 1
    (folder / "2.alliance").write_bytes(content)
    with pytest.raises(CommandError, match="The drill failed: The backup is damaged"):
        call_command("drill_restore")
    assert [run.is_good for run in BackupRun.objects.filter(kind="drill").order_by("pk")] == [
        True,
        False,
        False,
    ]
