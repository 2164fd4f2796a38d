"""Two people who change the roles of one at the same moment: one after the other, as if they had waited."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from surveys.models import Clinic, Membership, Role, RoleGrant, User
from surveys.services import roles
from surveys.services.grants import grant_ask, grant_confirm
from surveys.services.people import staff_leave, staff_roles_set
from surveys.services.roles import PeopleRefused, roles_of
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def during_confirmation(
    monkeypatch: pytest.MonkeyPatch, grant: RoleGrant, actor: User, meanwhile: Callable[[], None]
) -> None:
    """`meanwhile` begins when the confirmation has read the roles and has not yet written them; where it has
    to wait for the confirmation, that goes on after a moment."""
    real, reached, done = roles.refuse_combination, threading.Event(), threading.Event()
    errors: list[Exception] = []

    def slow(clinic: Clinic, user: User, wanted: frozenset[str]) -> None:
        real(clinic, user, wanted)
        if threading.current_thread() is not threading.main_thread():
            reached.set()
            done.wait(1)

    def confirm() -> None:
        try:
            grant_confirm(grant=grant, actor=actor)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    monkeypatch.setattr(roles, "refuse_combination", slow)
    thread = threading.Thread(target=confirm)
    thread.start()
    try:
        assert reached.wait(10)
        meanwhile()
    finally:
        done.set()
        thread.join()
    assert not errors


def test_a_researcher_is_not_made_a_therapist_while_the_role_is_confirmed(
    monkeypatch: pytest.MonkeyPatch, cast: Cast
) -> None:
    second = factories.make_user("second-root@example.org", is_superuser=True)
    researcher = Role.RESEARCHER.value
    grant = grant_ask(clinic=cast.clinic, user=cast.supervisor, role=researcher, asked_by=cast.superuser)

    def make_therapist() -> None:
        with pytest.raises(PeopleRefused, match="researcher"):
            wanted = {Role.THERAPIST.value, Role.SUPERVISOR.value}
            staff_roles_set(clinic=cast.clinic, user=cast.supervisor, roles=wanted, actor=cast.clinic_admin)

    during_confirmation(monkeypatch, grant, second, make_therapist)
    assert roles_of(cast.clinic, cast.supervisor) == {researcher, Role.SUPERVISOR.value}


def test_who_leaves_while_a_role_is_confirmed_has_none(monkeypatch: pytest.MonkeyPatch, cast: Cast) -> None:
    second = factories.make_user("second@example.org", Role.CLINIC_ADMIN, clinic=cast.clinic)
    elsewhere = cast.stranger_study.clinic
    Membership.objects.create(clinic=elsewhere, user=cast.therapist, role=Role.THERAPIST)
    administrator = Role.CLINIC_ADMIN.value
    grant = grant_ask(clinic=cast.clinic, user=cast.therapist, role=administrator, asked_by=cast.clinic_admin)
    during_confirmation(
        monkeypatch,
        grant,
        second,
        lambda: staff_leave(clinic=cast.clinic, user=cast.therapist, actor=cast.clinic_admin),
    )
    assert not roles_of(cast.clinic, cast.therapist)
    assert roles_of(elsewhere, cast.therapist) == {Role.THERAPIST.value}
