"""Tables of measured figures, kept inside a page of docs/ that is written by hand around them."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def prose(text: str) -> str:
    """One paragraph, or list entry, in lines that fit the page."""
    words = " ".join(text.split())
    return textwrap.fill(words, 110, subsequent_indent="  " if words.startswith("- ") else "")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def put(path: Path, name: str, figures: str) -> None:
    """Replaces what stands between the two comments of this name; raises ValueError where they are not."""
    begin, end = f"<!-- {name}: begin, written by make validation -->", f"<!-- {name}: end -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{path} has no place for {name}")
    path.write_text(f"{before}{begin}\n\n{figures}\n\n{end}{after}", encoding="utf-8")
