"""Pure: a plan's results in words. English unless the caller brings a `Writing`."""

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.wording import ENGLISH, Writing


def effect_words(effect: str, writing: Writing = ENGLISH) -> str:
    _ = writing.translate
    return {
        "patient.level": _("Level, rated by patients"),
        "patient.growth": _("Growth, rated by patients"),
        "therapist.level": _("Level, rated by therapists"),
        "therapist.growth": _("Growth, rated by therapists"),
        "difference.level": _("Level, difference between the raters"),
        "difference.growth": _("Growth, difference between the raters"),
    }[effect]


def share_words(found: Mapping[str, Any], writing: Writing = ENGLISH) -> str:
    """A share of rejections with its Monte Carlo interval, in percent."""
    _ = writing.translate
    share = found["rejected"]
    if share is None:
        return _("no study could be fitted")
    numbers = {key: round(100 * share[key]) for key in ("share", "lower", "upper")}
    return _("%(share)d %% (%(lower)d to %(upper)d)") % numbers


def reading(
    designs: Sequence[Mapping[str, Any]],
    effect: str,
    wanted: float = 0.8,
    writing: Writing = ENGLISH,
    *,
    is_zero: bool = False,
) -> str:
    """What the designs say of one effect: which is the smallest that is found often enough, beyond the error
    of the simulation. Of one that is taken to be zero (`is_zero`) all that is found is false."""
    _ = writing.translate
    known = [row for row in designs if row["effects"][effect]["rejected"]]
    enough = [row for row in known if row["effects"][effect]["rejected"]["lower"] >= wanted]
    if not known:
        return _("No study of any of these designs could be fitted: it is too small for the model.")
    if is_zero:
        return _(
            "This effect is taken to be zero, so that whatever is found is a false finding; about 5 of 100"
            " studies should have one."
        )
    if not enough:
        best = max(known, key=lambda row: row["effects"][effect]["rejected"]["share"])
        words = _(
            "None of these designs finds the effect in 80 %% of studies for certain. The best finds it in "
            "%(share)s: %(therapists)d therapists with %(patients)d patients each."
        )
        row = best
    else:
        row = min(enough, key=lambda row: (row["n_therapists"] * row["n_patients"], row["n_therapists"]))
        words = _(
            "The design with the fewest patients that finds the effect in at least 80 %% of studies has "
            "%(therapists)d therapists with %(patients)d patients each: %(share)s."
        )
    return words % {
        "share": share_words(row["effects"][effect], writing),
        "therapists": row["n_therapists"],
        "patients": row["n_patients"],
    }
