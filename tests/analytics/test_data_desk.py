"""A study's data frozen at the desk: what is refused, what is the same, what is said of who left since."""

from datetime import date, timedelta
from uuid import uuid4

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken

import analytics.tasks  # noqa: F401  registers the jobs
from analytics.models import Snapshot
from analytics.selection import Selection
from analytics.services.snapshots import SelectionRefused, chosen, snapshot_ask
from surveys import jobs
from surveys.models import AuditEvent, Role, Study, Therapy, User
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import frozen, research_clinic
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    return research_clinic()


@pytest.fixture
def researcher(study: Study) -> User:
    return factories.make_user("researcher@example.org", Role.RESEARCHER, clinic=study.clinic)


def page(study: Study) -> str:
    return reverse("desk-data", args=[study.pk])


def freeze(client: Client, study: Study, **selection: object) -> Snapshot:
    answer = client.post(page(study), selection)
    assert answer.status_code == 302, answer.content.decode()
    assert jobs.run_due(is_long=True) == 1
    return study.snapshots.get(number=study.snapshots.count())


def test_data_are_frozen_with_number_hash_and_counts(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    assert "The whole study was never frozen" in client.get(page(study)).content.decode()
    client.post(page(study))
    waiting = client.get(page(study)).content.decode()
    assert "Waiting for its turn" in waiting and "Freeze the data as they are now" not in waiting
    assert jobs.run_due(is_long=True) == 1
    snapshot = study.snapshots.get()
    body = client.get(page(study)).content.decode()
    assert "Snapshot 1" in body and snapshot.sha256[:12] in body and researcher.email in body
    own = client.get(reverse("desk-snapshot", args=[snapshot.pk])).content.decode()
    assert str(snapshot.pk) in own and snapshot.sha256 in own and "<dd>18</dd>" in own
    assert AuditEvent.objects.filter(act="snapshot.ask", actor=researcher).count() == 1


def test_the_same_therapies_twice_are_identical_and_said_to_be(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    first, again = freeze(client, study), freeze(client, study)
    assert first.sha256 == again.sha256
    assert "identical to snapshot 1" in client.get(page(study)).content.decode()
    own = client.get(reverse("desk-snapshot", args=[again.pk])).content.decode()
    assert "identical to snapshot 1" in own


def test_new_forms_are_counted_from_the_last_snapshot_of_the_whole_study(
    study: Study, researcher: User
) -> None:
    client = signed_in(researcher)
    freeze(client, study)
    session = factories.hold_session(study.therapies.order_by("pk").first())
    factories.give(factories.form_of(session, "patient"), 6)
    body = client.get(page(study)).content.decode()
    assert "New since snapshot 1 of " in body and ": 1." in body


def day(days: int) -> str:
    return (timezone.localdate() - timedelta(days=days)).isoformat()


def test_a_second_therapy_of_one_patient_tells_two_selections_apart(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    therapies = Therapy.objects.filter(study=study)
    therapies.update(ended_on=timezone.localdate(), end_reason="completed")
    freeze(client, study)
    old = therapies.order_by("pk").first()
    Therapy.objects.create(
        patient=old.patient, therapist=old.therapist, study=study, started_on=timezone.localdate()
    )
    assert freeze(client, study).counts["n_episodes"] == 19
    refused = client.post(page(study), {"only_ended": "on"})
    assert refused.status_code == 422 and "differ by 1 patient from" in refused.content.decode()


def test_who_left_does_not_hide_by_how_few_two_selections_differ(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    freeze(client, study)
    keys = list(Therapy.objects.filter(study=study).order_by("pk").values_list("pk", flat=True))
    Therapy.objects.filter(pk__in=keys[:3]).update(excluded_at=timezone.now())
    Therapy.objects.filter(pk__in=keys[3:5]).update(started_on=date(2001, 1, 1))
    refused = client.post(page(study), {"started_from": "2001-01-02"})
    assert refused.status_code == 422 and "differ by 2 patients from" in refused.content.decode()


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(started_from=date(2020, 1, 1)),
        Selection(started_until=date(2020, 1, 1)),
        Selection(arms=("a",), only_ended=True),
    ],
)
def test_who_is_checked_is_who_is_frozen(study: Study, selection: Selection) -> None:
    keys = list(Therapy.objects.filter(study=study).order_by("pk").values_list("pk", flat=True))
    Therapy.objects.filter(pk__in=keys[:6]).update(started_on=date(2020, 1, 1))
    Therapy.objects.filter(pk__in=keys[4:9]).update(arm="a")
    Therapy.objects.filter(pk__in=keys[7:]).update(ended_on=timezone.localdate(), end_reason="completed")
    Therapy.objects.filter(pk=keys[8]).update(excluded_at=timezone.now())
    assert chosen(study, selection).patients == set(frozen(study, selection).patients)


def test_two_are_not_frozen_at_once_and_one_can_be_stopped(study: Study, researcher: User) -> None:
    client = signed_in(researcher)
    client.post(page(study))
    with pytest.raises(SelectionRefused, match="busy"):
        snapshot_ask(study=study, selection=Selection(), actor=researcher)
    snapshot = study.snapshots.get()
    client.post(reverse("desk-snapshot-cancel", args=[snapshot.pk]))
    assert jobs.run_due(is_long=True) == 0
    assert "was not frozen" in client.get(page(study)).content.decode()
    assert freeze(client, study).number == 2


def test_without_a_key_the_page_says_whom_to_ask(
    study: Study, researcher: User, settings: LazySettings
) -> None:
    settings.PSEUDONYM_KEY = ""
    refused = signed_in(researcher).post(page(study))
    assert refused.status_code == 422 and "PSEUDONYM_KEY" in refused.content.decode()


def test_an_earlier_snapshot_says_who_left_since_and_that_it_was_erased(
    study: Study, researcher: User
) -> None:
    client = signed_in(researcher)
    snapshot = freeze(client, study)
    own = reverse("desk-snapshot", args=[snapshot.pk])
    leaver, eraser = (row.patient for row in study.therapies.order_by("pk")[:2])
    withdrawal_enter(patient=leaver, study=study, choice="exclude")
    assert "1 patient in it has since asked to be left out" in client.get(own).content.decode()
    withdrawal_enter(patient=eraser, study=study, choice="erase")
    body = client.get(own).content.decode()
    assert "because a patient in it had their data erased" in body
    assert "1 patient of the study has had their data erased" in body
    assert (
        "Ask for a file" not in body
        and client.post(own, {"purpose": "p", "tier": "scores"}).status_code == 422
    )


def test_the_desk_asks_as_many_questions_for_many_snapshots_as_for_one(
    study: Study, researcher: User
) -> None:
    client = signed_in(researcher)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(page(study)).status_code == 200
        return len(queries)

    frozen(study)
    client.get(page(study))
    one = n_queries()
    for _ in range(3):
        frozen(study)
    assert n_queries() == one


def test_an_api_request_that_says_nothing_or_names_no_arm_freezes_nothing(
    study: Study, researcher: User
) -> None:
    token = AuthToken.objects.create(researcher)[1]
    answer = Client().post(
        f"/api/v1/studies/{study.pk}/snapshots/",
        {"arms": ["none such"]},
        content_type="application/json",
        headers={"Authorization": f"Token {token}", "Idempotency-Key": str(uuid4())},
    )
    assert answer.status_code == 400 and "arms" in answer.json()
    headers = {"Authorization": f"Token {token}", "Idempotency-Key": str(uuid4())}
    url = f"/api/v1/studies/{study.pk}/snapshots/"
    empty = Client().post(url, b"", content_type="application/json", headers=headers)
    assert empty.status_code == 400 and "empty" in str(empty.json())
    assert not Snapshot.objects.exists()


def test_another_clinic_s_desk_does_not_exist(study: Study, researcher: User) -> None:
    snapshot = frozen(study)
    other = factories.make_clinic("Hill Clinic")
    stranger = signed_in(factories.make_user("stranger@example.org", Role.RESEARCHER, clinic=other))
    for url in (page(study), reverse("desk-snapshot", args=[snapshot.pk])):
        assert stranger.get(url).status_code == 404
        assert stranger.post(url).status_code == 404
        assert signed_in(researcher).get(url).status_code == 200
    assert stranger.post(reverse("desk-snapshot-cancel", args=[snapshot.pk])).status_code == 404
