"""The supervisor's board and its file, and the therapist's caseload in the same order."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.dip_selectors import rated_therapies, waiting_dips
from analytics.dips import RULES
from analytics.services.dips import dip_review, dip_rules_choose
from analytics.sparkline import sparkline
from surveys.access import visible_caseload_scores
from surveys.models import AuditEvent, Membership, Response, Role, Study, Therapy, User
from tests import factories
from tests.analytics.clinics import follow
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

STEADY, DIPPED = [5, 6, 5, 6, 6], [5, 6, 5, 6, 2]
BOARD, FILE = "/supervision/", "/supervision/board.csv"


@pytest.fixture
def study(cast: Cast) -> Study:
    """Open to supervisors, with a form at each of twelve sessions, and a rule that needs no model."""
    study = factories.make_study(cast.clinic, code="DIPS", sessions=tuple(range(1, 13)))
    factories.set_visibility(study, "feedback", is_open_to_supervisors=True)
    dip_rules_choose(study=study, rules=["within-1"], actor=cast.clinic_admin)
    return study


def codes(user: User, address: str) -> list[str]:
    """Of the therapies in the table, from above."""
    page = signed_in(user).get(address)
    assert page.status_code == 200
    return re.findall(r'<th scope="row">(?:<a [^>]*>)?<bdi[^>]*>([^<]*)</bdi>', page.content.decode())


def page_of(user: User, address: str) -> str:
    return signed_in(user).get(address).content.decode()


def test_possible_dips_stand_first_then_overdue_due_and_no_data(cast: Cast, study: Study) -> None:
    steady = follow(study, cast.therapist, STEADY)
    dipped = follow(study, cast.therapist, DIPPED)
    due = factories.make_therapy(study, cast.therapist)
    factories.hold_session(due)
    late = factories.make_therapy(study, cast.therapist)
    factories.hold_session(late, timezone.now() - timedelta(days=5))
    # The cast's own has had no session since it began ninety days ago.
    for who, address in ((cast.supervisor, BOARD), (cast.therapist, "/caseload/")):
        assert codes(who, address)[0] == dipped.code
        assert set(codes(who, address)[1:3]) == {late.code, cast.therapy.code}
        assert codes(who, address)[3:] == [due.code, steady.code]
        page = page_of(who, address)
        assert "Possible dip, worth asking about: session 5" in page
        assert "The patient’s last form was not answered in time" in page
        assert "Nothing in the log for more than a week" in page
        assert "2 forms are open" in page
        assert page.count("No rating received yet") == 3
        assert "rupture" not in page.lower()


@pytest.mark.parametrize("show", ["all", "dip", "overdue", "due", "none"])
def test_a_filter_holds_as_many_rows_as_it_says(cast: Cast, study: Study, show: str) -> None:
    follow(study, cast.therapist, DIPPED)
    factories.hold_session(factories.make_therapy(study, cast.therapist))
    other = factories.make_user("third@example.org", Role.THERAPIST, clinic=cast.clinic)
    theirs = factories.make_therapy(study, other, cast.supervisor)
    for address in (BOARD, "/caseload/", f"{BOARD}?therapist={theirs.therapist.code}"):
        who = cast.therapist if "caseload" in address else cast.supervisor
        board = signed_in(who).get(address).context["board"]
        mark = "&" if "?" in address else "?"
        assert board.n_by_show[show] == len(codes(who, f"{address}{mark}show={show}"))
    assert len(codes(cast.supervisor, f"{BOARD}?therapist={theirs.therapist.code}")) == 1


def test_heads_of_columns_are_links_that_sort_and_keep_the_filter(cast: Cast, study: Study) -> None:
    for _ in range(3):
        factories.make_therapy(study, cast.therapist)
    page = page_of(cast.supervisor, f"{BOARD}?show=none&sort=therapy")
    assert 'aria-sort="ascending"><a href="?show=none&amp;sort=-therapy#list">Therapy</a>' in page
    assert '<a href="?show=none&amp;sort=-session#list">Last session</a>' in page
    assert page.count("aria-sort") == 1
    down = codes(cast.supervisor, f"{BOARD}?show=none&sort=-therapy")
    assert down == sorted(down, reverse=True) and len(down) == 4


@pytest.mark.parametrize("path", [BOARD, FILE])
@pytest.mark.parametrize("query", ["?show=rupture", "?sort=mean"])
def test_an_unknown_filter_or_order_is_not_there(cast: Cast, path: str, query: str) -> None:
    assert signed_in(cast.supervisor).get(path + query).status_code == 404


def test_only_supervisees_therapies_are_listed_and_none_once_the_role_is_lost(cast: Cast) -> None:
    assert codes(cast.supervisor, BOARD) == [cast.therapy.code]
    client = signed_in(cast.supervisor)
    cast.therapy.therapist.supervisor = None
    cast.therapy.therapist.save()
    assert "Nobody is entered as your supervisee" in client.get(BOARD).content.decode()
    Membership.objects.filter(user=cast.supervisor).delete()
    assert client.get(BOARD).status_code == client.get(FILE).status_code == 403


@pytest.mark.parametrize("visibility", ["feedback", "blind"])
def test_where_ratings_are_not_open_to_supervisors_the_board_says_so_and_knows_no_dip(
    cast: Cast, study: Study, visibility: str
) -> None:
    dipped = follow(study, cast.therapist, DIPPED)
    factories.set_visibility(study, visibility)
    board = signed_in(cast.supervisor).get(BOARD).context["board"]
    assert board.n_by_show["dip"] == 0 and board.n_without_dips == 2
    page = page_of(cast.supervisor, BOARD)
    assert "2 running therapies are without possible dips here" in page
    assert f"/therapies/{dipped.pk}/" not in page
    assert "running therapy is without" not in page_of(cast.therapist, "/caseload/") or visibility == "blind"


def test_what_the_patient_does_not_share_makes_no_dip_on_the_board(cast: Cast, study: Study) -> None:
    dipped = follow(study, cast.therapist, DIPPED)
    low = Response.objects.filter(assignment__session__therapy=dipped, assignment__rater="patient")
    Response.objects.filter(pk=low.latest("submitted_at").pk).update(sharing="none")
    for who, address in ((cast.supervisor, BOARD), (cast.therapist, "/caseload/")):
        assert signed_in(who).get(address).context["board"].n_by_show["dip"] == 0


def test_a_dip_that_was_seen_to_or_of_an_ended_therapy_is_no_need(cast: Cast, study: Study) -> None:
    first, second = follow(study, cast.therapist, DIPPED), follow(study, cast.therapist, DIPPED)
    rating = Response.objects.filter(assignment__session__therapy=first, assignment__rater="patient").latest(
        "submitted_at"
    )
    dip_review(
        response_id=rating.pk, rules=["within-1"], state="acted", reason="Asked.", actor=cast.therapist
    )
    assert codes(cast.supervisor, f"{BOARD}?show=dip") == [second.code]
    second.ended_on, second.end_reason = timezone.localdate(), "completed"
    second.save()
    assert codes(cast.supervisor, f"{BOARD}?show=dip") == []


def test_only_the_last_form_of_each_rater_counts_as_overdue(cast: Cast) -> None:
    factories.hold_session(cast.therapy, timezone.now() - timedelta(days=6))
    assert codes(cast.supervisor, f"{BOARD}?show=overdue") == [cast.therapy.code]
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"))
    assert codes(cast.supervisor, f"{BOARD}?show=overdue") == []
    assert codes(cast.supervisor, f"{BOARD}?show=due") == [cast.therapy.code]


def test_the_file_holds_the_rows_of_the_board_and_is_audited(cast: Cast, study: Study) -> None:
    dipped = follow(study, cast.therapist, DIPPED)
    answer = signed_in(cast.supervisor).get(f"{FILE}?show=dip")
    text = b"".join(answer.streaming_content).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["therapy"], row["attention"], row["possible_dips"]) == (dipped.code, "dip", "1")
    assert (row["patient_forms_received"], row["patient_forms_asked"]) == ("5", "5")
    assert not re.search(r"\d\.\d", text), "no rating is in it"
    event = AuditEvent.objects.get(act="board.export")
    assert (event.actor, event.clinic, event.detail) == (
        cast.supervisor,
        cast.clinic,
        {"route": "supervision-file", "query": {"show": "dip"}},
    )
    page_of(cast.supervisor, BOARD)
    assert AuditEvent.objects.filter(act="board.view", actor=cast.supervisor).count() == 1


def test_a_cell_that_a_spreadsheet_would_reckon_with_is_made_harmless(cast: Cast) -> None:
    Therapy.objects.filter(pk=cast.therapy.pk).update(code="=1+1")
    answer = signed_in(cast.supervisor).get(FILE)
    assert "'=1+1," in b"".join(answer.streaming_content).decode()


@pytest.mark.parametrize("path", [BOARD, FILE, "/caseload/"])
def test_number_of_queries_is_the_same_for_one_therapy_and_for_twenty(
    cast: Cast, study: Study, path: str
) -> None:
    client = signed_in(cast.therapist if "caseload" in path else cast.supervisor)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(path)
            assert answer.status_code == 200 and b"".join(answer)
        return len(queries)

    follow(study, cast.therapist, DIPPED)
    few = n_queries()
    for _ in range(3):
        follow(study, cast.therapist, DIPPED)
    for _ in range(16):
        factories.hold_session(factories.make_therapy(study, cast.therapist))
    assert n_queries() == few


def test_the_caseload_has_a_picture_of_the_visible_ratings_and_its_words(cast: Cast, study: Study) -> None:
    follow(study, cast.therapist, STEADY)
    page = page_of(cast.therapist, "/caseload/")
    assert page.count("<polyline") == 1
    assert "5 ratings up to session 5" in page and "none to show" in page
    assert " style=" not in page
    Response.objects.filter(assignment__rater="patient").update(sharing="none")
    assert "<polyline" not in page_of(cast.therapist, "/caseload/")


def test_a_picture_spans_the_whole_scale_and_one_rating_is_a_mark() -> None:
    class At:
        def __init__(self, session: int, value: float) -> None:
            self.session, self.value = session, value

    picture = sparkline([At(3, 7.0), At(12, 1.0)], 1, 7)
    assert picture is not None and picture.points == ((3, 3), (93, 25))
    one = sparkline([At(3, 4.0)], 1, 7)
    assert one is not None and one.last == ("48", "14")
    assert sparkline([], 1, 7) is None


def test_one_look_at_many_therapies_finds_what_each_page_finds(cast: Cast, study: Study) -> None:
    therapies = [follow(study, cast.therapist, values) for values in (DIPPED, STEADY, [6, 3, 6, 6, 2, 6])]
    scores = visible_caseload_scores(cast.therapist)
    rules = {study.pk: [RULES["within-1"]], cast.study.pk: []}
    rated = list(rated_therapies(scores, [*therapies, cast.therapy]))
    client = signed_in(cast.therapist)
    for therapy, dips in zip(therapies, list(waiting_dips(rated, rules).values()), strict=False):
        found = client.get(f"/therapies/{therapy.pk}/").context["dips"]["found"]
        assert dips == found.sessions


def test_ratings_on_another_form_are_no_part_of_the_same_line(cast: Cast) -> None:
    other = factories.instrument("wai-sr", "patient")
    factories.replan(cast.study, extra=[{"instrument": other, "sessions": [1]}])
    for form in factories.hold_session(cast.therapy).assignments.order_by("rater"):
        factories.give(form, 5, user=cast.therapist if form.rater == "therapist" else None)
    scores = visible_caseload_scores(cast.therapist)
    totals = scores.filter(scale="total", response__assignment__rater="patient")
    assert totals.count() == 2
    (rated,) = rated_therapies(scores, [cast.therapy])
    assert rated.form is not None and rated.form.code == "wai-s"
    assert [row.session for row in rated.ratings] == [1]
