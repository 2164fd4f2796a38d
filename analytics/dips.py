"""Pure: which ratings of one therapy lie low enough to be asked about, by published rules.

Ratings y_1 .. y_n of one patient on one scale, in the order of their sessions. A rating y_i is compared with
earlier ones alone, and only where the one before it is at most `MAX_GAP` sessions away: between sessions 3,
12, 20 and 40 a dip and its repair come and go unseen. With m = i - 1 earlier ratings, their mean ȳ and SD s,
and SD b between patients and residual SD σ of the study's growth model at this session:

    within     y_{i-1} - y_i >= k s                    Stiles et al. 2004, Strauss et al. 2006
    between    y_{i-1} - y_i >= k b
    stricter   y_{i-1} - y_i >= k max(s, b)            Gumz et al. 2012, BMC Med Res Methodol 12:10
    reliable   y_{i-1} - y_i >= 1.96 √2 S √(1 - r)     Jacobson & Truax 1991, J Consult Clin Psychol 59, 12
               S² = b² + σ², r = b² / S²
    band       y_i below the range of 80 % that the model expects after the m ratings (`growth.predict`)
    chart      y_i < ȳ - 3 R / d2, R the mean of |y_j - y_{j-1}| among the m, d2 = 2 / √π
               individuals control chart; for alliance ratings: Clin Psychol Psychother 2021, cpp.2606

The published work takes its SDs from whole courses, the future included; a page that is read today cannot,
so s and R are those of the ratings before. `docs/dips.md` says how often each rule is right and wrong.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Protocol

MAX_GAP = 2
D2 = 2 / math.sqrt(math.pi)
# Ratings are fractions, and thresholds are sums of them: a drop that equals its threshold is one.
ROUNDING = 1e-9


class Kind(StrEnum):
    WITHIN = "within"
    BETWEEN = "between"
    STRICTER = "stricter"
    BAND = "band"
    CHART = "chart"
    RELIABLE = "reliable"


# How many earlier ratings of the patient a rule needs.
MIN_EARLIER = {
    Kind.WITHIN: 4,
    Kind.BETWEEN: 1,
    Kind.STRICTER: 4,
    Kind.BAND: 3,
    Kind.CHART: 10,
    Kind.RELIABLE: 1,
}
NEEDS_MODEL = frozenset({Kind.BETWEEN, Kind.STRICTER, Kind.BAND, Kind.RELIABLE})


@dataclass(frozen=True)
class Rule:
    """One rule; `k` is the multiplier of an SD, None where the rule has none to choose."""

    kind: Kind
    k: int | None = None

    @property
    def code(self) -> str:
        """Its name in the database: `stricter-1`, `band`."""
        return self.kind.value if self.k is None else f"{self.kind.value}-{self.k}"

    @property
    def min_earlier(self) -> int:
        return MIN_EARLIER[self.kind]


# Few false alarms: a note that is mostly for nothing is soon not read.
DEFAULT = Rule(Kind.STRICTER, 2)
RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        Rule(Kind.STRICTER, 1),
        DEFAULT,
        Rule(Kind.WITHIN, 1),
        Rule(Kind.WITHIN, 2),
        Rule(Kind.BETWEEN, 1),
        Rule(Kind.BETWEEN, 2),
        Rule(Kind.RELIABLE),
        Rule(Kind.BAND),
        Rule(Kind.CHART),
    )
}


# How many of 100 ratings of steady courses each rule points at (`benchmarks/dips.py`, recorded on a form).
FALSE_ALARMS = {
    "stricter-1": 13,
    "stricter-2": 1,
    "within-1": 24,
    "within-2": 8,
    "between-1": 13,
    "between-2": 1,
    "reliable": 3,
    "band": 11,
    "chart": 1,
}


class Rating(Protocol):
    @property
    def session(self) -> int: ...
    @property
    def value(self) -> float: ...


@dataclass(frozen=True)
class Expectation:
    """What the study's last good model says of one rating, from the ratings before it, in points of the
    scale: SD between patients and residual SD at its session; and where the rule `band` is among those that
    ask, the expected rating and the lower end of the range that holds 80 % of such ratings."""

    between_sd: float
    residual_sd: float
    mean: float | None = None
    lower: float | None = None

    @property
    def total_sd(self) -> float:
        return math.hypot(self.between_sd, self.residual_sd)

    @property
    def reliability(self) -> float:
        """Share of the variance of a single rating that is between patients."""
        return (self.between_sd / self.total_sd) ** 2


class Why(StrEnum):
    """Why a rule cannot judge a rating."""

    TOO_FEW = "too_few"
    TOO_FAR = "too_far"
    NO_MODEL = "no_model"
    NO_SPREAD = "no_spread"


class Silence(StrEnum):
    """Why no rating of a therapy could be judged."""

    NO_RULE = "no_rule"
    NO_RATING = "no_rating"
    TOO_FEW = "too_few"
    TOO_FAR = "too_far"
    NO_MODEL = "no_model"
    NO_SPREAD = "no_spread"
    ALL_EQUAL = "all_equal"


@dataclass(frozen=True)
class Judgement:
    """One rating as one rule sees it, with all that the rule used; what it did not use is None.

    `limit`: the rating is a possible dip at or below it (band and chart: below). `middle`: mean of the
    earlier ratings (chart) or the expected rating (band). SDs and `limit` are in points of the scale.
    """

    rule: Rule
    index: int
    session: int
    value: float
    previous_session: int
    previous: float
    n_earlier: int
    limit: float
    is_dip: bool
    middle: float | None = None
    within_sd: float | None = None
    between_sd: float | None = None
    total_sd: float | None = None
    reliability: float | None = None

    @property
    def threshold(self) -> float:
        """Of the rules about a drop: from how many points on."""
        return self.previous - self.limit


@dataclass(frozen=True)
class Found:
    """All judgements of one therapy; `silence` says why there is none, and is None where there is one."""

    judgements: tuple[Judgement, ...]
    n_ratings: int
    silence: Silence | None

    @property
    def dips(self) -> tuple[Judgement, ...]:
        return tuple(judgement for judgement in self.judgements if judgement.is_dip)

    @property
    def n_judged(self) -> int:
        """Ratings that at least one rule could judge."""
        return len({judgement.index for judgement in self.judgements})


def look(ratings: Sequence[Rating], expected: Sequence[Expectation] | None, rules: Sequence[Rule]) -> Found:
    """Every rating by every rule. `ratings` are one patient's on one scale, by session; `expected` has one
    entry for each of them, None where the study has no model that carries a course."""
    judgements: list[Judgement] = []
    reasons: set[Why] = set()
    for index in range(len(ratings)):
        for rule in rules:
            found = judge(rule, ratings, index, None if expected is None else expected[index])
            if isinstance(found, Judgement):
                judgements.append(found)
            else:
                reasons.add(found)
    silence = None if judgements else _silence(ratings, rules, reasons)
    return Found(tuple(judgements), len(ratings), silence)


def judge(rule: Rule, ratings: Sequence[Rating], index: int, expected: Expectation | None) -> Judgement | Why:
    """The rating at `index` by one rule, from it and those before it; later ones are not looked at."""
    if index < rule.min_earlier:
        return Why.TOO_FEW
    own, before = ratings[index], ratings[index - 1]
    if own.session - before.session > MAX_GAP:
        return Why.TOO_FAR
    if rule.kind in NEEDS_MODEL and expected is None:
        return Why.NO_MODEL
    earlier = ratings[:index]
    measures = _measures(rule, earlier, expected)
    if isinstance(measures, Why):
        return measures
    limit, used = measures
    is_drop = rule.kind not in (Kind.BAND, Kind.CHART)
    return Judgement(
        rule=rule,
        index=index,
        session=own.session,
        value=own.value,
        previous_session=before.session,
        previous=before.value,
        n_earlier=index,
        limit=limit,
        is_dip=own.value <= limit + ROUNDING if is_drop else own.value < limit - ROUNDING,
        **used,
    )


def _measures(
    rule: Rule, earlier: Sequence[Rating], expected: Expectation | None
) -> tuple[float, dict[str, float]] | Why:
    """The limit, and what it was made of. A measure of change of zero would make any drop a dip."""
    values = [rating.value for rating in earlier]
    last = values[-1]
    if rule.kind is Kind.CHART:
        return _chart(earlier, values)
    used: dict[str, float] = {}
    if rule.kind in (Kind.WITHIN, Kind.STRICTER):
        used["within_sd"] = _sd(values)
    if expected is not None:
        if rule.kind is Kind.BAND:
            if expected.lower is None or expected.mean is None:
                raise ValueError("the band was not asked for")
            return expected.lower, {"middle": expected.mean}
        if rule.kind in (Kind.BETWEEN, Kind.STRICTER):
            used["between_sd"] = expected.between_sd
        if rule.kind is Kind.RELIABLE:
            # 1.96 √2 S √(1 - r), where S² (1 - r) = σ²
            used = {"total_sd": expected.total_sd, "reliability": expected.reliability}
            return last - 1.96 * math.sqrt(2) * expected.residual_sd, used
    sd = max(used.values())
    if sd <= ROUNDING:
        return Why.NO_SPREAD
    return last - (rule.k or 1) * sd, used


def _sd(values: Sequence[float]) -> float:
    """With n - 1; `statistics.stdev` is exact to the last digit and twenty times slower."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _chart(earlier: Sequence[Rating], values: list[float]) -> tuple[float, dict[str, float]] | Why:
    """Moving ranges are of neighbours only: over a longer way the course itself moves."""
    ranges = [abs(b.value - a.value) for a, b in pairwise(earlier) if b.session - a.session <= MAX_GAP]
    if len(ranges) < MIN_EARLIER[Kind.CHART] - 1:
        return Why.TOO_FEW
    sd = statistics.fmean(ranges) / D2
    if sd <= ROUNDING:
        return Why.NO_SPREAD
    middle = statistics.fmean(values)
    return middle - 3 * sd, {"middle": middle, "within_sd": sd}


def _silence(ratings: Sequence[Rating], rules: Sequence[Rule], reasons: set[Why]) -> Silence:
    """The reason that says most to somebody who wonders why there is nothing."""
    if not rules:
        return Silence.NO_RULE
    if not ratings:
        return Silence.NO_RATING
    gaps = [b.session - a.session for a, b in pairwise(ratings)]
    if gaps and min(gaps) > MAX_GAP:
        return Silence.TOO_FAR
    for why, silence in (
        (Why.NO_MODEL, Silence.NO_MODEL),
        (Why.NO_SPREAD, Silence.NO_SPREAD),
        (Why.TOO_FEW, Silence.TOO_FEW),
        (Why.TOO_FAR, Silence.TOO_FAR),
    ):
        if why in reasons:
            is_equal = silence is Silence.NO_SPREAD and len({rating.value for rating in ratings}) == 1
            return Silence.ALL_EQUAL if is_equal else silence
    raise ValueError("a rule gave neither a judgement nor a reason")
