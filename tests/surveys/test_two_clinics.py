"""Somebody who administers two clinics works in one of them at a time, and nowhere else."""

import pytest
from django.test import Client
from django.urls import reverse

from surveys.models import (
    AuditEvent,
    Instrument,
    Licence,
    Membership,
    Patient,
    Role,
    Study,
    Tablet,
    Therapist,
    User,
)
from surveys.services.studies import draft_begin, study_create
from tests import factories
from tests.conftest import Cast, signed_in
from tests.surveys.test_packs import SMALL_FORM

pytestmark = pytest.mark.django_db
LISTS = ("reception", "people-patients", "people-staff", "setup-studies", "tablets", "admin-home")


@pytest.fixture
def both(cast: Cast) -> User:
    user = factories.make_user("both@example.org", Role.CLINIC_ADMIN, clinic=cast.clinic)
    Membership.objects.create(user=user, clinic=cast.stranger_study.clinic, role=Role.CLINIC_ADMIN)
    return user


@pytest.fixture
def client(cast: Cast, both: User) -> Client:
    """Works in the first one: without a choice it is the older, and these two are of the same millisecond."""
    client = signed_in(both)
    choose(client, cast.study)
    return client


def choose(client: Client, study: Study) -> None:
    answer = client.post(reverse("clinic-choose"), {"clinic": str(study.clinic_id)})
    assert answer["Location"] == reverse("admin-home")


def page(client: Client, name: str) -> str:
    return client.get(reverse(name)).content.decode()


def test_the_menu_offers_a_choice_only_where_there_is_one(cast: Cast, client: Client) -> None:
    assert reverse("clinic-choose") in page(client, "admin-home")
    assert reverse("clinic-choose") not in page(signed_in(cast.clinic_admin), "admin-home")
    listed = page(client, "clinic-choose")
    assert cast.clinic.name in listed and "Hill Clinic" in listed


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_of_the_chosen_clinic_alone(cast: Cast, client: Client, name: str) -> None:
    for clinic, mark in ((cast.clinic, "Door tablet"), (cast.stranger_study.clinic, "Stairs tablet")):
        Tablet.objects.create(clinic=clinic, name=mark, secret_hash=mark, enrolled_by=cast.clinic_admin)
    of_harbour = [
        cast.therapy.code,
        cast.therapist.email,
        cast.study.name,
        cast.therapy.patient.code,
        "Door tablet",
    ]
    of_hill = [
        cast.stranger_therapy.code,
        cast.stranger.email,
        cast.stranger_study.name,
        cast.stranger_therapy.patient.code,
        "Stairs tablet",
    ]
    before = page(client, name)
    choose(client, cast.stranger_study)
    after = page(client, name)
    assert [word for word in of_hill if word in before] == []
    assert [word for word in of_harbour if word in after] == []
    if name != "admin-home":
        assert any(word in before for word in of_harbour)
        assert any(word in after for word in of_hill)
    assert "Harbour Clinic" in before and "Hill Clinic" in after


def test_what_is_added_belongs_to_the_chosen_clinic(cast: Cast, client: Client) -> None:
    choose(client, cast.stranger_study)
    hill = cast.stranger_study.clinic
    client.post(reverse("people-patient-new"), {"language": "nb", "contact": ""})
    assert Patient.objects.get(language="nb").clinic == hill
    client.post(reverse("setup-study-new"), {"code": "NEW", "name": "New"})
    assert Study.objects.get(code="NEW").clinic == hill
    client.post(
        reverse("people-staff-new"),
        {"name": "Kim", "email": "kim@example.org", "roles": ["therapist"], "supervisor": ""},
    )
    assert Membership.objects.get(user__email="kim@example.org").clinic == hill
    kim = reverse("people-account", args=[User.objects.get(email="kim@example.org").pk])
    assert client.get(kim).status_code == 200
    assert client.get(reverse("people-account", args=[cast.therapist.pk])).status_code == 404
    licence = {
        "code": "wai-sr",
        "language": "en",
        "holder": "Society",
        "reference": "12",
        "use": "care",
        "permitted_use": "Care",
        "valid_from": "2026-01-01",
    }
    client.post(reverse("licences"), licence)
    assert Licence.objects.get().clinic == hill
    client.post(reverse("tablets"), {"name": "Door", "pin": "482913"})
    assert Tablet.objects.get().clinic == hill


def test_an_upload_of_the_second_clinic_is_planned_in_its_study(cast: Cast, client: Client) -> None:
    choose(client, cast.stranger_study)
    client.post(reverse("instrument-upload"), {"content": SMALL_FORM})
    own = Instrument.objects.exclude(clinic=None).get()
    assert own.clinic == cast.stranger_study.clinic
    assert client.get(reverse("instrument", args=[own.pk])).status_code == 200
    draft = draft_begin(study=study_create(clinic=own.clinic, code="OWN", name="Own").study)
    plan = reverse("setup-plan", args=[draft.study_id, own.pk])
    assert client.get(plan).status_code == 200


def test_a_clinic_that_is_not_administered_cannot_be_chosen(cast: Cast, client: Client) -> None:
    foreign = factories.make_clinic("Third Clinic")
    for wish in (str(foreign.pk), "", "nothing"):
        assert client.post(reverse("clinic-choose"), {"clinic": wish}).status_code == 404
    assert cast.clinic.name in page(client, "admin-home")


def test_a_choice_ends_with_the_role(cast: Cast, client: Client, both: User) -> None:
    choose(client, cast.stranger_study)
    Membership.objects.filter(user=both, clinic=cast.stranger_study.clinic).delete()
    after = page(client, "people-patients")
    assert cast.therapy.patient.code in after
    assert cast.stranger_therapy.patient.code not in after
    stranger = reverse("people-patient", args=[cast.stranger_therapy.patient.pk])
    assert client.get(stranger).status_code == 404


def test_who_treats_in_one_clinic_may_work_with_the_data_of_the_other_alone(cast: Cast) -> None:
    away, home = cast.stranger_study, cast.study
    Therapist.objects.create(clinic=away.clinic, user=cast.researcher)
    Membership.objects.create(user=cast.researcher, clinic=away.clinic, role=Role.RESEARCHER)
    client = signed_in(cast.researcher)
    found = [client.get(reverse("desk-data", args=[study.pk])).status_code for study in (home, away)]
    assert found == [200, 404]


def test_the_trace_is_that_of_the_chosen_clinic(cast: Cast, client: Client) -> None:
    for study in (cast.study, cast.stranger_study):
        AuditEvent.objects.create(act="therapy.view", fields="ratings", clinic=study.clinic)
    events = [line.event for line in client.get(reverse("clinic-trace")).context["part"].lines]
    assert {event.clinic for event in events} == {cast.clinic}
