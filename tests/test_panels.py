"""Every panel of every page says how old its numbers are: one without such a line is found here."""

import re
from pathlib import Path

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
FIGURE = re.compile(r'<figure class="chart.*?</figure>', re.S)


def with_includes(text: str) -> str:
    """The template with what it includes, to any depth."""

    def included(match: re.Match[str]) -> str:
        return with_includes((TEMPLATES / match[1]).read_text(encoding="utf-8"))

    return re.sub(r'{% include "([^"]+)"[^%]*%}', included, text)


def test_every_chart_says_what_it_rests_on_and_how_old_it_is() -> None:
    figures = {
        f"{path.relative_to(TEMPLATES)}: {figure[:60]}": figure
        for path in sorted(TEMPLATES.rglob("*.html"))
        for figure in FIGURE.findall(with_includes(path.read_text(encoding="utf-8")))
    }
    assert len(figures) >= 3
    assert [name for name, figure in figures.items() if 'class="freshness"' not in figure] == []
