"""What the load scripts count: moments that do not wait for an answer, and times that count from them."""

import asyncio
import random
import time

import pytest

from benchmarks.load import patients
from benchmarks.load.client import Broken, Pool, Reply
from benchmarks.load.patients import Schedule, Tally, quantiles
from benchmarks.load.seed import Begun

FORM = Begun("/f/1/", "browser=x", b"item_1=1")


class SlowPool(Pool):
    """One request after another, each of 50 ms; the last one breaks."""

    def __init__(self, n: int) -> None:
        super().__init__(0)
        self.n, self.turn = n, asyncio.Lock()

    async def ask(self, request: bytes) -> Reply:
        async with self.turn:
            await asyncio.sleep(0.05)
        self.n -= 1
        if not self.n:
            raise Broken("the connection broke")
        return Reply(303, b"HTTP/1.1 303 See Other\r\nLocation: /f/1/receipt/", b"")


def test_the_moments_are_a_poisson_process_of_the_rate() -> None:
    moments = Schedule(100, 50, random.Random(7)).moments()
    gaps = [after - before for before, after in zip([0.0, *moments], moments, strict=False)]
    assert len(moments) == pytest.approx(5000, rel=0.05)
    assert max(moments) < 50
    assert sum(gap > 0.02 for gap in gaps) / len(gaps) == pytest.approx(0.135, abs=0.02)


def test_a_queue_counts_from_the_moment_at_which_a_form_should_have_been_sent() -> None:
    tally = Tally()

    async def run() -> None:
        await patients.send_at(SlowPool(4), tally, [0.0, 0.0, 0.0, 0.0], iter([FORM] * 4))

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < 2
    assert [round(seconds, 1) for seconds in sorted(tally.seconds["send"])] == pytest.approx(
        [0.05, 0.1, 0.15], abs=0.06
    )
    assert dict(tally.errors) == {"the connection broke": 1}


def test_of_a_hundred_times_ninety_five_are_faster_than_the_95th_percentile() -> None:
    found = quantiles([number / 1000 for number in range(100)])
    assert (found["n"], found["p50_ms"], found["p95_ms"], found["p99_ms"]) == (100, 50.0, 95.0, 99.0)
    assert quantiles([]) == {"n": 0}
