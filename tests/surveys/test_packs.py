"""Instrument files: what ships is right, what is uploaded is checked, every fault is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from analytics.frozen import tables
from surveys import packs
from surveys.packs import InstrumentFile, InstrumentFileError, UnreadableFileError, built_in, parse

SMALL_FORM = """\
code = "mood"
version = "1"
rater = "patient"
language = "nb"
title = "Stemning i timen"
demonstration = false
licence = "Written by the clinic."
instruction = "Tenk på timen i dag."
level = "session"
scoring_version = "item-mean-1"
options = [
  { value = 0, label = "Nei" },
  { value = 1, label = "Litt" },
  { value = 2, label = "Ja" },
]
items = [
  { number = 1, text = "Jeg var rolig." },
  { number = 2, text = "Jeg var urolig." },
]
reversed = [2]
scales = [
  { code = "calm", title = "Ro", items = [1, 2], min_share = 0.75, unverified = true },
]
"""

WAI_36_KEY = {
    "task": (2, 4, 7, 11, 13, 15, 16, 18, 24, 31, 33, 35),
    "bond": (1, 5, 8, 17, 19, 20, 21, 23, 26, 28, 29, 36),
    "goal": (3, 6, 9, 10, 12, 14, 22, 25, 27, 30, 32, 34),
    "total": tuple(range(1, 37)),
}
WAI_36_REVERSED = [1, 3, 7, 9, 10, 11, 12, 15, 20, 27, 29, 31, 33, 34]
WAI_SRT_KEY = {
    "task": (1, 4, 10),
    "bond": (2, 5, 7, 9),
    "goal": (3, 6, 8),
    "total": tuple(range(1, 11)),
}
WAI_S_KEY = {
    "task": (1, 2, 8, 12),
    "bond": (3, 5, 7, 9),
    "goal": (4, 6, 10, 11),
    "total": tuple(range(1, 13)),
}
WAI_SR_KEY = {
    "task": (1, 2, 10, 12),
    "bond": (3, 5, 7, 9),
    "goal": (4, 6, 8, 11),
    "total": tuple(range(1, 13)),
}


MOOD = parse(SMALL_FORM.encode())
MANNER = ("affirming", "directive", "reserved", "accommodating", "invested", "efficacious")


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(InstrumentFileError) as caught:
        parse(text.encode())
    return caught.value.problems


def shipped(code: str, rater: str, language: str = "en") -> InstrumentFile:
    return next(
        form for form in built_in() if (form.code, form.rater, form.language) == (code, rater, language)
    )


def reversed_items(form: InstrumentFile) -> list[int]:
    return [item.number for item in form.items if item.reverse]


def test_a_file_is_read_in_full():
    form = parse(SMALL_FORM.encode())
    assert (form.code, form.version, form.rater, form.language) == ("mood", "1", "patient", "nb")
    assert (form.title, form.instruction) == ("Stemning i timen", "Tenk på timen i dag.")
    assert (form.demonstration, form.licence, form.level) == (False, "Written by the clinic.", "session")
    assert form.scoring_version == "item-mean-1"
    assert [(option.value, option.label) for option in form.options] == [(0, "Nei"), (1, "Litt"), (2, "Ja")]
    assert (form.minimum, form.maximum) == (0, 2)
    assert [(item.number, item.text, item.reverse) for item in form.items] == [
        (1, "Jeg var rolig.", False),
        (2, "Jeg var urolig.", True),
    ]
    assert form.scales == (packs.Scale("calm", "Ro", (1, 2), min_share=0.75, unverified=True),)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted():
    data = b"\xef\xbb\xbf" + SMALL_FORM.replace("\n", "\r\n").encode()
    assert parse(data) == parse(SMALL_FORM.encode())


def test_a_scale_counts_as_verified_unless_the_file_says_otherwise():
    assert parse(SMALL_FORM.replace(", unverified = true", "").encode()).scales[0].unverified is False


def test_a_form_survives_the_way_through_a_json_column():
    for form in (*built_in(), parse(SMALL_FORM.encode())):
        assert InstrumentFile.from_definition(json.loads(json.dumps(form.to_definition()))) == form


def test_a_form_survives_the_way_through_its_file():
    written = replace(MOOD, title='Mood "quoted" \\ back', instruction="Two\nlines, and ٣ אב 🙂.")
    for form in (*built_in(), MOOD, written):
        assert parse(form.to_toml().encode()) == form


def test_a_stored_definition_passes_the_same_checks_as_a_file():
    definition = parse(SMALL_FORM.encode()).to_definition() | {"reversed": [3]}
    with pytest.raises(InstrumentFileError) as caught:
        InstrumentFile.from_definition(definition)
    assert caught.value.problems == ("File: 'reversed' names item 3, which is not on the form.",)


LANGUAGES = ("en", "de", "nb", "ar")
TRANSLATED = [("wai-s", "patient"), ("wai-s", "therapist"), ("wai-sr", "patient")]
TRANSLATED += [("wai-b3", "patient"), ("wai-b3", "therapist")]


def test_every_form_ships_and_all_are_marked_as_demonstration():
    names = {(form.code, form.rater, form.language, form.level) for form in built_in()}
    assert names == {
        *((code, rater, language, "session") for code, rater in TRANSLATED for language in LANGUAGES),
        ("wai-36", "patient", "en", "session"),
        ("wai-36", "therapist", "en", "session"),
        ("wai-srt", "therapist", "en", "session"),
        ("dpccq-feelings", "therapist", "en", "session"),
        ("dpccq-feelings-general", "therapist", "en", "trait"),
        ("dpccq-difficulties", "therapist", "en", "trait"),
        ("dpccq-coping", "therapist", "en", "trait"),
        ("dpccq-manner", "therapist", "en", "trait"),
    }
    for form in built_in():
        assert form.demonstration
        assert "not the wording of the published instrument" in form.licence


@pytest.mark.parametrize(("code", "rater"), TRANSLATED)
@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_shipped_translation_is_the_same_form_in_other_words(code, rater, language):
    english, translation = shipped(code, rater), shipped(code, rater, language)
    assert packs.version_problems(translation, english) == ()
    for item, twin in zip(translation.items, english.items, strict=True):
        assert item.text != twin.text
    assert len({option.label for option in translation.options}) == len(translation.options)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_stands_twice_on_a_shipped_form(language):
    for form in built_in():
        if form.language == language:
            assert len({item.text for item in form.items}) == len(form.items), form.name


def test_the_words_of_an_item_are_the_same_on_every_shipped_form_that_uses_it():
    """The short forms take their items from the long one: WAI-S from 2 4 8 ..., WAI-SR from 25 4 8 ..."""
    long = {item.number: item.text for item in shipped("wai-36", "patient").items}
    for code, numbers in (
        ("wai-s", (2, 4, 8, 12, 21, 22, 23, 24, 26, 27, 32, 35)),
        ("wai-sr", (25, 4, 8, 30, 19, 22, 23, 24, 36, 16, 32, 35)),
        ("wai-b3", (36, 16, 32)),
    ):
        assert [item.text for item in shipped(code, "patient").items] == [long[n] for n in numbers]


def test_shipped_files_are_named_after_code_rater_and_language():
    folder = Path(packs.__file__).parent / "instruments"
    for path in folder.iterdir():
        form = parse(path.read_bytes())
        assert path.name == f"{form.code}.{form.rater}.{form.language}.toml"


@pytest.mark.parametrize(
    ("code", "rater", "points", "key", "reversed_key"),
    [
        ("wai-36", "patient", (1, 7), WAI_36_KEY, WAI_36_REVERSED),
        ("wai-36", "therapist", (1, 7), WAI_36_KEY, WAI_36_REVERSED),
        ("wai-s", "patient", (1, 7), WAI_S_KEY, [4, 10]),
        ("wai-s", "therapist", (1, 7), WAI_S_KEY, [4, 10]),
        ("wai-sr", "patient", (1, 5), WAI_SR_KEY, []),
        ("wai-srt", "therapist", (1, 5), WAI_SRT_KEY, []),
        ("wai-b3", "patient", (1, 5), {"total": (1, 2, 3)}, []),
        ("wai-b3", "therapist", (1, 5), {"total": (1, 2, 3)}, []),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_alliance_forms_carry_the_published_key(code, rater, points, key, reversed_key, language):
    if language != "en" and (code, rater) not in TRANSLATED:
        return
    form = shipped(code, rater, language)
    assert (form.minimum, form.maximum) == points
    assert [item.number for item in form.items] == list(key["total"])
    assert {scale.code: scale.items for scale in form.scales} == key
    assert reversed_items(form) == reversed_key
    for scale in form.scales:
        assert scale.min_share == (0.80 if scale.code == "total" else 0.75)
        assert scale.unverified is (code == "wai-srt")


@pytest.mark.parametrize(
    ("code", "points", "sizes", "unverified"),
    [
        ("dpccq-feelings", (0, 3), {"flow": 4, "anxiety": 4, "boredom": 4}, {"flow", "anxiety", "boredom"}),
        (
            "dpccq-feelings-general",
            (0, 3),
            {"flow": 4, "anxiety": 4, "boredom": 4},
            {"flow", "anxiety", "boredom"},
        ),
        (
            "dpccq-coping",
            (0, 5),
            {"constructive_coping": 6, "avoidant_coping": 6},
            {"constructive_coping", "avoidant_coping"},
        ),
        ("dpccq-manner", (0, 3), dict.fromkeys(MANNER, 4), set(MANNER)),
        (
            "dpccq-difficulties",
            (0, 5),
            {"self_doubt": 9, "frustrating_case": 6, "negative_reaction": 5},
            {"frustrating_case", "negative_reaction"},
        ),
    ],
)
def test_therapist_forms_mark_the_scales_whose_composition_is_unverified(code, points, sizes, unverified):
    form = shipped(code, "therapist")
    assert (form.minimum, form.maximum) == points
    assert {scale.code: len(scale.items) for scale in form.scales} == sizes
    assert {scale.code for scale in form.scales if scale.unverified} == unverified
    assert reversed_items(form) == []
    members = [number for scale in form.scales for number in scale.items]
    assert sorted(members) == [item.number for item in form.items]


def beside_mood(text: str) -> tuple[str, ...]:
    return packs.version_problems(parse(text.encode()), MOOD)


def test_a_translation_a_new_version_and_the_same_file_again_stand_beside_a_form():
    assert beside_mood(SMALL_FORM) == ()
    assert (
        beside_mood(SMALL_FORM.replace('"nb"', '"de"').replace("rolig", "ruhig").replace('"Ro"', '"Ruhe"'))
        == ()
    )
    changed = SMALL_FORM.replace('version = "1"', 'version = "2"').replace("reversed = [2]", "reversed = []")
    assert beside_mood(changed) == ()


def test_other_words_under_the_same_version_are_refused():
    assert beside_mood(SMALL_FORM.replace("rolig", "trygg")) == (
        "File: mood (patient, nb, 1) is there with other content. Give the changed file a new version.",
    )


def test_another_range_is_refused_under_every_version():
    text = SMALL_FORM.replace('version = "1"', 'version = "2"').replace(
        '  { value = 0, label = "Nei" },\n', ""
    )
    assert beside_mood(text) == (
        "Options: mood (patient, nb, 1) answers from 0 to 2, this file from 1 to 2. "
        "Give a form with another range a code of its own.",
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("number = 2", "number = 3", "Items: mood (patient, nb, 1) has 1 2, this file 1 3."),
        ("reversed = [2]", "reversed = []", "Reversed items: mood (patient, nb, 1) has 2, this file none."),
        ('"session"', '"trait"', "Level: mood (patient, nb, 1) has session, this file trait."),
        (
            "demonstration = false",
            "demonstration = true",
            "Demonstration: mood (patient, nb, 1) has false, this file true.",
        ),
        ('"calm"', '"rest"', "Scales: mood (patient, nb, 1) has calm, this file rest."),
        ("items = [1, 2]", "items = [2]", "Scale calm, items: mood (patient, nb, 1) has 1 2, this file 2."),
        ("0.75", "0.5", "Scale calm, min_share: mood (patient, nb, 1) has 0.75, this file 0.5."),
        (
            ", unverified = true",
            "",
            "Scale calm, unverified: mood (patient, nb, 1) has true, this file false.",
        ),
    ],
)
def test_a_translation_that_is_another_form_is_refused_by_name(old, new, problem):
    text = SMALL_FORM.replace('language = "nb"', 'language = "de"').replace(old, new)
    if "number = 3" in text:
        text = text.replace("[2]", "[3]").replace("[1, 2]", "[1, 3]")
    found = beside_mood(text)
    assert any(sentence.startswith(problem) for sentence in found), found
    assert all(sentence.endswith("give another form a version of its own.") for sentence in found)


def test_items_in_another_order_are_another_form():
    lines = SMALL_FORM.replace('language = "nb"', 'language = "de"').splitlines()
    at = next(i for i, line in enumerate(lines) if "number = 1" in line)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    (problem,) = beside_mood("\n".join(lines))
    assert problem.startswith("Items: mood (patient, nb, 1) has 1 2, this file 2 1.")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('code = "mood"\n', "", "File: 'code' is missing."),
        ("reversed = [2]\n", "", "File: 'reversed' is missing."),
        ("number = 1, ", "", "Items, entry 1: 'number' is missing."),
        ('label = "Nei" ', 'label = "Nei", formula = "x + 1" ', "Options, entry 1: unknown key 'formula'."),
        ('code = "mood"', 'code = "../../x"', "File: 'code' must be lower-case letters, digits and hyphens"),
        ('code = "mood"', 'code = "CON"', "File: 'code' must be lower-case letters, digits and hyphens"),
        (
            'code = "mood"',
            f'code = "{"a" * 41}"',
            "File: 'code' must be lower-case letters, digits and hyphens",
        ),
        ('code = "mood"', 'code = "mood\\n"', "File: 'code' must be lower-case letters, digits and hyphens"),
        ('version = "1"', "version = 1", "File: 'version' must be lower-case letters, digits, dots, hyphens"),
        ('language = "nb"', 'language = "Norsk"', "File: 'language' must be a language tag"),
        ('language = "nb"', 'language = "de-CH-variants"', "File: 'language' must be a language tag"),
        (
            'rater = "patient"',
            'rater = "nurse"',
            "File: 'rater' must be one of: patient, therapist; found 'nurse'.",
        ),
        ('level = "session"', 'level = "day"', "File: 'level' must be one of: session, trait; found 'day'."),
        (
            '"item-mean-1"',
            '"sum(items)"',
            "File: 'scoring_version' must be one of: item-mean-1; found 'sum(items)'.",
        ),
        (
            "demonstration = false",
            "demonstration = 0",
            "File: 'demonstration' must be true or false; found 0.",
        ),
        ('"Stemning i timen"', '"  "', "File: 'title' is empty."),
        ('"Stemning i timen"', "7", "File: 'title' must be text in quotation marks."),
        ('"Stemning i timen"', f'"{"x" * 201}"', "File: 'title' is longer than 200 characters."),
        ('"Jeg var rolig."', '"Jeg\\u0000"', "Items, entry 1: 'text' holds a control character."),
        ('"Jeg var rolig."', f'"{"x" * 501}"', "Items, entry 1: 'text' is longer than 500 characters."),
        ('label = "Litt"', 'label = ""', "Options, entry 2: 'label' is empty."),
        ("value = 2", "value = 3", "File: 'options' must have consecutive values in rising order."),
        ("value = 1,", "value = 0,", "File: 'options' holds value 0 2 times."),
        (
            "value = 2",
            "value = 1.0",
            "Options, entry 3: 'value' must be a whole number from 0 to 999; found 1.0.",
        ),
        (
            "value = 2",
            "value = true",
            "Options, entry 3: 'value' must be a whole number from 0 to 999; found true.",
        ),
        (
            "value = 0",
            "value = -99",
            "Options, entry 1: 'value' must be a whole number from 0 to 999; found -99.",
        ),
        ("number = 2", "number = 1", "File: 'items' holds item number 1 2 times."),
        (
            "number = 2",
            "number = 0",
            "Items, entry 2: 'number' must be a whole number from 1 to 999; found 0.",
        ),
        ("reversed = [2]", "reversed = [4]", "File: 'reversed' names item 4, which is not on the form."),
        ("reversed = [2]", "reversed = [2, 2]", "File: 'reversed' holds item 2 2 times."),
        ("reversed = [2]", 'reversed = "2"', "File: 'reversed' must be a list of at most 200 item numbers."),
        (
            "items = [1, 2]",
            "items = [1, 3]",
            "Scales, entry 1: 'items' names item 3, which is not on the form.",
        ),
        ("items = [1, 2]", "items = [1, 1]", "Scales, entry 1: 'items' holds item 1 2 times."),
        (
            "items = [1, 2]",
            "items = [true]",
            "Scales, entry 1: 'items' names item true, which is not on the form.",
        ),
        (
            "items = [1, 2]",
            "items = []",
            "Scales, entry 1: 'items' is empty: a scale needs at least one item.",
        ),
        (
            'code = "calm"',
            'code = "a b"',
            "Scales, entry 1: 'code' must be lower-case letters, digits and underscores",
        ),
        (
            "min_share = 0.75",
            "min_share = 1.5",
            "Scales, entry 1: 'min_share' must be a number above 0 and at most 1",
        ),
        (
            "min_share = 0.75",
            "min_share = nan",
            "Scales, entry 1: 'min_share' must be a number above 0 and at most 1",
        ),
        (
            "min_share = 0.75",
            "min_share = true",
            "Scales, entry 1: 'min_share' must be a number above 0 and at most 1",
        ),
        (
            "unverified = true",
            'unverified = "no"',
            "Scales, entry 1: 'unverified' must be true or false; found 'no'.",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(old, new, problem):
    assert SMALL_FORM.count(old) == 1
    found = problems_of(SMALL_FORM.replace(old, new))
    assert any(sentence.startswith(problem) for sentence in found), found


def test_a_response_scale_needs_more_than_one_value():
    start, end = SMALL_FORM.index("  { value = 1"), SMALL_FORM.index("]\nitems")
    assert problems_of(SMALL_FORM[:start] + SMALL_FORM[end:]) == (
        "File: 'options' must lead from a lower value to a higher one.",
    )


@pytest.mark.parametrize(
    "code", [*(column.name for column in tables([])[0].columns), "item_7", "calm_answered"]
)
def test_a_scale_cannot_take_another_column_of_the_dataset(code):
    sentence = "Scales, entry 1: 'code' is the name of another column of the dataset; choose another one."
    assert problems_of(SMALL_FORM.replace('code = "calm"', f'code = "{code}"')) == (sentence,)


def test_two_scales_of_one_code_are_refused():
    scale = '  { code = "calm", title = "Ro", items = [1], min_share = 1 },\n'
    assert problems_of(SMALL_FORM.replace("scales = [\n", "scales = [\n" + scale)) == (
        "File: 'scales' holds scale code calm 2 times.",
    )


@pytest.mark.parametrize("entries", ["[]", "3", '"x"'])
def test_a_list_that_is_empty_or_no_list_is_refused(entries):
    text = SMALL_FORM[: SMALL_FORM.index("scales")] + f"scales = {entries}"
    assert problems_of(text) == ("File: 'scales' must be a list with at least one entry.",)


def test_an_entry_that_is_no_table_is_refused():
    text = SMALL_FORM.replace("items = [\n", "items = [\n  7,\n")
    assert problems_of(text) == ("Items, entry 1: must be a table such as { number = … }.",)


def test_a_list_of_too_many_entries_is_refused_as_a_whole():
    many = "".join(f'{{ number = {n}, text = "x" }},' for n in range(1, 202))
    start, end = SMALL_FORM.index("items = ["), SMALL_FORM.index("reversed")
    text = f"{SMALL_FORM[:start]}items = [{many}]\n{SMALL_FORM[end:]}"
    assert "File: 'items' has 201 entries; at most 200 are allowed." in problems_of(text)


def test_all_faults_are_reported_at_once_and_each_only_once():
    text = (
        SMALL_FORM.replace("number = 1, ", "")
        .replace("number = 2, ", "")
        .replace("reversed = [2]", "reversed = []")
    )
    text = text.replace('rater = "patient"', 'rater = "nurse"').replace("items = [1, 2]", "items = [9]")
    assert sorted(problems_of(text)) == [
        "File: 'rater' must be one of: patient, therapist; found 'nurse'.",
        "Items, entry 1: 'number' is missing.",
        "Items, entry 2: 'number' is missing.",
        "Scales, entry 1: 'items' names item 9, which is not on the form.",
    ]


def test_an_unreadable_value_gives_no_further_complaint_about_order():
    assert problems_of(SMALL_FORM.replace("value = 1,", 'value = "1",')) == (
        "Options, entry 2: 'value' must be a whole number from 0 to 999; found '1'.",
    )


def test_a_problem_does_not_repeat_a_long_value():
    for value in (f'"{"x" * 100_000}"', "0x" + "f" * 100_000):
        (problem,) = problems_of(SMALL_FORM.replace('"patient"', value))
        assert len(problem) < 150


def test_a_definition_that_is_no_table_is_refused():
    with pytest.raises(InstrumentFileError, match="must be a table"):
        InstrumentFile.from_definition([])  # type: ignore[arg-type]


def test_a_lone_surrogate_in_a_definition_is_refused():
    definition = parse(SMALL_FORM.encode()).to_definition() | {"title": "a\ud800"}
    with pytest.raises(InstrumentFileError, match="'title' holds a control character"):
        InstrumentFile.from_definition(definition)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (SMALL_FORM.encode() + b"#" * 200_000, "The file is larger than 200 kB."),
        (SMALL_FORM.encode("utf-16"), "The file is not UTF-8 text (byte 1)."),
        (b"PK\x03\x04\x14\x00\xff\xfe", "The file is not UTF-8 text (byte 7)."),
        (b"<?xml version='1.0'?><form/>", "The file is not valid TOML: "),
        (b"--- !!python/object/apply:os.system [ls]\n", "The file is not valid TOML: "),
        (b'{"$ref": "http://example.org/form.json"}', "The file is not valid TOML: "),
        (b"a = 1\na = 2\n", "The file is not valid TOML: "),
        (b"a = " + b"1" * 5000, "The file is not valid TOML: "),
        (b"a = " + b"[" * 190_000, "The file is not valid TOML: it is nested too deeply."),
        (b"a = 1\n" + b"a." * 90_000 + b"a = 1", "Line 2 holds more than 40 full stops."),
        ('"\u2028".'.encode() * 100 + b"a = 1", "Line 1 holds more than 40 full stops."),
    ],
)
def test_what_is_no_instrument_file_is_refused(data, problem):
    with pytest.raises(UnreadableFileError) as caught:
        parse(data)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(problem)
