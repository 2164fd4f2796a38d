"""Pages as PDF files: the HTML of a template with headings, paragraphs, lists, tables and pictures, set by
Typst as a tagged document (PDF/UA-1).

What the page says and what the file says come from the same templates, so that they cannot differ.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import typst

_SOURCE = (Path(__file__).parent / "sheet.typ").read_bytes()
_TEXTS = {"h1", "h2", "h3", "p", "li", "summary"}
_QUOTES = {"q": ("“", "”")}
_UNSEEN = {"form", "script", "style", "noscript"}


@dataclass(frozen=True)
class Sheet:
    """A page as a file. `pictures`: by the `src` of an image its SVG; `footer` stands on every page beside
    the page's number."""

    title: str
    html: str
    pictures: Mapping[str, str]
    footer: str
    language: str
    is_rtl: bool = False


def pdf(sheet: Sheet) -> bytes:
    """Raises KeyError for an image without a picture or without a description."""
    reader = _Reader()
    reader.feed(sheet.html)
    reader.close()
    used = {block["src"] for block in _images(reader.blocks)}
    content = {
        "title": sheet.title,
        "blocks": reader.blocks,
        "pictures": {src: sheet.pictures[src] for src in used},
        "footer": sheet.footer,
        "language": sheet.language.partition("-")[0],
        "rtl": sheet.is_rtl,
    }
    # As data, never as markup: nothing that somebody typed is read as an instruction.
    return typst.compile(
        _SOURCE, sys_inputs={"sheet": json.dumps(content)}, pdf_standards=["ua-1"], format="pdf"
    )


def _images(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    inner = [image for block in blocks if block["kind"] == "figure" for image in _images(block["blocks"])]
    return [block for block in blocks if block["kind"] == "image"] + inner


@dataclass
class _Table:
    head: list[dict[str, Any]] = field(default_factory=list)
    rows: list[list[dict[str, Any]]] = field(default_factory=list)
    is_head: bool = False

    def block(self) -> dict[str, Any]:
        rows = [cell for row in self.rows for cell in row]
        return {"kind": "table", "columns": len(self.head), "head": self.head, "cells": rows}


class _Reader(HTMLParser):
    """Collects what a page says, block by block; what stands outside of any block is a paragraph."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[dict[str, Any]] = []
        self._around: list[list[dict[str, Any]]] = []
        self._open: dict[str, Any] | None = None
        self._table: _Table | None = None
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _TEXTS and self._table is None:
            classes = given.get("class", "").split()
            is_small = not {"small", "muted", "freshness"}.isdisjoint(classes)
            self._begin({"kind": tag, "text": "", "small": is_small})
        elif tag == "figure":
            self._around.append(self.blocks)
            self.blocks = []
        elif tag == "img":
            image = {"kind": "image", "src": given["src"], "alt": given["alt"]}
            self.blocks.append(image | {"width": int(given.get("width", "100%").removesuffix("%"))})
        elif tag == "table":
            self._table = _Table()
        elif self._table is not None:
            self._start_in_table(self._table, tag, given)
        if tag in _QUOTES:
            self._say(_QUOTES[tag][0])
        elif tag == "br":
            self._say(" ")

    def _start_in_table(self, table: _Table, tag: str, given: dict[str, str]) -> None:
        if tag in ("thead", "tbody"):
            table.is_head = tag == "thead"
        elif tag == "tr" and not table.is_head:
            table.rows.append([])
        elif tag in ("th", "td"):
            cell = {"text": "", "num": "num" in given.get("class", ""), "span": int(given.get("colspan", 1))}
            (table.head if table.is_head else table.rows[-1]).append(cell)
            self._open = cell

    def _begin(self, block: dict[str, Any]) -> None:
        self._open = block
        self.blocks.append(block)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen -= 1
        if tag in _QUOTES:
            self._say(_QUOTES[tag][1])
        elif tag in _TEXTS | {"th", "td"}:
            self._open = None
        elif tag == "table" and self._table is not None:
            self.blocks.append(self._table.block())
            self._table = None
        elif tag == "figure":
            inner = self.blocks
            self.blocks = self._around.pop()
            self.blocks.append({"kind": "figure", "blocks": inner})

    def handle_data(self, data: str) -> None:
        if not self._unseen and (self._open is not None or data.strip()):
            self._say(data)

    def _say(self, words: str) -> None:
        if self._open is None:
            self._begin({"kind": "p", "text": "", "small": False})
        assert self._open is not None, "a block was begun"
        # Line breaks of a template are no words, and two of them in a row no pause.
        text = " ".join((self._open["text"] + words).split())
        is_inner = words[-1:].isspace()
        self._open["text"] = text + (" " if is_inner and text else "")
