"""From received forms to a stored growth model, and what a therapy's page takes from it."""

from datetime import timedelta
from typing import get_args
from uuid import UUID

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics import selectors
from analytics.dataset import LINEAR, growth_spec, unit_sums
from analytics.growth import FitResult, LongData, fit
from analytics.growth.results import FITTED, Status
from analytics.models import GrowthFit, RatingChange
from analytics.selectors import therapy_trend
from analytics.services import refit, sums
from surveys import jobs
from surveys.models import Assignment, Job, Response, Role, Study
from surveys.selectors import study_ratings
from tests import factories
from tests.analytics.clinics import fits, rated_clinic
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_studies_count(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Most tests need a course from few forms; the gate itself has a test of its own."""
    if "real_gate" not in request.keywords:
        monkeypatch.setattr(selectors, "MIN_THERAPISTS", 3)
        monkeypatch.setattr(selectors, "MIN_THERAPIES", 5)


def test_every_status_of_the_engine_can_be_stored_and_explained() -> None:
    assert set(GrowthFit.Status.values) == set(get_args(Status))
    assert set(selectors.REASONS) == set(get_args(Status)) - set(FITTED)


# Two raters, four scales, two codings of time.
N_MODELS = 16


def fit_from_rows(study: Study, perspective: str) -> FitResult:
    """The model fitted to the ratings themselves, from a cold start."""
    rows = study_ratings(study.pk, ["total"]).filter(perspective=perspective, instrument="wai-s")
    ratings = [{**row, "time": LINEAR.at(row["session"]), "y": row["value"]} for row in rows]
    columns = {name: [row[name] for row in ratings] for name in ("therapist", "therapy", "time", "y")}
    return fit(LongData.from_columns(columns, growth_spec()), growth_spec())


def assert_same_fit(found: FitResult, expected: FitResult) -> None:
    """The same optimum: the likelihood to 1e-10, the rest as far as an optimum is sharp."""
    assert found.status == expected.status
    assert found.n == expected.n
    assert found.loglik == pytest.approx(expected.loglik, rel=1e-10)
    for row, other in zip(found.fixed, expected.fixed, strict=True):
        assert (row.estimate, row.se) == pytest.approx((other.estimate, other.se), rel=1e-6)
    assert found.theta == pytest.approx(expected.theta, abs=1e-4)


def test_received_forms_become_one_fit_per_rater() -> None:
    study, _ = rated_clinic()
    assert Job.objects.filter(kind="refit", scope=str(study.pk), state="pending").count() == 1
    assert jobs.run_due() == 1
    for perspective in ("patient", "therapist"):
        row = fits(perspective).get()
        assert row.status in ("ok", "singular")
        assert (row.n_ratings, row.n_therapies, row.n_therapists) == (36, 12, 4)
        assert row.spec["model"] == row.result["formula"]
        assert_same_fit(FitResult.from_dict(row.result), fit_from_rows(study, perspective))


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
    row = fits("patient").get()
    assert row.status == "insufficient_data"
    assert row.result is None
    assert row.message
    therapy = study.therapies.get()
    trend = therapy_trend(user, therapy, "patient")
    assert trend.expected == ()
    assert trend.fit is None
    assert trend.outlook().problem == selectors.REASONS["insufficient_data"]
    assert len(trend.of("patient")) == 3


@pytest.mark.real_gate
def test_an_expected_course_is_not_shown_when_it_stands_for_too_few() -> None:
    study, user = rated_clinic(raters=("patient",))
    jobs.run_due()
    row = fits("patient").get()
    assert row.result is not None
    trend = therapy_trend(user, study.therapies.filter(therapist__user=user).first(), "patient")
    assert trend.expected == ()
    assert trend.fit is None
    assert trend.outlook().problem == "it needs ratings of at least 24 therapies by 8 therapists."


def test_the_expected_course_is_the_fit_s_prediction_from_earlier_ratings() -> None:
    study, user = rated_clinic()
    jobs.run_due()
    therapy = study.therapies.filter(therapist__user=user).first()
    trend = therapy_trend(user, therapy, "patient")
    result = FitResult.from_dict(fits("patient").get().result)
    ratings = trend.of("patient")
    assert [point.session for point in ratings] == [1, 2, 3]
    T = sum(np.array(level.cov) for level in result.random)
    beta = np.array([row.estimate for row in result.fixed])
    Z = np.array([[1.0, LINEAR.at(point.session)] for point in ratings])
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
    jobs.run_due()
    sums = unit_sums(study.pk, "patient", "wai-s", "total")
    assert (sums.n_rows, [len(level) for level in sums.units]) == (18, [3, 6])
    assert len(unit_sums(study.pk, "therapist", "wai-s", "total")) == 0


def test_a_refit_reads_the_sums_of_the_touched_therapies_and_no_rating_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study, user = rated_clinic(raters=("patient",))
    summed: list[int] = []
    refresh = refit.sums_refresh
    monkeypatch.setattr(refit, "sums_refresh", lambda study_id: summed.append(refresh(study_id)))
    jobs.run_due()
    for _ in range(2):
        therapy = factories.make_therapy(study, user)
        factories.give(factories.form_of(factories.hold_session(therapy), "patient"), 6)
    with CaptureQueriesContext(connection) as queries:
        jobs.run_due()
    assert summed == [12, 2]
    reading = [query["sql"] for query in queries if "surveys_score" in query["sql"]]
    assert len(reading) == 1
    assert str(therapy.pk) in reading[0]
    assert_same_fit(FitResult.from_dict(fits("patient").first().result), fit_from_rows(study, "patient"))


def test_a_refit_after_erasure_and_a_change_of_therapist_is_that_of_the_ratings_left() -> None:
    study, _ = rated_clinic(raters=("patient",))
    jobs.run_due()
    erased, moved = study.therapies.order_by("pk")[:2]
    for response in Response.objects.filter(assignment__session__therapy=erased):
        response.delete()
    moved.therapist = study.therapies.order_by("pk").last().therapist
    moved.save(update_fields=["therapist"])
    jobs.request("refit", study.pk)
    jobs.run_due()
    row = fits("patient").first()
    assert (row.n_ratings, row.n_therapies) == (33, 11)
    assert_same_fit(FitResult.from_dict(row.result), fit_from_rows(study, "patient"))


def test_a_worker_that_dies_after_the_sums_leaves_a_fit_to_be_made_and_one_only() -> None:
    study, _ = rated_clinic(raters=("patient",))
    dead = jobs.claim()
    late = refit.study_refit(dead.scope)
    assert not RatingChange.objects.exists()
    assert not GrowthFit.objects.exists()
    Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert jobs.run_due() == 1
    with pytest.raises(jobs.LeaseLost):
        jobs.finish(dead, late)
    row = fits("patient").get()
    assert_same_fit(FitResult.from_dict(row.result), fit_from_rows(study, "patient"))


@pytest.mark.slow
def test_a_refit_starts_from_the_last_fit_of_the_same_model_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    study, _ = rated_clinic(raters=("patient",))
    starts: list[object] = []

    def fit_and_note(*arguments: object, theta0: object = None, seconds: float) -> FitResult:
        starts.append(theta0)
        return fit(*arguments, theta0=theta0, seconds=seconds)

    def another_rating() -> GrowthFit:
        starts.clear()
        factories.give(factories.form_of(factories.hold_session(factories.make_therapy(study)), "patient"), 6)
        jobs.run_due()
        return fits("patient").first()

    monkeypatch.setattr(refit, "fit", fit_and_note)
    first = another_rating()
    assert starts == [None] * N_MODELS, "no fit yet, of either rater"
    second = another_rating()
    assert first.result["theta"] in starts
    assert len(starts) == N_MODELS / 2, "the therapist's ratings are as they were"
    assert_same_fit(FitResult.from_dict(second.result), fit_from_rows(study, "patient"))
    monkeypatch.setattr(refit, "ENGINE", "another engine")
    another_rating()
    assert starts[0] is None
    monkeypatch.setattr(refit, "MODEL", "another model")
    another_rating()
    assert starts == [None] * N_MODELS, "another model is another question, to unchanged ratings too"


def test_a_fit_that_was_stopped_is_tried_again_on_the_same_ratings() -> None:
    study, _ = rated_clinic(raters=("patient",))
    assert jobs.run_due() == 1
    assert fits("patient").count() == 1
    jobs.request("refit", study.pk)
    assert jobs.run_due() == 1
    assert fits("patient").count() == 1
    stopped = fits("patient").get()
    GrowthFit.objects.bulk_create(
        [
            GrowthFit(
                **{
                    **model_values(stopped),
                    "status": "timed_out",
                    "result": None,
                    "fitted_at": timezone.now(),
                }
            )
        ]
    )
    jobs.request("refit", study.pk)
    assert jobs.run_due() == 1
    assert fits("patient").first().status in FITTED


def model_values(row: GrowthFit) -> dict[str, object]:
    """The fields of a row but for its key."""
    return {field.attname: getattr(row, field.attname) for field in row._meta.fields if not field.primary_key}


def test_a_rating_that_came_in_while_the_model_was_read_is_not_counted_as_newer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rating is in the model although the clock was read before it came, and its mark is still there."""
    study, user = rated_clinic(raters=("patient",))
    therapy = factories.make_therapy(study, user)
    form = factories.form_of(factories.hold_session(therapy), "patient")
    replace = sums._replace

    def replace_slowly(study_id: UUID, therapies: set[UUID]) -> None:
        if not hasattr(form, "given"):
            form.given = factories.give(form, 6)
        replace(study_id, {*therapies, therapy.pk})

    monkeypatch.setattr(sums, "_replace", replace_slowly)
    assert jobs.run_due(60) == 2, "the rating asked for a refit of its own, which finds nothing new"
    assert fits("patient").get().n_ratings == 37
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
    row = fits("patient").get()
    assert row.status == "no_variation"
    page = signed_in(user).get(f"/therapies/{therapy.pk}/").content.decode()
    assert "all ratings so far are the same" in page
    assert row.message not in page


def test_a_study_without_a_form_for_one_rater_has_a_page_that_says_so() -> None:
    clinic = factories.make_clinic()
    study = factories.make_study(clinic)
    factories.replan(study, keep=["patient"])
    user = factories.make_user("therapist@example.org", Role.THERAPIST, clinic=clinic)
    therapy = factories.make_therapy(study, user)
    factories.give(factories.form_of(factories.hold_session(therapy), "patient"), 5)
    client = signed_in(user)
    page = client.get(f"/therapies/{therapy.pk}/?perspective=therapist")
    assert "This study asks for no alliance ratings by the therapist." in page.content.decode()
    trend = client.get(f"/api/v1/therapies/{therapy.pk}/trend/?perspective=therapist").json()
    assert (trend["expected"], trend["fit"]) == ([], None)
    factories.replan(study, keep=[])
    assert client.get(f"/therapies/{therapy.pk}/").status_code == 200


def test_two_forms_of_one_rater_are_never_one_line() -> None:
    """Arms may use different forms: each therapy is compared with the model of its own."""
    study, user = rated_clinic(raters=("patient",))
    other = factories.instrument("wai-sr", "patient")
    factories.replan(study, extra=[{"instrument": other, "sessions": [1, 2, 3], "arm": "short"}])
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
    assert "Fitting the model again failed on" in page
    assert "due to be fitted again" not in page
