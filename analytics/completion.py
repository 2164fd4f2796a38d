"""The completion page of a study: what its tables and pictures are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from django.core.cache import cache
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from analytics.disclosure import MIN_PATIENTS, MIN_THERAPISTS, Share, told_apart
from surveys import completion
from surveys.access import Actor
from surveys.clinic_access import administered_studies
from surveys.completion import NONE, Delay, Forms, TherapistForms
from surveys.models import Clinic, Rater, Study, Therapist

RATERS = (Rater.PATIENT.value, Rater.THERAPIST.value)


@dataclass(frozen=True)
class Period:
    """Forms that were asked for in these last days; None: ever."""

    code: str
    words: object
    days: int | None

    def since(self, now: datetime) -> datetime | None:
        return None if self.days is None else now - timedelta(days=self.days)


PERIODS = {
    period.code: period
    for period in (
        Period("90d", _("Last 90 days"), 90),
        Period("12m", _("Last 12 months"), 365),
        Period("all", _("From the beginning"), None),
    )
}

# The reasons why forms are not there, in the order of the page.
REASONS = {
    completion.MISSED: _("Not opened in time"),
    completion.BEGUN: _("Begun and not sent in time"),
    completion.NO_RATING: _("No rating given, as the therapist said"),
    completion.STOPPED: _("Asked for no more: the patient ended their part"),
    completion.NOT_HELD: _("Asked for no more: the session was not held"),
    completion.NOT_NEEDED: _("Asked for no more: the plan or another form covers it"),
}

# Of a very large study the counts take seconds. They are kept for a hundred times as long as they took, and
# the page says of when they are; where they are quick, they are always new.
SLOW = 0.5
KEPT = 100


@dataclass(frozen=True)
class Counts:
    """What is counted, as of one time."""

    at: datetime
    by_therapist: TherapistForms
    by_session: Mapping[tuple[str, str], Mapping[int, Forms]]
    delays: Mapping[str, Delay | None]
    sessions: Mapping[str, int]


@dataclass(frozen=True)
class FormLine:
    """The forms of one rater and questionnaire."""

    rater: str
    code: str
    forms: Forms

    @property
    def share(self) -> Share:
        return share_of(self.forms)


@dataclass(frozen=True)
class TherapistLine:
    """Forms about the sessions of one therapist, or of several together (`code` is empty)."""

    code: str
    n_patients: int
    forms: Mapping[str, Forms]
    n_therapists: int = 1

    @property
    def shares(self) -> list[tuple[str, Share]]:
        return [(rater, share_of(self.forms.get(rater, NONE))) for rater in RATERS]


@dataclass(frozen=True)
class Reason:
    words: object
    counts: list[tuple[str, int]]


@dataclass(frozen=True)
class Completion:
    """Everything that the page says of the forms of one study in one period."""

    counts: Counts
    lines: Sequence[FormLine]
    therapists: Sequence[TherapistLine]
    together: TherapistLine | None

    @property
    def reasons(self) -> list[Reason]:
        return [
            Reason(words, [(rater, self._n(rater, fate)) for rater in RATERS])
            for fate, words in REASONS.items()
            if any(self._n(rater, fate) for rater in RATERS)
        ]

    @property
    def delays(self) -> list[tuple[str, Delay]]:
        """Of raters with forms about enough patients: the median of one form is its time. Of therapists there
        must be enough, too, or it is how long one person takes."""
        known = [(rater, self.counts.delays[rater]) for rater in RATERS]
        return [(rater, delay) for rater, delay in known if delay and _is_of_many(rater, delay)]

    def _n(self, rater: str, fate: str) -> int:
        return sum(line.forms.by_fate.get(fate, 0) for line in self.lines if line.rater == rater)


def _is_of_many(rater: str, delay: Delay) -> bool:
    least = MIN_THERAPISTS if rater == Rater.THERAPIST else 0
    return delay.n_patients >= MIN_PATIENTS and delay.n_therapists >= least


def share_of(forms: Forms) -> Share:
    return Share(forms.n_received, forms.n_due)


def completed_studies(user: Actor, clinic: Clinic) -> QuerySet[Study]:
    """Studies of a clinic that the user administers which are or were in force."""
    rows = administered_studies(user).filter(clinic=clinic, versions__active_from__isnull=False)
    return rows.distinct().order_by("name", "code")


def study_completion(study: Study, period: Period) -> Completion:
    counts = _counts(study, period)
    forms = counts.by_therapist.by_key
    by_form: dict[tuple[str, str], Forms] = {}
    for (_therapist, rater, code), counted in forms.items():
        by_form[rater, code] = by_form.get((rater, code), NONE) + counted
    own, small = told_apart(_therapist_lines(study, counts.by_therapist))
    return Completion(
        counts,
        [FormLine(*key, by_form[key]) for key in sorted(by_form)],
        own,
        _together(small) if own and small else None,
    )


def _counts(study: Study, period: Period) -> Counts:
    key = f"completion-2:{study.pk}:{period.code}"
    kept: Counts | None = cache.get(key)
    if kept is not None:
        return kept
    begin = monotonic()
    now = timezone.now()
    since = period.since(now)
    counts = Counts(
        at=now,
        by_therapist=completion.forms_by_therapist(study, now, since),
        by_session=completion.forms_by_session(study, now, since),
        delays={rater: completion.form_delay(study, rater, since) for rater in RATERS},
        sessions=completion.session_counts(study, since),
    )
    took = monotonic() - begin
    if took > SLOW:
        cache.set(key, counts, KEPT * took)
    return counts


def _therapist_lines(study: Study, found: TherapistForms) -> list[TherapistLine]:
    codes = dict(Therapist.objects.filter(clinic=study.clinic_id).values_list("pk", "code"))
    forms: dict[UUID, dict[str, Forms]] = {}
    for (therapist, rater, _code), counted in found.by_key.items():
        if therapist is not None and found.n_patients.get(therapist):
            own = forms.setdefault(therapist, {})
            own[rater] = own.get(rater, NONE) + counted
    return [
        TherapistLine(codes[therapist], found.n_patients[therapist], own)
        for therapist, own in forms.items()
        if therapist in codes
    ]


def _together(rows: Sequence[TherapistLine]) -> TherapistLine:
    return TherapistLine(
        code="",
        n_patients=sum(row.n_patients for row in rows),
        forms={rater: sum((row.forms.get(rater, NONE) for row in rows), NONE) for rater in RATERS},
        n_therapists=len(rows),
    )
