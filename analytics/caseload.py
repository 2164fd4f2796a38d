"""Questions over the ratings of a therapist's whole caseload: what both raters said of the same sessions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.utils import timezone

from analytics.agreement import Agreement, Pair, agreement
from surveys.access import Actor, visible_caseload_scores
from surveys.models import Instrument, Rater
from surveys.selectors import OUTCOME_SCALE


@dataclass(frozen=True)
class Form:
    """An alliance form with the ends of its answer scale."""

    code: str
    minimum: int
    maximum: int

    @property
    def scale(self) -> tuple[int, int]:
        return self.minimum, self.maximum


@dataclass(frozen=True)
class FormAgreement:
    """Agreement of both raters on one form, or on a patient's and a therapist's form with the same answer
    scale. `latest`: day of the latest rating in it."""

    patient_form: Form
    therapist_form: Form
    agreement: Agreement
    latest: date


@dataclass(frozen=True)
class CaseloadAgreement:
    """A therapist's agreement with their patients, form by form, the one with most pairs first.

    `n_apart`: sessions that both rated, on answer scales that cannot be compared.
    """

    forms: tuple[FormAgreement, ...]
    n_apart: int


@dataclass(frozen=True)
class _Rating:
    form: Form
    value: float
    at: datetime


@dataclass(frozen=True)
class _Rated:
    """One session with the visible ratings of each rater."""

    patient_id: UUID
    therapy: str
    session: int
    ratings: Mapping[str, list[_Rating]]


def caseload_agreement(user: Actor) -> CaseloadAgreement:
    """Both ratings of each session of the user's own therapies, where the user may see both; nothing that is
    hidden enters, not even a mean. Therapies that are left out of analyses by their patients are left out."""
    pairs: dict[tuple[Form, Form], list[Pair]] = defaultdict(list)
    latest: dict[tuple[Form, Form], datetime] = {}
    n_apart = 0
    for rated in _rated_sessions(user):
        matched = _match(rated.ratings[Rater.PATIENT], rated.ratings[Rater.THERAPIST])
        if not matched and all(rated.ratings.values()):
            n_apart += 1
        for patient, therapist in matched:
            forms = patient.form, therapist.form
            pairs[forms].append(
                Pair(str(rated.patient_id), rated.therapy, rated.session, patient.value, therapist.value)
            )
            latest[forms] = max(latest.get(forms, patient.at), patient.at, therapist.at)
    blocks = [
        FormAgreement(*forms, agreement(rows), timezone.localdate(latest[forms]))
        for forms, rows in pairs.items()
    ]
    blocks.sort(key=lambda block: (-block.agreement.n_pairs, block.patient_form.code))
    return CaseloadAgreement(tuple(blocks), n_apart)


def _match(patient: Iterable[_Rating], therapist: Iterable[_Rating]) -> list[tuple[_Rating, _Rating]]:
    """Each rating of the patient with the therapist's on the same form, or else on the same answer scale."""
    found = []
    for theirs in patient:
        own = [rating for rating in therapist if rating.form.scale == theirs.form.scale]
        own.sort(key=lambda rating: (rating.form.code != theirs.form.code, rating.form.code))
        if own:
            found.append((theirs, own[0]))
    return found


def _rated_sessions(user: Actor) -> Iterable[_Rated]:
    """Sessions with a rating that the user may see."""
    session = "response__assignment__session"
    rows = list(
        visible_caseload_scores(user)
        .filter(
            scale=OUTCOME_SCALE,
            mean__isnull=False,
            **{f"{session}__number__isnull": False, f"{session}__therapy__excluded_at": None},
        )
        .order_by("response__submitted_at", "id")
        .values_list(
            f"{session}__therapy__patient",
            f"{session}__therapy__code",
            f"{session}__number",
            "response__assignment__rater",
            "response__instrument",
            "mean",
            "response__submitted_at",
        )
    )
    forms = _forms({row[4] for row in rows})
    sessions: dict[tuple[str, int], _Rated] = {}
    for patient, code, number, rater, instrument, mean, at in rows:
        rated = sessions.setdefault(
            (code, number), _Rated(patient, code, number, {name: [] for name in Rater.values})
        )
        rated.ratings[rater].append(_Rating(forms[instrument], mean, at))
    return sessions.values()


def _forms(ids: Iterable[UUID]) -> dict[UUID, Form]:
    return {
        pk: Form(row.code, row.form.minimum, row.form.maximum)
        for pk, row in Instrument.objects.in_bulk(ids).items()
    }
