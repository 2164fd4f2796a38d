"""The list of therapies of a therapist or a supervisor, by what needs attention: progress and, of the ratings
that its reader may see, possible dips."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from analytics.dip_selectors import RatedTherapy, rated_therapies, studies_dip_rules, waiting_dips
from analytics.dips import NEEDS_MODEL
from analytics.sparkline import Sparkline, sparkline
from surveys.access import (
    Actor,
    open_supervised_therapies,
    shows_ratings,
    supervised_therapies,
    visible_caseload_scores,
    visible_supervised_scores,
    visible_therapies,
)
from surveys.board import Choice, Facts, listed, n_by_show, n_by_therapist
from surveys.models import Score, Therapy
from surveys.selectors import current_versions
from surveys.worklist import therapies_facts


@dataclass(frozen=True)
class BoardRow:
    """One therapy with its progress. `dips`: sessions of the possible dips that count as one of its needs;
    `is_open`: whether its page is open to the reader."""

    therapy: Therapy
    facts: Facts
    rated: RatedTherapy
    dips: tuple[int, ...] = ()
    is_open: bool = True

    @property
    def picture(self) -> Sparkline | None:
        if self.rated.form is None:
            return None
        form = self.rated.form.form
        return sparkline(self.rated.ratings, form.minimum, form.maximum)


@dataclass(frozen=True)
class Board:
    """`rows` are those of the choice, in its order; the counts are of the lists that a filter leads to.

    `fitted_at`: of the oldest of the `n_models` that possible dips are looked for with, None where none is.
    `n_without_dips`: running therapies of which the study shows the reader no rating of the patient.
    """

    choice: Choice
    rows: Sequence[BoardRow]
    n_all: int
    n_by_show: dict[str, int]
    n_by_therapist: dict[str, int]
    as_of: datetime
    fitted_at: datetime | None
    n_models: int
    n_without_dips: int


def caseload_board(user: Actor, choice: Choice) -> Board:
    """The therapist's own therapies."""
    rows = _rows(visible_therapies(user), visible_caseload_scores(user))
    return _board(rows, choice, to_supervisor=False)


def supervision_board(user: Actor, choice: Choice) -> Board:
    """The therapies of a supervisor's supervisees."""
    rows = _rows(supervised_therapies(user), visible_supervised_scores(user))
    opened = set(open_supervised_therapies(user).values_list("pk", flat=True))
    rows = [replace(row, is_open=row.therapy.pk in opened) for row in rows]
    return _board(rows, choice, to_supervisor=True)


def _rows(therapies: QuerySet[Therapy], scores: QuerySet[Score]) -> list[BoardRow]:
    known = therapies_facts(therapies)
    rated = rated_therapies(scores, [therapy for therapy, _facts in known])
    return [BoardRow(therapy, facts, ratings) for (therapy, facts), ratings in zip(known, rated, strict=True)]


def _board(rows: Sequence[BoardRow], choice: Choice, *, to_supervisor: bool) -> Board:
    studies: set[UUID] = {row.therapy.study_id for row in rows}
    # After the end nobody can be asked any more; such a dip stands on the page of its therapy.
    running = [row for row in rows if row.facts.is_running]
    rules, versions = studies_dip_rules(studies), current_versions(studies)
    dips = waiting_dips([row.rated for row in running], rules)
    rows = [_with_dips(row, dips.get(row.therapy.pk, ())) for row in rows]
    used = {
        row.rated.model.fitted_at
        for row in running
        if row.rated.model
        and row.rated.ratings
        and any(rule.kind in NEEDS_MODEL for rule in rules[row.therapy.study_id])
    }
    hidden = [
        row
        for row in running
        if not row.rated.ratings
        and not shows_ratings(versions.get(row.therapy.study_id), to_supervisor=to_supervisor, is_ended=False)
    ]
    return Board(
        choice=choice,
        rows=listed(rows, choice),
        n_all=len(rows),
        n_by_show=n_by_show(rows, choice),
        n_by_therapist=n_by_therapist(rows, choice),
        as_of=timezone.now(),
        fitted_at=min(used, default=None),
        n_models=len(used),
        n_without_dips=len(hidden),
    )


def _with_dips(row: BoardRow, dips: tuple[int, ...]) -> BoardRow:
    return replace(row, dips=dips, facts=replace(row.facts, n_dips=len(dips)))
