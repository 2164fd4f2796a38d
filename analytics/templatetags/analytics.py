"""How numbers and states of the models are written on a page."""

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from analytics.charts import Row
from analytics.disclosure import Share

register = template.Library()

FORM_STATES = {
    "received": _("received"),
    "declined": _("left empty"),
    "missing": _("not received"),
    "open": _("open now"),
    "planned": _("planned"),
}


# What a reader is told first of a panel's age; the sentence after it says the rest.
FRESHNESS = {
    "fresh": _("Up to date."),
    "stale": _("Out of date."),
    "failed": _("Not up to date: the last attempt failed."),
    "never": _("No model yet."),
}


@register.filter
def freshness_words(state: str) -> str:
    return str(FRESHNESS[state])


@register.filter
def one_decimal(value: float | None) -> str:
    """5.25 as 5.3 (or 5,3); a dash where there is no number."""
    return "–" if value is None else number_format(f"{value:.1f}", 1)


@register.filter
def two_decimals(value: float | None) -> str:
    """The same with two: for numbers that lie between 0 and 1."""
    return "–" if value is None else number_format(f"{value:.2f}", 2)


@register.filter
def signed(value: float) -> str:
    """A difference with its sign, +0.4 or −0.4, and 0.0 without one; the sign stays before the number where
    reading goes from right to left."""
    size = one_decimal(abs(value))
    if round(value, 1) == 0:
        return size
    return f"\u200e{'+' if value > 0 else '−'}{size}"


@register.filter
def form_words(row: Row, perspective: str) -> str:
    """What became of the form of a session; a rating that came in but is not shown is said to be there."""
    shown = row.patient if perspective == "patient" else row.therapist
    if row.state == "received" and shown is None:
        return str(_("received, not shown"))
    return str(FORM_STATES[row.state])


@register.filter
def percent(share: Share) -> str:
    """77 %, and of nothing a dash."""
    return "–" if share.value is None else _("%(n)d %%") % {"n": round(100 * share.value)}


@register.filter
def percent_range(share: Share) -> str:
    """The interval of a share, 64 to 86, in percent; a dash where there is none."""
    if share.interval is None:
        return "–"
    lower, upper = (round(100 * end) for end in share.interval)
    return _("%(lower)d to %(upper)d") % {"lower": lower, "upper": upper}


@register.filter
def duration(hours: float, unit_of: float) -> str:
    """Hours in one decimal, or days where the number that decides the unit is two days or more."""
    if unit_of >= 48:
        return _("%(n)s days") % {"n": one_decimal(hours / 24)}
    return _("%(n)s hours") % {"n": one_decimal(hours)}
