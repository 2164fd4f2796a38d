"""What asks for the password again asks everybody, loses nothing that was typed, and then goes through."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from alliance_site.policy import ANYONE, CONFIRMED, POLICY
from surveys.models import AuditEvent, Membership, User
from tests import factories
from tests.conftest import Cast, confirm, signed_in
from tests.test_permissions import town, url_of  # noqa: F401  a fixture

NEW = {"name": "Ada <b>", "email": "ada@example.org", "roles": ["therapist", "supervisor"], "supervisor": ""}
PERSONS = {
    "signed in": "therapist",
    "clinic_admin": "clinic_admin",
    "researcher": "researcher",
    "operator": "superuser",
    "therapist": "therapist",
}


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def person_for(line: tuple[str, str], cast: Cast) -> User:
    role = next(role for role in PERSONS if role in POLICY[line])
    return getattr(cast, PERSONS[role])


def late(user: User) -> Client:
    return signed_in(user, is_confirmed=False)


def test_the_list_names_routes_of_the_policy_for_people_who_are_signed_in() -> None:
    assert set(POLICY) >= CONFIRMED
    assert [line for line in CONFIRMED if ANYONE in POLICY[line]] == []


@pytest.mark.parametrize("line", sorted(CONFIRMED), ids=lambda line: " ".join(reversed(line)))
def test_every_line_of_the_list_asks_first_and_does_nothing(town: Cast, line: tuple[str, str]) -> None:  # noqa: F811
    route, method = line
    url, user = url_of(route, town), person_for(line, town)
    before = AuditEvent.objects.count()
    answer = late(user).generic(method, url)
    if route.startswith("api-") and "/api/" in url:
        assert answer.status_code == 403 and "Confirm your password" in answer.content.decode()
    elif method == "GET":
        assert answer.status_code == 302
        target = urlsplit(answer["Location"])
        assert (target.path, parse_qs(target.query)) == (
            reverse("account_reauthenticate"),
            {"next": [url]},
        )
        assert late(user).head(url).status_code == 302
    else:
        assert answer.status_code == 401 and "Nothing was done yet" in answer.content.decode()
    if "/api/" not in url:
        assert AuditEvent.objects.count() == before, "neither done nor refused"
    passed = signed_in(user).generic(method, url)
    assert passed.status_code != 401 and reverse("account_reauthenticate") not in passed.get("Location", "")
    assert "Confirm your password" not in (b"" if passed.streaming else passed.content).decode()


def test_what_was_typed_comes_back_and_goes_through_with_the_password(cast: Cast) -> None:
    client, page = late(cast.clinic_admin), reverse("people-staff-new")
    asked = client.post(page, NEW)
    body = asked.content.decode()
    for value in ("Ada &lt;b&gt;", "ada@example.org", "therapist", "supervisor"):
        assert f'value="{value}"' in body
    assert not User.objects.filter(email="ada@example.org").exists()
    wrong = client.post(page, {**NEW, "confirm-password": "not this one"})
    assert wrong.status_code == 401 and 'value="ada@example.org"' in wrong.content.decode()
    assert "not this one" not in wrong.content.decode()
    assert not User.objects.filter(email="ada@example.org").exists()
    assert client.post(page, {**NEW, "confirm-password": factories.PASSWORD}).status_code == 302
    roles = Membership.objects.filter(user__email="ada@example.org").values_list("role", flat=True)
    assert set(roles) == {"therapist", "supervisor"}
    assert client.get(page).status_code == 200, "and for the next quarter of an hour"


def test_a_transfer_asks_first_and_an_address_that_is_corrected_does_not(cast: Cast) -> None:
    client, therapy = late(cast.clinic_admin), cast.therapy
    address = {"language": "en", "contact": "me@example.org"}
    page = reverse("people-patient", args=[therapy.patient_id])
    assert client.post(page, address)["Location"] == page
    transfer = reverse("people-therapy-transfer", args=[therapy.pk])
    to = cast.colleague_therapy.therapist
    typed = {"move-therapist": str(to.pk), "move-on": timezone.localdate().isoformat()}
    asked = client.post(transfer, typed)
    assert asked.status_code == 401
    for name, value in typed.items():
        assert f'name="{name}" value="{value}"' in asked.content.decode()
    assert not to.therapies.filter(patient=therapy.patient_id).exists()
    assert client.post(transfer, {**typed, "confirm-password": factories.PASSWORD}).status_code == 302
    assert to.therapies.filter(patient=therapy.patient_id).exists()


def test_a_confirmation_holds_for_a_quarter_of_an_hour_and_for_one_account(cast: Cast) -> None:
    client, page = late(cast.clinic_admin), reverse("people-staff-new")
    confirm(client, cast.clinic_admin, ago=14 * 60)
    assert client.get(page).status_code == 200
    confirm(client, cast.clinic_admin, ago=15 * 60 + 1)
    assert client.get(page).status_code == 302
    confirm(client, cast.colleague)
    assert client.get(page).status_code == 302


def test_the_page_leads_back_to_where_somebody_wanted_to_go(cast: Cast) -> None:
    client, page = late(cast.clinic_admin), reverse("people-staff-new")
    asked = client.get(page)["Location"]
    assert "Confirm that it is you" in client.get(asked).content.decode()
    answer = client.post(asked, {"password": factories.PASSWORD, "next": page})
    assert answer["Location"] == page and client.get(page).status_code == 200


def test_nobody_tries_passwords_on_the_page_that_asks(cast: Cast) -> None:
    client, page = late(cast.clinic_admin), reverse("people-staff-new")
    for _ in range(10):
        client.post(page, {**NEW, "confirm-password": "a guess of mine"})
    answer = client.post(page, {**NEW, "confirm-password": factories.PASSWORD})
    assert answer.status_code == 401 and "tried too often" in answer.content.decode()
    assert 'value="ada@example.org"' in answer.content.decode()
    assert not User.objects.filter(email="ada@example.org").exists()


def test_an_account_with_nothing_to_confirm_by_must_have_signed_in_a_moment_ago(cast: Cast) -> None:
    cast.clinic_admin.set_unusable_password()
    cast.clinic_admin.save()
    client, page = late(cast.clinic_admin), reverse("people-staff-new")
    confirm(client, cast.clinic_admin, ago=16 * 60)
    for asked in (client.get(page), client.post(page, NEW)):
        assert asked.status_code == 401 and "sign out, sign in again" in asked.content.decode()
    confirm(client, cast.clinic_admin)
    assert client.get(page).status_code == 200
