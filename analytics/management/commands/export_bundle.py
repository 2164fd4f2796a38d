"""`manage.py export_bundle STUDY_CODE --out FILE.zip`: a bundle for whoever runs this site.

Freezes the study's data (data that are frozen already are used again), has the study's table computed from
them where nothing was, and writes the file, which only its owner can read. No second person approves it: who
runs the machine has the database. It stands in the trace.
"""

import os
import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from analytics.data_words import refusal
from analytics.export.bundle import build_bundle
from analytics.models import Analysis, Export, Snapshot
from analytics.research.spec import study_table
from analytics.selection import Selection
from analytics.services.analyses import analysis_answer, analysis_ask
from analytics.services.freeze import snapshot_freeze
from analytics.services.snapshots import SelectionRefused, snapshot_new
from analytics.storage import sha256
from surveys import audit
from surveys.models import Fields, Study
from surveys.progress import silent
from surveys.selectors import study_instruments


class Command(BaseCommand):
    help = "Writes a study's data, codebook, models and scripts as one zip file."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", help="code of the study, e.g. DEMO")
        parser.add_argument("--out", required=True, type=Path, help="the file to write")
        parser.add_argument("--tier", choices=Export.Tier.values, default=Export.Tier.ITEMS.value)
        parser.add_argument("--snapshot", type=int, help="number of a snapshot; without it: the data of now")
        parser.add_argument("--force", action="store_true", help="replace the file if it is there")

    def handle(self, *args: object, **options: Any) -> None:
        out: Path = options["out"]
        if out.exists() and not options["force"]:
            raise CommandError(f"{out} is there already. Choose another name, or add --force.")
        study = Study.objects.filter(code=options["study"], test_of=None).first()
        if study is None:
            codes = ", ".join(Study.objects.filter(test_of=None).values_list("code", flat=True)) or "none"
            raise CommandError(f"There is no study {options['study']!r}. Studies here: {codes}.")
        snapshot = self._snapshot(study, options["snapshot"])
        if not snapshot.analyses.filter(status=Analysis.Status.ANSWERED).exists():
            self._analyse(study, snapshot)
        export = self._export(snapshot, options["tier"])
        with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
            _put(build_bundle(export, Path(folder), silent), out)
        counts = ", ".join(f"{name} {n}" for name, n in sorted(snapshot.counts.items()))
        self.stdout.write(f"{out}: {out.stat().st_size} bytes, SHA-256 {sha256(out)}")
        self.stdout.write(f"Snapshot {snapshot.number} as of {snapshot.read_at}: {counts}")

    def _snapshot(self, study: Study, number: int | None) -> Snapshot:
        if number is not None:
            found = study.snapshots.filter(number=number, erased_at=None).exclude(sha256="").first()
            if found is None:
                raise CommandError(f"The study has no snapshot {number} whose data are there.")
            return found
        try:
            snapshot = snapshot_new(study=study, selection=Selection(), actor=None)
        except SelectionRefused as error:
            raise CommandError(refusal(error)) from error
        write = snapshot_freeze(str(snapshot.pk), silent)
        with transaction.atomic():
            write()
        snapshot.refresh_from_db()
        same = study.snapshots.filter(sha256=snapshot.sha256, erased_at=None).exclude(pk=snapshot.pk)
        if (earlier := same.order_by("number").first()) is not None:
            with transaction.atomic():
                snapshot.delete()
            return earlier
        return snapshot

    def _analyse(self, study: Study, snapshot: Snapshot) -> None:
        forms = [instrument.form for instrument in study_instruments(study)]
        analysis = analysis_ask(
            study=study, spec=study_table(forms), title="Study table", snapshot=snapshot, actor=None
        )
        analysis_answer(str(analysis.pk), silent)()
        analysis.refresh_from_db()
        if analysis.status != Analysis.Status.ANSWERED:
            self.stderr.write(f"The study's table could not be computed: {analysis.message}")

    @transaction.atomic
    def _export(self, snapshot: Snapshot, tier: str) -> Export:
        now = timezone.now()
        export = Export.objects.create(
            snapshot=snapshot,
            tier=tier,
            purpose="By the operator of the site.",
            agreement="By the operator of the site." if tier == Export.Tier.ITEMS else "",
            asked_at=now,
            decision=Export.Decision.APPROVED,
            decided_at=now,
        )
        audit.record_each(
            "export.command",
            [(export, {"tier": tier})],
            clinic=snapshot.study.clinic,
            read=Fields.CODED,
        )
        return export


def _put(source: Path, out: Path) -> None:
    """A file that nobody else can read, not even for the moment before a chmod."""
    out.unlink(missing_ok=True)
    with (
        os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target,
        source.open("rb") as made,
    ):
        shutil.copyfileobj(made, target, 1 << 20)
