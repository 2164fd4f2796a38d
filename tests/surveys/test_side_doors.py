"""Commands that Django brings and that would make an operator or a password without a trace, and what takes
their place."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from io import StringIO
from unittest.mock import Mock

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client

from surveys import audit
from surveys.models import AuditEvent, User
from tests import factories
from tests.conftest import Cast, signed_in

Committed = Callable[..., AbstractContextManager[object]]
NEW = "another horse in the morning"
CHANGE = "/accounts/password/change/"


def link_for(user: User, **options: object) -> str:
    out = StringIO()
    options = {"reason": "Rang me; I know the voice", "base_url": "https://a.example"} | options
    call_command("password_link", user.email.upper(), stdout=out, **options)
    return out.getvalue().split()[-1].removeprefix("https://a.example")


@pytest.mark.parametrize(
    ("name", "words", "instead"),
    [
        ("createsuperuser", ["--no-input", "--email", "root2@example.org"], "role_grant EMAIL superuser"),
        ("changepassword", ["therapist@example.org"], "password_link EMAIL --reason"),
    ],
)
def test_what_django_brings_does_nothing_and_names_what_does(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, name: str, words: list[str], instead: str
) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW)
    monkeypatch.setattr("getpass.getpass", lambda *_words: NEW)
    before = set(User.objects.values_list("email", "password", "is_superuser"))
    with pytest.raises(CommandError, match=instead):
        call_command(name, *words)
    assert set(User.objects.values_list("email", "password", "is_superuser")) == before


def test_the_operator_makes_a_link_for_a_password_with_a_reason_and_its_person_is_told_twice(
    cast: Cast, django_capture_on_commit_callbacks: Committed
) -> None:
    elsewhere, before = signed_in(cast.therapist), cast.therapist.password
    with django_capture_on_commit_callbacks(execute=True):
        path = link_for(cast.therapist)
    row = AuditEvent.objects.get(act="account.link")
    assert (row.subject, row.actor) == (f"user:{cast.therapist.pk}", None)
    assert row.detail == {"reason": "Rang me; I know the voice"}
    assert elsewhere.get("/caseload/").status_code == 200, "the link alone changes nothing"
    assert User.objects.get(pk=cast.therapist.pk).password == before
    client = Client()
    page = client.get(path)["Location"]
    with django_capture_on_commit_callbacks(execute=True):
        client.post(page, {"password1": NEW, "password2": NEW})
    assert User.objects.get(pk=cast.therapist.pk).check_password(NEW)
    assert elsewhere.get("/caseload/").status_code == 302
    assert [(letter.to, letter.subject) for letter in mail.outbox] == [
        ([cast.therapist.email], "A link for your password was made"),
        ([cast.therapist.email], "Your password was changed"),
    ]
    assert path not in mail.outbox[0].body


@pytest.mark.parametrize(
    ("of", "options", "sentence"),
    [
        ("therapist", {"reason": " "}, "Say why"),
        ("therapist", {"base_url": ""}, "its own address"),
        ("colleague", {}, "closed"),
    ],
)
def test_no_link_is_made_without_a_reason_or_for_a_closed_account(
    cast: Cast, of: str, options: dict[str, str], sentence: str
) -> None:
    User.objects.filter(pk=cast.colleague.pk).update(is_active=False)
    with pytest.raises(CommandError, match=sentence):
        link_for(getattr(cast, of), **options)
    with pytest.raises(CommandError, match="no account"):
        link_for(User(email="nobody@example.org"))
    assert not AuditEvent.objects.filter(act="account.link").exists()


def test_a_new_password_leaves_a_trace_ends_the_other_sign_ins_and_is_told(
    cast: Cast, django_capture_on_commit_callbacks: Committed
) -> None:
    here, elsewhere = signed_in(cast.therapist), signed_in(cast.therapist)
    data = {"oldpassword": factories.PASSWORD, "password1": NEW, "password2": NEW}
    with django_capture_on_commit_callbacks(execute=True):
        here.post(CHANGE, data)
    assert here.get("/caseload/").status_code == 200
    assert elsewhere.get("/caseload/").status_code == 302
    assert AuditEvent.objects.get(act="account.password").actor == cast.therapist
    assert [letter.to for letter in mail.outbox] == [[cast.therapist.email]]


@pytest.mark.parametrize("deed", ["page", "link"])
def test_where_the_trace_cannot_be_written_nothing_is_changed(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    deed: str,
    django_capture_on_commit_callbacks: Committed,
) -> None:
    client, before = signed_in(cast.therapist), cast.therapist.password
    monkeypatch.setattr(audit, "record", Mock(side_effect=RuntimeError("no room")))
    with django_capture_on_commit_callbacks(execute=True), pytest.raises(RuntimeError, match="no room"):
        if deed == "link":
            link_for(cast.therapist)
        else:
            data = {"oldpassword": factories.PASSWORD, "password1": NEW, "password2": NEW}
            client.post(CHANGE, data)
    assert User.objects.get(pk=cast.therapist.pk).password == before
    assert not mail.outbox
