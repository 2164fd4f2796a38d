"""Scale scores from raw answers.

The main metric is the mean of the answered items of a scale. A scale is scored when at least its
`min_share` of items, rounded up, is answered; otherwise mean and total are None. Reversed items count
as minimum + maximum - answer of the form's own response scale; a missing answer stays missing and is
never reversed. The total is the prorated sum, mean times number of items, which for a complete scale
is the plain sum.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from surveys.packs import InstrumentFile, Scale

SKIPPED = -99
PREFER_NOT = -98
NOT_SHOWN = -97
MISSING_CODES = frozenset({SKIPPED, PREFER_NOT, NOT_SHOWN})


@dataclass(frozen=True, slots=True)
class ScaleScore:
    """One scale of one response; mean and total are None when too few items were answered."""

    scale: str
    mean: float | None
    total: float | None
    n_answered: int
    n_items: int


def score(form: InstrumentFile, answers: Mapping[int, int]) -> tuple[ScaleScore, ...]:
    """The score of every scale in the order of the form, by the form's own rule; an item without an
    answer is missing.

    An item that is not on the form, or a value that is neither an option nor a missing code, raises
    a ValueError that names the item.
    """
    return RULES[form.scoring_version](form, _valid_answers(form, answers))


def _item_mean(form: InstrumentFile, values: Mapping[int, int]) -> tuple[ScaleScore, ...]:
    turn = form.minimum + form.maximum
    keyed = {
        item.number: turn - values[item.number] if item.reverse else values[item.number]
        for item in form.items
        if item.number in values
    }
    return tuple(_scale_score(scale, keyed) for scale in form.scales)


def is_straight_lined(form: InstrumentFile, answers: Mapping[int, int]) -> bool:
    """Whether one and the same option was chosen throughout, across plain and reversed items alike."""
    values = _valid_answers(form, answers)
    directions = {item.reverse for item in form.items if item.number in values}
    return directions == {True, False} and len(set(values.values())) == 1


def parse_answer(form: InstrumentFile, text: str) -> int:
    """The option that the text names by its exact ASCII digits; anything else raises ValueError."""
    for option in form.options:
        if text == str(option.value):
            return option.value
    raise ValueError(f"The answer must be a whole number from {form.minimum} to {form.maximum}.")


def answers_needed(scale: Scale) -> int:
    """How many items of the scale must be answered for it to be scored."""
    # The share as written: the float 0.07 times 100 lies above 7 and would round up to 8.
    return math.ceil(Fraction(str(scale.min_share)) * len(scale.items))


def _valid_answers(form: InstrumentFile, answers: Mapping[int, int]) -> dict[int, int]:
    """The answers without the missing ones, each checked against the form."""
    on_form = {item.number for item in form.items}
    values = {}
    for number, value in answers.items():
        if number not in on_form:
            raise ValueError(f"Item {number} is not on the form.")
        if type(value) is int and value in MISSING_CODES:
            continue
        if type(value) is not int or not form.minimum <= value <= form.maximum:
            raise ValueError(f"The answer to item {number} is not an option of the form.")
        values[number] = value
    return values


def _scale_score(scale: Scale, keyed: Mapping[int, int]) -> ScaleScore:
    answered = [keyed[number] for number in scale.items if number in keyed]
    n_answered, n_items = len(answered), len(scale.items)
    if n_answered < answers_needed(scale):
        return ScaleScore(scale.code, None, None, n_answered, n_items)
    # Multiplied before divided, so that a complete scale gives its whole-number sum exactly.
    total = sum(answered) * n_items / n_answered
    return ScaleScore(scale.code, sum(answered) / n_answered, total, n_answered, n_items)


# One entry for each of `packs.SCORING_VERSIONS`. A rule once used is never changed: a better one is a new
# entry for new versions of a form, and stored scores keep the version they were made with.
RULES: dict[str, Callable[[InstrumentFile, Mapping[int, int]], tuple[ScaleScore, ...]]] = {
    "item-mean-1": _item_mean,
}
