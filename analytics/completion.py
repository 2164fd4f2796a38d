"""The completion page of a study: what its tables and pictures are made of.

What can be counted at once is counted for each reader. What cannot is counted by a job and kept; the page
says of when it is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from django.core.cache import cache
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from analytics.disclosure import MIN_PATIENTS, MIN_THERAPISTS, Share, told_apart
from surveys import completion, jobs
from surveys.access import Actor
from surveys.clinic_access import administered_studies
from surveys.completion import NONE, Delay, Forms, TherapistForms
from surveys.models import Clinic, Job, Rater, Study, Therapist
from surveys.progress import silent

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

JOB = "count_completion"
Report = Callable[[str, int, int], None]
# Milliseconds that a reader waits for one of the counts; what takes longer is done by the job.
PATIENCE = 250
# Seconds. What took longer is kept, and counted again by the job when it is older than a hundred times as
# long. After a day it is no answer any more.
SLOW = 0.5
KEPT = 100
LONGEST = timedelta(days=1)
CANCELLED = "57014"


@dataclass(frozen=True)
class FormLine:
    """The forms of one rater and questionnaire."""

    rater: str
    code: str
    forms: Forms

    @property
    def share(self) -> Share:
        return share_of(self.forms)


class TherapistLine(NamedTuple):
    """Forms about the sessions of one therapist, or of several together (`code` is empty): of each of
    `RATERS`, how many were received of how many. A large clinic has thousands of them in one kept answer."""

    code: str
    n_patients: int
    counts: tuple[tuple[int, int], ...]
    n_therapists: int = 1

    @property
    def shares(self) -> list[tuple[str, Share]]:
        return [(rater, Share(*pair)) for rater, pair in zip(RATERS, self.counts, strict=True)]


@dataclass(frozen=True)
class Reason:
    words: object
    counts: list[tuple[str, int]]


@dataclass(frozen=True)
class Completion:
    """Everything that the page says of the forms of one study in one period, as of one time. `times`: from
    session to form, by rater, whether it may be told or not; `took`: seconds."""

    at: datetime
    took: float
    lines: Sequence[FormLine]
    by_session: Mapping[tuple[str, str], Mapping[int, Forms]]
    times: Mapping[str, Delay | None]
    sessions: Mapping[str, int]
    therapists: Sequence[TherapistLine]
    together: TherapistLine | None
    is_counted_anew: bool = False

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
        known = [(rater, self.times[rater]) for rater in RATERS]
        return [(rater, delay) for rater, delay in known if delay and _is_of_many(rater, delay)]

    def therapists_of(self, code: str) -> Sequence[TherapistLine]:
        """Those with these letters in their code, in its order."""
        return [line for line in self.therapists if code.upper() in line.code.upper()]

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


def study_completion(study: Study, period: Period) -> Completion | None:
    """None while it is being counted for the first time today; then a reader looks again."""
    found = cache.get(_key(study.pk, period))
    kept, now = _read(found) if found else None, timezone.now()
    if kept is None or now - kept.at > LONGEST:
        return None if _is_being_counted(study, period) else _count_at_once(study, period)
    is_old = now - kept.at > timedelta(seconds=KEPT * kept.took)
    if is_old:
        _ask_for(study, period)
    return replace(kept, is_counted_anew=is_old)


def completion_count(scope: str, progress: Report) -> Callable[[], None]:
    """The long job: counts a study in one period, and returns the function that keeps it."""
    key, _colon, code = scope.partition(":")
    study = Study.objects.filter(pk=UUID(key)).first()
    if study is None:
        return lambda: None
    found = _count(study, PERIODS[code], progress)
    return lambda: _keep(study, PERIODS[code], found)


def _count_at_once(study: Study, period: Period) -> Completion | None:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(PATIENCE)])
            found = _count(study, period)
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", "") != CANCELLED:
            raise
        _ask_for(study, period)
        return None
    if found.took > SLOW:
        _keep(study, period, found)
    return found


def _is_being_counted(study: Study, period: Period) -> bool:
    job = jobs.latest(JOB, _scope(study, period))
    return job is not None and job.state in (Job.State.PENDING, Job.State.RUNNING)


def _ask_for(study: Study, period: Period) -> None:
    jobs.request(JOB, _scope(study, period))


def _scope(study: Study, period: Period) -> str:
    return f"{study.pk}:{period.code}"


def _keep(study: Study, period: Period, found: Completion) -> None:
    cache.set(_key(study.pk, period), _written(found), LONGEST.total_seconds())


def _key(study: UUID, period: Period) -> str:
    return f"completion-4:{study}:{period.code}"


def _written(found: Completion) -> dict[str, Any]:
    """As JSON has it, for the cache."""
    return {
        "at": found.at.isoformat(),
        "took": found.took,
        "lines": [(line.rater, line.code, dict(line.forms.by_fate)) for line in found.lines],
        "by_session": [
            (key, [(session, dict(forms.by_fate)) for session, forms in rows.items()])
            for key, rows in found.by_session.items()
        ],
        "times": {rater: delay and asdict(delay) for rater, delay in found.times.items()},
        "sessions": dict(found.sessions),
        "therapists": found.therapists,
        "together": found.together,
    }


def _read(kept: dict[str, Any]) -> Completion:
    """What `_written` wrote."""
    return Completion(
        at=datetime.fromisoformat(kept["at"]),
        took=kept["took"],
        lines=[FormLine(rater, code, Forms(fates)) for rater, code, fates in kept["lines"]],
        by_session={
            (rater, code): {session: Forms(fates) for session, fates in rows}
            for (rater, code), rows in kept["by_session"]
        },
        times={rater: delay and Delay(**delay) for rater, delay in kept["times"].items()},
        sessions=kept["sessions"],
        therapists=[_therapist_line(row) for row in kept["therapists"]],
        together=kept["together"] and _therapist_line(kept["together"]),
    )


def _therapist_line(row: Sequence[Any]) -> TherapistLine:
    code, n_patients, counts, n_therapists = row
    return TherapistLine(code, n_patients, tuple((k, n) for k, n in counts), n_therapists)


def _count(study: Study, period: Period, report: Report = silent) -> Completion:
    begin, now = monotonic(), timezone.now()
    since = period.since(now)
    # First what is the work of the database alone: what is too long for a page ends here.
    report("count", 0, 3)
    by_session = completion.forms_by_session(study, now, since)
    report("count", 1, 3)
    counted = completion.forms_by_therapist(study, now, since)
    by_form: dict[tuple[str, str], Forms] = {}
    for (_therapist, rater, code), forms in counted.by_key.items():
        by_form[rater, code] = by_form.get((rater, code), NONE) + forms
    own, small = told_apart(_therapist_lines(study, counted))
    report("count", 2, 3)
    times = {rater: completion.form_delay(study, rater, since) for rater in RATERS}
    sessions = completion.session_counts(study, since)
    return Completion(
        at=now,
        took=monotonic() - begin,
        lines=[FormLine(*key, by_form[key]) for key in sorted(by_form)],
        by_session=by_session,
        times=times,
        sessions=sessions,
        therapists=own,
        together=_together(small) if own and small else None,
    )


def _therapist_lines(study: Study, found: TherapistForms) -> list[TherapistLine]:
    codes = dict(Therapist.objects.filter(clinic=study.clinic_id).values_list("pk", "code"))
    counts: dict[UUID, dict[str, tuple[int, int]]] = {}
    for (therapist, rater, _code), forms in found.by_key.items():
        if therapist is not None and found.n_patients.get(therapist):
            own = counts.setdefault(therapist, dict.fromkeys(RATERS, (0, 0)))
            k, n = own[rater]
            own[rater] = k + forms.n_received, n + forms.n_due
    return [
        TherapistLine(codes[therapist], found.n_patients[therapist], tuple(own.values()))
        for therapist, own in counts.items()
        if therapist in codes
    ]


def _together(rows: Sequence[TherapistLine]) -> TherapistLine:
    pairs = [list(zip(*(row.counts[place] for row in rows), strict=True)) for place in range(len(RATERS))]
    return TherapistLine(
        code="",
        n_patients=sum(row.n_patients for row in rows),
        counts=tuple((sum(received), sum(due)) for received, due in pairs),
        n_therapists=len(rows),
    )
