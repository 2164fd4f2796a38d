"""Restoring a backup into an empty database, and everything that must be true afterwards."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
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
from alliance_site.database import unfinished
from surveys.services.messages import messages_doubt
from surveys.services.seals import trace_check
from surveys.services.withdrawal_list import list_path, withdrawals_replay

Say = Callable[[Check], None]
# What a person may say that cannot be mended: a key for names in datasets that is lost or kept from this
# machine, a trace that was broken before the backup. Without the field keys the site cannot work.
ACCEPTED = ("pseudonyms", "trace")
# Of clients of the database. The server notices the end of one a moment later.
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
PATIENCE = 3.0
EMPTY = (
    "make an empty database and name it in DATABASE_URL (createdb alliance_restored), or, with the embedded "
    "server, move the folder pg in VAR away"
)


@dataclass(frozen=True)
class Restored:
    """`todo` is what to do before this is called again, where a check failed."""

    manifest: Manifest
    checks: list[Check]
    todo: str = "Mend that, and call manage.py restore again, with the same file."

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


def backup_restore(path: Path, say: Say, accepted: Collection[str] = ()) -> Restored:
    """Restores, compares, brings the tables to this version, replays the withdrawals and calls due mails
    unsure; `say` is told each check as it is made. The database is marked as unfinished from before its first
    row on, and stays so: whoever calls this ends that with the record that all went well. Where it is marked
    by an earlier call with this backup, it goes on after the last step that was done.
    Raises BackupRefused, BadBackup and NoProgram."""
    manifest = manifest_of(path)
    state = _refuse_unusable(manifest)
    checks: list[Check] = []

    def note(*found: Check) -> None:
        for check in found:
            checks.append(check)
            say(check)

    note(*_keys(manifest, accepted))
    if not state.is_marked:
        with closing(programs.connect()) as link, link, link.cursor() as cursor:
            unfinished.begin(cursor, _hash(manifest))
    _refuse_others()
    if state.is_empty:
        pieces = _pieces(path)
        _load(manifest, _head(pieces)[1], pieces)
    if not state.is_compared:
        with closing(programs.connect()) as link, link.cursor() as cursor:
            note(*contents.compare(manifest, cursor))
        if not all(check.ok for check in checks):
            return Restored(manifest, checks, f"To restore again, {EMPTY}.")
        _keep_compared()
    note(*_bring_up_to_date(accepted))
    return Restored(manifest, checks)


def _keys(manifest: Manifest, accepted: Collection[str]) -> list[Check]:
    """Asked before anything is changed. Raises BackupRefused where data could not be read."""
    checks = contents.compare_keys(manifest)
    may_miss = "PSEUDONYM_KEY" if "pseudonyms" in accepted else "none"
    missing = [check.what for check in checks if not check.ok and not check.what.startswith(may_miss)]
    if missing:
        raise BackupRefused(
            "This site does not have the keys of the backup, and nothing was restored. "
            f"{'; '.join(missing)}. Put them into their files, then restore. Where PSEUDONYM_KEY is lost: "
            "--accept pseudonyms."
        )
    return [check if check.ok else Check(True, f"{check.what}; accepted") for check in checks]


def _keep_compared() -> None:
    with closing(programs.connect()) as link:
        with link, link.cursor() as cursor:
            unfinished.compared(cursor)
        link.autocommit = True
        with link.cursor() as cursor:
            # A restored database knows nothing of itself yet, and would plan its first queries badly.
            cursor.execute("ANALYZE")


def _bring_up_to_date(accepted: Collection[str]) -> Iterator[Check]:
    """What the database did not know at the time of the backup; each step may be done again."""
    before = len(MigrationLoader(connection).applied_migrations)
    call_command("migrate", interactive=False, verbosity=0, stdout=StringIO())
    after = len(MigrationLoader(connection).applied_migrations)
    yield Check(True, f"migrations: {after - before} applied that are newer than the backup")
    trace = trace_check()
    if trace.fault and "trace" in accepted:
        yield Check(True, f"trace: {trace.fault} It was so in the backup; accepted")
    elif trace.fault:
        yield Check(False, f"trace: {trace.fault} It was so in the backup; a person may --accept trace")
    else:
        words = f"trace: {trace.n_rows} rows under {trace.n_seals} seals are as they were sealed"
        yield Check(True, words)
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
            f"withdrawals: there is no list at {path}. Put the latest one there and call manage.py restore "
            "again, with the same file: without it, who withdrew after the backup is back",
        )
    n = messages_doubt()
    yield Check(True, f"mails: {n} that were due may have been sent since; a person decides about each")


def _pieces(path: Path) -> Iterator[bytes]:
    key = needed_key()
    try:
        file = path.open("rb")
    except OSError as error:
        raise BackupRefused(
            f"The backup {path} cannot be read: {error.strerror}. Name the file of one."
        ) from error
    with file:
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


@dataclass(frozen=True)
class _State:
    """Of a database that may be restored into: what an earlier call with the same backup left."""

    is_marked: bool
    is_empty: bool
    is_compared: bool


def _hash(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.to_json()).hexdigest()


def _refuse_others() -> None:
    """Whoever comes after the mark was set is shut out; nobody from before may see the data come."""
    deadline = time.monotonic() + PATIENCE
    with closing(programs.connect()) as link:
        link.autocommit = True
        with link.cursor() as cursor:
            while n := contents.number(cursor, OTHERS):
                if time.monotonic() > deadline:
                    raise BackupRefused(
                        f"Others are connected to this database ({n}). Stop web, worker and beat, close "
                        "psql, and call manage.py restore again, with the same file."
                    )
                time.sleep(0.1)


def _refuse_unusable(manifest: Manifest) -> _State:
    """Before anything is changed: a database that is empty or was begun with this backup, a server and a
    version that can hold it."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    unknown = set(manifest.migrations) - {".".join(key) for key in loader.disk_migrations}
    if unknown:
        raise BackupRefused(
            f"The backup was made by version {manifest.version}, which is newer than this one (it has "
            f"{min(unknown)}). Install that version, then restore."
        )
    with closing(programs.connect()) as link, link.cursor() as cursor:
        tables, server = contents.table_names(cursor), contents.server_version(cursor)
        begun = unfinished.begun(cursor)
    if begun and begun[0] != _hash(manifest):
        raise BackupRefused(
            "Into this database another backup was being restored, and that was not finished. Call "
            f"manage.py restore with that file, or {EMPTY}."
        )
    if tables and not begun:
        raise BackupRefused(
            f"The database {connection.settings_dict['NAME']} has {len(tables)} tables. A backup is restored "
            f"into an empty one only. Stop the site; then {EMPTY}."
        )
    if server < manifest.server:
        raise BackupRefused(
            f"The backup is of PostgreSQL {manifest.server}, the server here is {server}. Use one of "
            f"{manifest.server} or newer."
        )
    return _State(begun is not None, not tables, begun is not None and begun[1])


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
