"""Why a file, or one form of it, is not taken over: a sentence for every code, which says what to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from surveys.sentences import Sentence


class FileRefused(Exception):
    """The whole file cannot be read; the sentence says why and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one form is rejected: the column where it shows, a code, and what the sentence says beside."""

    code: str
    column: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


_SENTENCES: dict[str, Callable[[Mapping[str, object]], Sentence]] = {
    "ragged": lambda v: Sentence("The row has another number of cells than the first row has columns.", **v),
    "no_patient": lambda v: Sentence("There is no patient in this row.", **v),
    "no_therapist": lambda v: Sentence("There is no therapist in this row.", **v),
    "long_code": lambda v: Sentence("The code of a person has more than 80 characters.", **v),
    "no_session": lambda v: Sentence("There is no session number.", **v),
    "bad_session": lambda v: Sentence("The session number is no whole number from 1 to 1000.", **v),
    "no_rater": lambda v: Sentence("It does not say who rated.", **v),
    "bad_rater": lambda v: Sentence(
        "“%(value)s” is neither among the words for patients nor among those for therapists.", **v
    ),
    "no_form": lambda v: Sentence("No form is chosen for this rater.", **v),
    "empty": lambda v: Sentence("There is no answer: nothing was rated.", **v),
    "not_a_number": lambda v: Sentence("“%(value)s” is no number.", **v),
    "not_whole": lambda v: Sentence("“%(value)s” is no whole number, as an answer must be.", **v),
    "out_of_range": lambda v: Sentence("%(value)s lies outside of %(low)s to %(high)s.", **v),
    "no_such_item": lambda v: Sentence("The form of this rater has no item %(item)s.", **v),
    "no_such_scale": lambda v: Sentence("The form of this rater has no scale “%(scale)s”.", **v),
    "bad_date": lambda v: Sentence("“%(value)s” is no day in the way that was chosen.", **v),
    "future": lambda v: Sentence("The day is still to come.", **v),
    "double": lambda v: Sentence(
        "The same form of the same patient and session stands in row %(other)s, too.", **v
    ),
    "two_therapists": lambda v: Sentence("This patient has another therapist elsewhere in the file.", **v),
    "other_therapist": lambda v: Sentence("This patient has another therapist in this study already.", **v),
    "left_out": lambda v: Sentence(
        "This patient’s therapy is left out of this study, by the patient’s own will.", **v
    ),
    "two_dates": lambda v: Sentence("The same session has another day in row %(other)s.", **v),
    "date_order": lambda v: Sentence(
        "The day lies before that of an earlier session, in row %(other)s.", **v
    ),
    "date_before": lambda v: Sentence(
        "The day lies before that of an earlier session that stands here already.", **v
    ),
    "other_date": lambda v: Sentence("This session stands here already with another day.", **v),
    "date_unknown_here": lambda v: Sentence(
        "This session stands here already without a day. Take the earlier file out again and bring both "
        "together, or leave the column of days out.",
        **v,
    ),
    "other_answers": lambda v: Sentence("This form stands here already with other answers.", **v),
}
CODES = frozenset(_SENTENCES)


def sentence(code: str, values: Mapping[str, object]) -> Sentence:
    """The sentence of a reason, with its values, to be translated on a page."""
    return _SENTENCES[code](values)
