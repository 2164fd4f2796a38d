"""Storing a form: once, whole, with its trace, whoever sends it at the same moment."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, connections
from django.test import Client

from surveys.models import AuditEvent, DraftAnswer, Job, Opening, Response, Score
from surveys.services.responses import (
    AlreadyReceived,
    DifferentAnswers,
    Paradata,
    WrongKey,
    drafts_save,
    response_submit,
)
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)
PARADATA = Paradata(device="phone", channel="link")


def all_at_once(work: list[Callable[[], object]]) -> list[object]:
    """Runs everything from one barrier; gives each result or the exception in its place."""
    barrier, results = threading.Barrier(len(work)), [None] * len(work)

    def run(place: int) -> None:
        try:
            barrier.wait(20)
            results[place] = work[place]()
        except Exception as error:
            results[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_twenty_sendings_of_one_form_are_one_response(cast: Cast) -> None:
    opening = factories.open_form(factories.form_of(factories.hold_session(cast.therapy), "patient"))
    answers = dict.fromkeys(range(1, 13), 5)

    def send() -> object:
        return response_submit(
            opening=opening,
            answers=answers,
            sharing="scores",
            client_key=opening.client_key,
            paradata=PARADATA,
        ).pk

    results = all_at_once([send] * 20)
    assert len(set(results)) == 1
    assert Response.objects.count() == 1
    assert Score.objects.count() == 4
    assert AuditEvent.objects.filter(act="response.submit").count() == 1
    assert Job.objects.filter(state="pending").count() == 1


@pytest.mark.slow
def test_a_hundred_forms_sent_twenty_times_at_once_with_mixed_keys_are_a_hundred_responses(
    cast: Cast,
) -> None:
    """Half of them are sent twenty times by one browser, which leads to one receipt each; the others once
    by twenty browsers each, of which one is first and nineteen are told so. Nothing ever fails."""
    outcomes = []
    for place in range(100):
        therapy = factories.make_therapy(cast.study)
        form = factories.form_of(factories.hold_session(therapy), "patient")
        secrets = [f"{n if place % 2 else 0:043}" for n in range(20)]
        openings = [factories.open_form(form, browser=secret) for secret in secrets]

        def send(secret: str, opening: Opening) -> tuple[int, str]:
            client = Client()
            client.cookies["__Host-browser"] = secret
            answers = {f"item_{number}": "4" for number in range(1, 13)}
            fields = {"key": opening.client_key, "version": opening.assignment.instrument_id}
            url = f"/f/{opening.assignment_id}/"
            answer = client.post(f"{url}send/", {**answers, **fields, "sharing": "none", "send": "send"})
            return answer.status_code, answer.get("Location", "").removeprefix(url)

        work = [partial(send, *pair) for pair in zip(secrets, openings, strict=True)]
        outcomes.append(Counter(all_at_once(work)))
    same_key = Counter({(303, "receipt/"): 20})
    other_keys = Counter({(303, "receipt/"): 1, (409, ""): 19})
    assert outcomes == [same_key, other_keys] * 50
    assert Response.objects.count() == 100
    assert AuditEvent.objects.filter(act="response.submit").count() == 100


def test_of_many_browsers_the_first_one_counts(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    openings = [factories.open_form(form, browser=f"browser {n}") for n in range(8)]
    work = [
        lambda opening=opening, value=value: response_submit(
            opening=opening,
            answers=dict.fromkeys(range(1, 13), value % 7 + 1),
            sharing="none",
            client_key=opening.client_key,
            paradata=PARADATA,
        )
        for value, opening in enumerate(openings)
    ]
    results = all_at_once(work)
    assert sum(isinstance(result, Response) for result in results) == 1
    assert sum(isinstance(result, AlreadyReceived) for result in results) == 7


def test_two_raters_who_send_at_the_same_moment_are_revealed(cast: Cast) -> None:
    for _ in range(5):
        therapy = factories.make_therapy(cast.study, cast.therapist)
        session = factories.hold_session(therapy)
        mine, theirs = factories.form_of(session, "therapist"), factories.form_of(session, "patient")
        all_at_once(
            [
                lambda form=mine: factories.give(form, user=cast.therapist),
                lambda form=theirs: factories.give(form),
            ]
        )
    assert Response.objects.filter(assignment__rater="patient").count() == 5
    assert not Response.objects.filter(assignment__rater="patient", reveal_at=None).exists()


def test_nothing_is_stored_when_its_trace_cannot_be_written(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE surveys_auditevent ADD CONSTRAINT no_trace CHECK (act <> 'response.submit')"
        )
    try:
        with pytest.raises(DatabaseError, match="no_trace"):
            factories.give(form)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE surveys_auditevent DROP CONSTRAINT no_trace")
    assert not Response.objects.exists()
    assert not Job.objects.exists()
    form.refresh_from_db()
    assert form.state == "opened"


def test_other_answers_under_the_same_key_are_refused_and_the_first_kept(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    opening = factories.open_form(form)

    def send(value: int, key: UUID) -> Response:
        answers = dict.fromkeys(range(1, 13), value)
        return response_submit(
            opening=opening, answers=answers, sharing="none", client_key=key, paradata=PARADATA
        )

    first = send(5, opening.client_key)
    assert send(5, opening.client_key) == first
    with pytest.raises(DifferentAnswers):
        send(6, opening.client_key)
    with pytest.raises(WrongKey):
        send(5, uuid4())
    assert set(Response.objects.get().answers.values()) == {5}


def test_answers_of_another_device_are_part_of_the_response(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    drafts_save(opening=factories.open_form(form, browser="phone"), answers={1: 2, 2: 3})
    factories.give(form, {3: 4})
    stored = Response.objects.get().answers
    assert (stored["1"], stored["2"], stored["3"], stored["4"]) == (2, 3, 4, -99)
    assert not DraftAnswer.objects.exists()
