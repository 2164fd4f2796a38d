"""Questions about possible dips: which there are in the ratings that somebody may see, what was done about
them, and which rules a study has chosen."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from uuid import UUID

from django.db.models import QuerySet

from analytics.dataset import LINEAR
from analytics.dips import DEFAULT, RULES, Expectation, Found, Judgement, Kind, Rating, Rule, Silence, look
from analytics.growth import FitResult, expected_course
from analytics.growth.effects import variance_shares
from analytics.growth.results import FITTED
from analytics.models import DipReview, DipRules, DipTally, GrowthFit
from analytics.selectors import BAND, carries_course
from surveys.access import Actor, is_own, shows_ratings, visible_scores
from surveys.models import Instrument, Rater, Score, Study, Therapy
from surveys.selectors import OUTCOME_SCALE, therapies_forms

NEW = "new"
State = DipReview.State


@dataclass(frozen=True)
class SeenRating:
    """A patient's rating on the scale of the models, that somebody may see."""

    response: UUID
    session: int
    value: float


@dataclass(frozen=True)
class PossibleDip:
    """One rating that at least one rule points at, and what was done about it, the latest last.

    `state` is that of the rule with which least was done. Without `judgements` no rule points at it any more:
    the study's model has moved, or other rules were chosen.
    """

    rating: SeenRating
    judgements: tuple[Judgement, ...]
    reviews: tuple[DipReview, ...]

    @property
    def state(self) -> str:
        done = {review.rule: review.state for review in self.reviews}
        states = [done.get(found.rule.code, NEW) for found in self.judgements]
        if not states:
            return self.reviews[-1].state
        for state in (NEW, State.SEEN):
            if state in states:
                return state
        return self.reviews[-1].state

    @property
    def is_open(self) -> bool:
        """Whether somebody should still say what they did."""
        return bool(self.judgements) and self.state in (NEW, State.SEEN)


@dataclass(frozen=True)
class TherapyDips:
    """The possible dips of one therapy, the latest first; `silence` says why no rating could be judged,
    `is_hidden` that the study never shows the reader a rating of the patient."""

    therapy: Therapy
    rules: tuple[Rule, ...]
    rows: tuple[PossibleDip, ...] = ()
    n_ratings: int = 0
    n_judged: int = 0
    silence: Silence | None = None
    is_hidden: bool = False
    may_review: bool = False

    @property
    def waiting(self) -> tuple[PossibleDip, ...]:
        return tuple(row for row in self.rows if row.is_open)

    @property
    def settled(self) -> tuple[PossibleDip, ...]:
        return tuple(row for row in self.rows if not row.is_open)

    @property
    def sessions(self) -> tuple[int, ...]:
        """Sessions with a possible dip, for a mark in the chart."""
        return tuple(sorted(row.rating.session for row in self.rows if row.judgements))


def dip_rules(study_id: UUID) -> tuple[Rule, ...]:
    """The rules in force."""
    return studies_dip_rules([study_id])[study_id]


def studies_dip_rules(studies: Collection[UUID]) -> dict[UUID, tuple[Rule, ...]]:
    """Those of each study."""
    chosen = DipRules.objects.filter(study__in=studies).order_by("study", "-id").distinct("study")
    codes = {row.study_id: row.rules for row in chosen}
    return {
        study: tuple(RULES[code] for code in codes.get(study, [DEFAULT.code]) if code in RULES)
        for study in studies
    }


def dip_rules_history(study_id: UUID) -> QuerySet[DipRules]:
    return DipRules.objects.filter(study=study_id).select_related("chosen_by").order_by("-id")


def dip_tally(study: Study) -> DipTally | None:
    return DipTally.objects.filter(study=study).first()


def therapy_dips(user: Actor, therapy: Therapy) -> TherapyDips | None:
    """Possible dips in the patient's ratings that the user may see; None where the study asks patients for no
    alliance ratings. Nothing of a hidden rating is in it."""
    (rated,) = rated_therapies(visible_scores(user, therapy), [therapy])
    if rated.form is None:
        return None
    rules, is_reviewer = dip_rules(therapy.study_id), is_own(user, therapy)
    looked = rated.look(rules)
    rows = possible_dips(rated, looked.dips, _reviews([therapy]))
    return TherapyDips(
        therapy,
        rules,
        rows if is_reviewer else tuple(map(_without_words, rows)),
        n_ratings=looked.n_ratings,
        n_judged=looked.n_judged,
        silence=looked.silence,
        is_hidden=not shows_ratings(therapy.study.current, to_supervisor=not is_reviewer, is_ended=True),
        may_review=is_reviewer,
    )


@dataclass(frozen=True)
class RatedTherapy:
    """The patient's ratings of a therapy on the form that the study asks for now, by session, and the model
    that the rules about them use; without a form there are none."""

    therapy: Therapy
    form: Instrument | None
    ratings: tuple[SeenRating, ...]
    model: "DipModel | None"

    @property
    def last_session(self) -> int | None:
        """Of the last rating."""
        return self.ratings[-1].session if self.ratings else None

    def look(self, rules: Sequence[Rule]) -> Found:
        # The expected course is what takes time, and one rule alone asks for it.
        with_course = any(rule.kind is Kind.BAND for rule in rules)
        expected = self.model.expectations(self.ratings, with_course=with_course) if self.model else None
        return look(self.ratings, expected, rules)


def rated_therapies(scores: QuerySet[Score], therapies: Iterable[Therapy]) -> Iterator[RatedTherapy]:
    """Of each therapy the ratings among these scores, in a number of queries that does not grow with them:
    nothing of a rating that is not among the scores is in it."""
    by_key = {therapy.pk: therapy for therapy in therapies}
    forms = {arm: asked.get(Rater.PATIENT) for arm, asked in therapies_forms(by_key.values()).items()}
    models = dip_models({(study, form.code) for (study, _arm), form in forms.items() if form})
    session = "response__assignment__session"
    rows = (
        scores.filter(
            response__assignment__rater=Rater.PATIENT,
            scale=OUTCOME_SCALE,
            mean__isnull=False,
            **{f"{session}__number__isnull": False},
        )
        .order_by(f"{session}__therapy", f"{session}__number")
        .values_list(
            f"{session}__therapy", "response__instrument__code", "response", f"{session}__number", "mean"
        )
    )
    ratings: dict[UUID, list[SeenRating]] = {}
    # No cursor: for one the database prefers a plan whose first row is quick and whose last is not.
    for key, code, *rating in list(rows):
        # A therapy may have begun since they were read.
        if key in by_key:
            form = forms[by_key[key].study_id, by_key[key].arm]
            if form and form.code == code:
                ratings.setdefault(key, []).append(SeenRating(*rating))
    for key, therapy in by_key.items():
        form = forms[therapy.study_id, therapy.arm]
        model = models.get((therapy.study_id, form.code)) if form else None
        yield RatedTherapy(therapy, form, tuple(ratings.get(key, ())), model)


def waiting_dips(
    rated: Sequence[RatedTherapy], rules: Mapping[UUID, Sequence[Rule]]
) -> dict[UUID, tuple[int, ...]]:
    """By therapy: the sessions with a possible dip by the rules of its study that nobody has said anything
    about yet."""
    found = {row.therapy.pk: row.look(rules[row.therapy.study_id]).dips for row in rated}
    reviews = _reviews([row.therapy for row in rated if found[row.therapy.pk]])
    return {
        row.therapy.pk: tuple(
            sorted(
                dip.rating.session
                for dip in possible_dips(row, found[row.therapy.pk], reviews)
                if dip.is_open
            )
        )
        for row in rated
    }


def _reviews(therapies: Sequence[Therapy]) -> dict[UUID, list[DipReview]]:
    """By response, the latest last."""
    reviews: dict[UUID, list[DipReview]] = {}
    rows = DipReview.objects.filter(
        response__assignment__session__therapy__in=[therapy.pk for therapy in therapies]
    )
    for review in rows.select_related("by").order_by("id"):
        reviews.setdefault(review.response_id, []).append(review)
    return reviews


def _without_words(row: PossibleDip) -> PossibleDip:
    """As a supervisor reads it: what a therapist writes to say what they did is theirs."""
    for review in row.reviews:
        review.reason = ""
    return row


def possible_dips(
    rated: RatedTherapy, dips: Sequence[Judgement], reviews: Mapping[UUID, list[DipReview]]
) -> tuple[PossibleDip, ...]:
    """Every rating with a dip or a review, the latest first."""
    rows = []
    for index, rating in enumerate(rated.ratings):
        judgements = tuple(dip for dip in dips if dip.index == index)
        done = tuple(reviews.get(rating.response, ()))
        if judgements or done:
            rows.append(PossibleDip(rating, judgements, done))
    return tuple(reversed(rows))


@dataclass(frozen=True)
class DipModel:
    """The last good model of patients' ratings with one form, as the rules take it."""

    result: FitResult
    fitted_at: datetime

    def expectations(self, ratings: Sequence[Rating], *, with_course: bool = True) -> list[Expectation]:
        """What it says of each rating of a therapy, from those before."""
        sigma = self.result.sigma
        if sigma is None:
            raise ValueError("a good fit has a residual SD")
        times = [LINEAR.at(rating.session) for rating in ratings]
        if not with_course:
            return [Expectation(self._between_sds(t), sigma) for t in times]
        values = [rating.value for rating in ratings]
        course = expected_course(self.result, times, times, values, level=BAND, with_variances=True)
        return [
            Expectation(self._between_sds(t), sigma, mean, lower)
            for t, mean, lower in zip(times, course.mean.tolist(), course.lower.tolist(), strict=True)
        ]

    @cached_property
    def _between_sds(self) -> Callable[[float], float]:
        """Each time is asked for once in every therapy."""
        return cache(self._between_sd)

    def _between_sd(self, time: float) -> float:
        """SD of the levels of patients, of all therapists, at a time."""
        levels = [row for row in variance_shares(self.result, time).rows if row.group is not None]
        return math.sqrt(sum(row.variance for row in levels))


def dip_models(wanted: Collection[tuple[UUID, str]]) -> dict[tuple[UUID, str], DipModel]:
    """By study and form, of those asked for; none where there is no fit with numbers, or one of too few
    people."""
    fits = GrowthFit.objects.filter(
        study__in={study for study, _ in wanted},
        instrument__in={form for _, form in wanted},
        perspective=Rater.PATIENT,
        coding=LINEAR.code,
        scale=OUTCOME_SCALE,
        status__in=FITTED,
    )
    latest = fits.order_by("study", "instrument", "-fitted_at").distinct("study", "instrument")
    return {
        (fit.study_id, fit.instrument): DipModel(FitResult.from_dict(fit.result), fit.fitted_at)
        for fit in latest
        if fit.result is not None and carries_course(fit) and (fit.study_id, fit.instrument) in wanted
    }
