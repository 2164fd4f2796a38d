"""From received forms to a stored growth model, and what a therapy's page takes from it."""

from datetime import timedelta

import numpy as np
import pytest
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics import selectors
from analytics.dataset import growth_spec, long_data, time_of
from analytics.growth import FitResult, fit
from analytics.models import GrowthFit
from analytics.selectors import therapy_trend
from analytics.services import refit
from surveys import jobs
from surveys.models import Assignment, Job, PlanLine, Role, Study, User
from tests import factories
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_studies_count(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Most tests need a course from few forms; the gate itself has a test of its own."""
    if "real_gate" not in request.keywords:
        monkeypatch.setattr(selectors, "MIN_THERAPISTS", 3)
        monkeypatch.setattr(selectors, "MIN_THERAPIES", 5)


def rated_clinic(
    n_therapists: int = 4, n_therapies: int = 3, raters: tuple[str, ...] = ("patient", "therapist")
) -> tuple[Study, User]:
    """A small study with every form given; the first therapist has an account."""
    rng = np.random.default_rng(7)
    clinic = factories.make_clinic()
    study = factories.make_study(clinic, sessions=(1, 2, 3))
    user = factories.make_user("therapist@example.org", Role.THERAPIST, clinic=clinic)
    now = timezone.now()
    for k in range(n_therapists):
        owner = user if k == 0 else factories.make_user(f"t{k}@example.org", Role.THERAPIST, clinic=clinic)
        level = rng.normal(0, 0.3)
        for _ in range(n_therapies):
            therapy = factories.make_therapy(study, owner)
            own, slope = rng.normal(0, 0.8), rng.normal(0, 0.4)
            for number in range(3):
                session = factories.hold_session(therapy, now - timedelta(days=20 - 7 * number, minutes=k))
                for rater in raters:
                    mean = 5 + level + own + slope * number + rng.normal(0, 0.4)
                    values = np.clip(np.round(rng.normal(mean, 0.6, 12)), 1, 7).astype(int)
                    form = factories.form_of(session, rater)
                    assert form.closes_at > now - timedelta(days=40)
                    form.closes_at = now + timedelta(days=1)
                    form.save(update_fields=["closes_at"])
                    factories.give(
                        form,
                        {i + 1: int(v) for i, v in enumerate(values)},
                        user=owner if rater == "therapist" else None,
                    )
    return study, user


def test_received_forms_become_one_fit_per_rater() -> None:
    study, _ = rated_clinic()
    assert Job.objects.filter(kind="refit", scope=str(study.pk), state="pending").count() == 1
    assert jobs.run_due() == 1
    for perspective in ("patient", "therapist"):
        row = GrowthFit.objects.get(perspective=perspective)
        assert row.status in ("ok", "singular")
        assert (row.n_ratings, row.n_therapies, row.n_therapists) == (36, 12, 4)
        direct = fit(long_data(study.pk, perspective, "wai-s", "total"), growth_spec())
        assert row.result["loglik"] == pytest.approx(direct.loglik, rel=1e-12)
        assert row.result["fixed"][0]["estimate"] == pytest.approx(direct.fixed[0].estimate, rel=1e-12)


def test_a_refit_without_new_data_adds_nothing() -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2, raters=("patient",))
    jobs.run_due()
    before = GrowthFit.objects.count()
    jobs.request("refit", study.pk)
    assert jobs.run_due() == 1
    assert GrowthFit.objects.count() == before > 0


def test_too_few_ratings_are_said_so_and_give_no_number() -> None:
    study, user = rated_clinic(n_therapists=1, n_therapies=1)
    jobs.run_due()
    row = GrowthFit.objects.get(perspective="patient")
    assert row.status == "insufficient_data"
    assert row.result is None
    assert row.message
    therapy = study.therapies.get()
    trend = therapy_trend(user, therapy, "patient")
    assert trend.expected == ()
    assert trend.fit is None
    assert trend.problem == selectors.REASONS["insufficient_data"]
    assert len(trend.of("patient")) == 3


@pytest.mark.real_gate
def test_an_expected_course_is_not_shown_when_it_stands_for_too_few() -> None:
    study, user = rated_clinic(raters=("patient",))
    jobs.run_due()
    row = GrowthFit.objects.get(perspective="patient")
    assert row.result is not None
    trend = therapy_trend(user, study.therapies.filter(therapist__user=user).first(), "patient")
    assert trend.expected == ()
    assert trend.fit is None
    assert trend.problem == "it needs ratings of at least 24 therapies by 8 therapists."


def test_the_expected_course_is_the_fit_s_prediction_from_earlier_ratings() -> None:
    study, user = rated_clinic()
    jobs.run_due()
    therapy = study.therapies.filter(therapist__user=user).first()
    trend = therapy_trend(user, therapy, "patient")
    result = FitResult.from_dict(GrowthFit.objects.get(perspective="patient").result)
    ratings = trend.of("patient")
    assert [point.session for point in ratings] == [1, 2, 3]
    T = sum(np.array(level.cov) for level in result.random)
    beta = np.array([row.estimate for row in result.fixed])
    Z = np.array([[1.0, time_of(point.session)] for point in ratings])
    y = np.array([point.value for point in ratings])
    V = Z[:2] @ T @ Z[:2].T + result.sigma**2 * np.eye(2)
    by_hand = Z[2] @ beta + Z[2] @ T @ Z[:2].T @ np.linalg.solve(V, y[:2] - Z[:2] @ beta)
    third = next(point for point in trend.expected if point.session == 3)
    assert third.mean == pytest.approx(by_hand, abs=1e-9)
    assert third.lower < third.mean < third.upper


def test_newer_ratings_are_counted_until_the_next_fit() -> None:
    study, user = rated_clinic()
    jobs.run_due()
    therapy = study.therapies.filter(therapist__user=user).first()
    first = therapy_trend(user, therapy, "patient").fit
    assert first is not None
    assert first.n_newer == 0
    extra = factories.make_therapy(study, user)
    factories.give(factories.form_of(factories.hold_session(extra), "patient"), 6)
    assert therapy_trend(user, therapy, "patient").fit.n_newer == 1
    assert jobs.run_due() == 1
    last = therapy_trend(user, therapy, "patient").fit
    assert (last.n_newer, last.n_ratings) == (0, first.n_ratings + 1)
    assert last.id != first.id


def test_a_hidden_rating_does_not_show_in_the_band() -> None:
    study, user = rated_clinic()
    jobs.run_due()
    therapy = factories.make_therapy(study, user)
    session = factories.hold_session(therapy)
    before = therapy_trend(user, therapy, "patient").expected
    factories.give(factories.form_of(session, "patient"), 7, sharing="scores")
    hidden = therapy_trend(user, therapy, "patient")
    assert hidden.of("patient") == ()
    assert hidden.expected == before
    factories.give(factories.form_of(session, "therapist"), 4, user=user)
    shown = therapy_trend(user, therapy, "patient")
    assert [point.value for point in shown.of("patient")] == [6.0]
    assert shown.expected != before


def test_the_engine_is_given_all_that_was_rated() -> None:
    study, _ = rated_clinic(n_therapists=3, n_therapies=2, raters=("patient",))
    data = long_data(study.pk, "patient", "wai-s", "total")
    assert len(data) == 18
    assert [len(level) for level in data.units] == [3, 6]


def test_a_rating_that_came_in_while_the_model_was_read_is_not_counted_as_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rating is in the model although the clock was read before it came."""
    study, user = rated_clinic(raters=("patient",))
    therapy = factories.make_therapy(study, user)
    form = factories.form_of(factories.hold_session(therapy), "patient")
    read = refit.long_data

    def slow_read(*arguments: object) -> object:
        if not hasattr(form, "given"):
            form.given = factories.give(form, 6)
        return read(*arguments)

    monkeypatch.setattr(refit, "long_data", slow_read)
    assert jobs.run_due() == 2, "the rating asked for a refit of its own, which finds nothing new"
    assert GrowthFit.objects.get(perspective="patient").n_ratings == 37
    assert therapy_trend(user, therapy, "patient").fit.n_newer == 0


def test_a_refused_model_says_nothing_of_the_ratings_that_it_was_refused_for() -> None:
    """All ratings are the same and none may be seen: the page may not print the value."""
    clinic = factories.make_clinic()
    study = factories.make_study(clinic)
    user = factories.make_user("therapist@example.org", Role.THERAPIST, clinic=clinic)
    for number in range(6):
        therapy = factories.make_therapy(study, user if number % 2 else None)
        for hours in (3, 2, 1):
            session = factories.hold_session(therapy, timezone.now() - timedelta(hours=hours))
            factories.give(factories.form_of(session, "patient"), 6, sharing="none")
    jobs.run_due()
    row = GrowthFit.objects.get(perspective="patient")
    assert row.status == "no_variation"
    page = signed_in(user).get(f"/therapies/{therapy.pk}/").content.decode()
    assert "all ratings so far are the same" in page
    assert row.message not in page


def test_a_study_without_a_form_for_one_rater_has_a_page_that_says_so() -> None:
    clinic = factories.make_clinic()
    study = factories.make_study(clinic)
    study.plan_lines.filter(instrument__rater="therapist").delete()
    user = factories.make_user("therapist@example.org", Role.THERAPIST, clinic=clinic)
    therapy = factories.make_therapy(study, user)
    factories.give(factories.form_of(factories.hold_session(therapy), "patient"), 5)
    client = signed_in(user)
    page = client.get(f"/therapies/{therapy.pk}/?perspective=therapist")
    assert "This study asks for no alliance ratings by the therapist." in page.content.decode()
    trend = client.get(f"/api/v1/therapies/{therapy.pk}/trend/?perspective=therapist").json()
    assert (trend["expected"], trend["fit"]) == ([], None)
    study.plan_lines.all().delete()
    assert client.get(f"/therapies/{therapy.pk}/").status_code == 200


def test_two_forms_of_one_rater_are_never_one_line() -> None:
    """Arms may use different forms: each therapy is compared with the model of its own."""
    study, user = rated_clinic(raters=("patient",))
    other = factories.instrument("wai-sr", "patient")
    PlanLine.objects.create(study=study, instrument=other, sessions=[1, 2, 3], arm="short")
    therapy = factories.make_therapy(study, user)
    therapy.arm = "short"
    therapy.save(update_fields=["arm"])
    session = factories.hold_session(therapy)
    for form in Assignment.objects.filter(session=session, rater="patient"):
        factories.give(form, 4)
    factories.give(factories.form_of(session, "therapist"), 5, user=user)
    jobs.run_due()
    trend = therapy_trend(user, therapy, "patient")
    assert trend.form.code == "wai-sr"
    assert [(point.instrument, point.value) for point in trend.of("patient")] == [("wai-sr", 4.0)]
    assert not trend.has_one_scale
    assert trend.expected == (), "there is no model of this form yet"


def test_a_refit_that_was_given_up_is_said_on_the_page() -> None:
    study, user = rated_clinic()
    jobs.run_due()
    therapy = study.therapies.filter(therapist__user=user).first()
    jobs.request("refit", study.pk)
    Job.objects.filter(state="pending").update(state="failed", finished_at=timezone.now())
    extra = factories.make_therapy(study, user)
    factories.give(factories.form_of(factories.hold_session(extra), "patient"), 6)
    Job.objects.filter(state="pending").update(state="failed", finished_at=timezone.now())
    page = signed_in(user).get(f"/therapies/{therapy.pk}/").content.decode()
    assert "fitting it again failed on" in page
    assert "due to be fitted again" not in page
