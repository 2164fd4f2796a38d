"""Promises about answers: P1 none lost or doubled, P4 without the broker, P5 without the database, P8 many at
once, P13 while the site is renewed."""

from __future__ import annotations

import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.faults.kills import ALL, BROKER, DATABASE
from benchmarks.faults.ledger import p95
from benchmarks.faults.patient import Answer, Browser, NoAnswer, Opened, Patients, keeps_all
from benchmarks.faults.run import Figures, Run
from benchmarks.faults.site import wait_until

N_AT_ONCE = 20
# The next kill falls after about so many forms (more of them where a run asks for many), or so many seconds
# without.
FORMS_BETWEEN_KILLS = 6
WITHOUT_FORMS = 10.0
# So many seconds longer on a slow machine, until everything was killed; and for each form that is asked for.
EXTRA, EXTRA_A_FORM = 180.0, 0.5
# P4 on a machine with other things to do: a broker that is waited for costs two seconds and more.
LONGER = 1.5
FIRST_WORD = 3.0

Asked = Callable[[], Answer]


def killed(run: Run) -> Figures:
    """P1: patients fill forms while everything is killed in turn."""
    patients, killer = run.patients(), run.killer()
    n_before, began = run.journal.n, time.monotonic()
    sizes = run.sizes
    longest = sizes.seconds + EXTRA + EXTRA_A_FORM * sizes.n_forms
    with run.filling(patients), killer.at_work(ALL, lambda: _among_forms(run)):
        while (spent := time.monotonic() - began) < longest:
            is_enough = killer.has_hit(ALL, sizes.n_kills) and run.journal.n - n_before >= sizes.n_forms
            if spent > sizes.seconds and is_enough:
                break
            time.sleep(0.2)
    figures = run.met(patients)
    run.expect(killer.has_hit(ALL, sizes.n_kills), f"not everything was killed so often: {killer.killed}")
    run.expect(run.journal.n - n_before >= sizes.n_forms, "fewer forms came in than were asked for")
    return {
        **figures,
        "acknowledged": run.journal.n - n_before,
        "seconds": round(time.monotonic() - began),
        "kills": sum(killer.killed.values()),
        "killed": dict(killer.killed),
        "p95_until_acknowledged_s": round(p95(patients.tally.seconds), 2),
    }


def _among_forms(run: Run) -> Iterator[float]:
    """Pauses until forms are coming in again, and a moment in the middle of them."""
    mean = max(FORMS_BETWEEN_KILLS, round(run.sizes.n_forms / (run.sizes.n_kills * len(ALL))))
    enough = run.journal.n + run.rng.randint(1, 2 * mean)
    deadline = time.monotonic() + WITHOUT_FORMS
    while run.journal.n < enough and time.monotonic() < deadline:
        yield 0.01


def without_broker(run: Run) -> Figures:
    """P4: forms while the broker hangs, and while it is gone; against a site with everything at work."""
    n = run.sizes.of(150, 40)
    process = wait_until("the broker runs", lambda: run.site.server(BROKER), 60)
    found = {"normal": _times(run, n)}
    process.send_signal(signal.SIGSTOP)
    try:
        found["hung"] = _times(run, n)
    finally:
        process.send_signal(signal.SIGCONT)
    with run.site.down(BROKER):
        run.killer().strike(BROKER)
        found["gone"] = _times(run, n)
    caught_up = run.caught_up(120)
    figures: Figures = {"sent_each": n, "seconds_until_models_caught_up": caught_up}
    for name, (seconds, n_retries) in found.items():
        figures |= {f"p95_{name}_ms": round(1000 * p95(seconds)), f"retries_{name}": n_retries}
        run.expect(n_retries == 0, f"patients had to try again, broker {name}")
        longer = statistics.median(seconds) - statistics.median(found["normal"][0])
        run.expect(longer < LONGER, f"forms wait for the broker, which is {name}")
    return figures


def _times(run: Run, n: int) -> tuple[list[float], int]:
    """Seconds of sending `n` forms, two patients at a time, and how often one had to try again."""
    patients = run.patients()
    seeds = [run.rng.random() for _ in range(n)]
    with ThreadPoolExecutor(2) as pool:
        for sent in [
            pool.submit(patients.fill, form, random.Random(seed))  # noqa: S311
            for form, seed in zip(run.forms.take(n), seeds, strict=True)
        ]:
            sent.result()
    run.met(patients)
    return patients.tally.seconds, patients.tally.retried.total()


def without_database(run: Run) -> Figures:
    """P5: a clear word within three seconds and every answer kept on the page; stored when it is back."""
    patients = run.patients()
    opened = [patients.begin(form, run.rng) for form in run.forms.take(run.sizes.of(24, 8))]
    waited: list[float] = []
    with run.site.down(DATABASE):
        run.killer().strike(DATABASE)
        for form in opened:
            began = time.monotonic()
            answer = patients.click(form)
            waited.append(time.monotonic() - began)
            run.expect(answer.status == 503, f"a form sent without the database was answered {answer.status}")
            run.expect(answer.retry_after, "the answer without the database does not say when to come back")
            run.expect(keeps_all(answer, form), "the page without the database lost answers")
        time.sleep(run.sizes.of(60, 3))
    back = time.monotonic()
    for form in opened:
        patients.send(form)
    run.expect(max(waited) < FIRST_WORD, f"without the database a form waited {max(waited):.1f} s for a word")
    return {
        **run.met(patients),
        "longest_wait_for_a_word_s": round(max(waited), 2),
        "seconds_until_all_in": round(time.monotonic() - back, 1),
    }


def at_once(run: Run) -> Figures:
    """P8: a form sent twenty times at one instant: by one browser, by twenty, while its link is ended."""
    patients = run.patients()
    n_same, n_other, n_ended = (run.sizes.of(*pair) for pair in ((60, 10), (20, 2), (20, 4)))
    statuses: dict[str, Counter[int]] = {name: Counter() for name in ("same", "others", "ended", "staff")}
    for form in run.forms.take(n_same):
        opened = patients.begin(form, run.rng)
        each = [opened] * N_AT_ONCE
        got = _together([partial(patients.click, one) for one in each])
        statuses["same"].update(got)
        _received(run, patients, each, got)
    for form in run.forms.take(n_other):
        each = [patients.begin(form, run.rng) for _ in range(N_AT_ONCE)]
        got = _together([partial(patients.click, one) for one in each])
        statuses["others"].update(got)
        run.expect(Counter(got) == {303: 1, 409: N_AT_ONCE - 1}, f"twenty browsers: {Counter(got)}")
        _received(run, patients, each, got)
    for form in run.forms.take(n_ended):
        each = [patients.begin(form, run.rng)] * (N_AT_ONCE - 1)
        staff = _staff(run, patients, form.id)
        first, *got = _together([staff, *(partial(patients.click, one) for one in each)])
        statuses["staff"][first] += 1
        statuses["ended"].update(got)
        _received(run, patients, each, got)
    for name in ("same", "ended", "staff"):
        run.expect(set(statuses[name]) <= {303}, f"{name}: {dict(statuses[name])}")
    n_forms = n_same + n_other + n_ended
    return {**run.met(patients), "forms": n_forms, "at_once": N_AT_ONCE, "statuses": statuses}


def _received(run: Run, patients: Patients, opened: Sequence[Opened], got: Sequence[int]) -> None:
    """Writes into the journal whose form is in, with the receipt that its browser shows."""
    told = {one.told.key: one for one, status in zip(opened, got, strict=True) if status == 303}
    for one in told.values():
        run.journal.acknowledge(one.told.with_receipt(patients.receipt(one)))


def _staff(run: Run, patients: Patients, form: str) -> Asked:
    """The therapist, signed in, about to end the links of the form."""
    browser = Browser(patients.balance, run.seed.cookie)
    page = patients.insist("staff", lambda: browser.get(f"/forms/{form}/links/"), 200)
    token = page.hidden("csrfmiddlewaretoken")
    return lambda: browser.request("POST", f"/forms/{form}/links/revoke/", {"csrfmiddlewaretoken": token})


def _together(requests: Sequence[Asked]) -> list[int]:
    """The statuses of requests that leave at the same instant; 0 where none came."""
    barrier = threading.Barrier(len(requests))

    def ask(request: Asked) -> int:
        barrier.wait()
        try:
            return request().status
        except NoAnswer:
            return 0

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def renewed(run: Run) -> Figures:
    """P13: two web processes behind one address, renewed by turns while patients fill forms."""
    while len(run.site.ports) < 2:
        run.site.add_web()
    patients, n = run.patients(), run.sizes.of(20, 2)
    numbers = (signal.SIGTERM, signal.SIGHUP)
    with run.filling(patients):
        for turn in range(n):
            services = [service for service in run.site.services if service.name == "web"]
            run.site.renew(services[turn // 2 % 2], numbers[turn % 2])
    return {"renewals": n, **run.met(patients)}
