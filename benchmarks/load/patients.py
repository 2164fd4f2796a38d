"""Simulated patients on one event loop: whole ways one after another, or sends at moments fixed before."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from benchmarks.faults.seed import Form, Seed
from benchmarks.load.client import Broken, Pool, Reply, get, post
from benchmarks.load.seed import Begun, answered

HIDDEN = re.compile(r'name="(csrfmiddlewaretoken|key|version)" value="([^"]+)"')
# Of the moments of an open loop: what is later than this was not sent in time by the client itself.
LATE = 0.05


@dataclass
class Tally:
    """Seconds of what succeeded, by step, and what did not."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, step: str, seconds: float) -> None:
        self.seconds.setdefault(step, []).append(seconds)

    def figures(self) -> dict[str, Any]:
        return {step: quantiles(values) for step, values in self.seconds.items()}


class WrongAnswer(Exception):
    """Not the status that a patient should get."""


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds: half, 95, 99 and 99.9 of a hundred are faster."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        **{
            f"p{100 * share:g}_ms": round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)
            for share in (0.5, 0.95, 0.99, 0.999)
            if ordered
        },
    }


def encoded(fields: dict[str, str]) -> bytes:
    return urlencode(fields).encode()


async def until(seconds: float, n_at_once: int, once: Callable[[], Awaitable[None]]) -> float:
    """`once` again and again, so many at a time, none begun after so many seconds; how long it took."""
    began = time.monotonic()

    async def go_on() -> None:
        while time.monotonic() - began < seconds:
            await once()

    await asyncio.gather(*(go_on() for _ in range(n_at_once)))
    return time.monotonic() - began


async def step(pool: Pool, tally: Tally, name: str, request: bytes, wanted: int) -> Reply:
    """One request of a way; raises WrongAnswer or Broken."""
    began = time.monotonic()
    reply = await pool.ask(request)
    if reply.status != wanted:
        raise WrongAnswer(f"{name}: {reply.status}")
    tally.add(name, time.monotonic() - began)
    return reply


async def fill(pool: Pool, tally: Tally, seed: Seed, form: Form) -> None:
    """The whole way of one patient: link, Start, form, every answer saved as it is given, Send, receipt."""
    try:
        await _fill(pool, tally, seed, f"/r/{form.token}/")
    except (WrongAnswer, Broken, TimeoutError) as error:
        tally.errors[str(error) or type(error).__name__] += 1


async def _fill(pool: Pool, tally: Tally, seed: Seed, path: str) -> None:
    came = await step(pool, tally, "link", get(pool, path), 200)
    cookies = came.cookies
    csrf = dict(HIDDEN.findall(came.body.decode()))["csrfmiddlewaretoken"]
    body = encoded({"csrfmiddlewaretoken": csrf, "language": "en"})
    started = await step(pool, tally, "start", post(pool, path, body, jar(cookies)), 303)
    cookies |= started.cookies
    place = started.location
    page = await step(pool, tally, "form", get(pool, place, jar(cookies)), 200)
    cookies |= page.cookies
    hidden, answers = dict(HIDDEN.findall(page.body.decode())), answered(seed)
    for name, value in answers.items():
        one = encoded({"csrfmiddlewaretoken": hidden["csrfmiddlewaretoken"], name: value})
        await step(pool, tally, "answer", post(pool, f"{place}answers/", one, jar(cookies)), 204)
    fields = hidden | answers | {"sharing": "scores", "send": "send"}
    sent = await step(pool, tally, "send", post(pool, f"{place}send/", encoded(fields), jar(cookies)), 303)
    await step(pool, tally, "receipt", get(pool, sent.location, jar(cookies)), 200)


def jar(cookies: dict[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


async def send(pool: Pool, tally: Tally, form: Begun, since: float | None = None) -> None:
    """One form that was begun; its time counts from `since`, where one is given."""
    began = time.monotonic() if since is None else since
    try:
        reply = await pool.ask(post(pool, f"{form.path}send/", form.body, form.cookie))
    except (Broken, TimeoutError) as error:
        tally.errors[str(error) or type(error).__name__] += 1
        return
    if reply.status != 303 or not reply.location.endswith("/receipt/"):
        tally.errors[f"send: {reply.status} {reply.location[-20:]}"] += 1
        return
    tally.add("send", time.monotonic() - began)


async def insert(pool: Pool, tally: Tally, form: Begun) -> None:
    """The same body to the bare view."""
    try:
        await step(pool, tally, "insert", post(pool, "/", form.body, form.cookie), 303)
    except (WrongAnswer, Broken, TimeoutError) as error:
        tally.errors[str(error) or type(error).__name__] += 1


@dataclass
class Schedule:
    """Moments of a Poisson process, fixed before the first answer is known: a slow answer makes a queue
    that is seen, and slows down nobody who asks."""

    rate: float
    seconds: float
    rng: random.Random

    def moments(self) -> list[float]:
        found, at = [], 0.0
        while (at := at + self.rng.expovariate(self.rate)) < self.seconds:
            found.append(at)
        return found


async def send_at(
    pool: Pool, tally: Tally, moments: list[float], forms: Iterator[Begun]
) -> tuple[float, int]:
    """Sends a form at each moment and waits for the last; how long it took, and how many the client began
    late."""
    began, tasks, n_late = time.monotonic(), set(), 0
    for moment in moments:
        pause = began + moment - time.monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        elif pause < -LATE:
            n_late += 1
        task = asyncio.create_task(send(pool, tally, next(forms), began + moment))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    return time.monotonic() - began, n_late
