"""The fault harness: its books find what they are for, and a minute of kills loses and doubles nothing."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from alliance_site.embedded import clear
from benchmarks.faults.disk import BLOCK, take_all
from benchmarks.faults.ledger import Acknowledged, Journal, Stored, Verdict, compare, p95

ROOT = Path(__file__).resolve().parent.parent
TOLD = Acknowledged("key", "form", {"1": 3, "2": 5}, "scores")
ROW = Stored("key", "form", {"1": 3, "2": 5}, "scores", "ABCD-2345", "submitted", 4, 1, 0)


def found(verdict: Verdict) -> dict[str, int]:
    names = ("lost", "doubled", "altered", "untraced", "torn", "untold")
    return {name: n for name in names if (n := getattr(verdict, name))}


def test_books_that_agree_are_clean() -> None:
    verdict = compare([TOLD, TOLD.with_receipt("ABCD-2345")], [ROW], 4)
    assert verdict.is_clean
    assert (verdict.acknowledged, verdict.stored, found(verdict)) == (1, 1, {})


@pytest.mark.parametrize(
    ("told", "rows", "expected"),
    [
        ([TOLD], [], {"lost": 1}),
        ([TOLD], [ROW, replace(ROW, key="other")], {"doubled": 1, "untold": 1}),
        ([TOLD], [ROW, ROW], {"doubled": 2}),
        ([replace(TOLD, answers={"1": 3, "2": 4})], [ROW], {"altered": 1}),
        ([replace(TOLD, sharing="none")], [ROW], {"altered": 1}),
        ([TOLD.with_receipt("WXYZ-9876")], [ROW], {"altered": 1}),
        ([TOLD], [replace(ROW, n_audited=0)], {"untraced": 1}),
        ([TOLD], [replace(ROW, n_audited=2)], {"untraced": 1}),
        ([TOLD], [replace(ROW, n_scores=3)], {"torn": 1}),
        ([TOLD], [replace(ROW, form_state="opened")], {"torn": 1}),
        ([TOLD], [replace(ROW, n_drafts=1)], {"torn": 1}),
        ([], [ROW], {"untold": 1}),
    ],
)
def test_books_that_differ_say_how(
    told: list[Acknowledged], rows: list[Stored], expected: dict[str, int]
) -> None:
    verdict = compare(told, rows, 4)
    assert found(verdict) == expected
    assert not verdict.is_clean
    assert verdict.examples


def test_the_journal_gives_back_what_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.acknowledge(TOLD)
    journal.acknowledge(TOLD.with_receipt("ABCD-2345"))
    assert journal.n == 1, "one form, whose receipt was read as well"
    assert Journal(tmp_path / "journal.jsonl").read() == [TOLD, TOLD.with_receipt("ABCD-2345")]


@pytest.mark.parametrize(
    ("values", "expected"), [([], 0.0), ([2.0], 2.0), (range(1, 101), 95), (range(1, 21), 19)]
)
def test_one_in_twenty_takes_longer_than_p95(values: list[float], expected: float) -> None:
    assert p95(values) == expected


def test_a_disk_is_filled_though_its_room_shrinks_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, taken = [100 * BLOCK], []

    def allocate(_file: int, _offset: int, length: int) -> None:
        # Others write between the look and the taking.
        room[0] -= 3 * BLOCK if not taken else 0
        if length > room[0]:
            raise OSError(errno.ENOSPC, "full")
        room[0] -= length
        taken.append(length)

    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=room[0]))
    monkeypatch.setattr("os.posix_fallocate", allocate)
    take_all(tmp_path / "ballast")
    assert room[0] < BLOCK
    room[0] = 100 * BLOCK
    take_all(tmp_path / "ballast", left=10 * BLOCK)
    assert 10 * BLOCK <= room[0] < 11 * BLOCK


def test_a_disk_that_is_broken_is_not_taken_for_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("os.posix_fallocate", broken)
    with pytest.raises(OSError, match="broken"):
        take_all(tmp_path / "ballast")


@pytest.mark.slow
def test_a_minute_of_kills_loses_and_doubles_nothing(tmp_path: Path) -> None:
    var = ROOT / "var" / "faults-test"
    clear(var)
    own = ("DATABASE_URL", "CELERY_BROKER_URL", "SECRET_KEY", "FIELD_KEY", "PSEUDONYM_KEY", "ALLOWED_HOSTS")
    env = {key: value for key, value in os.environ.items() if key not in own}
    command = [sys.executable, "-m", "benchmarks.faults", "--seconds", "60", "--var", str(var)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1500)
    assert done.stdout, done.stderr[-4000:]
    figures = json.loads(done.stdout)
    assert (figures["lost"], figures["doubled"], figures["broken"]) == (0, 0, [])
    assert done.returncode == 0
    promises, books = figures["promises"], figures["books"]
    assert books["acknowledged"] == books["stored"] == books["audit_rows"] >= 190
    assert promises["P1"]["kills"] >= 8 and promises["P1"]["sent"] >= 10
    assert sum(promises["P2"]["killed"].values()) >= 2
    assert promises["P2"]["refits"] == promises["P2"]["rows"] == 40
    at_once = promises["P8"]["statuses"]
    assert at_once["same"] == {"303": 200} and at_once["others"] == {"303": 2, "409": 38}
    assert {end["state"] for end in promises["P12"]["ends"].values()} == {"failed"}
    assert promises["P13"]["renewals"] == 2 and promises["P13"]["sent"] >= 5
