"""Pure: the agreement of a therapist with their patients in words, English unless the caller brings a
`Writing`. A number is said as it is printed, with its interval; never as good or bad."""

from analytics.agreement import (
    MIN_PAIRS,
    MIN_PAIRS_TOGETHER,
    MIN_PATIENTS,
    NO_VARIATION,
    TOO_FEW_PAIRS,
    TOO_FEW_PATIENTS,
    Agreement,
    Dyad,
    Estimate,
)
from analytics.wording import ENGLISH, Writing


def difference_sentence(found: Agreement, writing: Writing = ENGLISH) -> str:
    """The mean difference, or why there is none."""
    _ = writing.translate
    if found.difference is None:
        return _no_difference(found, writing)
    value, is_one_sided, numbers = _told(found.difference, writing)
    if value == 0:
        words = _("On average you rate as your patients do (from %(below)s lower to %(above)s higher).")
    elif value > 0:
        words = (
            _("You rate %(gap)s higher than your patients on average (%(near)s to %(far)s).")
            if is_one_sided
            else _(
                "You rate %(gap)s higher than your patients on average"
                " (from %(below)s lower to %(above)s higher)."
            )
        )
    else:
        words = (
            _("You rate %(gap)s lower than your patients on average (%(near)s to %(far)s).")
            if is_one_sided
            else _(
                "You rate %(gap)s lower than your patients on average"
                " (from %(below)s lower to %(above)s higher)."
            )
        )
    return words % numbers


def tracking_sentence(found: Agreement, writing: Writing = ENGLISH) -> str:
    """How the therapist's rating moves with the patient's, or why that is not told."""
    _ = writing.translate
    if found.tracking is None:
        return _no_tracking(found, writing)
    value, is_one_sided, numbers = _told(found.tracking, writing)
    if value == 0:
        words = _(
            "When a patient’s rating rises by 1, yours stays where it is"
            " (from a fall by %(below)s to a rise by %(above)s)."
        )
    elif value > 0:
        words = (
            _("When a patient’s rating rises by 1, yours rises by %(gap)s (%(near)s to %(far)s).")
            if is_one_sided
            else _(
                "When a patient’s rating rises by 1, yours rises by %(gap)s"
                " (from a fall by %(below)s to a rise by %(above)s)."
            )
        )
    else:
        words = (
            _("When a patient’s rating rises by 1, yours falls by %(gap)s (%(near)s to %(far)s).")
            if is_one_sided
            else _(
                "When a patient’s rating rises by 1, yours falls by %(gap)s"
                " (from a fall by %(below)s to a rise by %(above)s)."
            )
        )
    return words % numbers


def mark_words(dyad: Dyad, writing: Writing = ENGLISH) -> str:
    """What one mark of the picture says of itself."""
    _ = writing.translate
    difference = round(dyad.difference, 1)
    if difference == 0:
        words = _("Therapy %(code)s: on average the same (sessions: %(n)d)")
    elif difference > 0:
        words = _("Therapy %(code)s: you %(gap)s higher on average (sessions: %(n)d)")
    else:
        words = _("Therapy %(code)s: you %(gap)s lower on average (sessions: %(n)d)")
    return words % {"code": dyad.therapy, "gap": writing.number(abs(difference)), "n": dyad.n_pairs}


def _told(estimate: Estimate, writing: Writing) -> tuple[float, bool, dict[str, str]]:
    """The value as it is printed, whether its interval lies on one side of 0, and the numbers of a sentence:
    `near` and `far` are the limits by their distance from 0, `below` and `above` their reach on each side.

    All are rounded first: a reader must be able to check the sentence.
    """
    value, lower, upper = (round(x, 1) for x in (estimate.value, estimate.lower, estimate.upper))
    near, far = sorted((abs(lower), abs(upper)))
    numbers = {
        "gap": abs(value),
        "near": near,
        "far": far,
        "below": abs(min(lower, 0)),
        "above": abs(max(upper, 0)),
    }
    return value, lower >= 0 or upper <= 0, {name: writing.number(x) for name, x in numbers.items()}


def _no_difference(found: Agreement, writing: Writing) -> str:
    _ = writing.translate
    why = found.why_no_difference
    if why == TOO_FEW_PATIENTS:
        words = _(
            "A mean difference needs at least %(least)d patients with sessions that you both rated;"
            " so far there are %(n)d."
        )
        return words % {"least": MIN_PATIENTS, "n": found.n_patients}
    if why == TOO_FEW_PAIRS:
        words = _(
            "A mean difference needs at least %(least)d sessions that you both rated; so far there are %(n)d."
        )
        return words % {"least": MIN_PAIRS, "n": found.n_pairs}
    if why == NO_VARIATION:
        return _("The differences are the same everywhere, and no interval can be told from that.")
    return _("There is no mean difference: the estimation did not settle on an answer.")


def _no_tracking(found: Agreement, writing: Writing) -> str:
    _ = writing.translate
    why = found.why_no_tracking
    if why in (TOO_FEW_PATIENTS, TOO_FEW_PAIRS):
        words = _(
            "To tell whether your ratings move together, at least %(least)d patients with %(pairs)d or more"
            " sessions that you both rated are needed; so far there are %(n)d."
        )
        return words % {"least": MIN_PATIENTS, "pairs": MIN_PAIRS_TOGETHER, "n": found.n_together}
    if why == NO_VARIATION:
        return _("The ratings do not vary enough to tell whether they move together.")
    return _("Whether your ratings move together is not told: the estimation did not settle on an answer.")
