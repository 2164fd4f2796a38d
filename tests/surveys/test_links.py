"""The states of a link: what each shows, and that a visit changes nothing."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from surveys import browsers
from surveys.models import Assignment, Opening
from surveys.services.invitations import link_issue
from surveys.tokens import token_hash
from tests import factories

SECRET = "s" * 43


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def test_visits_by_scanners_change_nothing(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    client = Client()
    for _ in range(50):
        assert client.get(f"/r/{token}/").status_code == 200
        assert client.head(f"/r/{token}/").status_code == 200
    assert client.options(f"/r/{token}/").status_code == 405
    patient_form.refresh_from_db()
    assert patient_form.state == Assignment.State.DUE
    assert not Opening.objects.exists()
    assert "__Host-browser" not in client.cookies


def test_link_of_a_received_form_says_the_day_and_gives_the_code_only_to_the_browser_that_sent_it(
    patient_form: Assignment,
) -> None:
    token = link_issue(assignment=patient_form)
    client = Client()
    client.post(f"/r/{token}/")
    code = factories.give(patient_form, browser=SECRET).receipt_code
    opened, other = client.get(f"/r/{token}/"), Client().get(f"/r/{token}/")
    own = Client()
    own.cookies["__Host-browser"] = SECRET
    mine = own.get(f"/r/{token}/")
    for answer in (mine, opened, other):
        assert answer.status_code == 200
        page = answer.content.decode()
        assert "<h1>Your form was received</h1>" in page
        assert f"It came in on {timezone.localdate():%-d %B %Y}. There is nothing more to do." in page
        assert "item_" not in page
    assert code in mine.content.decode()
    assert code not in opened.content.decode()
    assert code not in other.content.decode()
    receipt = client.get(f"/f/{patient_form.pk}/receipt/").content.decode()
    assert "Your form was received" in receipt
    assert code not in receipt


def test_a_browser_that_began_the_form_is_offered_to_continue(patient_form: Assignment) -> None:
    token = link_issue(assignment=patient_form)
    client = Client()
    assert ">Start</button>" in client.get(f"/r/{token}/").content.decode()
    client.post(f"/r/{token}/")
    assert ">Continue</button>" in client.get(f"/r/{token}/").content.decode()
    assert ">Start</button>" in Client().get(f"/r/{token}/").content.decode()


def test_in_the_day_after_closing_the_start_page_names_the_moment_that_still_counts(
    patient_form: Assignment,
) -> None:
    token = link_issue(assignment=patient_form)
    client = Client()
    assert "Open until" in client.get(f"/r/{token}/").content.decode()
    client.post(f"/r/{token}/")
    closed = timezone.now() - timedelta(hours=2)
    Assignment.objects.filter(pk=patient_form.pk).update(
        opens_at=timezone.now() - timedelta(days=3), closes_at=closed
    )
    page = client.get(f"/r/{token}/").content.decode()
    last = timezone.localtime(closed + timedelta(days=1))
    assert f"It can still be sent until {last:%A %-d %B, %H:%M}" in page
    assert "Open until" not in page


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"closes_at": timedelta(minutes=-1)}, 410, "This form is closed"),
        ({"state": "withdrawn"}, 200, "Thank you, there is nothing to do"),
    ],
    ids=["expired", "withdrawn"],
)
def test_links_that_are_over_have_a_calm_page_with_the_clinics_contact(
    patient_form: Assignment, change: dict[str, object], status: int, words: str
) -> None:
    token = link_issue(assignment=patient_form)
    values = {key: timezone.now() + value if key == "closes_at" else value for key, value in change.items()}
    Assignment.objects.filter(pk=patient_form.pk).update(
        opens_at=timezone.now() - timedelta(days=3), **values
    )
    for answer in (Client().get(f"/r/{token}/"), Client().post(f"/r/{token}/")):
        assert answer.status_code == status
        assert words in answer.content.decode()
        assert "Reception, 555 0100" in answer.content.decode()
    assert not Opening.objects.exists()


@pytest.mark.parametrize("token", ["x", "A" * 43, "A" * 5000, "%F0%9F%8C%B1", "..%2F.."])
def test_unknown_links_have_a_page_of_their_own(db: None, token: str) -> None:
    for answer in (Client().get(f"/r/{token}/"), Client().post(f"/r/{token}/")):
        assert answer.status_code == 404
        assert "link" in answer.content.decode()


@pytest.mark.parametrize("tail", [")/", "./", "/)", "/%3E", "/).", "%C2%BB", "/%3E/", ",%20/"])
def test_a_link_with_a_sign_too_many_leads_to_its_own_address(patient_form: Assignment, tail: str) -> None:
    token = link_issue(assignment=patient_form)
    answer = Client().get(f"/r/{token}{tail}", follow=True)
    assert answer.status_code == 200
    assert answer.request["PATH_INFO"] == f"/r/{token}/"
    assert not Opening.objects.exists()


@pytest.mark.parametrize("address", ["x/)", "A" * 43 + "/%3E", "A" * 43 + ")/", "A" * 43 + "/a/b/"])
def test_an_unknown_link_with_a_sign_too_many_has_the_page_of_unknown_links(db: None, address: str) -> None:
    answer = Client().get(f"/r/{address}", follow=True)
    assert answer.status_code == 404
    assert "This link leads to no form" in answer.content.decode()


def test_unknown_links_with_a_sign_too_many_are_counted_as_the_others(db: None) -> None:
    for _ in range(browsers.MAX_MISSES):
        assert Client().get(f"/r/{'A' * 43}/)").status_code == 404
    assert Client().get(f"/r/{'A' * 43}/)").status_code == 429


def test_two_links_to_one_form_both_lead_there_until_they_are_revoked(patient_form: Assignment) -> None:
    old, new = link_issue(assignment=patient_form), link_issue(assignment=patient_form)
    assert [Client().get(f"/r/{token}/").status_code for token in (old, new)] == [200, 200]
    patient_form.links.filter(token_hash=token_hash(old)).update(revoked_at=timezone.now())
    assert [Client().get(f"/r/{token}/").status_code for token in (old, new)] == [404, 200]


def test_after_thirty_wrong_links_an_address_has_to_wait_but_valid_links_still_open(
    patient_form: Assignment,
) -> None:
    token = link_issue(assignment=patient_form)
    client = Client(REMOTE_ADDR="10.0.0.1")
    statuses = [client.get(f"/r/wrong{number}/").status_code for number in range(32)]
    assert statuses == [404] * 30 + [429] * 2
    refused = client.get("/r/wrong/")
    assert 0 < int(refused["Retry-After"]) <= 601
    assert client.get(f"/r/{token}/").status_code == 200
    assert client.post(f"/r/{token}/").status_code == 303
    assert Client(REMOTE_ADDR="10.0.0.2").get("/r/wrong/").status_code == 404


def test_the_operator_is_told_once_when_many_addresses_guess(
    db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(browsers, "MANY_MISSES", 3)
    for number in range(6):
        assert Client(REMOTE_ADDR=f"10.0.0.{number}").get("/r/wrong/").status_code == 404
    told = [row.getMessage() for row in caplog.records if row.name == "surveys.browsers"]
    assert told == ["3 links that lead nowhere were tried within an hour: somebody may be guessing."]


def test_two_hundred_patients_behind_an_address_that_guesses_all_come_in(patient_form: Assignment) -> None:
    tokens = [link_issue(assignment=patient_form) for _ in range(200)]
    guesser = Client(REMOTE_ADDR="10.0.0.1")
    assert [guesser.get(f"/r/wrong{number}/").status_code for number in range(31)][-1] == 429
    assert {Client(REMOTE_ADDR="10.0.0.1").get(f"/r/{token}/").status_code for token in tokens} == {200}


def test_a_forwarded_address_counts_only_behind_trusted_proxies(db: None, settings: object) -> None:
    def statuses() -> set[int]:
        return {
            Client()
            .get("/r/wrong/", headers={"x-forwarded-for": f"9.9.9.{number}, 10.0.0.{number}"})
            .status_code
            for number in range(31)
        }

    assert 429 in statuses()
    cache.clear()
    settings.TRUSTED_PROXIES = 1
    assert statuses() == {404}
