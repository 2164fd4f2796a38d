"""Frozen data and files in words on a page."""

from typing import Any

from django import template
from django.utils.formats import number_format
from django.utils.translation import get_language_bidi

from analytics import data_words
from analytics.research.words import Words, number
from analytics.services.exports import State

register = template.Library()
TABLES = ("ratings", "practice", "missing", "sessions", "therapies", "therapists")

register.filter("selection_words", data_words.selection_words)
register.filter("withheld_words", data_words.withheld_words)


@register.filter
def export_state(state: State) -> str:
    return data_words.state_words(state)


@register.filter
def gone_state(state: State) -> str:
    """Why there is no file, and what to do."""
    return data_words.gone_words(state)


@register.filter
def places(value: float | None, n: int) -> str:
    """With n decimals and a minus that stays before the number from right to left too; a dash for none."""
    words = Words(is_rtl=get_language_bidi(), digits=lambda size, n: number_format(f"{size:.{n}f}", n))
    return number(value, words, n)


@register.filter
def frozen_tables(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Each table of a snapshot with its number of rows."""
    return [(name, counts.get(f"n_{name}", 0)) for name in TABLES]


@register.filter
def alone_share(found: dict[str, Any]) -> str:
    """In %, to one decimal: patients whom somebody with exact knowledge can tell."""
    return number_format(f"{100 * found['n_alone'] / max(1, found['n_patients']):.1f}", 1)
