"""The plan: which session has which number, and which forms are due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveys.planning import (
    CANCELLED,
    HELD,
    NO_SHOW,
    DueForm,
    LoggedSession,
    PlanLine,
    due_forms,
    number_sessions,
)

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
STUDY_PLAN = (
    PlanLine("patient", "wai-s", sessions=(3, 12, 20, 40), window_hours=48),
    PlanLine("therapist", "wai-s", sessions=(3, 12, 20, 40), window_hours=72),
)


def on_day(day: int, status: str = HELD, session_id: int | None = None) -> LoggedSession[int]:
    number = day if session_id is None else session_id
    return LoggedSession(id=number, held_at=START + timedelta(days=day), status=status)


def due_at(plan, log, arm=""):
    return [(form.number, form.rater, form.instrument) for form in due_forms(plan, log, arm)]


logs = st.lists(
    st.builds(on_day, st.integers(0, 60), st.sampled_from([HELD, CANCELLED, NO_SHOW]), st.integers(1, 10**6)),
    unique_by=lambda session: session.id,
    max_size=50,
)
log_and_shuffled = logs.flatmap(lambda log: st.tuples(st.just(log), st.permutations(log)))


def test_held_sessions_are_numbered_by_time():
    assert number_sessions([on_day(14), on_day(0), on_day(7)]) == {0: 1, 7: 2, 14: 3}


def test_cancelled_sessions_and_no_shows_have_no_number():
    log = [on_day(0), on_day(7, CANCELLED), on_day(14, NO_SHOW), on_day(21)]
    assert number_sessions(log) == {0: 1, 21: 2}


def test_sessions_at_the_same_time_are_numbered_by_id():
    assert number_sessions([on_day(1, session_id=9), on_day(1, session_id=4)]) == {4: 1, 9: 2}


def test_time_decides_across_time_zones():
    later = LoggedSession("b", datetime.fromisoformat("2026-03-01T09:00+00:00"), HELD)
    earlier = LoggedSession("a", datetime.fromisoformat("2026-03-01T09:30+01:00"), HELD)
    assert number_sessions([later, earlier]) == {"a": 1, "b": 2}


def test_a_session_entered_twice_is_refused():
    with pytest.raises(ValueError, match="stands twice in the log"):
        number_sessions([on_day(0), on_day(0)])
    with pytest.raises(ValueError, match="stands twice in the log"):
        due_forms(STUDY_PLAN, [on_day(0), on_day(7, CANCELLED, session_id=0)], "")


@given(log_and_shuffled)
def test_the_order_of_entry_never_matters(pair):
    log, shuffled = pair
    plan = (*STUDY_PLAN, PlanLine("patient", "wai-sr", every=2, window_hours=24))
    assert number_sessions(log) == number_sessions(shuffled)
    assert due_forms(plan, log, "") == due_forms(plan, shuffled, "")


@given(logs)
def test_only_held_sessions_advance_the_number(log):
    held = [session for session in log if session.status == HELD]
    plan = (PlanLine("patient", "wai-s", every=1, window_hours=24),)
    assert number_sessions(log) == number_sessions(held)
    assert sorted(number_sessions(log).values()) == list(range(1, len(held) + 1))
    assert due_forms(plan, log, "") == due_forms(plan, held, "")
    assert {form.session_id for form in due_forms(plan, log, "")} == {session.id for session in held}


def test_listed_sessions_give_one_form_for_each_rater():
    log = [on_day(day) for day in range(13)]
    assert due_at(STUDY_PLAN, log) == [
        (3, "patient", "wai-s"),
        (3, "therapist", "wai-s"),
        (12, "patient", "wai-s"),
        (12, "therapist", "wai-s"),
    ]


def test_an_interval_asks_at_its_multiples():
    log = [on_day(day) for day in range(9)]
    plan = [PlanLine("patient", "wai-s", every=4, window_hours=48)]
    assert due_at(plan, log) == [(4, "patient", "wai-s"), (8, "patient", "wai-s")]
    assert len(due_forms([PlanLine("patient", "wai-s", every=1, window_hours=48)], log, "")) == 9


def test_a_form_is_open_from_its_session_to_the_end_of_the_window():
    log = [on_day(0), on_day(7), on_day(14)]
    assert due_forms(STUDY_PLAN[:1], log, "") == (
        DueForm(
            session_id=14,
            number=3,
            rater="patient",
            instrument="wai-s",
            opens_at=START + timedelta(days=14),
            closes_at=START + timedelta(days=16),
        ),
    )


@pytest.mark.parametrize("windows", [(24, 72), (72, 24)])
def test_two_lines_for_the_same_form_give_one_with_the_longer_window(windows):
    plan = [
        PlanLine("patient", "wai-s", sessions=(1,), window_hours=windows[0]),
        PlanLine("patient", "wai-s", every=1, window_hours=windows[1]),
    ]
    (form,) = due_forms(plan, [on_day(0)], "")
    assert form.closes_at - form.opens_at == timedelta(hours=72)


def test_raters_and_instruments_of_one_session_stay_apart():
    plan = [
        PlanLine("therapist", "wai-s", every=1, window_hours=24),
        PlanLine("therapist", "dpccq-feelings", every=1, window_hours=24),
        PlanLine("patient", "wai-s", every=1, window_hours=24),
    ]
    assert due_at(plan, [on_day(0)]) == [
        (1, "patient", "wai-s"),
        (1, "therapist", "dpccq-feelings"),
        (1, "therapist", "wai-s"),
    ]


def test_a_line_of_an_arm_holds_only_for_therapies_of_that_arm():
    plan = [
        PlanLine("patient", "wai-s", every=1, window_hours=24),
        PlanLine("patient", "wai-sr", every=1, arm="weekly", window_hours=24),
    ]
    assert due_at(plan, [on_day(0)], "weekly") == [(1, "patient", "wai-s"), (1, "patient", "wai-sr")]
    assert due_at(plan, [on_day(0)], "usual") == [(1, "patient", "wai-s")]
    assert due_at(plan, [on_day(0)], "") == [(1, "patient", "wai-s")]


def test_nothing_is_due_without_a_plan_or_without_sessions():
    assert due_forms([], [on_day(0)], "") == ()
    assert due_forms(STUDY_PLAN, [], "") == ()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"rater": "nurse", "every": 1}, "rater must be one of: patient, therapist"),
        ({"instrument": "", "every": 1}, "names no instrument"),
        ({}, "either session numbers or an interval"),
        ({"sessions": (3,), "every": 2}, "either session numbers or an interval"),
        ({"sessions": (0, 3)}, "between 1 and 10000"),
        ({"sessions": (10_001,)}, "between 1 and 10000"),
        ({"sessions": (3, 3)}, "stands twice"),
        ({"every": 0}, "interval must lie between"),
        ({"every": 10_001}, "interval must lie between"),
        ({"every": 1, "window_hours": 0}, "window must lie between"),
        ({"every": 1, "window_hours": 366 * 24 + 1}, "window must lie between"),
    ],
)
def test_a_bad_plan_line_is_refused(line, sentence):
    with pytest.raises(ValueError, match=sentence):
        PlanLine(**({"rater": "patient", "instrument": "wai-s", "window_hours": 48} | line))


def test_a_log_line_needs_a_known_status_and_a_time_zone():
    with pytest.raises(ValueError, match="one of: held, cancelled, no_show"):
        LoggedSession(1, START, "moved")
    with pytest.raises(ValueError, match="needs a time zone"):
        LoggedSession(1, START.replace(tzinfo=None), HELD)
