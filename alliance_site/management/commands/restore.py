"""A backup back into an empty database, with the checks that it is all there."""

from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.utils import timezone

from alliance_site.backups.contents import Check
from alliance_site.backups.make import BackupRefused
from alliance_site.backups.programs import NoProgram
from alliance_site.backups.restore import ACCEPTED, Restored, backup_restore
from alliance_site.backups.stream import BadBackup
from alliance_site.database import unfinished
from surveys.models import BackupRun
from surveys.services.operation import backup_record


class Command(BaseCommand):
    help = "Restore a backup into an empty database and compare it with the figures of the backup."
    # The database has no tables yet.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--accept",
            action="append",
            choices=ACCEPTED,
            default=[],
            help="what cannot be mended: a lost PSEUDONYM_KEY, a trace that was broken before the backup",
        )

    def handle(self, *_args: object, file: Path, accept: list[str], **_options: object) -> None:
        began_at = timezone.now()
        try:
            with unfinished.finishing():
                restored = backup_restore(file, self._say, accept)
                _keep(restored, file, began_at)
        except (BackupRefused, BadBackup, NoProgram, OSError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted. Where anything was restored, the database stays closed: call manage.py restore "
                "again, with the same file, and it goes on where it stopped.",
                returncode=130,
            ) from None
        manifest = restored.manifest
        if restored.problem:
            raise CommandError(
                f"Not as it was: {restored.problem}. The database stays closed. {restored.todo}"
            )
        self.stdout.write(
            f"Restored: the data are those of {manifest.taken:%Y-%m-%d %H:%M:%S} UTC, "
            f"{manifest.n_rows:,} rows, in {(timezone.now() - began_at).total_seconds():.1f} s."
        )

    def _say(self, check: Check) -> None:
        self.stdout.write(f"{'ok  ' if check.ok else 'FAIL'}  {check.what}")
        self.stdout.flush()


@transaction.atomic
def _keep(restored: Restored, file: Path, began_at: datetime) -> None:
    """How it went; where all is well the database is open with that, and not before."""
    # A database that was restored wrong, or an old one, may have nowhere to keep it.
    if BackupRun._meta.db_table in connection.introspection.table_names():
        backup_record(
            kind=BackupRun.Kind.RESTORE,
            began_at=began_at,
            file=file.name,
            taken_at=restored.manifest.taken,
            n_bytes=file.stat().st_size,
            n_rows=restored.manifest.n_rows,
            problem=restored.problem,
        )
    if not restored.problem:
        with connection.cursor() as cursor:
            unfinished.end(cursor)
