"""What is said of many patients together: of whom, from how many on, and when again."""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise, product
from statistics import fmean, stdev

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.db.utils import DatabaseError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the jobs
from analytics.models import Panel
from analytics.panel_selectors import clinic_panels, team_panels
from analytics.services.panels import study_panels_make
from surveys import jobs
from surveys.clinic_access import known_one_by_one, new_in_sums, summed_scores
from surveys.models import (
    Assignment,
    ImportBatch,
    Job,
    Membership,
    Response,
    Role,
    Score,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.services.people import supervisor_set
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import follow
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(cast: Cast) -> Study:
    return factories.make_study(cast.clinic, code="PANELS", sessions=tuple(range(1, 13)))


@pytest.fixture
def third(cast: Cast) -> User:
    return factories.make_user("third@example.org", Role.THERAPIST, clinic=cast.clinic)


@pytest.fixture
def users(cast: Cast, third: User) -> list[User]:
    return [cast.therapist, cast.colleague, third]


def make(study: Study, rater: str = "patient", supervisor: User | None = None) -> Panel | None:
    """What stands after the job has run."""
    study_panels_make(str(study.pk))()
    return Panel.objects.filter(study=study, rater=rater, supervisor=supervisor).order_by("id").last()


def rated(study: Study, users: Sequence[User], value: int = 5, n: int = 6) -> list[Therapy]:
    """One patient after the other, for the therapists in turn."""
    return [follow(study, users[k % len(users)], [value]) for k in range(n)]


def add(therapy: Therapy, value: int = 6, *, sharing: str = "scores", is_revealed: bool = True) -> Response:
    """A new session now, and the patient's rating of it, which its therapist may see after their own."""
    session = factories.hold_session(therapy, timezone.now() - timedelta(minutes=5))
    answers = {item: 8 - value if item in (4, 10) else value for item in range(1, 13)}
    response = factories.give(factories.form_of(session, "patient"), answers, sharing=sharing)
    if is_revealed:
        factories.give(factories.form_of(session, "therapist"), 5, user=therapy.therapist.user)
    return response


def tiles_of(user: User, address: str) -> str:
    page = signed_in(user).get(address).content.decode()
    return page.split('aria-labelledby="panels-title"')[1].split("</section>")[0]


def open_to_supervisors(study: Study) -> None:
    """As if the study had begun so."""
    old = study.current
    version = StudyVersion.objects.create(
        study=study, number=old.number + 1, visibility=old.visibility, is_open_to_supervisors=True
    )
    for line in old.lines.all():
        line.pk, line.version = None, version
        line.save()
    factories.activate(version, old.active_from + timedelta(seconds=1))
    study.assignments.update(version=version)
    del study.current


def test_the_figures_are_those_of_the_ratings_that_therapists_may_see(
    cast: Cast, study: Study, users
) -> None:
    values = [[2, 4], [6, 7, 5], [5], [3, 3], [7, 6], [1, 4, 4]]
    therapies = [follow(study, users[k % 3], own) for k, own in enumerate(values)]
    add(therapies[0], 7, sharing="none")
    add(therapies[1], 1, is_revealed=False)
    left = follow(study, users[0], [1, 1, 1])
    withdrawal_enter(patient=left.patient, study=study, choice="exclude")
    panel = make(study)
    # `follow` ticks the same everywhere, and two of twelve items count the other way round.
    means = [fmean((10 * v + 2 * (8 - v)) / 12 for v in own) for own in values]
    figures = panel.figures
    assert (figures["mean"], figures["sd"]) == (round(fmean(means), 1), round(stdev(means), 1))
    assert (figures["n_patients"], figures["n_therapists"], figures["n_forms"]) == (6, 3, 13)
    # Forms are in, whatever they hold; the therapist's of the last session is still open.
    assert (figures["n_received"], figures["n_due"]) == (15, 15)
    text = tiles_of(cast.clinic_admin, f"/clinic/completion/?study={study.pk}")
    assert f"{figures['mean']}, SD {figures['sd']}, on a scale from 1 to 7" in text
    assert "Patients: 6; therapists: 3; forms: 13." in text
    assert "skipped 0, “prefer not to answer” 0, of 156 in these forms" in text


def test_items_without_an_answer_are_counted_in_the_same_forms(study: Study, users) -> None:
    therapies = rated(study, users)
    session = factories.hold_session(therapies[0])
    answers = {**dict.fromkeys(range(1, 11), 5), 11: -98}
    factories.give(factories.form_of(session, "patient"), answers)
    factories.give(factories.form_of(session, "therapist"), 5, user=therapies[0].therapist.user)
    figures = make(study).figures
    assert (figures["n_skipped"], figures["n_preferred_not"], figures["n_items"]) == (1, 1, 7 * 12)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((2, 2, 1), None),
        ((2, 1, 1), "There are ratings of fewer than 5 patients to count."),
        ((3, 3, 0), "They are of patients of fewer than 3 therapists."),
        ((4, 1, 1), "One therapist has more than half of the patients."),
        ((3, 2, 1), None),
    ],
)
def test_a_tile_says_what_is_missing_and_not_how_many(
    cast: Cast, study: Study, users, sizes: tuple[int, ...], words: str | None
) -> None:
    for user, n in zip(users, sizes, strict=True):
        for _ in range(n):
            follow(study, user, [5])
    panels = {rater: make(study, rater) for rater in ("patient", "therapist")}
    text = tiles_of(cast.clinic_admin, f"/clinic/completion/?study={study.pk}")
    assert text.count("No numbers are shown.") == (2 if words else 0)
    for panel in panels.values():
        assert ("lacks" in panel.figures) == bool(words)
    if words:
        assert text.count(words) == 2
        assert all(set(panel.figures) == {"lacks"} for panel in panels.values()), "nothing is stored"
        assert "Patients:" not in text


def test_one_new_form_or_three_of_one_patient_change_nothing(cast: Cast, study: Study, users) -> None:
    therapies = rated(study, users)
    first = make(study)
    pages = [(cast.clinic_admin, f"/clinic/completion/?study={study.pk}"), (cast.supervisor, "/supervision/")]
    Therapist.objects.filter(user__in=users).update(supervisor=cast.supervisor)
    before = [tiles_of(*page) for page in pages]
    for _ in range(3):
        add(therapies[0], 7)
    add(therapies[1], 7)
    assert make(study) == first
    assert [tiles_of(*page) for page in pages] == before
    add(therapies[2], 7)
    second = make(study)
    assert second.figures["n_forms"] == first.figures["n_forms"] + 5
    assert tiles_of(*pages[0]) != before[0]


def test_no_two_panels_in_a_row_differ_by_fewer_than_three_patients_forms(study: Study, users) -> None:
    """Whoever watches both and knows all forms but one."""
    therapies = rated(study, users)
    states = {make(study).pk: set(Response.objects.values_list("pk", flat=True))}
    for order in (0, 0, 1, 0, 2, 3, 3, 4, 5, 5, 0, 1):
        add(therapies[order])
        states.setdefault(make(study).pk, set(Response.objects.values_list("pk", flat=True)))
    assert len(states) == 4
    runs = list(states.values())
    for earlier, later in pairwise(runs):
        new = Response.objects.filter(pk__in=later - earlier, assignment__rater="patient")
        patients = set(new.values_list("assignment__session__therapy__patient", flat=True))
        assert len(patients) >= 3
    sizes = [row.figures["n_forms"] for row in Panel.objects.filter(pk__in=states).order_by("id")]
    assert all(b - a >= 3 for a, b in pairwise(sizes))


@pytest.mark.parametrize("gone", [False, True])
def test_a_patient_who_comes_or_goes_is_not_read_off_beside_two_who_hardly_change_anything(
    study: Study, users, gone: bool
) -> None:
    """With one more patient the means of before and after give this patient's level: of the others one new
    rating of five moves little."""
    therapies = [follow(study, users[k % 3], [5] * 4) for k in range(6)]
    first = make(study)
    for therapy in therapies[:2]:
        add(therapy)
    if gone:
        withdrawal_enter(patient=therapies[5].patient, study=study, choice="exclude")
        add(therapies[2])
    else:
        add(factories.make_therapy(study, users[0]), 1)
    assert make(study) == first
    for user in users[1:]:
        add(factories.make_therapy(study, user))
    assert make(study).figures["n_patients"] == (7 if gone else 9)


def test_what_was_counted_is_never_taken_for_new(study: Study, users) -> None:
    therapies = rated(study, users, n=3)
    at = timezone.now()
    for therapy in therapies:
        add(therapy)
    for rater in ("patient", "therapist"):
        now = summed_scores(study, rater, timezone.now())
        counted = set(summed_scores(study, rater, at))
        (new, *others) = (set(now.filter(rule)) for rule in new_in_sums(rater, at))
        assert counted & new == set()
        assert counted | new == set(now)
        assert (len(counted), len(new), others) == (12, 12, [set()] * len(others)), "four scales each"


def forms_of(scores: QuerySet[Score]) -> set[int]:
    return set(scores.values_list("response", flat=True))


def test_each_policy_has_its_own_moment_from_which_a_rating_counts(study: Study, users) -> None:
    """With feedback, that the therapist has rated, too; delayed, that the therapy has ended."""
    at = timezone.now() - timedelta(days=3)
    delayed = StudyVersion.objects.create(study=study, number=2, visibility="delayed")
    then, since = set(), set()
    for policy, rated_by_then, ended_by_then in product(
        ("feedback", "delayed"), (True, False), (None, True, False)
    ):
        hours = timedelta(hours=-6 if rated_by_then else 6)
        begin = at - timedelta(hours=8)
        therapy = follow(study, users[0], [5], begin=begin, by_therapist_at=at + hours)
        response = Response.objects.get(assignment__session__therapy=therapy, assignment__rater="patient")
        if policy == "delayed":
            Assignment.objects.filter(pk=response.assignment_id).update(version=delayed)
        if ended_by_then is not None:
            day = timezone.localdate(at + timedelta(days=-1 if ended_by_then else 1))
            Therapy.objects.filter(pk=therapy.pk).update(ended_on=day, end_reason="completed")
        counts_by_then = rated_by_then if policy == "feedback" else ended_by_then
        if counts_by_then is not None:
            (then if counts_by_then else since).add(response.pk)
    now = summed_scores(study, "patient", timezone.now())
    new = [forms_of(now.filter(rule)) for rule in new_in_sums("patient", at)]
    assert forms_of(summed_scores(study, "patient", at)) == then
    assert (set().union(*new), sum(map(len, new))) == (since, len(since))
    assert forms_of(now) == then | since


def test_of_therapists_their_ratings_of_sessions_here_and_now_count(cast: Cast, study: Study, users) -> None:
    own, brought, left_out = (follow(study, users[0], [5]) for _ in range(3))
    follow(factories.make_study(cast.clinic, code="OTHER"), users[0], [5])
    Therapy.objects.filter(pk=left_out.pk).update(excluded_at=timezone.now())
    batch = ImportBatch.objects.create(clinic=cast.clinic, study=study, n_bytes=1, kind="csv")
    Assignment.objects.filter(session__therapy=brought).update(batch=batch)
    practice = factories.form_about_practice(own.therapist, study, "dpccq-coping", "entry")
    factories.give(practice, 2, browser="", user=users[0])
    scores = summed_scores(study, "therapist", timezone.now())
    found = {score.response.assignment.session for score in scores}
    assert found == set(own.sessions.all())
    study.test_of = study
    assert not summed_scores(study, "therapist", timezone.now()).exists(), "nothing of a test run"


def test_what_has_to_go_waits_for_the_next_batch(study: Study, users) -> None:
    therapies = rated(study, users, n=7)
    first = make(study)
    withdrawal_enter(patient=therapies[6].patient, study=study, choice="exclude")
    assert make(study) == first
    for therapy in therapies[:3]:
        add(therapy)
    assert make(study).figures["n_patients"] == 6


@pytest.mark.parametrize("how", ["none", "unrevealed", "blind"])
def test_hidden_ratings_change_nothing(study: Study, users, how: str) -> None:
    therapies = rated(study, users)
    first = make(study)
    if how == "blind":
        # From now on; what was asked under the version before stays as it was.
        blind = StudyVersion.objects.create(study=study, number=2, visibility="blind")
        for line in study.current.lines.all():
            line.pk, line.version = None, blind
            line.save()
        factories.activate(blind, timezone.now() - timedelta(hours=1))
        del study.current
    for therapy in therapies:
        add(therapy, 1, sharing="none" if how == "none" else "answers", is_revealed=how != "unrevealed")
    assert make(study) == first
    Panel.objects.filter(rater="patient").delete()
    again = make(study)
    hidden = {"n_due", "n_received"}
    assert {k: v for k, v in again.figures.items() if k not in hidden} == {
        k: v for k, v in first.figures.items() if k not in hidden
    }


def test_under_the_delayed_policy_a_therapy_counts_once_it_has_ended(study: Study, users) -> None:
    factories.set_visibility(study, "delayed")
    therapies = rated(study, users)
    assert make(study) is None
    study.therapies.all().update(ended_on=timezone.localdate(), end_reason="completed")
    assert make(study).figures["n_patients"] == len(therapies)


def test_ratings_of_more_than_a_year_ago_are_not_in_it(study: Study, users) -> None:
    rated(study, users)
    later = timezone.now() + timedelta(days=366)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analytics.services.panels.timezone.now", lambda: later)
        assert make(study) is None


def test_a_closed_study_has_no_tile_of_a_team(cast: Cast, study: Study, users) -> None:
    rated(study, users)
    Therapist.objects.filter(user__in=users).update(supervisor=cast.supervisor)
    assert make(study, supervisor=cast.supervisor) is None
    assert "There are no numbers yet." in tiles_of(cast.supervisor, "/supervision/")


def test_a_team_s_tile_is_of_the_team_s_patients_and_of_what_is_open_to_supervisors(
    cast: Cast, study: Study, users
) -> None:
    closed = study.current
    open_to_supervisors(study)
    rated(study, users)
    before = follow(study, users[0], [1])
    Assignment.objects.filter(session__therapy=before).update(version=closed)
    Therapist.objects.filter(user__in=users).update(supervisor=cast.supervisor)
    outside = [
        factories.make_user(f"{name}@example.org", Role.THERAPIST, clinic=cast.clinic) for name in "abc"
    ]
    rated(study, outside, value=2, n=5)
    team = make(study, supervisor=cast.supervisor).figures
    assert (team["n_patients"], team["n_therapists"], team["n_forms"]) == (6, 3, 6)
    assert team["sd"] == 0.0, "all of them rate alike"
    assert make(study).figures["n_patients"] == 12
    text = tiles_of(cast.supervisor, "/supervision/")
    assert "Patients: 6; therapists: 3; forms: 6." in text
    assert "therapists’ ratings" not in text
    assert not Panel.objects.filter(supervisor=cast.supervisor, rater="therapist").exists()


def test_another_supervisor_and_a_former_one_see_no_tile_of_the_team(cast: Cast, study: Study, users) -> None:
    open_to_supervisors(study)
    rated(study, users)
    Therapist.objects.filter(user__in=users).update(supervisor=cast.supervisor)
    make(study)
    other = factories.make_user("other@example.org", Role.SUPERVISOR, clinic=cast.clinic)
    assert [len(team_panels(user).rows) for user in (cast.supervisor, other, cast.therapist)] == [1, 0, 0]
    assert len(clinic_panels(cast.clinic_admin, study).rows) == 2
    Therapist.objects.filter(user__in=users).update(supervisor=other)
    assert team_panels(cast.supervisor).rows == []


def test_a_team_s_tile_is_not_shown_where_the_rest_of_the_clinic_could_be_worked_out(
    cast: Cast, study: Study, users
) -> None:
    open_to_supervisors(study)
    rated(study, users)
    Therapist.objects.filter(user__in=users).update(supervisor=cast.supervisor)
    outside = factories.make_user("outside@example.org", Role.THERAPIST, clinic=cast.clinic)
    for _ in range(5):
        follow(study, outside, [5])
    assert make(study, supervisor=cast.supervisor).figures == {"lacks": ["rest"]}
    assert "mean" in make(study).figures
    assert "could be worked out" in tiles_of(cast.supervisor, "/supervision/")


def as_therapist(cast: Cast, users: list[User]) -> User:
    Membership.objects.create(user=users[0], clinic=cast.clinic, role=Role.CLINIC_ADMIN)
    return users[0]


def as_supervisor(cast: Cast, users: list[User]) -> User:
    Membership.objects.create(user=cast.supervisor, clinic=cast.clinic, role=Role.CLINIC_ADMIN)
    for user in users[:2]:
        supervisor_set(therapist=Therapist.objects.get(user=user), supervisor=cast.supervisor)
    return cast.supervisor


def as_supervisor_once(cast: Cast, users: list[User]) -> User:
    reader = as_supervisor(cast, users)
    for user in users[:2]:
        supervisor_set(therapist=Therapist.objects.get(user=user), supervisor=None)
    return reader


@pytest.mark.parametrize(
    ("reader", "withheld"),
    [
        (as_therapist, ["patient", "therapist"]),
        (as_supervisor, ["patient"]),
        (as_supervisor_once, ["patient"]),
    ],
)
def test_an_administrator_who_knows_part_of_the_ratings_cannot_take_them_out_of_a_tile(
    cast: Cast,
    study: Study,
    users,
    reader: Callable[[Cast, list[User]], User],
    withheld: list[str],
) -> None:
    """Five patients of three therapists: without those of one or two of these, one or two would be left."""
    open_to_supervisors(study)
    rated(study, users, n=5)
    make(study)
    knows = reader(cast, users)
    address = f"/clinic/completion/?study={study.pk}"
    text = tiles_of(knows, address)
    assert text.count("You can read some of these ratings one by one") == len(withheld)
    assert [tile.panel.rater for tile in clinic_panels(knows, study).rows if tile.lacks] == withheld
    assert "No numbers are shown." not in tiles_of(cast.clinic_admin, address)


def test_who_supervises_without_a_row_in_the_trace_knows_as_much(cast: Cast, study: Study, users) -> None:
    therapist = rated(study, users, n=1)[0].therapist
    row = Therapist.objects.filter(pk=therapist.pk)
    row.update(supervisor=cast.supervisor, ratings_shared_with=cast.supervisor)
    draft = StudyVersion.objects.create(study=study, number=9, is_open_to_supervisors=True)
    assert known_one_by_one(cast.supervisor, study, "patient") == frozenset(), "a draft opens nothing"
    draft.delete()
    open_to_supervisors(study)
    for rater in ("patient", "therapist"):
        assert known_one_by_one(cast.supervisor, study, rater) == {therapist.pk}


def test_an_administrator_who_knows_some_of_enough_others_has_the_tile(
    cast: Cast, study: Study, users
) -> None:
    """So has one who supervises, but in a study that is closed to supervisors."""
    fourth = factories.make_user("fourth@example.org", Role.THERAPIST, clinic=cast.clinic)
    rated(study, [*users, fourth], n=8)
    make(study)
    as_supervisor(cast, users)
    for reader in (as_therapist(cast, users), cast.supervisor):
        assert not any(tile.lacks for tile in clinic_panels(reader, study).rows)


def test_a_refit_asks_for_the_panels_a_little_later_and_once(study: Study, users) -> None:
    rated(study, users)
    jobs.run_due()
    job = Job.objects.get(kind="make_panels", scope=str(study.pk))
    assert job.state == "pending"
    Job.objects.filter(pk=job.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due() == 1
    assert Panel.objects.filter(study=study).count() == 2


def test_a_test_run_and_what_is_gone_have_no_panels(cast: Cast, study: Study) -> None:
    copy = Study.objects.create(clinic=cast.clinic, code="PANELS-test", name="Test", test_of=study)
    assert make(copy) is None
    study_panels_make("0198c0de-0000-7000-8000-000000000000")()
    assert not Panel.objects.exists()


def test_a_panel_is_never_changed(study: Study, users) -> None:
    rated(study, users)
    panel = make(study)
    with pytest.raises(DatabaseError, match="append-only"):
        Panel.objects.filter(pk=panel.pk).update(figures={})


def test_number_of_queries_does_not_grow_with_therapies(cast: Cast, study: Study, users) -> None:
    def n_queries() -> int:
        Panel.objects.all().delete()
        with CaptureQueriesContext(connection) as queries:
            study_panels_make(str(study.pk))()
        return len(queries)

    rated(study, users, n=5)
    few = n_queries()
    rated(study, users, n=15)
    assert n_queries() == few


def test_every_tile_says_of_how_many_and_of_when_it_is(cast: Cast, study: Study, users) -> None:
    rated(study, users)
    make(study)
    text = re.sub(r"\s+", " ", tiles_of(cast.clinic_admin, f"/clinic/completion/?study={study.pk}"))
    assert text.count("As of ") == text.count("Patients: 6; therapists: 3; forms: 6.") == 2
