"""Composites: hand-computed means of range-equalised components, missing where a component is missing."""

from dataclasses import replace

import pytest

from surveys.composites import component_value, composite_value, composites, equalised, parse_composites
from surveys.packs import InstrumentFileError, built_in
from surveys.scoring import score

HEALING, STRESSFUL = composites()
FORMS = {form.code: form for form in built_in() if form.language == "en" and form.rater == "therapist"}

SMALL_FILE = """\
version = "c-1"
[[composites]]
code = "joy"
title = "Joy"
components = [
  { code = "ease", instrument = "mood", scales = ["calm", "rest"] },
  { code = "drive", instrument = "mood", scales = ["drive"] },
]
"""


def healing(**changed: float | None) -> dict[tuple[str, str], float | None]:
    values = {
        "invested": 0.5,
        "efficacious": 0.75,
        "affirming": 1.0,
        "flow": 0.25,
        "constructive_coping": 0.5,
    }
    values |= changed
    return {key: values[part.code] for part in HEALING.components for key in part.keys}


def test_the_two_published_composites_ship_with_their_components():
    assert {part.code for part in HEALING.components} == {
        "invested",
        "efficacious",
        "affirming",
        "flow",
        "constructive_coping",
    }
    assert {part.code for part in STRESSFUL.components} == {
        "difficulties",
        "anxiety",
        "boredom",
        "avoidant_coping",
    }


def test_every_component_is_a_scale_of_a_form_about_practice_in_general():
    for composite in (HEALING, STRESSFUL):
        for part in composite.components:
            form = FORMS[part.instrument]
            assert form.level == "trait"
            assert set(part.scales) <= {scale.code for scale in form.scales}


@pytest.mark.parametrize(
    ("code", "mean", "share"),
    [
        ("dpccq-coping", 0.0, 0.0),
        ("dpccq-coping", 2.0, 0.4),
        ("dpccq-coping", 5.0, 1.0),
        ("dpccq-manner", 2.0, 2 / 3),
        ("wai-srt", 1.0, 0.0),
        ("wai-srt", 3.0, 0.5),
        ("wai-s", 7.0, 1.0),
    ],
)
def test_a_mean_is_equalised_by_the_range_of_its_own_form(code, mean, share):
    assert equalised(FORMS[code], mean) == pytest.approx(share, rel=1e-15)


def test_a_composite_is_the_mean_of_its_components():
    # (0.5 + 0.75 + 1 + 0.25 + 0.5) / 5
    assert composite_value(HEALING, healing()) == pytest.approx(0.6, rel=1e-15)


def test_a_component_of_several_scales_is_their_mean_and_weighs_once():
    form = "dpccq-difficulties"
    values = {(form, "self_doubt"): 0.2, (form, "frustrating_case"): 0.4, (form, "negative_reaction"): 0.9}
    values |= {("dpccq-feelings-general", "anxiety"): 0.1, ("dpccq-feelings-general", "boredom"): 0.3}
    values |= {("dpccq-coping", "avoidant_coping"): 0.5}
    assert component_value(STRESSFUL.components[0], values) == pytest.approx(0.5, rel=1e-15)
    # (0.5 + 0.1 + 0.3 + 0.5) / 4; by scales it would be 2.4 / 6 = 0.4.
    assert composite_value(STRESSFUL, values) == pytest.approx(0.35, rel=1e-15)


@pytest.mark.parametrize("code", [part.code for part in HEALING.components])
def test_a_composite_is_missing_when_a_component_is_missing(code):
    assert composite_value(HEALING, healing(**{code: None})) is None
    left_out = {key: value for key, value in healing().items() if key[1] != code}
    assert composite_value(HEALING, left_out) is None


@pytest.mark.parametrize("scale", ["self_doubt", "frustrating_case", "negative_reaction"])
def test_a_component_is_missing_when_one_of_its_scales_is_missing(scale):
    part = STRESSFUL.components[0]
    values = dict.fromkeys(part.keys, 0.5)
    assert component_value(part, values) == 0.5
    assert component_value(part, values | {(part.instrument, scale): None}) is None


def test_zero_is_a_value_and_not_missing():
    assert composite_value(HEALING, healing(flow=0.0)) == pytest.approx(0.55, rel=1e-15)


def test_from_answers_to_the_composite_by_hand():
    """All answers at 1: a third of the way on forms from 0 to 3, a fifth on those from 0 to 5."""
    values = {}
    for code in {part.instrument for composite in (HEALING, STRESSFUL) for part in composite.components}:
        form = FORMS[code]
        for line in score(form, dict.fromkeys([item.number for item in form.items], 1)):
            assert line.mean is not None
            values[code, line.scale] = equalised(form, line.mean)
    assert composite_value(HEALING, values) == pytest.approx((4 / 3 + 1 / 5) / 5, rel=1e-14)
    assert composite_value(STRESSFUL, values) == pytest.approx((2 / 3 + 2 / 5) / 4, rel=1e-14)


def test_a_definition_file_is_read():
    (joy,) = parse_composites(SMALL_FILE)
    assert (joy.code, joy.title, joy.version) == ("joy", "Joy", "c-1")
    assert [(part.code, part.keys) for part in joy.components] == [
        ("ease", (("mood", "calm"), ("mood", "rest"))),
        ("drive", (("mood", "drive"),)),
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('version = "c-1"', "", "File: 'version' is missing."),
        ('"joy"', '"Joy!"', "Composites, entry 1: 'code' must be lower-case letters"),
        ('"ease"', '"joy"', "File: 'composites' holds code joy 2 times."),
        ('"drive", instrument', '"ease", instrument', "File: 'composites' holds code ease 2 times."),
        ('"calm", "rest"', "", "Components, entry 1: 'scales' must be a list of 1 to 200 entries"),
        ('"calm", "rest"', '"calm", "calm"', "Components, entry 1: 'scales' holds entry calm 2 times."),
        ('"calm", "rest"', "7", "Components, entry 1: 'scales' must be lower-case letters"),
        ('title = "Joy"', 'title = "Joy"\nformula = "x + y"', "Composites, entry 1: unknown key 'formula'."),
    ],
)
def test_a_fault_of_a_definition_file_is_named(old, new, problem):
    assert old in SMALL_FILE
    with pytest.raises(InstrumentFileError) as caught:
        parse_composites(SMALL_FILE.replace(old, new, 1))
    assert any(sentence.startswith(problem) for sentence in caught.value.problems), caught.value.problems


def test_a_composite_without_components_has_no_value_of_its_own():
    with pytest.raises(InstrumentFileError, match="must be a list with at least one entry"):
        parse_composites(SMALL_FILE[: SMALL_FILE.index("components")] + "components = []")
    assert composite_value(replace(HEALING, components=HEALING.components[:1]), healing()) == 0.5
