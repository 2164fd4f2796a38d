"""A therapist's own form: the same pages as a patient's, behind the sign-in."""

from datetime import timedelta

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from surveys.models import Assignment, Opening, Response
from tests import factories
from tests.conftest import Cast, signed_in


@pytest.fixture
def patient_form(cast: Cast) -> Assignment:
    return factories.form_of(factories.hold_session(cast.therapy), "patient")


@pytest.fixture
def therapist_form(patient_form: Assignment) -> Assignment:
    return factories.form_of(patient_form.session, "therapist")


def send(client: Client, assignment: Assignment, **fields: str) -> HttpResponse:
    answers = {f"item_{number}": "6" for number in range(1, 13)}
    key = Opening.objects.get(assignment=assignment).client_key
    sent = {**answers, "key": key, "version": assignment.instrument_id, "send": "send", **fields}
    return client.post(f"/f/{assignment.pk}/send/", sent)


def start(cast: Cast, assignment: Assignment) -> Client:
    client = signed_in(cast.therapist)
    answer = client.post(f"/forms/{assignment.pk}/start/")
    assert (answer.status_code, answer["Location"]) == (303, f"/f/{assignment.pk}/")
    return client


def test_a_therapist_fills_their_own_form_with_the_staff_navigation(
    cast: Cast, therapist_form: Assignment
) -> None:
    client = start(cast, therapist_form)
    page = client.get(f"/f/{therapist_form.pk}/").content.decode()
    assert "<nav" in page
    assert 'name="sharing"' not in page
    answer = send(client, therapist_form, sharing="answers")
    response = Response.objects.get()
    assert (response.channel, response.sharing, response.with_staff_session) == ("staff", "none", False)
    receipt = client.get(answer["Location"]).content.decode()
    assert f'href="/therapies/{therapist_form.session.therapy_id}/"' in receipt
    assert 'href="/caseload/"' in receipt
    assert "If the patient has shared a rating of this session, it shows now" in receipt


def test_the_receipt_does_not_promise_what_the_study_or_another_form_still_holds_back(
    cast: Cast, therapist_form: Assignment
) -> None:
    client = start(cast, therapist_form)
    receipt = send(client, therapist_form)["Location"]
    other = Assignment.objects.create(
        study=cast.study,
        version=therapist_form.version,
        session=therapist_form.session,
        rater="therapist",
        instrument=factories.instrument("dpccq-feelings", "therapist"),
        opens_at=therapist_form.opens_at,
        closes_at=therapist_form.closes_at,
    )
    assert "it shows now" not in client.get(receipt).content.decode()
    other.delete()
    assert "it shows now" in client.get(receipt).content.decode()
    factories.set_visibility(cast.study, "delayed")
    assert "it shows now" not in client.get(receipt).content.decode()


def test_a_therapist_is_offered_the_next_form_after_sending(cast: Cast, therapist_form: Assignment) -> None:
    later = factories.hold_session(cast.therapy, timezone.now() - timedelta(minutes=5))
    client = start(cast, therapist_form)
    receipt = client.get(send(client, therapist_form)["Location"]).content.decode()
    assert f'action="/forms/{factories.form_of(later, "therapist").pk}/start/"' in receipt


def test_a_therapist_cannot_reach_the_form_of_a_colleague_or_of_the_patient(
    cast: Cast, patient_form: Assignment, therapist_form: Assignment
) -> None:
    start(cast, therapist_form)
    factories.open_form(patient_form)
    colleague = signed_in(cast.colleague)
    assert colleague.post(f"/forms/{therapist_form.pk}/start/").status_code == 404
    assert colleague.get(f"/f/{therapist_form.pk}/").status_code == 404
    therapist = signed_in(cast.therapist)
    assert therapist.post(f"/forms/{patient_form.pk}/start/").status_code == 404
    assert therapist.get(f"/f/{patient_form.pk}/").status_code == 404
    therapist.cookies["__Host-browser"] = "s" * 43
    assert therapist.get(f"/f/{patient_form.pk}/").status_code == 404


def test_a_therapist_signed_out_has_no_form(cast: Cast, therapist_form: Assignment) -> None:
    client = start(cast, therapist_form)
    client.logout()
    assert client.get(f"/f/{therapist_form.pk}/").status_code == 404


def test_a_therapist_is_told_when_a_form_is_closed(cast: Cast, therapist_form: Assignment) -> None:
    Assignment.objects.filter(pk=therapist_form.pk).update(
        opens_at=timezone.now() - timedelta(days=9), closes_at=timezone.now() - timedelta(days=7)
    )
    answer = signed_in(cast.therapist).post(f"/forms/{therapist_form.pk}/start/")
    assert answer.status_code == 410
    assert not Opening.objects.exists()


def test_a_therapist_who_begins_a_sent_form_again_is_thanked(cast: Cast, therapist_form: Assignment) -> None:
    send(start(cast, therapist_form), therapist_form)
    answer = signed_in(cast.therapist).post(f"/forms/{therapist_form.pk}/start/")
    assert answer.status_code == 200
    assert "Your form was received" in answer.content.decode()
    assert Response.objects.count() == 1


def test_what_an_account_before_theirs_began_of_a_therapist_s_form_stays_closed(
    cast: Cast, therapist_form: Assignment
) -> None:
    factories.open_form(therapist_form, user=cast.colleague)
    client = signed_in(cast.therapist)
    assert client.get(f"/f/{therapist_form.pk}/").status_code == 404
    client.post(f"/forms/{therapist_form.pk}/start/")
    assert client.get(f"/f/{therapist_form.pk}/").status_code == 200


@pytest.mark.parametrize("is_signed_in", [False, True])
def test_no_browser_opens_the_form_of_another_therapist(
    cast: Cast, therapist_form: Assignment, is_signed_in: bool
) -> None:
    secret = "s" * 43
    factories.open_form(therapist_form, browser=secret)
    client = signed_in(cast.colleague) if is_signed_in else Client()
    client.cookies["__Host-browser"] = secret
    assert client.get(f"/f/{therapist_form.pk}/").status_code == 404
    assert client.post(f"/f/{therapist_form.pk}/answers/", {"item_1": "7"}).status_code == 404
