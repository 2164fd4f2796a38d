"""What is said of the patients of a clinic or a team together, made by a job in batches.

1. Of patients only ratings are in it that the therapist of each may see, of the last twelve months; of
   therapists their own, and only for the whole clinic.
2. It is made again when forms of at least `BATCH` patients are new since the last one, and, of few patients,
   when at least as many levels changed enough to hide each other: before and after differ by more than one
   form, whoever knows both. What has to go waits for that, too.
3. What it may not say (`analytics.disclosure`) is not stored.
4. A team's holds only ratings of study versions that are open to supervisors.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, F, Func, IntegerField, Q, QuerySet, Sum
from django.utils import timezone

from analytics.disclosure import (
    BATCH,
    ROUNDED_AWAY,
    Figures,
    Level,
    change,
    figures,
    is_hidden_among_others,
    leaves_few,
)
from analytics.models import Panel
from surveys import jobs
from surveys.clinic_access import new_in_sums, summed_scores
from surveys.completion import NONE, TherapistForms, forms_by_therapist
from surveys.models import Instrument, Rater, Role, Score, Study, Therapist
from surveys.scoring import PREFER_NOT, SKIPPED
from surveys.selectors import OUTCOME_SCALE, outcome_forms

YEAR = timedelta(days=365)
# A burst of forms is one batch.
DELAY = timedelta(minutes=1)

SESSION = "response__assignment__session"
THERAPIST = f"{SESSION}__therapy__therapist"
PATIENT = f"{SESSION}__therapy__patient"
IS_OPEN = "response__assignment__version__is_open_to_supervisors"


@dataclass(frozen=True)
class _Key:
    """One panel: a form of one rater, of a supervisor's team or (None) the whole clinic."""

    rater: str
    instrument: str
    supervisor: UUID | None


@dataclass(frozen=True)
class _Sums:
    """What the panels of one rater and moment are made of: levels of the clinic's therapies by form; the same
    from versions that are open to supervisors."""

    all: Mapping[str, list[Level]]
    open: Mapping[str, list[Level]]


def panels_request(study_id: UUID) -> None:
    """As the last statement of a transaction after which ratings may be new."""
    jobs.request("make_panels", study_id, timezone.now() + DELAY)


def study_panels_make(study_id: str) -> Callable[[], None]:
    """Makes the panels of a study that have a new batch, and returns the function that stores them."""
    study = Study.objects.filter(pk=UUID(study_id), test_of=None).first()
    if study is None:
        return lambda: None
    at = timezone.now()
    teams = _teams(study)
    last = _last(study)
    due = [key for key in _keys(study, teams.values()) if _is_due(study, key, last.get(key), at)]
    if not due:
        return lambda: None
    sums = {rater: _sums(study, rater, at) for rater in {key.rater for key in due}}
    forms = forms_by_therapist(study, at, at - YEAR)
    panels = [_panel(study, key, at, teams, sums[key.rater], forms) for key in due]

    def write() -> None:
        Panel.objects.bulk_create(panels)

    return write


def _teams(study: Study) -> dict[Hashable, UUID]:
    """Who supervises whom in the clinic of a study; supervisors of today alone."""
    rows = Therapist.objects.filter(
        clinic=study.clinic_id,
        supervisor__memberships__clinic=study.clinic_id,
        supervisor__memberships__role=Role.SUPERVISOR,
    )
    return dict(rows.values_list("pk", "supervisor"))


def _keys(study: Study, supervisors: Iterable[UUID]) -> list[_Key]:
    keys = []
    is_open = study.versions.filter(is_open_to_supervisors=True).exists()
    for form in outcome_forms(study):
        keys.append(_Key(form.rater, form.code, None))
        if form.rater == Rater.PATIENT and is_open:
            keys += [_Key(form.rater, form.code, supervisor) for supervisor in sorted(set(supervisors))]
    return keys


def _last(study: Study) -> dict[_Key, Panel]:
    """Each panel as it stands."""
    rows = Panel.objects.filter(study=study).order_by("supervisor", "rater", "instrument", "-id")
    return {
        _Key(row.rater, row.instrument, row.supervisor_id): row
        for row in rows.distinct("supervisor", "rater", "instrument")
    }


def _rated(study: Study, rater: str, at: datetime) -> QuerySet[Score]:
    return summed_scores(study, rater, at).filter(
        scale=OUTCOME_SCALE,
        mean__isnull=False,
        response__submitted_at__gte=at - YEAR,
        **{f"{SESSION}__number__isnull": False},
    )


def _is_due(study: Study, key: _Key, last: Panel | None, at: datetime) -> bool:
    if not _has_batch(study, key, last.made_at if last else None, at):
        return False
    if last is None or "lacks" in last.figures:
        return True
    # A supervisor may read every rating of a team's panel one by one.
    is_open_book = key.supervisor is not None
    is_large = last.figures["n_patients"] >= ROUNDED_AWAY
    return is_open_book or is_large or _hides_each(study, key, last, at)


def _hides_each(study: Study, key: _Key, last: Panel, at: datetime) -> bool:
    """Whether a panel of now and the last one, of few patients, differ by the levels of enough patients."""

    def forms(rows: QuerySet[Score]) -> Counter[UUID]:
        of_form = rows.filter(response__instrument__code=key.instrument)
        return Counter(dict(of_form.values_list(PATIENT).annotate(Count("pk")).order_by()))

    counted = _rated(study, key.rater, last.made_at)
    before, now = forms(counted), forms(_rated(study, key.rater, at))
    both = forms(counted.filter(response__submitted_at__gte=at - YEAR))
    changes = [change(before[patient], both[patient], now[patient]) for patient in before | now]
    # Of what was counted then and may not be any more, or was entered since with an earlier time, only the
    # number is known.
    n_patients = abs(last.figures["n_patients"] - len(before))
    is_other = last.figures["n_forms"] != before.total()
    return is_hidden_among_others(changes + [1.0] * max(n_patients, int(is_other)))


def _has_batch(study: Study, key: _Key, since: datetime | None, at: datetime) -> bool:
    rows = _rated(study, key.rater, at).filter(response__instrument__code=key.instrument)
    if key.supervisor is not None:
        rows = rows.filter(**{f"{THERAPIST}__supervisor": key.supervisor, IS_OPEN: True})
    patients: set[UUID] = set()
    for rule in new_in_sums(key.rater, since) if since else (Q(),):
        patients.update(rows.filter(rule).values_list(PATIENT, flat=True).distinct()[:BATCH])
    return len(patients) >= BATCH


def _times(code: int) -> Sum:
    """How often a code stands for an answer in the forms."""
    text = "%(expressions)s::text"
    template = f"(length({text}) - length(replace({text}, ': {code}', ''))) / {len(f': {code}')}"
    return Sum(Func(F("response__answers"), template=template, output_field=IntegerField()))


def _sums(study: Study, rater: str, at: datetime) -> _Sums:
    rows = (
        _rated(study, rater, at)
        .values_list("response__instrument__code", IS_OPEN, THERAPIST, PATIENT, f"{SESSION}__therapy")
        .annotate(
            total=Sum("mean"),
            n=Count("pk"),
            items=Sum("n_items"),
            skipped=_times(SKIPPED),
            preferred_not=_times(PREFER_NOT),
        )
        .order_by(f"{SESSION}__therapy")
    )
    found: tuple[dict[str, dict[UUID, Level]], dict[str, dict[UUID, Level]]] = ({}, {})
    for code, is_open, therapist, patient, therapy, *sums in rows:
        for levels in found[: 1 + is_open]:
            own = levels.setdefault(code, {})
            own[therapy] = _added(own.get(therapy), Level(therapist, patient, *sums))
    both = ({code: list(own.values()) for code, own in levels.items()} for levels in found)
    return _Sums(*both)


def _added(one: Level | None, other: Level) -> Level:
    """A therapy may have been asked under several versions of its study."""
    if one is None:
        return other
    return replace(
        one,
        total=one.total + other.total,
        n=one.n + other.n,
        n_items=one.n_items + other.n_items,
        n_skipped=one.n_skipped + other.n_skipped,
        n_preferred_not=one.n_preferred_not + other.n_preferred_not,
    )


def _panel(
    study: Study,
    key: _Key,
    at: datetime,
    teams: Mapping[Hashable, UUID],
    sums: _Sums,
    forms: TherapistForms,
) -> Panel:
    everybody = sums.all.get(key.instrument, [])
    team = [therapist for therapist, supervisor in teams.items() if supervisor == key.supervisor]
    is_team = key.supervisor is not None
    levels = (
        [level for level in sums.open.get(key.instrument, []) if level.therapist in team]
        if is_team
        else everybody
    )
    found = figures(levels)
    if is_team and isinstance(found, Figures) and leaves_few(everybody, team):
        found = ("rest",)
    return Panel(
        study=study,
        supervisor_id=key.supervisor,
        rater=key.rater,
        instrument=key.instrument,
        figures=_stored(study, key, found, team if is_team else None, forms),
        made_at=at,
    )


def _stored(
    study: Study,
    key: _Key,
    found: Figures | tuple[str, ...],
    team: list[Hashable] | None,
    forms: TherapistForms,
) -> dict[str, object]:
    if not isinstance(found, Figures):
        return {"lacks": list(found)}
    own = [
        counted
        for (therapist, rater, code), counted in forms.by_key.items()
        if (rater, code) == (key.rater, key.instrument) and (team is None or therapist in team)
    ]
    asked = sum(own, NONE)
    wording = Instrument.objects.filter(
        pk__in=study.assignments.filter(rater=key.rater, instrument__code=key.instrument).values("instrument")
    )
    form = wording.earliest("pk").form
    numbers = asdict(replace(found, n_due=asked.n_due, n_received=asked.n_received))
    return {**numbers, "minimum": form.minimum, "maximum": form.maximum}
