"""P9, and P13 across versions: a release under load becomes the code of today.

`python -m benchmarks.faults.upgrade [--release 0.6.0] [--responses 200000]` prints one JSON object. Patients
fill forms at two web processes with the release's code; the database is migrated meanwhile; two with today's
code come, the old ones go. Exit status 1 where a form was lost or doubled, a row that was there is another
one, or no form came in for more than five seconds; 2 where this clone does not have the release.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.environment import use
from benchmarks.faults.releases import LAST, RELEASES, schema_of

if TYPE_CHECKING:
    from benchmarks.faults.run import Run
    from benchmarks.faults.site import Service, Site

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_PAUSE = 5.0
N_FORMS = 4000
MISSING = (
    "The code of {release} (commit {commit}) is not in this clone, which may be a shallow one.\n"
    "Get it with: git fetch --unshallow, or git fetch origin {commit}"
)

# What is written by itself: counters, sign-ins, signs of life, the job list. All other rows stay as they are.
LEFT_OUT = ("cache", "django_session", "surveys_heartbeat", "surveys_job")
TABLES = """
SELECT c.table_name, array_agg(c.column_name::text ORDER BY c.column_name),
       (SELECT a.attname FROM pg_index i JOIN pg_attribute a
        ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = quote_ident(c.table_name)::regclass AND i.indisprimary)
FROM information_schema.columns c JOIN pg_tables t ON t.tablename = c.table_name AND t.schemaname = 'public'
WHERE c.table_schema = 'public' AND c.table_name NOT LIKE 'faults_%%' AND c.table_name <> ALL(%s)
GROUP BY c.table_name
"""
# Forms that are still open change when they are filled.
SETTLED = {"surveys_assignment": "WHERE state = 'submitted'"}
# Columns that 0.7.0 encrypts: their words are compared.
ENCRYPTED = {"analytics_dipreview": ["reason"], "surveys_importbatch": ["consent", "file_name"]}


@dataclass(frozen=True)
class Table:
    """A table as it was before: its columns, its key, what its rows add up to in any order, and the words
    of those columns that are encrypted since."""

    name: str
    columns: tuple[str, ...]
    key: str
    found: tuple[int, str, list[str]] = (0, "", [])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults.upgrade")
    parser.add_argument("--release", choices=sorted(RELEASES), default=LAST, help="from which")
    parser.add_argument("--responses", type=int, default=0, help="beside these a demo clinic with so many")
    parser.add_argument("--calm", type=float, default=5, help="seconds of forms before and after each step")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    parser.add_argument("--var", type=Path, default=Path("var") / f"upgrade-{os.getpid()}")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    packed = _packed(RELEASES[chosen.release].commit)
    if packed is None:
        commit = RELEASES[chosen.release].commit
        print(MISSING.format(release=chosen.release, commit=commit), file=sys.stderr)
        return 2
    chosen.var.mkdir(parents=True)
    use(chosen.var, METRICS_TOKEN=secrets.token_urlsafe(32))
    (chosen.var / "old").mkdir()
    subprocess.run(["tar", "-x", "-C", chosen.var / "old"], input=packed, check=True)
    # All that follows reads the environment.
    import django  # noqa: PLC0415

    django.setup()
    figures = _upgraded(chosen.var.resolve(), chosen)
    print(json.dumps(figures, indent=1))
    return 0 if figures["is_kept"] else 1


def _packed(commit: str) -> bytes | None:
    """The code of the commit as a tar file; None where the clone does not have it."""
    done = subprocess.run(["git", "archive", commit], cwd=PROJECT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def _upgraded(var: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.faults.ledger import Journal  # noqa: PLC0415
    from benchmarks.faults.run import Run, Sizes, books  # noqa: PLC0415
    from benchmarks.faults.seed import plant  # noqa: PLC0415
    from benchmarks.faults.site import Site  # noqa: PLC0415
    from benchmarks.load.million import seed  # noqa: PLC0415

    # Of a release that must end first, no process may be left.
    site, began = Site(var, 0, 0), time.monotonic()
    site.services.clear()
    try:
        site.start_servers()
        stored = seed(var, chosen.responses) if chosen.responses else {}
        planted = plant(N_FORMS, 0)
        for app, name in schema_of(chosen.release).items():
            _manage(PROJECT, {}, "migrate", app, name)
        old = {"STATIC_ROOT": str(var / "static-old")}
        for words in (("build_vega",), ("collectstatic", "--no-input")):
            _manage(var / "old", old, *words)
        site.start()
        run = Run(site, planted, Journal(var / "journal.jsonl"), Sizes(60, False), random.Random(chosen.seed))  # noqa: S311
        webs = [site.add_web(var / "old", old) for _ in range(2)]
        with run.filling(run.patients()):
            time.sleep(chosen.calm)
        before = list(_looked_at(site))
        steps = _roll(run, webs, RELEASES[chosen.release].stop, chosen.calm)
        changed = [table.name for table in before if _again(site, table) != table.found]
        verdict = books(run)
    finally:
        site.stop()
    run.expect(verdict.is_clean, f"the books differ: {', '.join(verdict.examples)}")
    run.expect(not changed, f"rows are not as they were: {changed}")
    run.expect(not site.problems, f"servers did not start at once: {site.problems}")
    if not run.broken:
        site.clear()
    return {
        "name": "upgrade",
        "release": chosen.release,
        "is_kept": not run.broken,
        "broken": run.broken,
        "books": asdict(verdict),
        "before": {
            "tables": len(before),
            "rows": sum(table.found[0] for table in before),
            "changed": changed,
            "gb": stored.get("gb"),
        },
        **steps,
        "seed": chosen.seed,
        "seconds": round(time.monotonic() - began),
    }


def _roll(run: Run, old: list[Service], stop: str, calm: float) -> dict[str, Any]:
    """Under load: migrate, new processes beside the old ones, the old ones away; or these first, where old
    code cannot live with the new tables."""
    site, patients, began = run.site, run.patients(), time.monotonic()
    with run.filling(patients):
        time.sleep(calm)
        for service in old if stop else []:
            site.take_away(service)
        migrating = time.monotonic()
        _manage(PROJECT, {}, "migrate")
        migrated = time.monotonic()
        for _ in range(2):
            site.add_web()
        time.sleep(calm)
        for service in [] if stop else old:
            site.take_away(service)
        time.sleep(calm)
        ended = time.monotonic()
    came = [began, *sorted(at for at in run.journal.at.values() if began < at < ended), ended]
    pauses = [(later - earlier, earlier) for earlier, later in itertools.pairwise(came)]
    pause, at = max(pauses)
    during = [length for length, start in pauses if migrating - length < start < migrated]
    run.expect(stop or pause <= LONGEST_PAUSE, f"no form came in for {pause:.1f} s")
    return {
        "old_must_end_first": stop,
        "migrate_s": round(migrated - migrating, 1),
        "longest_pause_s": round(pause, 1),
        "longest_pause_at_s": round(at - migrating, 1),
        "longest_pause_while_migrating_s": round(max(during, default=0.0), 1),
        "patients": run.met(patients),
    }


def _looked_at(site: Site) -> Iterator[Table]:
    """Every table with a key, and which rows it has now."""
    for name, columns, key in site.sql(TABLES, list(LEFT_OUT)):
        if key is None:
            continue
        site.sql(f'CREATE TABLE "faults_{name}" AS SELECT "{key}" FROM "{name}" {SETTLED.get(name, "")}')
        table = Table(name, tuple(columns), key)
        yield Table(name, tuple(columns), key, _again(site, table))


def _again(site: Site, table: Table) -> tuple[int, str, list[str]]:
    """The rows that were there, by their old columns."""
    words = ENCRYPTED.get(table.name, [])
    row = ", ".join(f'"{column}"' for column in table.columns if column not in words)
    there = f'"{table.name}" WHERE "{table.key}" IN (SELECT "{table.key}" FROM "faults_{table.name}")'
    ((n, total),) = site.sql(
        f"SELECT count(*), coalesce(sum(hashtextextended(row({row})::text, 0)), 0)::text FROM {there}"
    )
    said = [site.sql(f'SELECT "{column}" FROM {there} ORDER BY "{table.key}"') for column in words]
    return n, total, [_plain(text) for rows in said for (text,) in rows]


def _plain(text: str) -> str:
    from surveys.fields import decrypt_bytes, is_encrypted  # noqa: PLC0415

    content = text.encode()
    return (decrypt_bytes(content) if is_encrypted(content) else content).decode()


def _manage(folder: Path, env: dict[str, str], *words: str) -> None:
    argv = [sys.executable, "manage.py", *words]
    done = subprocess.run(argv, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stdout + done.stderr)[-2000:]}")


if __name__ == "__main__":
    sys.exit(main())
