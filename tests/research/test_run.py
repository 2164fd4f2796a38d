"""Answers of analyses: the numbers are the engine's own, and each pattern of them has its sentence."""

import json
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from analytics.growth import LongData, fit, fit_joint
from analytics.growth.compare import compare
from analytics.growth.times import Linear, Log, Occasion, Piecewise
from analytics.research import table
from analytics.research.cautions import cautions
from analytics.research.frames import Refusal, build, complete
from analytics.research.refusals import caution, refusal
from analytics.research.run import answer
from analytics.research.spec import AnalysisSpec, Predictor
from analytics.research.words import Words, effect_title, in_short, number
from surveys.progress import silent
from tests.research.tables import X, Z, question, simulated

WORDS = Words(titles={"x": "Unease", "z": "Calm"})
Result = dict[str, Any]


def model(result: Result, key: str) -> Result:
    return next(row for row in result["models"] if row["key"] == key)["result"]


def said(result: Result) -> str:
    return " ".join(in_short(result, WORDS))


def codes(result: Result) -> set[str]:
    return {row["code"] for row in result["cautions"]}


@pytest.fixture(scope="module")
def planted() -> tuple[dict[str, Any], AnalysisSpec, Result]:
    tables, spec = simulated(patient=(-0.45, 0.0)), question()
    return tables, spec, answer(tables, spec, silent)


def test_every_number_is_the_engine_s_own(planted: tuple[dict[str, Any], AnalysisSpec, Result]) -> None:
    tables, spec, result = planted
    frame = build(tables, spec)
    asked = spec.growth(frame.names)
    data = LongData.from_columns(complete(frame, ("patient",)), asked)
    alone = fit(data, asked).to_dict()
    joint = fit_joint(complete(frame, spec.raters), spec.joint(frame.names)).to_dict()
    assert model(result, "patient.conditional")["fixed"] == alone["fixed"]
    assert model(result, "joint")["contrasts"] == joint["contrasts"]
    small, large = (fit(data, spec.growth(names, "ml")) for names in ((), frame.names))
    found = next(row for row in result["comparisons"] if row["what"] == "predictors")
    assert found["test"]["p"] == compare(small, large).p


def test_a_model_s_rows_are_those_of_its_columns_without_a_gap(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    tables, spec, result = planted
    rows = build(tables, spec).rows
    for row in result["models"]:
        own = rows[rows["rater"].isin(row["rows"]["raters"])].dropna(subset=row["columns"])
        assert row["result"]["n"]["rows"] == len(own) > 0, row["key"]


def test_an_answer_goes_through_json_without_loss(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    result = planted[2]
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_planted_difference_is_said_with_its_interval(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    text = said(planted[2])
    assert "Unease (per standard deviation) goes with patients’ ratings 0." in text and "lower" in text
    assert "The difference, patients minus therapists, is −0." in text
    assert "No difference is shown for: Calm." in text


def test_where_nothing_differs_that_is_no_proof_of_no_difference() -> None:
    text = said(answer(simulated(seed=5), question(), silent))
    assert text.startswith("No difference between the perspectives is shown: of 4 differences tested, none")
    assert "no difference shown is not no difference" in text


def test_few_therapists_are_said_to_be_few() -> None:
    result = answer(simulated(n_therapists=15, n_patients=5), question(), silent)
    assert {"few_therapists", "many_predictors"} <= codes(result)
    shown = [caution(row, {}, WORDS) for row in result["cautions"]]
    assert any("15 therapists are few" in text for text in shown)


SMALL = {"n_therapists": 12, "n_patients": 3}
ALONE = question(instruments={"patient": "wai-s"}, predictors=(X,))


def cautioned(tables: dict[str, Any], spec: AnalysisSpec) -> dict[str, dict[str, Any]]:
    """Cautions about data and question by code, with their sentence."""
    found = list(cautions((), build(tables, spec), spec))
    return {row["code"]: {**row, "text": caution(row, {}, WORDS)} for row in found}


def test_an_effect_is_said_with_its_session_or_its_unit_of_time(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    result = deepcopy(planted[2])
    for row in model(result, "joint")["contrasts"]:
        row["p_holm"] = 0.01
    assert "Level at session 3: Unease (per standard deviation) goes with patients’ ratings" in said(result)
    assert "Growth per 10 sessions: Unease (per standard deviation) goes with growth" in said(result)
    by_log = {"names": list(Log(3, 3).names), "unit": 3.0, "zero": 3.0}
    assert effect_title("growth", by_log, WORDS) == "Growth per unit of ln(session)"


def test_a_level_beyond_the_ratings_is_said_to_be_drawn_out() -> None:
    tables = simulated(**SMALL)
    for origin, is_outside in ((1, False), (3, False), (60, True)):
        found = cautioned(tables, replace(ALONE, time=Linear(origin, 10).to_dict()))
        assert ("origin_outside" in found) is is_outside, origin
    assert (
        "time 0 is session 60, and these ratings are of sessions 3 to 40" in found["origin_outside"]["text"]
    )


def test_without_a_level_of_therapists_their_predictors_are_said_to_seem_too_sure() -> None:
    # At 5 % such tests reject in 16 (level) and 12 (growth) of 100 studies of 30 x 5 in which x does nothing.
    tables = simulated(**SMALL)
    without = replace(ALONE, therapist="none")
    assert "p is too small" in cautioned(tables, without)["no_therapist_level"]["text"]
    assert "rest on the number of therapists" not in said(answer(tables, without, silent))
    alone = replace(ALONE, therapist="intercept")
    assert "p is too small" in cautioned(tables, alone)["level_alone"]["text"]
    assert "rest on the number of therapists (12)" in said(answer(tables, alone, silent))
    assert "level_alone" in cautioned(tables, replace(ALONE, therapy="intercept"))
    assert not {"no_therapist_level", "level_alone"} & set(cautioned(tables, ALONE))


def test_predictors_that_nearly_repeat_each_other_are_said_to() -> None:
    tables, spec = simulated(**SMALL), replace(ALONE, predictors=(X, Z))
    assert "close_predictors" not in cautioned(tables, spec)
    tables["practice"]["z"] = tables["practice"]["x"] + 0.1 * tables["practice"]["z"]
    found = cautioned(tables, spec)["close_predictors"]
    assert found["names"] == ["x", "z"] and "x; z follow from" in found["text"]


def test_a_group_of_one_patient_and_what_is_known_only_later_are_said() -> None:
    tables = simulated(**SMALL)
    n = len(tables["therapies"])
    tables["therapies"]["patient_language"] = ["ar"] + ["en"] * (n - 1)
    tables["therapies"]["n_held"] = range(n)
    asked = (Predictor("therapy", "patient_language"), Predictor("therapy", "n_held"), X)
    spec = replace(ALONE, predictors=asked)
    found = cautioned(tables, spec)
    assert (found["few_in_group"]["name"], found["few_in_group"]["n"]) == ("patient_language_ar", 1)
    assert "may tell of one of them" in found["few_in_group"]["text"]
    assert found["later"]["names"] == ["n_held"]
    assert cautioned(tables, replace(spec, trait_at="latest"))["later"]["names"] == ["n_held", "x"]
    assert not {"few_in_group", "later"} & set(cautioned(tables, ALONE))


def test_predictors_that_do_not_vary_were_asked_about_all_the_same() -> None:
    tables = simulated(**SMALL)
    tables["practice"]["x"] = 2.0
    text = said(answer(tables, question(predictors=(X,)), silent))
    assert text.startswith("None of the predictors varies") and "asked about" not in text


def test_a_model_on_its_edge_keeps_its_numbers_and_says_so() -> None:
    tables = simulated(n_therapists=14, n_patients=3, therapist_sd=0.001, seed=11)
    result = answer(tables, question(), silent)
    assert "singular" in codes(result)
    shown = " ".join(caution(row, {}, WORDS) for row in result["cautions"])
    assert "On the edge of what a model can be" in shown


def test_too_few_therapists_are_refused_with_their_number() -> None:
    for n, code in ((4, "few_therapists"), (5, "few_for_predictors")):
        with pytest.raises(Refusal) as refused:
            answer(simulated(n_therapists=n, n_patients=8), question(), silent)
        assert refused.value.code == code
        assert str(n) in refusal(code, refused.value.values_of, WORDS)


def test_repeated_predictors_are_refused() -> None:
    tables = simulated(n_therapists=20, n_patients=2)
    tables["practice"]["z"] = 2 * tables["practice"]["x"]
    with pytest.raises(Refusal) as refused:
        answer(tables, question(), silent)
    assert refused.value.code == "collinear"


def test_a_bent_line_has_no_joint_model_and_says_which_codings_have() -> None:
    result = answer(simulated(), question(time=Piecewise(3, 10, (12,)).to_dict()), silent)
    assert "no_joint" in codes(result) and all(row["key"] != "joint" for row in result["models"])
    assert "Choose the linear, the logarithmic or the occasion coding" in said(result)


def test_one_perspective_alone_is_answered_without_a_difference() -> None:
    spec = question(instruments={"patient": "wai-s"}, predictors=(X,))
    result = answer(simulated(patient=(-0.45, 0.0)), spec, silent)
    assert "Patients’ ratings go with: Unease (Level at session 3)" in said(result)
    assert all(row.difference is None for row in table.rows(result))


def test_a_sensitivity_analysis_fails_alone() -> None:
    tables = simulated(n_therapists=20, n_patients=2)
    tables["therapies"]["end_reason"] = "completed"
    spec = question(
        instruments={"patient": "wai-s"}, predictors=(X,), sensitivity=("dropout", "leave_one_out")
    )
    dropout, without = answer(tables, spec, silent)["sensitivity"]
    assert (dropout["code"], dropout["found"]) == ("no_dropout", None)
    assert without["found"]["n"] == 20
    lowest, highest = (without["found"]["rows"][2][name] for name in ("lowest", "highest"))
    assert lowest < highest


def test_whoever_waits_is_told_each_stage_and_can_stop_it() -> None:
    class Stopped(Exception):
        pass

    told = []

    def report(stage: str, done: int, total: int) -> None:
        told.append(stage)
        if stage == "joint":
            raise Stopped

    with pytest.raises(Stopped):
        answer(simulated(n_therapists=20, n_patients=2), question(predictors=(X,)), report)
    assert told == ["frame", "separate", "comparison", "separate", "comparison", "joint"]


def test_every_cell_of_the_table_stands_in_the_result_where_it_says(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    result = planted[2]
    names = set()
    for cell in table.cells(result):
        part, term, name = cell.path
        rows = model(result, cell.model)[part]
        keys = [row["term"] if part == "fixed" else f"{row['predictor']}:{row['effect']}" for row in rows]
        assert rows[keys.index(term)][name] == cell.value
        names.add(cell.name)
    assert len(names) == 2 * 6 * 2 + 6 * 4


def test_notes_say_of_the_columns_what_they_are(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    result = planted[2]
    own, gap, course = table.about_columns(result)
    assert "three-level" in own and "comparing their significance is no test" in own and "Holm" in gap
    assert "where every predictor is 0" in course
    alone = answer(simulated(**SMALL), replace(ALONE, therapist="none"), silent)
    own, _course = table.about_columns(alone)
    assert own == "The estimates (SE) are those of a two-level growth model, all predictors together."
    models = [row for row in result["models"] if row["kind"] == "growth"]
    assert "not tested" in table.about_columns({**result, "models": models})[1]


def test_a_course_by_occasion_ends_with_the_last_session_that_was_rated() -> None:
    spec = replace(ALONE, sessions=(3, 12, 20, 40, 60), time=Occasion((3, 12, 20, 40, 60)).to_dict())
    assert answer(simulated(**SMALL), spec, silent)["courses"][0]["sessions"] == [3, 12, 20, 40]


def test_files_say_the_same_numbers_and_keep_the_signs_of_their_language(
    planted: tuple[dict[str, Any], AnalysisSpec, Result],
) -> None:
    result = planted[2]
    heading = table.Heading("A & B: 50 %", ("p < 0.05",))
    estimate = next(cell.value for cell in table.cells(result) if cell.name == "x.level.difference.estimate")
    assert f"{abs(estimate):.3f}" in table.as_html(result, heading, WORDS)
    tex = table.as_tex(result, heading, WORDS)
    assert rf"$-${abs(estimate):.3f}" in tex and r"A \& B: 50 \%" in tex
    columns = tex.split(r"\toprule")[1].split(r"\\")[0].count("&")
    body = tex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert {line.count(" & ") for line in body.splitlines() if "&" in line} == {columns}
    assert repr(estimate) in table.as_csv(result)


@pytest.mark.parametrize(
    ("value", "is_rtl", "text"),
    [
        (-0.2, False, "\N{MINUS SIGN}0.200"),
        # Isolated: the minus stays before its number, and a standard error after both of them.
        (-0.2, True, "\N{LEFT-TO-RIGHT ISOLATE}\N{MINUS SIGN}0.200\N{POP DIRECTIONAL ISOLATE}"),
        (0.2, True, "0.200"),
        (-0.0001, True, "0.000"),
        (None, True, "–"),
    ],
)
def test_a_minus_stays_before_its_number_in_both_directions(
    value: float | None, is_rtl: bool, text: str
) -> None:
    assert number(value, Words(is_rtl=is_rtl)) == text
