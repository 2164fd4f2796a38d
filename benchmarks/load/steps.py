"""Each step of a patient's way in this process: CPU time, the database's own, statements, size of the answer.

CPU seconds, as other work on the machine hardly lengthens them.
"""

from __future__ import annotations

import cProfile
import io
import pstats
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from django.db import connection
from django.test.utils import CaptureQueriesContext

from alliance_site.wsgi import application
from benchmarks.faults.seed import Seed
from benchmarks.load.patients import HIDDEN, encoded
from benchmarks.load.seed import answered

N_FOR_STATEMENTS = 3


@dataclass
class Step:
    cpu: float = 0.0
    database: float = 0.0
    n: int = 0
    statements: list[str] = field(default_factory=list)
    size: int = 0


class Visitor:
    """Calls the site as the server does, without the network."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
        """Status, address of what follows, and body."""
        told: dict[str, Any] = {}

        def begin(status: str, headers: list[tuple[str, str]], *_rest: object) -> None:
            told["status"], told["headers"] = int(status[:3]), headers

        answer = application(self._environ(method, path, body), begin)
        content = b"".join(answer)
        answer.close()  # type: ignore[attr-defined]
        for name, value in told["headers"]:
            if name == "Set-Cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.split(";")[0]
        return told["status"], dict(told["headers"]).get("Location", ""), content

    def _environ(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        return {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            "CONTENT_TYPE": "application/x-www-form-urlencoded" if body else "",
            "CONTENT_LENGTH": str(len(body)) if body else "",
            "wsgi.input": io.BytesIO(body),
            "wsgi.url_scheme": "http",
        }


@dataclass
class Meter:
    steps: dict[str, Step] = field(default_factory=dict)
    profile: cProfile.Profile | None = None
    profiled: str = ""
    is_counting: bool = False

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        step = self.steps.setdefault(name, Step())
        profile = self.profile if name == self.profiled else None
        if self.is_counting:
            with CaptureQueriesContext(connection) as queries:
                yield step
            step.statements = [row["sql"] for row in queries.captured_queries]
            return
        backend = self._backend()
        before, began = sum(backend.cpu_times()[:2]), time.process_time()
        if profile:
            profile.enable()
        yield step
        if profile:
            profile.disable()
        step.cpu += time.process_time() - began
        step.database += sum(backend.cpu_times()[:2]) - before
        step.n += 1

    def _backend(self) -> psutil.Process:
        connection.ensure_connection()
        return psutil.Process(connection.connection.info.backend_pid)


def walk(meter: Meter, seed: Seed, token: str) -> None:
    visitor = Visitor()

    def ask(name: str, method: str, path: str, wanted: int, body: bytes = b"") -> tuple[str, bytes]:
        with meter.step(name) as step:
            status, location, content = visitor.ask(method, path, body)
        if status != wanted:
            raise RuntimeError(f"{name}: {status}\n{content.decode()[:2000]}")
        step.size = len(content)
        return location, content

    path = f"/r/{token}/"
    _, page = ask("link", "GET", path, 200)
    csrf = dict(HIDDEN.findall(page.decode()))["csrfmiddlewaretoken"]
    place, _ = ask("start", "POST", path, 303, encoded({"csrfmiddlewaretoken": csrf, "language": "en"}))
    _, page = ask("form", "GET", place, 200)
    fields = dict(HIDDEN.findall(page.decode())) | answered(seed) | {"sharing": "scores", "send": "send"}
    for item in seed.items:
        one = {"csrfmiddlewaretoken": fields["csrfmiddlewaretoken"], f"item_{item}": fields[f"item_{item}"]}
        ask("answer", "POST", f"{place}answers/", 204, encoded(one))
    after, _ = ask("send", "POST", f"{place}send/", 303, encoded(fields))
    ask("receipt", "GET", after, 200)


def measure(seed: Seed, n: int, profiled: str = "") -> dict[str, Any]:
    """CPU milliseconds of each step, on average over `n` ways; where one is `profiled`, its functions are
    printed as well."""
    # One connection for all of it, so that its process can be asked.
    connection.close()
    connection.settings_dict["CONN_MAX_AGE"] = None
    meter = Meter(profile=cProfile.Profile() if profiled else None, profiled=profiled)
    tokens = iter(form.token for form in seed.forms)
    for _ in range(N_FOR_STATEMENTS):
        walk(Meter(), seed, next(tokens))
    for _ in range(n):
        walk(meter, seed, next(tokens))
    meter.is_counting = True
    walk(meter, seed, next(tokens))
    if meter.profile:
        pstats.Stats(meter.profile, stream=sys.stderr).sort_stats("cumulative").print_stats(130)
    return {
        name: {
            "cpu_ms": round(1000 * step.cpu / step.n, 2),
            "database_ms": round(1000 * step.database / step.n, 2),
            "statements": len(step.statements),
            "bytes": step.size,
            "sql": step.statements,
        }
        for name, step in meter.steps.items()
    }
