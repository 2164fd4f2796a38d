"""Whatever a study has or lacks, the page of a therapy says what its numbers rest on, how old they are, and
no number that nothing carries."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics import selectors
from surveys import jobs
from surveys.models import Heartbeat, Job, Study, Therapy
from tests import factories
from tests.analytics.clinics import follow, rate, rated_clinic
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


def page_of(client: Client, therapy: Therapy) -> str:
    page = client.get(f"/therapies/{therapy.pk}/").content.decode()
    assert not re.search(r"\bnan\b|\binf\b|None", re.sub(r"<script.*?</script>", "", page, flags=re.S), re.I)
    return page


def states(page: str) -> set[str]:
    return set(re.findall(r'class="freshness" data-state="(\w+)"', page))


@pytest.fixture
def small_studies_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MIN_THERAPISTS", 3)
    monkeypatch.setattr(selectors, "MIN_THERAPIES", 5)


def test_a_panel_is_fresh_stale_or_failed_and_says_so(small_studies_count: None) -> None:
    _, user = rated_clinic(planned=(1, 2, 3, 4))
    client, therapy = signed_in(user), Therapy.objects.filter(therapist__user=user).order_by("pk").first()
    assert states(page_of(client, therapy)) == {"never"}
    jobs.run_due(60)
    jobs.beat("worker")
    page = page_of(client, therapy)
    assert states(page) == {"fresh"}
    assert "Up to date." in page
    latest = max(point.submitted_on for point in selectors.therapy_trend(user, therapy, "patient").ratings)
    assert f"Ratings up to {latest.day} {latest:%B %Y} are shown." in page

    rate(therapy)
    assert states(page_of(client, therapy)) == {"fresh"}, "a newer rating has not waited for long"
    with pytest.MonkeyPatch.context() as longer:
        longer.setattr(selectors, "FRESH", timedelta(0))
        page = page_of(client, therapy)
    assert states(page) == {"stale"}
    assert "1 rating came in since" in page
    Heartbeat.objects.all().delete()
    assert states(page_of(client, therapy)) == {"stale"}, "nobody works on it"

    Job.objects.filter(kind="refit").update(state=Job.State.FAILED, finished_at=timezone.now())
    page = page_of(client, therapy)
    assert states(page) == {"failed"}
    assert "the last attempt failed" in page
    assert "Expected course: model of" in page, "the last good model stays, with its date"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "No rating to show yet"),
        ([6], "The last patient rating that you may see is 6.0"),
        ([4, 4, 4, 4], "The last patient rating that you may see is 4.0"),
    ],
    ids=["no rating", "one rating", "all equal"],
)
def test_a_study_of_one_therapist_expects_nothing(cast: Cast, values: list[int], words: str) -> None:
    study: Study = cast.study
    therapy = follow(study, cast.therapist, values) if values else cast.therapy
    jobs.run_due(60)
    page = page_of(signed_in(cast.therapist), therapy)
    assert words in page
    assert states(page) == {"never"}
    assert re.search(r"There is no expected course( yet)?:", page)
    assert "80 % range" not in re.sub(r"<th.*?</th>", "", page, flags=re.S)
    api = signed_in(cast.therapist).get(f"/api/v1/therapies/{therapy.pk}/trend/").json()
    assert api["expected"] == []
    assert api["fit"] is None


def test_equal_ratings_of_many_therapists_expect_nothing(small_studies_count: None) -> None:
    study, user = factories.make_study(factories.make_clinic(), sessions=(1, 2, 3)), None
    for k in range(4):
        user = factories.make_user(f"t{k}@example.org", "therapist", clinic=study.clinic)
        therapies = [follow(study, user, [5, 5, 5]) for _ in range(2)]
    jobs.run_due(60)
    page = page_of(signed_in(user), therapies[0])
    assert "all ratings so far are the same, and nothing can be expected from that" in page
    assert states(page) == {"never"}


@pytest.mark.parametrize(
    ("actor", "address"),
    [
        ("therapist", "/caseload/"),
        ("supervisor", "/supervision/"),
        ("clinic_admin", "/clinic/completion/"),
        ("clinic_admin", "/clinic/studies/{study}/dips/"),
    ],
)
def test_every_page_of_what_jobs_make_says_when_none_is_at_work(cast: Cast, actor: str, address: str) -> None:
    follow(cast.study, cast.therapist, [5, 5])
    jobs.run_due(60)
    jobs.run_due(60)
    client, url = signed_in(getattr(cast, actor)), address.format(study=cast.study.pk)
    words = "tell whoever runs this site"
    assert client.get(url).content.decode().count(words) == 1
    jobs.beat("worker")
    assert words not in client.get(url).content.decode()
