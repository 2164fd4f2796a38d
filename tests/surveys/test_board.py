"""What of a therapy needs attention, and the order, filters and counts of a list by it."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveys.board import (
    SHOWN,
    SORTS,
    Choice,
    Facts,
    Need,
    belongs,
    listed,
    n_by_show,
    n_by_therapist,
    needs,
)

NOW = datetime(2027, 5, 3, 9, tzinfo=UTC)
CALM = Facts("A", "T1", is_running=True, n_sessions=4, last_session=NOW, n_received=8)


@dataclass(frozen=True)
class Row:
    facts: Facts


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ()),
        ({"n_dips": 1}, (Need.DIP,)),
        ({"late": ("patient",)}, (Need.OVERDUE,)),
        ({"is_quiet": True}, (Need.OVERDUE,)),
        ({"n_open": 1}, (Need.DUE,)),
        ({"n_received": 0}, (Need.NONE,)),
        ({"n_received": 0, "is_stopped": True}, ()),
        ({"n_received": 0, "n_open": 2, "is_quiet": True, "n_dips": 3}, tuple(Need)),
        # After the end nobody can be asked, but an open form can still be filled.
        ({"is_running": False, "n_dips": 1, "late": ("therapist",), "n_received": 0}, ()),
        ({"is_running": False, "n_open": 1}, (Need.DUE,)),
    ],
)
def test_what_needs_attention(changed: dict[str, object], found: tuple[Need, ...]) -> None:
    facts = replace(CALM, **changed)
    assert needs(facts) == found
    assert [show for show in SHOWN if belongs(facts, show)] == ["all", *found]


def test_the_first_need_decides_the_order_and_then_the_last_session() -> None:
    def facts(code: str, days_ago: int = 0, **changed: object) -> Row:
        return Row(replace(CALM, code=code, last_session=NOW - timedelta(days=days_ago), **changed))

    rows = [
        facts("ended", is_running=False),
        facts("older", days_ago=9),
        facts("newer", days_ago=2),
        facts("none", n_received=0),
        facts("due", n_open=1),
        facts("overdue and due", n_open=1, is_quiet=True),
        facts("late", late=("patient",), days_ago=3),
        facts("dip", n_dips=1, days_ago=30),
        Row(replace(CALM, code="never", last_session=None)),
    ]
    order = [row.facts.code for row in listed(rows, Choice())]
    assert order == [
        "dip",
        "overdue and due",
        "late",
        "due",
        "none",
        "newer",
        "older",
        "never",
        "ended",
    ]


def test_a_column_sorts_turns_and_keeps_the_order_by_needs_among_equals() -> None:
    rows = [
        Row(replace(CALM, code="A", n_patient_missing=1)),
        Row(replace(CALM, code="B", n_patient_missing=3)),
        Row(replace(CALM, code="C", n_patient_missing=1, n_dips=1)),
    ]
    by = Choice().sorted_by("patient-forms")
    assert [row.facts.code for row in listed(rows, by)] == ["B", "C", "A"]
    assert by.direction("patient-forms") == "descending"
    turned = by.sorted_by("patient-forms")
    assert [row.facts.code for row in listed(rows, turned)] == ["C", "A", "B"]
    assert (turned.direction("patient-forms"), turned.direction("therapy")) == ("ascending", "")
    assert turned.sorted_by("attention") == Choice()
    assert Choice().direction("attention") == "other"


def test_the_address_holds_the_choice_and_nothing_that_is_usual() -> None:
    choice = Choice.of({"show": "dip", "therapist": "K7", "sort": "-session"})
    assert choice.query == "show=dip&therapist=K7&sort=-session"
    assert Choice.of({}).query == ""
    assert choice.sorted_by("therapy").query == "show=dip&therapist=K7&sort=therapy"


@pytest.mark.parametrize(
    "query", [{"show": "rupture"}, {"sort": "mean"}, {"sort": "-attention"}, {"sort": ""}]
)
def test_what_there_is_not_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no such filter or order"):
        Choice.of(query)


FACTS = st.builds(
    Facts,
    code=st.text("ABC", min_size=1, max_size=4),
    therapist=st.sampled_from(["T1", "T2", "T3"]),
    is_running=st.booleans(),
    n_sessions=st.integers(0, 40),
    last_session=st.none() | st.integers(0, 90).map(lambda days: NOW - timedelta(days=days)),
    is_stopped=st.booleans(),
    is_quiet=st.booleans(),
    n_dips=st.integers(0, 2),
    late=st.sampled_from([(), ("patient",), ("patient", "therapist")]),
    n_open=st.integers(0, 2),
    n_received=st.integers(0, 2),
    n_patient_missing=st.integers(0, 3),
)
CHOICES = st.builds(
    Choice,
    st.sampled_from(SHOWN),
    st.sampled_from(["", "T1", "T2", "T9"]),
    st.sampled_from([*SORTS, "-session", "-therapist-forms"]),
)


@given(rows=st.lists(FACTS.map(Row), max_size=12), choice=CHOICES)
def test_every_count_is_the_length_of_the_list_that_it_stands_for(rows: list[Row], choice: Choice) -> None:
    for show, n in n_by_show(rows, choice).items():
        assert n == len(listed(rows, replace(choice, show=show)))
    for therapist, n in n_by_therapist(rows, choice).items():
        assert n == len(listed(rows, replace(choice, therapist=therapist)))


@given(rows=st.lists(FACTS.map(Row), max_size=12), choice=CHOICES)
def test_an_order_neither_loses_nor_doubles_a_row(rows: list[Row], choice: Choice) -> None:
    kept = [row for row in rows if row in listed(rows, replace(choice, sort="attention"))]
    assert sorted(map(id, listed(rows, choice))) == sorted(map(id, kept))
