"""One run: the site up, every promise in turn, the books compared at the end."""

from __future__ import annotations

import os
import platform
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.faults.kills import Killer
from benchmarks.faults.ledger import Journal, Stored, Verdict, compare
from benchmarks.faults.patient import Balance, NoAnswer, Patients, Tally, Unexpected
from benchmarks.faults.seed import Forms, Seed, plant
from benchmarks.faults.site import Site, SiteBroken, wait_until

N_PATIENTS = 8
FORMS_A_SECOND = 25
READING = 0.5  # seconds between two forms, on average
Figures = dict[str, Any]

STORED = """
SELECT r.client_key::text, r.assignment_id::text, r.answers, r.sharing, r.receipt_code, a.state,
       (SELECT count(*) FROM surveys_score s WHERE s.response_id = r.id),
       (SELECT count(*) FROM surveys_auditevent e
        WHERE e.subject = 'response:' || r.id AND e.act = 'response.submit'),
       (SELECT count(*) FROM surveys_draftanswer d WHERE d.assignment_id = r.assignment_id)
FROM surveys_response r JOIN surveys_assignment a ON a.id = r.assignment_id
JOIN surveys_study ON surveys_study.id = a.study_id AND surveys_study.code ~ '^FAULT-'
"""
OPEN_REFITS = "SELECT count(*) FROM surveys_job WHERE kind = 'refit' AND state IN ('pending', 'running')"
# Of studies with answers: those whose newest model does not hold all of them, and has not failed visibly.
BEHIND = """
SELECT a.study_id::text FROM surveys_response r JOIN surveys_assignment a ON a.id = r.assignment_id
GROUP BY a.study_id
HAVING count(*) IS DISTINCT FROM (
    SELECT n_ratings FROM analytics_growthfit f
    WHERE f.study_id = a.study_id AND (f.perspective, f.scale, f.coding) = ('patient', 'total', 'linear')
    ORDER BY f.fitted_at DESC LIMIT 1)
AND 'failed' IS DISTINCT FROM (
    SELECT state FROM surveys_job j WHERE j.kind = 'refit' AND j.scope = a.study_id::text
    ORDER BY j.id DESC LIMIT 1)
"""
AUDITED = "SELECT count(*) FROM surveys_auditevent WHERE act = 'response.submit'"
FITTED_TWICE = """
SELECT count(*) FROM (
    SELECT 1 FROM analytics_growthfit
    GROUP BY study_id, perspective, instrument, scale, coding, data_fingerprint HAVING count(*) > 1) twice
"""


@dataclass(frozen=True)
class Sizes:
    """How much of everything a run of so many seconds does; a short one shortens leases and limits.

    P1 goes on until `n_forms` are acknowledged and everything was killed `n_kills` times.
    """

    seconds: float
    is_full: bool
    n_forms: int = 1
    n_kills: int = 1

    @property
    def pace(self) -> float:
        return 1 if self.is_full else 5

    def of(self, full: int, short: int) -> int:
        return full if self.is_full else short


@dataclass
class Run:
    """What the promises share."""

    site: Site
    seed: Seed
    journal: Journal
    sizes: Sizes
    rng: random.Random
    forms: Forms = field(init=False)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forms = Forms(self.seed.forms)

    def patients(self, ports: list[int] | None = None) -> Patients:
        return Patients(self.seed, Balance(ports or self.site.front), self.journal, Tally())

    def killer(self) -> Killer:
        return Killer(self.site, random.Random(self.rng.random()))  # noqa: S311

    def expect(self, is_kept: object, sentence: str) -> None:
        if not is_kept:
            self.broken.append(sentence)

    @contextmanager
    def filling(self, patients: Patients, n: int = N_PATIENTS) -> Iterator[None]:
        """Inside the block so many patients fill forms one after another; then each ends the one begun."""
        ended = threading.Event()

        def go_on(seed: float) -> None:
            rng = random.Random(seed)  # noqa: S311
            while not ended.is_set():
                # One that is counted where it was met ends nothing.
                with suppress(Unexpected):
                    patients.fill(self.forms.take(1)[0], rng)
                # Patients who never read leave a killed worker no processor to start on.
                ended.wait(rng.expovariate(1 / READING))

        threads = [threading.Thread(target=go_on, args=(self.rng.random(),)) for _ in range(n)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def met(self, patients: Patients) -> Figures:
        """What the patients of a phase met; what they should never meet breaks the promise."""
        tally = patients.tally
        self.expect(not tally.unexpected, f"patients met {dict(tally.unexpected)}")
        return {
            "sent": len(tally.seconds),
            "double_clicks": tally.n_double_clicks,
            "retries": dict(sorted(tally.retried.items())),
            "unexpected": dict(tally.unexpected),
        }

    def caught_up(self, seconds: float) -> float:
        """Until no refit is open; how long that took."""
        began = time.monotonic()
        wait_until("all refits are done", lambda: self.site.sql(OPEN_REFITS) == [(0,)], seconds)
        return round(time.monotonic() - began, 1)


def books(run: Run) -> Verdict:
    """Every form that was acknowledged since the start against what is stored of the run's studies."""
    return compare(run.journal.read(), (Stored(*row) for row in run.site.sql(STORED)), run.seed.n_scales)


def audit(run: Run) -> tuple[Verdict, Figures]:
    """Everything that was acknowledged since the start against everything that is stored."""
    try:
        caught_up: float | None = run.caught_up(300)
    except SiteBroken as error:
        caught_up = None
        run.broken.append(str(error))
    verdict = books(run)
    figures: Figures = asdict(verdict)
    figures |= {
        "audit_rows": run.site.sql(AUDITED)[0][0],
        "studies_behind": len(run.site.sql(BEHIND)),
        "fits_doubled": run.site.sql(FITTED_TWICE)[0][0],
        "seconds_until_models_caught_up": caught_up,
    }
    run.expect(verdict.is_clean, f"the books differ: {', '.join(verdict.examples)}")
    run.expect(figures["audit_rows"] == verdict.stored, "there are not as many audit rows as responses")
    run.expect(figures["studies_behind"] == 0, "a model does not hold all answers, and nothing says so")
    run.expect(figures["fits_doubled"] == 0, "a model of the same data is stored twice")
    return verdict, figures


Promise = Callable[[Run], Figures]


def conduct(site: Site, sizes: Sizes, promises: dict[str, Promise], seed: int) -> Figures:
    """Starts the site and has every promise tried; `broken` of the figures says what failed."""
    began = time.monotonic()
    try:
        site.start_servers()
        planted = plant(round(sizes.seconds * FORMS_A_SECOND) + sizes.n_forms + 3000, sizes.of(200, 40))
        site.start()
        _say(f"site with {len(planted.forms)} open forms", began)
        run = Run(site, planted, Journal(site.var / "journal.jsonl"), sizes, random.Random(seed))  # noqa: S311
        found = {name: _tried(run, name, promise) for name, promise in promises.items()}
        verdict, books = audit(run)
        run.expect(not site.problems, f"servers did not start at once: {site.problems}")
    finally:
        site.stop()
    if not run.broken:
        site.clear()
    return {
        "name": "faults",
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "is_kept": not run.broken,
        "broken": run.broken,
        "books": books,
        "promises": found,
        "restarts": site.restarts,
        "web": sum(service.name == "web" for service in site.services),
        "workers": sum(service.name == "worker" for service in site.services),
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
    }


def _tried(run: Run, name: str, promise: Promise) -> Figures:
    began, before = time.monotonic(), len(run.broken)
    try:
        figures = promise(run)
    except (SiteBroken, Unexpected, NoAnswer) as error:
        figures = {}
        run.broken.append(str(error))
    run.broken[before:] = [f"{name}: {sentence}" for sentence in run.broken[before:]]
    _say(name, began)
    return figures


def _say(what: str, began: float) -> None:
    print(f"{what}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
