"""The catalogues of the pages' words: `python -m tools.messages` brings them up to date.

1. collects every msgid from the code and the templates (Babel reads them; GNU gettext is not needed),
2. merges them into `alliance_site/locale/*/LC_MESSAGES/django.po`: new ones come empty, gone ones leave, and
   nothing is guessed from similar sentences,
3. compiles each `.po` into the `.mo` beside it, which is what the site reads.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "alliance_site" / "locale"
KEYWORDS = DEFAULT_KEYWORDS | {
    "gettext_lazy": None,
    "gettext_noop": None,
    "Sentence": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}


def sources() -> Iterator[tuple[Path, bytes]]:
    """Python modules, and templates as the Python that Django makes of them."""
    for package in ("alliance_site", "surveys", "analytics"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path, path.read_bytes()
    for path in sorted((ROOT / "templates").rglob("*.*")):
        code = templatize(path.read_text(), origin=str(path))
        # What is left of the page between the calls is not indented as Python is.
        yield path, "\n".join(line.strip() for line in code.splitlines()).encode()


def collect() -> Catalog:
    """Every msgid of the site, with the files that use it."""
    template = Catalog()
    for path, code in sources():
        place = str(path.relative_to(ROOT))
        found = extract("python", io.BytesIO(code), KEYWORDS, ("Translators:",))
        for _, msgid, comments, context in found:
            template.add(msgid, None, [(place, 0)], auto_comments=comments, context=context)
    return template


def catalogues() -> dict[str, Path]:
    return {path.parent.parent.name: path for path in sorted(LOCALE.glob("*/LC_MESSAGES/django.po"))}


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.parent.name, abort_invalid=True)


def compiled(catalog: Catalog) -> bytes:
    buffer = io.BytesIO()
    write_mo(buffer, catalog)
    return buffer.getvalue()


def is_open(message: Message) -> bool:
    """Whether a message still waits for its translation."""
    strings = message.string if isinstance(message.string, tuple | list) else (message.string,)
    return bool(message.id) and (message.fuzzy or not all(strings))


def update(path: Path, template: Catalog) -> Catalog:
    catalog = read(path)
    catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
    with path.open("wb") as file:
        # By msgid and without line numbers, so that a change of code elsewhere changes nothing here.
        write_po(file, catalog, width=100, sort_output=True, ignore_obsolete=True, include_lineno=False)
    catalog = read(path)
    path.with_suffix(".mo").write_bytes(compiled(catalog))
    return catalog


def main() -> int:
    template = collect()
    n_open = 0
    for language, path in catalogues().items():
        waiting = [message for message in update(path, template) if is_open(message)]
        n_open += len(waiting)
        print(f"{language}: {len(template)} messages, {len(waiting)} to translate")
        for message in waiting:
            print(f"  {message.id if isinstance(message.id, str) else message.id[0]}")
    return 1 if n_open else 0


if __name__ == "__main__":
    sys.exit(main())
