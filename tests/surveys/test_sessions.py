"""The session log: numbers and due forms follow from what was held, never from the order of entry."""

import itertools
import threading
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connections, transaction
from django.test import Client
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, Job, Response, Session, Therapy
from surveys.services.assignments import trait_form_assign
from surveys.services.invitations import link_issue
from surveys.services.sessions import (
    Entry,
    SessionExists,
    session_close,
    sessions_close,
)
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db
NOW = timezone.now().replace(microsecond=0)


def day(number: int) -> datetime:
    return NOW - timedelta(days=60 - number)


def numbers(therapy: Therapy) -> list[tuple[datetime, int | None]]:
    return list(therapy.sessions.order_by("held_at").values_list("held_at", "number"))


def asked(therapy: Therapy) -> set[tuple[datetime, str]]:
    rows = Assignment.objects.filter(session__therapy=therapy)
    return set(rows.values_list("session__held_at", "rater"))


LOG = [(day(1), "held"), (day(8), "cancelled"), (day(15), "held"), (day(22), "no_show"), (day(29), "held")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(5)))[::17])
def test_any_order_of_entry_gives_the_same_log_and_the_same_forms(cast: Cast, order: tuple[int, ...]) -> None:
    factories.replan(cast.study, sessions=[2, 3])
    for place in order:
        session_close(therapy=cast.therapy, held_at=LOG[place][0], status=LOG[place][1])
    assert numbers(cast.therapy) == [(day(1), 1), (day(8), None), (day(15), 2), (day(22), None), (day(29), 3)]
    expected = {(when, rater) for when in (day(15), day(29)) for rater in ("patient", "therapist")}
    assert asked(cast.therapy) == expected


def test_sessions_entered_together_are_those_entered_one_by_one(cast: Cast) -> None:
    sessions_close(therapy=cast.therapy, entries=[Entry(*line) for line in LOG])
    for when, status in LOG:
        session_close(therapy=cast.colleague_therapy, held_at=when, status=status)
    assert numbers(cast.therapy) == numbers(cast.colleague_therapy)
    assert asked(cast.therapy) == asked(cast.colleague_therapy)
    assert AuditEvent.objects.filter(act="session.close").count() == 2 * len(LOG)


def test_a_session_cannot_stand_twice_in_the_log(cast: Cast) -> None:
    session_close(therapy=cast.therapy, held_at=day(1), status="held")
    with pytest.raises(SessionExists):
        session_close(therapy=cast.therapy, held_at=day(1), status="cancelled")
    assert cast.therapy.sessions.count() == 1


def test_a_session_of_the_doubled_hour_cannot_stand_twice_either(cast: Cast) -> None:
    when = datetime(2025, 10, 26, 2, 30, tzinfo=ZoneInfo("Europe/Zurich"))
    session_close(therapy=cast.therapy, held_at=when, status="held")
    with pytest.raises(SessionExists):
        session_close(therapy=cast.therapy, held_at=when, status="held")
    session_close(therapy=cast.therapy, held_at=when.replace(fold=1), status="held")
    assert [number for _, number in numbers(cast.therapy)] == [1, 2]


def states(session: Session) -> dict[str, str]:
    return dict(Assignment.objects.filter(session=session).values_list("rater", "state"))


def test_a_late_entry_withdraws_forms_that_nobody_began_and_asks_again_when_they_are_due(cast: Cast) -> None:
    factories.replan(cast.study, sessions=[1, 3], window_hours=24 * 90)
    first = session_close(therapy=cast.therapy, held_at=day(15), status="held").session
    link = link_issue(assignment=factories.form_of(first, "patient"))
    session_close(therapy=cast.therapy, held_at=day(8), status="held")
    assert states(first) == {"patient": "withdrawn", "therapist": "withdrawn"}
    assert Client().get(f"/r/{link}/").status_code == 200, "the link says that nothing is left to do"
    session_close(therapy=cast.therapy, held_at=day(1), status="held")
    assert states(first) == {"patient": "due", "therapist": "due"}, "it is session 3 now"


def test_a_session_at_which_somebody_has_begun_keeps_all_its_forms(cast: Cast) -> None:
    """Otherwise an invented earlier session would take the therapist's form away and show the rating."""
    factories.replan(cast.study, sessions=[1], window_hours=24 * 90)
    first = session_close(therapy=cast.therapy, held_at=day(15), status="held").session
    response = factories.give(factories.form_of(first, "patient"))
    session_close(therapy=cast.therapy, held_at=day(1), status="held")
    assert states(first) == {"patient": "submitted", "therapist": "due"}
    assert Response.objects.get(pk=response.pk).reveal_at is None
    factories.give(factories.form_of(first, "therapist"), user=cast.therapist)
    assert Response.objects.get(pk=response.pk).reveal_at is not None


def test_renumbering_asks_for_a_new_fit_and_a_new_session_alone_does_not(cast: Cast) -> None:
    session_close(therapy=cast.therapy, held_at=day(15), status="held")
    assert not Job.objects.exists()
    session_close(therapy=cast.therapy, held_at=day(1), status="held")
    assert Job.objects.filter(kind="refit", scope=str(cast.study.pk)).count() == 1


def test_a_form_about_practice_is_asked_for_once_per_period(cast: Cast) -> None:
    wanted = {
        "therapist": cast.therapy.therapist,
        "study": cast.study,
        "instrument": factories.instrument("dpccq-feelings-general", "therapist"),
    }
    first = trait_form_assign(period="2026", **wanted)
    assert trait_form_assign(period="2026", **wanted) == first
    assert trait_form_assign(period="2027", **wanted) != first


@pytest.mark.django_db(transaction=True)
def test_a_late_entry_and_forms_being_sent_wait_for_each_other(cast: Cast) -> None:
    factories.replan(cast.study, sessions=list(range(1, 30)), window_hours=24 * 90)
    held = [session_close(therapy=cast.therapy, held_at=day(20 + n), status="held").session for n in range(8)]
    errors: list[Exception] = []

    def run(work: list) -> None:
        try:
            for step in work:
                step()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    def enter(n: int) -> Session:
        return session_close(therapy=cast.therapy, held_at=day(n), status="held").session

    def send(session: Session, rater: str) -> Response:
        user = cast.therapist if rater == "therapist" else None
        return factories.give(factories.form_of(session, rater), user=user)

    # Forms that a late entry would withdraw before they are begun are none here: the plan asks for all.
    work = [
        [lambda n=n: enter(n) for n in range(1, 9)],
        [lambda s=s: send(s, "patient") for s in held],
        [lambda s=s: send(s, "therapist") for s in held],
    ]
    threads = [threading.Thread(target=run, args=(steps,)) for steps in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert [number for _, number in numbers(cast.therapy)] == list(range(1, 17))
    assert Response.objects.filter(assignment__rater="patient", reveal_at=None).count() == 0
    assert Response.objects.count() == 16


def test_rows_of_two_clinics_cannot_be_joined(cast: Cast) -> None:
    session = factories.hold_session(cast.therapy)
    form = factories.form_of(session, "patient")
    for change in (
        lambda: Therapy.objects.filter(pk=cast.therapy.pk).update(study=cast.stranger_study),
        lambda: Therapy.objects.filter(pk=cast.therapy.pk).update(patient=cast.stranger_therapy.patient),
        lambda: Assignment.objects.filter(pk=form.pk).update(study=cast.stranger_study),
        lambda: Assignment.objects.filter(pk=form.pk).update(rater="therapist"),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
