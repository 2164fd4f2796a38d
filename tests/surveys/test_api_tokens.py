"""Tokens of the API: how one is made and ended, what it is for, and how often it may ask."""

from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken
from rest_framework.views import APIView

from alliance_site.policy import ANYONE, POLICY, SCOPES, scopes_for
from surveys.models import ApiToken, AuditEvent, Membership, Role, Scope, User
from surveys.services.accounts import password_set
from surveys.services.api_tokens import MOST, TokenRefused, token_create
from surveys.services.people import staff_leave
from tests import factories
from tests.conftest import Cast, signed_in
from tests.test_permissions import ROUTES, url_of

pytestmark = pytest.mark.django_db
ALL = [scope.value for scope in Scope]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}


def make(user: User, *scopes: str, days: int = 30, name: str = "records") -> str:
    return token_create(user=user, name=name, scopes=scopes or ALL, days=days)


def test_a_token_is_made_after_the_password_was_asked_again_and_shown_once(cast: Cast) -> None:
    client, page = signed_in(cast.clinic_admin, is_confirmed=False), reverse("api-tokens")
    sent = {"name": "records", "scopes": ["patients:read"], "days": "90"}
    asked = client.post(page, sent)
    assert asked.status_code == 401 and "Confirm that it is you" in asked.content.decode()
    assert not AuthToken.objects.exists()
    answer = client.post(page, {**sent, "confirm-password": factories.PASSWORD})
    row = AuthToken.objects.get(user=cast.clinic_admin)
    token = answer.context["token"]
    assert token in answer.content.decode()
    assert token not in client.get(page).content.decode()
    assert row.digest != token and row.expiry - timezone.now() > timedelta(days=89)
    assert Client().get(reverse("api-patients"), headers=bearer(token)).status_code == 200
    assert row.token_key[:8] in client.get(page).content.decode()


def test_a_wrong_password_makes_no_token(cast: Cast) -> None:
    client = signed_in(cast.therapist, is_confirmed=False)
    sent = {"name": "records", "scopes": ["therapies:read"], "days": "30"}
    assert client.post(reverse("api-tokens"), {**sent, "confirm-password": "another one"}).status_code == 401
    assert not AuthToken.objects.exists()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["datasets:read"]}, "scopes"),
        ({"days": "366"}, "days"),
        ({"days": ""}, "days"),
    ],
)
def test_a_token_needs_a_name_a_use_within_the_role_and_an_end(cast: Cast, changed: dict, field: str) -> None:
    sent = {"name": "records", "scopes": ["therapies:read"], "days": "30", **changed}
    answer = signed_in(cast.therapist).post(reverse("api-tokens"), sent)
    assert answer.status_code == 422 and list(answer.context["form"].errors) == [field]
    assert not AuthToken.objects.exists()


def test_the_same_page_sent_twice_makes_one_token(cast: Cast) -> None:
    client = signed_in(cast.therapist)
    sent = {"name": "records", "scopes": ["therapies:read"], "days": "30"}
    assert client.post(reverse("api-tokens"), sent).status_code == 200
    again = client.post(reverse("api-tokens"), sent)
    assert again.status_code == 422 and "You have a token of this name" in again.content.decode()
    assert AuthToken.objects.count() == 1


def test_one_person_has_so_many_tokens_and_no_more(cast: Cast) -> None:
    for number in range(MOST):
        make(cast.therapist, name=str(number))
    with pytest.raises(TokenRefused, match="as many tokens"):
        make(cast.therapist, name="one more")


def test_making_and_revoking_are_in_the_trace_without_the_token(cast: Cast) -> None:
    token = make(cast.therapist, "therapies:read")
    row = AuthToken.objects.get()
    client = signed_in(cast.therapist)
    assert client.post(reverse("api-token-revoke", args=[row.token_key])).status_code == 303
    assert Client().get(reverse("api-therapies"), headers=bearer(token)).status_code == 401
    made, revoked = AuditEvent.objects.filter(act__startswith="token.").order_by("pk")
    assert (made.act, made.actor, made.detail["scopes"]) == (
        "token.create",
        cast.therapist,
        ["therapies:read"],
    )
    assert (revoked.act, revoked.subject) == ("token.revoke", made.subject)
    assert token[:8] not in f"{made.detail}{revoked.detail}"


def test_nobody_revokes_or_sees_the_token_of_somebody_else(cast: Cast) -> None:
    make(cast.therapist, name="of the therapist")
    row = AuthToken.objects.get()
    client = signed_in(cast.colleague)
    assert client.post(reverse("api-token-revoke", args=[row.token_key])).status_code == 404
    assert "of the therapist" not in client.get(reverse("api-tokens")).content.decode()
    assert AuthToken.objects.exists()


def test_a_token_that_is_over_opens_nothing_and_is_said_to_be_over(cast: Cast) -> None:
    token = make(cast.therapist)
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert "Ended on" in signed_in(cast.therapist).get(reverse("api-tokens")).content.decode()
    assert Client().get(reverse("api-therapies"), headers=bearer(token)).status_code == 401


def test_a_token_that_nobody_limited_may_do_all_that_its_owner_may(cast: Cast) -> None:
    _, token = AuthToken.objects.create(cast.therapist)
    assert Client().get(reverse("api-therapies"), headers=bearer(token)).status_code == 200
    assert (
        "everything that you may do" in signed_in(cast.therapist).get(reverse("api-tokens")).content.decode()
    )


@pytest.mark.parametrize("token", ["0" * 64, "ÿ" * 64, "a", "0" * 15 + "'--", "0" * 5000])
def test_what_is_no_token_opens_nothing(cast: Cast, token: str) -> None:
    answer = Client().get(reverse("api-therapies"), headers=bearer(token))
    assert answer.status_code == 401 and answer["WWW-Authenticate"] == "Token"


def test_last_use_is_kept_to_the_hour(cast: Cast) -> None:
    token = make(cast.therapist)
    for _ in range(2):
        Client().get(reverse("api-therapies"), headers=bearer(token))
    first = ApiToken.objects.get().last_used_at
    assert timezone.now() - first < timedelta(minutes=1)
    ApiToken.objects.update(last_used_at=first - timedelta(hours=2))
    Client().get(reverse("api-therapies"), headers=bearer(token))
    assert ApiToken.objects.get().last_used_at > first


def test_every_line_of_the_api_says_what_a_token_must_be_for() -> None:
    api = {route.name for route in ROUTES if issubclass(getattr(route.callback, "cls", object), APIView)}
    lines = {line for line, allowed in POLICY.items() if line[0] in api and ANYONE not in allowed}
    assert len(lines) >= 15
    assert lines == set(SCOPES)
    assert set(SCOPES.values()) == set(ALL), "and no scope is for nothing"


WHO = {
    "patients": "clinic_admin",
    "therapies": "clinic_admin",
    "sessions": "clinic_admin",
    "forms": "clinic_admin",
    "ratings": "therapist",
    "studies": "researcher",
    "datasets": "researcher",
}


@pytest.mark.parametrize("line", sorted(SCOPES))
def test_a_token_opens_what_it_is_for_and_nothing_else(cast: Cast, line: tuple[str, str]) -> None:
    factories.hold_session(cast.therapy)
    (route, method), scope = line, SCOPES[line]
    user, url = getattr(cast, WHO[scope.split(":")[0]]), url_of(route, cast)
    others = [one for one in ALL if one != scope]
    refused = Client().generic(method, url, headers=bearer(make(user, *others, name="others")))
    assert refused.status_code == 403 and scope in refused.content.decode()
    opened = Client().generic(method, url, headers=bearer(make(user, scope, name="one")))
    assert opened.status_code in (200, 400, 404, 410), opened.content


def test_a_scope_gives_nothing_beyond_the_role(cast: Cast) -> None:
    token = make(cast.therapist, *ALL)
    for name in ("api-patients", "api-studies"):
        assert Client().get(reverse(name), headers=bearer(token)).status_code == 403
    assert Scope.DATASETS_READ not in scopes_for(frozenset({Role.THERAPIST}))
    assert Scope.DATASETS_READ in scopes_for(frozenset({Role.RESEARCHER}))


def test_a_route_without_a_line_is_refused_to_a_token_with_uses(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(SCOPES, ("api-therapies", "GET"))
    token = make(cast.therapist, *ALL)
    assert Client().get(reverse("api-therapies"), headers=bearer(token)).status_code == 403
    _, whole = AuthToken.objects.create(cast.therapist)
    assert Client().get(reverse("api-therapies"), headers=bearer(whole)).status_code == 200


def test_who_asks_too_often_is_told_when_to_go_on(cast: Cast, settings) -> None:
    settings.API_RATE_USER = 2
    token, other, url = make(cast.therapist), make(cast.colleague), reverse("api-therapies")
    answers = [Client().get(url, headers=bearer(token)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 58 <= int(answers[2]["Retry-After"]) <= 60
    sentence = f"Too many requests in one minute. Go on in {answers[2]['Retry-After']} seconds."
    assert answers[2].json() == {"detail": sentence}
    assert Client().get(url, headers=bearer(other)).status_code == 200
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cache SET expires = now() - interval '1 second' WHERE cache_key LIKE 'api:%'")
    assert Client().get(url, headers=bearer(token)).status_code == 200


def test_a_request_is_counted_with_one_statement(cast: Cast) -> None:
    token, url = make(cast.therapist), reverse("api-therapies")
    Client().get(url, headers=bearer(token))
    with CaptureQueriesContext(connection) as queries:
        Client().get(url, headers=bearer(token))
    assert len([row for row in queries.captured_queries if "cache" in row["sql"]]) == 1


def test_whoever_tries_tokens_is_slowed_down_too(cast: Cast, settings) -> None:
    settings.API_RATE_ANONYMOUS = 2
    tries = [Client().get(reverse("api-therapies"), headers=bearer("0" * 64)) for _ in range(3)]
    assert [answer.status_code for answer in tries] == [401, 401, 429]
    assert Client().get(reverse("api-therapies"), headers=bearer(make(cast.therapist))).status_code == 200


def test_a_new_password_ends_all_tokens_and_says_so(cast: Cast, django_capture_on_commit_callbacks) -> None:
    token, other, url = make(cast.therapist), make(cast.colleague), reverse("api-therapies")
    mail.outbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        password_set(user=cast.therapist, password="another horse in the morning", actor=cast.therapist)
    assert Client().get(url, headers=bearer(token)).status_code == 401
    assert Client().get(url, headers=bearer(other)).status_code == 200
    assert "Your API tokens ended with the old password." in mail.outbox[0].body
    assert AuditEvent.objects.get(act="token.end").detail == {"n": 1}
    with django_capture_on_commit_callbacks(execute=True):
        password_set(user=cast.therapist, password="a horse in the evening", actor=cast.therapist)
    assert "API" not in mail.outbox[1].body


def test_who_leaves_leaves_no_token_that_works_again_on_return(cast: Cast) -> None:
    token = make(cast.therapist)
    staff_leave(clinic=cast.clinic, user=cast.therapist, actor=cast.clinic_admin)
    assert not AuthToken.objects.exists()
    User.objects.filter(pk=cast.therapist.pk).update(is_active=True)
    Membership.objects.create(clinic=cast.clinic, user=cast.therapist, role=Role.THERAPIST)
    assert Client().get(reverse("api-therapies"), headers=bearer(token)).status_code == 401


def test_the_owner_is_told_of_a_new_token_by_mail(cast: Cast, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        token = make(cast.therapist)
    (sent,) = mail.outbox
    assert (sent.to, sent.subject) == ([cast.therapist.email], "An API token was made for your account")
    assert "If it was not you" in sent.body and token not in sent.body
