"""Refitting the growth models of one study: read, fit, and hand back what is to be written."""

from collections.abc import Callable
from uuid import UUID

from django.utils import timezone

from analytics.dataset import TIME_CODING, growth_spec, long_data
from analytics.growth import fit
from analytics.growth.results import ENGINE
from analytics.models import GrowthFit
from surveys.models import Study
from surveys.selectors import OUTCOME_SCALE, outcome_forms


def study_refit(study_id: str) -> Callable[[], None]:
    """Fits one model per rater and alliance form of the study's plan.

    Returns the function that stores the fits; the job runs it in the transaction that closes the job. A
    model whose data have not changed since its last fit is not fitted again.
    """
    study = Study.objects.get(pk=UUID(study_id))
    fits = [found for form in outcome_forms(study) if (found := _refit(study, *form)) is not None]

    def write() -> None:
        GrowthFit.objects.bulk_create(fits)

    return write


def _refit(study: Study, rater: str, instrument: str) -> GrowthFit | None:
    started = timezone.now()
    data = long_data(study.pk, rater, instrument, OUTCOME_SCALE)
    last = (
        GrowthFit.objects.filter(study=study, perspective=rater, instrument=instrument, scale=OUTCOME_SCALE)
        .order_by("-fitted_at")
        .first()
    )
    if last and (last.data_fingerprint, last.engine_version) == (data.fingerprint, ENGINE):
        return None
    result = fit(data, growth_spec())
    return GrowthFit(
        study=study,
        perspective=rater,
        instrument=instrument,
        scale=OUTCOME_SCALE,
        status=result.status,
        message=result.message[:500],
        spec={"model": result.formula, "method": result.method, "time": TIME_CODING},
        result=result.to_dict() if result.is_fitted else None,
        read_at=started,
        data_fingerprint=data.fingerprint,
        n_ratings=result.n["rows"],
        n_therapies=result.n["therapist:therapy"],
        n_therapists=result.n["therapist"],
        engine_version=ENGINE,
        seconds=result.seconds,
        fitted_at=timezone.now(),
    )
