"""The catalogues: every word of the pages in every language, and the file that the site reads."""

import ast
import re

import pytest
from babel.messages.catalog import Catalog, Message
from django.conf import settings
from django.utils.translation import override

from tools import messages

LANGUAGES = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w*\}|</?\w+[^>]*>")


@pytest.fixture(scope="module")
def collected() -> Catalog:
    return messages.collect()


def catalogue(language: str) -> Catalog:
    return messages.read(messages.catalogues()[language])


def strings(message: Message) -> list[str]:
    return list(message.string) if isinstance(message.string, tuple | list) else [message.string]


def ids(message: Message) -> list[str]:
    return list(message.id) if isinstance(message.id, tuple | list) else [message.id]


def test_every_language_has_a_catalogue_and_no_other_has() -> None:
    assert sorted(messages.catalogues()) == sorted(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_compiled_file_is_that_of_the_catalogue(language: str) -> None:
    path = messages.catalogues()[language]
    assert path.with_suffix(".mo").read_bytes() == messages.compiled(messages.read(path)), "make messages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_keeps_the_placeholders_and_the_markup(language: str) -> None:
    wrong = []
    for message in catalogue(language):
        given = set(PLACEHOLDER.findall(" ".join(ids(message))))
        kept = [set(PLACEHOLDER.findall(string)) for string in strings(message) if string]
        # Where something is counted, "one" and "two" may be words without a number.
        fine = not message.id or (all(found <= given for found in kept) and given in (kept[-1:] or [given]))
        if not fine:
            wrong.append((message.id, message.string))
    assert wrong == []
    assert list(catalogue(language).check()) == []


def test_every_marked_word_is_collected(collected: Catalog) -> None:
    """What stands inside an f-string, for example, is marked and never found."""
    known = {msgid for message in collected for msgid in ids(message)}
    missed = []
    for path, code in messages.sources():
        for node in ast.walk(ast.parse(code)) if path.suffix == ".py" else ():
            name = getattr(
                getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", "")
            )
            if isinstance(node, ast.Call) and name in messages.KEYWORDS and node.args:
                word = node.args[1 if "pgettext" in name else 0]
                if not isinstance(word, ast.Constant) or word.value not in known:
                    missed.append(f"{path.name}:{node.lineno}")
    assert missed == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "words"), [("de", "Anmelden"), ("nb", "Logg inn"), ("ar", "تسجيل الدخول")]
)
def test_a_page_comes_in_the_words_of_its_language(language: str, words: str, client: object) -> None:
    page = client.get("/accounts/login/", headers={"accept-language": language})  # type: ignore[attr-defined]
    assert f"<h1>{words}</h1>" in page.content.decode()


def test_arabic_counts_in_its_six_forms() -> None:
    from django.utils.translation import ngettext

    with override("ar"):
        said = [
            ngettext("Running, %(n)s session", "Running, %(n)s sessions", n) % {"n": n}
            for n in (0, 1, 2, 3, 11, 100, 103)
        ]
    assert len(set(said[:3])) == 3
    assert "3 جلسات" in said[3]
    assert "11 جلسة" in said[4]
    assert "103 جلسات" in said[6]
