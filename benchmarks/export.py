"""A million ratings leave as a bundle: how long, how much memory, and how near to a bare COPY.

    python benchmarks/export.py [--ratings 1000000] [--folder KEPT]

Prints one JSON object.  The demonstration clinic is copied until a study has so many ratings (as in
benchmarks/pages.py; some minutes, 3 GB; `--folder` keeps the database for another run).  A process of its
own, as a worker's is, freezes the data and builds the bundle of tier items; `memory_mb` is its peak beyond
its idle after the start, its programs for .sav and .dta apart.  `ratio`: rows a second from the database to
ratings.csv (freezing the table, pseudonyms, order, CSV) over those of `COPY (the same query) TO STDOUT`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import secrets
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.pages import LARGE, prepare, use


def peak() -> float:
    """Megabytes that this process has needed at most. The kernel's own count for `getrusage` begins with that
    of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def peak_of_programs() -> float:
    """Megabytes of the largest one that this process has started and waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def start(folder: str, url: str) -> None:
    os.environ |= {
        "DATABASE_URL": url,
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "FIELD_KEY": "a key of this measurement alone, made of many more than fifty characters",
        "PSEUDONYM_KEY": "another key of this measurement, made of many more than fifty characters",
        "ALLOWED_HOSTS": "testserver",
        "ALLIANCE_DEMO": "1",
        "HTTPS": "1",
        "VAR": folder,
        "DJANGO_SETTINGS_MODULE": "alliance_site.settings",
    }
    import django  # noqa: PLC0415

    import alliance_site.celery  # noqa: F401, PLC0415  first, as in a worker

    django.setup()


def work(folder: str, url: str, pipe: Any) -> None:
    """The worker's process."""
    start(folder, url)
    import analytics.tasks  # noqa: F401, PLC0415  what a worker has in memory
    from analytics.export import bundle  # noqa: PLC0415

    use(LARGE)
    idle = peak()
    snapshot, seconds = freeze()
    after_freeze = peak()
    steps: dict[str, float] = {}
    export = ask(snapshot)
    with tempfile.TemporaryDirectory() as place:
        began = time.perf_counter()
        path = bundle.build_bundle(export, Path(place), lambda _stage, place, _n: timed(steps, place))
        built = time.perf_counter() - began
        size = path.stat().st_size
    pipe.send(
        {
            "n_ratings": snapshot.counts["n_ratings"],
            "freeze_s": seconds,
            "build_s": built,
            "steps": steps,
            "idle_mb": idle,
            "freeze_mb": after_freeze - idle,
            "memory_mb": peak() - idle,
            "labelled_mb": peak_of_programs(),
            "zip_mb": size / 1e6,
        }
    )


def timed(steps: dict[str, float], place: int) -> None:
    """A long step says more than once that it is alive."""
    steps.setdefault(str(place), time.perf_counter())


def freeze() -> tuple[Any, float]:
    from django.db import transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from analytics.models import Snapshot  # noqa: PLC0415
    from analytics.selection import Selection  # noqa: PLC0415
    from analytics.services.freeze import snapshot_freeze  # noqa: PLC0415
    from surveys.models import Study  # noqa: PLC0415
    from surveys.progress import silent  # noqa: PLC0415

    study = Study.objects.get(code="DEMO")
    snapshot = Snapshot.objects.create(
        study=study,
        number=study.snapshots.count() + 1,
        selection=Selection().to_dict(),
        asked_at=timezone.now(),
    )
    began = time.perf_counter()
    write = snapshot_freeze(str(snapshot.pk), silent)
    with transaction.atomic():
        write()
    seconds = time.perf_counter() - began
    snapshot.refresh_from_db()
    return snapshot, seconds


def ask(snapshot: Any) -> Any:
    from django.utils import timezone  # noqa: PLC0415

    from analytics.models import Export  # noqa: PLC0415

    return Export.objects.create(
        snapshot=snapshot, tier="items", agreement="measured", purpose="measured", asked_at=timezone.now()
    )


def to_csv(folder: str) -> tuple[float, float]:
    """Seconds from the database to ratings.csv, and of the bare COPY of the same query."""
    from django.conf import settings  # noqa: PLC0415
    from django.db import connection, transaction  # noqa: PLC0415

    from analytics.export.tables import write_table  # noqa: PLC0415
    from analytics.export.tiers import ITEMS, rules, table_of, tables_of  # noqa: PLC0415
    from analytics.frozen import tables  # noqa: PLC0415
    from analytics.models import Snapshot  # noqa: PLC0415
    from analytics.selection import Pseudonyms  # noqa: PLC0415
    from analytics.services import freeze, frozen_sql  # noqa: PLC0415
    from surveys.selectors import study_instruments  # noqa: PLC0415

    snapshot = Snapshot.objects.order_by("-number").first()
    assert snapshot is not None
    forms = [(row.pk, row.form) for row in study_instruments(snapshot.study)]
    schema = tables([form for _, form in forms])
    ratings = schema[0]
    outcome = [pk for pk, form in forms if freeze.is_outcome(form)]
    root = Path(folder)
    import pandas as pd  # noqa: PLC0415

    with transaction.atomic(), connection.cursor() as cursor:
        at, _patients = freeze._choose(cursor, snapshot)
        values = {"study": snapshot.study_id, "outcome": outcome, "at": at}
        for name in ("therapies", "therapists"):
            table = next(row for row in schema if row.name == name)
            freeze._copy(cursor, frozen_sql.query(table, settings.TIME_ZONE), values, root, table)
            freeze._to_parquet(root, table)
        text = cursor.mogrify(frozen_sql.query(ratings, settings.TIME_ZONE), values).decode()
        bare = []
        for _ in range(2):
            began = time.perf_counter()
            with Path(os.devnull).open("wb") as nowhere:
                cursor.copy_expert(f"COPY ({text}) TO STDOUT WITH (FORMAT csv)", nowhere)
            bare.append(time.perf_counter() - began)
        frames = [pd.read_parquet(root / f"{name}.parquet") for name in ("therapies", "therapists")]
        names = Pseudonyms.of(settings.PSEUDONYM_KEY, "measured")
        held = rules(ITEMS, names, frames[0], frames[1])
        began = time.perf_counter()
        freeze._copy(cursor, frozen_sql.query(ratings, settings.TIME_ZONE), values, root, ratings)
        freeze._to_parquet(root, ratings)
        out = root / "out"
        out.mkdir()
        write_table(table_of(ratings, held), tables_of(ratings, root / "ratings.parquet", held), out)
        ours = time.perf_counter() - began
    return ours, min(bare)


def measure(folder: str, url: str) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    worker = context.Process(target=work, args=(folder, url, there))
    worker.start()
    there.close()
    found = here.recv()
    worker.join()
    steps = list(found.pop("steps").values())
    use(LARGE)
    with tempfile.TemporaryDirectory() as place:
        ours, bare = to_csv(place)
    return {
        "name": "export of a study as a bundle",
        "ratio": round(bare / ours, 3),
        "against": "COPY (the same query) TO STDOUT",
        "csv_s": round(ours, 1),
        "copy_s": round(bare, 1),
        **{name: round(value, 1) for name, value in found.items()},
        "step_s": [round(b - a, 1) for a, b in pairwise(steps)],
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def run(folder: Path, n_ratings: int) -> None:
    from alliance_site.embedded import EmbeddedPostgres  # noqa: PLC0415  reads the environment

    is_new = not (folder / "postgres").exists()
    cluster = EmbeddedPostgres(folder / "postgres", durable=False)
    url = cluster.start()
    try:
        start(str(folder), url)
        from django.core.management import call_command  # noqa: PLC0415

        if is_new:
            prepare(n_ratings)
        use(LARGE)
        call_command("migrate", verbosity=0)
        print(json.dumps(measure(str(folder), url)))
    finally:
        cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="keeps the database there, or uses the one that is there")
    chosen = parser.parse_args()
    if chosen.folder:
        run(chosen.folder, chosen.ratings)
        return
    with tempfile.TemporaryDirectory() as folder:
        # The server has a user of its own, who must be able to enter.
        os.chmod(folder, 0o755)  # noqa: S103
        run(Path(folder), chosen.ratings)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
