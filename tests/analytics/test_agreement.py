"""Agreement of two raters: the model against a naive twin, its gates, its words and its picture."""

import numpy as np
import pytest
from scipy import optimize, stats

from analytics.agreement import (
    MIN_PAIRS,
    MIN_PAIRS_TOGETHER,
    MIN_PATIENTS,
    NO_ESTIMATE,
    NO_VARIATION,
    TOO_FEW_PAIRS,
    TOO_FEW_PATIENTS,
    Agreement,
    Dyad,
    Estimate,
    Pair,
    agreement,
)
from analytics.agreement_chart import agreement_spec
from analytics.agreement_words import difference_sentence, mark_words, tracking_sentence
from analytics.wording import Writing


def pairs_of(
    seed: int = 3,
    n_therapies: int = 12,
    n_pairs: tuple[int, int] = (3, 9),
    difference: float = -0.4,
    tracking: float = 0.3,
    sd: tuple[float, float, float] = (0.5, 0.25, 0.4),
) -> list[Pair]:
    """Pairs that follow the model exactly, with deviations that have mean 0 in each therapy."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n_therapies):
        n = int(rng.integers(n_pairs[0], n_pairs[1] + 1))
        level, slope = rng.normal(0, sd[0]), rng.normal(0, sd[1])
        patient = rng.normal(5.5, 0.6) + rng.normal(0, 0.5, n)
        x = patient - patient.mean()
        therapist = patient.mean() + difference + level + (tracking + slope) * x + rng.normal(0, sd[2], n)
        pairs += [
            Pair(f"p{i}", f"t{i:02}", session, float(p), float(q))
            for session, (p, q) in enumerate(zip(patient, therapist, strict=True), start=1)
        ]
    return pairs


def naive(pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """b0 and b1 with their plain standard errors, by REML from one dense matrix for each therapy."""
    units = []
    for name in sorted({pair.therapy for pair in pairs}):
        own = [pair for pair in pairs if pair.therapy == name]
        p, q = np.array([pair.patient for pair in own]), np.array([pair.therapist for pair in own])
        x = p - p.mean()
        units.append((np.column_stack([np.ones(len(x)), x]), q - p.mean()))

    def parts(log_sd: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        t0, t1, s = np.exp(2 * log_sd)
        A, b, log_det = np.zeros((2, 2)), np.zeros(2), 0.0
        V = [X @ np.diag([t0, t1]) @ X.T + s * np.eye(len(X)) for X, _ in units]
        for (X, y), v in zip(units, V, strict=True):
            A, b = A + X.T @ np.linalg.solve(v, X), b + X.T @ np.linalg.solve(v, y)
            log_det += np.linalg.slogdet(v)[1]
        beta = np.linalg.solve(A, b)
        rest = sum(
            (y - X @ beta) @ np.linalg.solve(v, y - X @ beta) for (X, y), v in zip(units, V, strict=True)
        )
        return float(log_det + np.linalg.slogdet(A)[1] + rest), beta, np.linalg.inv(A)

    found = optimize.minimize(
        lambda at: parts(at)[0],
        np.log([0.5, 0.3, 0.5]),
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000},
    )
    _, beta, cov = parts(found.x)
    return beta, np.sqrt(np.diag(cov))


def numbers(found: Agreement) -> list[Estimate]:
    assert found.difference is not None and found.tracking is not None
    return [found.difference, found.tracking]


def test_both_numbers_are_those_of_a_naive_fit_of_the_same_model() -> None:
    pairs = pairs_of()
    beta, se = naive(pairs)
    for estimate, value, error in zip(numbers(agreement(pairs)), beta, se, strict=True):
        assert estimate.value == pytest.approx(value, abs=1e-5)
        half = (estimate.upper - estimate.lower) / 2
        assert half == pytest.approx(error * stats.t.ppf(0.975, estimate.df), rel=1e-3)


def test_in_a_balanced_caseload_the_intervals_are_those_of_a_t_test_over_therapies() -> None:
    """All therapies with the same deviations of the patient: the exact answer is a one-sample t test."""
    rng = np.random.default_rng(11)
    x = np.array([-0.6, -0.2, 0.1, 0.7])
    pairs, means, slopes = [], [], []
    for i in range(9):
        y = -0.4 + rng.normal(0, 0.6) + (0.3 + rng.normal(0, 0.6)) * x + rng.normal(0, 0.2, 4)
        means.append(y.mean())
        slopes.append(x @ y / (x @ x))
        pairs += [Pair(f"p{i}", f"t{i}", s, 5 + x[s], 5 + y[s]) for s in range(4)]
    for estimate, each in zip(numbers(agreement(pairs)), (means, slopes), strict=True):
        interval = stats.ttest_1samp(each, 0).confidence_interval(0.95)
        assert estimate.value == pytest.approx(np.mean(each), abs=1e-6)
        assert (estimate.lower, estimate.upper) == pytest.approx(tuple(interval), abs=1e-5)
        assert estimate.df == pytest.approx(8, abs=1e-3)


def test_with_one_pair_of_each_patient_the_difference_has_the_interval_of_a_t_test() -> None:
    pairs = pairs_of(n_therapies=MIN_PAIRS, n_pairs=(1, 1))
    found = agreement(pairs).difference
    interval = stats.ttest_1samp([p.therapist - p.patient for p in pairs], 0).confidence_interval(0.95)
    assert found is not None and (found.lower, found.upper) == pytest.approx(tuple(interval))


def test_the_order_of_the_pairs_and_the_origin_of_the_scale_change_nothing() -> None:
    pairs = pairs_of()
    moved = [Pair(p.patient_id, p.therapy, p.session, p.patient - 9, p.therapist - 9) for p in pairs[::-1]]
    for one, other in zip(numbers(agreement(pairs)), numbers(agreement(moved)), strict=True):
        assert (one.value, one.lower, one.upper) == pytest.approx(
            (other.value, other.lower, other.upper), abs=1e-6
        )


def test_a_therapist_who_follows_every_move_and_one_who_follows_none_are_told_apart() -> None:
    follows, stays = (
        agreement(pairs_of(tracking=tracking, sd=(0.5, 0.0, 0.2))).tracking for tracking in (1.0, 0.0)
    )
    assert follows is not None and stays is not None
    assert follows.lower > 0.5 > stays.upper


def test_recovery_of_the_truth_over_seeds() -> None:
    """40 caseloads: the mean estimate is within three standard errors of the truth."""
    found = [numbers(agreement(pairs_of(seed, n_therapies=16))) for seed in range(40)]
    for place, truth in enumerate((-0.4, 0.3)):
        values = np.array([row[place].value for row in found])
        assert abs(values.mean() - truth) < 3 * values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize(
    ("n_therapies", "n_pairs", "why_no_difference", "why_no_tracking"),
    [
        (MIN_PATIENTS - 1, 9, TOO_FEW_PATIENTS, TOO_FEW_PATIENTS),
        (MIN_PATIENTS, 1, TOO_FEW_PAIRS, TOO_FEW_PAIRS),
        (MIN_PAIRS, 1, "", TOO_FEW_PATIENTS),
        (MIN_PATIENTS, MIN_PAIRS_TOGETHER - 1, "", TOO_FEW_PATIENTS),
        (MIN_PATIENTS, MIN_PAIRS_TOGETHER, "", ""),
    ],
)
def test_below_the_least_numbers_there_is_a_reason_and_no_number(
    n_therapies: int, n_pairs: int, why_no_difference: str, why_no_tracking: str
) -> None:
    found = agreement(pairs_of(n_therapies=n_therapies, n_pairs=(n_pairs, n_pairs)))
    assert (found.why_no_difference, found.why_no_tracking) == (why_no_difference, why_no_tracking)
    assert (found.difference is None, found.tracking is None) == (
        bool(why_no_difference),
        bool(why_no_tracking),
    )


def test_two_therapies_of_one_patient_are_one_patient() -> None:
    pairs = [Pair("p0", p.therapy, p.session, p.patient, p.therapist) for p in pairs_of(n_therapies=8)]
    found = agreement(pairs)
    assert (found.n_patients, found.why_no_difference) == (1, TOO_FEW_PATIENTS)


def test_no_pairs_at_all_are_a_reason() -> None:
    found = agreement([])
    assert (found.dyads, found.n_pairs, found.why_no_difference) == ((), 0, TOO_FEW_PATIENTS)


def test_a_session_with_two_pairs_and_a_rating_that_is_no_number_are_refused() -> None:
    pairs = pairs_of()
    with pytest.raises(ValueError, match="one pair"):
        agreement([*pairs, pairs[0]])
    with pytest.raises(ValueError, match="finite"):
        agreement([*pairs, Pair("p", "t", 1, float("nan"), 4.0)])


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_equal_differences_everywhere_give_no_number(gap: float) -> None:
    """Both raters at the top of the scale, say."""
    pairs = [Pair(f"p{i}", f"t{i}", s, 7.0, 7.0 + gap) for i in range(6) for s in range(4)]
    found = agreement(pairs)
    assert (found.difference, found.tracking) == (None, None)
    assert (found.why_no_difference, found.why_no_tracking) == (NO_VARIATION, NO_VARIATION)


def test_patients_who_never_move_leave_the_difference_alone() -> None:
    rng = np.random.default_rng(2)
    pairs = [
        Pair(f"p{i}", f"t{i}", s, 6.1, float(5.5 + rng.normal(0, 0.4))) for i in range(6) for s in range(4)
    ]
    found = agreement(pairs)
    assert found.difference is not None and found.difference.value < 0
    assert (found.tracking, found.why_no_tracking) == (None, NO_VARIATION)


def test_a_variance_of_zero_is_an_estimate_and_not_a_failure() -> None:
    found = agreement(pairs_of(sd=(0.0, 0.0, 0.4)))
    assert found.difference is not None and found.tracking is not None


def told(
    difference: Estimate | None = None,
    tracking: Estimate | None = None,
    why_no_difference: str = "",
    why_no_tracking: str = "",
) -> Agreement:
    return Agreement(
        dyads=(Dyad("K7-MN", 4, 5.6, 5.2), Dyad("A2-QX", 3, 5.0, 5.04)),
        n_patients=2,
        n_pairs=7,
        n_together=1,
        difference=difference,
        tracking=tracking,
        why_no_difference=why_no_difference,
        why_no_tracking=why_no_tracking,
    )


@pytest.mark.parametrize(
    ("estimate", "sentence"),
    [
        ((-0.4, -0.7, -0.1), "You rate 0.4 lower than your patients on average (0.1 to 0.7)."),
        ((0.4, 0.1, 0.7), "You rate 0.4 higher than your patients on average (0.1 to 0.7)."),
        (
            (-0.4, -0.9, 0.1),
            "You rate 0.4 lower than your patients on average (from 0.9 lower to 0.1 higher).",
        ),
        ((0.02, -0.3, 0.3), "On average you rate as your patients do (from 0.3 lower to 0.3 higher)."),
        ((-0.04, -0.07, -0.01), "On average you rate as your patients do (from 0.1 lower to 0.0 higher)."),
    ],
)
def test_the_difference_in_words(estimate: tuple[float, float, float], sentence: str) -> None:
    assert difference_sentence(told(difference=Estimate(*estimate, df=8))) == sentence


@pytest.mark.parametrize(
    ("estimate", "sentence"),
    [
        ((0.3, 0.1, 0.5), "When a patient’s rating rises by 1, yours rises by 0.3 (0.1 to 0.5)."),
        ((-0.3, -0.5, -0.1), "When a patient’s rating rises by 1, yours falls by 0.3 (0.1 to 0.5)."),
        (
            (0.2, -0.1, 0.5),
            "When a patient’s rating rises by 1, yours rises by 0.2 (from a fall by 0.1 to a rise by 0.5).",
        ),
        (
            (0.0, -0.2, 0.2),
            "When a patient’s rating rises by 1, yours stays where it is"
            " (from a fall by 0.2 to a rise by 0.2).",
        ),
    ],
)
def test_moving_together_in_words(estimate: tuple[float, float, float], sentence: str) -> None:
    assert tracking_sentence(told(tracking=Estimate(*estimate, df=8))) == sentence


def test_every_reason_has_a_sentence_of_its_own_that_says_what_is_there() -> None:
    reasons = (TOO_FEW_PATIENTS, TOO_FEW_PAIRS, NO_VARIATION, NO_ESTIMATE)
    differences = {difference_sentence(told(why_no_difference=why)) for why in reasons}
    trackings = [tracking_sentence(told(why_no_tracking=why)) for why in reasons]
    assert len(differences) == 4
    assert len(set(trackings)) == 3
    assert "so far there are 2" in difference_sentence(told(why_no_difference=TOO_FEW_PATIENTS))
    assert "so far there are 7" in difference_sentence(told(why_no_difference=TOO_FEW_PAIRS))
    assert "so far there are 1" in trackings[0]


def test_a_mark_says_its_therapy_in_the_page_s_own_numbers() -> None:
    lower, same = told().dyads
    assert mark_words(lower) == "Therapy K7-MN: you 0.4 lower on average (sessions: 4)"
    assert mark_words(same) == "Therapy A2-QX: on average the same (sessions: 3)"


def test_the_picture_holds_every_therapy_and_leaves_both_directions_the_same_room() -> None:
    found = agreement(pairs_of())
    spec = agreement_spec(found)
    rows = next(layer for layer in spec["layer"] if layer.get("name") == "therapies")["data"]["values"]
    assert [row["difference"] for row in rows] == [dyad.difference for dyad in found.dyads]
    low, high = spec["encoding"]["x"]["scale"]["domain"]
    assert low == -high
    assert all(low <= row["difference"] <= high for row in rows)
    assert spec["encoding"]["y"]["scale"]["domain"] == ["All", *(dyad.therapy for dyad in found.dyads)]


def test_without_a_number_the_picture_has_no_interval() -> None:
    spec = agreement_spec(agreement(pairs_of(n_therapies=3)))
    assert {layer.get("name") for layer in spec["layer"]} == {"therapies"}
    assert spec["encoding"]["y"]["scale"]["domain"] == ["t00", "t01", "t02"]


def test_where_reading_goes_from_right_to_left_so_does_the_axis() -> None:
    spec = agreement_spec(agreement(pairs_of()), writing=Writing(is_rtl=True))
    assert spec["encoding"]["x"]["scale"]["reverse"] is True
    assert spec["encoding"]["y"]["axis"]["orient"] == "right"
