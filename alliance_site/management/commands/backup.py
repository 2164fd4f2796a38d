"""A backup of the whole database in one encrypted file."""

from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from alliance_site.backups.make import BackupRefused, Made, backup_make, refuse_place
from alliance_site.backups.programs import NoProgram
from alliance_site.folders import make_folder
from surveys.models import BackupRun
from surveys.services.operation import backup_record

SUFFIX = ".alliance"


class Command(BaseCommand):
    help = (
        "Back the whole database up into one encrypted file, with the figures by which a restore is checked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--out",
            type=Path,
            metavar="FILE",
            help="where to; by default a file named by the time in BACKUP_DIR",
        )

    def handle(self, *_args: object, out: Path | None, **_options: object) -> None:
        began_at = timezone.now()
        if out is None:
            make_folder(settings.BACKUP_DIR, 0o700, None)
            out = settings.BACKUP_DIR / f"{began_at:%Y%m%dT%H%M%SZ}{SUFFIX}"
        else:
            _refuse_mistyped(out.absolute())
        try:
            made = backup_make(out.absolute())
        except (BackupRefused, NoProgram, OSError) as error:
            backup_record(kind=BackupRun.Kind.BACKUP, began_at=began_at, file=out.name, problem=str(error))
            raise CommandError(str(error)) from error
        run = backup_record(
            kind=BackupRun.Kind.BACKUP,
            began_at=began_at,
            file=out.name,
            taken_at=made.manifest.taken,
            n_bytes=made.n_bytes,
            n_rows=made.manifest.n_rows,
        )
        self.stdout.write(_words(made, run))


def _refuse_mistyped(out: Path) -> None:
    """Before anything is kept: a slip of the hand says nothing about the site's backups."""
    try:
        refuse_place(out)
    except (BackupRefused, OSError) as error:
        raise CommandError(str(error)) from error


def _words(made: Made, run: BackupRun) -> str:
    manifest = made.manifest
    keys = ", ".join(f"{name} {' '.join(marks) or 'none'}" for name, marks in sorted(manifest.keys.items()))
    return (
        f"{made.path}: {made.n_bytes / 1e6:,.1f} MB in {run.seconds:.1f} s; {len(manifest.tables)} tables, "
        f"{manifest.n_rows:,} rows, as of {manifest.taken:%Y-%m-%d %H:%M:%S} UTC.\n"
        f"It does not hold the keys; fingerprints: {keys}."
    )
