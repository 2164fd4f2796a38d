"""Publishing the table of an analysis under a permanent address, and taking it back.

A table says what it is based on for every cell. Only numbers over enough people are published: at least ten
patients and three therapists, none of whom treats more than half of the patients, in every model and in every
group that a predictor sets apart; and not where few patients set them apart from an earlier answer to
the same question.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
from django.db import transaction
from django.utils import timezone

from analytics.analysis_page import heading
from analytics.disclosure import differ_by_few
from analytics.models import Analysis, PublishedTable, StoredFile
from analytics.research import table
from analytics.research.frames import MIN_PATIENTS, MIN_THERAPISTS, Frame, build, complete, groups
from analytics.research.spec import AnalysisSpec
from analytics.research.words import Words
from analytics.services.analyses import frozen_tables
from analytics.services.freeze import pseudonyms
from surveys import audit
from surveys.models import Study, User


class PublishRefused(Exception):
    """`code`: unanswered, erased (the data are gone, nobody could compute it again), few (too few people),
    difference (to an earlier answer, by too few), taken (another study has the address), twice (this analysis
    is published at this address already)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@transaction.atomic
def table_publish(*, analysis: Analysis, code: str, title: str, words: Words, actor: User) -> PublishedTable:
    """A new version at the address `code`. Raises PublishRefused."""
    if analysis.status != Analysis.Status.ANSWERED:
        raise PublishRefused("unanswered")
    Study.objects.select_for_update(no_key=True).get(pk=analysis.study_id)
    earlier = list(PublishedTable.objects.filter(code=code).order_by("version"))
    if any(row.study_id != analysis.study_id for row in earlier):
        raise PublishRefused("taken")
    if any(row.analysis_id == analysis.pk and row.withdrawn_at is None for row in earlier):
        raise PublishRefused("twice")
    _check_people(analysis)
    content = _content(analysis, words)
    row = PublishedTable.objects.create(
        study=analysis.study,
        code=code,
        version=earlier[-1].version + 1 if earlier else 1,
        analysis=analysis,
        title=title,
        content=content,
        sha256=content_sha256(content),
        published_by=actor,
        published_at=timezone.now(),
    )
    audit.record("table.publish", subject=row, actor=actor, clinic=analysis.study.clinic, code=code)
    return row


@transaction.atomic
def table_withdraw(*, row: PublishedTable, reason: str, actor: User) -> None:
    """Its address says from now on that it was withdrawn, when and why; once and for all."""
    done = PublishedTable.objects.filter(pk=row.pk, withdrawn_at=None).update(
        withdrawn_at=timezone.now(), withdrawn_by=actor, reason=reason
    )
    if done:
        audit.record("table.withdraw", subject=row, actor=actor, clinic=row.study.clinic, code=row.code)


def content_sha256(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(analysis: Analysis, words: Words) -> dict[str, Any]:
    """The table as text and at full precision, and what it rests on; in English, as all data files are."""
    result: Mapping[str, Any] = analysis.result or {}
    snapshot = analysis.snapshot
    about = heading(analysis, words)
    return {
        "head": table.head(result),
        "lines": [list(line) for line in table.lines(result, words)],
        "notes": list(about.notes),
        "cells": [{**asdict(cell), "path": list(cell.path)} for cell in table.cells(result)],
        "models": [
            {
                "key": model["key"],
                "formula": model["formula"],
                "method": model["result"]["method"],
                "df": model["result"]["df_method"],
                "status": model["result"]["status"],
                "n": model["result"]["n"],
            }
            for model in result["models"]
        ],
        "analysis": {"number": analysis.number, "spec_sha256": analysis.spec_sha256},
        "snapshot": {
            "number": snapshot.number,
            "id": str(snapshot.pk),
            "sha256": snapshot.sha256,
            "read_at": snapshot.read_at.isoformat() if snapshot.read_at else "",
            "n_left_out": snapshot.counts.get("n_left_out", 0),
        },
        "lock": _lock(analysis),
        "engine": analysis.engine_version,
    }


def _lock(analysis: Analysis) -> dict[str, str] | None:
    lock = analysis.lock
    return {"sha256": lock.sha256, "locked_at": lock.locked_at.isoformat()} if lock else None


def _check_people(analysis: Analysis) -> None:
    """By the rows of its models, not by what else is frozen: an effect of a group of few is those few's, and
    what changes between two answers to one question, when few patients come or go, is theirs. Raises
    PublishRefused."""
    try:
        frame = _frame(analysis)
    except StoredFile.DoesNotExist as error:
        raise PublishRefused("erased") from error
    raters = AnalysisSpec.from_dict(analysis.spec).raters
    if any(_are_few(rows) for rater in raters for _, rows in groups(frame, complete(frame, (rater,)))):
        raise PublishRefused("few")
    others = Analysis.objects.filter(study=analysis.study_id, spec_sha256=analysis.spec_sha256)
    others = others.filter(published_tables__isnull=False).exclude(snapshot=analysis.snapshot_id).distinct()
    for other in others.select_related("snapshot"):
        try:
            before = _frame(other)
        except StoredFile.DoesNotExist:
            # Nobody can tell any more who was in it.
            continue
        for rater in raters:
            if differ_by_few(_patients(analysis, frame, rater), _patients(other, before, rater)):
                raise PublishRefused("difference")


def _frame(analysis: Analysis) -> Frame:
    with tempfile.TemporaryDirectory(prefix="publish-") as folder:
        tables = frozen_tables(analysis.snapshot, Path(folder))
        return build(tables, AnalysisSpec.from_dict(analysis.spec))


def _patients(analysis: Analysis, frame: Frame, rater: str) -> set[UUID]:
    """Themselves, as snapshots of different selections have different pseudonyms."""
    name = pseudonyms(analysis.snapshot)
    there = set(complete(frame, (rater,))["patient"])
    return {patient for patient in analysis.snapshot.patients if name("P", patient) in there}


def _are_few(rows: pd.DataFrame) -> bool:
    pairs = rows[["therapist", "patient"]].drop_duplicates()
    sizes = pairs.groupby("therapist")["patient"].count()
    n = int(pairs["patient"].nunique())
    return n < MIN_PATIENTS or len(sizes) < MIN_THERAPISTS or 2 * int(sizes.max()) > n
