"""Under the role that owns nothing the application works, and the trace can only grow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

from surveys import audit, jobs
from surveys.models import Assignment, AuditEvent, Job, Response
from surveys.services.seals import seals_add, trace_check
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_respond import send, started

ROLE = "alliance_app_of_a_test"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def role(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_DATABASE_PASSWORD", "a password of the tests")
    call_command("app_role", role=ROLE)


@contextmanager
def as_application() -> Iterator[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {ROLE}")
        yield cursor
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize("table", ["surveys_auditevent", "surveys_auditseal"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET number = 1",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "ALTER TABLE {} OWNER TO current_user",
        "DROP TABLE {}",
        "GRANT UPDATE ON {} TO current_user",
        "CREATE TRIGGER mine BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION surveys_refuse()",
    ],
)
def test_the_trace_cannot_be_changed(cast: Cast, table: str, statement: str) -> None:
    event = audit.record("therapy.begin", subject=cast.therapy, clinic=cast.clinic)
    seals_add()
    before = AuditEvent.objects.count()
    column = "act = 'x', id = " if table.endswith("event") else "number = "
    with as_application() as cursor:
        refused = "permission denied|must be owner|no privileges"
        if statement.startswith("GRANT"):
            # Postgres warns and gives nothing.
            cursor.execute(statement.format(table))
        else:
            with pytest.raises(DatabaseError, match=refused), transaction.atomic():
                cursor.execute(statement.format(table).replace("number = ", column))
        cursor.execute("SELECT has_table_privilege(current_user, %s, 'UPDATE')", [table])
        assert cursor.fetchone() == (False,)
    assert AuditEvent.objects.count() == before
    assert AuditEvent.objects.get(pk=event.pk).act == "therapy.begin"


def test_nor_can_the_role_become_more_than_it_is(cast: Cast) -> None:
    for statement in (
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "CREATE TABLE public.mine (id int)",
        "CREATE ROLE another",
        "SET session_replication_role = replica",
        "DELETE FROM django_migrations",
    ):
        refused = pytest.raises(DatabaseError, match="denied")
        with as_application() as cursor, refused, transaction.atomic():
            cursor.execute(statement)


def test_a_row_of_the_trace_gets_its_number_from_the_database_alone(cast: Cast) -> None:
    audit.record("therapy.begin", subject=cast.therapy, clinic=cast.clinic)
    rows = "(SELECT t FROM surveys_auditevent t LIMIT 1) kept"
    with as_application() as cursor, pytest.raises(DatabaseError, match="denied"), transaction.atomic():
        cursor.execute(f"INSERT INTO surveys_auditevent SELECT (t).* FROM {rows}")


def test_what_a_trigger_asks_it_asks_of_no_table_of_the_session(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT proname FROM pg_proc
               WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype
                 AND coalesce(proconfig::text, '') NOT LIKE '%search_path=public, pg_temp%'"""
        )
        assert cursor.fetchall() == []
    plan = "DELETE FROM surveys_planline"
    with as_application() as cursor:
        cursor.execute("SET LOCAL app.clinics = '*'")
        for name in ("surveys_studyversion", "surveys_study"):
            cursor.execute(f"CREATE TEMP TABLE {name} (LIKE public.{name}) ON COMMIT DROP")
        with pytest.raises(DatabaseError, match="in force"), transaction.atomic():
            cursor.execute(plan)


def test_the_trace_grows_and_is_sealed_and_checked(cast: Cast) -> None:
    with as_application():
        audit.record("therapy.begin", subject=cast.therapy, actor=cast.clinic_admin, clinic=cast.clinic)
        assert seals_add() == 1
        assert trace_check().fault == ""


def test_a_form_is_sent_and_a_therapy_read(patient_form: Assignment, cast: Cast) -> None:
    with as_application():
        browser = started(patient_form)
        assert send(browser, patient_form).status_code == 303
        response = Response.objects.get(assignment=patient_form)
        jobs.run_due(30)
        factories.give(factories.form_of(cast.therapy.sessions.get(), "therapist"), user=cast.therapist)
        page = signed_in(cast.therapist).get(reverse("therapy", args=[cast.therapy.pk]))
        assert page.status_code == 200
        assert not Job.objects.filter(state="failed").exists()
        # Erasing what a patient sent is a right of the application.
        withdrawal_enter(patient=cast.therapy.patient, study=cast.study, choice="erase")
        assert not Response.objects.filter(pk=response.pk).exists()
    acts = set(AuditEvent.objects.values_list("act", flat=True))
    assert {"response.submit", "therapy.view", "withdrawal.enter"} <= acts


def test_the_command_can_be_run_again_and_keeps_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = _password()
    assert kept.startswith("SCRAM-SHA-256$"), "what is sent to the server is a hash"
    monkeypatch.delenv("APP_DATABASE_PASSWORD")
    call_command("app_role", role=ROLE)
    assert "it can only add to surveys_auditevent, surveys_auditseal" in capsys.readouterr().out
    assert _password() == kept


def _password() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [ROLE])
        return str(cursor.fetchone()[0])


def test_a_new_role_needs_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APP_DATABASE_PASSWORD")
    with pytest.raises(CommandError, match="Set APP_DATABASE_PASSWORD"):
        call_command("app_role", role="another")


def test_a_role_that_could_change_the_trace_is_refused() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()
        with pytest.raises(CommandError, match="can change the trace"):
            call_command("app_role", role=owner)
        cursor.execute("CREATE ROLE mighty")
        cursor.execute(f"GRANT mighty TO {ROLE}")
        with pytest.raises(CommandError, match="member of another role"):
            call_command("app_role", role=ROLE)
        cursor.execute(f"REVOKE mighty FROM {ROLE}")
        cursor.execute("GRANT UPDATE ON surveys_auditevent TO PUBLIC")
        with pytest.raises(CommandError, match="by a grant to everybody"):
            call_command("app_role", role=ROLE)


@pytest.mark.django_db(transaction=True)
def test_it_signs_in_with_its_password() -> None:
    place = connection.settings_dict
    options = {"host": place["HOST"], "dbname": place["NAME"], "user": ROLE}
    try:
        other = psycopg2.connect(**options, password="a password of the tests")
        with other.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (ROLE,)
        other.close()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP OWNED BY {ROLE}")
            cursor.execute(f"DROP ROLE {ROLE}")
