"""Promises about jobs: P2 each ends in one result or a visible failure, P12 a bad one ends alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connections, transaction

from benchmarks.faults.kills import OF_JOBS
from benchmarks.faults.run import Figures, Run
from benchmarks.faults.site import wait_until
from benchmarks.faults.worker import ALL_BAD, EFFECT
from surveys import jobs

# The next kill falls after so many jobs more, or so many seconds without: a worker needs a while to start.
JOBS_BETWEEN_KILLS = (1, 12)
WITHOUT_JOBS = 30.0
LATEST = 180.0
OTHERS_WITHIN = 60.0
MAX_ATTEMPTS = jobs.MAX_ATTEMPTS

OPEN = (
    "SELECT count(*) FROM surveys_job"
    " WHERE kind IN ('refit', 'fault_effect') AND state IN ('pending', 'running')"
)
DONE = "SELECT count(*) FROM surveys_job WHERE state = 'done'"
LEFT = "SELECT scope, count(*) FROM faults_effect WHERE scope LIKE %s GROUP BY scope"
STATES = "SELECT scope, state FROM surveys_job WHERE kind = %s AND scope LIKE %s"
OF_KIND = "SELECT state, attempts, error FROM surveys_job WHERE kind = %s ORDER BY id DESC LIMIT 1"


def done_once(run: Run) -> Figures:
    """P2: a refit for each of many studies, asked for by a patient's form, and as many jobs that leave a row,
    while workers and broker are killed."""
    lone, patients, killer = run.seed.lone, run.patients(), run.killer()
    scopes = [f"p2-{number}" for number in range(len(lone))]
    began = time.monotonic()
    with killer.at_work(OF_JOBS, lambda: _among_jobs(run)):
        with ThreadPoolExecutor(4) as pool:
            for sent in [pool.submit(patients.fill, form, run.rng) for form in lone]:
                sent.result()
        _request(scopes)
        wait_until("half of the jobs are done", lambda: run.site.sql(OPEN)[0][0] <= len(lone), LATEST)
    last_kill = time.monotonic()
    wait_until("all jobs are done", lambda: run.site.sql(OPEN) == [(0,)], LATEST)
    ended = time.monotonic()
    rows = dict(run.site.sql(LEFT, "p2-%"))
    failed = [scope for scope, state in run.site.sql(STATES, EFFECT, "p2-%") if state == "failed"]
    missing = [scope for scope in scopes if scope not in rows and scope not in failed]
    doubled = [scope for scope, n in rows.items() if n > 1]
    run.expect(not missing, f"jobs without an end: {missing[:5]}")
    run.expect(not doubled, f"jobs with two results: {doubled[:5]}")
    run.expect(sum(killer.killed.values()) > 0, "nothing was killed")
    return {
        **run.met(patients),
        "refits": len(lone),
        "rows": len(scopes),
        "missing": len(missing),
        "doubled": len(doubled),
        "failed_visibly": len(failed),
        "killed": dict(killer.killed),
        "seconds": round(ended - began),
        "seconds_after_last_kill": round(ended - last_kill),
    }


def _among_jobs(run: Run) -> Iterator[float]:
    """Pauses until jobs are done again, and a moment in the middle of them."""
    enough = run.site.sql(DONE)[0][0] + run.rng.randint(*JOBS_BETWEEN_KILLS)
    deadline = time.monotonic() + WITHOUT_JOBS
    while time.monotonic() < deadline and run.site.sql(DONE)[0][0] < enough:
        yield 0.1


def bad_ones(run: Run) -> Figures:
    """P12: an endless loop, a job that wants all memory, one that ends its process, and a long one that says
    nothing more; among others."""
    began = time.monotonic()
    with transaction.atomic():
        for kind in ALL_BAD:
            jobs.request(kind, "p12")
    connections.close_all()
    longest = 0.0
    ends: dict[str, dict[str, object]] = {}
    n_others = 0
    while len(ends) < len(ALL_BAD) and time.monotonic() - began < 2 * LATEST:
        asked, scope = time.monotonic(), f"p12-{n_others}"
        _request([scope])
        wait_until("another job is done", partial(run.site.sql, LEFT, scope), LATEST)
        longest, n_others = max(longest, time.monotonic() - asked), n_others + 1
        for kind in ALL_BAD:
            state, attempts, error = run.site.sql(OF_KIND, kind)[0]
            if state not in ("pending", "running") and kind not in ends:
                seconds = round(time.monotonic() - began)
                ends[kind] = {"state": state, "attempts": attempts, "error": error, "seconds": seconds}
        time.sleep(1)
    run.expect(len(ends) == len(ALL_BAD), f"bad jobs go on: {set(ALL_BAD) - set(ends)}")
    for kind, end in ends.items():
        is_seen = end["state"] == "failed" and end["error"] and end["attempts"] == MAX_ATTEMPTS
        run.expect(is_seen, f"{kind} ended as {end}")
    run.expect(longest < OTHERS_WITHIN, f"another job waited {longest:.0f} s")
    return {"ends": ends, "others": n_others, "longest_other_s": round(longest, 1), "pace": run.sizes.pace}


def _request(scopes: list[str]) -> None:
    with transaction.atomic():
        for scope in scopes:
            jobs.request(EFFECT, scope)
    # A connection that waits unused would be broken by the next kill.
    connections.close_all()
