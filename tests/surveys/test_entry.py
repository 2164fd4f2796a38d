"""Many sessions or forms at once leave what one after another would have left."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from surveys.models import Assignment, AuditEvent, Job, Opening, Response, Session, Therapy
from surveys.services.entry import FilledForm, responses_enter
from surveys.services.responses import AlreadyReceived, FormClosed, Paradata, form_open, response_submit
from surveys.services.sessions import Entry, SessionExists, session_close, sessions_close
from tests import factories
from tests.conftest import Cast

ONE = {1: 6, 2: 5, 3: 7, 4: 1, 5: 6, 6: 5, 7: 6, 8: 4, 9: 7, 10: 3, 11: 5, 12: 6}
PAPER = Paradata(device="desktop", channel="staff")


def entries() -> list[tuple[datetime, str]]:
    start = timezone.now() - timedelta(days=60)
    statuses = ["held", "cancelled", "held", "no_show", "held"]
    return [(start + timedelta(days=7 * week), status) for week, status in enumerate(statuses)]


def logged(therapy: Therapy) -> list[tuple[object, ...]]:
    start = entries()[0][0].date()
    forms = Assignment.objects.filter(session__therapy=therapy).order_by("session__number", "rater")
    return [
        *(
            (row.held_at.date() - start, row.number, row.status)
            for row in therapy.sessions.order_by("held_at")
        ),
        *((row.opens_at.date() - start, row.closes_at - row.opens_at, row.rater, row.state) for row in forms),
    ]


def test_a_list_of_sessions_leaves_the_log_that_one_by_one_leaves(cast: Cast) -> None:
    for at, status in entries()[::-1]:
        session_close(therapy=cast.colleague_therapy, held_at=at, status=status)
    lines = [Entry(*line) for line in entries()]
    later = sessions_close(therapy=cast.therapy, entries=lines[2:], actor=cast.therapist)
    first = sessions_close(therapy=cast.therapy, entries=lines[:2], actor=cast.therapist)
    assert logged(cast.therapy) == logged(cast.colleague_therapy)
    assert len(logged(cast.therapy)) == 5 + 6
    events = AuditEvent.objects.filter(act="session.close", actor=cast.therapist).order_by("id")
    assert [(event.subject, event.detail) for event in events] == [
        (f"session:{row.pk}", {"status": row.status}) for row in [*later.sessions, *first.sessions]
    ]


def test_a_list_with_a_time_that_is_taken_enters_nothing(cast: Cast) -> None:
    first, *others = entries()
    session_close(therapy=cast.therapy, held_at=first[0], status="held")
    for bad in ([*others, first], [others[0], others[0]]):
        with pytest.raises(SessionExists):
            sessions_close(therapy=cast.therapy, entries=[Entry(*line) for line in bad])
    assert Session.objects.count() == 1


def filled(form: Assignment, answers: dict[int, int], hours: int, sharing: str = "none") -> FilledForm:
    sent = form.opens_at + timedelta(hours=hours)
    return FilledForm(
        assignment_id=form.pk,
        answers=answers,
        opened_at=sent - timedelta(minutes=4),
        submitted_at=sent,
        browser_hash="b" * 64,
        paradata=PAPER,
        sharing=sharing,
    )


def send(form: FilledForm) -> Response:
    opening = form_open(
        assignment_id=form.assignment_id,
        browser_hash=form.browser_hash,
        device=form.paradata.device,
        at=form.opened_at,
    )
    return response_submit(
        opening=opening,
        answers=form.answers,
        sharing=form.sharing,
        client_key=opening.client_key,
        paradata=form.paradata,
        at=form.submitted_at,
    )


def forms_of(therapy: Therapy) -> list[FilledForm]:
    """Both raters in either order, a patient alone, and a therapist who declined."""
    start = timezone.now() - timedelta(days=2)
    held = [Entry(start + timedelta(hours=hour), "held") for hour in range(3)]
    one, two, three = sessions_close(therapy=therapy, entries=held).sessions
    return [
        filled(factories.form_of(one, "patient"), ONE, 1, "answers"),
        filled(factories.form_of(one, "therapist"), ONE | {4: -99}, 2),
        filled(factories.form_of(two, "therapist"), {}, 1),
        filled(factories.form_of(two, "patient"), {1: 4}, 3, "scores"),
        filled(factories.form_of(three, "patient"), ONE, 2, "none"),
    ]


def stored(therapy: Therapy) -> list[tuple[object, ...]]:
    rows = []
    for row in Response.objects.filter(assignment__session__therapy=therapy).order_by("id"):
        opens_at = row.assignment.opens_at
        rows.append(
            (
                row.assignment.session.number,
                row.assignment.rater,
                row.assignment.state,
                row.answers,
                row.sharing,
                row.device,
                row.channel,
                row.started_at - opens_at,
                row.submitted_at - opens_at,
                row.reveal_at and row.reveal_at - opens_at,
                row.client_key == row.assignment.openings.get().client_key,
                [*row.scores.order_by("scale").values_list("scale", "mean", "n_answered", "scoring_version")],
            )
        )
    return sorted(rows, key=str)


def test_a_list_of_forms_leaves_the_rows_that_one_by_one_leaves(cast: Cast) -> None:
    for form in forms_of(cast.colleague_therapy):
        send(form)
    one_by_one = stored(cast.colleague_therapy)
    Job.objects.all().delete()
    responses_enter(study=cast.study, forms=forms_of(cast.therapy), actor=cast.therapist)
    assert stored(cast.therapy) == one_by_one
    assert len(one_by_one) == 5
    assert {row[9] is None for row in one_by_one if row[1] == "patient"} == {True, False}
    events = AuditEvent.objects.filter(act="response.submit", actor=cast.therapist)
    keys = Response.objects.filter(assignment__session__therapy=cast.therapy).values_list("pk", flat=True)
    assert {event.subject for event in events} == {f"response:{key}" for key in keys}
    assert Job.objects.get(kind="refit", state="pending").scope == str(cast.study.pk)


def test_a_form_that_was_received_or_is_closed_stops_the_whole_list(cast: Cast) -> None:
    forms = forms_of(cast.therapy)
    late = filled(Assignment.objects.get(pk=forms[1].assignment_id), ONE, 24 * 30)
    for bad, error in (([*forms, forms[0]], AlreadyReceived), ([forms[0], late], FormClosed)):
        with pytest.raises(error):
            responses_enter(study=cast.study, forms=bad)
    assert not Response.objects.exists()
    assert not Opening.objects.exists()
    assert set(Assignment.objects.values_list("state", flat=True)) == {"due"}


def test_a_form_of_another_study_is_refused_and_nothing_is_stored(cast: Cast) -> None:
    own = factories.form_of(factories.hold_session(cast.therapy), "patient")
    other = factories.form_of(factories.hold_session(cast.stranger_therapy), "patient")
    with pytest.raises(ValueError, match="another study"):
        responses_enter(study=cast.study, forms=[filled(own, ONE, 1), filled(other, ONE, 1)])
    assert not Response.objects.exists()
