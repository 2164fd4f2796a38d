"""The job list: request, claim, finish. Postgres decides; Celery only runs what is claimed.

1. Every service that makes work due calls `request` as the last statement of its transaction.
   One pending row per (kind, scope): a hundred answers are one refit.
2. `run_due` claims rows with `FOR UPDATE SKIP LOCKED`, a lease and a fence. A worker that dies
   lets its lease run out; the next claim takes the job again, at most MAX_ATTEMPTS times.
3. The result is written in one transaction with `finish`, and only where the fence still holds.
4. A job that has failed for good tells its kind (`give_up`) in the transaction that says so.
5. Long kinds run one at a time, beside the others, and report how far they are (`surveys.progress`).

Kinds are known by name only; each app registers the handlers of its own kinds in its `tasks.py`.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from surveys.memory import limited
from surveys.models import Heartbeat, Job
from surveys.progress import LEASE as LONG_LEASE
from surveys.progress import Cancelled, Claim, LeaseLost, Progress

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
LEASE = timedelta(seconds=60)
RETRY_AFTER = timedelta(seconds=10)

# Of long jobs; a second worker child must stay free for what patients wait for.
MAX_LONG = 1

Write = Callable[[], None]
Handler = Callable[[str], Write]
LongHandler = Callable[[str, Progress], Write]


@dataclass(frozen=True)
class Kind:
    """How jobs of a kind are done, how long an error waits for the next attempt (and after the second one
    twice as long), and what is done with the scope of a job that has failed for good."""

    handler: LongHandler
    retry_after: timedelta
    give_up: Callable[[str], None] | None = None
    is_long: bool = False


_kinds: dict[str, Kind] = {}


class TryAgain(Exception):
    """What a handler raises where something outside this site is not ready; its words are kept, so they
    hold nothing about a person."""


def register(
    kind: str,
    handler: Handler,
    *,
    retry_after: timedelta = RETRY_AFTER,
    give_up: Callable[[str], None] | None = None,
) -> None:
    """`handler(scope)` computes outside any transaction and returns the function that writes the result."""
    _kinds[kind] = Kind(lambda scope, _progress: handler(scope), retry_after, give_up)


def register_long(kind: str, handler: LongHandler, *, give_up: Callable[[str], None] | None = None) -> None:
    """As `register`, for work that may take longer than a lease. `handler(scope, progress)` calls `progress`
    at least every few minutes and lets `Cancelled` and `LeaseLost` pass. `give_up` is told of failure and
    of cancellation."""
    _kinds[kind] = Kind(handler, RETRY_AFTER, give_up, is_long=True)


def request(kind: str, scope: object, due_at: datetime | None = None) -> None:
    """Makes the job due, now or at a later time; one that waits already becomes due at the earlier of both.
    The row stays locked until the caller's transaction commits, so that no worker can claim it before the
    rows it must read are visible. One that is due in any case is locked in share: of the forms that are sent
    to one study at the same moment none waits until another is on the disk."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH waiting AS (
                SELECT 1 FROM surveys_job
                WHERE kind = %(kind)s AND scope = %(scope)s AND state = 'pending' AND attempts = 0
                  AND due_at <= COALESCE(%(due_at)s, now())
                FOR SHARE)
            INSERT INTO surveys_job (kind, scope, state, attempts, due_at, requested_at, fence, error)
            SELECT %(kind)s, %(scope)s, 'pending', 0, COALESCE(%(due_at)s, now()), now(), 0, ''
            WHERE NOT EXISTS (SELECT 1 FROM waiting)
            ON CONFLICT (kind, scope) WHERE state = 'pending'
            DO UPDATE SET requested_at = now(), attempts = 0,
                          due_at = LEAST(surveys_job.due_at, excluded.due_at)
            """,
            {"kind": kind, "scope": str(scope), "due_at": due_at},
        )


def claim(*, is_long: bool = False) -> Claim | None:
    """Takes one due job whose scope has no running one, or a running one whose lease has run out; of long
    kinds, only while fewer than MAX_LONG are running."""
    kinds = [name for name, kind in _kinds.items() if kind.is_long == is_long]
    with transaction.atomic(), connection.cursor() as cursor:
        if is_long:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('surveys.jobs.long'))")
            cursor.execute(
                "SELECT count(*) FROM surveys_job WHERE kind = ANY(%s) AND state = 'running'"
                " AND lease_until >= clock_timestamp()",
                [kinds],
            )
            if cursor.fetchone()[0] >= MAX_LONG:
                return None
        cursor.execute(
            """
            UPDATE surveys_job SET state = 'running', attempts = attempts + 1, fence = fence + 1,
                   stage = '', n_done = 0, n_total = 0,
                   lease_until = clock_timestamp() + make_interval(secs => %s)
            WHERE id = (
                SELECT job.id FROM surveys_job job
                WHERE job.kind = ANY(%s) AND job.attempts < %s
                  AND ((job.state = 'pending' AND job.due_at <= clock_timestamp())
                       OR (job.state = 'running' AND job.lease_until < clock_timestamp()))
                  AND NOT EXISTS (
                      SELECT 1 FROM surveys_job other
                      WHERE other.kind = job.kind AND other.scope = job.scope AND other.id <> job.id
                        AND other.state = 'running')
                ORDER BY job.due_at FOR UPDATE SKIP LOCKED LIMIT 1)
            RETURNING id, kind, scope, fence, attempts
            """,
            [(LONG_LEASE if is_long else LEASE).total_seconds(), kinds, MAX_ATTEMPTS],
        )
        row = cursor.fetchone()
    return Claim(*row) if row else None


def cancel(kind: str, scope: object) -> None:
    """Ends what waits at once, and what runs when it next reports; what is done stays done. Call it in a
    transaction with the trace of who asked."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE surveys_job SET cancel_at = now(),"
            " state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END,"
            " finished_at = CASE state WHEN 'pending' THEN now() END"
            " WHERE kind = %s AND scope = %s AND state IN ('pending', 'running') RETURNING state",
            [kind, str(scope)],
        )
        if ("cancelled",) in cursor.fetchall():
            _given_up(kind, str(scope))


def finish(job: Claim, write: Write) -> None:
    """Writes the result and closes the job in one transaction; raises LeaseLost and writes nothing
    where another worker holds the job."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE surveys_job SET state = 'done', finished_at = clock_timestamp(), error = ''"
                " WHERE id = %s AND fence = %s AND state = 'running'",
                [job.id, job.fence],
            )
            if cursor.rowcount != 1:
                raise LeaseLost(f"{job.kind} {job.scope} was taken over")
        write()


def give_up_expired() -> int:
    """Marks jobs as failed whose last permitted attempt died with its worker, and as cancelled those that
    somebody wanted ended. Returns how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE surveys_job SET finished_at = clock_timestamp(),
                   state = CASE WHEN cancel_at IS NULL THEN 'failed' ELSE 'cancelled' END,
                   error = 'The worker stopped during each of ' || attempts || ' attempts.'
            WHERE state = 'running' AND lease_until < clock_timestamp() AND kind = ANY(%s)
              AND (attempts >= %s OR cancel_at IS NOT NULL)
            RETURNING kind, scope
            """,
            [list(_kinds), MAX_ATTEMPTS],
        )
        closed = cursor.fetchall()
        for kind, scope in closed:
            _given_up(kind, scope)
    return len(closed)


def _given_up(kind: str, scope: str) -> None:
    give_up = _kinds[kind].give_up
    if give_up is not None:
        give_up(scope)


def _put_back(job: Claim, error: str) -> None:
    """After an error: due again a little later, or failed for good. A newer request for the same
    scope that is already waiting takes its place."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE surveys_job SET error = %s, lease_until = NULL, finished_at = clock_timestamp(),
                   due_at = clock_timestamp() + make_interval(secs => %s),
                   state = CASE WHEN attempts >= %s OR EXISTS (
                       SELECT 1 FROM surveys_job waiting
                       WHERE waiting.kind = surveys_job.kind AND waiting.scope = surveys_job.scope
                         AND waiting.state = 'pending') THEN 'failed' ELSE 'pending' END
            WHERE id = %s AND fence = %s AND state = 'running'
            RETURNING state
            """,
            [
                error,
                (_kinds[job.kind].retry_after * job.attempts).total_seconds(),
                MAX_ATTEMPTS,
                job.id,
                job.fence,
            ],
        )
        if cursor.fetchall() == [("failed",)] and job.attempts >= MAX_ATTEMPTS:
            _given_up(job.kind, job.scope)


def _cancelled(job: Claim) -> None:
    """Closes a job whose work has stopped because somebody asked for it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE surveys_job SET state = 'cancelled', finished_at = clock_timestamp(), lease_until = NULL"
            " WHERE id = %s AND fence = %s AND state = 'running'",
            [job.id, job.fence],
        )
        if cursor.rowcount == 1:
            _given_up(job.kind, job.scope)


def run_due(
    seconds: float = 5, *, is_long: bool = False, when_silent: Callable[[], None] | None = None
) -> int:
    """Claims and runs due jobs one after another, starting none after `seconds`, so that the last
    one too has its whole lease. Returns how many were finished. `when_silent` ends a long one that has not
    reported for a whole lease."""
    give_up_expired()
    done, last_start = 0, monotonic() + seconds
    while monotonic() < last_start and (job := claim(is_long=is_long)) is not None:
        try:
            # Lifted before an error is dealt with, which takes memory as well.
            with limited(settings.JOB_MEMORY_MB):
                with Progress(job, when_silent) as progress:
                    write = _kinds[job.kind].handler(job.scope, progress)
                finish(job, write)
            done += 1
        except LeaseLost:
            log.warning(
                "job %s (%s) was taken over by another worker; its result is dropped", job.id, job.kind
            )
        except Cancelled:
            _cancelled(job)
        except TryAgain as error:
            log.warning("job %s (%s) did not succeed, attempt %s: %s", job.id, job.kind, job.attempts, error)
            _put_back(job, str(error))
        except Exception as error:
            # The row keeps what happened, and the log the traceback; the other jobs go on.
            log.exception("job %s (%s) failed, attempt %s", job.id, job.kind, job.attempts)
            _put_back(job, type(error).__name__)
    return done


def latest(kind: str, scope: object) -> Job | None:
    """The last job of this kind for this scope, whatever became of it. A page reads it before what the job
    makes: the other way round, a job that is done in between leaves neither of them to show."""
    return Job.objects.filter(kind=kind, scope=str(scope)).order_by("-id").first()


def latest_of(kind: str, scopes: Iterable[object]) -> dict[str, Job]:
    """The last job of this kind for each of these scopes, by the scope's text; read as `latest` is."""
    rows = Job.objects.filter(kind=kind, scope__in=[str(scope) for scope in scopes])
    return {job.scope: job for job in rows.order_by("id")}


def beat(part: str) -> None:
    """A sign of life of a part of the system, for the health page."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO surveys_heartbeat (part, at) VALUES (%s, clock_timestamp())"
            " ON CONFLICT (part) DO UPDATE SET at = excluded.at",
            [part],
        )


@dataclass(frozen=True)
class Silence:
    """No worker is at work, and what waits is not done; `since` is None where none was ever heard."""

    since: datetime | None


def worker_silence(longer_than: timedelta) -> Silence | None:
    """None while a worker was heard within this time."""
    # Both times are the database's: a web process whose clock is wrong must not miss the worker.
    seen = Heartbeat.objects.filter(part="worker").values_list("at", Now()).first()
    if seen is None:
        return Silence(None)
    at, now = seen
    return Silence(at) if now - at > longer_than else None
