"""Where somebody is signed in, how long it lasts, and who ends it."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from surveys.models import AuditEvent, Membership, Role, SignIn, User
from surveys.services.people import staff_leave
from surveys.services.sign_ins import sign_ins_clear
from surveys.session_store import LONGEST, row_key
from surveys.user_agents import browser_and_system
from tests import factories
from tests.conftest import Cast, signed_in
from tests.sign_in import give_app, prove

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1"
)
PAGE, END = "/accounts/sessions/", "/accounts/sessions/end/"


@pytest.fixture(autouse=True)
def _empty_cache(db: None) -> None:
    cache.clear()


def browser(user: User, user_agent: str = FIREFOX) -> Client:
    """Somebody who signed in on the page and opened another one."""
    client = Client(headers={"User-Agent": user_agent})
    client.post("/accounts/login/", {"login": user.email, "password": factories.PASSWORD})
    prove(client, user)
    assert client.get(PAGE).status_code == 200
    client.post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
    return client


def is_in(client: Client) -> bool:
    return client.get(PAGE).status_code == 200


@pytest.mark.parametrize(
    ("user_agent", "words"),
    [
        (FIREFOX, ("Firefox", "Linux")),
        (SAFARI, ("Safari", "iPhone")),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/130.0 Safari/537.36 Edg/130.0", ("Edge", "Windows")),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/130.0 Mobile Safari/537.36", ("Chrome", "Android")),
        ("curl/8.5", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_browser_is_told_in_two_words(user_agent: str, words: tuple[str, str]) -> None:
    assert browser_and_system(user_agent) == words


def test_everybody_sees_where_they_are_signed_in_and_nothing_else_is_kept_of_the_browser(cast: Cast) -> None:
    here, phone = browser(cast.therapist), browser(cast.therapist, SAFARI)
    browser(cast.colleague)
    page = here.get(PAGE).content.decode()
    assert "Firefox on Linux" in page and "Safari on iPhone" in page and "2 sessions, as of" in page
    assert page.count("This browser") == 1
    row = SignIn.objects.get(user=cast.therapist, browser="Firefox")
    assert row.pk == row_key(here.session) and row.pk not in page
    # Who reads the table is signed in nowhere.
    assert here.session.session_key not in str(list(SignIn.objects.values()))
    thief = Client()
    thief.cookies["session"] = row.pk
    assert not is_in(thief)
    held = str(row.get_decoded()) + page
    assert FIREFOX not in held and "127.0.0.1" not in held and "Gecko" not in held
    assert is_in(phone)


def test_one_other_session_or_all_others_are_ended_and_not_those_of_somebody_else(cast: Cast) -> None:
    here, phone, tablet = browser(cast.therapist), browser(cast.therapist, SAFARI), browser(cast.therapist)
    colleague = browser(cast.colleague)
    theirs = SignIn.objects.get(user=cast.colleague)
    here.post(END, {"which": theirs.mark})
    assert is_in(colleague)
    here.post(END, {"which": SignIn.objects.get(pk=row_key(phone.session)).mark})
    assert not is_in(phone) and is_in(tablet) and is_in(here)
    here.post(END)
    assert not is_in(tablet) and is_in(here) and is_in(colleague)
    assert AuditEvent.objects.filter(act="account.sign_out", actor=cast.therapist).count() == 2
    assert "1 session, as of" in here.get(PAGE).content.decode()
    assert here.get(END).status_code == 405


def test_a_session_ends_after_half_an_hour_without_use_and_after_twelve_hours_with_it(cast: Cast) -> None:
    client = browser(cast.therapist)
    row = SignIn.objects.get(user=cast.therapist)
    assert timedelta(minutes=29) < row.expire_date - timezone.now() <= timedelta(minutes=30)

    def begin(ago: timedelta) -> None:
        """As if the sign-in had been so long ago."""
        session = client.session
        session["sign_in_began"] = (timezone.now() - ago).timestamp()
        session.save()

    begin(LONGEST - timedelta(minutes=10))
    assert is_in(client)
    row.refresh_from_db()
    assert timedelta(minutes=9) < row.expire_date - timezone.now() <= timedelta(minutes=10)
    begin(LONGEST + timedelta(seconds=1))
    answer = client.get(PAGE)
    assert answer.status_code == 302 and "/accounts/login/" in answer["Location"]
    sign_ins_clear()
    assert not SignIn.objects.filter(user=cast.therapist).exists()


def test_a_session_has_another_key_after_the_sign_in_and_after_another_password(cast: Cast) -> None:
    client = Client()
    client.get("/accounts/login/")
    session = client.session
    session["before"] = 1
    session.save()
    client.cookies["session"] = session.session_key
    client.post("/accounts/login/", {"login": cast.therapist.email, "password": factories.PASSWORD})
    prove(client, cast.therapist)
    first = row_key(client.session)
    assert first != row_key(session) and not SignIn.objects.filter(pk=row_key(session)).exists()
    began = SignIn.objects.get(pk=first).began_at
    other = browser(cast.therapist, SAFARI)
    new = "another horse in the morning"
    client.post(
        "/accounts/password/change/",
        {"oldpassword": factories.PASSWORD, "password1": new, "password2": new},
    )
    assert is_in(client) and not is_in(other)
    (row,) = SignIn.objects.filter(user=cast.therapist)
    assert row.pk == row_key(client.session) != first and row.began_at == began


def test_who_loses_the_last_role_is_signed_out_at_once(cast: Cast) -> None:
    client = browser(cast.therapist)
    staff_leave(clinic=cast.clinic, user=cast.therapist, actor=cast.clinic_admin)
    assert not SignIn.objects.filter(user=cast.therapist).exists() and not is_in(client)
    call_command("role_grant", cast.supervisor.email, "therapist", clinic=cast.clinic.name, stdout=StringIO())
    client = browser(cast.supervisor)
    for role in ("therapist", "supervisor"):
        assert is_in(client)
        call_command(
            "role_grant",
            cast.supervisor.email,
            role,
            clinic=cast.clinic.name,
            revoke=True,
            stdout=StringIO(),
        )
    assert not is_in(client)


def test_an_administrator_ends_the_sessions_of_their_own_staff_alone(cast: Cast) -> None:
    theirs, strangers = browser(cast.therapist), browser(cast.stranger)
    admin = signed_in(cast.clinic_admin)
    answer = admin.post(f"/clinic/staff/{cast.therapist.pk}/sign-out/", follow=True)
    assert "1 session was ended." in answer.content.decode() and not is_in(theirs)
    assert AuditEvent.objects.get(act="account.sign_out").clinic == cast.clinic
    assert admin.post(f"/clinic/staff/{cast.stranger.pk}/sign-out/").status_code == 404
    assert is_in(strangers)
    assert strangers.post(f"/clinic/staff/{cast.therapist.pk}/sign-out/").status_code == 403


def test_the_sessions_of_somebody_of_two_clinics_are_the_operator_s_to_end(cast: Cast) -> None:
    theirs, admin = browser(cast.therapist), signed_in(cast.clinic_admin)
    page = f"/clinic/staff/{cast.therapist.pk}/sign-out/"
    elsewhere = Membership.objects.create(
        clinic=cast.stranger_study.clinic, user=cast.therapist, role=Role.SUPERVISOR
    )
    refused = admin.post(page, follow=True).content.decode()
    assert "The operator of this site ends their sessions." in refused and is_in(theirs)
    call_command("sessions_end", cast.therapist.email, stdout=StringIO())
    assert not is_in(theirs)
    theirs = browser(cast.therapist)
    elsewhere.delete()
    assert "1 session was ended." in admin.post(page, follow=True).content.decode() and not is_in(theirs)


def test_the_operator_ends_the_sessions_of_one_or_of_everybody(cast: Cast) -> None:
    one, two, out = browser(cast.therapist), browser(cast.colleague), StringIO()
    call_command("sessions_end", cast.therapist.email.upper(), stdout=out)
    assert "1 session was ended" in out.getvalue() and not is_in(one) and is_in(two)
    call_command("sessions_end", "--all", stdout=out)
    assert not is_in(two)
    with pytest.raises(CommandError, match="no account"):
        call_command("sessions_end", "nobody@example.org")
    assert Membership.objects.filter(user=cast.therapist).exists()


def test_a_request_asks_and_writes_no_more_for_it_than_a_session_does(cast: Cast) -> None:
    client = browser(cast.therapist)
    client.get("/accounts/password/change/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/accounts/password/change/").status_code == 200
    of_sessions = [query["sql"] for query in queries if "surveys_signin" in query["sql"]]
    assert [sql.split()[0] for sql in of_sessions] == ["SELECT", "UPDATE"]


def test_who_came_in_and_who_was_refused_is_in_the_trace(cast: Cast) -> None:
    for login, password in [
        (cast.therapist.email.upper(), "wrong"),
        ("nobody@example.org", "wrong"),
        (cast.therapist.email, factories.PASSWORD),
    ]:
        Client().post("/accounts/login/", {"login": login, "password": password})
    give_app(cast.therapist)
    client = Client()
    client.post("/accounts/login/", {"login": cast.therapist.email, "password": factories.PASSWORD})
    client.post("/accounts/2fa/authenticate/", {"code": "000000"})
    own = f"user:{cast.therapist.pk}"
    rows = AuditEvent.objects.filter(act__in=["account.refuse", "account.sign_in"]).order_by("pk")
    assert [(row.act, row.subject, row.actor_id, row.detail) for row in rows] == [
        ("account.refuse", own, None, {"factor": "password"}),
        ("account.refuse", "user:unknown", None, {"factor": "password"}),
        ("account.sign_in", own, cast.therapist.pk, {}),
        ("account.refuse", own, None, {"factor": "code"}),
    ]
