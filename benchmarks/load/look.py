"""Pages of a site with many responses, as their readers open them: milliseconds, CPU time and statements.

Through the whole of Django and the database, without the network. CPU time tells what a page costs where
others use the machine as well: its wall time then says more of them. With `explain`, the plans of what is
slower.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alliance_site import embedded
from analytics.completion import completion_count
from benchmarks.load.patients import quantiles
from benchmarks.load.run import machine
from surveys.demo.build import ACCOUNTS
from surveys.models import Response, Study, Therapy, User
from surveys.progress import silent
from tests.sign_in import sign_in_fully

# Nobody waits longer for a page here than this; what is slower is asked less often.
SLOW = 2.0


def addresses() -> dict[str, tuple[str, str]]:
    """By page: who opens it, and where it is."""
    therapy = Therapy.objects.filter(therapist__user__email=ACCOUNTS["therapist"][0]).order_by("pk").first()
    study = Study.objects.filter(code="DEMO").get()
    assert therapy is not None
    return {
        "therapist's home": ("therapist", "/caseload/"),
        "therapy": ("therapist", f"/therapies/{therapy.pk}/"),
        "trend of the API": ("therapist", f"/api/v1/therapies/{therapy.pk}/trend/"),
        "supervisor's board": ("supervisor", "/supervision/"),
        "reception": ("clinic_admin", "/reception/"),
        "completion": ("clinic_admin", "/clinic/completion/"),
        "trace": ("clinic_admin", "/clinic/trace/"),
        "patients": ("clinic_admin", "/clinic/patients/"),
        "status": ("clinic_admin", "/status/"),
        "studies": ("researcher", "/studies/"),
        "data of a study": ("researcher", f"/studies/{study.pk}/data/"),
        "studies of the API": ("researcher", "/api/v1/studies/"),
    }


def measure(var: Path, rounds: int, only: list[str], explain: float) -> dict[str, Any]:
    # Nothing is collected for it.
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.ALLOWED_HOSTS = [*settings.ALLOWED_HOSTS, "testserver"]
    with embedded.hold(var):
        call_command("migrate", interactive=False, verbosity=0)
        pages = {name: page for name, page in addresses().items() if not only or name in only}
        if "completion" in pages:
            _count_forms()
        found = {name: _page(role, url, rounds, explain) for name, (role, url) in pages.items()}
        n_responses = Response.objects.count()
        connection.close()
    return {
        "name": "pages with many responses",
        "p95_ms": max(row["p95_ms"] for row in found.values()),
        "responses": n_responses,
        "pages": found,
        "machine": machine(),
    }


def _count_forms() -> None:
    """As the worker does for whoever opens the page first."""
    began = time.perf_counter()
    completion_count(f"{Study.objects.get(code='DEMO').pk}:90d", silent)()
    print(f"the job of the completion page: {time.perf_counter() - began:.1f} s", file=sys.stderr)


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU time so far: of this process, and of its connection with the helpers that statements
    had. What the database cleans up at the same time counts as theirs: rare, and then plain to see."""

    web: float
    database: float

    @classmethod
    def now(cls) -> Cpu:
        connection.ensure_connection()
        own = psutil.Process(connection.connection.info.backend_pid)
        # A helper has ended with its statement, and is counted where its parent waited for it.
        server = own.parent()
        assert server is not None, "a connection is a child of the server"
        ended = server.cpu_times()
        return cls(
            time.process_time(),
            sum(own.cpu_times()[:2]) + ended.children_user + ended.children_system,
        )


def _page(role: str, url: str, rounds: int, explain: float) -> dict[str, Any]:
    client = Client(SERVER_NAME="testserver")
    user = User.objects.get(email=ACCOUNTS[role][0])
    sign_in_fully(client, user)
    began = time.perf_counter()
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(url)
    first = time.perf_counter() - began
    asked = list(queries.captured_queries)
    if answer.status_code != 200:
        raise RuntimeError(f"{url}: {answer.status_code}")
    if explain:
        for statement, plan in _plans(asked, explain):
            print(f"\n{url}\n{statement}\n{plan}", file=sys.stderr)
    before = Cpu.now()
    seconds = list(_seconds(client, url, 3 if first > SLOW else rounds))
    spent = Cpu.now()
    slowest = max((float(row["time"]) for row in asked), default=0.0)
    return {
        **quantiles(seconds),
        "first_ms": round(1000 * first),
        "cpu_ms": {
            "web": round(1000 * (spent.web - before.web) / len(seconds)),
            "database": round(1000 * (spent.database - before.database) / len(seconds)),
        },
        "statements": len(asked),
        "slowest_statement_ms": round(1000 * slowest),
        "kb": round(len(answer.content) / 1000),
    }


def _seconds(client: Client, url: str, rounds: int) -> Iterator[float]:
    for _ in range(rounds):
        began = time.perf_counter()
        client.get(url)
        yield time.perf_counter() - began


def _plans(queries: list[dict[str, str]], slower_than: float) -> Iterator[tuple[str, str]]:
    for row in queries:
        if 1000 * float(row["time"]) > slower_than and row["sql"].startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {row['sql']}")
                yield row["sql"], "\n".join(line for (line,) in cursor.fetchall())
