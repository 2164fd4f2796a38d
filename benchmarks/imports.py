"""A million old ratings are brought in: how long, how much memory, and whether a page waits meanwhile.

    python benchmarks/imports.py [--rows 1000000]

Prints one JSON object. A long CSV file of items is generated (ten sessions of each patient, two raters,
twelve items), uploaded, checked, stored and taken out again in a process of its own, as a worker would.
Meanwhile the set-up page of the study is opened once a second through the whole of Django, without the
network. `ratio`: seconds of checking and storing over seconds of a bare COPY of the same rows into a table
without a key.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

SESSIONS, ITEMS = 10, 12
PATIENTS_EACH = 20
HEAD = ",".join(
    ["patient", "therapist", "session", "date", "rater", *(f"wai_{n}" for n in range(1, ITEMS + 1))]
)


def lines(n_rows: int) -> Iterator[str]:
    """The same rows every time; every hundredth has a fault."""
    yield HEAD + "\n"
    for row in range(n_rows):
        rest, rater = divmod(row, 2)
        patient, session = divmod(rest, SESSIONS)
        day = f"{2010 + patient % 10}-{session + 1:02d}-{1 + patient % 28:02d}"
        answers = ",".join(str(1 + (patient * 5 + session * item + rater * 3) % 7) for item in range(ITEMS))
        who = f"P{patient},T{patient // PATIENTS_EACH},{session + 1},{day},{'PT'[rater]}"
        yield f"{who},{'9' + answers[1:] if row % 100 == 99 else answers}\n"


def start(folder: str, url: str) -> None:
    os.environ |= {
        "DATABASE_URL": url,
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": secrets.token_urlsafe(64),
        "FIELD_KEY": "a key of this measurement alone, made of many more than fifty characters",
        "ALLOWED_HOSTS": "testserver",
        "ALLIANCE_DEMO": "1",
        "HTTPS": "1",
        "VAR": folder,
        "DJANGO_SETTINGS_MODULE": "alliance_site.settings",
    }
    import django  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    django.setup()


def work(folder: str, url: str, pipe: Any) -> None:
    """The worker's process: runs the jobs that wait, and says how long and with how much memory."""
    start(folder, url)
    import surveys.tasks  # noqa: F401, PLC0415  registers the jobs
    from surveys import jobs  # noqa: PLC0415

    pipe.send(peak())
    while pipe.recv() == "run":
        begun = time.perf_counter()
        jobs.run_due(is_long=True)
        pipe.send((time.perf_counter() - begun, peak()))


def peak() -> float:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bare_copy(path: Path) -> float:
    from django.db import connection  # noqa: PLC0415

    columns = ", ".join(f"{name} text" for name in HEAD.split(","))
    with connection.cursor() as cursor, path.open() as source:
        cursor.execute(f"CREATE TABLE bare ({columns})")
        begun = time.perf_counter()
        cursor.copy_expert("COPY bare FROM STDIN WITH (FORMAT csv, HEADER)", source)
        taken = time.perf_counter() - begun
        cursor.execute("DROP TABLE bare")
    return taken


def pages(client: Any, url: str, until: Any) -> list[float]:
    """Milliseconds of one page, opened once a second until the other process has answered."""
    times = []
    while True:
        begun = time.perf_counter()
        assert client.get(url).status_code == 200
        times.append(1000 * (time.perf_counter() - begun))
        if until.poll(1):
            return times


def measure(folder: str, url: str, n_rows: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    start(folder, url)
    from django.core.management import call_command  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from surveys.import_pages import first_mapping, session_instruments  # noqa: PLC0415
    from surveys.models import Study, User  # noqa: PLC0415
    from surveys.services import imports  # noqa: PLC0415
    from tests.sign_in import sign_in_fully  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("demo_clinic", size="small", verbosity=0)
    study, admin = Study.objects.get(code="DEMO"), User.objects.get(email="clinic-admin@demo.example")
    client = Client()
    sign_in_fully(client, admin)
    page = f"/clinic/studies/{study.pk}/"
    idle = _idle(client, page)
    path = Path(folder) / "old.csv"
    with path.open("w") as target:
        target.writelines(lines(n_rows))
    copied = bare_copy(path)

    worker = context.Process(target=work, args=(folder, url, other))
    worker.start()
    before = pipe.recv()
    found: dict[str, Any] = {}
    begun = time.perf_counter()
    with path.open("rb") as source:
        batch = imports.import_upload(
            study=study, name="old.csv", pieces=iter(lambda: source.read(1 << 16), b""), actor=admin
        )
    found["upload"] = round(time.perf_counter() - begun, 1)
    mapping = first_mapping(batch, imports.read_head(batch), session_instruments(study))
    imports.mapping_set(batch=batch, mapping=mapping, actor=admin)
    slow = _steps(batch, admin, found, partial(pages, client, page, pipe), pipe, before)
    pipe.send("stop")
    worker.join()
    return {
        "name": "old ratings brought in",
        "ratio": round((found["check"] + found["store"]) / copied, 1),
        "against": f"a bare COPY of the same {n_rows} rows ({copied:.1f} s)",
        "rows": n_rows,
        "file_mb": round(path.stat().st_size / 1e6),
        "seconds": {name: found[name] for name in ("upload", "check", "store", "take out")},
        "memory_mb": found["memory_mb"],
        "counts": {name: found["counts"][name] for name in imports.FIGURES},
        "page_ms": {
            "idle": {"median": round(statistics.median(idle), 1), "worst": round(max(idle), 1)},
            "meanwhile": {"median": round(statistics.median(slow), 1), "worst": round(max(slow), 1)},
        },
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def _steps(
    batch: Any,
    admin: Any,
    found: dict[str, Any],
    open_pages: Callable[[], list[float]],
    pipe: Any,
    before: float,
) -> list[float]:
    """Has the other process check, store and take out the file, and notes in `found` how long and with how
    much memory; milliseconds of the pages that were opened meanwhile."""
    from surveys.services import imports  # noqa: PLC0415

    slow: list[float] = []
    steps = {
        "check": lambda: imports.check_ask(batch=batch, actor=admin),
        "store": lambda: imports.store_ask(batch=batch, consent="Simulated.", actor=admin),
        "take out": lambda: imports.undo_ask(batch=batch, actor=admin),
    }
    for name, ask in steps.items():
        ask()
        pipe.send("run")
        slow += open_pages()
        seconds, memory = pipe.recv()
        found[name] = round(seconds, 1)
        batch.refresh_from_db()
        print(name, seconds, memory, batch.state, batch.counts, file=sys.stderr, flush=True)
        if name == "store":
            found["counts"] = batch.counts
            found["memory_mb"] = {"before": round(before), "peak": round(memory)}
    return slow


def _idle(client: Any, page: str) -> list[float]:
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        client.get(page)
        times.append(1000 * (time.perf_counter() - begun))
    return times[1:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # The server has a user of its own, who must be able to enter.
        os.chmod(folder, 0o755)  # noqa: S103
        from alliance_site.embedded import EmbeddedPostgres  # noqa: PLC0415  reads the environment

        cluster = EmbeddedPostgres(Path(folder) / "postgres", durable=True)
        try:
            print(json.dumps(measure(folder, cluster.start(), chosen.rows)))
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
