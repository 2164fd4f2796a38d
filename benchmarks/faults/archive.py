"""P10: the database and its disk are gone; a base backup and the archive of its log bring it back.

`python -m benchmarks.faults.archive [--timeout 60] [--responses 200000]` prints one JSON object. While
patients fill forms a base backup is made; later the server is killed at a random moment and its data are
deleted. The archive is kept and read by `tools/wal_archive.sh`, as docker-compose.yml does it. Exit status 1
where more is lost than the time of a piece and a minute, or than five minutes, or the trace is not whole.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.environment import use

if TYPE_CHECKING:
    from benchmarks.faults.run import Run
    from benchmarks.faults.site import Site

PROJECT = Path(__file__).resolve().parents[2]
# Of the embedded server.
VERSION = 18
# What the promise allows.
MAY_LOSE, MAY_TAKE = 300.0, 1800.0
# Until a finished piece is in the archive, on a busy machine.
LAG = 60.0
N_FORMS = 8000
# Forms after which the kill may fall: so long, and at a random moment of the piece that is being written.
WARM = 20.0
# What docs/operation.md asks for before the site is opened again.
AFTER = (
    ("check", "--database", "default"),
    ("sessions_end", "--all"),
    ("withdrawals_replay",),
    ("audit_check",),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults.archive")
    parser.add_argument("--timeout", type=int, default=60, help="archive_timeout, seconds")
    parser.add_argument("--responses", type=int, default=0, help="beside these a demo clinic with so many")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    parser.add_argument("--var", type=Path, default=Path("var") / f"archive-{os.getpid()}")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen.var.mkdir(parents=True)
    use(chosen.var, METRICS_TOKEN=secrets.token_urlsafe(32))
    # All that follows reads the environment.
    import django  # noqa: PLC0415

    django.setup()
    figures = _rehearsed(chosen.var.resolve(), chosen)
    print(json.dumps(figures, indent=1))
    return 0 if figures["is_kept"] else 1


def _rehearsed(var: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.faults.ledger import Journal  # noqa: PLC0415
    from benchmarks.faults.run import Run, Sizes, books  # noqa: PLC0415
    from benchmarks.faults.seed import plant  # noqa: PLC0415
    from benchmarks.faults.site import Site  # noqa: PLC0415
    from benchmarks.load.million import seed  # noqa: PLC0415

    site, rng = Site(var, 1, 1), random.Random(chosen.seed)  # noqa: S311
    try:
        site.start_servers()
        if chosen.responses:
            seed(var, chosen.responses)
        run = Run(site, plant(N_FORMS, 0), Journal(var / "journal.jsonl"), Sizes(60, False), rng)
        _archive_from_now_on(site, chosen.timeout)
        site.start()
        patients = run.patients()
        with run.filling(patients):
            time.sleep(WARM)
            base = _base_backup(site)
            # With it comes the list of withdrawals, which lies apart from the database.
            run.expect(_manage("backup") == 0, "no backup could be made")
            time.sleep(WARM + rng.uniform(2 * chosen.timeout, 3 * chosen.timeout))
            with site.down("database"):
                killed = _deleted(run)
                recovery = _recovered(site)
            recovered = time.monotonic()
            time.sleep(WARM)
        commands = {" ".join(words): _manage(*words) for words in AFTER}
        missing, verdict = _missing(run), books(run)
    finally:
        site.stop()
    lost = max((killed - at for at in missing), default=0.0)
    # Less than what came in since the base backup: without its archive no run is green.
    run.expect(lost <= min(MAY_LOSE, chosen.timeout + LAG), f"the last {lost:.0f} seconds are lost")
    run.expect(recovery["seconds"] <= MAY_TAKE, "it took too long")
    run.expect(all(at < recovered for at in missing), "a form that came in after the recovery is lost")
    run.expect(not any(commands.values()), f"a command found something: {commands}")
    run.expect(not (verdict.doubled or verdict.untraced or verdict.torn), f"the books differ: {verdict}")
    if not run.broken:
        site.clear()
    times = run.journal.at.values()
    return {
        "name": "archive",
        "is_kept": not run.broken,
        "broken": run.broken,
        "archive_timeout_s": chosen.timeout,
        "base_backup": base,
        "acknowledged": {
            "before": sum(at < killed for at in times),
            "after": sum(at > recovered for at in times),
            "lost": len(missing),
            "lost_seconds": round(lost, 1),
        },
        "recovery": recovery,
        "commands": commands,
        "books": asdict(verdict),
        # What was lost under a patient who was in the middle of a form.
        "patients_met": dict(patients.tally.unexpected),
        "seed": chosen.seed,
    }


def _places(site: Site) -> tuple[Path, Path, Path]:
    """Script, archive and base backup: where the account of the server gets at them."""
    home = site.database.home
    return home / "wal_archive.sh", home / "archive", home / "base"


def _archive_from_now_on(site: Site, timeout: int) -> None:
    script, archive, _base = _places(site)
    owner = site.database.data.stat()
    shutil.copy(PROJECT / "tools" / script.name, script)
    archive.mkdir(mode=0o700)
    for path in (script, archive):
        os.chown(path, owner.st_uid, owner.st_gid)
    own = f"sh {shlex.quote(str(script))}"
    settings = {
        "archive_mode": "on",
        "archive_timeout": timeout,
        "archive_command": f"{own} keep {shlex.quote(str(archive))} %p %f",
        "restore_command": f"{own} fetch {shlex.quote(str(archive))} %f %p",
        # Nobody reads while older data are still coming back.
        "hot_standby": "off",
    }
    for name, value in settings.items():
        quoted = str(value).replace("'", "''")
        site.autonomous(f"ALTER SYSTEM SET {name} = '{quoted}'")
    site.database.stop()
    site.database.start()


def _base_backup(site: Site) -> dict[str, float]:
    """While forms come in; and whether every file of it is as it was sent."""
    _script, _archive, base = _places(site)
    began = time.monotonic()
    _postgres("pg_basebackup", "-h", site.database.run, "-U", "alliance", "-D", base, "-c", "fast")
    ended = time.monotonic()
    _postgres("pg_verifybackup", "--quiet", base)
    n_bytes = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
    return {"seconds": round(ended - began, 1), "gb": round(n_bytes / 1e9, 2)}


def _deleted(run: Run) -> float:
    """The server is killed, and its data are no more; when, by the steady clock."""
    run.killer().strike("database")
    at = time.monotonic()
    while run.site.server("database") is not None:
        time.sleep(0.05)
    shutil.rmtree(run.site.database.data)
    return at


def _recovered(site: Site) -> dict[str, Any]:
    """Base backup and archive, as docs/operation.md says it."""
    from alliance_site.embedded import EmbeddedError  # noqa: PLC0415
    from benchmarks.faults.site import wait_until  # noqa: PLC0415

    _script, archive, base = _places(site)
    pieces = [path.stat().st_size for path in archive.iterdir()]
    began, data, owner = time.monotonic(), site.database.data, site.database.home.stat()
    subprocess.run(["cp", "-a", base, data], check=True)
    (data / "recovery.signal").touch()
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", data], check=True)
    copied = time.monotonic()
    with contextlib.suppress(EmbeddedError):
        # It takes a server that is still fetching pieces for one that failed.
        site.database.start()
    wait_until("the end of the archive", lambda: _is_back(site), MAY_TAKE)
    site.database.start()
    return {
        "pieces": len(pieces),
        "archive_mb": round(sum(pieces) / 1e6, 1),
        "copy_s": round(copied - began, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def _is_back(site: Site) -> bool:
    """It answers, or has ended."""
    return site.database.alive() or site.database.process() is None


def _missing(run: Run) -> list[float]:
    """When those forms were acknowledged that are not stored."""
    stored = {key for (key,) in run.site.sql("SELECT client_key::text FROM surveys_response")}
    return sorted(at for key, at in run.journal.at.items() if key not in stored)


def _postgres(name: str, *words: object) -> None:
    from alliance_site.backups.programs import find  # noqa: PLC0415

    subprocess.run([find(name, VERSION), *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def _manage(*words: str) -> int:
    """The exit status."""
    argv = [sys.executable, "manage.py", *words]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    print(f"{' '.join(words)}: {done.returncode}\n{(done.stdout + done.stderr)[-500:]}", file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
