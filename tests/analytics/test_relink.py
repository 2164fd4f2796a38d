"""The attack: somebody knows a therapist's own forms and looks for them in a file.

They are the therapist, or somebody who was told: for each of the therapist's sessions they know the day, and
what the therapist answered. With that they look for the one name in the file that it fits best. docs/data.md
says how often that succeeds.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from django.conf import LazySettings
from django.db import connection
from django.db.models import F

from analytics.export.source import export_names, tier_rules
from analytics.export.tiers import ITEMS, SCORES, rules, tables_of
from analytics.frozen import tables
from analytics.models import Snapshot
from analytics.selection import Selection
from analytics.storage import fetch
from surveys.demo.build import STUDY, build
from surveys.demo.parameters import SIZES
from surveys.models import Response, Session, Study, Therapist, Therapy
from surveys.selectors import study_instruments
from tests.analytics.clinics import frozen, rated_clinic, read

pytestmark = pytest.mark.django_db
KINDS = ("therapist", "patient", "therapy")


@dataclass(frozen=True)
class File:
    """The table of ratings as it is in a file, and, to judge the attack by, who of the frozen tables stands
    alone under which name."""

    ratings: pd.DataFrame
    alone: dict[str, str]


def file_of(snapshot: Snapshot, tier: str, folder: Path) -> File:
    schema = tables([instrument.form for instrument in study_instruments(snapshot.study)])
    therapies, therapists = (read(snapshot, name, folder) for name in ("therapies", "therapists"))
    found = rules(tier, export_names(snapshot, tier), therapies, therapists)
    path = fetch(snapshot, "ratings.parquet", folder / "ratings.parquet")
    alone = {old: found.names("T", old) for old in therapists["therapist"] if old not in found.together}
    return File(pd.concat(tables_of(schema[0], path, found), ignore_index=True), alone)


def known(snapshot: Snapshot, folder: Path) -> pd.DataFrame:
    """What each therapist knows of their own forms."""
    ratings = read(snapshot, "ratings", folder)
    return ratings[ratings["rater"] == "therapist"]


def success(own: pd.DataFrame, file: File, by: list[str]) -> float:
    """Of the therapists, the share whose forms fit their own name in the file better than any other: most of
    what is known is there, and little else is. Who stands together with others has no name."""
    theirs = _told(file.ratings[file.ratings["rater"] == "therapist"], by)
    hits = 0
    for therapist, known in _told(own, by).items():
        fits = sorted(((_fit(known, forms), name) for name, forms in theirs.items()), reverse=True)
        is_clear = fits[0][0] > fits[1][0] if len(fits) > 1 else True
        hits += is_clear and fits[0][1] == file.alone.get(therapist)
    return hits / own["therapist"].nunique()


def _told(ratings: pd.DataFrame, by: list[str]) -> dict[str, Counter[tuple[str, ...]]]:
    """By therapist, what their forms say in these columns, and how often."""
    rows = ratings[by].astype(str).agg(tuple, axis=1)
    return {str(name): Counter(own) for name, own in rows.groupby(ratings["therapist"])}


def _fit(known: Counter[tuple[str, ...]], forms: Counter[tuple[str, ...]]) -> tuple[int, int]:
    return (known & forms).total(), -forms.total()


def test_who_knows_a_therapist_s_forms_finds_them_and_by_days_only_where_days_are(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=5)
    # Nobody begins on the same days; the weeks of a therapy are still the same for all.
    for n, therapist in enumerate(Therapist.objects.filter(clinic=study.clinic).order_by("pk")):
        _shift(therapist, timedelta(days=2 * n))
    snapshot = frozen(study)
    own = known(snapshot, tmp_path)
    scores, items = (file_of(snapshot, tier, tmp_path) for tier in (SCORES, ITEMS))
    assert success(own, scores, ["session", "week"]) < 0.2
    assert success(own, items, ["session", "submitted_on"]) == 1
    assert success(own, scores, ["session", "task", "bond", "goal", "total"]) == 1
    assert success(own, items, [f"item_{n}" for n in range(1, 13)]) == 1


def _shift(therapist: Therapist, by: timedelta) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        forms = Response.objects.filter(assignment__session__therapy__therapist=therapist)
        forms.update(submitted_at=F("submitted_at") - by, started_at=F("started_at") - by)
        Session.objects.filter(therapy__therapist=therapist).update(held_at=F("held_at") - by)
        Therapy.objects.filter(therapist=therapist).update(started_on=F("started_on") - by)
        cursor.execute("SET session_replication_role = DEFAULT")


def test_therapists_with_few_patients_cannot_be_told_from_each_other(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=2)
    snapshot = frozen(study)
    scores = file_of(snapshot, SCORES, tmp_path).ratings
    assert scores["therapist"].nunique() == 1
    assert known(snapshot, tmp_path)["therapist"].nunique() == 6


def test_files_of_other_tiers_or_selections_share_no_name(tmp_path: Path) -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=5)
    whole = frozen(study)
    other = frozen(study, Selection(started_from=date(2000, 1, 1)))
    files = [file_of(snapshot, tier, tmp_path) for snapshot in (whole, other) for tier in (SCORES, ITEMS)]
    for kind in KINDS:
        names = [set(file.ratings[kind]) for file in files]
        assert all(not one & two for place, one in enumerate(names) for two in names[place + 1 :]), kind


@pytest.mark.slow
def test_how_often_it_succeeds_in_a_clinic_of_the_study_s_size(
    settings: LazySettings, tmp_path: Path
) -> None:
    """The figures of docs/data.md."""
    settings.DEMO, settings.VAR = True, tmp_path
    build(SIZES["study"])
    snapshot = frozen(Study.objects.get(code=STUDY))
    own = known(snapshot, tmp_path)
    scores, items = (file_of(snapshot, tier, tmp_path) for tier in (SCORES, ITEMS))
    total, answers = ["session", "total"], [f"item_{n}" for n in range(1, 13)]
    found = {
        "scores: weeks": success(own, scores, ["session", "week"]),
        "scores: totals of three forms": success(own.groupby("therapist").head(3), scores, total),
        "scores: all totals": success(own, scores, total),
        "items: days": success(own, items, ["session", "submitted_on"]),
        "items: answers of one form": success(own.groupby("therapist").head(1), items, answers),
    }
    n = {"patients": snapshot.counts["n_patients"], "therapists": own["therapist"].nunique()}
    print({name: round(share, 2) for name, share in found.items()}, n)
    alone = 1 - tier_rules(snapshot, SCORES).found.n_together / n["therapists"]
    assert found["scores: all totals"] <= alone + 0.02, "who stands together is never found"
    assert found["items: days"] > 0.95
