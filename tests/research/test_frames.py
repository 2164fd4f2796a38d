"""Frames of analyses against tables written by hand."""

import numpy as np
import pandas as pd
import pytest

from analytics.growth.errors import SpecError
from analytics.growth.times import Linear, Occasion
from analytics.research.cautions import cautions
from analytics.research.frames import Refusal, build, complete, groups, model_frame
from analytics.research.spec import AnalysisSpec, Predictor
from tests.research.tables import DOUBT, FLOW, made_by_hand

BOTH = {"patient": "wai-s", "therapist": "wai-s"}


def spec_of(*predictors: Predictor, **fields: object) -> AnalysisSpec:
    return AnalysisSpec(instruments=BOTH, predictors=predictors, **fields)


def test_a_row_is_a_rating_with_its_time_in_tens_of_sessions() -> None:
    rows = model_frame(made_by_hand(), spec_of(sessions=(3, 12)))
    assert list(rows.columns) == ["therapist", "therapy", "patient", "rater", "session", "time", "y"]
    assert rows[["therapy", "session", "rater", "y"]].values.tolist() == [
        ["E1", 3, "patient", 5.0],
        ["E1", 3, "therapist", 4.5],
        ["E1", 13, "patient", 5.5],
        ["E2", 3, "patient", 6.0],
        ["E3", 3, "therapist", 5.0],
    ]
    assert rows["time"].tolist() == [0, 0, 1, 0, 0]


def test_what_is_left_out_is_counted_by_reason() -> None:
    frame = build(made_by_hand(), spec_of(sessions=(3, 12)))
    assert frame.left_out == {"other_form": 1, "other_session": 1, "no_score": 1, "second_form": 1}


def test_by_occasion_a_session_within_the_tolerance_counts_as_the_planned_one() -> None:
    spec = spec_of(sessions=(3, 12), time=Occasion((3, 12)).to_dict())
    rows = model_frame(made_by_hand(), spec)
    assert rows.loc[rows["session"] == 13, "occasion"].tolist() == [1]


def test_the_first_form_counts_the_latest_or_their_mean() -> None:
    expected = {"first": 1.0, "latest": 3.0, "mean": 2.0}
    for choice, value in expected.items():
        rows = model_frame(made_by_hand(), spec_of(DOUBT, trait_at=choice, scaling="raw"))
        assert set(rows.loc[rows["therapist"] == "T1", "self_doubt"]) == {value}, choice


def test_first_forms_that_came_after_a_rating_are_counted_by_therapist() -> None:
    tables, spec = made_by_hand(), spec_of(DOUBT)
    assert build(tables, spec).late == {"self_doubt": 0}
    # One therapist's first form after, another's only a later one.
    practice = tables["practice"]
    practice.loc[(practice["therapist"] == "T2") & (practice["about"] == "trait"), "submitted_on"] = 2
    frame = build(tables, spec)
    assert frame.late == {"self_doubt": 1}
    assert [row for row in cautions((), frame, spec) if row["code"] == "late_forms"] == [
        {"code": "late_forms", "names": ["self_doubt"], "n": 1}
    ]


def test_a_therapist_counts_once_in_the_standard_deviation_however_many_ratings_there_are() -> None:
    frame = build(made_by_hand(), spec_of(DOUBT))
    column = frame.columns[0]
    assert (column.mean, column.n, column.n_missing) == (1.75, 2, 1)
    assert column.sd == pytest.approx(np.std([1.0, 2.5], ddof=1))
    of_first = frame.rows.loc[frame.rows["therapist"] == "T1", "self_doubt"]
    assert of_first.tolist() == pytest.approx([(1.0 - 1.75) / column.sd] * len(of_first))


def test_a_rating_without_a_predictor_is_in_the_frame_and_in_no_model() -> None:
    frame = build(made_by_hand(), spec_of(DOUBT))
    assert frame.rows["therapist"].eq("T3").any()
    assert not complete(frame, ("patient", "therapist"))["therapist"].eq("T3").any()


def test_feelings_in_sessions_are_split_into_the_mean_of_the_therapy_and_the_rest() -> None:
    rows = model_frame(made_by_hand(), spec_of(FLOW, scaling="raw"))
    own = rows[(rows["therapy"] == "E1") & (rows["rater"] == "patient")]
    assert own["flow_mean"].tolist()[:2] == [2.0, 2.0]
    assert own["flow_within"].tolist()[:2] == [-1.0, 1.0]
    assert np.isnan(own["flow_within"].tolist()[2]), "no form about that session"


def test_a_composite_is_the_mean_of_equalised_scales_of_one_period() -> None:
    tables = made_by_hand()
    ranges = {"dpccq-manner": (0, 3), "dpccq-feelings-general": (0, 3), "dpccq-coping": (0, 5)}
    forms = [("dpccq-manner", {"invested": 3.0, "efficacious": 1.5, "affirming": 0.0})]
    forms += [("dpccq-feelings-general", {"flow": 3.0}), ("dpccq-coping", {"constructive_coping": 2.5})]
    made = [
        {"therapist": who, "about": "trait", "period": "entry", "instrument": code, "submitted_on": 1}
        | {scale: value * share for scale, value in values.items()}
        for who, share in (("T1", 1.0), ("T2", 0.0))
        for code, values in forms
    ]
    tables["practice"] = pd.DataFrame(made)
    rows = model_frame(
        tables, spec_of(Predictor("composite", "healing_involvement"), scaling="raw", ranges=ranges)
    )
    by_therapist = rows.groupby("therapist")["healing_involvement"].first()
    assert by_therapist["T1"] == pytest.approx((1 + 0.5 + 0 + 1 + 0.5) / 5)
    assert by_therapist["T2"] == 0


def test_a_category_is_compared_with_the_most_frequent() -> None:
    rows = model_frame(made_by_hand(), spec_of(Predictor("therapy", "arm")))
    assert dict(zip(rows["therapy"], rows["arm_short"], strict=True)) == {"E1": 0.0, "E2": 0.0, "E3": 1.0}


def test_values_that_differ_by_a_sign_or_a_foreign_letter_are_columns_of_their_own() -> None:
    tables = made_by_hand()
    for values in (["B", "A+", "A-"], ["B", "Å", "Ø"], ["B", "طويل", "قصير"]):
        tables["therapies"]["arm"] = values
        frame = build(tables, spec_of(Predictor("therapy", "arm")))
        assert len(set(frame.names)) == 2, frame.names
        shown = {
            column.value: set(frame.rows.loc[frame.rows[column.name] == 1, "therapy"])
            for column in frame.columns
        }
        assert all(len(own) == 1 for own in shown.values()) and set(shown) < set(values)


def test_groups_are_everybody_and_whom_a_predictor_sets_apart() -> None:
    tables = made_by_hand()
    tables["therapists"]["n_therapies"] = [1, 1, 7]
    frame = build(tables, spec_of(Predictor("therapy", "arm"), Predictor("therapist", "n_therapies")))
    found = [
        ("" if column is None else column.name, sorted(set(rows["therapy"])))
        for column, rows in groups(frame, complete(frame, ("patient", "therapist")))
    ]
    assert found == [
        ("", ["E1", "E2", "E3"]),
        ("arm_short", ["E3"]),
        ("arm_short", ["E1", "E2"]),
        ("n_therapies", ["E3"]),
    ]


def test_a_predictor_without_variation_is_left_out_and_named() -> None:
    frame = build(made_by_hand(), spec_of(Predictor("therapy", "patient_language")))
    assert frame.columns == () and frame.constant == ("patient_language",)


def test_a_question_that_the_tables_cannot_answer_is_refused_with_its_reason() -> None:
    tables = made_by_hand()
    cases = {
        "no_scale": spec_of(scale="bond"),
        "no_ratings": spec_of(sessions=(40,)),
        "no_predictor": spec_of(Predictor("trait", "flow", "dpccq-feelings-general")),
        "time": spec_of(time=Occasion((3, 12)).to_dict()),
    }
    for code, spec in cases.items():
        with pytest.raises(Refusal) as refused:
            build(tables, spec)
        assert refused.value.code == code


def test_a_spec_survives_json_and_its_hash_knows_every_change() -> None:
    spec = spec_of(DOUBT, FLOW, sessions=(3, 12), ranges={"wai-s": (1, 7)})
    assert AnalysisSpec.from_dict(spec.to_dict()) == spec
    other = spec_of(DOUBT, FLOW, sessions=(3, 12), ranges={"wai-s": (1, 7)}, time=Linear(3, 1).to_dict())
    assert len({spec.sha256, other.sha256, AnalysisSpec.from_dict(spec.to_dict()).sha256}) == 2


def test_a_spec_that_states_no_model_is_refused() -> None:
    for fields in (
        {"instruments": {}},
        {"instruments": BOTH, "therapy": "none"},
        {"instruments": BOTH, "method": "mcmc"},
        {"instruments": BOTH, "predictors": (DOUBT, DOUBT)},
    ):
        with pytest.raises(SpecError):
            AnalysisSpec(**fields)
    with pytest.raises(SpecError):
        AnalysisSpec.from_dict({"scale": "total"})
    for key in ("therapy:hair", "trait:self_doubt", "a:b:c:d"):
        with pytest.raises(SpecError):
            Predictor.of(key)


def test_a_predictor_is_found_again_by_its_key() -> None:
    for predictor in (DOUBT, FLOW, Predictor("composite", "c"), Predictor("therapist", "n_therapies")):
        assert Predictor.of(predictor.key) == predictor
