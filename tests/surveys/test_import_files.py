"""Which files are tables of ratings, how they are read, and what of a row is taken over."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyreadstat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import DataFrame

from surveys.imports.guess import guess
from surveys.imports.mapping import Mapping, MappingRefused, read
from surveys.imports.reasons import CODES, FileRefused, sentence
from surveys.imports.rows import Entry, Rejected, RowReader, looks_like_names
from surveys.imports.source import Head, head, opened
from surveys.packs import built_in
from surveys.sentences import Sentence, translated

FORMS = {form.rater: form for form in built_in() if form.code == "wai-s" and form.language == "en"}
ITEMS = [f"wai_{number}" for number in range(1, 13)]
TODAY = date(2026, 5, 12)


def content(head: Sequence[object], *rows: Sequence[object], mark: str = ",") -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=mark, lineterminator="\n").writerows([head, *rows])
    return buffer.getvalue().encode()


def found(data: bytes, **changes: object) -> list[Entry | Rejected]:
    """Every form of the first rows, mapped as guessed with these changes."""
    first = head([data])
    mapping = dataclasses.replace(guess(first, FORMS), **changes)
    reader = RowReader(mapping, first.columns.names, FORMS, TODAY)
    return [one for number, cells in first.rows for one in reader(number, cells)]


def refusal(data: bytes) -> str:
    with pytest.raises(FileRefused) as refused, opened([data]) as (_columns, rows):
        list(rows)
    assert isinstance(refused.value.sentence, Sentence)
    return str(refused.value.sentence)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_table_is_the_same_whatever_its_separator_mark_and_line_ends(
    mark: str, bom: bytes, end: bytes
) -> None:
    data = content(["id", "Größe, cm"], ["1", "two\nlines"], ["2", ""], mark=mark)
    first = head([bom + data.replace(b"\n", end)])
    assert first.columns.names == ("id", "Größe, cm")
    assert [(number, cells[0]) for number, cells in first.rows] == [(2, "1"), (3, "2")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"just words\n1\n", "no table"),
        ("a;b\n1;2\n".encode("utf-16"), "Line 1 is not UTF-8"),
        ("a;b\n1;2\nGröße;1\n".encode("latin-1"), "Line 3 is not UTF-8"),
        (b"a,b\n1,\x002\n", "Line 2 holds characters"),
        (b'a,b\n1,2\n"open,2\n' + b"3,4\n" * 40_000, "Line 3 cannot be read"),
        (b"a,b\n" + b"1" * 2_000_000, "Line 2 is far too long"),
        (b"a,a\n1,2\n", "more than one column: a"),
        (b"a,,c\n1,2,3\n", "Column 2 has no name"),
        (b"PK\x03\x04,\xff\xfe", "Line 1 is not UTF-8"),
        (b"$FL2" + b"\x00" * 300, "SPSS file cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_with_a_sentence(data: bytes, words: str) -> None:
    assert words in refusal(data)


def test_columns_without_a_row_are_no_file_of_ratings() -> None:
    with pytest.raises(FileRefused, match="no row below"):
        head([b"a,b\n"])


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_rows_or_a_sentence_and_never_a_crash(data: bytes) -> None:
    if data[:4] in (b"$FL2", b"$FL3"):
        return
    try:
        with opened([data]) as (columns, rows):
            for number, cells in rows:
                assert number >= 2 and cells
            assert len(columns.names) >= 2
    except FileRefused as refused:
        assert translated(refused.sentence, str) == refused.sentence


cells = st.text(max_size=12) | st.sampled_from(
    ["1", "7", "5.0", "4,5", "-99", "P", "T", "2015-03-01", "12", ""]
)


@given(st.lists(st.lists(cells, min_size=17, max_size=17), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_stands_in_the_cells_every_row_is_accepted_or_rejected_with_a_reason(
    rows: list[list[str]],
) -> None:
    names = ("patient", "therapist", "session", "date", "rater", *ITEMS)
    mapping = guess(Head(head([content(names, ["1"] * 17)]).columns, ()), FORMS)
    mapping = dataclasses.replace(mapping, patient_words="P", therapist_words="T", forms={})
    reader = RowReader(mapping, names, FORMS, TODAY)
    for number, row in enumerate(rows, start=2):
        (one,) = reader(number, row)
        if isinstance(one, Rejected):
            assert one.reason.code in CODES and str(sentence(one.reason.code, one.reason.values))
        else:
            form = FORMS[one.rater]
            given = [value for value in one.answers.values() if value > 0]
            assert given and all(form.minimum <= value <= form.maximum for value in given)
            assert set(one.answers) == {item.number for item in form.items}


def test_a_long_file_is_recognised_and_numbers_have_points_or_commas() -> None:
    names = ["Pat_ID", "Ther_ID", "Session_No", "Date", "Rater", *ITEMS]
    row = ["7", "B", "3,0", "1.3.2015", "patient", *["5,0", "4.0", "-98", ""], *["6"] * 8]
    (one,) = found(content(names, row, mark=";"))
    assert isinstance(one, Entry)
    assert (one.patient, one.therapist, one.session, one.day) == ("7", "B", 3, date(2015, 3, 1))
    assert [one.answers[item] for item in range(1, 5)] == [5, 4, -98, -99]


@pytest.mark.parametrize(
    "text", ["3.5", "1e0", "0x3", "NaN", "inf", "٣", "３", "3 4", "1.234,5", "=3", "--3"]
)
def test_what_is_no_whole_number_is_no_answer(text: str) -> None:
    names = ["patient", "therapist", "session", "date", "rater", *ITEMS]
    (one,) = found(content(names, ["1", "A", "3", "", "P", text, *["5"] * 11]))
    assert isinstance(one, Rejected) and one.reason.code in ("not_a_number", "not_whole")
    assert one.reason.column == "wai_1"


@pytest.mark.parametrize(
    ("written", "text", "day"),
    [
        ("iso", "2015-03-01", date(2015, 3, 1)),
        ("iso", "2015-03-01 00:00:00", date(2015, 3, 1)),
        ("dots", "1.3.2015", date(2015, 3, 1)),
        ("day_first", "1/3/2015", date(2015, 3, 1)),
        ("month_first", "1/3/2015", date(2015, 1, 3)),
        ("iso", "2015-02-30", "bad_date"),
        ("iso", "1/3/2015", "bad_date"),
        ("iso", "15-03-01", "bad_date"),
        ("iso", "0015-03-01", "bad_date"),
        ("iso", "2026-05-13", "future"),
    ],
)
def test_a_day_is_read_in_the_way_that_was_chosen_and_in_no_other(
    written: str, text: str, day: object
) -> None:
    names = ["patient", "therapist", "session", "date", "rater", *ITEMS]
    (one,) = found(content(names, ["1", "A", "3", text, "P", *["5"] * 12]), day_format=written)
    assert (one.day if isinstance(one, Entry) else one.reason.code) == day


def test_a_wide_file_is_taken_apart_by_rater_and_session_and_places_without_answers_are_no_forms() -> None:
    names = [
        "pid",
        "tid",
        *(f"WAI_{who}_s{at}_{item}" for at in (3, 12) for who in "PT" for item in range(1, 13)),
    ]
    rows = [["7", "B", *["5"] * 12, *["4"] * 12, *["-99"] * 12, *[""] * 12], ["8", "B", *[""] * 48]]
    first = head([content(names, *rows)])
    mapping = guess(first, FORMS)
    assert (mapping.layout, mapping.pattern) == ("wide", "WAI_{rater}_s{session}_{item}")
    reader = RowReader(mapping, first.columns.names, FORMS, TODAY)
    forms = [one for number, cells in first.rows for one in reader(number, cells)]
    assert [(one.rater, one.session) for one in forms if isinstance(one, Entry)] == [
        ("patient", 3),
        ("therapist", 3),
    ]
    assert [one.reason.code for one in forms if isinstance(one, Rejected)] == ["empty"]
    assert reader.n_blank == 6


def test_scores_alone_have_no_answers_and_no_number_of_answered_items() -> None:
    (one,) = found(content(["pat", "ther", "wai_p_total_s12", "wai_p_bond_s12"], ["7", "B", "4,5", ""]))
    assert isinstance(one, Entry) and one.answers == {}
    assert set(one.scores) == {("total", 4.5, None, 12), ("bond", None, None, 4)}
    (sums,) = found(content(["pat", "ther", "wai_p_total_s12", "wai_p_bond_s12"], ["7", "B", "69", ""]))
    assert isinstance(sums, Rejected) and sums.reason.code == "out_of_range"


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"patient": ""}, "patient", "who the patient is"),
        ({"session": "gone"}, "session", "number of the session"),
        ({"rater": ""}, "rater", "who rated"),
        ({"pattern": "wai_{number}"}, "pattern", "must hold {item}"),
        ({"pattern": "other_{item}"}, "pattern", "No column"),
        ({"pattern": "wai_1, wai_2, lost"}, "pattern", "no column of this name: lost"),
        ({"pattern": "wai_1, wai_2"}, "pattern", "have no column: 3, 4, 5"),
        ({"missing": "8=7"}, "missing", "behind the equals sign"),
        ({"patient_words": "x", "therapist_words": "X"}, "therapist_words", "stands for both"),
    ],
)
def test_a_mapping_that_does_not_fit_says_what_is_wrong_and_where(
    changes: dict[str, str], field: str, words: str
) -> None:
    names = ("patient", "therapist", "session", "date", "rater", *ITEMS)
    whole = Mapping(
        patient="patient",
        therapist="therapist",
        session="session",
        rater="rater",
        pattern="wai_{item}",
        patient_words="P",
        therapist_words="T",
    )
    read(whole, names, FORMS)
    with pytest.raises(MappingRefused) as refused:
        read(dataclasses.replace(whole, **changes), names, FORMS)
    assert any(name == field and words in str(problem) for name, problem in refused.value.problems)


def spss(folder: Path) -> bytes:
    frame = DataFrame(
        {
            "nr": [1.0, 1.0],
            "beh": ["A", "A"],
            "sitz": [3.0, 3.0],
            "who": [1.0, 2.0],
            "held": [date(2015, 3, 1), None],
            **{name: [5.0, 4.0] for name in ITEMS},
        }
    )
    frame["wai_2"] = [8.0, -99.0]
    path = folder / "old.sav"
    pyreadstat.write_sav(
        frame,
        path,
        column_labels={
            "nr": "Patient",
            "beh": "Therapist",
            "sitz": "Session number",
            "who": "Rater",
            "held": "Date",
        },
        variable_value_labels={"who": {1: "Patient", 2: "Therapist"}},
        missing_ranges={"wai_2": [8, {"lo": -99, "hi": -97}]},
    )
    return path.read_bytes()


def test_labels_value_labels_and_declared_missing_codes_of_an_spss_file_are_recognised(
    tmp_path: Path,
) -> None:
    data = spss(tmp_path)
    first = head([data])
    mapping = guess(first, FORMS)
    assert (mapping.patient, mapping.therapist, mapping.session) == ("nr", "beh", "sitz")
    assert (mapping.rater, mapping.patient_words, mapping.therapist_words) == ("who", "1", "2")
    assert set(mapping.missing.split(", ")) == {"-99", "-98", "-97", "8"} and mapping.day == "held"
    patient, therapist = found(data)
    assert isinstance(patient, Entry) and isinstance(therapist, Entry)
    assert (patient.rater, patient.day, patient.answers[2]) == ("patient", date(2015, 3, 1), -99)
    assert (therapist.rater, therapist.day, therapist.answers[1]) == ("therapist", None, 4)


def test_a_broken_spss_file_ends_its_reader_and_nothing_else(tmp_path: Path) -> None:
    data = spss(tmp_path)
    assert "SPSS file cannot be read" in refusal(data[: len(data) // 2] + b"\xff" * 64)


def test_codes_that_look_like_names_or_addresses_are_noticed() -> None:
    assert looks_like_names(["anna@example.org", "17"])
    assert looks_like_names(["Miller, Anna", "Özdemir", "Grant"])
    assert not looks_like_names(["P01", "KLM", "a17", "AB", "1012"])


def test_every_reason_has_a_sentence_that_can_be_translated() -> None:
    values = {"value": "100 %", "low": 1, "high": 7, "other": 5, "item": 13, "scale": "x"}
    for code in CODES:
        assert translated(sentence(code, values), str) == sentence(code, values)
