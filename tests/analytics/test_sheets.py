"""A page as a PDF file says what the page says."""

import pytest

from analytics.sheets import Sheet, pdf
from tests.files import pdf_words

PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20"/></svg>'
)


def words_of(html: str, language: str = "en") -> str:
    return pdf_words(pdf(Sheet("Title", html, {"one": PICTURE}, "Foot of the page", language)))


def test_headings_paragraphs_lists_and_tables_are_there_in_their_order() -> None:
    words = words_of(
        "<h1>Head <bdi>K7</bdi></h1>\n<div>\n<p class='muted'>Some <strong>plain</strong>\n   words</p></div>"
        "<table><thead><tr><th>A</th><th class='num'>B</th></tr></thead>"
        "<tbody><tr><th>1</th><td class='num'>4.2</td></tr><tr><td colspan='2'>both</td></tr></tbody></table>"
        "<ul><li>first</li><li>second</li></ul>stray words"
    )
    found = [
        words.index(part) for part in ("Head K7", "Some plain words", "A B 1 4.2 both", "first", "second")
    ]
    assert found == sorted(found)
    assert "stray words" in words, "nothing that a page says is lost"
    assert "Foot of the page 1 / 1" in words


def test_what_one_clicks_on_is_left_out_and_a_quotation_keeps_its_marks() -> None:
    words = words_of(
        "<p>He said <q>no</q>.</p><form><p>Send this</p></form><noscript><p>No script</p></noscript>"
    )
    assert "He said “no”." in words
    assert "Send this" not in words
    assert "No script" not in words


def test_what_somebody_typed_is_no_instruction() -> None:
    typed = '#image("/etc/passwd") *bold* $x$ &lt;b&gt; \\'
    assert '#image("/etc/passwd") *bold* $x$ <b> \\' in words_of(f"<p>{typed}</p>")


def test_a_picture_has_its_description_and_none_goes_without() -> None:
    assert "What it shows" in words_of("<figure><img src='one' alt='What it shows' width='60%'></figure>")
    with pytest.raises(KeyError):
        words_of("<img src='one'>")
    with pytest.raises(KeyError):
        words_of("<img src='other' alt='words'>")


def test_a_language_of_a_region_is_a_language() -> None:
    assert "Word" in words_of("<p>Word</p>", "en-gb")
