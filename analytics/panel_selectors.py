"""The panels that somebody may read: of a study for its administrators, of a team for its supervisor."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import QuerySet

from analytics.disclosure import BATCH, MIN_PATIENTS, MIN_THERAPISTS, Share, leaves_few_unknown
from analytics.models import Panel
from surveys.access import Actor, supervised_therapies
from surveys.clinic_access import known_one_by_one
from surveys.models import Rater, Study


@dataclass(frozen=True)
class Tile:
    """One panel as a page shows it."""

    panel: Panel
    # Therapists whose ratings, or whose patients', its reader knows one by one.
    known: Collection[UUID] = ()

    @property
    def lacks(self) -> list[str]:
        """Why it has no numbers for its reader; empty where it has."""
        if found := list(self.panel.figures.get("lacks", ())):
            return found
        known = set(map(str, self.known))
        return ["known"] if leaves_few_unknown(self.panel.figures.get("patients"), known) else []

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


def clinic_panels(user: Actor, study: Study) -> Tiles:
    """For a page whose door let the study through. An administrator who treats patients as well, or
    supervises, could take those whom they know out of a figure, and so has it only of enough others."""
    known = {rater: known_one_by_one(user, study, rater) for rater in Rater.values}
    rows = _newest(Panel.objects.filter(study=study, supervisor=None))
    return Tiles([replace(tile, known=known[tile.panel.rater]) for tile in rows], is_team=False)


def team_panels(user: Actor) -> Tiles:
    """Of the team that the user supervises, in every study in which it has therapies today: of ratings that
    its supervisor may also read one by one."""
    studies = supervised_therapies(user).values("study")
    rows = Panel.objects.filter(supervisor=user.pk, supervisor__isnull=False, study__in=studies)
    return Tiles(_newest(rows), is_team=True)


def _newest(panels: QuerySet[Panel]) -> list[Tile]:
    key = ("study", "rater", "instrument")
    rows = panels.order_by(*key, "-id").distinct(*key).select_related("study")
    return [Tile(panel) for panel in rows]
