"""P6: the disk of the database is full, and has room again."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from benchmarks.faults.kills import DATABASE
from benchmarks.faults.patient import NoAnswer, Opened, Patients, keeps_all
from benchmarks.faults.run import Figures, Run
from benchmarks.faults.site import wait_until

MB = 1 << 20
# Of the small disk, beside what the data take now; a ballast of other files takes it when it is to be full.
SPARE = 160 * MB
BALLAST = "ballast"
# Left for the last forms.
LEFT = MB // 4
BLOCK = 4096
# A site that has run for a while has segments of its log in reserve (min_wal_size, 80 MB).
N_SEGMENTS = 5
NO_ROOM = "No space left on device"
PAGE_LOG = "SELECT pg_logical_emit_message(true, 'faults', 'x')"
ROOT_ONLY = "nobody but root can mount a small disk, and not in every container; run it as root of a machine"


def full(run: Run) -> Figures:
    """P6: forms until nothing more can be stored; what is refused is kept on its page and stored when there
    is room, by the same server. Then the log of the database has no room either, which ends the server: the
    same, once it is started again."""
    if not _may_mount(run.site.var / "probe"):
        return {"skipped": ROOT_ONLY}
    with _small_disk(run) as ballast:
        server = run.site.server(DATABASE)
        data = _filled(run, ballast)
        run.expect(run.site.server(DATABASE) == server, "the full disk ended the database")
        log = _without_log(run, ballast)
    return {"data_full": data, "log_full": log}


def _filled(run: Run, ballast: Path) -> Figures:
    patients = run.patients()
    opened = [patients.begin(form, run.rng) for form in run.forms.take(run.sizes.of(400, 150))]
    for _ in range(N_SEGMENTS):
        run.site.sql(PAGE_LOG)
        run.site.sql("SELECT pg_switch_wal()")
    run.site.autonomous("CHECKPOINT")
    take_all(ballast, LEFT)
    n_before = run.journal.n
    statuses, kept = _sent(run, patients, opened)
    acknowledged = run.journal.n - n_before
    run.expect(kept, "the disk was never full")
    run.expect(
        NO_ROOM in run.site.database.log.read_text(errors="replace"), "the database names no full disk"
    )
    ballast.unlink()
    seconds = _all_in(patients, kept)
    return {
        **run.met(patients),
        "acknowledged_until_full": acknowledged,
        "statuses": dict(statuses),
        "kept": len(kept),
        "seconds_until_all_in": seconds,
    }


def _without_log(run: Run, ballast: Path) -> Figures:
    patients = run.patients()
    opened = [patients.begin(form, run.rng) for form in run.forms.take(run.sizes.of(24, 8))]
    with run.site.down(DATABASE):
        take_all(ballast)
        run.expect(_used_up(run), "the log of the database never met the end of the disk")
        statuses, kept = _sent(run, patients, opened)
        ballast.unlink()
    seconds = _all_in(patients, kept)
    return {
        **run.met(patients),
        "statuses": dict(statuses),
        "kept": len(kept),
        "seconds_until_all_in": seconds,
    }


def _sent(run: Run, patients: Patients, opened: list[Opened]) -> tuple[Counter[int], list[Opened]]:
    """Each form once; those that are not in, whose page must keep them."""
    statuses, kept = Counter[int](), []
    for form in opened:
        try:
            answer = patients.click(form)
        except NoAnswer as error:
            run.expect(False, f"on a full disk a form got no answer: {error}")
            kept.append(form)
            continue
        statuses[answer.status] += 1
        if answer.status == 303:
            run.journal.acknowledge(form.told)
            continue
        kept.append(form)
        run.expect(answer.status == 503, f"on a full disk a form was answered {answer.status}")
        run.expect(answer.retry_after, "the answer on a full disk does not say when to come back")
        run.expect(keeps_all(answer, form), "the page of a full disk lost answers")
    return statuses, kept


def _all_in(patients: Patients, kept: list[Opened]) -> float:
    began = time.monotonic()
    for form in kept:
        patients.send(form)
    return round(time.monotonic() - began, 1)


def _used_up(run: Run) -> bool:
    """Whether the database ended for want of room for its log; it may refuse a statement before that."""
    deadline = time.monotonic() + 60
    while run.site.server(DATABASE) is not None and time.monotonic() < deadline:
        try:
            run.site.autonomous(PAGE_LOG)
            run.site.autonomous("SELECT pg_switch_wal()")
        except psycopg2.OperationalError:
            time.sleep(0.1)
    return run.site.server(DATABASE) is None


def take_all(ballast: Path, left: int = 0) -> None:
    """Takes the room of the disk with another file, but for so many bytes; the database writes meanwhile, so
    what was measured may not be there any more, and smaller pieces are tried down to one block."""
    with ballast.open("wb") as file:
        size, piece = 0, shutil.disk_usage(ballast.parent).free
        while (piece := min(piece, shutil.disk_usage(ballast.parent).free - left)) >= BLOCK:
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece //= 2


@contextmanager
def _small_disk(run: Run) -> Iterator[Path]:
    """Inside the block the data of the database lie on a small disk; what is yielded may fill it."""
    data = run.site.database.data
    aside, owner = data.with_name("data.aside"), data.stat()
    with _moving(run):
        data.rename(aside)
        data.mkdir(mode=0o700)
        size = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
        mode = f"size={size + SPARE},mode=0700,uid={owner.st_uid},gid={owner.st_gid}"
        _call("mount", "-t", "tmpfs", "-o", mode, "tmpfs", data)
        _call("cp", "-a", f"{aside}/.", data)
    ballast = data / BALLAST
    try:
        yield ballast
    finally:
        ballast.unlink(missing_ok=True)
        with _moving(run):
            shutil.rmtree(aside)
            _call("cp", "-a", data, aside)
            _call("umount", data)
            data.rmdir()
            aside.rename(data)


@contextmanager
def _moving(run: Run) -> Iterator[None]:
    """The database is stopped inside the block."""
    with run.site.down(DATABASE):
        run.site.database.stop()
        yield
    wait_until("the database is back", lambda: run.site.database.alive(), 60)


def _may_mount(folder: Path) -> bool:
    if os.geteuid() != 0:
        return False
    folder.mkdir()
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if tried.returncode == 0:
        _call("umount", folder)
    folder.rmdir()
    return tried.returncode == 0


def _call(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)
