"""The demonstration clinic: plausible people, made by the services of real use, and its manifest."""

import json
import stat
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import replace
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from django.test import Client, override_settings
from django.utils import timezone
from knox.crypto import hash_token
from knox.models import AuthToken

from surveys.access import visible_studies, visible_therapies
from surveys.demo.build import ACCOUNTS, SEED, STUDY, DemoRefused, build
from surveys.demo.cohort import SHOWCASE, Form, Practitioner, simulate
from surveys.demo.manifest import write_manifest
from surveys.demo.parameters import EVERY_SESSION, OCCASIONS, SIZES, TRAITS, Parameters, Size
from surveys.models import (
    Assignment,
    AuditEvent,
    Clinic,
    Job,
    Membership,
    Opening,
    Response,
    Score,
    Session,
    Study,
    Therapist,
    Therapy,
    User,
)
from surveys.packs import RATERS, InstrumentFile, built_in
from surveys.scoring import SKIPPED, score
from surveys.tokens import token_hash
from tests import factories

FILES = {(form.code, form.rater): form for form in built_in()}
FORMS = {rater: FILES["wai-s", rater] for rater in RATERS}
TRAIT_FORMS = [FILES["dpccq-difficulties", "therapist"], FILES["dpccq-feelings", "therapist"]]
MONDAY = date(2026, 11, 23)
TINY = Size(n_therapists=3, n_patients=24)
BASE = "http://127.0.0.1:8000"


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
    choices = Counter(form.sharing for form in forms if form.rater == "patient" and form.number in OCCASIONS)
    assert choices.most_common(1)[0][0] == "scores"
    assert 0.02 < choices["none"] / choices.total() < 0.10


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


@pytest.fixture(scope="module")
def demo_clinic(
    django_db_setup: None, django_db_blocker: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The tiny demonstration clinic, built once; gives VAR."""
    var = tmp_path_factory.mktemp("var")
    with django_db_blocker.unblock(), override_settings(DEMO=True, VAR=var), transaction.atomic():
        assert build(TINY)
        yield var
        transaction.set_rollback(True)


@pytest.fixture
def demo(demo_clinic: Path, db: None) -> Path:
    return demo_clinic


def n_rows() -> list[int]:
    models = (
        AuditEvent,
        Assignment,
        Clinic,
        Job,
        Membership,
        Opening,
        Response,
        Score,
        Session,
        Therapy,
        User,
    )
    return [model.objects.count() for model in models]


def test_the_clinic_has_the_people_of_its_size_and_is_marked_simulated(demo: Path) -> None:
    assert Clinic.objects.get().is_simulated
    assert Therapist.objects.count() == TINY.n_therapists
    assert Therapy.objects.count() == TINY.n_patients
    assert Study.objects.get().code == STUDY
    assert Study.objects.get().visibility == Study.Visibility.FEEDBACK
    assert set(Therapy.objects.values_list("arm", flat=True)) == {"", EVERY_SESSION}
    assert Therapy.objects.filter(ended_on=None).count() > 10


def test_forms_are_due_where_the_plan_asks_and_nowhere_else(demo: Path) -> None:
    due = Assignment.objects.filter(session__isnull=False)
    outside = due.filter(session__therapy__arm="").exclude(session__number__in=OCCASIONS)
    assert not outside.exists()
    for therapy in Therapy.objects.all():
        held = therapy.sessions.filter(status="held")
        asked = held.count() if therapy.arm else held.filter(number__in=OCCASIONS).count()
        assert Assignment.objects.filter(session__therapy=therapy).count() == 2 * asked


def test_the_database_holds_the_answers_of_the_cohort(demo: Path) -> None:
    cohort = cohort_of(SEED, TINY, timezone.localdate())
    expected = Counter(
        tuple(form.answers.values())
        for practitioner in cohort
        for course in practitioner.courses
        for form in course.forms
    )
    stored = Counter(
        tuple(answers.values())
        for answers in Response.objects.filter(assignment__session__isnull=False).values_list(
            "answers", flat=True
        )
    )
    assert stored == expected


def test_everything_happened_in_the_past_and_in_order(demo: Path) -> None:
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    assert not Session.objects.filter(held_at__gte=midnight).exists()
    for response in Response.objects.filter(assignment__session__isnull=False).select_related(
        "assignment__session"
    ):
        assert response.assignment.session.held_at < response.started_at < response.submitted_at < midnight
        assert response.submitted_at <= response.assignment.closes_at


def test_patient_ratings_are_revealed_when_the_therapist_has_rated(demo: Path) -> None:
    own = {
        response.assignment.session_id: response.submitted_at
        for response in Response.objects.filter(
            assignment__rater="therapist", assignment__session__isnull=False
        ).select_related("assignment")
    }
    of_patients = Response.objects.filter(assignment__rater="patient").select_related("assignment")
    assert {response.reveal_at is None for response in of_patients} == {True, False}
    for response in of_patients:
        rated_at = own.get(response.assignment.session_id)
        assert response.reveal_at == (rated_at and max(rated_at, response.submitted_at))


def test_traits_are_rated_once_by_each_therapist(demo: Path) -> None:
    forms = Assignment.objects.filter(therapist__isnull=False)
    assert forms.count() == 2 * TINY.n_therapists
    assert forms.filter(state="submitted", therapist__user__email=ACCOUNTS["therapist"][0]).count() == 2
    assert set(forms.values_list("instrument__code", flat=True)) == {form.code for form in TRAIT_FORMS}


def test_the_accounts_are_who_they_say(demo: Path) -> None:
    users = {name: User.objects.get(email=email) for name, (email, _) in ACCOUNTS.items()}
    assert visible_therapies(users["therapist"]).count() == len(SHOWCASE)
    assert not visible_therapies(users["researcher"]).exists()
    assert [study.code for study in visible_studies(users["researcher"])] == [STUDY]
    supervised = Therapist.objects.filter(supervisor=users["supervisor"])
    assert supervised.count() >= 2
    assert supervised.filter(user=users["therapist"]).exists()
    assert [name for name, user in users.items() if user.is_superuser] == ["superuser"]


def test_a_second_load_changes_nothing_and_says_so(demo: Path) -> None:
    before, out = n_rows(), StringIO()
    call_command("demo_clinic", stdout=out)
    assert "loaded already; nothing was changed" in out.getvalue()
    assert n_rows() == before


def test_outside_demo_mode_everything_is_refused(demo: Path) -> None:
    before = n_rows()
    with override_settings(DEMO=False):
        for command in ("demo_clinic", "demo_ready"):
            with pytest.raises(CommandError, match="demo mode only"):
                call_command(command)
    assert n_rows() == before
    assert not (demo / "demo.json").exists()


def test_a_database_with_real_people_is_refused(demo: Path) -> None:
    factories.make_clinic()
    before = n_rows()
    with pytest.raises(DemoRefused, match="not simulated"):
        build(TINY)
    assert n_rows() == before


def test_a_demo_that_is_not_loaded_cannot_be_made_ready(demo: Path) -> None:
    Study.objects.update(code="OTHER")
    with pytest.raises(CommandError, match="not loaded"):
        call_command("demo_ready")
    assert list(demo.iterdir()) == []


@pytest.fixture
def manifest(demo: Path) -> Iterator[dict[str, object]]:
    yield json.loads(write_manifest(f"{BASE}/").read_text())
    (demo / "demo.json").unlink()


def test_the_manifest_signs_everybody_in(demo: Path, manifest: dict) -> None:
    path = demo / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(demo.iterdir()) == [path]
    assert set(manifest) == {"base_url", "accounts", "patient_links", "therapy_ids"}
    assert manifest["base_url"] == BASE
    assert set(manifest["accounts"]) == set(ACCOUNTS)
    for name, account in manifest["accounts"].items():
        user = User.objects.get(email=account["email"])
        assert user.email == ACCOUNTS[name][0]
        assert user.check_password(account["password"])
        assert account["totp_secret"] is None
        assert AuthToken.objects.get(user=user).digest == hash_token(account["api_token"])


def test_the_manifest_links_open_forms_that_reveal_at_once(manifest: dict) -> None:
    links = manifest["patient_links"]
    assert len(set(links)) == len(links) >= 20
    therapist = User.objects.get(email=ACCOUNTS["therapist"][0])
    own = visible_therapies(therapist)
    assert set(manifest["therapy_ids"]) == {str(therapy.pk) for therapy in own}
    client = Client()
    for link in links:
        assert link.startswith(f"{BASE}/r/")
        assert client.get(link.removeprefix(BASE)).status_code == 200
        form = Assignment.objects.get(token_hash=token_hash(link.rstrip("/").rsplit("/", 1)[-1]))
        assert (form.rater, form.state, form.study.code) == ("patient", "due", STUDY)
        assert form.closes_at > timezone.now() + timedelta(days=1)
        assert form.session.therapy in own
        ratings_of_session = Assignment.objects.filter(session=form.session, rater="therapist")
        assert [row.state for row in ratings_of_session] == ["submitted"]


def test_a_session_that_the_therapist_has_not_rated_gets_no_link(demo: Path) -> None:
    therapy = Therapy.objects.filter(
        therapist__user__email=ACCOUNTS["therapist"][0], arm=EVERY_SESSION, ended_on=None
    ).first()
    session = factories.hold_session(therapy)
    write_manifest(BASE).unlink()
    assert factories.form_of(session, "patient").token_hash is None


def test_a_restart_keeps_what_is_still_right(demo: Path, manifest: dict) -> None:
    again = json.loads(write_manifest("http://127.0.0.1:9000").read_text())
    assert again["accounts"] == manifest["accounts"]
    assert again["patient_links"] == [link.replace(":8000", ":9000") for link in manifest["patient_links"]]
    assert AuthToken.objects.count() == len(ACCOUNTS)


def test_a_restart_replaces_what_is_no_longer_right(demo: Path, manifest: dict) -> None:
    user = User.objects.get(email=ACCOUNTS["researcher"][0])
    user.set_password("changed by its owner since")
    user.save(update_fields=["password"])
    AuthToken.objects.filter(user=user).delete()
    account = json.loads(write_manifest(BASE).read_text())["accounts"]["researcher"]
    user.refresh_from_db()
    assert user.check_password(account["password"])
    assert AuthToken.objects.get(user=user).digest == hash_token(account["api_token"])


@pytest.mark.parametrize("content", ["", "[]", "{", '{"accounts": 3, "patient_links": {"a": 1}}'])
def test_a_damaged_file_is_written_anew(demo: Path, content: str) -> None:
    (demo / "demo.json").write_text(content)
    renewed = json.loads(write_manifest(BASE).read_text())
    (demo / "demo.json").unlink()
    assert len(renewed["patient_links"]) >= 20
    assert len(renewed["accounts"]) == len(ACCOUNTS)


def test_used_links_are_replaced_by_forms_of_new_sessions(demo: Path, manifest: dict) -> None:
    for form in Assignment.objects.filter(rater="patient", token_hash__isnull=False):
        factories.give(form)
    n_therapies = Therapy.objects.count()
    renewed = json.loads(write_manifest(BASE).read_text())
    assert len(renewed["patient_links"]) >= 20
    assert not set(renewed["patient_links"]) & set(manifest["patient_links"])
    assert Therapy.objects.count() > n_therapies
    assert len(renewed["therapy_ids"]) == len(manifest["therapy_ids"]) + Therapy.objects.count() - n_therapies


def test_an_old_demo_goes_on_with_its_running_therapies(
    demo: Path, manifest: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = timezone.now() + timedelta(days=60)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    n_therapies = Therapy.objects.count()
    renewed = json.loads(write_manifest(BASE).read_text())
    assert len(renewed["patient_links"]) >= 20
    assert Therapy.objects.count() == n_therapies
    assert Session.objects.filter(held_at__gt=later - timedelta(days=21)).count() >= 20
    assert not Session.objects.filter(held_at__gte=later).exists()


def test_an_operator_gets_one_new_link(demo: Path) -> None:
    form = Assignment.objects.filter(rater="patient", state="due", closes_at__gt=timezone.now()).first()
    assert form is not None
    out = StringIO()
    call_command("patient_link", str(form.pk), base_url=BASE, stdout=out)
    link = out.getvalue().strip()
    assert link.startswith(BASE)
    assert Client().get(link.removeprefix(BASE)).status_code == 200
    form.refresh_from_db()
    assert form.token_hash == token_hash(link.rstrip("/").rsplit("/", 1)[-1])


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ({"rater": "therapist"}, "a therapist signs in"),
        ({"rater": "patient", "state": "submitted"}, "needs no link"),
        ({"rater": "patient", "state": "due", "closes_at__lt": "now"}, "time for this form is over"),
    ],
)
def test_no_link_is_printed_for_a_form_that_takes_none(demo: Path, which: dict, reason: str) -> None:
    rule = {key: timezone.now() if value == "now" else value for key, value in which.items()}
    form = Assignment.objects.filter(**rule).order_by("-closes_at").first()
    with pytest.raises(CommandError, match=reason):
        call_command("patient_link", str(form.pk))
    assert not Assignment.objects.filter(token_hash__isnull=False).exists()


def test_no_link_is_printed_for_an_unknown_form(demo: Path) -> None:
    with pytest.raises(CommandError, match="There is no form"):
        call_command("patient_link", str(Clinic.objects.get().pk))
