"""Everybody gives a second factor, and who lost it gets a new one by two others."""

import json
import re
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest.mock import Mock

import pytest
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from fido2.cose import ES256
from fido2.utils import sha256, websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from surveys.fields import decrypt
from surveys.models import AuditEvent, FactorReset, Membership, Role, User
from surveys.services.factor_resets import ResetRefused, reset_ask, reset_confirm
from tests import factories
from tests.conftest import Cast, confirm, signed_in
from tests.sign_in import BACKEND, SECRET, give_app, give_passkey, passkey_credential
from tests.totp import code_of

LOGIN, CODE, APP = "/accounts/login/", "/accounts/2fa/authenticate/", "/accounts/2fa/totp/activate/"
CODES, OVERVIEW = "/accounts/2fa/recovery-codes/", "/accounts/2fa/"
ALONE = "/accounts/2fa/webauthn/login/"
WRONG_CODE = "This code is not right"


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def with_password(email: str, password: str = factories.PASSWORD, **options: str) -> Client:
    """A browser that has given the password and nothing else."""
    client = Client(**options)
    client.post(LOGIN, {"login": email, "password": password})
    return client


def enrol(client: Client, then: str = CODES) -> str:
    """Types the key of the page into an app and its code into the page; the key."""
    page = client.get(APP).content.decode()
    key = re.search(r'<code class="token" dir="ltr">([A-Z2-7 ]+)</code>', page)[1].replace(" ", "")
    answer = client.post(APP, {"code": code_of(key)})
    assert (answer.status_code, answer["Location"]) == (302, then), answer.content.decode()
    return key


@pytest.mark.parametrize("who", ["therapist", "supervisor", "clinic_admin", "researcher", "superuser"])
def test_with_the_password_alone_nothing_opens_but_the_page_that_sets_a_factor_up(
    cast: Cast, who: str
) -> None:
    client = with_password(getattr(cast, who).email)
    for path in ("/", "/caseload/", "/clinic/?a=1", "/status/", "/accounts/tokens/", OVERVIEW, CODES):
        answer = client.get(path)
        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, APP), path
    assert client.get("/clinic/?a=1")["Location"] == f"{APP}?next=/clinic/%3Fa%3D1"
    assert client.post("/accounts/tokens/", {"name": "x"})["Location"].startswith(APP)
    assert client.get("/api/v1/therapies/").status_code == 403
    for path in (APP, "/accounts/password/change/", "/accounts/logout/", "/accounts/2fa/webauthn/add/"):
        page = client.get(path)
        assert page.status_code == 200, path
        assert 'href="/caseload/"' not in page.content.decode()
        assert 'href="/accounts/password/change/"' in page.content.decode()


def test_on_pages_for_everybody_half_a_sign_in_is_none(cast: Cast) -> None:
    page = with_password(cast.therapist.email).get(LOGIN)
    assert page.status_code == 200
    assert 'action="/accounts/logout/"' not in page.content.decode()


def test_who_sets_the_factor_up_sees_the_recovery_codes_once_and_gets_where_they_wanted(cast: Cast) -> None:
    client = with_password(cast.therapist.email)
    client.get("/practice/")
    key = enrol(client)
    page = client.get(CODES).content.decode()
    codes = re.findall(r"<li><code>(\d{4} \d{4})</code></li>", page)
    assert len(set(codes)) == 10
    assert 'class="button-primary" href="/practice/"' in page
    assert client.get("/practice/").status_code == 200
    again = client.get(CODES).content.decode()
    assert "not shown again" in again
    assert not any(code in again for code in codes)
    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))
    assert key not in stored
    assert not any(code.replace(" ", "") in stored for code in codes)
    assert decrypt(Authenticator.objects.get(type="totp").data["secret"]) == key
    assert AuditEvent.objects.filter(act="factor.add", actor=cast.therapist).count() == 1


def test_a_code_that_is_wrong_sets_nothing_up(cast: Cast) -> None:
    client = with_password(cast.therapist.email)
    client.get(APP)
    assert WRONG_CODE in client.post(APP, {"code": "000000"}).content.decode()
    assert client.get("/caseload/")["Location"].startswith(APP)
    assert not Authenticator.objects.exists()


def test_somebody_with_a_factor_signs_in_with_a_code_and_each_code_works_once(cast: Cast) -> None:
    give_app(cast.therapist)
    client = with_password(cast.therapist.email)
    assert client.get("/caseload/")["Location"] == f"{LOGIN}?next=/caseload/"
    assert WRONG_CODE in client.post(CODE, {"code": code_of(SECRET, 99)}).content.decode()
    code = code_of(SECRET)
    assert client.post(CODE, {"code": f"{code[:3]} {code[3:]}"})["Location"] == "/"
    assert client.get("/caseload/").status_code == 200
    other = with_password(cast.therapist.email)
    assert WRONG_CODE in other.post(CODE, {"code": code}).content.decode()


@pytest.mark.parametrize("is_changed", [True, False])
def test_a_sign_in_that_waits_for_the_code_ends_with_the_password_it_was_begun_with(
    cast: Cast, is_changed: bool
) -> None:
    give_app(cast.therapist)
    waiting, owner = with_password(cast.therapist.email), signed_in(cast.therapist)
    password = "another horse in the morning" if is_changed else ""
    data = {"oldpassword": factories.PASSWORD, "password1": password, "password2": password}
    owner.post("/accounts/password/change/", data)
    answer = waiting.post(CODE, {"code": code_of(SECRET)}, follow=True)
    assert ("Sign in with the new one" in answer.content.decode()) is is_changed
    assert (waiting.get("/caseload/").status_code == 200) is not is_changed
    assert waiting.get(CODE).status_code == 302


def test_a_recovery_code_takes_the_place_of_the_phone_once(cast: Cast) -> None:
    client = with_password(cast.therapist.email)
    enrol(client)
    code = re.search(r"<li><code>(\d{4} \d{4})</code></li>", client.get(CODES).content.decode())[1]
    first, second = with_password(cast.therapist.email), with_password(cast.therapist.email)
    assert first.post(CODE, {"code": code})["Location"] == "/"
    assert "9 left" in first.get(OVERVIEW).content.decode()
    assert WRONG_CODE in second.post(CODE, {"code": code}).content.decode()


def test_who_waited_at_the_gate_until_the_owner_had_a_factor_is_signed_out(cast: Cast) -> None:
    thief, owner = with_password(cast.therapist.email), with_password(cast.therapist.email)
    assert thief.get("/caseload/")["Location"].startswith(APP)
    enrol(owner)
    assert thief.get("/caseload/")["Location"] == f"{LOGIN}?next=/caseload/"
    assert thief.get(APP)["Location"].startswith(LOGIN)
    assert owner.get("/caseload/").status_code == 200


@pytest.mark.parametrize(
    "path", [APP, "/accounts/2fa/webauthn/add/", "/accounts/password/change/", "/accounts/reauthenticate/"]
)
def test_a_password_alone_changes_nothing_of_an_account_that_has_a_factor(cast: Cast, path: str) -> None:
    half, whole = with_password(cast.therapist.email), signed_in(cast.therapist)
    page = half.get(APP).content.decode()
    key = re.search(r'<code class="token" dir="ltr">([A-Z2-7 ]+)</code>', page)[1].replace(" ", "")
    # Not by the pages, which end the other sign-ins: the gate holds by itself.
    give_app(cast.therapist)
    assert half.post(path, {"code": code_of(key)})["Location"].startswith(LOGIN)
    assert half.get(path)["Location"].startswith(LOGIN)
    assert decrypt(Authenticator.objects.get(type="totp").data["secret"]) == SECRET
    assert whole.get(path).status_code == 200


def test_nobody_is_left_without_a_factor_and_a_new_phone_takes_the_place_of_the_old_one(cast: Cast) -> None:
    client = with_password(cast.therapist.email)
    old = enrol(client)
    confirm(client, cast.therapist)
    page = client.post("/accounts/2fa/totp/deactivate/").content.decode()
    assert "This is your only second factor" in page
    assert enrol(client, then=OVERVIEW) != old
    row = Authenticator.objects.get(type="totp")
    assert decrypt(row.data["secret"]) != old
    other = with_password(cast.therapist.email)
    assert WRONG_CODE in other.post(CODE, {"code": code_of(old)}).content.decode()
    # A passkey that is the only one stays; beside another factor it goes.
    key = Authenticator.objects.create(user=cast.therapist, type="webauthn", data={"name": "Desk"})
    row.delete()
    assert client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")["Location"] == OVERVIEW
    assert Authenticator.objects.filter(pk=key.pk).exists()
    give_app(cast.therapist)
    client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")
    assert not Authenticator.objects.filter(pk=key.pk).exists()


@pytest.mark.parametrize(
    "path",
    [
        APP,
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/totp/deactivate/",
        "/accounts/2fa/webauthn/keys/{key}/remove/",
        "/accounts/2fa/recovery-codes/generate/",
    ],
)
def test_who_has_a_factor_confirms_before_any_change_of_it_even_right_after_the_sign_in(
    cast: Cast, path: str
) -> None:
    give_app(cast.therapist)
    key = give_passkey(cast.therapist, "Desk")
    client, path = with_password(cast.therapist.email), path.format(key=key.pk)
    client.post(CODE, {"code": code_of(SECRET)})
    for answer in (client.get(path), client.post(path, {"code": "000000"})):
        assert answer["Location"].startswith("/accounts/reauthenticate/?next=%2Faccounts%2F2fa")
    assert Authenticator.objects.count() == 2
    answer = client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
    assert answer.status_code == 302, answer.content.decode()
    assert client.get(path).status_code == 200


def add_passkey(client: Client) -> None:
    page = client.get("/accounts/2fa/webauthn/add/").content.decode()
    asked = json.loads(re.search(r'<script id="js_data"[^>]*>(.+?)</script>', page)[1])
    credential = passkey_credential(asked["creation_options"]["publicKey"]["challenge"])
    sent = {"name": "Desk", "credential": json.dumps(credential)}
    answer = client.post("/accounts/2fa/webauthn/add/", sent)
    assert answer.status_code == 302, answer.content.decode()


def replace_app(client: Client) -> None:
    enrol(client, then=OVERVIEW)


def remove_passkey(client: Client) -> None:
    key = Authenticator.objects.get(type="webauthn", data__name="Laptop")
    client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")


def remove_app(client: Client) -> None:
    client.post("/accounts/2fa/totp/deactivate/")


def new_codes(client: Client) -> None:
    client.post("/accounts/2fa/recovery-codes/generate/")


@pytest.mark.parametrize(
    ("change", "words", "act"),
    [
        (replace_app, "replaced by another one", "factor.add"),
        (add_passkey, "A passkey was added", "factor.add"),
        (remove_passkey, "A passkey was removed", "factor.remove"),
        (remove_app, "The app on the phone was removed", "factor.remove"),
        (new_codes, "New recovery codes were made", "factor.codes"),
    ],
)
def test_every_change_of_a_factor_ends_the_other_sign_ins_is_told_and_leaves_a_trace(
    cast: Cast,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
    change: Callable[[Client], None],
    words: str,
    act: str,
) -> None:
    give_app(cast.therapist)
    give_passkey(cast.therapist, "Laptop")
    RecoveryCodes.activate(cast.therapist)
    here, elsewhere = signed_in(cast.therapist), signed_in(cast.therapist)
    assert elsewhere.get("/caseload/").status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        change(here)
    assert here.get("/caseload/").status_code == 200
    assert elsewhere.get("/caseload/")["Location"].startswith(LOGIN)
    assert [letter.to for letter in mail.outbox] == [[cast.therapist.email]]
    assert words in mail.outbox[0].body and "signed out everywhere else" in mail.outbox[0].body
    assert AuditEvent.objects.get(act=act).actor == cast.therapist


def test_the_first_factor_is_told_and_a_failing_mail_server_undoes_no_change(
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    client = with_password(cast.therapist.email)
    with django_capture_on_commit_callbacks(execute=True):
        enrol(client)
    assert "An app on the phone was set up" in mail.outbox[0].body
    confirm(client, cast.therapist)
    monkeypatch.setattr("surveys.services.factor_resets.send_mail", Mock(side_effect=OSError))
    give_passkey(cast.therapist, "Desk")
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.filter(type="totp").exists()
    assert "was not sent" in caplog.text


def test_a_factor_of_somebody_else_does_not_exist(cast: Cast) -> None:
    give_app(cast.colleague)
    key = Authenticator.objects.create(user=cast.colleague, type="webauthn", data={"name": "Desk"})
    client = signed_in(cast.therapist)
    assert client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/").status_code == 404


# Misses, and passwords


@pytest.mark.parametrize("n", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_after_an_attacker_s_many_misses_the_owner_signs_in_from_elsewhere(cast: Cast, n: int) -> None:
    attacker = Client(REMOTE_ADDR="203.0.113.5")
    wrong = {"login": cast.therapist.email, "password": "not the password"}
    pages = [attacker.post(LOGIN, wrong) for _ in range(n)]
    assert "There were too many wrong tries" in pages[6].content.decode()
    right = {"login": cast.therapist.email, "password": factories.PASSWORD}
    assert attacker.post(LOGIN, right).status_code in (200, 429)
    assert Client(REMOTE_ADDR="198.51.100.7").post(LOGIN, right).status_code == 302
    # Nor does it lock out the next person at the attacker's address.
    if n == 30:
        other = {"login": cast.colleague.email, "password": factories.PASSWORD}
        assert attacker.post(LOGIN, other).status_code == 302


def test_codes_cannot_be_tried_out_from_many_addresses_either(cast: Cast) -> None:
    give_app(cast.therapist)
    for place in range(5):
        client = with_password(cast.therapist.email, REMOTE_ADDR=f"203.0.113.{place}")
        assert WRONG_CODE in client.post(CODE, {"code": "000000"}).content.decode()
    client = with_password(cast.therapist.email, REMOTE_ADDR="203.0.113.77")
    assert "too many wrong tries" in client.post(CODE, {"code": code_of(SECRET)}).content.decode()


def test_whoever_guesses_waits_for_one_hash_and_reads_one_sentence_whatever_the_address(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, hashed = MD5PasswordHasher.encode, []
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda *words, **more: hashed.append(1) or encode(*words, **more)
    )
    User.objects.create_user("invited@example.org")
    User.objects.filter(pk=cast.colleague.pk).update(is_active=False)
    give_app(cast.supervisor)
    people = (cast.therapist, cast.supervisor, cast.colleague)
    sentences = set()
    for email in ("nobody@example.org", "invited@example.org", *(user.email for user in people)):
        hashed.clear()
        page = Client().post(LOGIN, {"login": email, "password": "not the password"}).content.decode()
        sentences.add(re.search(r'role="alert"[^>]*>\s*<p>([^<]+)</p>', page)[1])
        assert len(hashed) == 1, email
    assert sentences == {"E-mail address or password is not right."}


def test_who_asks_for_a_new_password_waits_for_the_same_whatever_the_address(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    monkeypatch.setattr(MD5PasswordHasher, "encode", lambda *_words, **_more: hashed.append(1))
    User.objects.filter(pk=cast.colleague.pk).update(is_active=False)
    found = set()
    for email in ("nobody@example.org", cast.therapist.email, cast.supervisor.email, cast.colleague.email):
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            answer = Client().post("/accounts/password/reset/", {"email": email})
        verbs = tuple(row["sql"].split()[0] for row in queries)
        found.add((answer.status_code, answer["Location"], verbs, len(hashed)))
        assert mail.outbox.pop().to == [email] and not mail.outbox
    assert len(found) == 1 and found.pop()[-1] == 0


@pytest.mark.parametrize(
    ("password", "has_app", "is_taken"),
    [
        ("morning coffee", False, False),
        ("morning coffee.", False, True),
        ("morning tea", True, False),
        ("morning milk", True, True),
        ("1q2w3e4r5t6y", True, False),
    ],
)
def test_a_password_is_long_alone_shorter_beside_a_factor_and_never_a_common_one(
    cast: Cast, password: str, has_app: bool, is_taken: bool
) -> None:
    if has_app:
        give_app(cast.therapist)
    client = signed_in(cast.therapist)
    data = {"oldpassword": factories.PASSWORD, "password1": password, "password2": password}
    client.post("/accounts/password/change/", data)
    cast.therapist.refresh_from_db()
    assert cast.therapist.check_password(password) is is_taken


# A lost factor


@pytest.fixture
def second_admin(cast: Cast) -> User:
    return factories.make_user("second@example.org", Role.CLINIC_ADMIN, clinic=cast.clinic)


def address(user: User, deed: str) -> str:
    return f"/clinic/staff/{user.pk}/factor/{deed}/"


def test_two_administrators_reset_a_lost_factor_and_its_owner_starts_anew(
    cast: Cast, second_admin: User
) -> None:
    client = with_password(cast.therapist.email)
    enrol(client)
    first, second = signed_in(cast.clinic_admin), signed_in(second_admin)
    first.post(address(cast.therapist, "ask"))
    assert "asks to reset the second factor" in second.get("/clinic/").content.decode()
    elsewhere = factories.make_user("hill@example.org", Role.CLINIC_ADMIN, clinic=cast.stranger_study.clinic)
    assert "asks to reset" not in signed_in(elsewhere).get("/clinic/").content.decode()
    refused = first.post(address(cast.therapist, "settle"), {"do": "confirm"}, follow=True)
    assert "Another administrator confirms it" in refused.content.decode()
    assert client.get("/caseload/").status_code == 200
    second.post(address(cast.therapist, "settle"), {"do": "confirm"})
    assert not Authenticator.objects.filter(user=cast.therapist).exists()
    assert client.get("/caseload/")["Location"].startswith(LOGIN)
    assert first.get("/clinic/").status_code == 200
    assert [letter.to for letter in mail.outbox] == [[cast.therapist.email]]
    assert "Harbour Clinic" in mail.outbox[0].body
    acts = AuditEvent.objects.filter(act__startswith="factor.reset", subject=f"user:{cast.therapist.pk}")
    assert sorted(acts.values_list("act", "actor__email")) == [
        ("factor.reset", second_admin.email),
        ("factor.reset.ask", cast.clinic_admin.email),
    ]
    assert with_password(cast.therapist.email).get("/caseload/")["Location"].startswith(APP)


def test_a_dropped_request_changes_nothing_and_an_old_one_is_over(cast: Cast, second_admin: User) -> None:
    give_app(cast.therapist)
    client = signed_in(second_admin)
    reset_ask(clinic=cast.clinic, user=cast.therapist, actor=cast.clinic_admin)
    assert client.post(address(cast.colleague, "settle"), {"do": "drop"}).status_code == 404
    client.post(address(cast.therapist, "settle"), {"do": "drop"})
    reset = reset_ask(clinic=cast.clinic, user=cast.therapist, actor=cast.clinic_admin)
    FactorReset.objects.filter(pk=reset.pk).update(asked_at=timezone.now() - timezone.timedelta(days=8))
    assert client.post(address(cast.therapist, "settle"), {"do": "confirm"}).status_code == 404
    with pytest.raises(ResetRefused, match="settled meanwhile"):
        reset_confirm(reset=reset, actor=second_admin)
    assert Authenticator.objects.filter(user=cast.therapist).exists()
    reset_ask(clinic=cast.clinic, user=cast.therapist, actor=cast.clinic_admin)


def test_the_factor_of_somebody_of_two_clinics_is_the_operator_s_to_reset(
    cast: Cast, second_admin: User
) -> None:
    """Else two administrators would have it of anybody whom they add to their own clinic."""
    other = factories.make_user("hill@example.org", Role.CLINIC_ADMIN, clinic=cast.stranger_study.clinic)
    give_app(other)
    give_app(cast.therapist)
    first, second = signed_in(cast.clinic_admin), signed_in(second_admin)
    added = {"email": other.email, "name": "Hill", "roles": ["therapist"], "supervisor": ""}
    first.post("/clinic/staff/new/", added)
    sentence = "The operator of this site resets the second factor."
    assert sentence in first.post(address(other, "ask"), follow=True).content.decode()
    # Who begins to work elsewhere while a reset waits is the operator's, too.
    first.post(address(cast.therapist, "ask"))
    elsewhere = Membership.objects.create(
        clinic=cast.stranger_study.clinic, user=cast.therapist, role=Role.THERAPIST
    )
    page = address(cast.therapist, "settle")
    assert sentence in second.post(page, {"do": "confirm"}, follow=True).content.decode()
    assert Authenticator.objects.filter(user__in=[other, cast.therapist]).count() == 2
    elsewhere.delete()
    second.post(page, {"do": "confirm"})
    assert not Authenticator.objects.filter(user=cast.therapist).exists()
    call_command("mfa_reset", other.email, reason="Rang me; I know the voice")
    assert not Authenticator.objects.filter(user=other).exists()


def test_nobody_takes_part_in_a_reset_of_their_own(cast: Cast, second_admin: User) -> None:
    give_app(second_admin)
    with pytest.raises(ResetRefused, match="their own"):
        reset_ask(clinic=cast.clinic, user=second_admin, actor=second_admin)
    reset = reset_ask(clinic=cast.clinic, user=second_admin, actor=cast.clinic_admin)
    with pytest.raises(ResetRefused, match="settled meanwhile"):
        reset_confirm(reset=reset, actor=second_admin)
    # The database says so as well.
    for wrong in ({"settled_by": second_admin}, {"settled_by": cast.clinic_admin, "is_done": True}):
        with pytest.raises(IntegrityError), transaction.atomic():
            FactorReset.objects.filter(pk=reset.pk).update(settled_at=timezone.now(), **wrong)


def test_a_clinic_with_one_administrator_is_told_of_the_operator_s_way(cast: Cast) -> None:
    give_app(cast.therapist)
    page = signed_in(cast.clinic_admin).get(f"/clinic/staff/{cast.therapist.pk}/").content.decode()
    assert "there are too few in this clinic" in page
    assert address(cast.therapist, "ask") not in page
    assert signed_in(cast.clinic_admin).post(address(cast.stranger, "ask")).status_code == 404


def test_the_operator_resets_a_factor_with_a_reason(cast: Cast) -> None:
    give_app(cast.clinic_admin)
    with pytest.raises(CommandError, match="no account"):
        call_command("mfa_reset", "nobody@example.org", reason="x")
    with pytest.raises(CommandError, match="Say why"):
        call_command("mfa_reset", cast.clinic_admin.email, reason=" ")
    call_command("mfa_reset", cast.clinic_admin.email.upper(), reason="Rang me; I know the voice")
    assert not Authenticator.objects.exists()
    row = AuditEvent.objects.get(act="factor.reset")
    assert (row.actor, row.detail) == (None, {"reason": "Rang me; I know the voice"})
    assert mail.outbox[0].to == [cast.clinic_admin.email]


# A passkey in place of the password


class Key:
    """A passkey of somebody, made when a page asked; `is_alone`: that may sign in without the password."""

    def __init__(self, user: User, *, is_alone: bool) -> None:
        self.user, self.number = user, secrets.token_bytes(16)
        self.private = ec.generate_private_key(ec.SECP256R1())
        public = ES256.from_cryptography_key(self.private.public_key())
        flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.AT
        made = AttestedCredentialData.create(Aaguid.NONE, self.number, public)
        data = AuthenticatorData.create(sha256(b"testserver"), flags, 0, made)
        credential = passkey_credential() | {
            "id": websafe_encode(self.number),
            "rawId": websafe_encode(self.number),
            "clientExtensionResults": {"credProps": {"rk": is_alone}},
        }
        credential["response"] |= {
            "attestationObject": websafe_encode(AttestationObject.create("none", data, {}))
        }
        Authenticator.objects.create(
            user=user, type="webauthn", data={"name": "Key", "credential": credential}
        )

    def answer(self, challenge: str, *, is_verified: bool) -> str:
        client = {"type": "webauthn.get", "challenge": challenge, "origin": "https://testserver"}
        said = json.dumps(client).encode()
        flags = AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG(4 * is_verified)
        data = AuthenticatorData.create(sha256(b"testserver"), flags, 1)
        signature = self.private.sign(bytes(data) + sha256(said), ec.ECDSA(hashes.SHA256()))
        return json.dumps(
            {
                "id": websafe_encode(self.number),
                "rawId": websafe_encode(self.number),
                "type": "public-key",
                "response": {
                    "clientDataJSON": websafe_encode(said),
                    "authenticatorData": websafe_encode(bytes(data)),
                    "signature": websafe_encode(signature),
                    "userHandle": websafe_encode(user_pk_to_url_str(self.user).encode()),
                },
            }
        )


def challenge_of_sign_in(client: Client) -> str:
    asked = client.get(ALONE, headers={"X-Requested-With": "XMLHttpRequest"}).json()
    return str(asked["request_options"]["publicKey"]["challenge"])


@pytest.mark.parametrize(
    ("is_alone", "is_verified", "is_in"),
    [(True, True, True), (False, True, False), (True, False, False), (False, False, False)],
)
def test_a_key_signs_in_alone_where_its_owner_said_so_and_is_verified(
    cast: Cast, is_alone: bool, is_verified: bool, is_in: bool
) -> None:
    key, client = Key(cast.therapist, is_alone=is_alone), Client()
    answer = key.answer(challenge_of_sign_in(client), is_verified=is_verified)
    client.post(ALONE, {"credential": answer})
    assert (client.get("/caseload/").status_code == 200) is is_in


def test_the_question_of_another_page_is_not_that_of_signing_in_alone(cast: Cast) -> None:
    """Which a security key answers by a touch, whoever touches it."""
    theirs = Key(cast.therapist, is_alone=True)
    Key(cast.colleague, is_alone=False)
    client = with_password(cast.colleague.email)
    asked = re.search(r'<script id="js_data"[^>]*>(.+?)</script>', client.get(CODE).content.decode())
    assert asked is not None
    challenge = json.loads(asked[1])["request_options"]["publicKey"]["challenge"]
    session = client.session
    del session["account_login"]
    session.save()
    client.post(ALONE, {"credential": theirs.answer(challenge, is_verified=False)})
    assert client.get("/caseload/").status_code == 302


# The demonstration


@pytest.mark.parametrize(
    ("is_demo", "is_simulated", "is_shown"), [(1, 1, True), (0, 1, False), (1, 0, False)]
)
def test_only_a_demonstration_shows_the_code_and_only_of_a_simulated_clinic(
    cast: Cast,
    settings: object,
    monkeypatch: pytest.MonkeyPatch,
    is_demo: int,
    is_simulated: int,
    is_shown: bool,
) -> None:
    # One code, however long it takes.
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    settings.DEMO = bool(is_demo)  # type: ignore[attr-defined]
    cast.clinic.is_simulated = bool(is_simulated)
    cast.clinic.save()
    give_app(cast.therapist)
    for _ in range(2):
        client = with_password(cast.therapist.email)
        page = client.get(CODE).content.decode()
        assert ("Demonstration: the code is" in page) is is_shown
        code = code_of(SECRET)
        assert (f"{code[:3]} {code[3:]}" in page) is is_shown
        last = client.post(CODE, {"code": code})
    # The second time as well: who tries the product out does not wait for the next code.
    assert (last.status_code == 302) is is_shown
    newcomer = with_password(cast.colleague.email).get(APP).content.decode()
    assert ("Demonstration: the code is" in newcomer) is is_shown


def test_half_a_session_that_was_made_without_the_pages_is_none(cast: Cast) -> None:
    client = Client()
    client.force_login(cast.therapist, backend=BACKEND)
    assert client.get("/caseload/")["Location"].startswith(APP)
    # Long after the password was given it is asked for again before a factor is set up.
    assert client.get(APP)["Location"].startswith("/accounts/reauthenticate/")
