"""Storing a form: once, whole, with its trace, whoever sends it at the same moment."""

import threading
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, connections

from surveys.models import AuditEvent, DraftAnswer, Job, Response, Score
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
