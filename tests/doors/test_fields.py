"""Mass assignment and self-granted roles: what is sent beside the fields of a form or of an API body."""

import json
from uuid import uuid4

import pytest
from django.apps import apps
from django.urls import reverse

from surveys.models import Membership, Patient, RoleGrant, Session, Study, Therapy, User
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db

# Every field of every model, and how rows are reached through it.
NAMES = sorted(
    {
        name
        for app in ("surveys", "analytics", "knox")
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.get_fields()
        for name in (field.name, getattr(field, "attname", field.name))
    }
)


# Fields of these forms and bodies by right; rows 36 and 53 of tests/bad_inputs say what they may hold.
TAKEN = {"clinic", "contact", "reason", "arm", "language", "name", "supervisor", "agreement"}
# What a form may hold at the most; the names that say whose a row is, and what somebody is, come first.
MOST = 150
TELLING = {
    "id",
    "pk",
    "code",
    "user",
    "user_id",
    "clinic_id",
    "role",
    "is_superuser",
    "is_active",
    "therapist_id",
}


def beside(own: dict[str, str], value: str) -> dict[str, str]:
    rest = sorted(set(NAMES) - TAKEN - set(own), key=lambda name: (name not in TELLING, name))
    return dict.fromkeys(rest[:MOST], value) | own


@pytest.mark.parametrize(
    "route", ["api-patients", "api-therapies", "api-sessions", "api-snapshots", "api-exports"]
)
def test_the_api_refuses_every_field_of_a_row_that_is_not_its_own(cast: Cast, route: str) -> None:
    own = {
        "api-patients": {"language": "en"},
        "api-therapies": {"patient": "x", "therapist": "x", "study": "x", "started_on": "2026-05-12"},
        "api-sessions": {"held_at": "2026-05-12T14:00:00Z", "status": "held"},
        "api-snapshots": {"started_from": None, "started_until": None, "arms": [], "only_ended": False},
        "api-exports": {"snapshot": str(uuid4()), "tier": "scores", "purpose": "A thesis"},
    }[route]
    of_study = {"study_id": cast.study.pk}
    kwargs = {
        "api-sessions": {"therapy_id": cast.therapy.pk},
        "api-snapshots": of_study,
        "api-exports": of_study,
    }
    client = signed_in(cast.researcher if kwargs.get(route) is of_study else cast.clinic_admin)
    sent = [name for name in NAMES if name not in own and name not in TAKEN]
    assert len(sent) > 200
    # A refusal names twenty of them.
    for start in range(0, len(sent), 20):
        part = sent[start : start + 20]
        answer = client.post(
            reverse(route, kwargs=kwargs.get(route)),
            json.dumps(own | dict.fromkeys(part, "1")),
            content_type="application/json",
            headers={"Idempotency-Key": str(uuid4())},
        )
        assert answer.status_code == 400
        # A field of this name is refused as well, and the word has its own place in a refusal.
        assert set(part) - {"detail"} <= set(answer.json())


def test_pages_take_their_own_fields_alone(cast: Cast) -> None:
    client, clinic = signed_in(cast.clinic_admin), cast.clinic
    foreign = str(cast.stranger_study.clinic_id)
    client.post(reverse("people-patient-new"), beside({"language": "nb", "contact": ""}, foreign))
    patient = Patient.objects.get(language="nb")
    assert patient.clinic == clinic and str(patient.pk) != foreign and patient.code != foreign[:12]
    client.post(reverse("setup-study-new"), beside({"code": "NEW", "name": "New"}, foreign))
    study = Study.objects.get(code="NEW")
    assert (study.clinic, study.test_of) == (clinic, None)
    staff = {"name": "Kim", "email": "kim@example.org", "roles": "therapist", "supervisor": ""}
    client.post(reverse("people-staff-new"), beside(staff, "1"))
    kim = User.objects.get(email="kim@example.org")
    assert (kim.is_superuser, kim.has_usable_password()) == (False, False)
    assert [(row.clinic, row.role) for row in kim.memberships.all()] == [(clinic, "therapist")]
    start = {"end-ended_on": "", "end-end_reason": "completed"}
    client.post(reverse("people-therapy-end", args=[cast.therapy.pk]), beside(start, str(cast.stranger.pk)))
    assert Therapy.objects.get(pk=cast.therapy.pk).therapist == cast.therapy.therapist
    session = factories.hold_session(cast.therapy)
    log = {"held_at": session.held_at.strftime("%Y-%m-%dT%H:%M"), "status": "held"}
    address = reverse("session-correct", args=[session.pk])
    client.post(address, beside(log, str(cast.stranger_therapy.pk)))
    assert Session.objects.get(pk=session.pk).therapy == cast.therapy


GRANTS = {
    "therapist": True,
    "supervisor": True,
    # Asked for only: another administrator confirms it.
    "clinic_admin": False,
    "researcher": False,
    "superuser": False,
}


@pytest.mark.parametrize("role", GRANTS)
@pytest.mark.parametrize(
    "giver", ["therapist", "supervisor", "researcher", "clinic_admin", "superuser", "stranger"]
)
def test_roles_are_given_by_administrators_of_the_clinic_alone_and_not_that_of_researchers(
    cast: Cast, giver: str, role: str
) -> None:
    """To a colleague, and to oneself never."""
    client = signed_in(getattr(cast, giver))
    wish = {"roles": ["therapist", role], "supervisor": "", "is_superuser": "on"}
    answers = [
        client.post(reverse("people-account", args=[user.pk]), wish)
        for user in (cast.colleague, getattr(cast, giver))
    ]
    is_given = Membership.objects.filter(user=cast.colleague, role=role, clinic=cast.clinic).exists()
    had = role == "therapist"
    assert is_given == (had or (giver == "clinic_admin" and GRANTS[role]))
    is_asked = RoleGrant.objects.filter(user=cast.colleague, role=role, decided_at=None).exists()
    assert is_asked == ((giver, role) == ("clinic_admin", "clinic_admin"))
    if giver != "clinic_admin":
        assert [answer.status_code for answer in answers] == [403, 403]
    own = set(Membership.objects.filter(user=getattr(cast, giver)).values_list("role", flat=True))
    roles = {"stranger": {"therapist", "researcher"}, "superuser": set()}
    assert own == roles.get(giver, {giver})
    assert list(User.objects.filter(is_superuser=True)) == [cast.superuser]
