"""Small words for templates."""

from django import template
from django.conf.locale import LANG_INFO

register = template.Library()


@register.filter
def language_name(tag: str) -> str:
    """The name of a language in itself; the tag where it has no known name."""
    info = LANG_INFO.get(tag.lower()) or LANG_INFO.get(tag.partition("-")[0].lower(), {})
    return str(info.get("name_local", tag))
