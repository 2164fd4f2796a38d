"""Takes values out of a parsed TOML file and notes one sentence for every fault, with its place."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from surveys.sentences import Sentence

MAX_ITEMS = 200
MAX_NUMBER = 999

# Patterns, each with its meaning in words: of an instrument, of its versions, of scales and composites.
NAME = (
    re.compile(r"[a-z][a-z0-9-]{0,39}"),
    Sentence("lower-case letters, digits and hyphens, at most 40"),
)
VERSION = (
    re.compile(r"[a-z0-9][a-z0-9.-]{0,19}"),
    Sentence("lower-case letters, digits, dots, hyphens, at most 20"),
)
CODE = (
    re.compile(r"[a-z][a-z0-9_]{0,29}"),
    Sentence("lower-case letters, digits and underscores, at most 30"),
)
LANGUAGE = (
    re.compile(r"(?!.{13})[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}"),
    Sentence("a language tag such as en or pt-BR"),
)

# Stands in for a number that was not readable and has been reported; no valid number is negative.
FAULTY = -1


class Table:
    """Takes the values out of one table and notes a sentence for every fault.

    A missing key is noted once, at the start; a getter then returns a stand-in of its type, so that
    one pass over the file finds all faults.
    """

    def __init__(
        self,
        raw: Mapping[str, object],
        place: str,
        problems: list[str],
        *,
        required: Sequence[str],
        optional: Sequence[str] = (),
    ) -> None:
        self.raw = raw
        self.place = place
        self.problems = problems
        for key in required:
            if key not in raw:
                self.fault(key, Sentence("is missing."))
        unknown = [key for key in raw if key not in required and key not in optional]
        if unknown:
            keys = ", ".join(shown(key) for key in unknown[:10])
            problems.append(Sentence("%(place)s: unknown key %(keys)s.", place=place, keys=keys))

    def fault(self, key: str, predicate: Sentence) -> None:
        """Place and key are the subject, e.g. File: 'code' ..."""
        self.problems.append(
            Sentence("%(place)s: '%(key)s' %(predicate)s", place=self.place, key=key, predicate=predicate)
        )

    def check_no_doubles(self, key: str, values: Sequence[object], what: Sentence) -> None:
        for value, n in Counter(values).items():
            if n > 1 and value not in (FAULTY, ""):
                self.fault(
                    key, Sentence("holds %(what)s %(value)s %(n)d times.", what=what, value=value, n=n)
                )

    def text(self, key: str, limit: int) -> str:
        """The stripped text; NUL and its kin are refused because no form or JSON column can hold them."""
        if key not in self.raw:
            return ""
        value = self.raw[key]
        if not isinstance(value, str):
            self.fault(key, Sentence("must be text in quotation marks."))
            return ""
        text = value.strip()
        if not text:
            self.fault(key, Sentence("is empty."))
        elif len(text) > limit:
            self.fault(key, Sentence("is longer than %(limit)d characters.", limit=limit))
        elif any(unicodedata.category(char) in ("Cc", "Cs") and char != "\n" for char in text):
            self.fault(key, Sentence("holds a control character."))
        return text

    def matching(self, key: str, pattern: re.Pattern[str], meaning: Sentence) -> str:
        return self._from_text(key, lambda text: pattern.fullmatch(text) is not None, meaning)

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        meaning = Sentence("one of: %(names)s", names=", ".join(allowed))
        return self._from_text(key, allowed.__contains__, meaning)

    def _from_text(self, key: str, is_right: Callable[[str], bool], meaning: Sentence) -> str:
        if key not in self.raw:
            return ""
        value = self.raw[key]
        if isinstance(value, str) and is_right(value):
            return value
        self._must_be(key, meaning, value)
        return ""

    def _must_be(self, key: str, meaning: Sentence, value: object) -> None:
        found = shown(value)
        self.fault(key, Sentence("must be %(meaning)s; found %(found)s.", meaning=meaning, found=found))

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self._must_be(key, Sentence("true or false"), value)
        return value is True

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.raw.get(key)
        if type(value) is int and low <= value <= high:
            return value
        if key in self.raw:
            meaning = Sentence("a whole number from %(low)d to %(high)d", low=low, high=high)
            self._must_be(key, meaning, value)
        return FAULTY

    def share(self, key: str) -> float:
        value = self.raw.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        if key in self.raw:
            self._must_be(key, Sentence("a number above 0 and at most 1"), value)
        return 1.0

    def rows(
        self, key: str, limit: int, required: Sequence[str], optional: Sequence[str] = ()
    ) -> list["Table"]:
        """The tables in the array; an array too long is refused as a whole."""
        if key not in self.raw:
            return []
        value = self.raw[key]
        if not isinstance(value, list) or not value:
            self.fault(key, Sentence("must be a list with at least one entry."))
            return []
        if len(value) > limit:
            self.fault(
                key,
                Sentence("has %(n)d entries; at most %(limit)d are allowed.", n=len(value), limit=limit),
            )
            return []
        rows = []
        for position, entry in enumerate(value, start=1):
            place = Sentence("%(list)s, entry %(n)d", list=key.capitalize(), n=position)
            if isinstance(entry, Mapping):
                rows.append(Table(entry, place, self.problems, required=required, optional=optional))
            else:
                self.problems.append(
                    Sentence(
                        "%(place)s: must be a table such as { %(key)s = … }.", place=place, key=required[0]
                    )
                )
        return rows

    def item_numbers(self, key: str, on_form: frozenset[int]) -> tuple[int, ...]:
        if key not in self.raw:
            return ()
        value = self.raw[key]
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            self.fault(key, Sentence("must be a list of at most %(limit)d item numbers.", limit=MAX_ITEMS))
            return ()
        numbers = [entry for entry in value if type(entry) is int and 1 <= entry <= MAX_NUMBER]
        for entry in value:
            if type(entry) is not int or not 1 <= entry <= MAX_NUMBER or entry not in on_form:
                item = shown(entry)
                self.fault(key, Sentence("names item %(item)s, which is not on the form.", item=item))
        self.check_no_doubles(key, numbers, Sentence("item"))
        return tuple(numbers)

    def names(self, key: str, pattern: re.Pattern[str], meaning: Sentence) -> tuple[str, ...]:
        """A list of at least one text of this pattern, none twice."""
        if key not in self.raw:
            return ()
        value = self.raw[key]
        if not isinstance(value, list) or not 0 < len(value) <= MAX_ITEMS:
            self.fault(
                key,
                Sentence("must be a list of 1 to %(limit)d entries in quotation marks.", limit=MAX_ITEMS),
            )
            return ()
        for entry in value:
            if not isinstance(entry, str) or pattern.fullmatch(entry) is None:
                self._must_be(key, meaning, entry)
        names = tuple(entry for entry in value if isinstance(entry, str))
        self.check_no_doubles(key, names, Sentence("entry"))
        return names


def shown(value: object) -> str:
    """A short picture of a value: an upload may hold megabytes in one place."""
    if isinstance(value, str):
        return ascii(value[:40])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 10**12 else Sentence("a very large number")
    if isinstance(value, float):
        return str(value)
    return Sentence("a value of type %(type)s", type=type(value).__name__)
