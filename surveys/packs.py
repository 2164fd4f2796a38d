"""Instrument files: the wording, key and response scale of one form, read from TOML and checked.

One file describes one instrument for one rater in one language. The checked form travels as an
`InstrumentFile`; `to_definition` gives the same content as JSON in the shape of the file, so the
database column and the upload pass the same checks.
"""

import re
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

RATERS = ("patient", "therapist")
LEVELS = ("session", "trait")
SCORING_VERSIONS = ("item-mean-1",)

MAX_FILE_BYTES = 1_000_000
MAX_DOTS_PER_LINE = 40
MAX_ITEMS = 200
MAX_OPTIONS = 11
MAX_SCALES = 50
MAX_NUMBER = 999

# Stands in for a number that was not readable and has been reported; no valid number is negative.
_FAULTY = -1

_BUILT_IN_FOLDER = Path(__file__).parent / "instruments"

_FILE_KEYS = (
    "code",
    "version",
    "rater",
    "language",
    "title",
    "demonstration",
    "licence",
    "instruction",
    "level",
    "scoring_version",
    "options",
    "items",
    "reversed",
    "scales",
)
_NAME = (re.compile(r"[a-z][a-z0-9-]{0,39}"), "lower-case letters, digits and hyphens, at most 40")
_VERSION = (re.compile(r"[a-z0-9][a-z0-9.-]{0,19}"), "lower-case letters, digits, dots, hyphens, at most 20")
_LANGUAGE = (re.compile(r"(?!.{13})[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}"), "a language tag such as en or pt-BR")
_SCALE_CODE = (re.compile(r"[a-z][a-z0-9_]{0,29}"), "lower-case letters, digits and underscores, at most 30")


class InstrumentFileError(ValueError):
    """The instrument file has faults; `problems` holds one sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = tuple(problems)


class UnreadableFileError(InstrumentFileError):
    """The upload is no instrument file at all: too large, not UTF-8 text or not TOML."""


@dataclass(frozen=True, slots=True)
class Option:
    """One labelled answer of the response scale."""

    value: int
    label: str


@dataclass(frozen=True, slots=True)
class Item:
    """One rated sentence; `reverse` says that a high answer lowers its scales."""

    number: int
    text: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """A set of items scored together, from the least share of answered items on."""

    code: str
    title: str
    items: tuple[int, ...]
    min_share: float
    unverified: bool


@dataclass(frozen=True, slots=True)
class InstrumentFile:
    """One checked form; made by `parse` or `from_definition`, items in the order of showing."""

    code: str
    version: str
    rater: str
    language: str
    title: str
    demonstration: bool
    licence: str
    instruction: str
    level: str
    scoring_version: str
    options: tuple[Option, ...]
    items: tuple[Item, ...]
    scales: tuple[Scale, ...]

    @property
    def minimum(self) -> int:
        return self.options[0].value

    @property
    def maximum(self) -> int:
        return self.options[-1].value

    def to_definition(self) -> dict[str, object]:
        """The whole form as JSON values, in the shape of the file."""
        return {
            "code": self.code,
            "version": self.version,
            "rater": self.rater,
            "language": self.language,
            "title": self.title,
            "demonstration": self.demonstration,
            "licence": self.licence,
            "instruction": self.instruction,
            "level": self.level,
            "scoring_version": self.scoring_version,
            "options": [{"value": option.value, "label": option.label} for option in self.options],
            "items": [{"number": item.number, "text": item.text} for item in self.items],
            "reversed": [item.number for item in self.items if item.reverse],
            "scales": [
                {
                    "code": scale.code,
                    "title": scale.title,
                    "items": list(scale.items),
                    "min_share": scale.min_share,
                    "unverified": scale.unverified,
                }
                for scale in self.scales
            ],
        }

    @classmethod
    def from_definition(cls, definition: Mapping[str, object]) -> "InstrumentFile":
        """The form of a stored definition; faults raise `InstrumentFileError`."""
        return _build(definition)


def parse(data: bytes) -> InstrumentFile:
    """The form in an uploaded file; faults raise `InstrumentFileError` with every problem."""
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFileError(["The file is larger than 1 MB."])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError([f"The file is not UTF-8 text (byte {error.start + 1})."]) from error
    # tomllib takes memory with the square of the parts of a dotted key: one of 800 kB fills any machine.
    # A key never spans lines, so counting dots bounds it; only \n ends a line for TOML.
    for position, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MAX_DOTS_PER_LINE:
            raise UnreadableFileError([f"Line {position} holds more than {MAX_DOTS_PER_LINE} full stops."])
    try:
        raw = tomllib.loads(text)
    except RecursionError as error:
        raise UnreadableFileError(["The file is not valid TOML: it is nested too deeply."]) from error
    except ValueError as error:
        # Not only TOMLDecodeError: a number of thousands of digits is a plain ValueError.
        raise UnreadableFileError([f"The file is not valid TOML: {str(error)[:200]}."]) from error
    return _build(raw)


def built_in() -> tuple[InstrumentFile, ...]:
    """Every form that ships with the product, in the order of the file names."""
    return tuple(parse(path.read_bytes()) for path in sorted(_BUILT_IN_FOLDER.glob("*.toml")))


def _build(raw: object) -> InstrumentFile:
    if not isinstance(raw, Mapping):
        raise InstrumentFileError(["File: must be a table of keys and values."])
    table = _Table(raw, "File", [], required=_FILE_KEYS)
    options = _options(table)
    items = _items(table)
    form = InstrumentFile(
        code=table.matching("code", *_NAME),
        version=table.matching("version", *_VERSION),
        rater=table.choice("rater", RATERS),
        language=table.matching("language", *_LANGUAGE),
        title=table.text("title", 200),
        demonstration=table.flag("demonstration"),
        licence=table.text("licence", 1000),
        instruction=table.text("instruction", 2000),
        level=table.choice("level", LEVELS),
        scoring_version=table.choice("scoring_version", SCORING_VERSIONS),
        options=options,
        items=items,
        scales=_scales(table, frozenset(item.number for item in items)),
    )
    if table.problems:
        raise InstrumentFileError(table.problems)
    return form


def _options(table: "_Table") -> tuple[Option, ...]:
    options = tuple(
        Option(value=row.integer("value", 0, MAX_NUMBER), label=row.text("label", 80))
        for row in table.rows("options", MAX_OPTIONS, ("value", "label"))
    )
    values = [option.value for option in options]
    table.check_no_doubles("options", values, "value")
    if not options or _FAULTY in values:
        return options
    if values[0] >= values[-1]:
        table.fault("options", "must lead from a lower value to a higher one.")
    if any(after - before != 1 for before, after in pairwise(values)):
        table.fault("options", "must have consecutive values in rising order.")
    return options


def _items(table: "_Table") -> tuple[Item, ...]:
    rows = [
        (row.integer("number", 1, MAX_NUMBER), row.text("text", 500))
        for row in table.rows("items", MAX_ITEMS, ("number", "text"))
    ]
    numbers = [number for number, _ in rows]
    table.check_no_doubles("items", numbers, "item number")
    turned = frozenset(table.item_numbers("reversed", frozenset(numbers)))
    return tuple(Item(number=number, text=text, reverse=number in turned) for number, text in rows)


def _scales(table: "_Table", on_form: frozenset[int]) -> tuple[Scale, ...]:
    scales = []
    for row in table.rows("scales", MAX_SCALES, ("code", "title", "items", "min_share"), ("unverified",)):
        members = row.item_numbers("items", on_form)
        if row.raw.get("items") == []:
            row.fault("items", "is empty: a scale needs at least one item.")
        scales.append(
            Scale(
                code=row.matching("code", *_SCALE_CODE),
                title=row.text("title", 80),
                items=members,
                min_share=row.share("min_share"),
                unverified=row.flag("unverified"),
            )
        )
    table.check_no_doubles("scales", [scale.code for scale in scales], "scale code")
    return tuple(scales)


class _Table:
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
            problems.append(f"{place}: unknown key {', '.join(_shown(key) for key in unknown[:10])}.")

    def fault(self, key: str, sentence: str) -> None:
        self.problems.append(f"{self.place}: '{key}' {sentence}")

    def check_no_doubles(self, key: str, values: Sequence[object], what: str) -> None:
        for value, n_times in Counter(values).items():
            if n_times > 1 and value not in (_FAULTY, ""):
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
        self.fault(key, f"{demand}; found {_shown(value)}.")
        return ""

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, f"must be true or false; found {_shown(value)}.")
        return value is True

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.raw.get(key)
        if type(value) is int and low <= value <= high:
            return value
        if key in self.raw:
            self.fault(key, f"must be a whole number from {low} to {high}; found {_shown(value)}.")
        return _FAULTY

    def share(self, key: str) -> float:
        value = self.raw.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
            return float(value)
        if key in self.raw:
            self.fault(key, f"must be a number above 0 and at most 1; found {_shown(value)}.")
        return 1.0

    def rows(
        self, key: str, limit: int, required: Sequence[str], optional: Sequence[str] = ()
    ) -> list["_Table"]:
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
                rows.append(_Table(entry, place, self.problems, required=required, optional=optional))
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
                self.fault(key, f"names item {_shown(entry)}, which is not on the form.")
        self.check_no_doubles(key, numbers, "item")
        return tuple(numbers)


def _shown(value: object) -> str:
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
