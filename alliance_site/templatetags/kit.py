"""Small words for the templates of the privacy kit."""

from django import template

register = template.Library()


@register.filter
def kind(block: object) -> str:
    """Which kind of part of a paper it is."""
    return type(block).__name__
