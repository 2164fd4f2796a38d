"""One set of numbers: the picture, its table and its sentence say the same and no more."""

import itertools
import json
from dataclasses import dataclass
from datetime import date

import pytest
import vl_convert

from analytics import charts, wording
from analytics.look import PICTURE


@dataclass(frozen=True)
class Point:
    session: int
    value: float
    submitted_on: date = date(2026, 5, 12)


@dataclass(frozen=True)
class Course:
    session: int
    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Asked:
    number: int
    state: str


PATIENT = [Point(3, 5.25), Point(12, 4.0)]
THERAPIST = [Point(3, 4.5)]
EXPECTED = [Course(session, 5.0 + session / 100, 4.2, 5.9) for session in range(3, 21)]
ASKED = [Asked(3, "received"), Asked(12, "received"), Asked(16, "missing"), Asked(20, "planned")]


def panel(**changes: object) -> charts.Panel:
    given = {
        "patient": PATIENT,
        "therapist": THERAPIST,
        "expected": EXPECTED,
        "planned": ASKED,
        "perspective": "patient",
        "minimum": 1,
        "maximum": 7,
        "horizon": 20,
    }
    return charts.Panel(**(given | changes))


def spec(**changes: object) -> dict:
    looks = {name: changes.pop(name) for name in ("colours", "is_small", "writing") if name in changes}
    return charts.panel_spec(panel(**changes), **looks)


def rows_of(chart: dict, name: str) -> list[dict]:
    return next(layer["data"]["values"] for layer in chart["layer"] if layer.get("name") == name)


def test_the_picture_holds_the_numbers_of_the_table() -> None:
    chart, table = spec(), charts.table(panel())
    assert {(row["session"], row["value"]) for row in rows_of(chart, "patient_points")} == {
        (row.session, row.patient) for row in table if row.patient is not None
    }
    assert {(row["session"], row["value"]) for row in rows_of(chart, "therapist_points")} == {
        (row.session, row.therapist) for row in table if row.therapist is not None
    }
    band = {row["session"]: (row["value"], row["lower"], row["upper"]) for row in rows_of(chart, "band")}
    for row in table:
        assert band[row.session] == (row.expected, row.lower, row.upper)
    assert [row.session for row in table] == [3, 12, 16, 20]


def test_the_whole_response_scale_is_shown_and_a_missing_form_is_marked() -> None:
    chart = spec(minimum=1, maximum=5)
    assert chart["encoding"]["y"]["scale"]["domain"] == [1, 5]
    assert [row["words"] for row in rows_of(chart, "missing")] == ["Session 16: no form came in"]


def test_a_mark_reads_itself_aloud() -> None:
    words = [row["words"] for row in rows_of(spec(), "patient_points")]
    assert words[1] == "Session 12, patient, 4.0, expected 5.1 (4.2 to 5.9)"
    assert rows_of(spec(), "therapist_points")[0]["words"] == "Session 3, therapist, 4.5"


def test_the_picture_is_drawn_from_any_subset_of_the_numbers() -> None:
    for changes in (
        {},
        {"patient": [], "therapist": [], "expected": [], "planned": []},
        {"expected": []},
        {"patient": [], "planned": [Asked(3, "declined")]},
    ):
        chart = spec(colours=PICTURE, **changes)
        json.dumps(chart)
        drawn = vl_convert.vegalite_to_svg({**chart, "width": 600})
        assert drawn.startswith("<svg")
        assert ("Session 12, patient" in drawn) is (changes.get("patient") != [])


@pytest.mark.parametrize(
    ("ratings", "expected", "said"),
    [
        ([], EXPECTED, "There is no patient rating to show yet."),
        (PATIENT, [], "4.0, of 12 May 2026 (session 12 of 14). There is no expected course"),
        (
            PATIENT,
            EXPECTED,
            "14). It is 1.1 below the expected course, and outside the range of 80 % (4.2 to 5.9).",
        ),
        ([Point(12, 5.12)], EXPECTED, "It is as expected, and within the range"),
        ([Point(12, 5.5)], EXPECTED, "It is 0.4 above the expected course, and within the range"),
    ],
)
def test_the_sentence_says_what_the_last_rating_and_its_band_carry(
    ratings: list[Point], expected: list[Course], said: str
) -> None:
    assert said in wording.sentence("patient", ratings, expected, n_held=14)


def test_the_names_beside_the_lines_never_lie_on_each_other() -> None:
    chart = spec(patient=[Point(3, 5.0)], therapist=[Point(3, 5.0)], expected=[Course(3, 5.0, 4.0, 6.0)])
    heights = sorted(
        layer["data"]["values"][0]["value"] for layer in chart["layer"] if layer["mark"]["type"] == "text"
    )
    assert len(heights) == 3
    assert all(after - before > 0.3 for before, after in itertools.pairwise(heights))


def test_a_page_read_from_right_to_left_turns_the_scales_and_brings_its_own_words_and_numbers() -> None:
    arabic = wording.Writing(
        translate=lambda words: words.replace("patient", "مريض"),
        number=lambda value: f"{value:.1f}".replace(".", ","),
        is_rtl=True,
    )
    chart = spec(writing=arabic)
    assert chart["encoding"]["x"]["scale"]["reverse"] is True
    assert chart["encoding"]["y"]["axis"]["orient"] == "right"
    names = [layer["mark"] for layer in chart["layer"] if layer["mark"]["type"] == "text"]
    assert {(mark["align"], mark["dx"]) for mark in names} == {("right", -8)}
    words = [row["words"] for row in rows_of(chart, "patient_points")]
    assert words[1] == "Session 12, مريض, 4,0, expected 5,1 (4,2 to 5,9)"
    assert rows_of(chart, "patient_points")[1]["value"] == 4.0
    assert spec()["encoding"]["x"]["scale"]["reverse"] is False
    assert spec()["encoding"]["y"]["axis"]["orient"] == "left"


def test_the_sentence_never_contradicts_the_numbers_that_it_prints() -> None:
    """5.04 and a range from 5.049 are both printed as 5.0: within, as a reader sees it."""
    said = wording.sentence("patient", [Point(3, 5.04)], [Course(3, 5.5, 5.049, 6.2)], n_held=3)
    assert "within the range of 80 % (5.0 to 6.2)" in said


def test_a_course_of_one_session_and_hidden_forms_are_drawn() -> None:
    chart = spec(patient=[], therapist=[], expected=[EXPECTED[0]], planned=[Asked(3, "received")])
    assert rows_of(chart, "hidden")[0]["words"] == "Session 3: received, not shown"
    assert {layer["mark"]["type"] for layer in chart["layer"]} >= {"rule", "tick"}
    assert "Session 3: received" in vl_convert.vegalite_to_svg({**chart, "width": 600})


def test_a_pause_is_a_hairline_with_a_word_between_its_sessions() -> None:
    pauses = [wording.Pause(0, "taken_over"), wording.Pause(7, "break", 6)]
    rows = rows_of(spec(pauses=pauses), "pauses")
    assert rows == [
        {"session": 0.5, "words": "Taken over from another therapist"},
        {"session": 7.5, "words": "Break: 6 weeks"},
    ]
    drawn = vl_convert.vegalite_to_svg({**spec(pauses=pauses, colours=PICTURE), "width": 600})
    assert drawn.count("Break: 6 weeks") >= 2, "as a word, and as what the line says of itself"


def test_a_small_picture_has_the_same_marks_and_no_names_at_its_lines() -> None:
    large, small = spec(), spec(is_small=True)
    for name in ("patient_points", "therapist_points", "band", "missing"):
        assert rows_of(large, name) == rows_of(small, name)
    texts = [layer for layer in small["layer"] if layer["mark"]["type"] == "text"]
    assert texts == []
    assert small["encoding"]["y"]["scale"]["domain"] == [1, 7]


def test_a_rater_on_another_scale_stands_in_the_table_alone() -> None:
    other = panel(has_one_scale=False)
    names = {layer.get("name") for layer in charts.panel_spec(other)["layer"]}
    assert "patient_points" in names and "therapist_points" not in names
    assert [row.therapist for row in charts.table(other)] == [4.5, None, None, None]


def test_a_possible_dip_is_a_mark_and_a_word_under_its_rating() -> None:
    rows = rows_of(spec(dips=[12, 13]), "dips")
    assert [(row["session"], row["value"]) for row in rows] == [(12, 4.0)], "none where no rating is shown"
    assert rows[0]["words"] == "Session 12: possible dip, worth asking about"
    assert "possible dip</text>" in vl_convert.vegalite_to_svg(
        {**spec(dips=[12], colours=PICTURE), "width": 600}
    )
    assert "dips" not in {layer.get("name") for layer in spec()["layer"]}


def test_words_of_possible_dips_do_not_lie_on_each_other() -> None:
    sessions = (2, 14, 15, 17, 20)
    crowd = spec(patient=[Point(session, 3.0) for session in sessions], dips=sessions)
    marks, words = (layer["data"]["values"] for layer in crowd["layer"] if "possible dip" in str(layer))
    assert [row["session"] for row in marks] == [2, 14, 15, 17, 20]
    assert [row["session"] for row in words] == [20, 17, 14, 2], "the latest first, with room between"
