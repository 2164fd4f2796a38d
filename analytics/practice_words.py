"""Pure: what a therapist said of their own practice in words: what there is, and from what. Judges nothing.

The words are English unless the caller brings a `Writing`; `_` marks them for translation.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from analytics.practice_bands import LEAST_OTHERS, Band, NoBand
from analytics.wording import Writing


class AtPeriod(Protocol):
    @property
    def value(self) -> float | None: ...
    @property
    def sent_on(self) -> date: ...


class InMonth(Protocol):
    @property
    def value(self) -> float | None: ...
    @property
    def n_scored(self) -> int: ...


def period_words(code: str, writing: Writing) -> str:
    """entry, year-1, year-2 … as a short name; anything else as it is."""
    _ = writing.translate
    if code == "entry":
        return _("Entry")
    years = code.removeprefix("year-")
    return _("Year %(number)s") % {"number": years} if years != code and years.isdigit() else code


def composite_words(code: str, writing: Writing) -> str:
    _ = writing.translate
    names = {
        "healing_involvement": _("Healing involvement"),
        "stressful_involvement": _("Stressful involvement"),
    }
    return names.get(code, code)


def component_words(code: str, writing: Writing) -> str:
    _ = writing.translate
    names = {
        "invested": _("invested agency"),
        "efficacious": _("efficacious agency"),
        "affirming": _("affirming manner"),
        "flow": _("flow"),
        "constructive_coping": _("constructive coping"),
        "difficulties": _("difficulties"),
        "anxiety": _("anxiety"),
        "boredom": _("boredom"),
        "avoidant_coping": _("avoidant coping"),
    }
    return names.get(code, code)


def course_sentence(named: Sequence[tuple[str, AtPeriod]], writing: Writing) -> str:
    """Reads a picture by period aloud: its last value, and the one before. `named`: every point with the name
    of its period, in the order of time."""
    _ = writing.translate
    told = [(name, point, point.value) for name, point in named if point.value is not None]
    if not told:
        return _("No value: too few items of this scale were answered.")
    sentences = []
    if named[-1][1].value is None:
        words = _("%(period)s has no value: too few items of this scale were answered.")
        sentences.append(words % {"period": named[-1][0]})
    name, point, value = told[-1]
    here = {"period": name, "value": writing.number(value), "day": writing.day(point.sent_on)}
    if len(told) == 1:
        words = _("One value so far: %(value)s (%(period)s, sent on %(day)s). It says nothing about change.")
    else:
        before, earlier, former = told[-2]
        here |= {
            "before": before,
            "former": writing.number(former),
            "earlier": writing.day(earlier.sent_on),
        }
        words = _(
            "The last value is %(value)s (%(period)s, sent on %(day)s), "
            "the one before %(former)s (%(before)s, sent on %(earlier)s)."
        )
    return " ".join([*sentences, words % here])


def month_sentence(named: Sequence[tuple[str, InMonth]], writing: Writing) -> str:
    """The same of a picture by month."""
    _ = writing.translate
    told = [(name, point, point.value) for name, point in named if point.value is not None]
    if not told:
        return _("No value: too few items of this scale were answered.")
    name, point, value = told[-1]
    words = _("The last month with a value is %(month)s: mean %(value)s, number of forms %(n)s.")
    if len(told) == 1:
        words = _(
            "One month so far, %(month)s: mean %(value)s, number of forms %(n)s. "
            "It says nothing about change."
        )
    return words % {"month": name, "value": writing.number(value), "n": point.n_scored}


def band_sentence(found: Band | NoBand, made_on: date | None, writing: Writing) -> str:
    """The middle half of the others, or why there is none; never where the reader stands in it."""
    _ = writing.translate
    if isinstance(found, Band) and made_on is not None:
        words = _(
            "The middle half of %(n)s other therapists of this clinic: %(lower)s to %(upper)s "
            "(as of %(day)s)."
        )
        numbers = {"lower": writing.number(found.lower), "upper": writing.number(found.upper)}
        return words % {"n": found.n, "day": writing.day(made_on), **numbers}
    if found is NoBand.TOO_CLOSE:
        return _(
            "No comparison with others: their values lie so close together that a range would tell what "
            "single people said."
        )
    if found is NoBand.KNOWN:
        return _(
            "No comparison with others: some of them share their practice with you, or did, and without them "
            "there would be too few."
        )
    words = _(
        "No comparison with others yet: it takes values of at least %(n)s other therapists of this clinic."
    )
    return words % {"n": LEAST_OTHERS}


def missing_sentences(missing: Mapping[str, Sequence[str]], period: str, writing: Writing) -> list[str]:
    """One for each composite that a period lacks, with the components that are missing."""
    _ = writing.translate
    words = _("%(composite)s has no value for %(period)s. Missing: %(components)s.")
    return [
        words
        % {
            "period": period,
            "composite": composite_words(code, writing),
            "components": ", ".join(component_words(part, writing) for part in parts),
        }
        for code, parts in missing.items()
        if parts
    ]


def plane_sentence(named: Sequence[tuple[str, float, float]], writing: Writing) -> str:
    """Reads the plane aloud: (period, healing, stressful) of every point in the order of time."""
    _ = writing.translate
    if not named:
        return _("No period has both values yet, so there is no point to draw.")
    period, healing, stressful = named[-1]
    here = {
        "period": period,
        "healing": writing.number(healing),
        "stressful": writing.number(stressful),
    }
    if len(named) == 1:
        return (
            _(
                "One period so far, %(period)s: healing involvement %(healing)s, "
                "stressful involvement %(stressful)s. It says nothing about change."
            )
            % here
        )
    return (
        _(
            "The last period, %(period)s: healing involvement %(healing)s, "
            "stressful involvement %(stressful)s."
        )
        % here
    )
