"""Signing in and out, and the pages of the account."""

import re

import pytest
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.test import Client

from tests import factories
from tests.conftest import Cast, signed_in
from tests.sign_in import prove

NEW_PASSWORD = "another horse in the morning"


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def sign_in(client: Client, email: str, password: str = factories.PASSWORD) -> object:
    return client.post("/accounts/login/", {"login": email, "password": password})


@pytest.mark.parametrize(
    ("path", "title"),
    [
        ("login/", "Sign in"),
        ("signup/", "Accounts come from your clinic"),
        ("inactive/", "This account is closed"),
        ("password/reset/", "Set a new password"),
        ("password/reset/done/", "Look at your e-mail"),
        ("password/reset/key/done/", "Your new password is set"),
        ("password/reset/key/1-abc/", "This link no longer works"),
    ],
)
def test_pages_before_signing_in_have_our_own_layout(db: None, path: str, title: str) -> None:
    page = Client().get(f"/accounts/{path}").content.decode()
    assert f"<h1>{title}</h1>" in page
    assert 'class="skip-link"' in page
    assert "<nav" not in page


@pytest.mark.parametrize(
    ("path", "title"),
    [("password/change/", "Change your password"), ("logout/", "Sign out"), ("2fa/", "Signing in")],
)
def test_pages_after_signing_in_have_the_navigation_of_the_roles(cast: Cast, path: str, title: str) -> None:
    page = signed_in(cast.therapist).get(f"/accounts/{path}").content.decode()
    assert f"<h1>{title}</h1>" in page
    assert 'href="/caseload/"' in page
    assert 'href="/supervision/"' not in page
    assert 'href="/studies/"' not in page


def test_a_therapist_signs_in_by_e_mail_and_out_again(cast: Cast) -> None:
    client = Client()
    assert sign_in(client, "therapist@example.org")["Location"] == "/"
    prove(client, cast.therapist)
    assert client.get("/")["Location"] == "/caseload/"
    page = client.get("/caseload/").content.decode()
    assert "Successfully" not in page
    client.post("/accounts/logout/")
    assert client.get("/caseload/").status_code == 302


def test_a_wrong_password_and_an_unknown_address_give_the_same_sentence(cast: Cast) -> None:
    pages = [
        sign_in(Client(), "therapist@example.org", "wrong password here").content.decode(),
        sign_in(Client(), "nobody@example.org", "wrong password here").content.decode(),
    ]
    sentences = [re.findall(r'role="alert"[^>]*>\s*<p>([^<]+)</p>', page) for page in pages]
    assert sentences[0] == sentences[1] == ["E-mail address or password is not right."]


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("login/", ["E-mail", "Password"]),
        ("password/reset/", ["E-mail"]),
        ("password/change/", ["Current password", "New password", "New password (again)"]),
        ("reauthenticate/", ["Password"]),
    ],
)
def test_forms_of_the_account_are_labelled_alike_and_repeat_no_label(
    cast: Cast, path: str, labels: list[str]
) -> None:
    client = Client() if path in ("login/", "password/reset/") else signed_in(cast.therapist)
    page = client.get(f"/accounts/{path}", follow=True).content.decode()
    assert re.findall(r"<label[^>]*>([^<]+)</label>", page) == labels
    assert "placeholder" not in page


def test_a_forgotten_password_is_set_anew_by_the_link_in_the_mail(cast: Cast) -> None:
    # What the sender of the request says the address is, is not asked.
    client = Client(SERVER_PORT="6666")
    answer = client.post("/accounts/password/reset/", {"email": "therapist@example.org"})
    assert answer["Location"] == "/accounts/password/reset/done/"
    assert mail.outbox[0].subject == "Set a new password"
    assert "Thank you for using" not in mail.outbox[0].body
    link = re.search(rf"{settings.SITE_URL}(/accounts/password/reset/key/\S+)", mail.outbox[0].body)[1]
    page = client.get(link, follow=True)
    assert "<h1>Set a new password</h1>" in page.content.decode()
    assert ">New password</label>" in page.content.decode()
    done = client.post(page.request["PATH_INFO"], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert done["Location"] == "/accounts/password/reset/key/done/"
    assert sign_in(Client(), "therapist@example.org", NEW_PASSWORD).status_code == 302


def test_an_address_without_an_account_is_told_so_by_mail_alone(db: None) -> None:
    answer = Client().post("/accounts/password/reset/", {"email": "nobody@example.org"})
    assert answer["Location"] == "/accounts/password/reset/done/"
    assert mail.outbox[0].subject == "No account with this e-mail address"
    assert "There is none." in mail.outbox[0].body
    assert "http" not in mail.outbox[0].body


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ("superuser", "This account runs the machine and sees no clinical data."),
        ("newcomer", "You are signed in, but have no role yet"),
    ],
)
def test_somebody_without_a_page_is_told_why(cast: Cast, who: str, sentence: str) -> None:
    user = factories.make_user("new@example.org") if who == "newcomer" else getattr(cast, who)
    assert sentence in signed_in(user).get("/").content.decode()


def test_an_address_that_leads_nowhere_is_named_in_the_title(db: None) -> None:
    answer = Client().get("/nowhere/")
    assert answer.status_code == 404
    assert "<title>Page not found –" in answer.content.decode()
