"""What may be said of many people without saying it of one: minimums, and who stands together in a table."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from analytics.disclosure import (
    MIN_PATIENTS,
    MIN_THERAPISTS,
    Figures,
    Level,
    Share,
    change,
    figures,
    is_hidden_among_others,
    lacks,
    leaves_few,
    told_apart,
)


@dataclass(frozen=True)
class Line:
    code: str
    n_patients: int


def people(*sizes: int) -> dict[str, set[str]]:
    return {f"T{k}": {f"P{k}-{i}" for i in range(n)} for k, n in enumerate(sizes)}


def levels(*sizes: int, mean: float = 5.0) -> list[Level]:
    return [Level(t, p, 2 * mean, 2) for t, own in people(*sizes).items() for p in sorted(own)]


@pytest.mark.parametrize(
    ("sizes", "missing"),
    [
        ((2, 2, 1), ()),
        ((2, 1, 1), ("patients",)),
        ((3, 3), ("therapists",)),
        ((2, 2), ("patients", "therapists")),
        ((3, 1, 1), ("balance",)),
        ((3, 2, 1), ()),
        ((), ("patients", "therapists")),
    ],
)
def test_a_figure_needs_five_patients_three_therapists_and_nobody_with_more_than_half(
    sizes: tuple[int, ...], missing: tuple[str, ...]
) -> None:
    assert lacks(people(*sizes)) == missing
    assert isinstance(figures(levels(*sizes)), Figures) == (not missing)


def test_a_patient_who_changed_therapist_is_one_patient() -> None:
    assert lacks({"A": {"p", "q"}, "B": {"q", "r"}, "C": {"r", "s"}}) == ("patients",)


def test_figures_are_of_therapies_means_and_leave_with_one_decimal() -> None:
    rows = [
        Level(f"T{k % 3}", f"P{k}", total, n) for k, (total, n) in enumerate([(4, 1), (12, 2), (5, 1)] * 2)
    ]
    found = figures([*rows, Level("T9", "P9", 0.0, 0)])
    assert isinstance(found, Figures)
    # Means 4, 6, 5, twice: SD of six values with 5 degrees of freedom.
    assert (found.mean, found.sd) == (5.0, 0.9)
    assert (found.n_patients, found.n_therapists, found.n_forms) == (6, 3, 8)


@pytest.mark.parametrize(("rest", "is_few"), [((), False), ((5,), True), ((3, 3), True), ((2, 1, 1), True)])
def test_a_team_s_figure_leaves_no_rest_that_is_too_few(rest: tuple[int, ...], is_few: bool) -> None:
    assert leaves_few(levels(2, 2, 2, *rest), ["T0", "T1", "T2"]) == is_few


def test_a_rest_of_enough_people_is_fine() -> None:
    assert not leaves_few(levels(2, 2, 2, 2, 2, 1), ["T0", "T1", "T2"])


@pytest.mark.parametrize(("k", "n"), [(0, 10), (7, 10), (10, 10), (81, 263)])
def test_the_interval_is_wilson_s(k: int, n: int) -> None:
    """Its ends are where a test of that share just refuses k of n: found here by search."""
    ends = Share(k, n).interval
    assert ends is not None
    score = lambda p: (k / n - p) ** 2 - 1.959963984540054**2 * p * (1 - p) / n  # noqa: E731
    lower = 0.0 if k == 0 else brentq(score, 1e-12, k / n - 1e-9)
    upper = 1.0 if k == n else brentq(score, k / n + 1e-9, 1 - 1e-12)
    assert ends == pytest.approx((lower, upper), abs=1e-9)
    # Published example: 81 of 263 (Newcombe 1998, Stat Med 17, 857-872).
    if (k, n) == (81, 263):
        assert ends == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_of_nothing_there_is_no_share() -> None:
    assert (Share(0, 0).value, Share(0, 0).interval) == (None, None)


def test_therapists_stand_by_code_and_never_by_rank() -> None:
    own, together = told_apart([Line("C", 9), Line("A", 5), Line("B", 40)])
    assert ([row.code for row in own], together) == (["A", "B", "C"], [])


def test_a_single_small_therapist_is_joined_by_those_with_the_fewest_patients() -> None:
    rows = [Line("A", 9), Line("B", 4), Line("C", 8), Line("D", 7), Line("E", 6), Line("F", 5)]
    own, together = told_apart(rows)
    assert [row.code for row in own] == ["A", "C", "D"]
    assert sorted(row.code for row in together) == ["B", "E", "F"]


def test_with_fewer_than_three_left_nobody_is_told_apart() -> None:
    assert told_apart([Line("A", 9), Line("B", 9)])[0] == []
    assert told_apart([Line("A", 9), Line("B", 9), Line("C", 4), Line("D", 9)])[0] == []


@given(st.lists(st.integers(1, 12), max_size=9))
def test_no_line_and_no_difference_of_sums_is_that_of_a_small_therapist(sizes: list[int]) -> None:
    rows = [Line(f"T{k}", n) for k, n in enumerate(sizes)]
    own, together = told_apart(rows)
    assert sorted(row.code for row in (*own, *together)) == sorted(row.code for row in rows)
    if own:
        assert len(own) >= MIN_THERAPISTS
        assert all(row.n_patients >= MIN_PATIENTS for row in own)
        # What is left of the known sum of all is nobody's, or that of enough people.
        assert not together or (
            len(together) >= MIN_THERAPISTS and sum(row.n_patients for row in together) >= MIN_PATIENTS
        )


@pytest.mark.parametrize(
    ("changes", "is_hidden"),
    [
        ([], False),
        ([0.0, 0.0, 0.0], False),
        ([1.0, 1.0], False),
        ([1.0, 0.1, 0.1, 0.1], False),
        ([1.0, 1.0, 0.1], False),
        ([0.1, 1.0, 0.5, 0.5], True),
        ([0.1, 0.1, 0.1, 0.0], True),
    ],
)
def test_three_levels_hide_each_other_where_they_change_alike(changes: list[float], is_hidden: bool) -> None:
    assert is_hidden_among_others(changes) is is_hidden


def test_a_level_changes_by_the_share_of_forms_that_are_not_the_same() -> None:
    assert [change(0, 0, 3), change(3, 0, 0), change(4, 4, 5), change(4, 3, 3), change(4, 4, 4)] == [
        1.0,
        1.0,
        pytest.approx(0.2),
        0.25,
        0.0,
    ]
