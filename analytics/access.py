"""The door to frozen data and what is made of them: for whom the coded data of the study are visible. A file
that leaves is fetched by who asked for it alone, and agreed to by administrators of the clinic, or by another
for whom the data are visible."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404

from analytics.growth import JointResult
from analytics.models import Analysis, AnalysisLock, Export, PowerPlan, PublishedTable, Snapshot
from analytics.research.plan import from_result
from surveys import scope
from surveys.access import Actor, administered_clinics, person, visible_studies
from surveys.models import Study

Row = TypeVar("Row", bound=Model)


def _of_visible_studies(user: Actor, rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.filter(study__in=visible_studies(user)).select_related("study__clinic")


def get_snapshot_or_404(user: Actor, snapshot_id: UUID) -> Snapshot:
    return get_object_or_404(_of_visible_studies(user, Snapshot.objects.all()), pk=snapshot_id)


def get_analysis_or_404(user: Actor, analysis_id: UUID) -> Analysis:
    rows = _of_visible_studies(user, Analysis.objects.select_related("snapshot", "asked_by", "lock"))
    return get_object_or_404(rows, pk=analysis_id)


def get_lock_or_404(user: Actor, lock_id: UUID) -> AnalysisLock:
    rows = _of_visible_studies(user, AnalysisLock.objects.select_related("locked_by"))
    return get_object_or_404(rows, pk=lock_id)


def get_table_or_404(user: Actor, table_id: UUID) -> PublishedTable:
    """A published table, for who may take it back."""
    return get_object_or_404(_of_visible_studies(user, PublishedTable.objects.all()), pk=table_id)


@scope.everything()
def get_published_or_404(code: str) -> list[PublishedTable]:
    """Every version at a permanent address, the newest first: they are for everybody."""
    rows = PublishedTable.objects.filter(code=code).select_related("study__clinic", "analysis")
    found = list(rows.order_by("-version"))
    if not found:
        raise Http404("Nothing was published at this address.")
    return found


def usable_snapshot(study: Study) -> Snapshot | None:
    """The latest snapshot whose data are there."""
    rows = Snapshot.objects.filter(study=study, read_at__isnull=False, erased_at=None)
    return rows.order_by("-number").first()


def get_plan_or_404(user: Actor, plan_id: UUID) -> PowerPlan:
    return get_object_or_404(_of_visible_studies(user, PowerPlan.objects.all()), pk=plan_id)


def visible_exports(user: Actor) -> QuerySet[Export]:
    """Files asked for by anybody, of studies whose coded data are visible: their pages, not their bytes."""
    return _with_people(Export.objects.filter(snapshot__study__in=visible_studies(user)))


def get_export_or_404(user: Actor, export_id: UUID) -> Export:
    return get_object_or_404(visible_exports(user), pk=export_id)


def get_own_export_or_404(user: Actor, export_id: UUID) -> Export:
    """A file that the user asked for."""
    return get_object_or_404(visible_exports(user).filter(asked_by=person(user)), pk=export_id)


def administered_exports(user: Actor) -> QuerySet[Export]:
    """Files asked for, of studies of the clinics that the user administers, to decide about."""
    return _with_people(Export.objects.filter(snapshot__study__clinic__in=administered_clinics(user)))


def get_administered_export_or_404(user: Actor, export_id: UUID) -> Export:
    return get_object_or_404(administered_exports(user), pk=export_id)


def _with_people(rows: QuerySet[Export]) -> QuerySet[Export]:
    return rows.select_related("snapshot__study__clinic", "asked_by", "decided_by").prefetch_related(
        "approvals__by__memberships"
    )


@dataclass(frozen=True)
class Known:
    """What an analysis of the study's own data says of one predictor, to plan with."""

    analysis: Analysis
    predictor: str
    estimates: Mapping[str, Any]


def joint_estimates(user: Actor, study: Study) -> dict[str, Known]:
    """By a code for the address: predictors of the joint models of the study's latest ten answered analyses
    with a linear time in tens of sessions, the latest first."""
    rows = Analysis.objects.filter(
        study=study, study__in=visible_studies(user), status=Analysis.Status.ANSWERED
    )
    known = {}
    for analysis in rows.order_by("-number")[:10]:
        for model in (analysis.result or {}).get("models", ()):
            if model["kind"] != "joint" or not model["result"]["fixed"] or not is_tens_of_sessions(analysis):
                continue
            result = JointResult.from_dict(model["result"])
            for predictor in model["joint"]["predictors"]:
                code = f"{analysis.number}-{predictor}"
                known[code] = Known(analysis, predictor, from_result(result, predictor))
    return known


def is_tens_of_sessions(analysis: Analysis) -> bool:
    """Whether its models count time as plans do: (session - 3) / 10."""
    time: Mapping[str, Any] = analysis.spec.get("time", {})
    return (time.get("name"), time.get("origin"), time.get("unit")) == ("linear", 3, 10)
