"""Scores: the reference vectors, the rules on missing answers, and faults known from other scorers."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveys.packs import InstrumentFile, Item, Option, Scale, built_in
from surveys.scoring import (
    NOT_SHOWN,
    PREFER_NOT,
    SKIPPED,
    ScaleScore,
    answers_needed,
    is_straight_lined,
    parse_answer,
    score,
)

FORMS = {(form.code, form.rater): form for form in built_in() if form.language == "en"}
WAI_S = FORMS["wai-s", "patient"]
WAI_SR = FORMS["wai-sr", "patient"]

WAI_36 = FORMS["wai-36", "patient"]
WAI_SRT = FORMS["wai-srt", "therapist"]

WAI_S_ANSWERS = (6, 5, 7, 1, 6, 5, 6, 4, 7, 3, 5, 6)
WAI_SR_ANSWERS = (3, 4, 5, 2, 5, 4, 4, 3, 5, 4, 3, 4)


def in_item_order(*values: int) -> dict[int, int]:
    return dict(enumerate(values, start=1))


def sums(form: InstrumentFile, answers: dict[int, int]) -> dict[str, float | None]:
    return {line.scale: line.total for line in score(form, answers)}


def scale_score(form: InstrumentFile, answers: dict[int, int], code: str) -> ScaleScore:
    return next(line for line in score(form, answers) if line.scale == code)


@pytest.mark.parametrize(
    ("form", "values", "task", "bond", "goal", "total"),
    [
        (WAI_S, WAI_S_ANSWERS, 21, 26, 22, 69),
        (FORMS["wai-s", "therapist"], WAI_S_ANSWERS, 21, 26, 22, 69),
        (WAI_SR, WAI_SR_ANSWERS, 15, 19, 12, 46),
        (WAI_S, (7,) * 12, 28, 28, 16, 72),
        (WAI_S, (1,) * 12, 4, 4, 16, 24),
        (WAI_SR, (5,) * 12, 20, 20, 20, 60),
        (WAI_SR, (1,) * 12, 4, 4, 4, 12),
        (WAI_36, (7,) * 36, 54, 66, 48, 168),
        (WAI_36, (1,) * 36, 42, 30, 48, 120),
        (FORMS["wai-36", "therapist"], (7,) * 36, 54, 66, 48, 168),
        (FORMS["wai-36", "therapist"], (1,) * 36, 42, 30, 48, 120),
        # Tasks 1 4 10, bond 2 5 7 9, goals 3 6 8.
        (WAI_SRT, (1, 2, 3, 4, 5, 1, 2, 3, 4, 5), 10, 13, 7, 30),
    ],
)
def test_reference_vectors_give_the_published_sums(form, values, task, bond, goal, total):
    answers = in_item_order(*values)
    assert sums(form, answers) == {"task": task, "bond": bond, "goal": goal, "total": total}
    for line in score(form, answers):
        assert line.n_answered == line.n_items
        assert line.mean == pytest.approx(line.total / line.n_items, rel=1e-15)


@pytest.mark.parametrize("rater", ["patient", "therapist"])
@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ((3, 4, 2), 3.0),
        ((5, 5, 5), 5.0),
        ((1, 2, 2), 5 / 3),
        ((3, 4, SKIPPED), None),
        ((3, PREFER_NOT, 2), None),
    ],
)
def test_the_form_of_three_items_is_scored_when_all_three_are_answered(rater, values, mean):
    (line,) = score(FORMS["wai-b3", rater], in_item_order(*values))
    assert (line.scale, line.n_items) == ("total", 3)
    assert line.mean == (None if mean is None else pytest.approx(mean, rel=1e-15))


@pytest.mark.parametrize(
    ("code", "points", "expected"),
    [
        (
            "dpccq-difficulties",
            6,
            {"self_doubt": 15 / 9, "frustrating_case": 20 / 6, "negative_reaction": 11 / 5},
        ),
        ("dpccq-feelings", 4, {"flow": 6 / 4, "anxiety": 6 / 4, "boredom": 6 / 4}),
        ("dpccq-feelings-general", 4, {"flow": 6 / 4, "anxiety": 6 / 4, "boredom": 6 / 4}),
        ("dpccq-coping", 6, {"constructive_coping": 2.0, "avoidant_coping": 3.0}),
        (
            "dpccq-manner",
            4,
            # Items k, k + 6, k + 12, k + 18 answered (k - 1), (k + 1), (k - 1), (k + 1) mod 4.
            dict.fromkeys(("affirming", "reserved", "invested"), 1.0)
            | dict.fromkeys(("directive", "accommodating", "efficacious"), 2.0),
        ),
    ],
)
def test_therapist_forms_give_the_hand_computed_means(code, points, expected):
    """Answers 0, 1, 2, ... in item order, beginning again after the last option."""
    form = FORMS[code, "therapist"]
    answers = {item.number: (item.number - 1) % points for item in form.items}
    assert {line.scale: line.mean for line in score(form, answers)} == pytest.approx(expected, rel=1e-15)


def test_the_mean_is_the_mean_of_items():
    assert scale_score(WAI_SR, in_item_order(*WAI_SR_ANSWERS), "total").mean == pytest.approx(
        46 / 12, rel=1e-15
    )


def test_scales_come_in_the_order_of_the_form():
    assert [line.scale for line in score(WAI_S, {})] == ["task", "bond", "goal", "total"]


@pytest.mark.parametrize("form", [WAI_S, WAI_SR, WAI_36])
@pytest.mark.parametrize("code", [None, SKIPPED, PREFER_NOT, NOT_SHOWN])
def test_a_blank_form_is_missing_everywhere_and_never_zero(form, code):
    answers = {} if code is None else {item.number: code for item in form.items}
    for line in score(form, answers):
        assert (line.mean, line.total, line.n_answered) == (None, None, 0)


def test_a_blank_reversed_item_is_not_turned_into_an_answer():
    answers = in_item_order(*WAI_S_ANSWERS) | {4: SKIPPED}
    # The other goal items: 5, 8 - 3 and 5.
    assert scale_score(WAI_S, answers, "goal") == ScaleScore("goal", 5.0, 20.0, 3, 4)


def test_a_total_from_an_incomplete_scale_is_prorated():
    answers = in_item_order(*WAI_S_ANSWERS) | {7: PREFER_NOT}
    assert scale_score(WAI_S, answers, "bond") == ScaleScore("bond", 20 / 3, 80 / 3, 3, 4)


@pytest.mark.parametrize(
    ("form", "code", "n_answered", "is_scored"),
    [
        (WAI_S, "bond", 3, True),
        (WAI_S, "bond", 2, False),
        (WAI_S, "total", 10, True),
        (WAI_S, "total", 9, False),
        (WAI_36, "bond", 9, True),
        (WAI_36, "bond", 8, False),
        (WAI_36, "total", 29, True),
        (WAI_36, "total", 28, False),
        (WAI_SRT, "task", 3, True),
        (WAI_SRT, "task", 2, False),
        (WAI_SRT, "bond", 3, True),
        (WAI_SRT, "total", 8, True),
        (WAI_SRT, "total", 7, False),
        (FORMS["dpccq-coping", "therapist"], "avoidant_coping", 5, True),
        (FORMS["dpccq-coping", "therapist"], "avoidant_coping", 4, False),
        (FORMS["dpccq-difficulties", "therapist"], "self_doubt", 7, True),
        (FORMS["dpccq-difficulties", "therapist"], "self_doubt", 6, False),
        (FORMS["dpccq-difficulties", "therapist"], "frustrating_case", 5, True),
        (FORMS["dpccq-difficulties", "therapist"], "frustrating_case", 4, False),
    ],
)
def test_a_scale_is_scored_from_its_share_of_items_on(form, code, n_answered, is_scored):
    scale = next(scale for scale in form.scales if scale.code == code)
    line = scale_score(form, dict.fromkeys(scale.items[:n_answered], form.maximum), code)
    assert line.n_answered == n_answered
    assert (line.mean is not None, line.total is not None) == (is_scored, is_scored)


def test_the_share_is_rounded_up_as_written_not_as_a_float():
    assert answers_needed(Scale("x", "X", tuple(range(100)), 0.07, False)) == 7


def test_reversal_uses_the_response_scale_of_the_form():
    options = tuple(Option(value, str(value)) for value in range(6))
    form = replace(
        WAI_S,
        options=options,
        items=(Item(1, "Plain", False), Item(2, "Turned", True)),
        scales=(Scale("both", "Both", (1, 2), 1.0, False), Scale("turned", "Turned", (2,), 1.0, False)),
    )
    assert [line.total for line in score(form, {1: 0, 2: 0})] == [5.0, 5.0]
    assert [line.total for line in score(form, {1: 5, 2: 4})] == [6.0, 1.0]


def test_zero_is_an_answer_where_the_scale_begins_at_zero():
    feelings = FORMS["dpccq-feelings", "therapist"]
    line = scale_score(feelings, {item.number: 0 for item in feelings.items}, "anxiety")
    assert line == ScaleScore("anxiety", 0.0, 0.0, 4, 4)


@pytest.mark.parametrize(
    ("form", "key"),
    [
        (WAI_S, "task task bond -goal bond goal bond task bond -goal goal task"),
        (WAI_SR, "task task bond goal bond goal bond goal bond task goal task"),
    ],
)
def test_each_item_moves_its_own_scale_and_the_total_so_no_key_is_shifted(form, key):
    level = in_item_order(*[3] * 12)
    before = sums(form, level)
    for number, entry in enumerate(key.split(), start=1):
        after = sums(form, level | {number: 4})
        step = -1 if entry.startswith("-") else 1
        moved = {scale: after[scale] - before[scale] for scale in before if after[scale] != before[scale]}
        assert moved == {entry.lstrip("-"): step, "total": step}


def test_the_two_short_forms_do_not_share_a_key():
    keys = [{scale.code: scale.items for scale in form.scales} for form in (WAI_S, WAI_SR)]
    assert keys[0]["bond"] == keys[1]["bond"]
    assert keys[0]["task"] != keys[1]["task"]
    assert keys[0]["goal"] != keys[1]["goal"]
    with_wrong_key = replace(WAI_SR, scales=WAI_S.scales)
    assert sums(with_wrong_key, in_item_order(*WAI_SR_ANSWERS)) != sums(
        WAI_SR, in_item_order(*WAI_SR_ANSWERS)
    )


@pytest.mark.parametrize("value", [0, 8, -1, -96, -100, True, 3.0, "3", None])
def test_a_value_that_is_no_option_is_refused_by_the_name_of_its_item(value):
    with pytest.raises(ValueError, match="item 5 is not an option"):
        score(WAI_S, in_item_order(*WAI_S_ANSWERS) | {5: value})


@pytest.mark.parametrize("number", [0, 13, -1])
def test_an_item_that_is_not_on_the_form_is_refused(number):
    for value in (3, SKIPPED):
        with pytest.raises(ValueError, match=f"Item {number} is not on the form"):
            score(WAI_S, {number: value})


@pytest.mark.parametrize("value", [1, 4, 7])
def test_the_same_answer_across_reversed_items_is_flagged(value):
    answers = in_item_order(*[value] * 12)
    assert is_straight_lined(WAI_S, answers)
    assert is_straight_lined(WAI_S, answers | {1: SKIPPED})


def test_other_patterns_are_not_flagged_as_straight_lines():
    assert not is_straight_lined(WAI_S, {})
    assert not is_straight_lined(WAI_S, in_item_order(*WAI_S_ANSWERS))
    assert not is_straight_lined(WAI_S, in_item_order(*[7] * 12) | {4: 6})
    assert not is_straight_lined(WAI_S, in_item_order(*[7] * 12) | {4: SKIPPED, 10: SKIPPED})
    # Without reversed items the same answer throughout may be meant.
    assert not is_straight_lined(WAI_SR, in_item_order(*[5] * 12))


def test_the_exact_digits_of_an_option_are_an_answer():
    assert [parse_answer(WAI_S, text) for text in "1234567"] == [1, 2, 3, 4, 5, 6, 7]
    assert parse_answer(FORMS["dpccq-feelings", "therapist"], "0") == 0


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "8",
        "-1",
        "-99",
        "",
        " 3 ",
        "3\n",
        "+3",
        "03",
        "3.0",
        "3.5",
        "1e0",
        "0x3",
        "1_0",
        "３",
        "٣",
        "³",
        "NaN",
        "true",
    ],
)
def test_any_other_text_is_no_answer(text):
    with pytest.raises(ValueError, match="whole number from 1 to 7"):
        parse_answer(WAI_S, text)


raw_answers = st.dictionaries(
    st.integers(1, 12), st.one_of(st.integers(1, 7), st.sampled_from([SKIPPED, PREFER_NOT, NOT_SHOWN]))
)


@given(raw_answers)
def test_whatever_is_missing_a_score_is_the_mean_of_what_was_answered(answers):
    reversed_items = {4, 10}
    for scale, line in zip(WAI_S.scales, score(WAI_S, answers), strict=True):
        given_values = [
            8 - answers[number] if number in reversed_items else answers[number]
            for number in scale.items
            if answers.get(number, SKIPPED) > 0
        ]
        needed = {"task": 3, "bond": 3, "goal": 3, "total": 10}[scale.code]
        assert (line.n_answered, line.n_items) == (len(given_values), len(scale.items))
        if len(given_values) < needed:
            assert line.mean is None
            assert line.total is None
        else:
            assert line.mean == pytest.approx(sum(given_values) / len(given_values), rel=1e-12)
            assert line.total == pytest.approx(line.mean * line.n_items, rel=1e-12)
            assert min(given_values) <= line.mean <= max(given_values)


def oracle(key: str, values: list[int | None], top: int) -> dict[str, tuple[float | None, int]]:
    """Scores by the words of the instruments' description, with fractions and nothing of the product:
    one letter an item (T, B, G; a minus before it: reversed), None where there is no answer."""
    names = {"T": "task", "B": "bond", "G": "goal"}
    result = {}
    for scale, least in (("task", 3), ("bond", 3), ("goal", 3), ("total", 10)):
        kept = [
            top + 1 - value if entry.startswith("-") else value
            for entry, value in zip(key.split(), values, strict=True)
            if value is not None and scale in ("total", names[entry[-1]])
        ]
        mean = float(Fraction(sum(kept), len(kept))) if len(kept) >= least else None
        result[scale] = (mean, len(kept))
    return result


@pytest.mark.parametrize(
    ("form", "answers", "key", "top"),
    [
        (WAI_S, WAI_S_ANSWERS, "T T B -G B G B T B -G G T", 7),
        (WAI_SR, WAI_SR_ANSWERS, "T T B G B G B G B T G T", 5),
    ],
    ids=["wai-s", "wai-sr"],
)
def test_every_one_of_the_4096_missing_patterns_is_scored_by_the_rule(form, answers, key, top):
    codes = (SKIPPED, PREFER_NOT, NOT_SHOWN)
    for pattern in range(2**12):
        present = [bool(pattern >> place & 1) for place in range(12)]
        given_values = {
            # The reasons take turns, so that each stands beside each answered item somewhere.
            place + 1: answers[place] if present[place] else codes[(pattern + place) % 3]
            for place in range(12)
        }
        expected = oracle(key, [a if p else None for a, p in zip(answers, present, strict=True)], top)
        for line in score(form, given_values):
            mean, n_answered = expected[line.scale]
            assert (line.mean, line.n_answered) == (mean, n_answered), (pattern, line)
            assert line.total == (None if mean is None else pytest.approx(mean * line.n_items, rel=1e-15))


@given(raw_answers)
def test_the_reason_for_a_missing_answer_does_not_change_a_score(answers):
    present = {number: value for number, value in answers.items() if value > 0}
    assert score(WAI_S, answers) == score(WAI_S, present)
