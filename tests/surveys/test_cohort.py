"""The simulated people of the demonstration clinic: plausible figures, and the planted effects."""

from collections import Counter
from collections.abc import Container
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from surveys.demo.build import SEED
from surveys.demo.cohort import SHOWCASE, Form, Practitioner, simulate
from surveys.demo.parameters import EVERY_SESSION, OCCASIONS, PRACTICE, SIZES, TRAITS, Parameters, Size
from surveys.packs import RATERS, InstrumentFile, built_in
from surveys.scoring import SKIPPED, score

FILES = {(form.code, form.rater): form for form in built_in() if form.language == "en"}
FORMS = {rater: FILES["wai-s", rater] for rater in RATERS}
TRAIT_FORMS = [
    FILES[code, "therapist"]
    for code in ("dpccq-difficulties", "dpccq-feelings-general", "dpccq-coping", "dpccq-manner")
]
MONDAY = date(2026, 11, 23)
TINY = Size(n_therapists=3, n_patients=24)


def cohort_of(seed: int, size: Size = SIZES["study"], today: date = MONDAY) -> tuple[Practitioner, ...]:
    return simulate(size, FORMS, TRAIT_FORMS, seed=seed, today=today)


def total_of(form: Form) -> float | None:
    return next(row.mean for row in score(FORMS[form.rater], form.answers) if row.scale == "total")


def ratings(cohort: tuple[Practitioner, ...], sessions: Container[int] = range(1, 100)) -> np.ndarray:
    """Rows of therapist, therapy, session, rater (0 patient, 1 therapist), total score."""
    rows = []
    for j, practitioner in enumerate(cohort):
        for i, course in enumerate(practitioner.courses):
            for form in course.forms:
                total = total_of(form) if form.number in sessions else None
                if total is not None:
                    rows.append((j, 1000 * j + i, form.number, RATERS.index(form.rater), total))
    return np.array(rows)


@pytest.fixture(scope="module")
def study_cohort() -> tuple[Practitioner, ...]:
    return cohort_of(SEED)


@pytest.fixture(scope="module")
def study_ratings(study_cohort: tuple[Practitioner, ...]) -> np.ndarray:
    return ratings(study_cohort)


def paired(rows: np.ndarray) -> dict[tuple[float, float], dict[float, float]]:
    """Scores of both raters by therapy and session."""
    pairs: dict[tuple[float, float], dict[float, float]] = {}
    for _therapist, therapy, session, rater, total in rows:
        pairs.setdefault((therapy, session), {})[rater] = total
    return {key: pair for key, pair in pairs.items() if len(pair) == 2}


@pytest.mark.parametrize(
    ("rater", "means", "spread"), [(0, (5.2, 6.0), (0.75, 1.1)), (1, (4.9, 5.4), (0.65, 0.9))]
)
def test_scores_have_plausible_means_and_spread(
    study_ratings: np.ndarray, rater: int, means: tuple[float, float], spread: tuple[float, float]
) -> None:
    for occasion in OCCASIONS:
        scores = study_ratings[(study_ratings[:, 3] == rater) & (study_ratings[:, 2] == occasion), 4]
        assert len(scores) >= 60
        assert means[0] <= scores.mean() <= means[1]
        assert spread[0] <= scores.std(ddof=1) <= spread[1]


def test_some_patients_reach_the_ceiling_and_few_therapists(study_ratings: np.ndarray) -> None:
    at_top = [np.mean(study_ratings[study_ratings[:, 3] == rater, 4] > 6.9) for rater in (0, 1)]
    assert 0.02 < at_top[0] < 0.10
    assert at_top[1] < 0.01


def test_the_two_raters_agree_about_as_little_as_published(study_ratings: np.ndarray) -> None:
    pairs = [(p[0], p[1]) for (_, session), p in paired(study_ratings).items() if session in OCCASIONS]
    assert 0.26 <= np.corrcoef(np.array(pairs).T)[0, 1] <= 0.45


def intraclass(scores: np.ndarray, groups: np.ndarray) -> float:
    """One-way ANOVA estimate for groups of unequal size (Searle, Variance Components, 3.6)."""
    _, index, n = np.unique(groups, return_inverse=True, return_counts=True)
    means = np.bincount(index, scores) / n
    between = (n * (means - scores.mean()) ** 2).sum() / (len(n) - 1)
    within = ((scores - means[index]) ** 2).sum() / (len(scores) - len(n))
    n0 = (len(scores) - (n**2).sum() / len(scores)) / (len(n) - 1)
    return float((between - within) / n0 / ((between - within) / n0 + within))


@pytest.mark.parametrize(("rater", "low", "high"), [(0, 0.03, 0.15), (1, 0.15, 0.45)])
def test_therapists_differ_as_much_as_published(
    study_ratings: np.ndarray, rater: int, low: float, high: float
) -> None:
    first = study_ratings[(study_ratings[:, 3] == rater) & (study_ratings[:, 2] == 3)]
    assert low <= intraclass(first[:, 4], first[:, 0]) <= high


def test_residuals_of_one_session_correlate_between_the_raters() -> None:
    correlations = []
    for seed in range(4):
        by_therapy: dict[float, list[tuple[float, float, float]]] = {}
        for (therapy, session), pair in sorted(paired(ratings(cohort_of(seed))).items()):
            by_therapy.setdefault(therapy, []).append((session, pair[0], pair[1]))
        residuals = []
        for rows in by_therapy.values():
            if len(rows) >= 8:
                data = np.array(rows)
                line = np.column_stack([np.ones(len(data)), data[:, 0]])
                residuals.append(data[:, 1:] - line @ np.linalg.lstsq(line, data[:, 1:], rcond=None)[0])
        correlations.append(np.corrcoef(np.vstack(residuals).T)[0, 1])
    assert np.mean(correlations) == pytest.approx(0.35, abs=0.05)


def level_effects(cohort: tuple[Practitioner, ...], rows: np.ndarray, rater: int) -> np.ndarray:
    """Coefficients of the score at session 3, which hardly anybody has missed by dropout, on the traits."""
    first = rows[(rows[:, 3] == rater) & (rows[:, 2] == 3)]
    design = np.column_stack([np.ones(len(first)), traits_of(cohort, first)])
    return np.linalg.lstsq(design, first[:, 4], rcond=None)[0][1:]


def growth_effects(cohort: tuple[Practitioner, ...], rows: np.ndarray, rater: int) -> np.ndarray:
    """Coefficients of the score on time by trait, within therapies."""
    rows = rows[rows[:, 3] == rater]
    t = (rows[:, 2:3] - 3) / 10
    columns = np.column_stack([t, t * traits_of(cohort, rows), rows[:, 4]])
    _, therapy, n = np.unique(rows[:, 1], return_inverse=True, return_counts=True)
    columns -= np.column_stack([np.bincount(therapy, column) / n for column in columns.T])[therapy]
    return np.linalg.lstsq(columns[:, :-1], columns[:, -1], rcond=None)[0][1:]


def traits_of(cohort: tuple[Practitioner, ...], rows: np.ndarray) -> np.ndarray:
    z = np.array([[practitioner.traits[trait] for trait in TRAITS] for practitioner in cohort])
    return z[rows[:, 0].astype(int)]


def test_planted_effects_are_found_again_and_no_others() -> None:
    """Means of ten cohorts: their standard errors are about .017 (level) and .007 (growth)."""
    cohorts = [cohort_of(seed) for seed in range(10)]
    rows = [ratings(cohort, OCCASIONS) for cohort in cohorts]
    study = dict(zip(TRAITS, Parameters().traits, strict=True))
    assert {trait for trait in TRAITS if max(study[trait].effects[0]) < 0} == {"negative_reaction", "anxiety"}
    assert {trait for trait in TRAITS if max(study[trait].effects[1]) > 0} == {"flow"}
    for rater in (0, 1):
        planted = np.array([trait.effects[rater] for trait in Parameters().traits]).T
        pairs = list(zip(cohorts, rows, strict=True))
        level = np.mean([level_effects(*pair, rater) for pair in pairs], axis=0)
        growth = np.mean([growth_effects(*pair, rater) for pair in pairs], axis=0)
        np.testing.assert_allclose(level, planted[0], atol=0.06)
        np.testing.assert_array_less(growth[planted[1] < 0], -0.015)
        np.testing.assert_allclose(growth[planted[1] == 0], 0, atol=0.02)


def test_the_shown_seed_has_the_pattern_of_the_study(
    study_cohort: tuple[Practitioner, ...], study_ratings: np.ndarray
) -> None:
    patient, therapist = (level_effects(study_cohort, study_ratings, rater) for rater in (0, 1))
    for trait in ("negative_reaction", "anxiety"):
        assert patient[TRAITS.index(trait)] < -0.1
        assert abs(therapist[TRAITS.index(trait)]) < 0.1
    assert therapist[TRAITS.index("flow")] > 0.15
    assert abs(patient[TRAITS.index("flow")]) < 0.1


def test_trait_answers_follow_the_traits(study_cohort: tuple[Practitioner, ...]) -> None:
    for form in TRAIT_FORMS:
        given = [p for p in study_cohort if form.code in p.trait_answers]
        assert len(given) >= 0.9 * len(study_cohort)
        for scale in form.scales:
            means = [
                next(s.mean for s in score(form, p.trait_answers[form.code]) if s.scale == scale.code)
                for p in given
            ]
            assert np.corrcoef(means, [p.traits[scale.code] for p in given])[0, 1] > 0.75


def test_no_rating_of_a_seed_depends_on_coping_and_manner(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are drawn apart, so that the shown seed keeps its pattern."""
    whole = cohort_of(5, TINY)
    monkeypatch.setattr("surveys.demo.cohort._practice", lambda rng, p, z: np.zeros((len(z), len(PRACTICE))))
    without = simulate(TINY, FORMS, TRAIT_FORMS[:2], seed=5, today=MONDAY)
    for one, two in zip(whole, without, strict=True):
        assert one.courses == two.courses
        assert set(two.trait_answers) <= {form.code for form in TRAIT_FORMS[:2]}


def test_dropout_follows_low_ratings() -> None:
    """Rating at session 3 of patients who stayed away later, against all others; mean of six cohorts."""
    gaps, shares = [], []
    for seed in range(6):
        reasons, first = [], []
        for course in (course for practitioner in cohort_of(seed) for course in practitioner.courses):
            form = next((f for f in course.forms if (f.rater, f.number) == ("patient", 3)), None)
            if form is not None:
                first.append(total_of(form))
                reasons.append(course.end_reason == "dropout")
        rated = np.array([value is not None for value in first])
        scores, dropped = np.array(first)[rated].astype(float), np.array(reasons)[rated]
        gaps.append(scores[dropped].mean() - scores[~dropped].mean())
        shares.append(dropped.mean())
    assert -0.6 < np.mean(gaps) < -0.15
    assert 0.10 < np.mean(shares) < 0.25


def test_missing_forms_items_and_sharing_choices(study_cohort: tuple[Practitioner, ...]) -> None:
    courses = [course for practitioner in study_cohort[1:] for course in practitioner.courses]
    asked: Counter[str] = Counter()
    for course in courses:
        held = [m.number for m in course.meetings if m.number is not None]
        n_asked = sum(course.arm == EVERY_SESSION or number in OCCASIONS for number in held)
        asked.update(dict.fromkeys(RATERS, n_asked))
    forms = [form for course in courses for form in course.forms]
    given = Counter(form.rater for form in forms)
    assert 1 - given["patient"] / asked["patient"] == pytest.approx(0.12, abs=0.03)
    assert 1 - given["therapist"] / asked["therapist"] == pytest.approx(0.08, abs=0.03)
    answers = [value for form in forms for value in form.answers.values()]
    assert 0.002 < answers.count(SKIPPED) / len(answers) < 0.012
    choices = Counter(form.sharing for form in forms if form.rater == "patient")
    assert choices.most_common(1)[0][0] == "scores"
    assert 0.04 < choices["none"] / choices.total() < 0.08


def mean_of_item(form: InstrumentFile, number: int) -> float:
    cohort = simulate(TINY, {**FORMS, "patient": form}, TRAIT_FORMS, seed=1, today=MONDAY)
    values = [
        filled.answers[number]
        for practitioner in cohort
        for course in practitioner.courses
        for filled in course.forms
        if filled.rater == "patient" and filled.answers[number] != SKIPPED
    ]
    return float(np.mean(values))


def test_reversed_items_are_those_of_the_instrument_file() -> None:
    form = FORMS["patient"]
    plain = replace(form, items=tuple(replace(item, reverse=False) for item in form.items))
    assert mean_of_item(form, 4) < 3
    assert mean_of_item(plain, 4) > 5


def test_the_same_seed_and_day_give_the_same_cohort() -> None:
    assert cohort_of(5, TINY) == cohort_of(5, TINY)
    assert cohort_of(5, TINY) != cohort_of(6, TINY)


@pytest.mark.parametrize("weekday", range(7))
def test_sessions_are_past_and_enough_recent_ones_wait_for_the_patient(weekday: int) -> None:
    first = cohort_of(SEED, TINY, MONDAY + timedelta(days=weekday))[0]
    assert len(first.courses) == len(SHOWCASE)
    assert {course.arm for course in first.courses} == {"", EVERY_SESSION}
    n_waiting = 0
    for course in first.courses:
        assert all(meeting.day < 0 for meeting in course.meetings)
        start = {m.number: 24 * m.day + m.hour for m in course.meetings}
        assert all(start[form.number] + form.hours < 0 for form in course.forms)
        given = {(form.rater, form.number) for form in course.forms}
        n_waiting += sum(
            ("therapist", m.number) in given and ("patient", m.number) not in given
            for m in course.meetings
            if course.arm and not course.end_reason and m.number is not None and m.day >= -21
        )
    assert n_waiting >= 22
