"""How far a long job is, told while it runs: for whoever waits, and to keep the lease."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Timer
from time import monotonic
from types import TracebackType
from typing import Self

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

LEASE = timedelta(minutes=5)
# A row is not worth writing more often.
EVERY = 0.5


class LeaseLost(Exception):
    """Another worker has taken the job since; nothing may be written."""


class Cancelled(Exception):
    """Somebody wants the job ended; its work stops where it is."""


@dataclass(frozen=True)
class Claim:
    id: int
    kind: str
    scope: str
    fence: int
    attempts: int


class Progress:
    """What a long handler calls with the code of a stage and how much of it is done.

    Inside a transaction of the handler's own it speaks through a second connection: others see it at once,
    and it does not wait for the end. Raises Cancelled or LeaseLost, at most twice a second. `when_silent` is
    called, in a thread of its own, when nothing was heard for a whole lease.
    """

    def __init__(self, job: Claim, when_silent: Callable[[], None] | None = None) -> None:
        self._job = job
        self._when_silent = when_silent
        self._silence: Timer | None = None
        self._stage, self._said = "", 0.0
        self._began_inside = connection.in_atomic_block
        self._second: BaseDatabaseWrapper | None = None

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._silence is not None:
            self._silence.cancel()
        if self._second is not None:
            self._second.close()

    def _listen(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        if self._when_silent is not None:
            self._silence = Timer(LEASE.total_seconds(), self._when_silent)
            self._silence.daemon = True
            self._silence.start()

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        if stage == self._stage and done < total and monotonic() - self._said < EVERY:
            return
        self._stage = stage
        with self._connection().cursor() as cursor:
            cursor.execute(
                "UPDATE surveys_job SET stage = %s, n_done = %s, n_total = %s,"
                " lease_until = clock_timestamp() + make_interval(secs => %s)"
                " WHERE id = %s AND fence = %s AND state = 'running' RETURNING cancel_at",
                [stage, done, total, LEASE.total_seconds(), self._job.id, self._job.fence],
            )
            row = cursor.fetchone()
        self._said = monotonic()
        self._listen()
        if row is None:
            raise LeaseLost(f"{self._job.kind} {self._job.scope} was taken over")
        if row[0] is not None:
            raise Cancelled

    def _connection(self) -> BaseDatabaseWrapper:
        if connection.in_atomic_block == self._began_inside:
            return connection
        if self._second is None:
            self._second = connections.create_connection("default")
        return self._second


def silent(stage: str, done: int = 0, total: int = 0) -> None:
    """For a caller that nobody waits for: a command, a test."""
