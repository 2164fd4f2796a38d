"""The archive of PostgreSQL's log in a folder: nothing in it is replaced, a damaged piece is not its end."""

import subprocess
from pathlib import Path

import pytest
from django.conf import settings

SCRIPT = settings.BASE_DIR / "tools" / "wal_archive.sh"
NAME = "000000010000000000000003"


def call(*words: object) -> int:
    return subprocess.run(["sh", SCRIPT, *map(str, words)], check=False, capture_output=True).returncode


@pytest.fixture
def piece(tmp_path: Path) -> Path:
    path = tmp_path / "piece"
    path.write_bytes(b"what was written" * 1000)
    return path


def test_a_piece_comes_back_as_it_was(tmp_path: Path, piece: Path) -> None:
    archive, back = tmp_path / "archive", tmp_path / "back"
    assert call("keep", archive, piece, NAME) == 0
    assert [path.name for path in archive.iterdir()] == [f"{NAME}.gz"]
    assert (archive / f"{NAME}.gz").stat().st_mode & 0o777 == 0o600
    assert call("fetch", archive, NAME, back) == 0
    assert back.read_bytes() == piece.read_bytes()


def test_the_same_piece_may_come_again_and_another_one_is_refused(tmp_path: Path, piece: Path) -> None:
    archive = tmp_path / "archive"
    call("keep", archive, piece, NAME)
    kept = (archive / f"{NAME}.gz").read_bytes()
    assert call("keep", archive, piece, NAME) == 0
    piece.write_bytes(b"of another server")
    assert call("keep", archive, piece, NAME) == 1
    assert (archive / f"{NAME}.gz").read_bytes() == kept


def test_what_a_crash_left_half_written_is_written_anew(tmp_path: Path, piece: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / f"{NAME}.part").write_bytes(b"half")
    assert call("fetch", archive, NAME, tmp_path / "back") == 1
    assert call("keep", archive, piece, NAME) == 0
    assert [path.name for path in archive.iterdir()] == [f"{NAME}.gz"]


def test_a_piece_that_cannot_be_kept_is_said(tmp_path: Path, piece: Path) -> None:
    (tmp_path / "archive").write_text("no folder")
    assert call("keep", tmp_path / "archive", piece, NAME) != 0


def test_the_end_of_the_archive_differs_from_a_damaged_piece(tmp_path: Path, piece: Path) -> None:
    archive, back = tmp_path / "archive", tmp_path / "back"
    call("keep", archive, piece, NAME)
    assert call("fetch", archive, NAME[:-1] + "4", back) == 1
    kept = archive / f"{NAME}.gz"
    kept.write_bytes(kept.read_bytes()[:20])
    # More than 125 makes PostgreSQL give up instead of opening with what it has.
    assert call("fetch", archive, NAME, back) > 125
