"""How numbers and states of the models are written on a page."""

from django import template

from analytics.charts import Row

register = template.Library()

FORM_STATES = {
    "received": "received",
    "declined": "left empty",
    "missing": "not received",
    "open": "open now",
    "planned": "planned",
}


@register.filter
def one_decimal(value: float | None) -> str:
    """5.25 as 5.3; a dash where there is no number."""
    return "–" if value is None else f"{value:.1f}"


@register.filter
def form_words(row: Row, perspective: str) -> str:
    """What became of the form of a session; a rating that came in but is not shown is said to be there."""
    shown = row.patient if perspective == "patient" else row.therapist
    if row.state == "received" and shown is None:
        return "received, not shown"
    return FORM_STATES[row.state]
