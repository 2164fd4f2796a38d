"""A rehearsal: the latest backup into a server made for it, compared and thrown away."""

from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from alliance_site.backups.drill import backup_rehearse
from alliance_site.backups.make import BackupRefused
from alliance_site.backups.restore import manifest_of
from alliance_site.backups.stream import BadBackup
from alliance_site.folders import EmbeddedError
from alliance_site.management.commands.backup import SUFFIX
from surveys.models import BackupRun
from surveys.services.operation import backup_record


class Command(BaseCommand):
    help = "Restore a backup into a throw-away server, compare it, and keep how that went."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, nargs="?", help="by default the latest backup in BACKUP_DIR")

    def handle(self, *_args: object, file: Path | None, **_options: object) -> None:
        began_at, manifest = timezone.now(), None
        # By its time: an operator may have named one.
        there = settings.BACKUP_DIR.glob(f"*{SUFFIX}")
        found = file or max(there, key=lambda path: path.stat().st_mtime_ns, default=None)
        if found is None:
            problem = f"There is no backup in {settings.BACKUP_DIR}. Make one: manage.py backup"
            backup_record(kind=BackupRun.Kind.DRILL, began_at=began_at, file="", problem=problem)
            raise CommandError(problem)
        try:
            manifest = manifest_of(found)
            problem = backup_rehearse(found, self.stdout.write)
        except (BackupRefused, BadBackup, EmbeddedError, OSError) as error:
            problem = str(error)
        run = backup_record(
            kind=BackupRun.Kind.DRILL,
            began_at=began_at,
            file=found.name,
            taken_at=manifest.taken if manifest else None,
            n_rows=manifest.n_rows if manifest else None,
            problem=problem,
        )
        if problem:
            raise CommandError(f"The drill failed: {problem}")
        self.stdout.write(f"The drill passed in {run.seconds:.1f} s: {found.name} can be restored.")
