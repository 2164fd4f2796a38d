"""The door to frozen data and what is made of them: for whom the coded data of the study are visible."""

from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.shortcuts import get_object_or_404

from analytics.models import Analysis, PowerPlan, Snapshot
from surveys.access import Actor, visible_studies

Row = TypeVar("Row", bound=Model)


def _of_visible_studies(user: Actor, rows: QuerySet[Row]) -> QuerySet[Row]:
    return rows.filter(study__in=visible_studies(user)).select_related("study__clinic")


def get_snapshot_or_404(user: Actor, snapshot_id: UUID) -> Snapshot:
    return get_object_or_404(_of_visible_studies(user, Snapshot.objects.all()), pk=snapshot_id)


def get_analysis_or_404(user: Actor, analysis_id: UUID) -> Analysis:
    rows = _of_visible_studies(user, Analysis.objects.select_related("snapshot", "asked_by", "lock"))
    return get_object_or_404(rows, pk=analysis_id)


def get_plan_or_404(user: Actor, plan_id: UUID) -> PowerPlan:
    return get_object_or_404(_of_visible_studies(user, PowerPlan.objects.all()), pk=plan_id)
