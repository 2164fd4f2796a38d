"""Asking a question of a study's frozen data, stopping it, and answering it: the job `analyse`."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pandas as pd
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from analytics.growth.results import ENGINE
from analytics.models import Analysis, Snapshot
from analytics.research.frames import Refusal, Tables
from analytics.research.refusals import refusal
from analytics.research.run import Report, answer
from analytics.research.spec import AnalysisSpec
from analytics.research.words import Words
from analytics.selection import Selection
from analytics.services.freeze import snapshot_freeze
from analytics.services.snapshots import snapshot_new
from analytics.storage import fetch
from surveys import audit, jobs
from surveys.models import Study, User
from surveys.progress import Progress, silent

JOB = "analyse"
# What an analysis reads of a snapshot.
TABLES = ("ratings", "practice", "therapies", "therapists")


@transaction.atomic
def analysis_ask(
    *, study: Study, spec: AnalysisSpec, title: str, snapshot: Snapshot | None, actor: User | None
) -> Analysis:
    """Of a snapshot that is there, or of a new one that the job freezes first. `actor` None: the operator.
    Raises SelectionRefused where there are too few for a new one."""
    Study.objects.select_for_update(no_key=True).get(pk=study.pk)
    last = Analysis.objects.filter(study=study).aggregate(last=Max("number"))["last"]
    analysis = Analysis.objects.create(
        study=study,
        snapshot=snapshot or snapshot_new(study=study, selection=Selection(), actor=actor),
        number=(last or 0) + 1,
        title=title,
        spec=spec.to_dict(),
        spec_sha256=spec.sha256,
        asked_by=actor,
        asked_at=timezone.now(),
    )
    audit.record("analysis.ask", subject=analysis, actor=actor, clinic=study.clinic, spec_sha256=spec.sha256)
    jobs.request(JOB, analysis.pk)
    return analysis


@transaction.atomic
def analysis_cancel(*, analysis: Analysis, actor: User) -> None:
    """What is answered stays answered."""
    audit.record("analysis.cancel", subject=analysis, actor=actor, clinic=analysis.study.clinic)
    jobs.cancel(JOB, analysis.pk)


def analysis_answer_now(analysis: Analysis) -> Analysis:
    """The answer in this process, for an operator; its job is called off."""
    write = analysis_answer(str(analysis.pk), silent)
    with transaction.atomic():
        jobs.cancel(JOB, analysis.pk)
        write()
    analysis.refresh_from_db()
    return analysis


def analysis_answer(analysis_id: str, progress: Progress | Report) -> Callable[[], None]:
    """Computes the answer; returns the function that keeps it. One that is answered, or whose snapshot is
    gone, is left as it is."""
    found = Analysis.objects.select_related("snapshot", "study").filter(pk=UUID(analysis_id), status="")
    analysis = found.filter(snapshot__erased_at=None).first()
    if analysis is None:
        return lambda: None
    if analysis.snapshot.read_at is None:
        keep = snapshot_freeze(str(analysis.snapshot_id), progress)
        with transaction.atomic():
            keep()
    began = time.perf_counter()
    status, message, result = _answer(analysis, progress)
    seconds = time.perf_counter() - began

    def write() -> None:
        Analysis.objects.filter(pk=analysis.pk, status="").update(
            status=status,
            message=message[:500],
            result=result,
            engine_version=ENGINE,
            seconds=seconds,
            finished_at=timezone.now(),
        )

    return write


def _answer(analysis: Analysis, progress: Progress | Report) -> tuple[str, str, dict[str, object]]:
    try:
        with tempfile.TemporaryDirectory(prefix="analyse-") as folder:
            frozen = frozen_tables(analysis.snapshot, Path(folder))
            result = answer(frozen, AnalysisSpec.from_dict(analysis.spec), progress)
        return Analysis.Status.ANSWERED, "", result
    except Refusal as reason:
        message = refusal(reason.code, reason.values_of, Words())
        return (
            Analysis.Status.REFUSED,
            message,
            {"refusal": {"code": reason.code, "values": reason.values_of}},
        )


def frozen_tables(snapshot: Snapshot, folder: Path) -> Tables:
    """The tables of a snapshot that an analysis reads."""
    return {
        name: pd.read_parquet(fetch(snapshot, f"{name}.parquet", folder / f"{name}.parquet"))
        for name in TABLES
    }
