"""What needs attention: a therapist's to-do list and caseload, and a supervisor's board and its file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from analytics.board import Board, BoardRow, caseload_board, supervision_board
from analytics.export.board import board_lines
from analytics.panel_selectors import team_panels
from surveys.access import first_clinic, person
from surveys.board import ALL, ATTENTION, SHOWN, Choice, Need, needs
from surveys.models import Rater, Role
from surveys.selectors import todo_forms
from surveys.worklist import sessions_to_close, unrated_therapies

LISTS: Mapping[str, str | Promise] = {
    ALL: gettext_lazy("All"),
    Need.DIP: gettext_lazy("Possible dips"),
    Need.OVERDUE: gettext_lazy("Overdue"),
    Need.DUE: gettext_lazy("Due"),
    Need.NONE: gettext_lazy("No data"),
}
STATE = gettext_lazy("State")
LAST_SESSION = gettext_lazy("Last session")
PATIENTS_FORMS = gettext_lazy("Patient’s forms")
ATTENTION_HEAD = gettext_lazy("Needs attention")
CASELOAD: Mapping[str, str | Promise] = {
    "therapy": gettext_lazy("Therapy"),
    "state": STATE,
    ATTENTION: ATTENTION_HEAD,
    "session": LAST_SESSION,
    "therapist-forms": gettext_lazy("Your forms"),
    "patient-forms": PATIENTS_FORMS,
}
SUPERVISION: Mapping[str, str | Promise] = {
    "therapy": gettext_lazy("Therapy"),
    "therapist": gettext_lazy("Therapist"),
    "state": STATE,
    ATTENTION: ATTENTION_HEAD,
    "session": LAST_SESSION,
    "therapist-forms": gettext_lazy("Therapist’s forms"),
    "patient-forms": PATIENTS_FORMS,
}


@dataclass(frozen=True)
class Head:
    """The head of a column: what it sorts by, where it leads, and how the table is sorted by it now."""

    title: str | Promise
    query: str
    direction: str


@dataclass(frozen=True)
class Filter:
    title: str | Promise
    query: str
    n: int
    is_chosen: bool


@dataclass(frozen=True)
class Line:
    """One row of the table: the therapy and, in words, what needs attention."""

    row: BoardRow
    words: list[tuple[Need, str]]


def _choice(request: HttpRequest) -> Choice:
    try:
        return Choice.of(request.GET.dict())
    except ValueError as error:
        raise Http404(str(error)) from None


def _context(board: Board, columns: Mapping[str, str | Promise], *, is_own: bool) -> dict[str, object]:
    choice = board.choice
    return {
        "board": board,
        "heads": [
            Head(title, choice.sorted_by(column).query, choice.direction(column))
            for column, title in columns.items()
        ],
        "filters": [
            Filter(LISTS[show], replace(choice, show=show).query, board.n_by_show[show], show == choice.show)
            for show in SHOWN
        ],
        "lines": [Line(row, _words(row, is_own=is_own)) for row in board.rows],
    }


def _words(row: BoardRow, *, is_own: bool) -> list[tuple[Need, str]]:
    """What needs attention, each in a sentence of its own."""
    said = {
        Need.DIP: _dips,
        Need.OVERDUE: lambda row: _overdue(row, is_own=is_own),
        Need.DUE: _due,
        Need.NONE: lambda row: [_("No rating received yet")],
    }
    return [(need, sentence) for need in needs(row.facts) for sentence in said[need](row)]


def _dips(row: BoardRow) -> list[str]:
    words = ngettext(
        "Possible dip, worth asking about: session %(session)d",
        "%(n)d possible dips, worth asking about; the latest: session %(session)d",
        len(row.dips),
    )
    return [words % {"n": len(row.dips), "session": row.dips[-1]}]


def _overdue(row: BoardRow, *, is_own: bool) -> list[str]:
    late = {
        Rater.PATIENT: _("The patient’s last form was not answered in time"),
        Rater.THERAPIST: _("Your last form was not answered in time")
        if is_own
        else _("The therapist’s last form was not answered in time"),
    }
    quiet = [_("Nothing in the log for more than a week")] if row.facts.is_quiet else []
    return [late[Rater(rater)] for rater in row.facts.late] + quiet


def _due(row: BoardRow) -> list[str]:
    n = row.facts.n_open
    return [ngettext("%(n)d form is open", "%(n)d forms are open", n) % {"n": n}]


def caseload(request: HttpRequest) -> HttpResponse:
    board = caseload_board(request.user, _choice(request))
    context = {
        "clinic": first_clinic(request.user, Role.THERAPIST),
        "forms": todo_forms(request.user),
        "to_close": sessions_to_close(request.user),
        "unrated": unrated_therapies(request.user),
        **_context(board, CASELOAD, is_own=True),
    }
    return render(request, "surveys/caseload.html", context)


def supervision(request: HttpRequest) -> HttpResponse:
    board = supervision_board(person(request.user), _choice(request))
    context = {
        "clinic": first_clinic(request.user, Role.SUPERVISOR),
        "tiles": team_panels(request.user),
        **_context(board, SUPERVISION, is_own=False),
    }
    return render(request, "analytics/supervision.html", context)


def supervision_file(request: HttpRequest) -> StreamingHttpResponse:
    """The board of the same address as a file."""
    board = supervision_board(person(request.user), _choice(request))
    return StreamingHttpResponse(
        board_lines(list(board.rows)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="supervision.csv"'},
    )
