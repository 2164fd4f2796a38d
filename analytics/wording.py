"""Pure: the numbers of one therapy in words.

The words are English unless the caller brings a `Writing`; `_` marks them for translation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

PATIENT, THERAPIST = "patient", "therapist"


@dataclass(frozen=True)
class Writing:
    """How a page writes words, numbers and days, and from which side it is read."""

    translate: Callable[[str], str] = str
    number: Callable[[float], str] = "{:.1f}".format
    day: Callable[[date], str] = lambda day: f"{day.day} {day:%B %Y}"
    is_rtl: bool = False

    def in_picture(self, words: str) -> str:
        """The picture itself is drawn from left to right; words in it keep their own direction."""
        return f"\u2067{words}\u2069" if self.is_rtl else words


ENGLISH = Writing()


class Rating(Protocol):
    @property
    def session(self) -> int: ...
    @property
    def value(self) -> float: ...
    @property
    def submitted_on(self) -> date: ...


class Expected(Protocol):
    @property
    def session(self) -> int: ...
    @property
    def mean(self) -> float: ...
    @property
    def lower(self) -> float: ...
    @property
    def upper(self) -> float: ...


@dataclass(frozen=True)
class Pause:
    """Between two sessions more than four weeks passed (`weeks`), or another therapist took over: `after` is
    the number of the session before, 0 where the therapy began so."""

    after: int
    kind: str
    """break, taken_over or handed_over"""
    weeks: int = 0


def pause_words(pause: Pause, writing: Writing) -> str:
    _ = writing.translate
    words = {
        "break": _("Break: %(weeks)d weeks"),
        "taken_over": _("Taken over from another therapist"),
        "handed_over": _("Handed over to another therapist"),
    }
    return words[pause.kind] % {"weeks": pause.weeks}


def sentence(
    perspective: str,
    ratings: Sequence[Rating],
    expected: Sequence[Expected],
    n_held: int,
    writing: Writing = ENGLISH,
) -> str:
    """Reads the chart aloud; says no more than the last visible rating and its band carry."""
    _ = writing.translate
    is_patient = perspective == PATIENT
    if not ratings:
        return (
            _("There is no patient rating to show yet.")
            if is_patient
            else _("There is no therapist rating to show yet.")
        )
    last = ratings[-1]
    words = (
        _(
            "The last patient rating that you may see is %(value)s, of %(day)s"
            " (session %(session)d of %(n_held)d)."
        )
        if is_patient
        else _("The last therapist rating is %(value)s, of %(day)s (session %(session)d of %(n_held)d).")
    )
    text = words % {
        "value": writing.number(last.value),
        "day": writing.day(last.submitted_on),
        "session": last.session,
        "n_held": n_held,
    }
    course = {point.session: point for point in expected}.get(last.session)
    if course is None:
        none = _("There is no expected course to compare it with.")
        return f"{text} {none}"
    return f"{text} {_comparison(last.value, course, writing)}"


def _comparison(rating: float, course: Expected, writing: Writing) -> str:
    _ = writing.translate
    # As the page prints them: a reader must be able to check the sentence.
    value, mean, lower, upper = (round(x, 1) for x in (rating, course.mean, course.lower, course.upper))
    if value == mean:
        words = _("It is as expected, and within the range of 80 %% (%(lower)s to %(upper)s).")
    elif lower <= value <= upper:
        words = (
            _(
                "It is %(gap)s above the expected course, and within the range of 80 %%"
                " (%(lower)s to %(upper)s)."
            )
            if value > mean
            else _(
                "It is %(gap)s below the expected course, and within the range of 80 %%"
                " (%(lower)s to %(upper)s)."
            )
        )
    else:
        words = (
            _(
                "It is %(gap)s above the expected course, and outside the range of 80 %%"
                " (%(lower)s to %(upper)s)."
            )
            if value > mean
            else _(
                "It is %(gap)s below the expected course, and outside the range of 80 %%"
                " (%(lower)s to %(upper)s)."
            )
        )
    numbers = {"gap": abs(value - mean), "lower": lower, "upper": upper}
    return words % {name: writing.number(number) for name, number in numbers.items()}


def mark_words(rater: str, point: Rating, course: Expected | None, writing: Writing) -> str:
    """What one mark of the picture says of itself."""
    _ = writing.translate
    words = {
        "session": point.session,
        "rater": _("patient") if rater == PATIENT else _("therapist"),
        "value": writing.number(point.value),
    }
    if course is None:
        return _("Session %(session)d, %(rater)s, %(value)s") % words
    numbers = {"mean": course.mean, "lower": course.lower, "upper": course.upper}
    words |= {name: writing.number(number) for name, number in numbers.items()}
    return _("Session %(session)d, %(rater)s, %(value)s, expected %(mean)s (%(lower)s to %(upper)s)") % words
