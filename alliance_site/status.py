"""How the machine is: figures of the whole site, asked for in one query, none of them about a person."""

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from alliance_site.backups.kept import backup_missing
from alliance_site.room import disks
from surveys import scope

# From when on a figure asks for somebody. docs/operation.md says what to do about each.
WORKER_SILENT = timedelta(seconds=30)
JOB_LATE = timedelta(minutes=5)
MAIL_LATE = timedelta(minutes=15)
BACKUP_OLD = timedelta(hours=36)
DRILL_OLD = timedelta(days=35)
ARCHIVE_OLD = timedelta(minutes=15)

# A failure is settled once the same was asked for again. The name of an error tells nothing about a person.
QUERY = """
WITH failed AS (
    SELECT kind, count(*) AS n, max(finished_at) AS at FROM surveys_job job
    WHERE state = 'failed' AND NOT EXISTS (
        SELECT 1 FROM surveys_job later
        WHERE later.kind = job.kind AND later.scope = job.scope AND later.id > job.id)
    GROUP BY kind),
runs AS (
    SELECT kind, max(taken_at) FILTER (WHERE is_good) AS taken_at,
        max(began_at) FILTER (WHERE is_good) AS good_at, (array_agg(is_good ORDER BY id DESC))[1] AS is_good
    FROM surveys_backuprun GROUP BY kind),
kept AS (
    SELECT file, n_bytes FROM surveys_backuprun WHERE kind = 'backup' AND is_good ORDER BY id DESC LIMIT 1)
SELECT
    clock_timestamp() AS now,
    (SELECT at FROM surveys_heartbeat WHERE part = 'worker') AS worker_at,
    (SELECT jsonb_object_agg(state, n) FROM (
        SELECT state, count(*) n FROM surveys_job GROUP BY state) states) AS jobs,
    (SELECT count(*) FROM surveys_job WHERE state = 'pending' AND due_at <= now()) AS n_due,
    (SELECT min(due_at) FROM surveys_job WHERE state = 'pending' AND due_at <= now()) AS due_since,
    (SELECT jsonb_object_agg(kind, n) FROM failed) AS failed,
    (SELECT max(at) FROM failed) AS failed_at,
    (SELECT max(finished_at) FROM surveys_job WHERE kind = 'refit' AND state = 'done') AS refit_at,
    (SELECT count(*) FROM surveys_message WHERE state = 'waiting' AND due_at <= now()) AS n_mails_due,
    (SELECT min(due_at) FROM surveys_message WHERE state = 'waiting' AND due_at <= now()) AS mail_due_since,
    (SELECT max(sent_at) FROM surveys_message) AS mail_sent_at,
    (SELECT taken_at FROM runs WHERE kind = 'backup') AS backup_at,
    (SELECT is_good FROM runs WHERE kind = 'backup') AS is_backup_good,
    (SELECT file FROM kept) AS backup_file,
    (SELECT n_bytes FROM kept) AS backup_bytes,
    (SELECT good_at FROM runs WHERE kind = 'drill') AS drill_at,
    (SELECT is_good FROM runs WHERE kind = 'drill') AS is_drill_good,
    (SELECT jsonb_object_agg(choice, n) FROM (
        SELECT choice, count(*) n FROM surveys_withdrawal GROUP BY choice) choices) AS withdrawals,
    (SELECT coalesce(sum(n_erased), 0) FROM surveys_withdrawal) AS n_erased,
    (SELECT setting <> 'off' FROM pg_settings WHERE name = 'archive_mode') AS is_archiving,
    archiver.last_archived_time AS archived_at,
    coalesce(archiver.last_failed_time > archiver.last_archived_time, archiver.last_failed_time IS NOT NULL)
        AS is_archive_failing,
    (SELECT count(*) FROM pg_policy WHERE NOT row_security_active(polrelid)) AS n_unguarded,
    pg_database_size(current_database()) AS database_bytes
FROM pg_stat_archiver archiver
"""


@dataclass(frozen=True)
class Figures:
    """Times are None where it never happened, or where nothing waits. `clock_offset` is by how many seconds
    the clock of this process is ahead of the database's; `n_unguarded` tables show this process rows beyond a
    scope, of those that should not (`alliance_site.database`)."""

    now: datetime
    worker_at: datetime | None
    jobs: dict[str, int]
    n_due: int
    due_since: datetime | None
    failed: dict[str, int]
    failed_at: datetime | None
    refit_at: datetime | None
    n_mails_due: int
    mail_due_since: datetime | None
    mail_sent_at: datetime | None
    backup_at: datetime | None
    is_backup_good: bool | None
    backup_missing: str
    drill_at: datetime | None
    is_drill_good: bool | None
    withdrawals: dict[str, int]
    n_erased: int
    is_archiving: bool
    archived_at: datetime | None
    is_archive_failing: bool
    n_unguarded: int
    database_bytes: int
    disks: dict[str, float]
    clock_offset: float

    def is_older(self, at: datetime | None, than: timedelta) -> bool:
        return at is not None and self.now - at > than


@scope.everything()
def figures() -> Figures:
    """As of now. Raises DatabaseError where the database is away."""
    asked, began = timezone.now(), time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(QUERY)
        took = timedelta(seconds=time.monotonic() - began)
        found = dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))
    for name in ("jobs", "failed", "withdrawals"):
        # Django hands JSON of a raw query over as text.
        found[name] = json.loads(found[name] or "{}")
    found["backup_missing"] = backup_missing(found.pop("backup_file"), found.pop("backup_bytes"))
    # The database looked at its clock at some moment of the query.
    is_between = asked <= found["now"] <= asked + took
    offset = 0.0 if is_between else (asked + took / 2 - found["now"]).total_seconds()
    return Figures(**found, disks=disks(), clock_offset=offset)
