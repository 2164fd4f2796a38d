"""Restoring a backup into an empty database, and everything that must be true afterwards."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from alliance_site.backups import contents, programs
from alliance_site.backups.contents import Check, Manifest
from alliance_site.backups.make import LENGTH, BackupRefused, last_words, needed_key
from alliance_site.backups.stream import BadBackup, opened
from surveys.services.messages import messages_doubt
from surveys.services.seals import trace_check
from surveys.services.withdrawal_list import list_path, withdrawals_replay

Say = Callable[[Check], None]


@dataclass(frozen=True)
class Restored:
    manifest: Manifest
    checks: list[Check]

    @property
    def problem(self) -> str:
        """What does not agree; empty where all does."""
        return "; ".join(check.what for check in self.checks if not check.ok)


def manifest_of(path: Path) -> Manifest:
    """Reads a backup to its end, so that nothing of a damaged one is ever used. Raises BadBackup."""
    pieces = _pieces(path)
    manifest = _head(pieces)[0]
    for _piece in pieces:
        pass
    return manifest


def backup_restore(path: Path, say: Say) -> Restored:
    """Restores, compares, brings the tables to this version, replays the withdrawals and calls due mails
    unsure; `say` is told each check as it is made. Raises BackupRefused, BadBackup and NoProgram: the
    database is then as empty as before."""
    manifest = manifest_of(path)
    _refuse_unusable(manifest)
    checks: list[Check] = []

    def note(*found: Check) -> None:
        for check in found:
            checks.append(check)
            say(check)

    pieces = _pieces(path)
    _load(manifest, _head(pieces)[1], pieces)
    with closing(programs.connect()) as link, link.cursor() as cursor:
        note(*contents.compare(manifest, cursor))
    note(*contents.compare_keys(manifest))
    with closing(programs.connect()) as link:
        link.autocommit = True
        with link.cursor() as cursor:
            # A restored database knows nothing of itself yet, and would plan its first queries badly.
            cursor.execute("ANALYZE")
    if all(check.ok for check in checks):
        note(*_bring_up_to_date())
    return Restored(manifest, checks)


def _bring_up_to_date() -> Iterator[Check]:
    """What the database did not know at the time of the backup."""
    before = len(MigrationLoader(connection).applied_migrations)
    call_command("migrate", interactive=False, verbosity=0, stdout=StringIO())
    after = len(MigrationLoader(connection).applied_migrations)
    yield Check(True, f"migrations: {after - before} applied that are newer than the backup")
    trace = trace_check()
    yield Check(
        not trace.fault,
        trace.fault or f"trace: {trace.n_rows} rows under {trace.n_seals} seals are as they were sealed",
    )
    path = list_path()
    replay = withdrawals_replay()
    if path.exists():
        yield Check(
            replay.n_unreadable == 0,
            f"withdrawals: {replay.n_there} were in the backup, {replay.n_entered} entered again, "
            f"{replay.n_unknown} of people who came after it"
            + (f", {replay.n_unreadable} lines of {path} cannot be read" if replay.n_unreadable else ""),
        )
    else:
        yield Check(
            False,
            f"withdrawals: there is no list at {path}. Put the latest one there and call "
            "manage.py withdrawals_replay: without it, who withdrew after the backup is back",
        )
    n = messages_doubt()
    yield Check(True, f"mails: {n} that were due may have been sent since; a person decides about each")


def _pieces(path: Path) -> Iterator[bytes]:
    key = needed_key()
    with path.open("rb") as file:
        yield from opened(file, key)


def _head(pieces: Iterator[bytes]) -> tuple[Manifest, bytes]:
    """The manifest, and what of the dump came with its last piece."""
    text = bytearray()
    for piece in pieces:
        text += piece
        length = int.from_bytes(text[:LENGTH], "big") + LENGTH
        if len(text) >= max(length, LENGTH):
            return Manifest.from_json(bytes(text[LENGTH:length])), bytes(text[length:])
    raise BadBackup("The backup holds no figures. Use another one.")


def _refuse_unusable(manifest: Manifest) -> None:
    """Before anything is changed: an empty database, a server and a version that can hold the backup."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    unknown = set(manifest.migrations) - {".".join(key) for key in loader.disk_migrations}
    if unknown:
        raise BackupRefused(
            f"The backup was made by version {manifest.version}, which is newer than this one (it has "
            f"{min(unknown)}). Install that version, then restore."
        )
    with closing(programs.connect()) as link, link.cursor() as cursor:
        tables, server = contents.table_names(cursor), contents.server_version(cursor)
    if tables:
        raise BackupRefused(
            f"The database {connection.settings_dict['NAME']} has {len(tables)} tables. A backup is restored "
            "into an empty one only. Stop the site; then make an empty database and name it in DATABASE_URL "
            "(createdb alliance_restored), or, with the embedded server, move the folder pg in VAR away."
        )
    if server < manifest.server:
        raise BackupRefused(
            f"The backup is of PostgreSQL {manifest.server}, the server here is {server}. Use one of "
            f"{manifest.server} or newer."
        )


def _load(manifest: Manifest, first: bytes, pieces: Iterator[bytes]) -> None:
    """All of the dump in one transaction, or nothing of it."""
    database, secrets = programs.address()
    argv = [
        str(programs.find("pg_restore", manifest.server)),
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        f"--dbname={database}",
    ]
    with tempfile.TemporaryFile() as errors:
        process: subprocess.Popen[Any] = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors, env=os.environ | secrets
        )
        try:
            _feed(process, first, pieces)
            if process.wait():
                raise BackupRefused(f"pg_restore failed, and nothing was restored: {last_words(errors)}")
        finally:
            # Killed in the middle, its transaction is undone.
            process.kill()
            process.wait()


def _feed(process: "subprocess.Popen[Any]", first: bytes, pieces: Iterator[bytes]) -> None:
    if process.stdin is None:
        raise BackupRefused("pg_restore takes nothing in.")
    try:
        process.stdin.write(first)
        for piece in pieces:
            process.stdin.write(piece)
        process.stdin.close()
    except BrokenPipeError:
        # It ended early; its exit status and its last words say why.
        process.wait()
