"""The clinic's completion page: what it counts, of whom it tells nothing, and whom it lets in."""

import random
import re
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the job
from analytics import completion
from analytics.completion import PERIODS, Completion, Period, study_completion
from surveys import completion as counting
from surveys import jobs
from surveys.models import Assignment, Clinic, Job, Role, Session, Study, Therapist, Therapy, User
from surveys.progress import silent
from surveys.services.responses import Paradata, response_submit
from surveys.services.sessions import Entry, rating_decline, sessions_close
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import follow
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

ADDRESS = "/clinic/completion/"
EVER = PERIODS["all"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are always new, however busy the machine is."""
    monkeypatch.setattr(completion, "SLOW", float("inf"))
    monkeypatch.setattr(completion, "PATIENCE", 0)


def body(user: User, query: str = "") -> str:
    answer = signed_in(user).get(ADDRESS + query)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def counted(study: Study, period: Period = EVER) -> Completion:
    found = study_completion(study, period)
    assert found is not None
    return found


def section(page: str, name: str) -> str:
    return page.split(f'<section class="stack" aria-labelledby="{name}-title">')[1].split("</section>")[0]


def rows_of(part: str) -> list[list[str]]:
    """The cells of a table's lines, as they are read."""
    found = []
    for row in part.split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]:
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        found.append([re.sub(r"<[^>]*>", "", cell).strip() for cell in cells])
    return found


def meet(therapy: Therapy, days_ago: list[float], status: str = "held") -> list[Session]:
    entries = [Entry(timezone.now() - timedelta(days=days), status) for days in days_ago]
    return sessions_close(therapy=therapy, entries=entries).sessions


def expire(form: Assignment) -> None:
    now = timezone.now()
    Assignment.objects.filter(pk=form.pk).update(
        opens_at=now - timedelta(days=10), closes_at=now - timedelta(days=3)
    )


def on_paper(form: Assignment, admin: User) -> None:
    opening = factories.open_form(form)
    response_submit(
        opening=opening,
        answers=dict.fromkeys(range(1, 13), 5),
        sharing="scores",
        client_key=opening.client_key,
        paradata=Paradata(device="desktop", channel="paper", entered_by=admin),
    )


def world(cast: Cast, seed: int) -> None:
    """A little of everything, at random."""
    draw = random.Random(seed)
    third = factories.make_user("third@example.org", Role.THERAPIST, clinic=cast.clinic)
    for user in (cast.therapist, cast.colleague, third):
        for _ in range(draw.randint(1, 2)):
            therapy = factories.make_therapy(cast.study, user)
            sessions = meet(therapy, [draw.uniform(0.1, 1.9) for _ in range(draw.randint(1, 3))])
            for form in Assignment.objects.filter(session__in=sessions).order_by("session__number", "rater"):
                deed = draw.choice(["give", "give", "give", "empty", "open", "leave", "miss", "begin"])
                own = user if form.rater == "therapist" else None
                if deed in ("give", "empty"):
                    factories.give(form, 5 if deed == "give" else {1: -99}, user=own)
                elif deed in ("open", "begin"):
                    factories.open_form(form, user=own)
                if deed in ("miss", "begin"):
                    expire(form)
            meet(therapy, [draw.uniform(0.1, 1.9)], draw.choice(["cancelled", "no_show"]))
    gone = follow(cast.study, third, [5, 5])
    withdrawal_enter(patient=gone.patient, study=cast.study, choice="exclude")


def told(form: Assignment, now: datetime) -> str:
    """What became of a form, told another way."""
    if form.state in ("submitted", "declined"):
        is_no_rating = form.state == "declined" and form.rater == "therapist"
        return "no_rating" if is_no_rating else "received"
    if form.state == "withdrawn":
        return "withdrawn"
    grace = timedelta(days=1 if form.state == "opened" else 0)
    if now <= form.closes_at + grace:
        return "open"
    return "begun" if form.state == "opened" else "missed"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_page_counts_what_is_there(cast: Cast, seed: int) -> None:
    world(cast, seed)
    now = timezone.now()
    forms = [
        (form, told(form, now))
        for form in Assignment.objects.filter(study=cast.study).select_related("session__therapy")
        if form.session.therapy.excluded_at is None
    ]
    asked = [(form, fate) for form, fate in forms if fate != "withdrawn"]
    page = body(cast.clinic_admin, "?period=all")
    lines = {row[1]: row for row in rows_of(section(page, "forms"))}
    for rater in ("patient", "therapist"):
        fates = [fate for form, fate in asked if form.rater == rater]
        n_open, n_received = fates.count("open"), fates.count("received")
        due = len(fates) - n_open
        share = f"{round(100 * n_received / due)} %"
        assert lines[rater][:6] == ["WAI-S", rater, str(len(fates)), str(n_open), str(n_received), share]
    by_session = section(page, "sessions")
    for rater, part in zip(("patient", "therapist"), by_session.split("<figcaption>")[1:], strict=True):
        numbers = sorted({form.session.number for form, _ in asked if form.rater == rater})
        found = rows_of(part)
        assert [int(row[0]) for row in found] == numbers
        for number, row in zip(numbers, found, strict=True):
            own = [f for form, f in asked if form.rater == rater and form.session.number == number]
            assert row[1:3] == [str(own.count("received")), str(len(own) - own.count("open"))]
    reasons = {row[0]: row[1:] for row in rows_of(section(page, "reasons"))}
    words = {
        "missed": "Not opened in time",
        "begun": "Begun and not sent in time",
        "no_rating": "No rating given, as the therapist said",
    }
    for fate, name in words.items():
        counts = [sum(f == fate and form.rater == r for form, f in asked) for r in ("patient", "therapist")]
        assert reasons.get(name, ["0", "0"]) == [str(n) for n in counts]
    statuses = list(
        Session.objects.filter(therapy__study=cast.study, therapy__excluded_at=None).values_list(
            "status", flat=True
        )
    )
    assert (
        f"held {statuses.count('held')}, cancelled {statuses.count('cancelled')}, "
        f"patient did not come {statuses.count('no_show')}." in page
    )


def test_a_form_that_is_asked_for_no_more_says_why(cast: Cast) -> None:
    (session, other) = meet(cast.therapy, [1.5, 1])
    rating_decline(session=session)
    withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="stop")
    (gone,) = meet(cast.colleague_therapy, [1])
    Assignment.objects.filter(session=gone).update(state="withdrawn")
    Session.objects.filter(pk=gone.pk).update(status="no_show", number=None)
    reasons = {row[0]: row[1:] for row in rows_of(section(body(cast.clinic_admin), "reasons"))}
    assert reasons == {
        "No rating given, as the therapist said": ["0", "1"],
        "Asked for no more: the patient ended their part": ["2", "0"],
        "Asked for no more: the session was not held": ["1", "1"],
    }
    lines = {row[1]: row for row in rows_of(section(body(cast.clinic_admin), "forms"))}
    assert "patient" in lines
    assert lines["patient"][2:] == ["0", "0", "0", "–", "–"], "there is no share of nothing"
    assert other.number == 2


def test_periods_are_counted_by_when_a_form_was_asked_for(cast: Cast) -> None:
    sessions = meet(cast.therapy, [400, 200, 10])
    assert len(sessions) == 3
    counts = [counted(cast.study, period).lines[0].forms.n_asked for period in PERIODS.values()]
    assert counts == [1, 2, 3]
    for period, n in (("90d", "1"), ("12m", "2"), ("all", "3")):
        assert rows_of(section(body(cast.clinic_admin, f"?period={period}"), "forms"))[0][2] == n


@pytest.fixture
def crew(cast: Cast) -> list[Therapist]:
    """Therapists of codes A to E with 6, 5, 5, 5 and 4 patients, of each of whom one session was held."""
    found = []
    for code, n in (("A", 6), ("B", 5), ("C", 5), ("D", 5), ("E", 4)):
        therapist = Therapist.objects.create(clinic=cast.clinic, code=code)
        found.append(therapist)
        for k in range(n):
            therapy = factories.make_therapy(cast.study)
            Therapy.objects.filter(pk=therapy.pk).update(therapist=therapist)
            (session,) = meet(therapy, [1])
            form = factories.form_of(session, "patient")
            if k % 2:
                factories.give(form)
            else:
                expire(form)
    return found


def therapist_lines(page: str) -> list[list[str]]:
    return [row[:3] for row in rows_of(section(page, "therapists"))]


def test_therapists_with_few_patients_stand_together_and_nobody_is_ranked(
    cast: Cast, crew: list[Therapist]
) -> None:
    # E alone would be what is left of all: D and C, with the fewest patients of the others, stand with E, and
    # then only two are left.
    assert "told apart when at least 3 of them have 5 patients or more" in body(cast.clinic_admin)
    for code in ("F", "G"):
        therapist = Therapist.objects.create(clinic=cast.clinic, code=code)
        therapy = factories.make_therapy(cast.study)
        Therapy.objects.filter(pk=therapy.pk).update(therapist=therapist)
        meet(therapy, [1])
    assert therapist_lines(body(cast.clinic_admin)) == [
        ["A", "6", "3 of 6"],
        ["B", "5", "2 of 5"],
        ["C", "5", "2 of 5"],
        ["D", "5", "2 of 5"],
        ["3 others together", "6", "2 of 4"],
    ]


def test_many_therapists_stand_on_pages_and_are_found_by_code(
    cast: Cast, crew: list[Therapist], monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in ("F", "G"):
        therapist = Therapist.objects.create(clinic=cast.clinic, code=code)
        therapy = factories.make_therapy(cast.study)
        Therapy.objects.filter(pk=therapy.pk).update(therapist=therapist)
        meet(therapy, [1])
    assert "Code of a therapist" not in body(cast.clinic_admin), "one page needs no search"
    monkeypatch.setattr("analytics.views.completion.PAGE_ROWS", 3)
    page = body(cast.clinic_admin)
    assert [row[0] for row in therapist_lines(page)] == ["A", "B", "C", "3 others together"]
    assert "1 to 3 of 4" in page
    query = re.search(r'href="(\?[^"]*)#therapists-title" rel="next"', page)
    assert query is not None
    second = body(cast.clinic_admin, query[1].replace("&amp;", "&"))
    assert [row[0] for row in therapist_lines(second)] == ["D", "3 others together"]
    found = body(cast.clinic_admin, "?code=b")
    assert therapist_lines(found) == [["B", "5", "2 of 5"]]
    assert 'name="code" value="b"' in found
    for code in ("E", "Z"):
        nobody = body(cast.clinic_admin, f"?code={code}")
        assert "No therapist with a line of their own has these letters in the code." in nobody


def test_the_median_time_is_that_of_forms_on_a_screen(cast: Cast) -> None:
    therapies = [factories.make_therapy(cast.study, cast.therapist) for _ in range(6)]
    for k, therapy in enumerate(therapies):
        (session,) = meet(therapy, [1.5])
        form = factories.form_of(session, "patient")
        if k == 0:
            # When it was filled is not known.
            on_paper(form, cast.clinic_admin)
        else:
            factories.give(form)
            held_at = timezone.now() - timedelta(hours=1 + 2 * k)
            Session.objects.filter(pk=session.pk).update(held_at=held_at)
        if k == 4:
            assert "Times are shown once forms about at least 5 patients" in body(cast.clinic_admin)
    rows = rows_of(section(body(cast.clinic_admin), "delay"))
    lower, median, upper = quantiles([3, 5, 7, 9, 11], n=4, method="inclusive")
    assert rows == [["patient", f"{median} hours", f"{lower} hours to {upper} hours", "5"]]


def test_how_long_one_therapist_takes_is_not_told(cast: Cast) -> None:
    third = factories.make_user("third@example.org", Role.THERAPIST, clinic=cast.clinic)
    for user in [cast.therapist] * 4 + [cast.colleague, third]:
        (session,) = meet(factories.make_therapy(cast.study, user), [1.5])
        for rater in ("patient", "therapist"):
            own = user if rater == "therapist" else None
            factories.give(factories.form_of(session, rater), user=own)
        rows = rows_of(part) if "<tbody>" in (part := section(body(cast.clinic_admin), "delay")) else []
        assert ("therapist" in [row[0] for row in rows]) is (user == third)


def test_an_empty_clinic_and_an_empty_period_say_so(cast: Cast) -> None:
    page = body(cast.clinic_admin)
    assert "No form was asked for in this time." in page
    assert "No form is missing." in page
    clinic = Clinic.objects.create(name="New Clinic", contact="555")
    admin = factories.make_user("new@example.org", Role.CLINIC_ADMIN, clinic=clinic)
    assert "No study of this clinic has been active so far" in body(admin)
    assert signed_in(admin).get(ADDRESS + "chart.svg").status_code == 404


def test_the_address_chooses_among_one_s_own_studies_only(cast: Cast) -> None:
    other = factories.make_study(cast.clinic, code="OTHER")
    meet(factories.make_therapy(other, cast.therapist), [1])
    page = body(cast.clinic_admin, f"?study={other.pk}")
    assert f'<option value="{other.pk}" selected>' in page
    assert rows_of(section(page, "forms"))[0][2] == "1"
    client = signed_in(cast.clinic_admin)
    for query in (f"?study={cast.stranger_study.pk}", "?study=x", "?period=week"):
        assert client.get(ADDRESS + query).status_code == 404
        assert client.get(ADDRESS + "chart.svg" + query).status_code == 404


def test_nobody_else_gets_the_page_or_its_picture(cast: Cast) -> None:
    meet(cast.therapy, [1])
    query = f"chart.svg?study={cast.study.pk}&period=90d&rater=patient&form=wai-s"
    for user in (cast.therapist, cast.supervisor, cast.researcher, cast.superuser, cast.stranger):
        for address in (ADDRESS, ADDRESS + query):
            assert signed_in(user).get(address).status_code == 403
    assert 'href="/clinic/completion/"' in signed_in(cast.clinic_admin).get("/clinic/").content.decode()


def test_the_picture_says_what_its_table_says(cast: Cast) -> None:
    sessions = meet(cast.therapy, [1.5, 1])
    factories.give(factories.form_of(sessions[0], "patient"))
    query = f"?study={cast.study.pk}&period=90d&rater=patient&form=wai-s"
    picture = signed_in(cast.clinic_admin).get(ADDRESS + "chart.svg" + query)
    assert picture["Content-Type"] == "image/svg+xml"
    assert "Session 1: 1 of 1 received, 100 % (21 to 100)" in picture.content.decode()
    assert "Session 2" not in picture.content.decode(), "its form is still open"
    assert rows_of(section(body(cast.clinic_admin), "sessions"))[:2] == [
        ["1", "1", "1", "100 %", "21 to 100"],
        ["2", "0", "0", "–", "–"],
    ]
    wrong = query.replace("wai-s", "wai-x")
    assert signed_in(cast.clinic_admin).get(ADDRESS + "chart.svg" + wrong).status_code == 404


def test_number_of_queries_does_not_grow_with_therapies(cast: Cast) -> None:
    def n_queries() -> int:
        client = signed_in(cast.clinic_admin)
        client.get(ADDRESS)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(ADDRESS).status_code == 200
        return len(queries)

    follow(cast.study, cast.therapist, [5])
    few = n_queries()
    for k in range(19):
        follow(cast.study, (cast.therapist, cast.colleague)[k % 2], [5])
    assert n_queries() == few


def test_counts_that_took_long_are_kept_and_say_of_when_they_are(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "SLOW", -1)
    monkeypatch.setattr(completion, "KEPT", 100_000)
    first = counted(cast.study)
    meet(cast.therapy, [1])
    again = counted(cast.study)
    assert (again.at, again.lines, again.is_counted_anew) == (first.at, [], False)
    monkeypatch.setattr(completion, "LONGEST", timedelta(0))
    assert counted(cast.study).lines[0].forms.n_asked == 1, "what is of yesterday is no answer"


def test_what_takes_longer_than_a_page_may_is_counted_by_a_job(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet(cast.therapy, [1])
    monkeypatch.setattr(completion, "PATIENCE", 30)
    quick = counting.forms_by_therapist

    def slow(*asked: Any) -> counting.TherapistForms:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1)")
        return quick(*asked)

    monkeypatch.setattr(counting, "forms_by_therapist", slow)
    for _ in range(2):
        page = body(cast.clinic_admin)
        assert "The work goes on if you leave; look again in half a minute." in page
        assert "Counted on" not in page
    query = f"chart.svg?study={cast.study.pk}&period=90d&rater=patient&form=wai-s"
    assert signed_in(cast.clinic_admin).get(ADDRESS + query).status_code == 404
    assert Job.objects.filter(kind="count_completion").count() == 1
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",), "nothing else is hurried"
    assert jobs.run_due(60, is_long=True)
    page = body(cast.clinic_admin)
    assert rows_of(section(page, "forms"))[0][2] == "1"
    assert "Newer numbers" not in page

    # Old, it is shown while it is counted again.
    monkeypatch.setattr(completion, "KEPT", 0)
    meet(cast.colleague_therapy, [1])
    page = body(cast.clinic_admin)
    assert rows_of(section(page, "forms"))[0][2] == "1"
    assert "Newer numbers are being counted; look again in half a minute." in page
    assert jobs.run_due(60, is_long=True)
    assert rows_of(section(body(cast.clinic_admin), "forms"))[0][2] == "2"


def test_an_error_of_the_database_is_not_taken_for_a_long_count(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_asked: Any) -> None:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(counting, "forms_by_therapist", broken)
    with pytest.raises(OperationalError):
        study_completion(cast.study, EVER)


def test_a_study_that_is_gone_is_not_counted(cast: Cast) -> None:
    completion.completion_count(f"{uuid4()}:all", silent)()
