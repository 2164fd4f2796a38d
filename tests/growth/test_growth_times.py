"""Time codings: their columns by hand, and models that are the same model in another coding."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from analytics.growth import DataError, FitResult, GrowthSpec, LongData, RandomTerm, SpecError, fit
from analytics.growth.times import CODINGS, Linear, Log, Occasion, Piecewise, Quadratic, TimeCoding
from tests.growth.dense import frame

SESSIONS = (3, 8, 15, 25, 40)
ALL = (
    Linear(origin=3, unit=10),
    Log(origin=3, unit=2),
    Occasion(planned=SESSIONS),
    Piecewise(origin=3, unit=10, knots=(8, 20)),
    Quadratic(origin=3, unit=10),
)
NAMED = pytest.mark.parametrize("coding", ALL, ids=[coding.name for coding in ALL])


def fitted(coding: TimeCoding, *, every: bool = False, method: str = "ml") -> FitResult:
    """Patient-rated alliance of the simulated cohort, with a therapist's self-doubt as predictor."""
    d = frame("cohort_s2")
    columns = {name: d[name] for name in ("therapist", "patient", "self_doubt", "wai_p")}
    random = coding.random(every=every)
    spec = GrowthSpec(
        "wai_p",
        coding.fixed(["self_doubt"]),
        (RandomTerm("therapist", ("1",)), RandomTerm("therapist:patient", random)),
        method,
        "wald",
    )
    return fit(LongData.from_columns(columns | coding.columns(d["session"]), spec), spec)


@pytest.mark.parametrize(
    ("coding", "columns"),
    [
        (ALL[0], {"time": [0, 0.5, 1.2, 2.2, 3.7]}),
        (ALL[1], {"log_time": np.log([1, 3.5, 7, 12, 19.5])}),
        (ALL[2], {"occasion": [0, 1, 2, 3, 4]}),
        (
            ALL[3],
            {
                "time": [0, 0.5, 1.2, 2.2, 3.7],
                "time_after_8": [0, 0, 0.7, 1.7, 3.2],
                "time_after_20": [0, 0, 0, 0.5, 2],
            },
        ),
        (ALL[4], {"time": [0, 0.5, 1.2, 2.2, 3.7], "time_squared": [0, 0.25, 1.44, 4.84, 13.69]}),
    ],
    ids=[coding.name for coding in ALL],
)
def test_columns_are_those_made_by_hand(coding, columns):
    made = coding.columns(SESSIONS)
    assert tuple(made) == coding.names == tuple(columns)
    for name, values in columns.items():
        np.testing.assert_allclose(made[name], values, rtol=1e-14, atol=1e-15)


@NAMED
def test_every_column_is_zero_at_the_session_that_the_sentence_names(coding):
    session = float(re.search(r"belong to session (\d+)\.$", coding.describe()).group(1))
    assert session == coding.zero
    assert all(column[0] == 0 for column in coding.columns([session]).values())
    assert coding.columns([session + 5])[coding.names[0]][0] != 0


def test_an_origin_beyond_a_knot_is_the_zero_of_that_column_too():
    coding = Piecewise(origin=20, unit=4, knots=(8,))
    np.testing.assert_allclose(coding.columns([4, 8, 20, 24])["time_after_8"], [-3, -3, 0, 1])


def test_log_with_equal_origin_and_unit_is_the_log_of_the_session_over_the_origin():
    columns = Log(origin=3, unit=3).columns([1, 3, 12])
    np.testing.assert_allclose(columns["log_time"], np.log([1 / 3, 1, 4]))


@NAMED
def test_a_missing_session_stays_missing(coding):
    for column in coding.columns([3, np.nan, 8]).values():
        assert np.isnan(column).tolist() == [False, True, False]


def test_a_missed_occasion_leaves_the_rank_of_the_next_as_it_is():
    coding = Occasion(planned=SESSIONS)
    assert coding.columns([3, 15])["occasion"].tolist() == [0, 2]


@NAMED
def test_a_coding_comes_back_from_json(coding):
    stored = json.loads(json.dumps(coding.to_dict()))
    assert TimeCoding.from_dict(stored) == coding
    assert stored["name"] == coding.name
    assert CODINGS[coding.name] is type(coding)


@NAMED
def test_a_coding_is_frozen_and_can_be_a_key(coding):
    field = next(name for name in coding.to_dict() if name != "name")
    with pytest.raises(FrozenInstanceError):
        setattr(coding, field, 1.0)
    assert {coding: 1}[TimeCoding.from_dict(coding.to_dict())] == 1


@pytest.mark.parametrize(
    ("coding", "fixed", "with_one", "with_two", "random"),
    [
        (ALL[0], "time", "time * x", "time * (x + C(z))", ("1", "time")),
        (
            ALL[3],
            "time + time_after_8 + time_after_20",
            "(time + time_after_8 + time_after_20) * x",
            "(time + time_after_8 + time_after_20) * (x + C(z))",
            ("1", "time", "time_after_8", "time_after_20"),
        ),
    ],
)
def test_fixed_and_random_part_of_the_spec(coding, fixed, with_one, with_two, random):
    assert coding.fixed() == fixed
    assert coding.fixed(["x"]) == with_one
    assert coding.fixed(["x", "C(z)"]) == with_two
    assert coding.random() == random[:2]
    assert coding.random(every=True) == random


def test_every_predictor_acts_on_every_column_of_time():
    result = fitted(Piecewise(origin=3, unit=10, knots=(15,)))
    assert {row.term for row in result.fixed} == {
        "Intercept",
        "time",
        "time_after_15",
        "self_doubt",
        "time:self_doubt",
        "time_after_15:self_doubt",
    }


@pytest.mark.parametrize(
    ("one", "other", "M"),
    [
        # b(new) = M b, from t = (o' - o)/d + (d'/d) t' put into b0 + b1 t + b2 t^2.
        (Linear(3, 10), Linear(40, 5), [[1, 3.7], [0, 0.5]]),
        (
            Quadratic(3, 10),
            Quadratic(25, 10),
            [[1, 2.2, 4.84], [0, 1, 4.4], [0, 0, 1]],
        ),
        # At an origin beyond the knot the slope before it is still the first coefficient.
        (
            Piecewise(3, 10, (15,)),
            Piecewise(40, 10, (15,)),
            [[1, 3.7, 2.5], [0, 1, 0], [0, 0, 1]],
        ),
    ],
    ids=["linear", "quadratic", "piecewise"],
)
def test_another_origin_and_unit_is_the_same_model_with_covariance_M_T_Mt(one, other, M):
    """Same ML likelihood; fixed effects map by M and the covariance of the therapies' effects by M T M'."""
    M, every = np.array(M), one.name != "piecewise"
    old, new = (fitted(coding, every=every) for coding in (one, other))
    assert old.is_fitted
    assert new.loglik == pytest.approx(old.loglik, abs=1e-7)
    assert new.sigma == pytest.approx(old.sigma, rel=1e-6)

    beta = {row.term: row.estimate for row in old.fixed}
    mapped = M @ [beta[name] for name in ("Intercept", *one.names)]
    found = {row.term: row.estimate for row in new.fixed}
    np.testing.assert_allclose([found[name] for name in ("Intercept", *other.names)], mapped, atol=1e-6)

    q = len(one.random(every=every))
    T_old, T_new = (np.array(result.random[1].cov) for result in (old, new))
    np.testing.assert_allclose(T_new, M[:q, :q] @ T_old @ M[:q, :q].T, atol=2e-6)
    assert abs(T_new[0, 0] - T_old[0, 0]) > 0.05


def test_codings_with_other_shapes_are_other_models():
    logliks = [fitted(coding).loglik for coding in ALL]
    assert len({round(value, 2) for value in logliks}) == len(logliks)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Linear(3, 0), "unit of time"),
        (lambda: Linear(3, -10), "unit of time"),
        (lambda: Quadratic(float("nan"), 10), "origin must be a finite number"),
        (lambda: Log("3", 1), "origin must be a finite number"),
        (lambda: Log(True, 1), "origin must be a finite number"),
        (lambda: Piecewise(3, 10, (20, 12)), "increasing order, not 20, 12"),
        (lambda: Piecewise(3, 10, (12, 12)), "increasing order"),
        (lambda: Piecewise(3, 10, ()), "at least one knot"),
        (lambda: Piecewise(3, 10, (-4,)), "from 0 to 999999"),
        (lambda: Piecewise(3, 10, (12, 12.0000001)), "further apart"),
        (lambda: Piecewise(3, 10, "12"), "list of session numbers"),
        (lambda: Piecewise(3, 10, (None,)), "knots must be a finite number"),
        (lambda: Occasion((3,)), "at least two"),
        (lambda: Occasion((3, 40, 15)), "increasing order"),
        (lambda: Occasion(7), "list of session numbers"),
        (lambda: TimeCoding.from_dict({"name": "cubic"}), "must be one of linear, log, occasion"),
        (lambda: TimeCoding.from_dict({"origin": 3, "unit": 10}), "must be one of"),
        (lambda: TimeCoding.from_dict({"name": "linear", "origin": 3}), "takes origin, unit"),
        (
            lambda: TimeCoding.from_dict({"name": "linear", "origin": 3, "unit": 1, "knots": []}),
            "nothing else",
        ),
        (lambda: Linear(3, 10).fixed(["time"]), "other than time"),
        (lambda: Linear(3, 10).fixed(["1"]), "other than time"),
        (lambda: Linear(3, 10).fixed(["__import__('os')"]), "not understood"),
        (lambda: Log(3, 2).columns([3, 1]), "session 1 has no logarithm"),
        (lambda: Log(3, 3).columns([-2, 3]), "come after 0"),
        (lambda: Occasion(SESSIONS).columns([3, 9]), "session 9 is not among the planned"),
        (lambda: Occasion(SESSIONS).columns([41]), "session 41 is not among the planned"),
        (lambda: Piecewise(3, 10, (12, 50)).check(SESSIONS), "knot 50 lies outside"),
        (lambda: Piecewise(3, 10, (3,)).check(SESSIONS), "knot 3 lies outside"),
        (lambda: Piecewise(3, 10, (12,)).check([]), "knot 12 lies outside"),
        (lambda: Piecewise(3, 10, (9, 10, 12)).check(SESSIONS), "5 different sessions cannot carry"),
        (lambda: Quadratic(3, 10).check([3, 15, 3, 15]), "2 different sessions cannot carry"),
        (lambda: Linear(3, 10).check([8, 8, np.nan]), "1 different sessions cannot carry"),
        (lambda: Linear(3, 10).check([]), "0 different sessions cannot carry"),
    ],
)
def test_nonsense_is_refused_in_words(make, words):
    with pytest.raises(SpecError, match=words):
        make()


@pytest.mark.parametrize("session", [["third"], [[3, 8]], 3, [None, "x"]])
def test_sessions_that_are_no_list_of_numbers_are_refused(session):
    with pytest.raises(DataError, match="sessions must be"):
        Linear(3, 10).columns(session)


@NAMED
def test_sessions_that_can_carry_the_coding_pass_the_check(coding):
    coding.check([*SESSIONS, *SESSIONS, np.nan])


def test_a_far_origin_does_not_fail_the_check():
    Quadratic(-2000, 10).check(SESSIONS)
    with pytest.raises(SpecError, match="cannot carry"):
        Quadratic(-2000, 10).check([3, 40])
