"""How numbers and states of the models are written on a page."""

from django import template

register = template.Library()

FORM_STATES = {
    "received": "received",
    "declined": "declined",
    "missing": "not received",
    "open": "open now",
    "planned": "planned",
}


@register.filter
def one_decimal(value: float | None) -> str:
    """5.25 as 5.3; a dash where there is no number."""
    return "–" if value is None else f"{value:.1f}"


@register.filter
def form_state(state: str) -> str:
    return FORM_STATES[state]
