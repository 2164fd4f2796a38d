"""One run of the load: a whole site with a refit beside it, and the bare view through the same server.

1. `limit`: as many at a time as there are connections, now the product's Send, now the bare insert, in short
   slices by turns: what else the machine does meets both alike. `ratio` is of the two rates.
2. `open`: Send at fixed moments.
3. `journey`: patients at work, the whole way.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import psutil

from alliance_site.folders import PROJECT
from alliance_site.management.commands.up import WORKER_NICE, giving_way
from benchmarks.faults.site import APP, Service, Site, free_port, wait_until
from benchmarks.load import patients
from benchmarks.load.client import Pool, get
from benchmarks.load.patients import Schedule, Tally, quantiles
from benchmarks.load.seed import Begun, Load, prepare

WEB_APP, BARE_APP = "alliance_site.wsgi:application", "benchmarks.load.bare:application"
SLICE = 3.0
# More forms than this two cores do not take, so that no slice runs out of them.
MOST_A_SECOND = 200
Figures = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """Seconds of the three parts; sends in a second of the open loop; how many ask at a time in the
    others."""

    limit: float
    open: float
    journey: float
    rate: float
    connections: int
    patients: int

    @property
    def n_begun(self) -> int:
        return round((self.limit / 2 + SLICE) * MOST_A_SECOND + self.rate * self.open * 1.05 + 100)

    @property
    def n_fresh(self) -> int:
        return round(self.journey * 60 + 100)


class LoadSite(Site):
    """The site as `manage.py up` runs it, and the bare view in a server of the same size."""

    def __init__(self, var: Path) -> None:
        super().__init__(var, 1, 1, APP)
        self.log = var / "load.log"
        self.bare_port = free_port()
        web = next(service for service in self.services if service.name == "web")
        words = {WEB_APP: BARE_APP, f"127.0.0.1:{web.port}": f"127.0.0.1:{self.bare_port}"}
        self.services.append(Service("bare", [words.get(word, word) for word in web.argv], self.bare_port))

    def processes(self, name: str) -> list[psutil.Process]:
        """Of a part, with those that it started."""
        own = [self.server("database")] if name == "database" else self._of_service(name)
        return [one for process in own if process for one in (process, *process.children(recursive=True))]

    def _of_service(self, name: str) -> list[psutil.Process | None]:
        return [psutil.Process(service.process.pid) for service in self.named(name) if service.process]


class Spent:
    """CPU seconds of the parts of a site, and of this process, between two moments."""

    PARTS = ("web", "bare", "database", "worker")

    def __init__(self, site: LoadSite, refit: psutil.Process) -> None:
        self.site, self.refit = site, refit
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        found = {name: sum(map(_cpu, self.site.processes(name))) for name in self.PARTS}
        return found | {"client": time.process_time(), "refit": _cpu(self.refit)}

    def since(self) -> dict[str, float]:
        now, before = self._now(), self._before
        self._before = now
        return {name: cpu - before[name] for name, cpu in now.items()}


def _cpu(process: psutil.Process) -> float:
    """With what its ended children used: a connection of the database lives a minute."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


@contextmanager
def refitting(var: Path) -> Iterator[tuple[psutil.Process, Callable[[], int]]]:
    """Inside the block a large model is fitted without end, with as little claim to the machine as
    the worker. Gives the process, and how often it has fitted."""
    count = var / "refits"
    count.write_text("0")
    argv = giving_way([sys.executable, "-m", "benchmarks.load.refit", str(count)])
    process = subprocess.Popen(argv, cwd=PROJECT, start_new_session=True)
    try:
        wait_until("a first fit is done", lambda: count.read_text() not in ("", "0"), 120)
        yield psutil.Process(process.pid), lambda: int(count.read_text() or 0)
    finally:
        process.terminate()
        process.wait()


async def limit(
    site: LoadSite, sizes: Sizes, forms: Iterator[Begun], bodies: Iterator[Begun], spent: Spent
) -> Figures:
    """Slices of both by turns. The bare view may insert the same body again; a form is sent once."""
    pools = {"send": Pool(site.ports[0]), "insert": Pool(site.bare_port)}
    tallies = {name: Tally() for name in pools}
    taken, cpu = dict.fromkeys(pools, 0.0), {name: Counted() for name in pools}
    acts = {"send": (patients.send, forms), "insert": (patients.insert, bodies)}
    for _ in range(max(1, round(sizes.limit / SLICE / 2))):
        for name, (act, given) in acts.items():
            spent.since()

            async def once(name: str = name, act: Any = act, given: Iterator[Begun] = given) -> None:
                await act(pools[name], tallies[name], next(given))

            taken[name] += await patients.until(SLICE, sizes.connections, once)
            cpu[name].add(spent.since())
    rates = {name: sum(map(len, tallies[name].seconds.values())) / taken[name] for name in pools}
    n = {name: max(1, sum(map(len, tallies[name].seconds.values()))) for name in pools}
    for pool in pools.values():
        pool.close()
    costs = {
        name: 1000
        * (cpu[name].of("bare" if name == "insert" else "web") + cpu[name].of("database"))
        / n[name]
        for name in pools
    }
    return {
        "ratio": round(rates["send"] / rates["insert"], 3),
        "ratio_of_cpu": round(costs["insert"] / costs["send"], 3),
        "send_a_second": round(rates["send"], 1),
        "insert_a_second": round(rates["insert"], 1),
        "connections": sizes.connections,
        "send": tallies["send"].figures().get("send"),
        "insert": tallies["insert"].figures().get("insert"),
        "cpu_ms_of_a_send": {
            name: round(1000 * cpu["send"].of(name) / n["send"], 2) for name in ("web", "database", "client")
        },
        "cpu_ms_of_an_insert": {
            name: round(1000 * cpu["insert"].of(name) / n["insert"], 2)
            for name in ("bare", "database", "client")
        },
        "errors": dict(tallies["send"].errors + tallies["insert"].errors),
    }


class Counted:
    """Sums of CPU seconds by part."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}

    def add(self, found: dict[str, float]) -> None:
        for name, seconds in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + seconds

    def of(self, name: str) -> float:
        return self._sums.get(name, 0.0)


async def at_moments(site: LoadSite, sizes: Sizes, forms: Iterator[Begun], spent: Spent) -> Figures:
    pool, tally = Pool(site.ports[0]), Tally()
    moments = Schedule(sizes.rate, sizes.open, random.Random(1)).moments()  # noqa: S311
    spent.since()
    taken, n_late = await patients.send_at(pool, tally, moments, forms)
    cpu = spent.since()
    pool.close()
    sent = tally.seconds.get("send", [])
    return {
        "rate": sizes.rate,
        "seconds": round(taken, 1),
        "planned": len(moments),
        "errors": len(moments) - len(sent),
        "error_kinds": dict(tally.errors),
        "begun_late_by_the_client": n_late,
        **quantiles(sent),
        "processors": {name: round(seconds / taken, 3) for name, seconds in cpu.items()},
    }


async def journeys(site: LoadSite, sizes: Sizes, load: Load, spent: Spent) -> Figures:
    pool, tally, forms = Pool(site.ports[0]), Tally(), iter(load.fresh)
    spent.since()

    async def once() -> None:
        await patients.fill(pool, tally, load.seed, next(forms))

    taken = await patients.until(sizes.journey, sizes.patients, once)
    cpu = spent.since()
    pool.close()
    done = len(tally.seconds.get("receipt", []))
    return {
        "patients": sizes.patients,
        "forms_a_second": round(done / taken, 1),
        "requests_a_second": round(sum(map(len, tally.seconds.values())) / taken, 1),
        "errors": dict(tally.errors),
        "steps": tally.figures(),
        "cpu_ms_of_a_form": {
            name: round(1000 * cpu[name] / max(1, done), 1) for name in ("web", "database", "client")
        },
    }


async def warm(site: LoadSite, forms: Iterator[Begun]) -> None:
    """Every process has answered a few times before anything counts."""
    for _ in range(20):
        await patients.send(Pool(site.ports[0]), Tally(), next(forms))
        await patients.insert(Pool(site.bare_port), Tally(), next(forms))
        await Pool(site.ports[0]).ask(get(Pool(site.ports[0]), "/accounts/login/"))


def conduct(var: Path, sizes: Sizes) -> Figures:
    """Starts a site under `var`, does the three parts and takes it away again."""
    site, began = LoadSite(var), time.monotonic()
    try:
        site.start_servers()
        load = prepare(sizes.n_fresh, sizes.n_begun)
        site.start()
        wait_until("the bare view answers", lambda: _answers(site.bare_port), 60)
        forms = iter(load.begun)
        _say(f"site with {len(load.seed.forms)} open forms", began)
        with refitting(var) as (refit, n_fits):
            before = n_fits()
            asyncio.run(warm(site, forms))
            spent = Spent(site, refit)
            found = {"limit": asyncio.run(limit(site, sizes, forms, cycle(load.begun), spent))}
            _say("limit", began)
            if sizes.open:
                found["open"] = asyncio.run(at_moments(site, sizes, forms, spent))
                _say("open", began)
            if sizes.journey:
                found["journey"] = asyncio.run(journeys(site, sizes, load, spent))
            found["refits"] = {"nice": WORKER_NICE, "n": n_fits() - before}
    finally:
        site.stop()
        site.clear()
    return {
        "name": "sending forms under load",
        "ratio": found["limit"]["ratio"],
        "against": "a bare Django view that inserts one row, through the same server",
        **found,
        "restarts": site.restarts,
        "machine": machine(),
    }


def machine() -> str:
    others = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"load averages at the end {others}"
    )


def _answers(port: int) -> bool:
    async def ask() -> bool:
        pool = Pool(port)
        try:
            return (await pool.ask(patients.post(pool, "/", b"item_1=1"))).status == 303
        finally:
            pool.close()

    try:
        return asyncio.run(ask())
    except (patients.Broken, TimeoutError):
        return False


def _say(what: str, began: float) -> None:
    print(f"{what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
