"""The rules for possible dips: what each points at, what it needs, and how often it is wrong."""

from dataclasses import dataclass

import numpy as np
import pytest

from analytics import dip_words
from analytics.dips import (
    DEFAULT,
    FALSE_ALARMS,
    RULES,
    Expectation,
    Judgement,
    Kind,
    Rule,
    Silence,
    Why,
    judge,
    look,
)
from analytics.growth.simulate import Form
from benchmarks import dips as benchmark


@dataclass(frozen=True)
class Point:
    session: int
    value: float


MODEL = Expectation(between_sd=0.6, residual_sd=0.5, mean=5.0, lower=4.2)


def course(*values: float, first: int = 1, step: int = 1) -> list[Point]:
    return [Point(first + step * i, value) for i, value in enumerate(values)]


def last(rule: str, points: list[Point], expected: Expectation | None = MODEL) -> Judgement | Why:
    return judge(RULES[rule], points, len(points) - 1, expected)


def limit(rule: str, points: list[Point], expected: Expectation | None = MODEL) -> float:
    found = last(rule, points, expected)
    assert isinstance(found, Judgement)
    return found.limit


EARLIER = (5.0, 5.5, 4.5, 5.0)  # SD 0.408


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("within-1", 5.0 - 0.4082483),
        ("within-2", 5.0 - 0.8164966),
        ("between-1", 4.4),
        ("between-2", 3.8),
        ("stricter-1", 4.4),
        ("stricter-2", 3.8),
        ("reliable", 5.0 - 1.96 * 2**0.5 * 0.5),
        ("band", 4.2),
    ],
)
def test_each_rule_has_the_limit_of_its_formula(rule: str, expected: float) -> None:
    assert limit(rule, course(*EARLIER, 4.4)) == pytest.approx(expected, abs=1e-6)


def test_the_stricter_rule_takes_the_patient_s_own_sd_where_that_is_larger() -> None:
    wide = course(6.0, 4.0, 6.0, 4.0, 5.0, 4.0)
    own = limit("within-1", wide)
    assert limit("stricter-1", wide) == own < limit("between-1", wide)


def test_the_control_chart_takes_its_sd_from_changes_between_neighbours() -> None:
    points = course(*[5.0, 5.5] * 5, 4.0)
    assert limit("chart", points, None) == pytest.approx(5.25 - 3 * 0.5 / 1.128379, abs=1e-5)


def test_a_reliable_change_is_that_of_jacobson_and_truax_with_its_sd_and_reliability_printed() -> None:
    found = last("reliable", course(5.0, 3.0))
    assert isinstance(found, Judgement)
    assert (found.total_sd, found.reliability) == pytest.approx((0.61**0.5, 0.36 / 0.61))
    by_hand = 1.96 * found.total_sd * 2**0.5 * (1 - found.reliability) ** 0.5
    assert found.threshold == pytest.approx(by_hand)
    assert "the SD 0.78 and the reliability 0.59" in dip_words.grounds(found, TWO_DECIMALS)


def test_a_drop_that_equals_the_threshold_is_a_dip_and_a_smaller_one_is_not() -> None:
    expected = Expectation(between_sd=1 / 12, residual_sd=0.5, mean=5, lower=4)
    # In floating point 41 / 12 - 1 / 12 is a little less than 40 / 12.
    assert last("between-1", course(41 / 12, 40 / 12), expected).is_dip
    assert not last("between-1", course(41 / 12, 40.1 / 12), expected).is_dip


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_silent_until_it_has_its_earlier_ratings(rule: str) -> None:
    n = RULES[rule].min_earlier
    values = [5.0 + 0.5 * (i % 2) for i in range(n)]
    assert isinstance(last(rule, course(*values, 2.0)), Judgement)
    assert last(rule, course(*values[1:], 2.0)) == Why.TOO_FEW


@pytest.mark.parametrize("rule", RULES)
def test_a_rating_is_compared_only_with_one_at_most_two_sessions_before(rule: str) -> None:
    values = [5.0 + 0.5 * (i % 2) for i in range(12)]
    before = course(*values)
    assert last(rule, [*before, Point(14, 2.0)]).is_dip
    assert last(rule, [*before, Point(15, 2.0)]) == Why.TOO_FAR


@pytest.mark.parametrize("rule", RULES)
def test_later_ratings_change_nothing_of_what_a_rule_says(rule: str) -> None:
    values = [5.0 + 0.5 * (i % 3) for i in range(12)]
    points = course(*values, 4.0)
    later = [*points, Point(14, 1.0), Point(15, 7.0)]
    assert judge(RULES[rule], points, 12, MODEL) == judge(RULES[rule], later, 12, MODEL)


@pytest.mark.parametrize("code", RULES)
def test_sessions_3_12_20_and_40_alone_give_no_dip_and_the_reason_is_said(code: str) -> None:
    points = [Point(session, value) for session, value in zip((3, 12, 20, 40), (6, 5, 3, 1), strict=True)]
    found = look(points, [MODEL] * 4, [RULES[code]])
    assert (found.judgements, found.silence) == ((), Silence.TOO_FAR)
    assert "as in a plan of sessions 3, 12, 20 and 40" in dip_words.silence(Silence.TOO_FAR)


@pytest.mark.parametrize(
    ("points", "expected", "rules", "reason"),
    [
        (course(5, 4), [MODEL] * 2, (), Silence.NO_RULE),
        ([], [], (DEFAULT,), Silence.NO_RATING),
        (course(5), [MODEL], (DEFAULT,), Silence.TOO_FEW),
        (course(5, 4, 3), [MODEL] * 3, (DEFAULT,), Silence.TOO_FEW),
        (course(5, 4, 5, 4, 2), None, (DEFAULT,), Silence.NO_MODEL),
        (course(5, 5, 5, 5, 2), None, (RULES["within-1"],), Silence.NO_SPREAD),
        (course(5, 5, 5, 5, 5), None, (RULES["within-1"],), Silence.ALL_EQUAL),
        ([*course(5, 4), Point(9, 2)], [MODEL] * 3, (DEFAULT,), Silence.TOO_FEW),
    ],
)
def test_where_nothing_can_be_judged_there_is_a_reason_in_words(
    points: list[Point], expected: list[Expectation] | None, rules: tuple[Rule, ...], reason: Silence
) -> None:
    found = look(points, expected, rules)
    assert (found.judgements, found.silence) == ((), reason)
    assert dip_words.silence(reason).endswith(".")


def test_a_model_without_variance_between_patients_gives_no_measure_of_it() -> None:
    flat = Expectation(between_sd=0.0, residual_sd=0.5, mean=5, lower=4)
    assert last("between-1", course(5, 4), flat) == Why.NO_SPREAD
    assert isinstance(last("reliable", course(5, 4), flat), Judgement)


def test_ratings_that_are_judged_are_counted_once_whatever_the_number_of_rules() -> None:
    points = course(*EARLIER, 3.0)
    found = look(points, [MODEL] * 5, [RULES["within-1"], RULES["between-1"]])
    assert (found.n_ratings, found.n_judged, found.silence) == (5, 4, None)
    assert [(dip.session, dip.rule.code) for dip in found.dips] == [
        (3, "between-1"),
        (5, "within-1"),
        (5, "between-1"),
    ]


TWO_DECIMALS = dip_words.Writing(number="{:.2f}".format)


@pytest.mark.parametrize("code", RULES)
def test_a_dip_says_what_changed_by_which_rule_and_from_how_many_ratings(code: str) -> None:
    points = course(*[5.0 + 0.5 * (i % 2) for i in range(12)], 2.0)
    found = last(code, points)
    assert isinstance(found, Judgement) and found.is_dip
    assert dip_words.change(found, TWO_DECIMALS) == (
        "The rating of session 13 is 2.00; the one before, of session 12, is 5.50."
    )
    words = dip_words.grounds(found, TWO_DECIMALS)
    assert ("12 earlier ratings" in words) == (found.rule.kind not in (Kind.BETWEEN, Kind.RELIABLE))
    for text in (words, *(say(found.rule) for say in (dip_words.name, dip_words.definition))):
        assert "%" not in text.replace("80 %", "")
        assert "rupture" not in text.lower()


def steady(rule: Rule, n_earlier: int, n_courses: int, seed: int) -> float:
    """Share of steady courses of independent ratings whose last one the rule points at."""
    rng = np.random.default_rng(seed)
    draws = rng.normal(5, 0.5, (n_courses, n_earlier + 1))
    expected = Expectation(between_sd=0.7, residual_sd=0.5, mean=5, lower=5 - 0.5 * 1.2815516)
    found = [judge(rule, course(*map(float, row)), n_earlier, expected) for row in draws]
    return sum(isinstance(one, Judgement) and one.is_dip for one in found) / n_courses


def within_chance(share: float, promise: float, n: int) -> bool:
    return abs(share - promise) < 3.5 * (promise * (1 - promise) / n) ** 0.5


@pytest.mark.parametrize(("k", "n"), [(1, 4), (1, 12), (2, 4), (2, 12)])
def test_a_drop_in_own_sds_is_as_frequent_by_chance_as_its_definition_says(k: int, n: int) -> None:
    share = steady(Rule(Kind.WITHIN, k), n, 6000, seed=11 + n)
    assert within_chance(share, benchmark.promised_within(k, n), 6000)


@pytest.mark.parametrize(
    ("code", "promise"),
    # 1 - Phi(k b / (sqrt(2) sigma)) with b 0.7 and sigma 0.5; 2.5 % on one side; 10 % below a range of 80 %.
    [("between-1", 0.16110), ("between-2", 0.02386), ("reliable", 0.025), ("band", 0.10)],
)
def test_rules_by_the_model_are_as_frequent_by_chance_as_they_promise(code: str, promise: float) -> None:
    assert within_chance(steady(RULES[code], 4, 6000, seed=5), promise, 6000)


@pytest.mark.parametrize("n", [10, 30])
def test_a_control_chart_of_few_ratings_is_wrong_more_often_and_by_how_much_is_known(n: int) -> None:
    assert within_chance(steady(RULES["chart"], n, 12000, seed=n), benchmark.promised_chart(n), 12000)


def test_a_control_chart_of_many_ratings_keeps_its_nominal_rate() -> None:
    assert benchmark.promised_chart(100_000) == pytest.approx(0.00135, abs=1e-5)
    share = steady(RULES["chart"], 150, 6000, seed=9)
    assert share > 0 and within_chance(share, benchmark.promised_chart(150), 6000)


def test_the_stricter_rule_is_never_wrong_more_often_than_either_of_its_two() -> None:
    for k in (1, 2):
        both = [steady(RULES[f"{kind}-{k}"], 6, 3000, seed=3) for kind in ("within", "between")]
        assert 0 < steady(RULES[f"stricter-{k}"], 6, 3000, seed=3) <= min(both)


def test_in_simulated_studies_the_rules_are_as_often_right_and_wrong_as_the_pages_say() -> None:
    found = benchmark.run(Form(), n_studies=1)
    for code, counts in found.items():
        assert 100 * counts["false alarms"]["per rating"] == pytest.approx(FALSE_ALARMS[code], abs=2.5), code
        hits = list(counts["hits by depth"].values())
        assert hits == sorted(hits)
        # A dip of two points is found far more often than where there is none.
        assert hits[-1] > counts["false alarms"]["per rating"] + 0.5
    assert set(found) == set(FALSE_ALARMS) == set(RULES)
