"""A role that nobody gives alone: one person asks, another one confirms, and neither is who gets it."""

import smtplib
from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

import surveys.tasks  # noqa: F401  registers the mails
from surveys import jobs
from surveys.models import OPERATOR, AuditEvent, Clinic, Job, Membership, Role, RoleGrant, User
from surveys.services import notices
from surveys.services.grants import grant_ask, grant_confirm, role_grant, role_revoke
from surveys.services.people import staff_add, staff_leave, staff_roles_set
from surveys.services.roles import PeopleRefused
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db
ADMIN, RESEARCHER = Role.CLINIC_ADMIN.value, Role.RESEARCHER.value


@pytest.fixture
def second_admin(cast: Cast) -> User:
    return factories.make_user("second@example.org", Role.CLINIC_ADMIN, clinic=cast.clinic)


@pytest.fixture
def second_operator(cast: Cast) -> User:
    return factories.make_user("second-root@example.org", is_superuser=True)


def has(user: User, role: str, clinic: Clinic | None) -> bool:
    if clinic is None:
        return User.objects.get(pk=user.pk).is_superuser
    return Membership.objects.filter(user=user, clinic=clinic, role=role).exists()


def run(name: str, *words: str, **options: object) -> str:
    out = StringIO()
    call_command(name, *words, stdout=out, **options)
    return out.getvalue()


def told() -> dict[str, set[str]]:
    """Who got a mail, by subject."""
    mail.outbox.clear()
    jobs.run_due()
    found: dict[str, set[str]] = {}
    for letter in mail.outbox:
        found.setdefault(letter.subject, set()).update(letter.to)
    return found


def test_an_administrator_s_role_waits_for_another_one_and_the_other_roles_do_not(
    cast: Cast, second_admin: User
) -> None:
    first, second = signed_in(cast.clinic_admin), signed_in(second_admin)
    account = reverse("people-account", args=[cast.therapist.pk])
    first.post(account, {"roles": ["therapist", "supervisor", ADMIN], "supervisor": ""})
    assert has(cast.therapist, "supervisor", cast.clinic) and not has(cast.therapist, ADMIN, cast.clinic)
    assert told() == {
        "A role waits for you to confirm it": {second_admin.email},
        "A role is asked for on your behalf": {cast.therapist.email},
    }
    grant = RoleGrant.objects.get()
    page = reverse("role-grant", args=[grant.pk])
    assert "It holds once a second person confirms it" in first.get(account).content.decode()
    assert "1 role waits" in second.get(reverse("admin-home")).content.decode()
    assert cast.therapist.email in second.get(reverse("role-grants")).content.decode()
    assert "Confirm the role" not in first.get(page).content.decode()
    assert first.post(page, {"decision": "confirm"}).status_code == 422
    assert not has(cast.therapist, ADMIN, cast.clinic)
    assert second.post(page, {"decision": "confirm"})["Location"] == reverse("role-grants")
    assert has(cast.therapist, ADMIN, cast.clinic) and has(cast.therapist, "therapist", cast.clinic)
    assert told() == {"A role was given": {cast.therapist.email, cast.clinic_admin.email, second_admin.email}}
    assert [
        AuditEvent.objects.get(act=act, clinic=cast.clinic).actor for act in ("role.ask", "role.give")
    ] == [cast.clinic_admin, second_admin]
    assert "Confirmed on" in first.get(page).content.decode()
    first.post(account, {"roles": ["therapist"], "supervisor": ""})
    assert not has(cast.therapist, ADMIN, cast.clinic), "taking it needs nobody else"


def test_a_refused_mailbox_keeps_nobody_else_from_hearing_of_a_role(
    cast: Cast, second_admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send(subject: str, text: str, sender: None, to: list[str]) -> None:
        if to == [second_admin.email]:
            raise smtplib.SMTPRecipientsRefused({to[0]: (550, b"no such user")})
        mail.send_mail(subject, text, sender, to)

    monkeypatch.setattr(notices, "send_mail", send)
    grant_ask(clinic=cast.clinic, user=cast.therapist, role=ADMIN, asked_by=cast.clinic_admin)
    assert told() == {"A role is asked for on your behalf": {cast.therapist.email}}
    assert Job.objects.get(kind="role_mail").state == "pending", "who was not told is tried again"


def test_somebody_new_who_is_to_be_an_administrator_alone_has_no_role_until_then(
    cast: Cast, second_admin: User
) -> None:
    first = signed_in(cast.clinic_admin)
    sent = {"name": "Ada", "email": "ada@example.org", "roles": [ADMIN], "supervisor": ""}
    answer = first.post(reverse("people-staff-new"), sent)
    assert answer["Location"] == reverse("people-staff")
    assert "1 role waits for a second person" in first.get(answer["Location"]).content.decode()
    ada = User.objects.get(email="ada@example.org")
    assert not Membership.objects.filter(user=ada).exists()
    grant_confirm(grant=RoleGrant.objects.get(), actor=second_admin)
    assert has(ada, ADMIN, cast.clinic)


def test_whoever_would_be_left_with_the_wait_alone_keeps_another_role(cast: Cast) -> None:
    with pytest.raises(PeopleRefused, match="Leave another role"):
        staff_roles_set(clinic=cast.clinic, user=cast.therapist, roles=[ADMIN], actor=cast.clinic_admin)
    assert has(cast.therapist, "therapist", cast.clinic) and not RoleGrant.objects.exists()


# Role, who asks, who may confirm, who may not; by their names in the cast.
MATRIX = [
    (ADMIN, "clinic_admin", ["second_admin"], ["clinic_admin", "supervisor", "superuser", "stranger", "new"]),
    (ADMIN, "superuser", ["clinic_admin"], ["superuser", "second_operator", "supervisor", "new"]),
    (RESEARCHER, "superuser", ["clinic_admin", "second_operator"], ["superuser", "supervisor", "new"]),
    (OPERATOR, "superuser", ["second_operator"], ["superuser", "clinic_admin", "supervisor", "new"]),
]


@pytest.mark.parametrize(("role", "asker", "may", "may_not"), MATRIX)
def test_who_confirms_which_role(
    cast: Cast,
    second_admin: User,
    second_operator: User,
    role: str,
    asker: str,
    may: list[str],
    may_not: list[str],
) -> None:
    new = factories.make_user("new@example.org")
    people = {"second_admin": second_admin, "second_operator": second_operator, "new": new}

    def person(name: str) -> User:
        return people.get(name) or getattr(cast, name)

    clinic = None if role == OPERATOR else cast.clinic
    for name in may_not:
        grant = grant_ask(clinic=clinic, user=new, role=role, asked_by=person(asker))
        page = reverse("role-grant", args=[grant.pk])
        answer = signed_in(person(name)).post(page, {"decision": "confirm"})
        assert answer.status_code in (403, 404, 422), name
        with pytest.raises(PeopleRefused):
            grant_confirm(grant=grant, actor=person(name))
        assert not has(new, role, clinic), name
    for name in may:
        grant = grant_ask(clinic=clinic, user=new, role=role, asked_by=person(asker))
        page = reverse("role-grant", args=[grant.pk])
        assert signed_in(person(name)).post(page, {"decision": "confirm"}).status_code == 302, name
        assert has(new, role, clinic), name
        Membership.objects.filter(user=new).delete()
        User.objects.filter(pk=new.pk).update(is_superuser=False)


def test_a_role_is_declined_or_taken_back_or_is_too_late(cast: Cast, second_admin: User) -> None:
    def ask() -> RoleGrant:
        return grant_ask(clinic=cast.clinic, user=cast.therapist, role=ADMIN, asked_by=cast.clinic_admin)

    declined = ask()
    assert ask() == declined, "asked once"
    signed_in(second_admin).post(reverse("role-grant", args=[declined.pk]), {"decision": "decline"})
    back = ask()
    assert back != declined
    signed_in(cast.clinic_admin).post(reverse("role-grant", args=[back.pk]), {"decision": "decline"})
    late = ask()
    RoleGrant.objects.filter(pk=late.pk).update(asked_at=timezone.now() - timedelta(days=7, seconds=1))
    for grant in (declined, back, late):
        page = reverse("role-grant", args=[grant.pk])
        answer = signed_in(second_admin).post(page, {"decision": "confirm"})
        assert answer.status_code == 422 and "notice-error" in answer.content.decode()
    assert cast.therapist.email not in signed_in(second_admin).get(reverse("role-grants")).content.decode()
    assert not has(cast.therapist, ADMIN, cast.clinic)
    assert ask() != late, "it is asked for again"


def test_another_clinic_s_roles_do_not_exist(cast: Cast) -> None:
    grant = grant_ask(clinic=cast.clinic, user=cast.therapist, role=ADMIN, asked_by=cast.clinic_admin)
    other = factories.make_user("hill@example.org", Role.CLINIC_ADMIN, clinic=cast.stranger_study.clinic)
    assert signed_in(other).get(reverse("role-grant", args=[grant.pk])).status_code == 404
    assert cast.therapist.email not in signed_in(other).get(reverse("role-grants")).content.decode()


def test_the_database_takes_no_role_that_one_person_gave_alone(cast: Cast) -> None:
    grant = grant_ask(clinic=cast.clinic, user=cast.therapist, role=ADMIN, asked_by=cast.clinic_admin)
    rows = RoleGrant.objects.filter(pk=grant.pk)
    for person in (cast.clinic_admin, cast.therapist):
        with pytest.raises(IntegrityError, match="second_person"), transaction.atomic():
            rows.update(is_given=True, decided_at=timezone.now(), decided_by=person)
    with pytest.raises(IntegrityError, match="second_person"), transaction.atomic():
        rows.update(is_given=True)


def test_the_operator_asks_at_the_server_and_says_who_they_are(cast: Cast) -> None:
    new, clinic = factories.make_user("new@example.org"), cast.clinic.name
    with pytest.raises(CommandError, match="Say which operator"):
        run("role_grant", new.email, RESEARCHER, clinic=clinic)
    with pytest.raises(CommandError, match="no operator"):
        run("role_grant", new.email, RESEARCHER, clinic=clinic, by=cast.clinic_admin.email)
    said = run("role_grant", new.email, RESEARCHER, clinic=clinic, by=cast.superuser.email)
    assert "once a second person confirms" in said and not has(new, RESEARCHER, cast.clinic)
    assert RoleGrant.objects.get().asked_by == cast.superuser
    assert "has the role supervisor" in run(
        "role_grant", new.email, "supervisor", clinic=clinic, by=cast.superuser.email
    )
    with pytest.raises(CommandError, match="no role in a clinic"):
        run("role_grant", cast.therapist.email, OPERATOR, by=cast.superuser.email)
    with pytest.raises(CommandError, match="one of none"):
        run("role_grant", new.email, OPERATOR, clinic=clinic)
    with pytest.raises(CommandError, match="runs the machine"):
        run("role_grant", cast.superuser.email, "supervisor", clinic=clinic, by=cast.superuser.email)


def test_the_first_administrator_and_the_first_operator_have_nobody_to_ask(db: None) -> None:
    empty, person = factories.make_clinic("River Clinic"), factories.make_user("first@example.org")
    assert "has the role clinic_admin" in run("role_grant", person.email, ADMIN, clinic=empty.name)
    said = run("role_grant", "First-Root@example.org", OPERATOR, base_url="https://a.example")
    assert "has the role of an operator" in said and "https://a.example/accounts/password/reset/key/" in said
    root = User.objects.get(email="first-root@example.org")
    assert has(root, OPERATOR, None)
    assert AuditEvent.objects.get(act="role.give").subject == f"user:{root.pk}"
    with pytest.raises(CommandError, match="one e-mail address"):
        run("role_grant", "root", OPERATOR)
    # Nobody signs in as an operator by a link before the second person has confirmed it.
    said = run("role_grant", "next@example.org", OPERATOR, by=root.email, base_url="https://a.example")
    assert "once a second person confirms" in said and "https://" not in said
    assert "password_link" in said and not User.objects.get(email="next@example.org").is_superuser
    run("role_grant", root.email, OPERATOR, revoke=True)
    assert not has(root, OPERATOR, None)


def test_no_account_is_made_where_its_role_is_refused(cast: Cast) -> None:
    with pytest.raises(CommandError, match="Say which operator"):
        run("role_grant", "next@example.org", OPERATOR)
    assert not User.objects.filter(email="next@example.org").exists()


def test_where_there_is_one_administrator_alone_the_operator_confirms_at_the_server(
    cast: Cast, make_second: Callable[[], User]
) -> None:
    clinic, person = cast.clinic.name, cast.supervisor
    with pytest.raises(CommandError, match="Nobody has asked"):
        run("role_confirm", person.email, clinic=clinic)
    grant_ask(clinic=cast.clinic, user=person, role=ADMIN, asked_by=cast.clinic_admin)
    second = make_second()
    with pytest.raises(CommandError, match=second.email):
        run("role_confirm", person.email, clinic=clinic)
    Membership.objects.filter(user=second).delete()
    assert "administers" in run("role_confirm", person.email, clinic=clinic)
    assert has(person, ADMIN, cast.clinic)
    other = factories.make_user("other@example.org", Role.SUPERVISOR, clinic=cast.clinic)
    role_grant(clinic=cast.clinic, user=other, role=ADMIN, asked_by=cast.superuser)
    Membership.objects.filter(role=ADMIN).delete()
    with pytest.raises(CommandError, match="second operator"):
        run("role_confirm", other.email, clinic=clinic)


@pytest.fixture
def make_second(cast: Cast) -> Callable[[], User]:
    return lambda: factories.make_user("second@example.org", Role.CLINIC_ADMIN, clinic=cast.clinic)


def test_a_role_that_waits_for_somebody_who_left_is_not_given(cast: Cast, second_admin: User) -> None:
    elsewhere = cast.stranger_study.clinic
    Membership.objects.create(clinic=elsewhere, user=cast.therapist, role=Role.THERAPIST)
    there = grant_ask(clinic=elsewhere, user=cast.therapist, role=ADMIN, asked_by=None)
    left = grant_ask(clinic=cast.clinic, user=cast.therapist, role=ADMIN, asked_by=cast.clinic_admin)
    staff_leave(clinic=cast.clinic, user=cast.therapist, actor=second_admin)
    with pytest.raises(PeopleRefused, match="decided already"):
        grant_confirm(grant=left, actor=second_admin)
    assert not has(cast.therapist, ADMIN, cast.clinic)
    declined = AuditEvent.objects.get(act="role.decline")
    assert (declined.actor, declined.subject) == (second_admin, f"user:{cast.therapist.pk}")
    there.refresh_from_db()
    assert there.decided_at is None, "another clinic's waits on"


def test_a_role_is_not_given_that_somebody_asked_for_who_may_not_ask_any_more(
    cast: Cast, second_admin: User, second_operator: User
) -> None:
    def ask(asked_by: User | None, person: User, role: str = ADMIN) -> RoleGrant:
        clinic = None if role == OPERATOR else cast.clinic
        return grant_ask(clinic=clinic, user=person, role=role, asked_by=asked_by)

    dropped = ask(cast.clinic_admin, cast.therapist)
    staff_roles_set(
        clinic=cast.clinic, user=cast.clinic_admin, roles=[Role.SUPERVISOR.value], actor=second_admin
    )
    with pytest.raises(PeopleRefused, match="decided already"):
        grant_confirm(grant=dropped, actor=second_admin)
    new = factories.make_user("new@example.org")
    dropped = ask(second_operator, new, OPERATOR)
    role_revoke(clinic=None, user=second_operator, role=OPERATOR)
    with pytest.raises(PeopleRefused, match="decided already"):
        grant_confirm(grant=dropped, actor=cast.superuser)
    closed = ask(cast.superuser, cast.therapist)
    User.objects.filter(pk=cast.superuser.pk).update(is_active=False)
    with pytest.raises(PeopleRefused, match="may not ask for it any more"):
        grant_confirm(grant=closed, actor=second_admin)
    assert not has(new, OPERATOR, None) and not has(cast.therapist, ADMIN, cast.clinic)
    User.objects.filter(pk=cast.superuser.pk).update(is_active=True)
    grant_confirm(grant=closed, actor=second_admin)
    grant_confirm(grant=ask(None, cast.supervisor), actor=second_admin)
    assert has(cast.therapist, ADMIN, cast.clinic) and has(cast.supervisor, ADMIN, cast.clinic)


def test_an_account_that_is_to_run_the_machine_takes_no_role_in_a_clinic(
    cast: Cast, second_operator: User
) -> None:
    new = factories.make_user("new@example.org")

    def add() -> None:
        roles = [Role.THERAPIST.value]
        staff_add(clinic=cast.clinic, email=new.email, name="", roles=roles, actor=cast.clinic_admin)

    grant = grant_ask(clinic=None, user=new, role=OPERATOR, asked_by=cast.superuser)
    with pytest.raises(PeopleRefused, match="asked for as an operator"):
        add()
    membership = Membership.objects.create(clinic=cast.clinic, user=new, role=Role.SUPERVISOR)
    with pytest.raises(PeopleRefused, match="asked for as an operator"):
        staff_roles_set(clinic=cast.clinic, user=new, roles=["therapist"], actor=cast.clinic_admin)
    with pytest.raises(PeopleRefused, match="no role in a clinic"):
        grant_confirm(grant=grant, actor=second_operator)
    assert not has(new, OPERATOR, None)
    membership.delete()
    RoleGrant.objects.filter(pk=grant.pk).update(asked_at=timezone.now() - timedelta(days=8))
    add()
    assert has(new, "therapist", cast.clinic), "what nobody confirmed in time holds nobody up"
    other = factories.make_user("other@example.org")
    grant_confirm(
        grant=grant_ask(clinic=None, user=other, role=OPERATOR, asked_by=cast.superuser),
        actor=second_operator,
    )
    assert has(other, OPERATOR, None)
