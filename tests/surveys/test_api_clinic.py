"""A clinic's own systems enter patients, therapies and sessions, and read how far their forms are."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, ClientKey, Membership, Patient, Role, Session, Therapy
from surveys.services.client_keys import KEPT
from tests import factories
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db
JSON = "application/json"


def post(client: Client, url: str, body: Any, key: object = None, **extra: Any) -> HttpResponse:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    headers = {"Idempotency-Key": str(key or uuid4())}
    return client.post(url, text, **{"content_type": JSON, "headers": headers, **extra})


@pytest.fixture
def client(cast: Cast) -> Client:
    return signed_in(cast.clinic_admin)


PATIENTS, THERAPIES = "/api/v1/patients/", "/api/v1/therapies/"


def log_of(therapy: Therapy) -> str:
    return reverse("api-sessions", args=[therapy.pk])


def an_hour_ago() -> str:
    return (timezone.now() - timedelta(hours=1)).isoformat(timespec="seconds")


def test_from_a_new_patient_to_the_forms_of_the_first_session(cast: Cast, client: Client) -> None:
    entered = post(client, PATIENTS, {"language": "de", "contact": "name@example.org"})
    assert entered.status_code == 201
    patient = entered.json()
    assert set(patient) == {"id", "code", "clinic", "language"}
    assert "name@example.org" not in client.get(f"{PATIENTS}{patient['id']}/").content.decode()
    assert Patient.objects.get(pk=patient["id"]).contact == "name@example.org"
    begun = post(
        client,
        THERAPIES,
        {
            "patient": patient["code"],
            "therapist": cast.therapy.therapist.code,
            "study": cast.study.code,
            "started_on": str(timezone.localdate() - timedelta(days=1)),
        },
    )
    assert begun.status_code == 201, begun.content
    log = reverse("api-sessions", args=[begun.json()["id"]])
    held = post(client, log, {"held_at": an_hour_ago(), "status": "held"})
    assert held.status_code == 201, held.content
    assert held.json()["number"] == 1
    assert [(row["rater"], row["state"]) for row in held.json()["forms"]] == [
        ("therapist", "due"),
        ("patient", "due"),
    ]
    assert client.get(log).json() == [held.json()]
    acts = AuditEvent.objects.filter(actor=cast.clinic_admin).values_list("act", flat=True)
    assert {"patient.add", "therapy.begin", "session.close"} <= set(acts)


def test_what_is_sent_again_under_its_key_adds_nothing(cast: Cast, client: Client) -> None:
    key, sent = uuid4(), {"language": "en"}
    first, again = (post(client, PATIENTS, sent, key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    other = post(client, PATIENTS, {"language": "de"}, key)
    assert other.status_code == 409 and "Idempotency-Key" in other.json()["detail"]
    # The key is one person's; somebody else's may be the same.
    Membership.objects.create(user=cast.colleague, clinic=cast.clinic, role=Role.CLINIC_ADMIN)
    assert post(signed_in(cast.colleague), PATIENTS, sent, key).status_code == 201
    moment = {"held_at": an_hour_ago(), "status": "held"}
    codes = [post(client, log_of(cast.therapy), moment, key=k).status_code for k in [uuid4()] * 2]
    assert codes == [201, 200] and cast.therapy.sessions.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_sent_ten_times_at_once_is_done_once(cast: Cast) -> None:
    key, sent = uuid4(), {"language": "en"}

    def send(_: int) -> tuple[int, str]:
        answer = post(signed_in(cast.clinic_admin), PATIENTS, sent, key)
        connection.close()
        return answer.status_code, answer.json()["id"]

    n_before = Patient.objects.count()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(send, range(10)))
    assert sorted(status for status, _ in answers) == [200] * 9 + [201]
    assert len({pk for _, pk in answers}) == 1
    assert Patient.objects.count() == n_before + 1


def test_a_key_is_free_after_a_refusal_and_after_a_month(cast: Cast, client: Client) -> None:
    key = uuid4()
    assert post(client, PATIENTS, {"language": "xx"}, key).status_code == 400
    assert post(client, PATIENTS, {"language": "en"}, key).status_code == 201
    ClientKey.objects.update(at=timezone.now() - KEPT - timedelta(minutes=1))
    assert post(client, PATIENTS, {"language": "de"}, key).status_code == 201


def test_what_is_sent_without_a_key_is_refused(client: Client, cast: Cast) -> None:
    for headers in ({}, {"Idempotency-Key": "1"}):
        answer = post(client, PATIENTS, {"language": "en"}, headers=headers)
        assert answer.status_code == 400 and "Idempotency-Key" in answer.json()


def test_conflicts_say_what_is_there(cast: Cast, client: Client) -> None:
    session = factories.hold_session(cast.therapy)
    there = post(client, log_of(cast.therapy), {"held_at": session.held_at.isoformat(), "status": "held"})
    assert there.status_code == 201, "kept to the second"
    again = post(client, log_of(cast.therapy), {"held_at": there.json()["held_at"], "status": "cancelled"})
    assert again.status_code == 409 and "has a session at this time" in again.json()["detail"]
    running = {
        "patient": cast.therapy.patient.code,
        "therapist": cast.therapy.therapist.code,
        "study": cast.study.code,
        "started_on": str(timezone.localdate()),
    }
    refused = post(client, THERAPIES, running)
    assert refused.status_code == 409 and cast.therapy.code in refused.json()["detail"]


def test_another_clinic_s_rows_do_not_exist(cast: Cast, client: Client) -> None:
    hill = cast.stranger_therapy
    for name, pk in (
        ("api-patient", hill.patient_id),
        ("api-therapy", hill.pk),
        ("api-sessions", hill.pk),
        ("api-session", factories.hold_session(hill).pk),
    ):
        answer = client.get(reverse(name, args=[pk]))
        assert answer.status_code == 404
        assert answer.json() == {"detail": "There is nothing at this address, or it is not yours to see."}
    sent = {"held_at": an_hour_ago(), "status": "held"}
    assert post(client, log_of(hill), sent).status_code == 404
    listed = client.get(PATIENTS).content + client.get(THERAPIES).content
    assert cast.therapy.patient.code.encode() in listed
    assert hill.patient.code.encode() not in listed and hill.code.encode() not in listed


def test_codes_of_another_clinic_are_named_as_wrong(cast: Cast, client: Client) -> None:
    hill, today = cast.stranger_therapy, str(timezone.localdate())
    new = Patient.objects.create(clinic=cast.clinic)
    good = {
        "patient": new.code,
        "therapist": cast.therapy.therapist.code,
        "study": cast.study.code,
        "started_on": today,
    }
    for field, value in (
        ("patient", hill.patient.code),
        ("therapist", hill.therapist.code),
        ("study", hill.study.code),
        ("arm", "nowhere"),
        ("started_on", str(timezone.localdate() + timedelta(days=2))),
    ):
        answer = post(client, THERAPIES, {**good, field: value})
        assert answer.status_code == 400 and list(answer.json()) == [field]
    assert not new.therapies.exists()
    assert post(client, THERAPIES, good).status_code == 201


def test_who_administers_two_clinics_says_which(cast: Cast, client: Client) -> None:
    hill = cast.stranger_study.clinic
    assert post(client, PATIENTS, {"language": "en", "clinic": str(hill.pk)}).status_code == 400
    Membership.objects.create(user=cast.clinic_admin, clinic=hill, role=Role.CLINIC_ADMIN)
    assert list(post(client, PATIENTS, {"language": "en"}).json()) == ["clinic"]
    entered = post(client, PATIENTS, {"language": "en", "clinic": str(hill.pk)})
    assert entered.status_code == 201 and entered.json()["clinic"] == str(hill.pk)
    of_hill = {
        "patient": entered.json()["code"],
        "therapist": cast.therapy.therapist.code,
        "study": cast.study.code,
        "started_on": str(timezone.localdate()),
    }
    assert list(post(client, THERAPIES, of_hill).json()) == ["patient"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "postponed"),
        ("status", ["held"]),
        ("status", {"held": 1}),
        ("reason", "mistake"),
        ("reason", "illness"),
    ],
)
def test_a_session_is_taken_as_it_is_meant_or_not_at_all(
    cast: Cast, client: Client, field: str, value: object
) -> None:
    sent = {"held_at": an_hour_ago(), "status": "held", field: value}
    answer = post(client, log_of(cast.therapy), sent)
    assert answer.status_code == 400 and list(answer.json()) == [field], answer.content
    assert not Session.objects.exists()


def test_a_list_is_read_in_parts(cast: Cast, client: Client) -> None:
    for _ in range(4):
        Patient.objects.create(clinic=cast.clinic)
    whole = client.get(PATIENTS)
    assert (whole["X-Total-Count"], "Link" in whole) == ("6", False)
    part = client.get(f"{PATIENTS}?limit=4&offset=1")
    assert part.json() == whole.json()[1:5]
    assert part["Link"] == (
        f'<http://testserver{PATIENTS}?limit=4&offset=0>; rel="prev", '
        f'<http://testserver{PATIENTS}?limit=4&offset=5>; rel="next"'
    )
    code = whole.json()[3]["code"]
    assert [row["code"] for row in client.get(f"{PATIENTS}?code={code}").json()] == [code]


def test_a_therapist_reads_their_own_therapies_and_enters_nothing(cast: Cast) -> None:
    therapist = signed_in(cast.therapist)
    assert [row["code"] for row in therapist.get(THERAPIES).json()] == [cast.therapy.code]
    assert therapist.get(PATIENTS).status_code == 403
    sent = {"held_at": an_hour_ago(), "status": "held"}
    assert post(therapist, log_of(cast.therapy), sent).status_code == 403


def test_a_log_says_what_became_of_each_form_and_no_answer(cast: Cast, client: Client) -> None:
    session = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(session, "patient"), 6, sharing="answers")
    own = factories.form_of(session, "therapist")

    def states() -> dict[str, str]:
        answer = client.get(reverse("api-session", args=[session.pk]))
        assert "6" not in json.dumps([row["state"] for row in answer.json()["forms"]])
        assert {frozenset(row) for row in answer.json()["forms"]} == {
            frozenset({"id", "rater", "instrument", "state", "closes_at"})
        }
        return {row["rater"]: row["state"] for row in answer.json()["forms"]}

    assert states() == {"patient": "received", "therapist": "due"}
    then = timezone.now() - timedelta(days=9)
    Assignment.objects.filter(pk=own.pk).update(opens_at=then, closes_at=then + timedelta(hours=1))
    assert states()["therapist"] == "missed"
    Assignment.objects.filter(pk=own.pk).update(state=Assignment.State.DECLINED)
    assert states()["therapist"] == "no_rating"


def test_addresses_and_methods_that_are_not_there_answer_in_json(cast: Cast, client: Client) -> None:
    for answer, status in (
        (client.get("/api/v1/nothing/"), 404),
        (client.get("/api/v1/patients/x/"), 404),
        (client.delete(PATIENTS), 405),
        (client.get(PATIENTS, headers={"accept": "text/html"}), 406),
        (client.get(f"{PATIENTS}?a=%00"), 400),
    ):
        assert answer.status_code == status and answer["Content-Type"] == JSON
    assert client.delete(PATIENTS)["Allow"] == "GET, HEAD, POST"
