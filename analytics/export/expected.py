"""The numbers of a snapshot's analyses and published tables, as the scripts of a bundle take them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analytics.export.tiers import Rules
from analytics.growth.results import ENGINE
from analytics.models import Analysis, PublishedTable, Snapshot
from analytics.research.frames import model_frame
from analytics.research.spec import AnalysisSpec

TOLERANCE = 1e-4
PEOPLE = {"therapist": "T", "therapy": "E", "patient": "P"}


def expected(
    snapshot: Snapshot, analyses: Sequence[Analysis], tables: Sequence[PublishedTable]
) -> dict[str, Any]:
    """`expected.json`, at full precision."""
    return {
        "format": 1,
        "tolerance": TOLERANCE,
        "study": snapshot.study.code,
        "snapshot": {
            "id": str(snapshot.pk),
            "number": snapshot.number,
            "sha256": snapshot.sha256,
            "read_at": snapshot.read_at.isoformat() if snapshot.read_at else None,
        },
        "engine": ENGINE,
        "analyses": [
            {
                "id": str(analysis.pk),
                "number": analysis.number,
                "title": analysis.title,
                "spec": analysis.spec,
                "models": [stated(analysis, model) for model in models_of(analysis)],
            }
            for analysis in analyses
        ],
        "tables": [
            {"code": table.code, "version": table.version, "cells": _cells(table)} for table in tables
        ],
    }


def _cells(table: PublishedTable) -> list[dict[str, Any]]:
    number = table.analysis.number
    return [{**cell, "model": f"{number}/{cell['model']}"} for cell in table.content["cells"]]


def models_of(analysis: Analysis) -> list[Mapping[str, Any]]:
    return list((analysis.result or {}).get("models", ()))


def stated(analysis: Analysis, model: Mapping[str, Any]) -> dict[str, Any]:
    """A model of an analysis with the file of its rows."""
    return {**model, "data": f"models/{analysis.number}-{model['key']}.csv"}


def write_model_frames(
    analyses: Sequence[Analysis], tables: Mapping[str, pd.DataFrame], rules: Rules, root: Path
) -> None:
    """One file of ready rows for each model, its people under the names of the bundle and in their order."""
    for analysis in analyses:
        frame = model_frame(tables, AnalysisSpec.from_dict(analysis.spec))
        frame = frame.assign(
            **{
                name: frame[name].map(lambda old, p=prefix: rules.names(p, old))
                for name, prefix in PEOPLE.items()
                if name in frame
            }
        )
        frame = frame.sort_values(["therapist", "therapy", "rater", "session"], kind="stable")
        for model in models_of(analysis):
            rows = rows_of(frame, model)
            rows.to_csv(root / stated(analysis, model)["data"], index=False, lineterminator="\r\n")


def rows_of(frame: pd.DataFrame, model: Mapping[str, Any]) -> pd.DataFrame:
    """The rows that a model was fitted to: of its raters, with nothing missing in its columns."""
    own = frame[frame["rater"].isin(model["rows"]["raters"])]
    return own[list(model["columns"])].dropna()
