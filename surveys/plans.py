"""Plans as people type and read them: session numbers in a line of text, a plan in words and as a row."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys.models import PlanLine
from surveys.planning import MAX_SESSION

LAST_SHOWN = 45
MAX_LISTED = 60


def read_sessions(text: str) -> list[int]:
    """The numbers of a text such as "3, 12, 20, 40", in order; raises ValueError with what to do."""
    parts = [part for part in re.split(r"[\s,;،؛]+", text.strip()) if part]
    if not parts:
        raise ValueError(_("Enter the session numbers, for example 3, 12, 20, 40."))
    if len(parts) > MAX_LISTED:
        raise ValueError(_("Enter at most %(n)d session numbers.") % {"n": MAX_LISTED})
    numbers = []
    for part in parts:
        if not (part.isascii() and part.isdigit() and 1 <= int(part[:6]) <= MAX_SESSION):
            raise ValueError(
                _("“%(part)s” is no session number. Enter numbers with commas between them: 3, 12, 20, 40.")
                % {"part": part[:20]}
            )
        if int(part) in numbers:
            raise ValueError(_("%(n)d stands there twice. Enter each session once.") % {"n": int(part)})
        numbers.append(int(part))
    return sorted(numbers)


def write_sessions(sessions: Iterable[int]) -> str:
    return ", ".join(map(str, sessions))


def in_words(line: PlanLine) -> str:
    """What the line asks for, in sentences."""
    if line.period:
        return _("%(when)s.") % {"when": line.get_period_display()}
    sentences = [_when(line)]
    if line.catch_up:
        sentences.append(
            ngettext(
                "A form that was missed is asked for again at the next session.",
                "A form that was missed is asked for again at one of the next %(n)d sessions.",
                line.tolerance,
            )
            % {"n": line.tolerance}
        )
    if line.tolerance:
        sentences.append(
            ngettext(
                "A form one session earlier or later counts for it, too.",
                "A form up to %(n)d sessions earlier or later counts for it, too.",
                line.tolerance,
            )
            % {"n": line.tolerance}
        )
    sentences.append(
        ngettext(
            "It stays open for %(n)d hour after the session.",
            "It stays open for %(n)d hours after the session.",
            line.window_hours,
        )
        % {"n": line.window_hours}
    )
    return " ".join(sentences)


def _when(line: PlanLine) -> str:
    if line.every == 1:
        return _("After every session.")
    if line.every:
        return _("After every %(n)dth session: %(first)s, …") % {
            "n": line.every,
            "first": write_sessions(line.every * n for n in (1, 2, 3)),
        }
    if len(line.sessions) == 1:
        return _("After session %(n)d.") % {"n": line.sessions[0]}
    return _("After sessions %(list)s and %(last)d.") % {
        "list": write_sessions(line.sessions[:-1]),
        "last": line.sessions[-1],
    }


@dataclass(frozen=True)
class Place:
    """One session number in the picture of a plan: asked, near (counts for one that is asked) or empty."""

    number: int
    state: str


def picture(lines: Sequence[PlanLine]) -> list[Place]:
    """The first sessions of a therapy, and what lines of one arm ask there."""
    pure = [line.pure() for line in lines if not line.period]
    places = []
    for number in range(1, LAST_SHOWN + 1):
        is_near = any(abs(number - planned) <= line.tolerance for line in pure for planned in line.sessions)
        is_asked = any(line.asks_at(number) for line in pure)
        places.append(Place(number, "asked" if is_asked else "near" if is_near else "empty"))
    return places
