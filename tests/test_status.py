"""The status page and the metrics: every figure of the machine with its age, and nothing about a person."""

import os
import re
import time
from collections import namedtuple
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from alliance_site.status import figures
from surveys import jobs
from surveys.models import BackupRun, Heartbeat, Job, Message
from surveys.services.operation import backup_record
from surveys.services.withdrawal_list import list_path
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.conftest import Cast, signed_in
from tests.net import as_application, spread

TOKEN = "a token of at least thirty-two characters"
NOW = timezone.now()
Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def asked(db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Fetches the samples by name, as a program with the token does."""
    settings.METRICS_TOKEN, settings.BACKUP_DIR = TOKEN, tmp_path
    list_path().touch()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Disk(1000, 250, 750))

    def samples() -> dict[str, float]:
        answer = Client().get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = [line for line in answer.content.decode().splitlines() if not line.startswith("#")]
        return {name.removeprefix("alliance_"): float(value) for name, value in map(str.rsplit, lines)}

    return samples


@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN[:-1]}])
def test_without_the_token_there_is_no_such_page(asked: Any, given: dict[str, str]) -> None:
    assert Client().get("/metrics", headers=given).status_code == 404


def test_without_a_token_in_the_settings_nobody_gets_in(db: None, settings: Any) -> None:
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics", headers={"authorization": "Bearer "}).status_code == 404


def test_what_never_happened_has_no_sample(asked: Any) -> None:
    found = asked()
    assert not [name for name in found if "age" in name or name.startswith(("backup", "drill", "worker"))]
    assert (found["oldest_due_job_seconds"], found["jobs_failed"], found["responses_erased_total"]) == (
        0,
        0,
        0,
    )
    assert found['disk_free_ratio{of="data"}'] == found['disk_free_ratio{of="backups"}'] == 0.75
    assert found["database_bytes"] > 1e6


def job(kind: str, scope: str, state: str, ago: timedelta) -> Job:
    at = timezone.now() - ago
    ended = None if state == "pending" else at
    return Job.objects.create(
        kind=kind, scope=scope, state=state, due_at=at, requested_at=at, finished_at=ended
    )


def test_every_figure_has_its_age(asked: Any, cast: Cast) -> None:
    Job.objects.all().delete()
    Heartbeat.objects.create(part="worker", at=timezone.now() - timedelta(seconds=50))
    job("refit", "1", "done", timedelta(hours=2))
    job("refit", "2", "failed", timedelta(hours=1))
    # Asked for again since, so its failure is settled.
    job("forms", "1", "failed", timedelta(hours=3))
    job("forms", "1", "pending", timedelta(minutes=10))
    job("forms", "2", "pending", -timedelta(minutes=10))
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    Job.objects.filter(scope=str(cast.therapy.pk)).delete()
    late = timezone.now() - timedelta(minutes=20)
    Message.objects.create(assignment=form, kind="invitation", number=1, due_at=late)
    hours = {"backup": 30, "drill": 50}
    for kind, ago in hours.items():
        at = timezone.now() - timedelta(hours=ago)
        backup_record(kind=BackupRun.Kind(kind), began_at=at, taken_at=at, file="x")
    backup_record(kind=BackupRun.Kind.BACKUP, began_at=timezone.now(), file="y", problem="The disk is full.")
    found = asked()
    ages = {
        "worker_silence_seconds": 50,
        "oldest_due_job_seconds": 600,
        "oldest_due_mail_seconds": 1200,
        "last_refit_age_seconds": 7200,
        "backup_age_seconds": 30 * 3600,
        "drill_age_seconds": 50 * 3600,
    }
    assert {name: found[name] for name in ages} == {
        name: pytest.approx(s, abs=30) for name, s in ages.items()
    }
    counts = {
        'jobs{state="pending"}': 2,
        'jobs{state="failed"}': 2,
        'jobs_failed{kind="refit"}': 1,
        "jobs_due": 1,
        "mails_due": 1,
        "backup_good": 0,
        "drill_good": 1,
    }
    assert {name: found[name] for name in counts} == counts
    assert 'jobs_failed{kind="forms"}' not in found


def test_erasures_are_counted_in_the_metrics_and_are_not_on_the_page(asked: Any, cast: Cast) -> None:
    factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"), 5)
    withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="erase")
    found = asked()
    assert (found["responses_erased_total"], found['withdrawals_total{choice="erase"}']) == (1, 1)
    assert "erase" not in signed_in(cast.clinic_admin).get("/status/").content.decode()


def rows(cast: Cast, headers: dict[str, str] | None = None) -> dict[str, list[str]]:
    """The lines of the page by their first cell, as text."""
    page = signed_in(cast.superuser).get("/status/", headers=headers or {}).content.decode()
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    found = {}
    for row in body.split("</tr>")[:-1]:
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        first, words, at = [re.sub(r"<[^>]+>", "\n", cell).strip("\n") for cell in cells]
        found[first] = [*re.split(r"\n+", words), at.rpartition("\n")[2].replace("\xa0", " ")]
    return found


@pytest.mark.parametrize(
    ("minutes", "is_failing", "words", "asks"),
    [
        (4, False, "The last piece was archived:", False),
        (16, False, "The last piece was archived:", True),
        (4, True, "The last one failed. The last piece was archived:", True),
        (None, True, "The last one failed. No piece was archived yet.", True),
    ],
)
def test_an_archive_of_the_log_says_how_old_it_is(
    asked: Any,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    is_failing: bool,
    words: str,
    asks: bool,
) -> None:
    part = "Archive of the database’s log"
    assert part not in rows(cast)
    assert not [name for name in asked() if name.startswith("wal_archive")]
    now = timezone.now()
    found = replace(
        figures(),
        is_archiving=True,
        archived_at=None if minutes is None else now - timedelta(minutes=minutes),
        is_archive_failing=is_failing,
    )
    monkeypatch.setattr("alliance_site.status_page.figures", lambda: found)
    monkeypatch.setattr("alliance_site.metrics.figures", lambda: found)
    line = rows(cast)[part]
    assert line[0] == words
    assert ("archive_command" in "".join(line)) == asks
    samples = asked()
    assert samples["wal_archive_good"] == (not is_failing)
    assert samples.get("wal_archive_age_seconds") == (
        None if minutes is None else pytest.approx(60 * minutes, abs=30)
    )


def test_a_fresh_site_says_what_is_missing_and_what_to_do(asked: Any, cast: Cast) -> None:
    page = signed_in(cast.superuser).get("/status/").content.decode()
    assert "4 parts need somebody." in page
    found = rows(cast)
    assert found["Worker"][0].startswith("None is at work.")
    assert found["Backup"] == ["There is no good one yet.", "Make one a day: manage.py backup", ""]
    assert found["Restore drill"][1] == "Rehearse once a month: manage.py drill_restore"
    assert found["Disk of the data"][0] == "75 % free"
    assert found["Models"][0] == "None was fitted yet."
    assert found["Clinics kept apart"][1].endswith("then call manage.py rows_guard.")


def test_a_site_that_is_well_says_so_with_the_age_of_everything(
    asked: Any, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATABASE_PASSWORD", "a password of the tests")
    Job.objects.all().delete()
    jobs.beat("worker")
    job("refit", "1", "done", timedelta(hours=2))
    for kind in ("backup", "drill"):
        at = timezone.now() - timedelta(hours=3)
        backup_record(kind=BackupRun.Kind(kind), began_at=at, taken_at=at, file="x")
    spread()
    with as_application():
        page = signed_in(cast.clinic_admin).get("/status/").content.decode()
        found = rows(cast)
    assert "Everything is at work." in page
    assert found["Clinics kept apart"][0] == "By the application’s rules, and once more by the database."
    assert found["Models"] == ["The last one was fitted well.", "2 hours"]
    assert found["Backup"] == ["The data in the last good one are of:", "3 hours"]
    assert {len(words) for words in found.values()} == {2}


def test_a_backup_or_a_list_that_is_gone_is_not_called_good(
    asked: Any, cast: Cast, settings: Any, tmp_path: Path
) -> None:
    at, name = timezone.now(), "20261129T030900Z.alliance"
    (tmp_path / name).write_bytes(b"sealed")
    backup_record(kind=BackupRun.Kind.BACKUP, began_at=at, taken_at=at, file=name, n_bytes=6)
    assert (len(rows(cast)["Backup"]), asked()["backup_good"]) == (2, 1)
    (tmp_path / name).write_bytes(b"half")
    words, todo, _age = rows(cast)["Backup"]
    assert words.startswith("The last good one is not in the folder of the backups, or not as it was")
    assert "manage.py backup" in todo and asked()["backup_good"] == 0
    (tmp_path / name).unlink()
    assert rows(cast)["Backup"][0] == words
    (tmp_path / name).write_bytes(b"sealed")
    list_path().unlink()
    assert rows(cast)["Backup"][0] == "The list of withdrawals is not in the folder of the backups."
    assert asked()["backup_good"] == 0
    settings.BACKUP_DIR = tmp_path / "not seen from here"
    words, todo, age = rows(cast)["Backup"]
    assert words == "Whether the last good one is still there cannot be seen from here. It was of:"
    assert "BACKUP_DIR" in todo and age == "0 minutes"
    assert "backup_good" not in asked()


def test_a_drill_that_finds_no_backup_is_one_that_failed(asked: Any) -> None:
    with pytest.raises(CommandError, match="There is no backup in"):
        call_command("drill_restore")
    assert asked()["drill_good"] == 0


def test_a_drill_takes_the_newest_backup_whatever_its_name(asked: Any, tmp_path: Path) -> None:
    for name, age in (("20261128T020000Z", 0), ("before-the-update", 3600)):
        path = tmp_path / f"{name}.alliance"
        path.write_bytes(b"no backup")
        os.utime(path, (time.time() - age,) * 2)
    with pytest.raises(CommandError, match="The drill failed"):
        call_command("drill_restore")
    assert BackupRun.objects.get(kind="drill").file == "20261128T020000Z.alliance"


@pytest.mark.parametrize(("kind", "part", "days"), [("backup", "Backup", 2), ("drill", "Restore drill", 36)])
def test_an_old_or_failed_backup_or_drill_asks_for_another(
    asked: Any, cast: Cast, kind: str, part: str, days: int
) -> None:
    at = timezone.now() - timedelta(days=days)
    backup_record(kind=BackupRun.Kind(kind), began_at=at, taken_at=at, file="x")
    assert "manage.py" in rows(cast)[part][1]
    fresh = timezone.now()
    backup_record(kind=BackupRun.Kind(kind), began_at=fresh, taken_at=fresh, file="x")
    assert len(rows(cast)[part]) == 2
    backup_record(kind=BackupRun.Kind(kind), began_at=fresh, file="x", problem="broken")
    failed = rows(cast)[part]
    assert failed[0].startswith("The last one failed.")
    assert "manage.py" in failed[1]


@pytest.mark.parametrize(
    ("free", "data", "backups", "is_refusing"),
    [
        (201, "", "", 0),
        (200, "Make room before it is full", "Make room before it is full", 0),
        (100, "Make room. Until then files", "Make room before it is full", 1),
    ],
)
def test_a_disk_that_fills_asks_for_room_and_then_says_what_is_refused(
    asked: Any,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    data: str,
    backups: str,
    is_refusing: int,
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Disk(1000, 1000 - free, free))
    found = rows(cast)
    for part, todo in (("Disk of the data", data), ("Disk of the backups", backups)):
        words = found[part][1] if todo else ""
        assert words.startswith(todo)
        assert len(found[part]) == (3 if todo else 2)
    assert asked()["disk_refusing"] == is_refusing


@pytest.mark.parametrize(
    ("trusted", "passed", "words", "todo"),
    [
        (0, "", "through 0 proxies, and TRUSTED_PROXIES is 0.", ""),
        (1, "203.0.113.7", "through 1 proxy, and TRUSTED_PROXIES is 1.", ""),
        (
            0,
            "203.0.113.7",
            "through 1 proxy, and TRUSTED_PROXIES is 0.",
            "Set TRUSTED_PROXIES=1 if all of them",
        ),
        (1, "203.0.113.7, 10.0.0.2", "through 2 proxies", "Set TRUSTED_PROXIES=2 if all of them are yours."),
        (1, "", "through 0 proxies, and TRUSTED_PROXIES is 1.", "Set TRUSTED_PROXIES=0, or let the proxies"),
    ],
)
def test_proxies_other_than_the_settings_say_are_told(
    asked: Any, cast: Cast, settings: Any, trusted: int, passed: str, words: str, todo: str
) -> None:
    settings.TRUSTED_PROXIES = trusted
    found = rows(cast, {"X-Forwarded-For": passed} if passed else None)["Network addresses"]
    assert words in found[0]
    assert len(found) == (3 if todo else 2)
    assert found[1].startswith(todo)


@pytest.mark.parametrize("actor", ["therapist", "supervisor", "researcher", ""])
def test_the_page_is_for_operators_and_administrators(cast: Cast, actor: str) -> None:
    client = signed_in(getattr(cast, actor)) if actor else Client()
    assert client.get("/status/").status_code == (403 if actor else 302)


def test_operators_and_administrators_find_the_page(cast: Cast) -> None:
    for user, address in ((cast.superuser, "/"), (cast.clinic_admin, "/clinic/")):
        assert 'href="/status/"' in signed_in(user).get(address).content.decode()


def test_all_figures_are_one_query(asked: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1, connection=connection):
        asked()
