"""The second net: the database itself shows a clinic's rows within that clinic alone."""

import os
from io import StringIO
from pathlib import Path
from uuid import UUID

import psycopg2
import pytest
from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from alliance_site.celery import app
from alliance_site.database import guard
from alliance_site.database.tables import OPEN, PROTECTED, names_protected
from alliance_site.scoping import ClinicsInScope
from surveys import scope
from surveys.models import Assignment, AuditEvent, Patient, Response, Therapy
from surveys.views import people
from tests import factories
from tests.conftest import Cast, signed_in
from tests.net import as_application, gather, spread
from tests.surveys.test_respond import send, started

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(bool(os.environ.get("ROWS")), reason="These spread the net themselves."),
]


@pytest.fixture
def net(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_DATABASE_PASSWORD", "a password of the tests")


def count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


def tables_there() -> set[str]:
    return set(connection.introspection.table_names())


def test_every_table_is_protected_or_says_why_not() -> None:
    assert tables_there() == PROTECTED.keys() | OPEN.keys()
    assert not PROTECTED.keys() & OPEN.keys()
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_policies WHERE schemaname = 'public'")
        assert {name for (name,) in cursor.fetchall()} == PROTECTED.keys()


def test_a_table_is_reached_by_the_column_that_its_line_says() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename, qual, with_check FROM pg_policies WHERE schemaname = 'public'")
        for table, shown, stored in cursor.fetchall():
            assert shown == stored
            for column in PROTECTED[table].split(" or "):
                assert column in shown, table
    columns = {
        model._meta.db_table: {f.column for f in model._meta.concrete_fields} for model in apps.get_models()
    }
    assert all(set(how.split(" or ")) <= columns[table] for table, how in PROTECTED.items())


def test_a_table_with_a_clinic_of_its_own_that_is_open_is_about_accounts_or_forms() -> None:
    with_clinic = {
        model._meta.db_table
        for model in apps.get_models()
        if any(field.column == "clinic_id" for field in model._meta.concrete_fields)
    }
    assert with_clinic & OPEN.keys() == {
        "surveys_membership",
        "surveys_rolegrant",
        "surveys_factorreset",
        "surveys_instrument",
        "surveys_licence",
    }


@pytest.fixture
def town(net: None, cast: Cast, patient_form: Assignment) -> Cast:
    """Rows in both clinics: a sent form each, and an open one in the first."""
    other = factories.form_of(factories.hold_session(cast.stranger_therapy), "patient")
    for form in (patient_form, other):
        assert send(started(form), form).status_code == 303
    factories.hold_session(cast.therapy)
    spread()
    return cast


def test_without_a_scope_there_is_no_row_of_any_clinic(town: Cast) -> None:
    assert guard.unguarded() == []
    with scope.everything():
        filled = {table for table in PROTECTED if count(table)}
        assert {"surveys_patient", "surveys_response", "surveys_score", "surveys_auditevent"} <= filled
        with as_application():
            assert {table for table in PROTECTED if count(table)} == filled
    with as_application():
        assert [table for table in PROTECTED if count(table)] == []


def test_nor_has_who_speaks_to_the_database_past_the_application(town: Cast) -> None:
    with (
        as_application() as cursor,
        connection.connection.cursor(cursor_factory=psycopg2.extensions.cursor) as raw,
    ):
        cursor.execute("SET LOCAL app.clinics = ''")
        for table in PROTECTED:
            raw.execute(f"SELECT count(*) FROM {table}")
            assert raw.fetchone() == (0,), table


def test_a_clinic_sees_its_own_rows_and_those_alone(town: Cast) -> None:
    for clinic, therapy in ((town.clinic, town.therapy), (town.stranger_study.clinic, town.stranger_therapy)):
        with scope.everything():
            own = Therapy.objects.filter(study__clinic=clinic).count()
            sent = Response.objects.filter(assignment__study__clinic=clinic).count()
        with scope.clinics([clinic.pk]), as_application():
            assert Therapy.objects.filter(pk=therapy.pk).exists()
            assert Therapy.objects.count() == own
            assert Response.objects.count() == sent == 1
            assert set(Patient.objects.values_list("clinic", flat=True)) == {clinic.pk}


def test_nothing_is_written_into_another_clinic(town: Cast) -> None:
    other = town.stranger_therapy.patient
    refused = pytest.raises(DatabaseError, match="row-level security")
    with scope.clinics([town.clinic.pk]), as_application():
        with refused, transaction.atomic():
            Patient.objects.create(clinic_id=other.clinic_id)
        with refused, transaction.atomic():
            factories.make_therapy(town.stranger_study, town.stranger)
        # What is not there is not changed, and nothing of one's own is moved there.
        assert Patient.objects.filter(pk=other.pk).update(language="xx") == 0
        assert Therapy.objects.filter(pk=town.stranger_therapy.pk).delete()[0] == 0
        with refused, transaction.atomic():
            Patient.objects.filter(pk=town.therapy.patient_id).update(clinic_id=other.clinic_id)


def test_a_page_that_forgets_the_rules_shows_no_other_clinic(
    town: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug made on purpose: the list of patients asks for all there are."""
    monkeypatch.setattr(people, "own_patients", lambda *_args: Patient.objects.order_by("pk"))
    other = town.stranger_therapy.patient.code
    browser = signed_in(town.clinic_admin)
    address = reverse("people-patients")
    assert other in browser.get(address).content.decode(), "without the net the bug shows it"
    with as_application():
        page = browser.get(address)
    assert page.status_code == 200
    assert town.therapy.patient.code in page.content.decode()
    assert other not in page.content.decode()


def test_a_link_opens_its_clinic_and_no_other(town: Cast) -> None:
    with scope.everything():
        form = town.therapy.sessions.order_by("number").last().assignments.get(rater="patient")
        browser = started(form)
    with as_application():
        assert send(browser, form).status_code == 303


def test_pages_of_every_role_are_there_under_the_net(town: Cast) -> None:
    pages = {
        town.therapist: ["therapist-home", "agreement", "own-trace"],
        town.supervisor: ["supervisor-home", "shared-practices"],
        town.clinic_admin: [
            "admin-home",
            "reception",
            "people-patients",
            "clinic-trace",
            "clinic-completion",
        ],
        town.researcher: ["study-list"],
        town.superuser: ["emergency", "role-grants", "status"],
    }
    for person, names in pages.items():
        browser = signed_in(person)
        with as_application():
            for name in names:
                assert browser.get(reverse(name)).status_code == 200, name
    with as_application():
        page = signed_in(town.therapist).get(reverse("therapy", args=[town.therapy.pk]))
        assert page.status_code == 200
        refused = signed_in(town.stranger).get(reverse("therapy", args=[town.therapy.pk]))
        assert refused.status_code == 404
    # The refusal stands with the clinic that was knocked at.
    assert AuditEvent.objects.filter(status=404).latest("pk").clinic_id == town.clinic.pk


# What the backend says, and when


def sent() -> str:
    """What went over the line last."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM surveys_patient")
        return str(cursor.cursor.query.decode())


def is_told(text: str) -> bool:
    return text.startswith("SET LOCAL app.clinics = ")


def test_a_transaction_is_told_once_and_again_where_it_forgot() -> None:
    here, there = scope.clinics([UUID(int=1)]), scope.clinics([UUID(int=2)])
    with here:
        assert is_told(sent())
        assert not is_told(sent())
        with there:
            assert is_told(sent())
        assert is_told(sent())
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            raise ZeroDivisionError
        assert is_told(sent()), "a savepoint that is rolled back may have held what was said"
        with transaction.atomic():
            assert not is_told(sent())
        assert not is_told(sent())
        with (
            pytest.raises(ValueError, match="NUL"),
            scope.clinics([UUID(int=3)]),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT count(*) FROM surveys_patient WHERE code = %s", ["\0"])
        assert is_told(sent()), "what the driver does not send says nothing to the database"


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_begins_with_another_table_is_told_as_well() -> None:
    with scope.everything():
        with transaction.atomic():
            assert is_told(sent())
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM surveys_job")
            assert is_told(sent()), "what the transaction before was told is gone with it"
            assert not is_told(sent())


def test_what_names_no_protected_table_is_sent_as_it_is() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM surveys_user")
        assert not is_told(cursor.cursor.query.decode())
    assert names_protected('SELECT 1 FROM "surveys_therapy"')
    assert not names_protected('SELECT 1 FROM "surveys_therapyish"')


def test_the_list_of_queries_shows_the_statement_alone() -> None:
    with CaptureQueriesContext(connection) as queries:
        Patient.objects.count()
    assert [query["sql"][:6] for query in queries] == ["SELECT"]


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_nothing_is_left_behind() -> None:
    asked = "SELECT current_setting('app.clinics', true), count(*) FROM surveys_patient"
    with scope.clinics([UUID(int=1)]), connection.cursor() as cursor:
        for _time in range(2):
            cursor.execute(asked)
            assert cursor.fetchone() == ("{00000000-0000-0000-0000-000000000001}", 0)
            cursor.execute("SELECT current_setting('app.clinics', true)")
            assert cursor.fetchone() == ("",)
        # What may not stand in a transaction still runs.
        cursor.execute("VACUUM surveys_patient")


@pytest.mark.django_db(transaction=True)
def test_rows_come_in_parts_and_files_go_out_within_the_scope(net: None) -> None:
    clinics = [factories.make_clinic(name) for name in ("Harbour", "Hill")]
    Patient.objects.bulk_create(Patient(clinic=clinic) for clinic in clinics for _ in range(3))
    spread()
    try:
        with scope.clinics([clinics[0].pk]), as_application() as cursor:
            assert len(list(Patient.objects.iterator(chunk_size=2))) == 3
            with transaction.atomic():
                assert len(list(Patient.objects.iterator(chunk_size=2))) == 3
            file = StringIO()
            cursor.copy_expert("COPY (SELECT id FROM surveys_patient) TO STDOUT", file)
            assert len(file.getvalue().split()) == 3
            cursor.execute("SELECT current_setting('app.clinics', true)")
            assert cursor.fetchone() == ("",)
    finally:
        guard.switch(on=False)
        gather()


def test_two_clinics_by_turns_on_one_connection_see_themselves_alone(town: Cast) -> None:
    clinics = [town.clinic.pk, town.stranger_study.clinic_id]
    seen: set[tuple[UUID, UUID]] = set()
    with as_application():
        for turn in range(1000):
            clinic = clinics[turn % 2]
            with scope.clinics([clinic]), transaction.atomic():
                seen |= {(clinic, found) for found in Patient.objects.values_list("clinic", flat=True)}
                if turn % 3 == 0:
                    transaction.set_rollback(True)
    assert seen == {(clinic, clinic) for clinic in clinics}


# Whose scope a request has


def asked(user: object, *doors: UUID) -> str:
    def view(request: HttpRequest) -> HttpResponse:
        for door in doors:
            scope.open_only(door)
        return HttpResponse(scope.now())

    request = RequestFactory().get("/")
    request.user = user  # type: ignore[assignment]
    return ClinicsInScope(view)(request).content.decode()  # type: ignore[attr-defined]


def test_a_request_reaches_the_clinics_of_who_is_signed_in(cast: Cast) -> None:
    assert asked(cast.therapist) == scope.of([cast.clinic.pk])
    assert asked(cast.stranger) == scope.of([cast.stranger_study.clinic_id])
    assert asked(AnonymousUser()) == asked(cast.superuser) == scope.NOTHING
    secret = cast.stranger_study.clinic_id
    assert asked(cast.therapist, secret) == asked(AnonymousUser(), secret) == scope.of([secret])
    assert scope.now() == scope.NOTHING, "nothing of a request stays"


def test_a_page_that_asks_for_no_clinic_costs_nothing(cast: Cast) -> None:
    request = RequestFactory().get("/")
    request.user = cast.therapist
    with CaptureQueriesContext(connection) as queries:
        ClinicsInScope(lambda _request: HttpResponse())(request)
    assert len(queries) == 0


def test_an_answer_that_is_sent_in_parts_keeps_its_scope(cast: Cast) -> None:
    request = RequestFactory().get("/")
    request.user = cast.therapist
    answer = ClinicsInScope(lambda _request: StreamingHttpResponse(scope.now() for _ in range(2)))(request)
    assert b"".join(answer).decode() == 2 * scope.of([cast.clinic.pk])  # type: ignore[arg-type]


def test_a_worker_is_there_for_all_clinics() -> None:
    @app.task
    def look() -> str:
        return scope.now()

    assert look() == scope.EVERYTHING
    assert scope.now() == scope.NOTHING


def test_only_these_ask_beyond_the_clinics_of_a_request() -> None:
    """Each is a place where the net does not hold; a new one is thought about."""
    root = Path(guard.__file__).parents[2]
    found = {
        str(path.relative_to(root)): path.read_text().count("scope.everything()")
        for package in ("alliance_site", "surveys", "analytics")
        for path in (root / package).rglob("*.py")
        if "scope.everything()" in path.read_text()
    }
    assert found == {
        "alliance_site/celery.py": 1,
        "alliance_site/scoping.py": 1,
        "alliance_site/status.py": 1,
        "alliance_site/subjects.py": 1,
        "analytics/access.py": 1,
        "surveys/access.py": 2,
        "surveys/audit.py": 2,
        "surveys/secret_access.py": 2,
        "surveys/services/emergency.py": 1,
        "surveys/services/people.py": 1,
        "surveys/services/therapies.py": 1,
        "surveys/trace_access.py": 1,
    }
