"""The administrator's pages about people: patients and therapies, staff and roles, the home page."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core import mail
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.utils import timezone

from surveys.access import visible_studies
from surveys.models import (
    Assignment,
    AuditEvent,
    Clinic,
    Instrument,
    Membership,
    Patient,
    Role,
    Therapist,
    Therapy,
    User,
)
from surveys.services.invitations import link_issue
from surveys.services.people import staff_roles_set
from surveys.services.roles import PeopleRefused, roles_set
from tests import factories
from tests.conftest import Cast, signed_in
from tests.sign_in import prove

pytestmark = pytest.mark.django_db
TODAY = timezone.localdate


@pytest.fixture
def admin(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


@pytest.fixture
def other_admin(cast: Cast) -> Client:
    clinic = cast.stranger_study.clinic
    return signed_in(factories.make_user("admin@hill.example", Role.CLINIC_ADMIN, clinic=clinic))


def test_home_names_what_needs_attention_and_no_rating(cast: Cast, admin: Client) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), 3)
    page = admin.get("/clinic/").content.decode()
    # The colleague's therapy began three months ago and its log is empty.
    assert "1 running therapy has had no line" in page
    assert cast.colleague_therapy.code in page
    assert cast.therapy.code not in page
    assert cast.stranger_therapy.code not in page
    assert admin.get("/")["Location"] == "/reception/"


def test_home_of_an_empty_clinic_leads_to_a_first_study(db: None) -> None:
    clinic = factories.make_clinic("New Clinic")
    user = factories.make_user("first@example.org", Role.CLINIC_ADMIN, clinic=clinic)
    assert signed_in(user).get("/")["Location"] == "/clinic/"
    page = signed_in(user).get("/clinic/").content.decode()
    assert "No study is active" in page
    assert 'href="/clinic/studies/new/"' in page


def test_a_patient_is_entered_in_two_fields_and_shown_by_code(cast: Cast, admin: Client) -> None:
    answer = admin.post("/clinic/patients/new/", {"language": "de", "contact": "someone@example.org"})
    patient = Patient.objects.get(language="de")
    assert answer["Location"] == f"/clinic/patients/{patient.pk}/"
    page = admin.get(answer["Location"]).content.decode()
    assert f'<p class="code-large"><bdi>{patient.code}</bdi></p>' in page
    assert patient.contact == "someone@example.org"
    trace = AuditEvent.objects.get(act="patient.add")
    assert "someone" not in str(trace.detail)
    listed = admin.get(f"/clinic/patients/?code={patient.code[:3]}").content.decode()
    assert patient.code in listed
    assert "someone@example.org" not in listed


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"language": "en", "contact": "nobody"}, "Enter one e-mail address"),
        ({"language": "xx", "contact": ""}, "Choose one of the list"),
        ({}, "Choose one."),
    ],
)
def test_a_patient_that_cannot_be_entered_is_refused_in_a_sentence(
    cast: Cast, admin: Client, fields: dict[str, str], sentence: str
) -> None:
    n = Patient.objects.count()
    answer = admin.post("/clinic/patients/new/", fields)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert Patient.objects.count() == n


def test_two_equal_codes_are_drawn_again(cast: Cast, admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = cast.therapy.patient.code, "FREEX-2"
    draws = iter([taken, taken, free])
    monkeypatch.setattr("surveys.services.codes.new_code", lambda: next(draws))
    admin.post("/clinic/patients/new/", {"language": "en", "contact": ""})
    assert Patient.objects.filter(clinic=cast.clinic, code=free).exists()


def test_address_and_language_are_changed_and_traced_without_the_address(cast: Cast, admin: Client) -> None:
    patient = cast.therapy.patient
    url = f"/clinic/patients/{patient.pk}/"
    assert admin.post(url, {"language": "ar", "contact": "new@example.org"}).status_code == 302
    patient = Patient.objects.get(pk=patient.pk)
    assert (patient.language, patient.contact) == ("ar", "new@example.org")
    assert not AuditEvent.objects.filter(detail__icontains="new@example").exists()
    answer = admin.post(url, {"language": "ar", "contact": "wrong"})
    assert answer.status_code == 422
    assert 'value="wrong"' in answer.content.decode()


def test_a_therapy_begins_ends_and_leaves_its_trace(cast: Cast, admin: Client) -> None:
    patient = Patient.objects.create(clinic=cast.clinic)
    therapist = cast.therapy.therapist
    fields = {"therapist": therapist.pk, "study": cast.study.pk, "started_on": TODAY().isoformat()}
    answer = admin.post(f"/clinic/patients/{patient.pk}/therapy/", fields)
    therapy = Therapy.objects.get(patient=patient)
    assert answer["Location"] == f"/clinic/therapies/{therapy.pk}/"
    again = admin.post(f"/clinic/patients/{patient.pk}/therapy/", fields)
    assert again.status_code == 422
    assert "running therapy in the study" in again.content.decode()
    end = {"end-ended_on": TODAY().isoformat(), "end-reason": "completed"}
    assert admin.post(f"/clinic/therapies/{therapy.pk}/end/", end).status_code == 302
    therapy.refresh_from_db()
    assert (therapy.ended_on, therapy.end_reason) == (TODAY(), "completed")
    twice = admin.post(f"/clinic/therapies/{therapy.pk}/end/", end)
    assert twice.status_code == 422
    assert "ended on" in twice.content.decode()


def test_a_transfer_keeps_ratings_under_the_old_therapist(cast: Cast, admin: Client) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), 3)
    colleague = cast.colleague_therapy.therapist
    fields = {"move-therapist": colleague.pk, "move-on": TODAY().isoformat()}
    answer = admin.post(f"/clinic/therapies/{cast.therapy.pk}/transfer/", fields)
    new = Therapy.objects.get(previous=cast.therapy)
    assert answer["Location"] == f"/clinic/therapies/{new.pk}/"
    assert (new.therapist, new.patient) == (colleague, cast.therapy.patient)
    assert list(cast.therapy.sessions.all()) == [session]
    assert not new.sessions.exists()
    page = admin.get(answer["Location"]).content.decode()
    assert f'href="/clinic/therapies/{cast.therapy.pk}/"' in page
    to_self = {"move-therapist": new.therapist.pk, "move-on": TODAY().isoformat()}
    assert admin.post(f"/clinic/therapies/{new.pk}/transfer/", to_self).status_code == 422


def test_nothing_of_another_clinic_exists_for_an_administrator(cast: Cast, other_admin: Client) -> None:
    patient, therapy = cast.therapy.patient, cast.therapy
    for path in (
        f"patients/{patient.pk}/",
        f"patients/{patient.pk}/therapy/",
        f"therapies/{therapy.pk}/",
        f"staff/{cast.therapist.pk}/",
    ):
        assert other_admin.get(f"/clinic/{path}").status_code == 404
    for path in (
        f"therapies/{therapy.pk}/end/",
        f"therapies/{therapy.pk}/transfer/",
        f"staff/{cast.therapist.pk}/leave/",
        f"staff/{cast.therapist.pk}/invite/",
    ):
        assert other_admin.post(f"/clinic/{path}").status_code == 404
    assert patient.code not in other_admin.get("/clinic/patients/").content.decode()
    assert cast.therapist.email not in other_admin.get("/clinic/staff/").content.decode()
    own = Patient.objects.create(clinic=cast.stranger_study.clinic)
    fields = {"therapist": therapy.therapist.pk, "study": cast.study.pk, "started_on": TODAY().isoformat()}
    assert other_admin.post(f"/clinic/patients/{own.pk}/therapy/", fields).status_code == 422
    assert not own.therapies.exists()


def new_colleague(admin: Client, **fields: object) -> object:
    data = {"name": "Kim", "email": "kim@example.org", "roles": ["therapist"], "supervisor": "", **fields}
    return admin.post("/clinic/staff/new/", data)


def test_somebody_is_added_and_sets_a_password_by_the_mail(cast: Cast, admin: Client) -> None:
    new_colleague(admin, email="Kim@Example.org", supervisor=str(cast.supervisor.pk))
    kim = User.objects.get(email="kim@example.org")
    therapist = Therapist.objects.get(user=kim)
    assert (therapist.clinic, therapist.supervisor) == (cast.clinic, cast.supervisor)
    assert not kim.has_usable_password()
    assert mail.outbox[0].to == ["kim@example.org"]
    link = next(line for line in mail.outbox[0].body.splitlines() if line.startswith("http"))
    client = Client()
    page = client.get(link, follow=True)
    password = "another horse in the morning"
    client.post(page.request["PATH_INFO"], {"password1": password, "password2": password})
    kim.refresh_from_db()
    assert kim.check_password(password)
    page = admin.get(f"/clinic/staff/{kim.pk}/").content.decode()
    assert link not in page
    assert 'href="/clinic/patients/"' in page


def test_roles_are_named_in_the_reader_s_language(cast: Cast, admin: Client) -> None:
    german = {"accept-language": "de"}
    for url in ("/clinic/staff/", "/clinic/staff/new/", f"/clinic/staff/{cast.therapist.pk}/"):
        page = admin.get(url, headers=german).content.decode()
        assert "Therapeut:in" in page, url
        assert ">Therapist<" not in page and " Therapist" not in page, url


def test_a_mail_server_that_is_away_costs_no_account(
    cast: Cast, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object, **_kwargs: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("surveys.services.accounts.send_mail", away)
    page = admin.get(new_colleague(admin)["Location"]).content.decode()
    assert "could not be sent" in page
    assert User.objects.filter(email="kim@example.org").exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"roles": ["researcher"]}, "researcher"),
        ({"roles": []}, "at least one of the roles"),
        ({"email": "nobody"}, "Enter one e-mail address"),
        ({"email": "therapist@example.org"}, "works in the clinic already"),
        ({"email": "root@example.org"}, "runs the machine"),
    ],
)
def test_an_account_that_cannot_be_made_is_refused(
    cast: Cast, admin: Client, fields: dict[str, object], sentence: str
) -> None:
    n = User.objects.count(), Membership.objects.count()
    answer = new_colleague(admin, **fields)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert (User.objects.count(), Membership.objects.count()) == n
    assert not mail.outbox


def test_roles_of_others_are_changed_one_s_own_and_a_researcher_s_are_not(cast: Cast, admin: Client) -> None:
    url = f"/clinic/staff/{cast.therapist.pk}/"
    admin.post(url, {"roles": ["therapist", "supervisor"], "supervisor": ""})
    roles = Membership.objects.filter(user=cast.therapist).values_list("role", flat=True)
    assert set(roles) == {"therapist", "supervisor"}
    own = admin.post(f"/clinic/staff/{cast.clinic_admin.pk}/", {"roles": ["therapist"], "supervisor": ""})
    assert own.status_code == 422
    researcher = f"/clinic/staff/{cast.researcher.pk}/"
    assert admin.post(researcher, {"roles": ["therapist"], "supervisor": ""}).status_code == 422
    admin.post(f"{researcher}leave/")
    admin.post(f"/clinic/staff/{cast.clinic_admin.pk}/leave/")
    assert Membership.objects.filter(user=cast.researcher, role=Role.RESEARCHER).exists()
    assert Membership.objects.filter(user=cast.clinic_admin, role=Role.CLINIC_ADMIN).exists()


def test_nobody_gets_a_role_that_an_administrator_may_not_grant(cast: Cast) -> None:
    for roles in (["researcher"], ["superuser"], []):
        with pytest.raises(PeopleRefused):
            staff_roles_set(clinic=cast.clinic, user=cast.therapist, roles=roles, actor=cast.clinic_admin)


def test_who_leaves_loses_access_at_once_and_the_account_without_roles_is_closed(
    cast: Cast, admin: Client
) -> None:
    theirs = signed_in(cast.therapist)
    assert theirs.get("/caseload/").status_code == 200
    admin.post(f"/clinic/staff/{cast.therapist.pk}/leave/")
    assert theirs.get("/caseload/").status_code == 302
    assert not User.objects.get(pk=cast.therapist.pk).is_active
    assert Therapy.objects.filter(therapist__user=cast.therapist).exists()
    new_colleague(admin, email=cast.therapist.email)
    assert User.objects.get(pk=cast.therapist.pk).is_active


def test_an_account_that_the_operator_closed_is_not_a_clinic_s_to_open(cast: Cast, admin: Client) -> None:
    former = factories.make_user("former@example.org", is_active=False)
    left, member = cast.therapist, cast.stranger
    admin.post(f"/clinic/staff/{left.pk}/leave/")
    new_colleague(admin, email=left.email)
    assert AuditEvent.objects.get(act="account.open").subject == f"user:{left.pk}"
    Membership.objects.filter(user=left).delete()
    User.objects.filter(pk__in=[left.pk, member.pk]).update(is_active=False)
    for closed in (former, left, member):
        sent = {"name": "Kim", "email": closed.email, "roles": ["therapist"], "supervisor": ""}
        refused = admin.post("/clinic/staff/new/", sent)
        assert refused.status_code == 422
        assert "The operator of this site closed this account" in refused.content.decode()
        assert not User.objects.get(pk=closed.pk).is_active
        assert not Membership.objects.filter(user=closed, clinic=cast.clinic).exists()


def test_who_also_works_elsewhere_keeps_that_account(cast: Cast, admin: Client) -> None:
    other = cast.stranger_study.clinic
    Membership.objects.create(clinic=other, user=cast.therapist, role=Role.THERAPIST)
    admin.post(f"/clinic/staff/{cast.therapist.pk}/leave/")
    assert User.objects.get(pk=cast.therapist.pk).is_active
    assert list(Membership.objects.filter(user=cast.therapist).values_list("clinic", flat=True)) == [other.pk]


def test_treating_and_analysing_exclude_each_other_whoever_gives_the_role(cast: Cast) -> None:
    clinic = cast.clinic.name
    with pytest.raises(CommandError, match="exclude each other"):
        call_command("role_grant", cast.therapist.email, "researcher", clinic=clinic, by=cast.superuser.email)
    with pytest.raises(PeopleRefused, match="exclude each other"):
        roles_set(cast.clinic, cast.researcher, [Role.RESEARCHER, Role.THERAPIST], None)
    with pytest.raises(CommandError, match="exclude each other"):
        call_command("role_grant", cast.researcher.email, "therapist", clinic=clinic)
    call_command("role_grant", cast.researcher.email, "researcher", clinic=clinic, revoke=True)
    assert not visible_studies(cast.researcher).exists()
    with pytest.raises(CommandError, match="no clinic"):
        call_command("role_grant", cast.researcher.email, "researcher", clinic="Nowhere")


def test_a_first_clinic_is_made_with_an_administrator_who_sets_a_password(db: None) -> None:
    out = StringIO()
    call_command(
        "clinic_create",
        "River Clinic",
        contact="Reception, 555 0199",
        admin="Head@river.example",
        base_url="https://alliance.example.org",
        stdout=out,
    )
    clinic = Clinic.objects.get(name="River Clinic")
    user = User.objects.get(email="head@river.example")
    assert (clinic.is_simulated, user.is_superuser) == (False, False)
    assert Membership.objects.get(user=user).role == Role.CLINIC_ADMIN
    assert Instrument.objects.filter(code="wai-s", rater="patient").exists()
    link = next(word for word in out.getvalue().split() if word.startswith("https://"))
    client = Client()
    page = client.get(link.removeprefix("https://alliance.example.org"), follow=True)
    password = "another horse in the morning"
    client.post(page.request["PATH_INFO"], {"password1": password, "password2": password})
    client.post("/accounts/login/", {"login": user.email, "password": password})
    prove(client, user)
    assert "River Clinic" in client.get("/clinic/").content.decode()
    with pytest.raises(CommandError, match="already"):
        call_command(
            "clinic_create", "River Clinic", contact="x", admin="head@river.example", base_url="http://x"
        )


def test_the_number_of_queries_does_not_grow_with_people(cast: Cast, admin: Client) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def n_queries(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin.get(path).status_code == 200
        return len(queries)

    paths = ("/clinic/", "/clinic/patients/", "/clinic/staff/")
    few = [n_queries(path) for path in paths]
    for number in range(6):
        user = factories.make_user(f"t{number}@example.org", Role.THERAPIST, clinic=cast.clinic)
        therapy = factories.make_therapy(cast.study, user)
        therapy.started_on -= timedelta(days=1)
    assert [n_queries(path) for path in paths] == few


def test_a_clinic_s_contact_is_changed_and_patients_read_it_at_once(
    cast: Cast, admin: Client, patient_form: Assignment
) -> None:
    link = f"/r/{link_issue(assignment=patient_form)}/"
    typed = {"name": "Harbour House", "contact": "Front desk, 555 0177"}
    assert admin.post("/clinic/contact/", typed)["Location"] == "/clinic/"
    page = Client().get(link).content.decode()
    assert "Harbour House" in page and "555 0177" in page
    assert AuditEvent.objects.get(act="clinic.describe").actor == cast.clinic_admin
    admin.post("/clinic/contact/", typed)
    assert AuditEvent.objects.filter(act="clinic.describe").count() == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "Hill Clinic", "contact": "x"}, "There is a clinic of this name already."),
        ({"name": "", "contact": "x"}, "Fill this in."),
        ({"name": "Harbour Clinic", "contact": " "}, "Fill this in."),
    ],
)
def test_a_clinic_without_a_name_of_its_own_or_a_contact_is_refused(
    cast: Cast, admin: Client, fields: dict[str, str], sentence: str
) -> None:
    answer = admin.post("/clinic/contact/", fields)
    assert answer.status_code == 422 and sentence in answer.content.decode()
    assert Clinic.objects.get(pk=cast.clinic.pk).name == "Harbour Clinic"
