"""Pure: possible dips in words: what the rules are, what one of them says of a rating, and why there is none.

`_` marks words for translation; a `Writing` with two decimals lets a reader check the sums.
"""

from analytics.dips import FALSE_ALARMS, MAX_GAP, Judgement, Kind, Rule, Silence
from analytics.wording import ENGLISH, Writing


def name(rule: Rule, writing: Writing = ENGLISH) -> str:
    _ = writing.translate
    names = {
        Kind.WITHIN: _("Drop of %(k)d SD of the patient’s own ratings"),
        Kind.BETWEEN: _("Drop of %(k)d SD between patients"),
        Kind.STRICTER: _("Drop of %(k)d SD, within or between patients, whichever is more"),
        Kind.RELIABLE: _("Reliable change"),
        Kind.BAND: _("Below the expected range"),
        Kind.CHART: _("Control chart of the patient’s own ratings"),
    }
    return names[rule.kind] % {"k": rule.k or 0}


def definition(rule: Rule, writing: Writing = ENGLISH) -> str:
    """What the rule asks about, and what it needs."""
    _ = writing.translate
    words = {
        Kind.WITHIN: _(
            "The rating is lower than the one before by at least %(k)d SD of this patient’s earlier ratings."
        ),
        Kind.BETWEEN: _(
            "The rating is lower than the one before by at least %(k)d SD between patients, as the study’s "
            "model has it."
        ),
        Kind.STRICTER: _(
            "The rating is lower than the one before by at least %(k)d SD of this patient’s earlier ratings "
            "and by at least %(k)d SD between patients."
        ),
        Kind.RELIABLE: _(
            "The rating is lower than the one before by more than chance alone does in 39 of 40 ratings, by "
            "the SD and the reliability of a single rating in the study’s model."
        ),
        Kind.BAND: _(
            "The rating lies below the range that holds 80 %% of ratings after this patient’s earlier ones."
        ),
        Kind.CHART: _(
            "The rating lies more than 3 SD below the mean of this patient’s earlier ratings, with the SD "
            "taken from their changes between neighbouring sessions."
        ),
    }
    return words[rule.kind] % {"k": rule.k or 0}


def by_chance(rule: Rule, writing: Writing = ENGLISH) -> str:
    """How often it points at a rating where there is no dip."""
    _ = writing.translate
    words = _("In simulated courses without any dip it points at about %(share)d of 100 ratings.")
    return words % {"share": FALSE_ALARMS[rule.code]}


def change(judgement: Judgement, writing: Writing = ENGLISH) -> str:
    """From what to what."""
    _ = writing.translate
    words = _(
        "The rating of session %(session)d is %(value)s; the one before, of session %(previous_session)d, "
        "is %(previous)s."
    )
    return words % {
        "session": judgement.session,
        "value": writing.number(judgement.value),
        "previous_session": judgement.previous_session,
        "previous": writing.number(judgement.previous),
    }


def grounds(judgement: Judgement, writing: Writing = ENGLISH) -> str:
    """By which rule, with what threshold, from how many ratings, with which SD and reliability."""
    _ = writing.translate
    words = {
        Kind.WITHIN: _(
            "This rule asks from a drop of %(threshold)s on: %(k)d × %(within)s, the SD of this patient’s "
            "%(n)d earlier ratings."
        ),
        Kind.BETWEEN: _(
            "This rule asks from a drop of %(threshold)s on: %(k)d × %(between)s, the SD between patients in "
            "the study’s model."
        ),
        Kind.STRICTER: _(
            "This rule asks from a drop of %(threshold)s on: %(k)d × the larger of two SDs, %(within)s of "
            "this patient’s %(n)d earlier ratings and %(between)s between patients in the study’s model."
        ),
        Kind.RELIABLE: _(
            "This rule asks from a drop of %(threshold)s on: 1.96 × √2 × SD × √(1 − reliability), with the "
            "SD %(total)s and the reliability %(reliability)s of a single rating in the study’s model."
        ),
        Kind.BAND: _(
            "This rule asks below %(limit)s: the study’s model expects %(middle)s after this patient’s %(n)d "
            "earlier ratings, and 80 %% of such ratings in a range that begins there."
        ),
        Kind.CHART: _(
            "This rule asks below %(limit)s: the mean %(middle)s of this patient’s %(n)d earlier ratings "
            "less 3 × %(within)s, their SD by the changes between neighbouring sessions."
        ),
    }
    numbers = {
        "threshold": judgement.threshold,
        "limit": judgement.limit,
        "middle": judgement.middle,
        "within": judgement.within_sd,
        "between": judgement.between_sd,
        "total": judgement.total_sd,
        "reliability": judgement.reliability,
    }
    written = {key: writing.number(value) for key, value in numbers.items() if value is not None}
    return words[judgement.rule.kind] % {"k": judgement.rule.k or 0, "n": judgement.n_earlier, **written}


def silence(reason: Silence, writing: Writing = ENGLISH) -> str:
    """Why no rating could be looked at. Says nothing of ratings that the reader may not see."""
    _ = writing.translate
    words = {
        Silence.NO_RULE: _(
            "Your clinic has chosen no rule for this study, so no possible dip is looked for."
        ),
        Silence.NO_RATING: _("There is no patient rating to look at yet."),
        Silence.TOO_FEW: _(
            "There are too few ratings so far: a rating is compared with the patient’s earlier ones."
        ),
        Silence.TOO_FAR: _(
            "The ratings are more than %(gap)d sessions apart, as in a plan of sessions 3, 12, 20 and 40. "
            "Between two of them a dip may come and go unseen, and a lower rating may be a slow change, so "
            "no possible dip is looked for."
        ),
        Silence.NO_MODEL: _(
            "The rule needs the study’s model for its measure, and there is none that carries it so far."
        ),
        Silence.NO_SPREAD: _(
            "The earlier ratings are all equal, so there is no measure of this patient’s usual ups and downs."
        ),
        Silence.ALL_EQUAL: _("All ratings are equal, so none is lower than another."),
    }
    return words[reason] % {"gap": MAX_GAP}
