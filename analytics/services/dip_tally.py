"""How often each rule points at a rating of a study, counted by a job in batches.

Only ratings that their therapists may see are counted: those are the ones that a possible dip is shown of. A
count is made again only when ratings of at least `BATCH` patients came to be seen since the last one, and
shown only from `MIN_PATIENTS` patients and `MIN_THERAPISTS` therapists on (`analytics.views.dips`), so that
it tells nothing of one form. What has to go waits for that, too.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from analytics.dip_selectors import NEW, RatedTherapy, dip_rules, rated_therapies
from analytics.dips import RULES, Judgement
from analytics.models import DipReview, DipTally
from surveys import jobs
from surveys.access import revealed_scores
from surveys.clinic_access import new_in_sums
from surveys.models import Rater, Study
from surveys.selectors import OUTCOME_SCALE

BATCH = 3
PATIENT = "response__assignment__session__therapy__patient"
# A burst of forms is counted once.
DELAY = timedelta(minutes=1)


@dataclass
class DipCount:
    """Of one rule: ratings that it could judge, of how many therapies, patients and therapists; those that it
    points at, in how many therapies; and what was done about these."""

    n_judged: int = 0
    n_dips: int = 0
    n_therapies: int = 0
    n_therapies_with_dips: int = 0
    n_patients: int = 0
    n_therapists: int = 0
    done: dict[str, int] = field(default_factory=dict)


def tally_request(study_id: UUID) -> None:
    """As the last statement of the transaction that has new ratings or a new model."""
    jobs.request("count_dips", study_id, timezone.now() + DELAY)


def study_dips_count(study_id: str) -> Callable[[], None]:
    """Counts, and returns the function that stores the tally in place of the last one."""
    study = Study.objects.filter(pk=UUID(study_id), test_of=None).first()
    if study is None:
        return lambda: None
    last = DipTally.objects.filter(study=study).first()
    if not _has_batch(study, last):
        return lambda: None
    therapies = study.therapies.filter(excluded_at=None)
    rated = list(rated_therapies(revealed_scores(study.pk), therapies))
    counts = _count(rated, _states(study))
    values = {
        "counted_at": timezone.now(),
        "fitted_at": min((row.model.fitted_at for row in rated if row.model), default=None),
        "n_ratings": sum(len(row.ratings) for row in rated),
        "rules": [rule.code for rule in dip_rules(study.pk)],
        "counts": {code: asdict(count) for code, count in counts.items()},
    }

    def write() -> None:
        DipTally.objects.update_or_create(study=study, defaults=values)

    return write


def _has_batch(study: Study, last: DipTally | None) -> bool:
    """Of patients, not of ratings: several of one patient would tell of their dip alone."""
    rows = revealed_scores(study.pk).filter(scale=OUTCOME_SCALE, mean__isnull=False)
    patients: set[UUID] = set()
    for rule in new_in_sums(Rater.PATIENT, last.counted_at) if last else (Q(),):
        patients.update(rows.filter(rule).values_list(PATIENT, flat=True).distinct()[:BATCH])
    return len(patients) >= BATCH


def _count(
    rated: Sequence[RatedTherapy],
    states: Mapping[tuple[UUID, str], str],
) -> dict[str, DipCount]:
    """Every rule that there is, chosen or not, so that a clinic can choose by its own data."""
    counts = {code: DipCount() for code in RULES}
    people: dict[str, tuple[set[UUID], set[UUID]]] = {code: (set(), set()) for code in RULES}
    for row in rated:
        found = row.look(list(RULES.values()))
        for code, judged in _by_rule(found.judgements).items():
            count, (patients, therapists) = counts[code], people[code]
            dips = [row.ratings[one.index].response for one in judged if one.is_dip]
            count.n_judged += len(judged)
            count.n_dips += len(dips)
            count.n_therapies += 1
            count.n_therapies_with_dips += bool(dips)
            count.done = dict(Counter(count.done) + Counter(states.get((key, code), NEW) for key in dips))
            patients.add(row.therapy.patient_id)
            therapists.add(row.therapy.therapist_id)
    for code, (patients, therapists) in people.items():
        counts[code].n_patients, counts[code].n_therapists = len(patients), len(therapists)
    return counts


def _states(study: Study) -> dict[tuple[UUID, str], str]:
    """The last state of every response and rule with which something was done."""
    rows = DipReview.objects.filter(response__assignment__study=study).order_by("id")
    return {
        (response, rule): state for response, rule, state in rows.values_list("response", "rule", "state")
    }


def _by_rule(judgements: tuple[Judgement, ...]) -> dict[str, list[Judgement]]:
    by_rule: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        by_rule.setdefault(judgement.rule.code, []).append(judgement)
    return by_rule
