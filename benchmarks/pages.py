"""Whether a page takes longer when the clinic has a hundred times the ratings.

    PYTHONPATH=. python benchmarks/pages.py [--ratings 1000000]

Prints one JSON object.  Two databases hold the same demonstration clinic; its people without an account are
copied until one has 10 thousand alliance ratings (forms, each scored on four scales) and the other a million,
all of one study.  The same person opens the same page in both by turns, through the whole of Django with its
queries, without the network.  `ratio`: median time in the large over median time in the small.  The copying
takes some minutes and 3 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from typing import Any

from benchmarks.environment import database

SMALL, LARGE = "bench_small", "bench_large"
N_SMALL = 10_000
ROUNDS = 40

# What is copied, parents first. Keys point to copies where their row is copied.
TABLES: dict[str, dict[str, str]] = {
    "surveys_therapist": {},
    "surveys_patient": {},
    "surveys_therapy": {"therapist_id": "surveys_therapist", "patient_id": "surveys_patient"},
    "surveys_session": {"therapy_id": "surveys_therapy"},
    "surveys_assignment": {"session_id": "surveys_session"},
    "surveys_response": {"assignment_id": "surveys_assignment"},
    "surveys_score": {"response_id": "surveys_response"},
    "analytics_therapysums": {"therapy_id": "surveys_therapy", "therapist_id": "surveys_therapist"},
}
ALLIANCE = "SELECT id FROM surveys_instrument WHERE definition->'scales' @> '[{\"code\": \"total\"}]'"
ONLY = {
    # Nobody is supervised or signed in twice.
    "surveys_therapist": "t.user_id IS NULL OR t.supervisor_id IS NOT NULL",
    "surveys_assignment": f"t.instrument_id IN ({ALLIANCE})",
    "surveys_response": f"t.instrument_id IN ({ALLIANCE})",
}
FRESH = {
    "code": "substr(md5(t.id::text || c.k), 1, 12)",
    "client_key": "gen_random_uuid()",
    "receipt_code": "substr(md5(t.id::text || c.k), 1, 9)",
    "user_id": "NULL",
    "supervisor_id": "NULL",
    "previous_id": "NULL",
    "ratings_shared_with_id": "NULL",
    "practice_shared_with_id": "NULL",
}


def fill(cursor: Any, n_ratings: int) -> int:
    """Copies until there are about so many ratings; how many there are."""
    # Not one by one through the triggers of the application: the rows are those that it made.
    cursor.execute("SET session_replication_role = replica")
    count = f"SELECT count(*) FROM surveys_response WHERE instrument_id IN ({ALLIANCE})"  # noqa: S608
    cursor.execute(count)
    have = cursor.fetchone()[0]
    n_copies = round((n_ratings - have) / have)
    cursor.execute("CREATE TEMP TABLE copies AS SELECT generate_series(1, %s) AS k", [n_copies])
    for table, keys in TABLES.items():
        _copy(cursor, table, keys)
    cursor.execute("DROP TABLE copies")
    cursor.execute("SET session_replication_role = DEFAULT")
    cursor.execute("ANALYZE")
    cursor.execute(count)
    return int(cursor.fetchone()[0])


def _copy(cursor: Any, table: str, keys: dict[str, str]) -> None:
    cursor.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table])
    columns = [row[0] for row in cursor.fetchall()]
    has_uuid = table not in ("surveys_score", "analytics_therapysums")
    joins = " ".join(
        f"JOIN map_{parent} m{i} ON m{i}.old = t.{key} AND m{i}.k = c.k"
        for i, (key, parent) in enumerate(keys.items())
    )
    where = f"WHERE {ONLY[table]}" if table in ONLY else ""
    mapped = {key: f"m{i}.new" for i, key in enumerate(keys)}
    if has_uuid:
        cursor.execute(
            f"CREATE TEMP TABLE map_{table} AS SELECT t.id AS old, c.k, gen_random_uuid() AS new "  # noqa: S608
            f"FROM {table} t CROSS JOIN copies c {joins} {where}"
        )
        cursor.execute(f"CREATE INDEX ON map_{table} (old, k)")
        cursor.execute(f"ANALYZE map_{table}")
        joins = f"JOIN map_{table} own ON own.old = t.id AND own.k = c.k {joins}"
        mapped["id"] = "own.new"
    names = [name for name in columns if has_uuid or name != "id"]
    values = [mapped.get(name) or FRESH.get(name) or f"t.{name}" for name in names]
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} "  # noqa: S608
        f"FROM {table} t CROSS JOIN copies c {joins} {where}"
    )
    print(f"{table}: {cursor.rowcount} rows", file=sys.stderr, flush=True)


def use(name: str) -> None:
    """From here on this database."""
    from django.db import connection  # noqa: PLC0415  after the settings are chosen

    connection.close()
    connection.settings_dict["NAME"] = name
    connection.ensure_connection()


def prepare(n_large: int) -> dict[str, int]:
    """Both databases; the number of ratings in each."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    import analytics.tasks  # noqa: F401, PLC0415  registers the refit
    from surveys import jobs  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    call_command("demo_clinic", size="small", verbosity=0)
    while jobs.run_due(60):
        pass
    jobs.beat("worker")
    main = connection.settings_dict["NAME"]

    use("postgres")
    with connection.cursor() as cursor:
        for name in (SMALL, LARGE):
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {main}")
    n_ratings = {}
    for name, wanted in ((SMALL, N_SMALL), (LARGE, n_large)):
        use(name)
        with connection.cursor() as cursor:
            n_ratings[name] = fill(cursor, wanted)
    return n_ratings


def compare(user: Any, url: str) -> dict[str, Any]:
    """Median times of one page in both databases, by turns, and its number of queries."""
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from tests.sign_in import sign_in_fully  # noqa: PLC0415

    clients, n_queries = {}, {}
    times: dict[str, list[float]] = {SMALL: [], LARGE: []}
    for name in times:
        use(name)
        clients[name] = Client()
        sign_in_fully(clients[name], user)
        with CaptureQueriesContext(connection) as queries:
            clients[name].get(url)
        n_queries[name] = len(queries)
    for _ in range(ROUNDS):
        for name, own in times.items():
            use(name)
            # What a connection learns of the tables is not the page's.
            clients[name].get(url)
            start = time.perf_counter()
            answer = clients[name].get(url)
            own.append(time.perf_counter() - start)
            assert answer.status_code == 200, (url, answer.status_code)
    small, large = (statistics.median(times[name]) for name in (SMALL, LARGE))
    return {
        "ratio": round(large / small, 3),
        "ms_small": round(1000 * small, 1),
        "ms_large": round(1000 * large, 1),
        "queries": [n_queries[SMALL], n_queries[LARGE]],
    }


def measure(n_ratings: dict[str, int]) -> dict[str, Any]:
    from surveys.models import Therapy, User  # noqa: PLC0415

    use(SMALL)
    therapist = User.objects.get(email="therapist@demo.example")
    supervisor = User.objects.get(email="supervisor@demo.example")
    therapy = Therapy.objects.filter(therapist__user=therapist).order_by("pk").first()
    pages = {
        "therapy page": (therapist, f"/therapies/{therapy.pk}/"),
        "trend of the API": (therapist, f"/api/v1/therapies/{therapy.pk}/trend/"),
        "caseload": (therapist, "/caseload/"),
        "board": (supervisor, "/supervision/"),
    }
    found = {page: compare(user, url) for page, (user, url) in pages.items()}
    return {
        "name": "pages with few and with many stored ratings",
        "ratio": max(row["ratio"] for row in found.values()),
        "against": f"the same page with {n_ratings[SMALL]} ratings",
        "ratings": [n_ratings[SMALL], n_ratings[LARGE]],
        "rounds": ROUNDS,
        "pages": found,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratings", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with database(ALLIANCE_DEMO="1"):
        print(json.dumps(measure(prepare(chosen.ratings))))


if __name__ == "__main__":
    main()
