"""How the pages of the models write words, numbers and days."""

from django.utils.formats import date_format, number_format
from django.utils.translation import get_language_bidi, gettext

from analytics.wording import Writing


def writing_of_the_page() -> Writing:
    """As the language of the page has it."""
    return Writing(
        translate=gettext,
        # Django's own formatting cuts a float off instead of rounding it.
        number=lambda value: number_format(f"{value:.1f}", 1),
        day=lambda day: date_format(day, "DATE_FORMAT"),
        is_rtl=get_language_bidi(),
    )
