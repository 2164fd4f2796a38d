"""A backup back into an empty database, with the checks that it is all there."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from alliance_site.backups.contents import Check
from alliance_site.backups.make import BackupRefused
from alliance_site.backups.programs import NoProgram
from alliance_site.backups.restore import backup_restore
from alliance_site.backups.stream import BadBackup
from surveys.models import BackupRun
from surveys.services.operation import backup_record


class Command(BaseCommand):
    help = "Restore a backup into an empty database and compare it with the figures of the backup."
    # The database has no tables yet.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *_args: object, file: Path, **_options: object) -> None:
        began_at = timezone.now()
        try:
            restored = backup_restore(file, self._say)
        except (BackupRefused, BadBackup, NoProgram, OSError) as error:
            raise CommandError(str(error)) from error
        manifest, problem = restored.manifest, restored.problem
        # A database that was restored wrong, or an old one, may have nowhere to keep it.
        if BackupRun._meta.db_table in connection.introspection.table_names():
            backup_record(
                kind=BackupRun.Kind.RESTORE,
                began_at=began_at,
                file=file.name,
                taken_at=manifest.taken,
                n_bytes=file.stat().st_size,
                n_rows=manifest.n_rows,
                problem=problem,
            )
        if problem:
            raise CommandError(f"Not as it was: {problem}. Do not open the site with this database.")
        self.stdout.write(
            f"Restored: the data are those of {manifest.taken:%Y-%m-%d %H:%M:%S} UTC, "
            f"{manifest.n_rows:,} rows, in {(timezone.now() - began_at).total_seconds():.1f} s."
        )

    def _say(self, check: Check) -> None:
        self.stdout.write(f"{'ok  ' if check.ok else 'FAIL'}  {check.what}")
        self.stdout.flush()
