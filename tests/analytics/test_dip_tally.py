"""How often each rule points at a rating of a study: who is counted, when again, and from how many on."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the jobs
from analytics.dip_selectors import therapy_dips
from analytics.models import DipTally
from analytics.services.dip_tally import study_dips_count, tally_request
from analytics.services.dips import dip_review, dip_rules_choose
from surveys import jobs
from surveys.models import Job, Study, Therapist, Therapy
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import follow
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

STEADY, DIPPED = [5, 6, 5, 6, 6], [5, 6, 5, 6, 2]


@pytest.fixture
def study(cast: Cast) -> Study:
    study = factories.make_study(cast.clinic, code="DIPS", sessions=tuple(range(1, 13)))
    dip_rules_choose(study=study, rules=["within-1"], actor=cast.clinic_admin)
    return study


@pytest.fixture
def third(cast: Cast) -> object:
    return factories.make_user("third@example.org", "therapist", clinic=cast.clinic)


def count(study: Study) -> DipTally | None:
    study_dips_count(str(study.pk))()
    return DipTally.objects.filter(study=study).first()


def three(study: Study, cast: Cast) -> list[Therapy]:
    """Patients with a possible dip: fewer are not counted."""
    return [follow(study, cast.therapist, DIPPED) for _ in range(3)]


def rate_now(therapy: Therapy) -> None:
    """One more session, rated by both, so that the patient's rating is seen from now on."""
    session = factories.hold_session(therapy)
    factories.give(factories.form_of(session, "patient"), 6)
    factories.give(factories.form_of(session, "therapist"), 6, user=therapy.therapist.user)


def page_of(cast: Cast, study: Study) -> str:
    return signed_in(cast.clinic_admin).get(f"/clinic/studies/{study.pk}/dips/").content.decode()


def test_judged_ratings_dips_and_what_was_done_are_counted_for_every_rule(
    cast: Cast, study: Study, third: object
) -> None:
    dipped = [follow(study, user, DIPPED) for user in (cast.therapist, cast.colleague, third)]
    for _ in range(2):
        follow(study, cast.therapist, STEADY)
    for therapy, state in zip(dipped, ("seen", "dismissed", ""), strict=True):
        if state:
            user = therapy.therapist.user
            (row,) = therapy_dips(user, therapy).rows
            reason = "" if state == "seen" else "Was ill"
            dip_review(
                response_id=row.rating.response, rules=["within-1"], state=state, reason=reason, actor=user
            )
    tally = count(study)
    assert tally.n_ratings == 25
    assert tally.rules == ["within-1"]
    assert tally.counts["within-1"] == {
        "n_judged": 5,
        "n_dips": 3,
        "n_therapies": 5,
        "n_therapies_with_dips": 3,
        "n_patients": 5,
        "n_therapists": 3,
        "done": {"seen": 1, "dismissed": 1, "new": 1},
    }
    assert tally.counts["stricter-1"]["n_judged"] == 0, "there is no model"
    page = page_of(cast, study)
    assert "from 25 patient ratings that their therapists may see" in page
    row = page.split('<th scope="row" class="long">Drop of 1 SD of the patient’s own ratings</th>')[1].split(
        "</tr>"
    )[0]
    cells = [cell.split(">")[-1] for cell in row.split("</td>")[:-1]]
    assert cells == ["5", "3", "60.0", "3 of 5", "1", "1", "0", "1"]
    other = page.split('<th scope="row" class="long">Drop of 2 SD of the patient’s own ratings</th>')[
        1
    ].split("</tr>")[0]
    assert "not in force at that time" in other


@pytest.mark.parametrize("n_patients", [4, 5])
def test_counts_are_shown_from_five_patients_on(
    cast: Cast, study: Study, third: object, n_patients: int
) -> None:
    users = [cast.therapist, cast.colleague, third, cast.therapist, cast.colleague][:n_patients]
    for user in users:
        follow(study, user, DIPPED)
    count(study)
    page = page_of(cast, study)
    row = page.split('<th scope="row" class="long">Drop of 1 SD of the patient’s own ratings</th>')[1].split(
        "</tr>"
    )[0]
    assert ("too few: counts are shown from 5 patients and 3 therapists on" in row) == (n_patients < 5)


def test_counts_are_shown_from_three_therapists_on(cast: Cast, study: Study) -> None:
    for user in (cast.therapist, cast.colleague) * 3:
        follow(study, user, DIPPED)
    count(study)
    page = page_of(cast, study)
    row = page.split('<th scope="row" class="long">Drop of 1 SD of the patient’s own ratings</th>')[1].split(
        "</tr>"
    )[0]
    assert "too few" in row


def test_it_is_counted_again_only_when_ratings_of_three_patients_have_come_in(
    cast: Cast, study: Study
) -> None:
    known = three(study, cast)
    first = count(study)
    for therapy in (known[0], known[0], known[0], known[1]):
        rate_now(therapy)
    same = count(study)
    assert (same.counted_at, same.n_ratings) == (first.counted_at, 15), "four ratings, of two patients"
    session = factories.hold_session(known[2])
    factories.give(factories.form_of(session, "patient"), 6)
    assert count(study).n_ratings == 15, "the therapist may not see it yet"
    factories.give(factories.form_of(session, "therapist"), 6, user=cast.therapist)
    assert count(study).n_ratings == 20
    assert DipTally.objects.count() == 1


def test_what_was_done_changes_no_count_between_two_batches(cast: Cast, study: Study) -> None:
    therapy = three(study, cast)[0]
    before = count(study).counts
    (row,) = therapy_dips(cast.therapist, therapy).rows
    dip_review(
        response_id=row.rating.response, rules=["within-1"], state="seen", reason="", actor=cast.therapist
    )
    assert count(study).counts == before


def test_ratings_that_a_therapist_may_not_see_are_not_counted(cast: Cast, study: Study) -> None:
    for _ in range(3):
        follow(study, cast.therapist, DIPPED, sharing="none")
    assert count(study) is None
    left = three(study, cast)[0]
    assert count(study).n_ratings == 15
    withdrawal_enter(patient=left.patient, study=study, choice="exclude")
    assert count(study).n_ratings == 15, "what goes waits for a batch as well"
    for therapy in three(study, cast):
        rate_now(therapy)
    tally = count(study)
    assert (tally.n_ratings, tally.counts["within-1"]["n_judged"]) == (28, 8)


def test_a_blind_study_has_no_counts_and_says_so(cast: Cast, study: Study) -> None:
    follow(study, cast.therapist, DIPPED)
    factories.set_visibility(study, "blind")
    assert count(study) is None
    assert "under a policy that shows them none it never does" in page_of(cast, study)


def test_a_refit_asks_for_the_count_a_little_later_and_once(cast: Cast, study: Study) -> None:
    three(study, cast)
    jobs.run_due()
    job = Job.objects.get(kind="count_dips", scope=str(study.pk))
    assert job.state == "pending"
    assert timedelta(seconds=30) < job.due_at - timezone.now() <= timedelta(minutes=1)
    tally_request(study.pk)
    assert Job.objects.filter(kind="count_dips").count() == 1
    Job.objects.filter(pk=job.pk).update(due_at=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due() == 1
    assert DipTally.objects.get(study=study).n_ratings == 15


def test_a_test_run_is_not_counted(cast: Cast, study: Study) -> None:
    copy = Study.objects.create(clinic=cast.clinic, code="DIPS-test", name="Test", test_of=study)
    assert count(copy) is None
    study_dips_count("0198c0de-0000-7000-8000-000000000000")()
    assert not DipTally.objects.exists()


def test_number_of_queries_does_not_grow_with_therapies(cast: Cast, study: Study) -> None:
    def n_queries(work: object) -> int:
        with CaptureQueriesContext(connection) as queries:
            work()  # type: ignore[operator]
        return len(queries)

    for therapy in three(study, cast):
        count(study)
        rate_now(therapy)
    one = n_queries(lambda: study_dips_count(str(study.pk)))
    count(study)
    client = signed_in(cast.clinic_admin)
    address = f"/clinic/studies/{study.pk}/dips/"
    client.get(address)
    few = n_queries(lambda: client.get(address))
    for _ in range(19):
        rate_now(follow(study, cast.colleague, DIPPED))
    assert n_queries(lambda: study_dips_count(str(study.pk))) == one
    count(study)
    assert n_queries(lambda: client.get(address)) == few
    assert Therapist.objects.count() < 20
