"""Questions about possible dips: which there are in the ratings that somebody may see, what was done about
them, and which rules a study has chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from uuid import UUID

from django.db.models import QuerySet

from analytics.dataset import LINEAR
from analytics.dips import DEFAULT, RULES, Expectation, Judgement, Rating, Rule, Silence, look
from analytics.growth import FitResult, expected_course
from analytics.growth.effects import variance_shares
from analytics.models import DipReview, DipRules, DipTally
from analytics.selectors import BAND, carries_course, latest_fits
from surveys.access import Actor, is_own, visible_scores
from surveys.models import Rater, Study, StudyVersion, Therapy
from surveys.selectors import OUTCOME_SCALE, therapy_forms

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
    """The possible dips of one therapy, the latest first; `silence` says why no rating could be judged."""

    therapy: Therapy
    rules: tuple[Rule, ...]
    rows: tuple[PossibleDip, ...] = ()
    n_ratings: int = 0
    n_judged: int = 0
    silence: Silence | None = None
    is_blind: bool = False
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
    chosen = DipRules.objects.filter(study=study_id).order_by("-id").first()
    return (DEFAULT,) if chosen is None else tuple(RULES[code] for code in chosen.rules if code in RULES)


def dip_rules_history(study_id: UUID) -> QuerySet[DipRules]:
    return DipRules.objects.filter(study=study_id).select_related("chosen_by").order_by("-id")


def dip_tally(study: Study) -> DipTally | None:
    return DipTally.objects.filter(study=study).first()


def therapy_dips(user: Actor, therapy: Therapy) -> TherapyDips | None:
    """Possible dips in the patient's ratings that the user may see; None where the study asks patients for no
    alliance ratings. Nothing of a hidden rating is in it."""
    form = therapy_forms(therapy).get(Rater.PATIENT)
    if form is None:
        return None
    found = TherapyDips(
        therapy,
        dip_rules(therapy.study_id),
        is_blind=therapy.study.visibility == StudyVersion.Visibility.BLIND,
        may_review=is_own(user, therapy),
    )
    ratings = _seen_ratings(user, therapy, form.code)
    model = dip_model(therapy.study_id, form.code)
    looked = look(ratings, model.expectations(ratings) if model else None, found.rules)
    return replace(
        found,
        rows=_rows(ratings, looked.dips),
        n_ratings=looked.n_ratings,
        n_judged=looked.n_judged,
        silence=looked.silence,
    )


def _seen_ratings(user: Actor, therapy: Therapy, instrument: str) -> list[SeenRating]:
    rows = (
        visible_scores(user, therapy)
        .filter(
            response__assignment__rater=Rater.PATIENT,
            response__instrument__code=instrument,
            response__assignment__session__number__isnull=False,
            scale=OUTCOME_SCALE,
            mean__isnull=False,
        )
        .order_by("response__assignment__session__number")
        .values_list("response", "response__assignment__session__number", "mean")
    )
    # The filter leaves no nulls.
    return [SeenRating(*row) for row in rows]  # type: ignore[arg-type]


def _rows(ratings: Sequence[SeenRating], dips: Sequence[Judgement]) -> tuple[PossibleDip, ...]:
    reviews: dict[UUID, list[DipReview]] = {}
    keys = [rating.response for rating in ratings]
    for review in DipReview.objects.filter(response__in=keys).select_related("by").order_by("id"):
        reviews.setdefault(review.response_id, []).append(review)
    rows = []
    for index, rating in enumerate(ratings):
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

    def expectations(self, ratings: Sequence[Rating]) -> list[Expectation]:
        """What it says of each rating of a therapy, from those before."""
        sigma = self.result.sigma
        if sigma is None:
            raise ValueError("a good fit has a residual SD")
        between = cache(self._between_sd)
        times = [LINEAR.at(rating.session) for rating in ratings]
        values = [rating.value for rating in ratings]
        course = expected_course(self.result, times, times, values, level=BAND, with_variances=True)
        return [
            Expectation(between(t), sigma, mean, lower)
            for t, mean, lower in zip(times, course.mean.tolist(), course.lower.tolist(), strict=True)
        ]

    def _between_sd(self, time: float) -> float:
        """SD of the levels of patients, of all therapists, at a time."""
        levels = [row for row in variance_shares(self.result, time).rows if row.group is not None]
        return math.sqrt(sum(row.variance for row in levels))


def dip_model(study_id: UUID, instrument: str) -> DipModel | None:
    """None where there is no fit with numbers, or one of too few people."""
    fits = latest_fits(study_id, Rater.PATIENT, instrument, LINEAR)
    good, _latest = fits.get(OUTCOME_SCALE, (None, None))
    if good is None or good.result is None or not carries_course(good):
        return None
    return DipModel(FitResult.from_dict(good.result), good.fitted_at)
