"""Sentences keep what they are made of, so that a page can say them in another language."""

from surveys.packs import InstrumentFileError, parse
from surveys.sentences import Sentence, translated

GERMAN = {
    "File": "Datei",
    "item": "Aussage",
    "%(place)s: '%(key)s' %(predicate)s": "%(place)s, „%(key)s“: %(predicate)s",
    "holds %(what)s %(value)s %(n)d times.": "%(what)s %(value)s steht %(n)d-mal darin.",
}


def german(text: str) -> str:
    return GERMAN.get(text, text)


def test_a_sentence_is_its_english_text() -> None:
    assert Sentence("%(n)d items", n=3) == "3 items"
    assert translated("plain 100 %", german) == "plain 100 %"


def test_sentences_inside_a_sentence_are_translated_and_values_are_not() -> None:
    inner = Sentence("holds %(what)s %(value)s %(n)d times.", what=Sentence("item"), value="File", n=2)
    whole = Sentence(
        "%(place)s: '%(key)s' %(predicate)s", place=Sentence("File"), key="reversed", predicate=inner
    )
    assert whole == "File: 'reversed' holds item File 2 times."
    assert translated(whole, german) == "Datei, „reversed“: Aussage File steht 2-mal darin."


def test_every_problem_of_a_file_can_be_translated() -> None:
    try:
        parse(b"code = 'x y'\noptions = [1]\nitems = [{ number = 0, text = '100 % \\u0000' }]")
    except InstrumentFileError as error:
        assert len(error.problems) > 10
        for problem in error.problems:
            assert isinstance(problem, Sentence)
            assert translated(problem, str) == problem
