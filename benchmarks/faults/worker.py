"""The worker's app with jobs that no product should have: they loop, eat memory, end their process, say
nothing for ever; and one that leaves a row, to be counted. Beside them it does every job of the product.

FAULTS_PACE shortens lease and time limits by this factor, so that a short run sees what they end. The lease
of long jobs is always short: three of five minutes would be most of the run.
"""

import os
import time
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "alliance_site.settings")
django.setup()

from django.db import connection  # noqa: E402

from alliance_site.celery import app  # noqa: E402
from surveys import jobs, progress  # noqa: E402
from surveys.tasks import run_due_jobs  # noqa: E402

__all__ = ["app"]

PACE = float(os.environ.get("FAULTS_PACE", "1"))
TOO_MUCH = 8 << 30
RETRY_AFTER = jobs.RETRY_AFTER / PACE


def _nothing() -> None:
    return None


def _loop(_scope: str) -> jobs.Write:
    while True:
        time.monotonic()


def _eat(_scope: str) -> jobs.Write:
    eaten = []
    # Untouched pages cost the machine nothing, should nobody stop this.
    for _ in range(TOO_MUCH >> 24):
        eaten.append(bytearray(1 << 24))
    return _nothing


def _crash(_scope: str) -> jobs.Write:
    os._exit(139)


def _leave_a_row(scope: str) -> jobs.Write:
    time.sleep(0.1)

    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO faults_effect (scope) VALUES (%s)", [scope])

    return write


def _say_nothing(scope: str, _progress: progress.Progress) -> jobs.Write:
    return _loop(scope)


BAD = {"fault_loop": _loop, "fault_memory": _eat, "fault_crash": _crash}
SILENT = "fault_silence"
ALL_BAD = (*BAD, SILENT)
EFFECT = "fault_effect"
for _kind, _handler in (*BAD.items(), (EFFECT, _leave_a_row)):
    jobs.register(_kind, _handler, retry_after=RETRY_AFTER)
jobs.register_long(SILENT, _say_nothing)
jobs.LONG_LEASE = progress.LEASE = timedelta(seconds=12)
if PACE != 1:
    jobs.LEASE = jobs.LEASE / PACE
    run_due_jobs.soft_time_limit = 50 / PACE
    run_due_jobs.time_limit = 55 / PACE
