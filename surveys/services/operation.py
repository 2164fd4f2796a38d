"""Keeping what backups and drills did, and putting right what older data do not know."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from surveys import audit
from surveys.models import BackupRun


@transaction.atomic
def backup_record(
    *,
    kind: BackupRun.Kind,
    began_at: datetime,
    file: str,
    problem: str = "",
    taken_at: datetime | None = None,
    n_bytes: int | None = None,
    n_rows: int | None = None,
) -> BackupRun:
    """How a backup, a drill or a restoration that ends now went; without a problem it is a good one."""
    run = BackupRun.objects.create(
        kind=kind,
        is_good=not problem,
        began_at=began_at,
        seconds=(timezone.now() - began_at).total_seconds(),
        taken_at=taken_at,
        file=file[:200],
        n_bytes=n_bytes,
        n_rows=n_rows,
        problem=problem[:500],
    )
    audit.record(f"backup.{kind.value}", subject=run, is_good=run.is_good, taken_at=str(taken_at or ""))
    return run
