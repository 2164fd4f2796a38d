"""Making a backup: dump, figures and fingerprints of keys, of one instant, in one encrypted file, whole or
not there."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from alliance_site.backups import contents, programs
from alliance_site.backups.stream import CHUNK, seal
from surveys.services.withdrawal_list import withdrawals_list

LENGTH = 8  # bytes that say how long the manifest is


class BackupRefused(Exception):
    """No backup was made; the text says why and what to do next."""


@dataclass(frozen=True)
class Made:
    path: Path
    n_bytes: int
    manifest: contents.Manifest


def needed_key() -> str:
    if not settings.BACKUP_KEY:
        raise BackupRefused(
            "BACKUP_KEY is not set, so no backup can be made or read. Make a key, keep a copy of it apart "
            "from the backups, and name its file in BACKUP_KEY_FILE."
        )
    return settings.BACKUP_KEY


def backup_make(path: Path) -> Made:
    """Writes the backup to `path`, which only its owner can read. Raises BackupRefused and NoProgram; then
    nothing is left at `path`. Memory: a few megabytes, however large the database is."""
    key = needed_key()
    refuse_place(path)
    # What is in the backup is on the list, and what comes later is added to it.
    withdrawals_list()
    with _one_instant() as (cursor, instant), _draft(path) as file:
        manifest = contents.read(cursor)
        head = manifest.to_json()
        start = len(head).to_bytes(LENGTH, "big") + head
        seal(chain([start], _dump(manifest.server, instant)), file, key)
        n_bytes = file.tell()
    return Made(path, n_bytes, manifest)


def refuse_place(path: Path) -> None:
    """Raises BackupRefused where no backup can be put; it is none then that failed."""
    if path.exists():
        raise BackupRefused(f"{path} is there already and is not overwritten. Name another file.")
    if not path.parent.is_dir():
        raise BackupRefused(f"There is no folder {path.parent}. Make it, readable by this user only.")


@contextmanager
def _one_instant() -> Iterator[tuple[Any, str]]:
    """A cursor that sees the database as it is now for as long as it is open, and the name by which pg_dump
    sees the same."""
    connection = programs.connect()
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            yield cursor, cursor.fetchone()[0]
    finally:
        connection.close()


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place once it is whole and on disk, and is deleted otherwise."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Never over another file, which may have come meanwhile.
        os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _dump(version: int, instant: str) -> Iterator[bytes]:
    """What pg_dump writes, piece by piece. Raises BackupRefused where it does not end well."""
    database, secrets = programs.address()
    argv = [
        str(programs.find("pg_dump", version)),
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        # As everything is in scope, nothing is left out; without it an owner under the net gets an error.
        "--enable-row-security",
        f"--snapshot={instant}",
        *(f"--exclude-table-data=public.{name}" for name in contents.LEFT_OUT),
        f"--dbname={database}",
    ]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=os.environ | secrets
        )
        try:
            while process.stdout is not None and (piece := process.stdout.read(CHUNK)):
                yield piece
            if process.wait():
                raise BackupRefused(f"pg_dump failed: {last_words(errors)}")
        finally:
            process.kill()
            process.wait()


def last_words(errors: BinaryIO) -> str:
    """The last line of what a program complained about; only PostgreSQL's own programs, which tell of tables
    and connections."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:400] if lines else "it said nothing"
