"""A small study with ratings, for what is made of ratings."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from django.db.models import QuerySet
from django.utils import timezone

from analytics.models import GrowthFit, Snapshot
from analytics.selection import Selection
from analytics.services.freeze import pseudonyms, snapshot_freeze
from analytics.storage import fetch
from surveys.models import Assignment, Role, Study, Therapy, User
from surveys.progress import silent
from surveys.services.entry import FilledForm, responses_enter
from surveys.services.responses import Paradata
from surveys.services.sessions import Entry, sessions_close
from tests import factories

WHOLE = Selection()


def rated_clinic(
    n_therapists: int = 4,
    n_therapies: int = 3,
    raters: tuple[str, ...] = ("patient", "therapist"),
    planned: tuple[int, ...] = (1, 2, 3),
) -> tuple[Study, User]:
    """A small study with every form of three sessions given; the first therapist has an account."""
    rng = np.random.default_rng(7)
    clinic = factories.make_clinic()
    study = factories.make_study(clinic, sessions=planned)
    user = factories.make_user("therapist@example.org", Role.THERAPIST, clinic=clinic)
    now = timezone.now()
    forms: list[FilledForm] = []
    for k in range(n_therapists):
        owner = user if k == 0 else factories.make_user(f"t{k}@example.org", Role.THERAPIST, clinic=clinic)
        level = rng.normal(0, 0.3)
        for _ in range(n_therapies):
            therapy = factories.make_therapy(study, owner)
            times = [now - timedelta(days=20 - 7 * number, minutes=k) for number in range(3)]
            sessions_close(therapy=therapy, entries=[Entry(at, "held") for at in times])
            due = {(row.session.number, row.rater): row for row in _forms(therapy)}
            own, slope = rng.normal(0, 0.8), rng.normal(0, 0.4)
            for number in range(3):
                for rater in raters:
                    mean = 5 + level + own + slope * number + rng.normal(0, 0.4)
                    values = np.clip(np.round(rng.normal(mean, 0.6, 12)), 1, 7).astype(int).tolist()
                    forms.append(_filled(due[number + 1, rater], dict(enumerate(values, start=1))))
    responses_enter(study=study, forms=forms)
    return study, user


def research_clinic(n_therapists: int = 3, n_patients: int = 6) -> Study:
    """A study with therapies and no form yet: enough people for a dataset, and quick to freeze."""
    clinic = factories.make_clinic()
    study = factories.make_study(clinic)
    for k in range(n_therapists):
        owner = factories.make_user(f"t{k}@example.org", Role.THERAPIST, clinic=clinic)
        for _ in range(n_patients):
            factories.make_therapy(study, owner)
    return study


def rate(therapy: Therapy, value: int = 6) -> None:
    """One more session of a therapy, and the patient's rating of it."""
    at = timezone.now() - timedelta(hours=2)
    (session,) = sessions_close(therapy=therapy, entries=[Entry(at, "held")]).sessions
    form = next(row for row in _forms(therapy) if row.session == session and row.rater == "patient")
    responses_enter(study=therapy.study, forms=[_filled(form, dict.fromkeys(range(1, 13), value))])


def fits(perspective: str, scale: str = "total", coding: str = "linear") -> QuerySet[GrowthFit]:
    """The fits of one model, the latest first."""
    rows = GrowthFit.objects.filter(perspective=perspective, scale=scale, coding=coding)
    return rows.order_by("-fitted_at")


def follow(
    study: Study,
    user: User,
    values: Sequence[int],
    sharing: str = "scores",
    begin: datetime | None = None,
    by_therapist_at: datetime | None = None,
) -> Therapy:
    """A new therapy of a therapist with a session for every value, one a day until today or from `begin` on,
    each rated by both: the patient gives this value to all items, two of which count the other way round."""
    therapy = factories.make_therapy(study, user)
    begin = begin or timezone.now() - timedelta(days=len(values))
    entries = [Entry(begin + timedelta(days=n), "held") for n in range(len(values))]
    sessions_close(therapy=therapy, entries=entries)
    forms = []
    for form in _forms(therapy):
        value = values[form.session.number - 1] if form.rater == "patient" else 5
        filled = replace(_filled(form, dict.fromkeys(range(1, 13), value)), sharing=sharing)
        if by_therapist_at and form.rater == "therapist":
            filled = replace(filled, opened_at=by_therapist_at, submitted_at=by_therapist_at)
        forms.append(filled)
    responses_enter(study=study, forms=forms)
    return therapy


def _forms(therapy: Therapy) -> list[Assignment]:
    return list(Assignment.objects.filter(session__therapy=therapy).select_related("session"))


def _filled(form: Assignment, answers: dict[int, int]) -> FilledForm:
    at = form.session.held_at + timedelta(hours=1)
    return FilledForm(
        assignment_id=form.pk,
        answers=answers,
        opened_at=at,
        submitted_at=at,
        browser_hash=str(form.pk).replace("-", ""),
        paradata=Paradata(device="phone", channel="link"),
        sharing="scores",
    )


def frozen(study: Study, selection: Selection = WHOLE) -> Snapshot:
    """The study's data frozen as they are now."""
    snapshot = Snapshot.objects.create(
        study=study,
        number=study.snapshots.count() + 1,
        selection=selection.to_dict(),
        asked_at=timezone.now(),
    )
    snapshot_freeze(str(snapshot.pk), silent)()
    snapshot.refresh_from_db()
    return snapshot


def dataset(study: Study) -> list[dict[str, Any]]:
    """Every form of the study as it is frozen now, of the alliance and of practice; missing values are None,
    and people and therapies go by their codes here, which they never do in a file."""
    snapshot, rows = frozen(study), []
    names = pseudonyms(snapshot)
    codes = {
        names(prefix, row.pk): row.code
        for therapy in study.therapies.select_related("patient", "therapist")
        for prefix, row in (("E", therapy), ("P", therapy.patient), ("T", therapy.therapist))
    }
    with tempfile.TemporaryDirectory() as folder:
        for table in ("ratings", "practice"):
            frame = read(snapshot, table, Path(folder)).astype(object)
            rows += frame.where(frame.notna(), None).to_dict("records")
    shown = ("therapist", "patient", "therapy")
    return [row | {name: codes.get(row[name], row[name]) for name in shown} for row in rows]


def read(snapshot: Snapshot, name: str, folder: Path) -> pd.DataFrame:
    return pd.read_parquet(fetch(snapshot, f"{name}.parquet", folder / f"{name}.parquet"))
