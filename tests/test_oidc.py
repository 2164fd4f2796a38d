"""Signing in at the clinic's own provider: a small real one, with keys, codes and signed tokens."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives.asymmetric import rsa
from django.core.cache import cache
from django.test import Client

from surveys.models import User
from tests.conftest import Cast
from tests.sign_in import SECRET, give_app
from tests.totp import code_of

START, BACK = "/accounts/oidc/sso/login/", "/accounts/oidc/sso/login/callback/"
CODE, APP = "/accounts/2fa/authenticate/", "/accounts/2fa/totp/activate/"
KEY, OTHER_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


@dataclass
class Provider:
    """What it says next, and what it was asked."""

    issuer: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    key: Any = KEY
    algorithm: str = "RS256"
    challenge: str = ""
    is_down: bool = False

    def token(self) -> str:
        now = int(time.time())
        own = {"iss": self.issuer, "aud": "alliance", "sub": "7", "iat": now, "exp": now + 60}
        claims = {name: value for name, value in (own | self.claims).items() if value is not None}
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": "one"})

    def answer(self, path: str, sent: dict[str, list[str]]) -> dict[str, Any] | None:
        if self.is_down:
            return None
        if path == "/.well-known/openid-configuration":
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
            ends["userinfo_endpoint"] = "userinfo"
            known = {name: f"{self.issuer}/{end}" for name, end in ends.items()}
            return {"issuer": self.issuer, **known, **self.config}
        if path == "/keys":
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
            return {"keys": [public | {"kid": "one", "alg": "RS256", "use": "sig"}]}
        if path == "/userinfo":
            return self.userinfo
        verifier = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
        assert base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() == self.challenge
        assert sent["client_secret"] == ["hidden"]
        return {"access_token": "opaque", "token_type": "Bearer", "id_token": self.token()}


@pytest.fixture
def provider(db: None, settings: Any) -> Iterator[Provider]:
    cache.clear()
    found = Provider(claims={"email": "therapist@example.org", "email_verified": True})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = found.answer(urlsplit(self.path).path, parse_qs(self.rfile.read(length).decode()))
            self.send_response(500 if body is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body or {}).encode())

        do_POST = do_GET

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.issuer = f"http://127.0.0.1:{server.server_port}"
    app = {"provider_id": "sso", "name": "Harbour", "client_id": "alliance", "secret": "hidden"}
    app["settings"] = {"server_url": found.issuer}  # type: ignore[assignment]
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    settings.OIDC_NAME, settings.OIDC_DOMAINS = "Harbour", frozenset({"example.org"})
    yield found
    server.shutdown()
    server.server_close()


def come_back(client: Client, provider: Provider, query: str = "code=once", state: str = "") -> Any:
    """From the button to the provider and back, as a browser would go."""
    answer = client.get(f"{START}?next=/practice/")
    assert answer.status_code == 302, answer.content.decode()
    asked = parse_qs(urlsplit(answer["Location"]).query)
    assert answer["Location"].startswith(f"{provider.issuer}/authorize?")
    assert (asked["code_challenge_method"], asked["response_type"]) == (["S256"], ["code"])
    provider.challenge = asked["code_challenge"][0]
    return client.get(f"{BACK}?{query}&state={state or asked['state'][0]}")


def test_the_button_stands_on_the_sign_in_page_where_there_is_a_provider(
    provider: Provider, settings: Any
) -> None:
    assert "Sign in with Harbour" in Client().get("/accounts/login/").content.decode()
    settings.OIDC_NAME, settings.SOCIALACCOUNT_PROVIDERS = "", {"openid_connect": {"APPS": []}}
    assert "Sign in with" not in Client().get("/accounts/login/").content.decode().replace(
        "with a passkey", ""
    )
    assert Client().get(START).status_code == 404
    assert Client().get(f"{BACK}?code=x&state=y").status_code == 404


def test_somebody_with_an_account_signs_in_and_still_gives_their_code(cast: Cast, provider: Provider) -> None:
    give_app(cast.therapist)
    client = Client()
    # What the provider says of its own second factor is not believed.
    provider.claims |= {"amr": ["mfa", "otp"], "acr": "high"}
    assert come_back(client, provider)["Location"] == CODE
    assert client.get("/caseload/").status_code == 302
    assert client.post(CODE, {"code": code_of(SECRET)})["Location"] == "/practice/"
    assert client.get("/practice/").status_code == 200
    assert not SocialAccount.objects.exists()
    cast.therapist.refresh_from_db()
    assert cast.therapist.has_usable_password()


def test_without_a_factor_they_are_led_to_set_one_up(cast: Cast, provider: Provider) -> None:
    client = Client()
    assert come_back(client, provider)["Location"] == "/practice/"
    assert client.get("/practice/")["Location"].startswith(APP)
    assert client.get(APP).status_code == 200


def test_the_operator_may_vouch_for_the_provider_s_second_factor(
    cast: Cast, provider: Provider, settings: Any
) -> None:
    settings.OIDC_MFA = True
    give_app(cast.therapist)
    client = Client()
    assert come_back(client, provider)["Location"] == "/practice/"
    assert client.get("/practice/").status_code == 200
    assert client.get("/api/v1/therapies/").status_code == 200


def test_the_address_may_come_from_the_second_question_if_it_is_about_the_same_person(
    cast: Cast, provider: Provider
) -> None:
    provider.userinfo, provider.claims = {"sub": "7", **provider.claims}, {}
    assert come_back(Client(), provider)["Location"] == "/practice/"
    provider.userinfo["sub"] = "8"
    assert come_back(Client(), provider).status_code == 403


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"email": "somebody@example.org"}, "No account here"),
        ({"email_verified": False}, "does not say that it has verified"),
        ({"email_verified": "false"}, "does not say that it has verified"),
        ({"email_verified": None}, "does not say that it has verified"),
        ({"email": ""}, "does not say that it has verified"),
        ({"aud": "another"}, "did not come to an end"),
        ({"iss": "https://evil.example"}, "did not come to an end"),
        ({"exp": 1}, "did not come to an end"),
        ({"sub": None}, "did not come to an end"),
    ],
    ids=str,
)
def test_nobody_else_gets_in(cast: Cast, provider: Provider, claims: dict[str, Any], sentence: str) -> None:
    n_users = User.objects.count()
    provider.claims |= claims
    client = Client()
    answer = come_back(client, provider)
    assert (answer.status_code, sentence in answer.content.decode()) == (403, True)
    assert client.get("/caseload/")["Location"].startswith("/accounts/login/")
    assert User.objects.count() == n_users


@pytest.mark.parametrize("is_vouched_for", [True, False])
def test_the_provider_opens_no_account_of_an_operator(
    cast: Cast, provider: Provider, settings: Any, is_vouched_for: bool
) -> None:
    settings.OIDC_MFA = is_vouched_for
    provider.claims |= {"email": cast.superuser.email}
    client = Client()
    answer = come_back(client, provider)
    assert (answer.status_code, "sign in here by password" in answer.content.decode()) == (403, True)
    assert client.get("/status/").status_code == 302
    provider.claims |= {"email": cast.therapist.email}
    assert come_back(Client(), provider).status_code == 302


@pytest.mark.parametrize("domain", ["river.example", "sub.example.org", "org"])
def test_an_account_outside_of_the_provider_s_domains_is_not_found(
    cast: Cast, provider: Provider, settings: Any, domain: str
) -> None:
    settings.OIDC_DOMAINS = frozenset({domain})
    answer = come_back(Client(), provider)
    assert (answer.status_code, "No account here" in answer.content.decode()) == (403, True)
    settings.OIDC_DOMAINS = frozenset({domain, "example.org"})
    provider.claims |= {"email": "Therapist@Example.ORG"}
    assert come_back(Client(), provider).status_code == 302


@pytest.mark.parametrize(
    ("key", "algorithm"), [(OTHER_KEY, "RS256"), ("a secret of both" * 3, "HS256"), (None, "none")]
)
def test_a_token_that_the_provider_did_not_sign_is_refused(
    cast: Cast, provider: Provider, key: Any, algorithm: str
) -> None:
    provider.key, provider.algorithm = key, algorithm
    assert come_back(Client(), provider).status_code == 403


def test_an_answer_that_was_not_asked_for_a_refusal_and_silence_let_nobody_in(
    cast: Cast, provider: Provider
) -> None:
    assert come_back(Client(), provider, state="invented").status_code == 403
    assert come_back(Client(), provider, query="error=access_denied").status_code == 403
    provider.config = {"issuer": "https://evil.example"}
    assert Client().get(START).status_code == 502
    provider.config = {"token_endpoint": ""}
    assert Client().get(START).status_code == 502
    provider.is_down = True
    answer = Client().get(START)
    assert (answer.status_code, "does not answer as it should" in answer.content.decode()) == (502, True)


def test_an_account_that_is_closed_stays_closed(cast: Cast, provider: Provider) -> None:
    User.objects.filter(pk=cast.therapist.pk).update(is_active=False)
    client = Client()
    assert come_back(client, provider)["Location"] == "/accounts/inactive/"
    assert client.get("/caseload/")["Location"].startswith("/accounts/login/")
