"""The plan: which session has which number, and which forms are due."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

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
    PlanVersion,
    due_forms,
    number_sessions,
    trait_period,
)

ZURICH = ZoneInfo("Europe/Zurich")
START = datetime(2026, 1, 5, 9, tzinfo=UTC)
STUDY_PLAN = (
    PlanLine("patient", "wai-s", sessions=(3, 12, 20, 40), window_hours=48),
    PlanLine("therapist", "wai-s", sessions=(3, 12, 20, 40), window_hours=72),
)


def on_day(day: int, status: str = HELD, session_id: int | None = None) -> LoggedSession[int]:
    number = day if session_id is None else session_id
    return LoggedSession(id=number, held_at=START + timedelta(days=day), status=status)


def as_plan(lines, since=START):
    return (PlanVersion(since, tuple(lines)),)


def due_at(lines, log, arm=""):
    return [(form.number, form.rater, form.instrument) for form in due_forms(as_plan(lines), log, arm)]


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


@pytest.mark.parametrize("change", ["2026-03-29", "2026-10-25"])
def test_hours_are_those_that_pass_whatever_the_clock_on_the_wall_does(change):
    eve = datetime.fromisoformat(f"{change}T14:00").replace(tzinfo=ZURICH) - timedelta(days=1)
    session = LoggedSession("a", eve, HELD)
    plan = (PlanVersion(eve - timedelta(days=9), (PlanLine("patient", "wai-s", every=1, window_hours=48),)),)
    (form,) = due_forms(plan, [session], "")
    assert form.closes_at.astimezone(UTC) - form.opens_at.astimezone(UTC) == timedelta(hours=48)
    assert due_forms(plan, [LoggedSession("a", eve.astimezone(UTC), HELD)], "") == (form,)


def test_two_sessions_of_the_doubled_hour_stand_in_their_order():
    first = datetime(2026, 10, 25, 2, 45, tzinfo=ZURICH)
    second = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZURICH)
    log = [LoggedSession("b", second, HELD), LoggedSession("a", first, HELD)]
    assert number_sessions(log) == {"a": 1, "b": 2}


def test_a_session_entered_twice_is_refused():
    with pytest.raises(ValueError, match="stands twice in the log"):
        number_sessions([on_day(0), on_day(0)])
    with pytest.raises(ValueError, match="stands twice in the log"):
        due_forms(as_plan(STUDY_PLAN), [on_day(0), on_day(7, CANCELLED, session_id=0)], "")


@given(log_and_shuffled)
def test_the_order_of_entry_never_matters(pair):
    log, shuffled = pair
    plan = as_plan([*STUDY_PLAN, PlanLine("patient", "wai-sr", every=2, window_hours=24)])
    assert number_sessions(log) == number_sessions(shuffled)
    assert due_forms(plan, log, "") == due_forms(plan, shuffled, "")


@given(logs)
def test_only_held_sessions_advance_the_number(log):
    held = [session for session in log if session.status == HELD]
    plan = as_plan([PlanLine("patient", "wai-s", every=1, window_hours=24)])
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
    assert len(due_at([PlanLine("patient", "wai-s", every=1, window_hours=48)], log)) == 9


def test_a_form_is_open_from_its_session_to_the_end_of_the_window():
    log = [on_day(0), on_day(7), on_day(14)]
    assert due_forms(as_plan(STUDY_PLAN[:1]), log, "") == (
        DueForm(
            session_id=14,
            number=3,
            occasion=3,
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
    (form,) = due_forms(as_plan(plan), [on_day(0)], "")
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
    assert due_forms(as_plan([]), [on_day(0)], "") == ()
    assert due_forms(as_plan(STUDY_PLAN), [], "") == ()


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
        ({"sessions": (3,), "tolerance": 6}, "tolerance must lie between 0 and 5"),
        ({"sessions": (3,), "tolerance": -1}, "tolerance must lie between 0 and 5"),
        ({"every": 2, "tolerance": 1}, "Only listed sessions have a tolerance"),
        ({"sessions": (3,), "catch_up": True}, "Catching up needs a tolerance"),
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


def test_a_plan_needs_one_version_for_every_moment_and_a_time_zone():
    with pytest.raises(ValueError, match="active from the same moment"):
        due_forms(as_plan([]) + as_plan(STUDY_PLAN), [on_day(0)], "")
    with pytest.raises(ValueError, match="needs a time zone"):
        PlanVersion(START.replace(tzinfo=None), ())


# Tolerance, catch-up and versions. Sessions are a week apart and forms close after two days, so that a
# form of one session is closed at the next.


def weekly(count, first=1):
    """Sessions number `first`, first + 1, … with their own number as id."""
    return [on_day(7 * number, session_id=number) for number in range(first, first + count)]


def line(*sessions, tolerance=0, catch_up=False, hours=48, **fields):
    return PlanLine(
        "patient",
        "wai-s",
        sessions=sessions,
        tolerance=tolerance,
        catch_up=catch_up,
        window_hours=hours,
        **fields,
    )


def asked(lines, log, *received):
    """Number and occasion of every form due; `received` are the ids of sessions whose form was given."""
    forms = due_forms(as_plan(lines), log, "", [(key, "patient", "wai-s") for key in received])
    return [(form.number, form.occasion) for form in forms]


def test_a_missed_form_is_asked_at_the_next_sessions_within_the_tolerance():
    plan = [line(3, tolerance=2, catch_up=True)]
    assert asked(plan, weekly(3)) == [(3, 3)]
    assert asked(plan, weekly(4)) == [(3, 3), (4, 3)]
    assert asked(plan, weekly(9)) == [(3, 3), (4, 3), (5, 3)]


def test_without_catch_up_a_missed_form_is_asked_once():
    assert asked([line(3, tolerance=2)], weekly(9)) == [(3, 3)]


def test_what_was_given_is_not_caught_up():
    plan = [line(3, tolerance=2, catch_up=True)]
    assert asked(plan, weekly(9), 3) == [(3, 3)]
    assert asked(plan, weekly(9), 4) == [(4, 3)]


def test_nothing_is_caught_up_while_the_earlier_form_is_open():
    plan = [line(3, tolerance=2, catch_up=True, hours=24 * 7 + 1)]
    assert asked(plan, weekly(9)) == [(3, 3), (5, 3)], "form 3 is open at session 4 and closed at 5"
    to_the_hour = [line(3, tolerance=2, catch_up=True, hours=24 * 7)]
    assert asked(to_the_hour, weekly(9)) == [(3, 3), (4, 3), (5, 3)]


def test_a_form_given_beside_its_occasion_covers_it_within_the_tolerance():
    """As happens when a late entry or a correction moves the numbers after a form was given."""
    for number, expected in ((1, [(3, 3)]), (2, [(2, 3)]), (4, [(4, 3)]), (5, [(3, 3)])):
        assert asked([line(3, tolerance=1)], weekly(9), number) == expected, number
    assert asked([line(3)], weekly(9), 4) == [(3, 3)]


def test_a_session_stands_for_the_nearest_occasion_only_and_of_two_for_the_earlier():
    plan = [line(3, 5, tolerance=2, catch_up=True)]
    assert asked(plan, weekly(9), 4) == [(4, 3), (5, 5), (6, 5), (7, 5)]
    assert asked(plan, weekly(9), 6) == [(3, 3), (4, 3), (6, 5)]
    assert asked([line(3, 4, tolerance=2, catch_up=True)], weekly(5)) == [(3, 3), (4, 4), (5, 4)]


def test_a_number_of_an_interval_stands_for_itself():
    plan = [line(3, tolerance=1, catch_up=True), PlanLine("patient", "wai-s", every=2, window_hours=24)]
    assert asked(plan, weekly(4)) == [(2, 2), (3, 3), (4, 4)]
    assert asked(plan, weekly(4), 4) == [(2, 2), (3, 3), (4, 4)]


def test_the_lines_of_an_arm_and_of_everybody_share_their_occasions():
    plan = as_plan([line(3, tolerance=1), line(3, tolerance=2, catch_up=True, arm="weekly")])
    for arm, numbers in (("", [3]), ("weekly", [3, 4, 5])):
        assert [form.number for form in due_forms(plan, weekly(9), arm)] == numbers


def test_one_line_catches_up_no_further_than_its_own_tolerance():
    plan = as_plan([line(3, tolerance=1, catch_up=True), line(3, tolerance=2, arm="weekly")])
    assert [form.number for form in due_forms(plan, weekly(9), "weekly")] == [3, 4]


def test_a_form_of_another_rater_or_instrument_covers_nothing():
    plan = as_plan([line(3, tolerance=1)])
    for key in ((2, "therapist", "wai-s"), (2, "patient", "wai-sr")):
        (form,) = due_forms(plan, weekly(4), "", [key])
        assert (form.number, form.occasion) == (3, 3)


def versions(*plans):
    """Versions (first session number that follows it, lines)."""
    return [PlanVersion(START + timedelta(days=7 * number), tuple(lines)) for number, lines in plans]


def numbers_due(plan, log, *received):
    forms = due_forms(plan, log, "", [(key, "patient", "wai-s") for key in received])
    return [(form.number, form.occasion) for form in forms]


def test_a_session_follows_the_version_that_was_active_when_it_was_held():
    plan = versions((2, [line(1, 2)]), (4, [line(3, 4, 5)]))
    assert numbers_due(plan, weekly(6)) == [(2, 2), (4, 4), (5, 5)]
    assert numbers_due(reversed(plan), weekly(6)) == [(2, 2), (4, 4), (5, 5)]


def test_a_later_version_goes_on_catching_up_what_it_plans_too():
    catching = [line(3, tolerance=2, catch_up=True)]
    assert numbers_due(versions((1, catching), (4, catching)), weekly(6)) == [(3, 3), (4, 3), (5, 3)]
    assert numbers_due(versions((1, catching), (4, [line(3)])), weekly(6)) == [(3, 3)]
    assert numbers_due(versions((1, catching), (4, [])), weekly(6)) == [(3, 3)]


def test_a_later_version_never_asks_for_an_occasion_that_was_not_asked_in_its_time():
    plan = versions((1, []), (4, [line(3, 7, tolerance=2, catch_up=True)]))
    assert numbers_due(plan, weekly(7)) == [(7, 7)]


def test_a_form_stands_for_the_occasion_of_its_own_version():
    plan = versions((1, [line(6)]), (7, [line(7, tolerance=1)]))
    assert numbers_due(plan, weekly(8), 6) == [(6, 6), (7, 7)]


plan_lines = st.one_of(
    st.builds(
        lambda rater, sessions, tolerance, catch_up, hours, arm: PlanLine(
            rater,
            "wai-s",
            sessions=tuple(sessions),
            tolerance=tolerance,
            catch_up=catch_up and tolerance > 0,
            window_hours=hours,
            arm=arm,
        ),
        st.sampled_from(["patient", "therapist"]),
        st.sets(st.integers(1, 12), min_size=1, max_size=4),
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from([24, 100, 400]),
        st.sampled_from(["", "weekly"]),
    ),
    st.builds(
        lambda every, hours: PlanLine("patient", "wai-s", every=every, window_hours=hours),
        st.integers(1, 5),
        st.sampled_from([24, 400]),
    ),
)
plans = st.lists(
    st.builds(
        lambda day, lines: PlanVersion(START + timedelta(days=day), tuple(lines)),
        st.integers(-5, 50),
        st.lists(plan_lines, max_size=3),
    ),
    unique_by=lambda version: version.active_from,
    max_size=3,
)
received_of = st.sets(st.tuples(st.integers(0, 30), st.sampled_from(["patient", "therapist"])))


@st.composite
def worlds(draw):
    """A plan, a log, and the forms received, some of sessions that no plan asks at."""
    days = draw(st.lists(st.integers(0, 60), unique=True, max_size=16))
    log = [
        on_day(day, draw(st.sampled_from([HELD, HELD, HELD, CANCELLED, NO_SHOW])), session_id)
        for session_id, day in enumerate(days)
    ]
    received = [(key, rater, "wai-s") for key, rater in draw(received_of)]
    return draw(plans), log, received


def oracle(plan, log, arm, received):
    """The rule once more, by trying every session and every occasion."""
    held = sorted((row for row in log if row.status == HELD), key=lambda row: (row.held_at, row.id))
    due = set()
    for rater in ("patient", "therapist"):
        lines_of, stands_for, is_given = {}, {}, {}
        for n, row in enumerate(held, start=1):
            active = [version for version in plan if version.active_from <= row.held_at]
            newest = sorted(active, key=lambda version: version.active_from)[-1:]
            lines_of[n] = [
                ln for version in newest for ln in version.lines if ln.rater == rater and ln.arm in ("", arm)
            ]
            near = [
                (abs(n - k), k)
                for ln in lines_of[n]
                for k in (ln.sessions or range(ln.every, 100, ln.every))
                if abs(n - k) <= ln.tolerance
            ]
            stands_for[n] = min(near)[1] if near else None
            is_given[n] = (row.id, rater, "wai-s") in received

        def closes(n, k, lines_of=lines_of):
            hours = [
                ln.window_hours for ln in lines_of[n] if k in ln.sessions or (ln.every and not k % ln.every)
            ]
            return held[n - 1].held_at + timedelta(hours=max(hours))

        for k in {k for k in stands_for.values() if k}:
            standing = [n for n in sorted(stands_for) if stands_for[n] == k]
            given_at = [n for n in standing if is_given[n]]
            if given_at:
                due |= {(n, k, rater, closes(n, k)) for n in given_at}
                continue
            if k not in standing:
                continue
            chain = [k]
            for n in (n for n in standing if n > k):
                may = any(ln.catch_up and k in ln.sessions and n - k <= ln.tolerance for ln in lines_of[n])
                if may and all(closes(m, k) <= held[n - 1].held_at for m in chain):
                    chain.append(n)
            due |= {(n, k, rater, closes(n, k)) for n in chain}
    return due


@given(worlds(), st.sampled_from(["", "weekly"]))
def test_the_due_set_is_that_of_the_rule_tried_by_hand(world, arm):
    plan, log, received = world
    found = due_forms(plan, log, arm, received)
    assert {(f.number, f.occasion, f.rater, f.closes_at) for f in found} == oracle(plan, log, arm, received)
    assert len(found) == len({(f.session_id, f.rater, f.instrument) for f in found})


@given(worlds(), st.randoms(use_true_random=False))
def test_the_due_set_depends_on_plan_log_and_forms_and_never_on_their_order(world, random):
    plan, log, received = world
    expected = due_forms(plan, log, "", received)
    shuffled = [
        PlanVersion(version.active_from, tuple(random.sample(version.lines, len(version.lines))))
        for version in random.sample(plan, len(plan))
    ]
    again = due_forms(
        shuffled, random.sample(log, len(log)), "", random.sample(received, len(received)) + received[:1]
    )
    assert again == expected


@given(worlds())
def test_a_session_that_was_not_held_changes_nothing(world):
    plan, log, received = world
    held = [row for row in log if row.status == HELD]
    assert due_forms(plan, log, "", received) == due_forms(plan, held, "", received)


@given(worlds(), st.integers(0, 60), st.sampled_from([HELD, CANCELLED]))
def test_a_late_entry_or_correction_gives_what_a_log_without_slips_would(world, day, status):
    """However the log came about: entered late, entered wrongly and corrected, or right from the start."""
    plan, log, received = world
    late = on_day(day, status, session_id=99)
    for place in (0, len(log) // 2, len(log)):
        entered = [*log[:place], late, *log[place:]]
        assert due_forms(plan, entered, "", received) == due_forms(plan, [*log, late], "", received)
    if log:
        wrong = LoggedSession(log[0].id, log[0].held_at + timedelta(hours=1), NO_SHOW)
        corrected = [log[0] if row.id == wrong.id else row for row in [wrong, *log[1:]]]
        assert due_forms(plan, corrected, "", received) == due_forms(plan, log, "", received)


@given(worlds())
def test_a_transfer_begins_a_log_of_its_own(world):
    """Numbers, occasions and forms of the new therapy count from its own first session."""
    plan, log, received = world
    middle = len(log) // 2
    before, after = log[:middle], log[middle:]
    own = [key for key in received if key[0] in {row.id for row in after}]
    assert due_forms(plan, after, "", received) == due_forms(plan, after, "", own)
    assert not {f.session_id for f in due_forms(plan, after, "", received)} & {row.id for row in before}


@pytest.mark.parametrize(
    ("cadence", "on", "period"),
    [
        ("entry", "2025-11-14", None),
        ("entry", "2025-11-15", "entry"),
        ("entry", "2029-01-01", "entry"),
        ("yearly", "2025-11-14", None),
        ("yearly", "2025-11-15", "entry"),
        ("yearly", "2026-11-14", "entry"),
        ("yearly", "2026-11-15", "year-1"),
        ("yearly", "2027-11-14", "year-1"),
        ("yearly", "2030-12-31", "year-5"),
    ],
)
def test_forms_about_practice_are_owed_on_entry_and_each_year_after_it(cadence, on, period):
    assert trait_period(cadence, date(2025, 11, 15), date.fromisoformat(on)) == period


def test_a_therapist_of_a_leap_day_has_anniversaries():
    assert trait_period("yearly", date(2024, 2, 29), date(2025, 2, 28)) == "entry"
    assert trait_period("yearly", date(2024, 2, 29), date(2025, 3, 1)) == "year-1"
    with pytest.raises(ValueError, match="one of: entry, yearly"):
        trait_period("monthly", date(2024, 2, 29), date(2025, 3, 1))
