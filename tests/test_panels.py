"""Every panel of every page says how old its numbers are, or a line above several says it of all of them: one
without such a line is found here."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
FIGURE = re.compile(r'<figure class="chart.*?</figure>', re.S)
LINE = 'class="freshness"'


def with_includes(text: str) -> str:
    """The template with what it includes, to any depth."""

    def included(match: re.Match[str]) -> str:
        return with_includes((TEMPLATES / match[1]).read_text(encoding="utf-8"))

    return re.sub(r'{% include "([^"]+)"[^%]*%}', included, text)


def without_line(text: str) -> list[str]:
    """The charts of a template that say nothing of their age, where no line above them says it of several."""
    figures = [(match.start(), match[0]) for match in FIGURE.finditer(text)]
    return [
        figure[:60]
        for start, figure in figures
        if LINE not in figure and LINE not in FIGURE.sub("", text[:start])
    ]


def test_every_chart_says_what_it_rests_on_and_how_old_it_is() -> None:
    pages = {path: with_includes(path.read_text(encoding="utf-8")) for path in TEMPLATES.rglob("*.html")}
    assert sum(len(FIGURE.findall(page)) for page in pages.values()) >= 3
    assert {path.name: found for path, page in pages.items() if (found := without_line(page))} == {}
