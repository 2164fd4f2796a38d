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
                # A name, and what a call gives, stands for a sentence that is marked where it is written.
                is_name = isinstance(word, ast.Name | ast.Attribute | ast.Call)
                if not is_name and getattr(word, "value", None) not in known:
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


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_is_translated_and_none_has_gone(language: str, collected: Catalog) -> None:
    """After a change of words: `make messages`, then translate what it lists."""
    known = {(message.context, tuple(ids(message))): message for message in catalogue(language) if message.id}
    asked = {(message.context, tuple(ids(message))) for message in collected if message.id}
    assert asked - known.keys() == set(), "missing"
    assert known.keys() - asked == set(), "no longer used"
    assert [message.id for message in known.values() if messages.is_open(message)] == []


# Of the attributes of a page's own only those that hold words, which shows by a blank.
ATTRIBUTES = re.compile(
    r'\s(?:alt|title|placeholder|aria-label|data-label)="([^"]*)"|\sdata-[\w-]+="([^"]* [^"]*)"'
)
DROPPED = (
    r"{% comment %}.*?{% endcomment %}",
    r"{#.*?#}",
    r"{% blocktranslate.*?{% endblocktranslate %}",
    r"{% block main_class %}.*?{% endblock %}",
    r"{%.*?%}",
    r"{{.*?}}",
    r"<(script|style)\b.*?</\1>",
    r"Alliance Tracker",
    # The same in every language that the site speaks.
    r"SHA-256|LaTeX|CSV|HTML|\b(ICC|AIC|BIC|SE|SD|df)\b",
    r"&\w+;",
)
WORD = re.compile(r"[^\W\d_]{2,}")


def bare_words(template: str) -> list[str]:
    """What a reader of the page would read and no translation would reach."""
    for pattern in DROPPED:
        template = re.sub(pattern, "", template, flags=re.DOTALL)
    texts = ["".join(pair) for pair in ATTRIBUTES.findall(template)] + re.split(r"<[^>]*>", template)
    return [text.strip() for text in texts if WORD.search(text)]


def test_no_template_has_words_that_are_not_translated() -> None:
    assert bare_words('<p title="Help">{% translate "Yes" %} <b>No</b> {# why #}</p>') == ["Help", "No"]
    found = {
        str(path.relative_to(messages.ROOT)): words
        for path in sorted((messages.ROOT / "templates").rglob("*.html"))
        if (words := bare_words(path.read_text()))
    }
    assert found == {}, found


def test_no_template_writes_a_day_or_counts_in_a_way_of_its_own() -> None:
    """Named formats follow the language; ISO days are for machines. `pluralize` knows English alone."""
    pattern = re.compile(r'\|date:"(?!\w+_FORMAT"|Y-m-d|c")[^"]*"|\|pluralize')
    found = {
        path.name: words
        for path in sorted((messages.ROOT / "templates").rglob("*.*"))
        if (words := pattern.findall(path.read_text()))
    }
    assert found == {}


SENTENCE = re.compile(r"[A-Z][^\n]* [^\n]*[.?!]")
# Rooms whose sentences end on a page. Elsewhere they are for programmers and operators, or a page has words
# of its own for what is refused.
SPOKEN = re.compile(r"surveys/(views/|\w*forms\.py)|(analytics|alliance_site)/(views|middleware)")


# What these are told, nobody reads on a page.
UNSEEN = ("Http404", "exception", "error", "info", "warning")


def bare_sentences(code: str) -> list[str]:
    tree = ast.parse(code)
    marked: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            marked.add(id(body[0].value))
        if isinstance(node, ast.Expr):
            marked.add(id(node.value))
        name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
        if isinstance(node, ast.Call) and (name in messages.KEYWORDS or name in UNSEEN):
            marked |= {id(inner) for inner in ast.walk(node)}
    return [
        f"{node.lineno}: {node.value}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in marked
        and SENTENCE.fullmatch(node.value)
    ]


def test_no_sentence_of_a_page_is_left_out_of_the_catalogues() -> None:
    assert bare_sentences('"""A module."""\nx = "Not so."\ny = _("But so.")') == ["2: Not so."]
    found = {
        str(path.relative_to(messages.ROOT)): words
        for path, code in messages.sources()
        if path.suffix == ".py"
        and SPOKEN.match(str(path.relative_to(messages.ROOT)))
        and (words := bare_sentences(code.decode()))
    }
    assert found == {}
