"""What stands in files that the product makes."""

from io import BytesIO
from typing import Any

from pypdf import PdfReader


def pdf_words(content: bytes) -> str:
    """The text of a PDF file, then the descriptions of its pictures, as a screen reader gets them."""
    reader = PdfReader(BytesIO(content))
    told = _told(reader.trailer["/Root"]["/StructTreeRoot"])  # type: ignore[index]
    return " ".join(" ".join([*(page.extract_text() for page in reader.pages), *told]).split())


def _told(node: Any) -> list[str]:
    node = node.get_object()
    if isinstance(node, list):
        return [words for child in node for words in _told(child)]
    if not hasattr(node, "get"):
        return []
    own = [str(node["/Alt"])] if "/Alt" in node else []
    return own + (_told(node["/K"]) if "/K" in node else [])
