"""With which values therapists are compared: chosen by a job, in batches.

A reader who opens the page before and after one colleague sent a form must not see the range move. So the
choice is renewed only when the latest scores of at least `BATCH` therapists changed. A reader may be one of
them, so that these are always three others or more. Below `LEAST_BASIS` people no range is shown of it
(`analytics.practice`), and the choice follows every form until there are enough.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from analytics.models import PracticeBasis
from analytics.practice_bands import LEAST_BASIS
from surveys.models import Instrument
from surveys.practice_access import clinic_practice_scores

# The reader, and three others.
BATCH = 4


@dataclass(frozen=True)
class BasisKey:
    """A scale of a form, on one answer scale: values on another one cannot be compared."""

    instrument: str
    minimum: int
    maximum: int
    scale: str


def clinic_bases_make(clinic_id: str) -> Callable[[], None]:
    """Looks for the latest score of every therapist on every scale, and returns the function that stores the
    choices that are due."""
    clinic = UUID(clinic_id)
    latest = _latest_scores(clinic)
    known = {
        BasisKey(row.instrument, row.minimum, row.maximum, row.scale): row
        for row in PracticeBasis.objects.filter(clinic=clinic)
    }
    due = {
        key: sorted(scores.values())
        for key, scores in latest.items()
        if key not in known or _is_due(known[key], set(scores.values()))
    }

    def write() -> None:
        for key, scores in due.items():
            PracticeBasis.objects.update_or_create(
                clinic_id=clinic,
                instrument=key.instrument,
                minimum=key.minimum,
                maximum=key.maximum,
                scale=key.scale,
                defaults={"scores": scores, "made_at": timezone.now()},
            )

    return write


def _is_due(row: PracticeBasis, scores: set[int]) -> bool:
    """Each changed therapist has a score that is new; who had none before and who had one alike."""
    n_new = len(scores - set(row.scores))
    return n_new >= (BATCH if len(row.scores) >= LEAST_BASIS else 1)


def _latest_scores(clinic: UUID) -> dict[BasisKey, dict[UUID, int]]:
    """By scale and therapist the id of the latest score."""
    rows = list(
        clinic_practice_scores(clinic)
        .order_by("response__submitted_at", "id")
        .values_list("id", "scale", "response__instrument", "response__assignment__therapist")
    )
    forms = Instrument.objects.in_bulk({instrument for _, _, instrument, _ in rows})
    latest: dict[BasisKey, dict[UUID, int]] = {}
    for score, scale, instrument, therapist in rows:
        form = forms[instrument].form
        key = BasisKey(form.code, form.minimum, form.maximum, scale)
        latest.setdefault(key, {})[therapist] = score
    return latest
