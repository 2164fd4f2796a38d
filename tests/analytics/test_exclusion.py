"""What a patient has taken out of the research is in no dataset, no count and no model."""

import pytest
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics.dataset import LINEAR, growth_spec
from analytics.growth import FitResult, LongData, fit
from analytics.models import RatingChange, TherapySums
from analytics.services.sums import sums_refresh
from surveys import jobs
from surveys.models import Consent, ConsentText, Score, Study, StudyVersion, Therapy
from surveys.selectors import study_counts, study_ratings, with_counts
from tests import factories
from tests.analytics.clinics import dataset, fits, rated_clinic
from tests.conftest import Cast, signed_in

pytestmark = pytest.mark.django_db


def leave_out(therapy: Therapy) -> None:
    Therapy.objects.filter(pk=therapy.pk).update(excluded_at=timezone.now())
    jobs.request("refit", therapy.study_id)


def fit_without(study: Study, therapy: Therapy, perspective: str) -> FitResult:
    """The model of the scores of all other therapies, read past the selectors."""
    session = "response__assignment__session"
    rows = Score.objects.filter(scale="total", mean__isnull=False, response__assignment__rater=perspective)
    table = rows.exclude(**{f"{session}__therapy": therapy}).values_list(
        f"{session}__therapy__therapist", f"{session}__therapy", f"{session}__number", "mean"
    )
    names = ("therapist", "therapy", "time", "y")
    columns = dict(zip(names, map(list, zip(*table, strict=True)), strict=True))
    columns["time"] = [LINEAR.at(number) for number in columns["time"]]
    return fit(LongData.from_columns(columns, growth_spec()), growth_spec())


@pytest.mark.slow
def test_a_fit_after_exclusion_is_the_fit_without_the_therapy() -> None:
    study, _ = rated_clinic()
    jobs.run_due()
    before = {perspective: fits(perspective).get() for perspective in ("patient", "therapist")}
    gone = study.therapies.order_by("pk")[5]
    leave_out(gone)
    assert jobs.run_due() == 1
    for perspective in ("patient", "therapist"):
        row = fits(perspective).first()
        assert row.pk != before[perspective].pk
        assert (row.n_ratings, row.n_therapies) == (33, 11)
        found, expected = FitResult.from_dict(row.result), fit_without(study, gone, perspective)
        assert found.loglik == pytest.approx(expected.loglik, rel=1e-10)
        for estimate, other in zip(found.fixed, expected.fixed, strict=True):
            assert (estimate.estimate, estimate.se) == pytest.approx((other.estimate, other.se), rel=1e-6)


def test_the_sums_of_a_therapy_go_with_the_exclusion_and_come_back_with_its_end() -> None:
    study, _ = rated_clinic(n_therapists=2, n_therapies=1)
    sums_refresh(study.pk)
    therapy = study.therapies.order_by("pk").first()
    rows = TherapySums.objects.filter(therapy=therapy)
    kept = list(
        rows.order_by("perspective", "scale").values("perspective", "scale", "n", "mean_y", "css_y", "csp")
    )
    leave_out(therapy)
    assert not rows.exists()
    assert RatingChange.objects.filter(therapy=therapy).exists()
    sums_refresh(study.pk)
    assert not rows.exists()
    assert {row["therapy"] for row in study_ratings(study.pk, ["total"])} == {
        study.therapies.order_by("pk").last().pk
    }
    Therapy.objects.filter(pk=therapy.pk).update(excluded_at=None)
    sums_refresh(study.pk)
    assert (
        list(
            rows.order_by("perspective", "scale").values(
                "perspective", "scale", "n", "mean_y", "css_y", "csp"
            )
        )
        == kept
    )


def test_a_therapy_that_is_left_out_is_in_no_download_and_no_count(cast: Cast) -> None:
    other = factories.make_therapy(cast.study, cast.therapist)
    for therapy in (cast.therapy, other):
        session = factories.hold_session(therapy)
        factories.give(factories.form_of(session, "patient"), 6)
        factories.give(factories.form_of(session, "therapist"), 3, user=cast.therapist)
    factories.give(
        factories.form_about_practice(cast.therapy.therapist, cast.study, "dpccq-coping", "2026"),
        1,
        user=cast.therapist,
    )
    leave_out(cast.therapy)
    lines = dataset(cast.study)
    assert sorted((row["therapy"] or "", row["rater"]) for row in lines) == [
        ("", "therapist"),
        (other.code, "patient"),
        (other.code, "therapist"),
    ]
    counts = {(row["instrument__code"], row["rater"]): row for row in study_counts(cast.study)}
    assert counts["wai-s", "patient"]["n_received"] == counts["wai-s", "patient"]["n_asked"] == 1
    assert counts["dpccq-coping", "therapist"]["n_received"] == 1
    study = with_counts(Study.objects.filter(pk=cast.study.pk)).get()
    assert (study.n_therapies, study.n_left_out, study.n_forms) == (2, 1, 3)
    client = signed_in(cast.researcher)
    codebook = client.get(reverse("study-codebook", kwargs={"study_id": cast.study.pk})).content.decode()
    assert "1 therapy is left out because the patient did not agree or withdrew" in codebook
    studies = client.get(reverse("study-list")).content.decode()
    assert "1 more therapy is left out" in studies
    assert cast.therapy.code not in codebook + studies


def test_every_row_says_under_which_declaration_it_was_given(cast: Cast) -> None:
    version = StudyVersion.objects.create(
        study=cast.study, number=7, visibility="feedback", reminder_hours=[]
    )
    text = ConsentText.objects.create(version=version, language="en", information="I", declaration="D")
    first = factories.hold_session(cast.therapy)
    factories.give(factories.form_of(first, "patient"), 6)
    Consent.objects.create(
        patient=cast.therapy.patient, text=text, agreed=True, at=timezone.now(), channel="link"
    )
    factories.give(factories.form_of(first, "therapist"), 3, user=cast.therapist)
    other = factories.make_therapy(cast.study, cast.therapist)
    Consent.objects.create(patient=other.patient, text=text, agreed=False, at=timezone.now(), channel="link")
    factories.give(factories.form_of(factories.hold_session(other), "patient"), 6)
    factories.give(factories.form_of(factories.hold_session(cast.therapy), "patient"), 6)
    versions = {
        (row["therapy"], row["session"], row["rater"]): row["consent_version"] for row in dataset(cast.study)
    }
    assert versions == {
        (cast.therapy.code, 1, "patient"): None,
        (cast.therapy.code, 1, "therapist"): None,
        (cast.therapy.code, 2, "patient"): 7,
        (other.code, 1, "patient"): None,
    }
