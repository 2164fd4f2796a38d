"""Takes values out of a parsed TOML file and notes one sentence for every fault, with its place."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

MAX_ITEMS = 200
MAX_NUMBER = 999

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
                self.fault(key, "is missing.")
        unknown = [key for key in raw if key not in required and key not in optional]
        if unknown:
            problems.append(f"{place}: unknown key {', '.join(shown(key) for key in unknown[:10])}.")

    def fault(self, key: str, sentence: str) -> None:
        self.problems.append(f"{self.place}: '{key}' {sentence}")

    def check_no_doubles(self, key: str, values: Sequence[object], what: str) -> None:
        for value, n_times in Counter(values).items():
            if n_times > 1 and value not in (FAULTY, ""):
                self.fault(key, f"holds {what} {value} {n_times} times.")

    def text(self, key: str, limit: int) -> str:
        """The stripped text; NUL and its kin are refused because no form or JSON column can hold them."""
        if key not in self.raw:
            return ""
        value = self.raw[key]
        if not isinstance(value, str):
            self.fault(key, "must be text in quotation marks.")
            return ""
        text = value.strip()
        if not text:
            self.fault(key, "is empty.")
        elif len(text) > limit:
            self.fault(key, f"is longer than {limit} characters.")
        elif any(unicodedata.category(char) in ("Cc", "Cs") and char != "\n" for char in text):
            self.fault(key, "holds a control character.")
        return text

    def matching(self, key: str, pattern: re.Pattern[str], meaning: str) -> str:
        return self._from_text(key, lambda text: pattern.fullmatch(text) is not None, f"must be {meaning}")

    def choice(self, key: str, allowed: Sequence[str]) -> str:
        return self._from_text(key, allowed.__contains__, f"must be one of: {', '.join(allowed)}")

    def _from_text(self, key: str, is_right: Callable[[str], bool], demand: str) -> str:
        if key not in self.raw:
            return ""
        value = self.raw[key]
        if isinstance(value, str) and is_right(value):
            return value
        self.fault(key, f"{demand}; found {shown(value)}.")
        return ""

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, f"must be true or false; found {shown(value)}.")
        return value is True

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.raw.get(key)
        if type(value) is int and low <= value <= high:
            return value
        if key in self.raw:
            self.fault(key, f"must be a whole number from {low} to {high}; found {shown(value)}.")
        return FAULTY

    def share(self, key: str) -> float:
        value = self.raw.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        if key in self.raw:
            self.fault(key, f"must be a number above 0 and at most 1; found {shown(value)}.")
        return 1.0

    def rows(
        self, key: str, limit: int, required: Sequence[str], optional: Sequence[str] = ()
    ) -> list["Table"]:
        """The tables in the array; an array too long is refused as a whole."""
        if key not in self.raw:
            return []
        value = self.raw[key]
        if not isinstance(value, list) or not value:
            self.fault(key, "must be a list with at least one entry.")
            return []
        if len(value) > limit:
            self.fault(key, f"has {len(value)} entries; at most {limit} are allowed.")
            return []
        rows = []
        for position, entry in enumerate(value, start=1):
            place = f"{key.capitalize()}, entry {position}"
            if isinstance(entry, Mapping):
                rows.append(Table(entry, place, self.problems, required=required, optional=optional))
            else:
                self.problems.append(f"{place}: must be a table such as {{ {required[0]} = … }}.")
        return rows

    def item_numbers(self, key: str, on_form: frozenset[int]) -> tuple[int, ...]:
        if key not in self.raw:
            return ()
        value = self.raw[key]
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            self.fault(key, f"must be a list of at most {MAX_ITEMS} item numbers.")
            return ()
        numbers = [entry for entry in value if type(entry) is int and 1 <= entry <= MAX_NUMBER]
        for entry in value:
            if type(entry) is not int or not 1 <= entry <= MAX_NUMBER or entry not in on_form:
                self.fault(key, f"names item {shown(entry)}, which is not on the form.")
        self.check_no_doubles(key, numbers, "item")
        return tuple(numbers)

    def names(self, key: str, pattern: re.Pattern[str], meaning: str) -> tuple[str, ...]:
        """A list of at least one text of this pattern, none twice."""
        if key not in self.raw:
            return ()
        value = self.raw[key]
        if not isinstance(value, list) or not 0 < len(value) <= MAX_ITEMS:
            self.fault(key, f"must be a list of 1 to {MAX_ITEMS} entries in quotation marks.")
            return ()
        for entry in value:
            if not isinstance(entry, str) or pattern.fullmatch(entry) is None:
                self.fault(key, f"must hold {meaning}; found {shown(entry)}.")
        names = tuple(entry for entry in value if isinstance(entry, str))
        self.check_no_doubles(key, names, "entry")
        return names


def shown(value: object) -> str:
    """A short picture of a value: an upload may hold megabytes in one place."""
    if isinstance(value, str):
        return ascii(value[:40])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < 10**12 else "a very large number"
    if isinstance(value, float):
        return str(value)
    return f"a value of type {type(value).__name__}"
