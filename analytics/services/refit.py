"""Refitting the growth models of one study: sums up to date, fit, and hand back what is to be written."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import QuerySet

from analytics.dataset import CODINGS, MODEL, TimeCoding, growth_spec, unit_sums
from analytics.growth import fit
from analytics.growth.results import ENGINE, FITTED
from analytics.models import GrowthFit
from analytics.services.dip_tally import tally_request
from analytics.services.panels import panels_request
from analytics.services.sums import sums_refresh
from surveys import clock
from surveys.models import Study
from surveys.selectors import outcome_forms

# Of all models of a study; a task is stopped after 50 s.
MAX_SECONDS = 35.0


@dataclass(frozen=True)
class _Question:
    """What one model of a study is asked for."""

    study: Study
    rater: str
    instrument: str
    scale: str
    coding: TimeCoding

    @property
    def fits(self) -> QuerySet[GrowthFit]:
        """What was answered so far, the latest first."""
        rows = GrowthFit.objects.filter(study=self.study, perspective=self.rater, instrument=self.instrument)
        return rows.filter(scale=self.scale, coding=self.coding.code).order_by("-fitted_at")


def study_refit(study_id: str) -> Callable[[], None]:
    """Fits models per rater and alliance form of the study's plan, one for each scale and coding of time,
    from the sums of its ratings.

    Returns the function that stores the fits; the job runs it in the transaction that closes the job. A
    model whose data have not changed since its last fit is not fitted again.
    """
    study = Study.objects.filter(pk=UUID(study_id), test_of=None).first()
    if study is None:
        # A test run, there or cleared since: nothing of it is in any model.
        return lambda: None
    read_at = clock.now()
    sums_refresh(study.pk)
    questions = _questions(study)
    seconds = MAX_SECONDS / max(len(questions), 1)
    fits = [found for question in questions if (found := _refit(question, read_at, seconds)) is not None]

    def write() -> None:
        GrowthFit.objects.bulk_create(fits)
        tally_request(study.pk)
        panels_request(study.pk)

    return write


def _questions(study: Study) -> list[_Question]:
    return [
        _Question(study, form.rater, form.code, scale, coding)
        for form in outcome_forms(study)
        for scale in form.scales
        for coding in CODINGS.values()
    ]


def _refit(question: _Question, read_at: datetime, seconds: float) -> GrowthFit | None:
    sums = unit_sums(question.study.pk, question.rater, question.instrument, question.scale, question.coding)
    last = question.fits.first()
    spec = growth_spec()
    described = {"model": MODEL, "method": spec.method, "time": question.coding.formula}
    known = (sums.fingerprint, ENGINE, described)
    # What was stopped on a busy machine is worth another try.
    if (
        last
        and last.status != GrowthFit.Status.TIMED_OUT
        and (last.data_fingerprint, last.engine_version, last.spec) == known
    ):
        return None
    # Close to the answer already, where the same question was answered before.
    alike = question.fits.filter(status__in=FITTED, engine_version=ENGINE, spec=described).first()
    theta0 = alike.result["theta"] if alike and alike.result else None
    result = fit(sums, spec, theta0=theta0, seconds=seconds)
    return GrowthFit(
        study=question.study,
        perspective=question.rater,
        instrument=question.instrument,
        scale=question.scale,
        coding=question.coding.code,
        status=result.status,
        message=result.message[:500],
        spec=described,
        result=result.to_dict() if result.is_fitted else None,
        read_at=read_at,
        data_fingerprint=sums.fingerprint,
        n_ratings=result.n["rows"],
        n_therapies=result.n["therapist:therapy"],
        n_therapists=result.n["therapist"],
        engine_version=ENGINE,
        seconds=result.seconds,
        fitted_at=clock.now(),
    )
