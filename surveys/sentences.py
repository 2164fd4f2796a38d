"""Sentences of the rooms without Django: English here, and in the reader's language on a page."""

from collections.abc import Callable


class Sentence(str):
    """English text made from a template. Template and values stay with it, so that a page can say the same
    in another language. Values may be sentences themselves. `tools.messages` collects the templates."""

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> "Sentence":
        made = super().__new__(cls, template % values)
        made.template, made.values = template, values
        return made


def translated(text: str, translate: Callable[[str], str]) -> str:
    if not isinstance(text, Sentence):
        return text
    values = {
        name: translated(value, translate) if isinstance(value, str) else value
        for name, value in text.values.items()
    }
    return translate(text.template) % values
