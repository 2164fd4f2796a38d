"""A paper as parts that a page and a Markdown file are made of. Plain values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Blank:
    """What the software cannot know and never invents: somebody fills it in."""

    what: str


@dataclass(frozen=True)
class Grid:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def labelled(self) -> list[list[tuple[str, str]]]:
        """Each cell with the head of its column."""
        return [list(zip(self.head, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Steps:
    rows: Sequence[str]


Block = str | Blank | Grid | Steps


@dataclass(frozen=True)
class Part:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Paper:
    """`code` names its address and file; `note` says what it is: a draft."""

    code: str
    title: str
    note: str
    parts: Sequence[Part]


def markdown(paper: Paper, fill: str) -> str:
    """`fill` is the word before a blank."""
    lines = [f"# {_plain(paper.title)}", "", f"> {_plain(paper.note)}", ""]
    for part in paper.parts:
        lines += [f"## {_plain(part.title)}", ""]
        for block in part.blocks:
            lines += [*_lines(block, fill), ""]
    return "\n".join(lines)


def _lines(block: Block, fill: str) -> Iterable[str]:
    if isinstance(block, str):
        return [_plain(block)]
    if isinstance(block, Blank):
        return [f"[{fill}: {_plain(block.what)}]"]
    if isinstance(block, Steps):
        return [f"{number}. {_plain(row)}" for number, row in enumerate(block.rows, 1)]
    rows = [block.head, ["---"] * len(block.head), *block.rows]
    return ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]


def _plain(text: str) -> str:
    """On one line, without what Markdown would take for its own: names are typed by people."""
    flat = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in "\\|<>[]`*#" else sign for sign in flat)
