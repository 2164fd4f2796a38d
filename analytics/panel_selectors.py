"""The panels that somebody may read: of a study for its administrators, of a team for its supervisor."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import QuerySet

from analytics.disclosure import BATCH, MIN_PATIENTS, MIN_THERAPISTS, Share
from analytics.models import Panel
from surveys.access import Actor, supervised_therapies
from surveys.models import Study


@dataclass(frozen=True)
class Tile:
    """One panel as a page shows it."""

    panel: Panel

    @property
    def lacks(self) -> list[str]:
        """Why it has no numbers; empty where it has."""
        return list(self.panel.figures.get("lacks", ()))

    @property
    def share(self) -> Share:
        """Sessions whose form came in, of those at which one was asked for and is no longer open."""
        return Share(self.panel.figures["n_received"], self.panel.figures["n_due"])


@dataclass(frozen=True)
class Tiles:
    """The newest panels, patients' before therapists', and the rules that they are made by."""

    rows: Sequence[Tile]
    is_team: bool
    batch: int = BATCH
    min_patients: int = MIN_PATIENTS
    min_therapists: int = MIN_THERAPISTS


def clinic_panels(study: Study) -> Tiles:
    """For a page whose door let the study through."""
    return Tiles(_newest(Panel.objects.filter(study=study, supervisor=None)), is_team=False)


def team_panels(user: Actor) -> Tiles:
    """Of the team that the user supervises, in every study in which it has therapies today."""
    studies = supervised_therapies(user).values("study")
    rows = Panel.objects.filter(supervisor=user.pk, supervisor__isnull=False, study__in=studies)
    return Tiles(_newest(rows), is_team=True)


def _newest(panels: QuerySet[Panel]) -> list[Tile]:
    key = ("study", "rater", "instrument")
    rows = panels.order_by(*key, "-id").distinct(*key).select_related("study")
    return [Tile(panel) for panel in rows]
