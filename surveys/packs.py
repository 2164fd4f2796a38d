"""Instrument files: the wording, key and response scale of one form, read from TOML and checked.

One file describes one instrument for one rater in one language. The checked form travels as an
`InstrumentFile`; `to_definition` gives the same content as JSON in the shape of the file, so the
database column and the upload pass the same checks.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from surveys.sentences import Sentence
from surveys.tables import CODE, FAULTY, LANGUAGE, MAX_ITEMS, MAX_NUMBER, NAME, VERSION, Table

RATERS = ("patient", "therapist")
LEVELS = ("session", "trait")
SCORING_VERSIONS = ("item-mean-1",)

# Below what a page may be sent (DATA_UPLOAD_MAX_MEMORY_SIZE); 200 items of 500 letters have room.
MAX_FILE_BYTES = 200_000
MAX_DOTS_PER_LINE = 40
MAX_OPTIONS = 11
MAX_SCALES = 50

# Columns of the dataset beside which every scale has two of its own, with its code and `_answered` after it.
RESERVED_COLUMNS = frozenset(
    [
        "study",
        "therapist",
        "patient",
        "therapy",
        "session",
        "period",
        "rater",
        "instrument",
        "instrument_version",
        "language",
        "consent_version",
        "submitted_on",
        "minutes",
        "channel",
        "device",
        "layout",
        "sharing",
        "revealed",
        "occasion",
        "study_version",
        "straight_lined",
        "scoring_version",
        "about",
        "week",
        "visibility",
        "hours_to_reveal",
    ]
)
_ITEM_COLUMN = re.compile(r"item_[0-9]+")

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
    def name(self) -> str:
        return f"{self.code} ({self.rater}, {self.language}, {self.version})"

    @property
    def minutes(self) -> int:
        """About how long it takes to fill in."""
        return max(1, round(len(self.items) / 4))

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

    def to_toml(self) -> str:
        """The file again: a start for a clinic that writes its licensed wording into it."""
        rows = self.to_definition()
        lines = []
        for key, value in rows.items():
            if isinstance(value, list) and value and isinstance(value[0], dict):
                tables = (
                    ", ".join(f"{name} = {_toml(entry)}" for name, entry in row.items()) for row in value
                )
                lines.append(f"{key} = [\n" + "".join(f"  {{ {table} }},\n" for table in tables) + "]")
            else:
                lines.append(f"{key} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def from_definition(cls, definition: Mapping[str, object]) -> "InstrumentFile":
        """The form of a stored definition; faults raise `InstrumentFileError`."""
        return _build(definition)


def _toml(value: object) -> str:
    # Texts, numbers, flags and lists of numbers are written alike in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)


def parse(data: bytes) -> InstrumentFile:
    """The form in an uploaded file; faults raise `InstrumentFileError` with every problem."""
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableFileError([Sentence("The file is larger than %(n)d kB.", n=MAX_FILE_BYTES // 1000)])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = error.start + 1
        raise UnreadableFileError([Sentence("The file is not UTF-8 text (byte %(n)d).", n=place)]) from error
    # tomllib takes memory with the square of the parts of a dotted key: one of 800 kB fills any machine.
    # A key never spans lines, so counting dots bounds it; only \n ends a line for TOML.
    for position, line in enumerate(text.split("\n"), start=1):
        if line.count(".") > MAX_DOTS_PER_LINE:
            sentence = Sentence(
                "Line %(line)d holds more than %(n)d full stops.", line=position, n=MAX_DOTS_PER_LINE
            )
            raise UnreadableFileError([sentence])
    try:
        raw = tomllib.loads(text)
    except RecursionError as error:
        sentence = Sentence("The file is not valid TOML: it is nested too deeply.")
        raise UnreadableFileError([sentence]) from error
    except ValueError as error:
        # Not only TOMLDecodeError: a number of thousands of digits is a plain ValueError.
        sentence = Sentence("The file is not valid TOML: %(reason)s.", reason=str(error)[:200])
        raise UnreadableFileError([sentence]) from error
    return _build(raw)


@cache
def built_in() -> tuple[InstrumentFile, ...]:
    """Every form that ships with the product, in the order of the file names."""
    return tuple(parse(path.read_bytes()) for path in sorted(_BUILT_IN_FOLDER.glob("*.toml")))


def version_problems(form: InstrumentFile, other: InstrumentFile) -> tuple[str, ...]:
    """Why `form` cannot stand beside `other`, a form of the same code and rater; empty where it can.

    Every version must answer on the same range, or its ratings would enter one model with the others.
    A translation is the same form in other words, so that answers in any language mean the same.
    """
    problems = []
    if (form.minimum, form.maximum) != (other.minimum, other.maximum):
        problems.append(
            Sentence(
                "Options: %(other)s answers from %(low)d to %(high)d, this file from %(own_low)d to "
                "%(own_high)d. Give a form with another range a code of its own.",
                other=other.name,
                low=other.minimum,
                high=other.maximum,
                own_low=form.minimum,
                own_high=form.maximum,
            )
        )
    if form.version != other.version:
        return tuple(problems)
    if form.language == other.language:
        if form != other:
            problems.append(
                Sentence(
                    "File: %(other)s is there with other content. Give the changed file a new version.",
                    other=other.name,
                )
            )
        return tuple(problems)
    return (*problems, *_translation_problems(form, other))


def _translation_problems(form: InstrumentFile, other: InstrumentFile) -> list[str]:
    ours, theirs = _structure(form), _structure(other)
    return [
        Sentence(
            "%(place)s: %(other)s has %(theirs)s, this file %(ours)s. "
            "A translation changes the words only; give another form a version of its own.",
            place=place,
            other=other.name,
            theirs=theirs[place],
            ours=ours[place],
        )
        # A scale of one form alone is named under Scales.
        for place in theirs
        if place in ours and ours[place] != theirs[place]
    ]


def _structure(form: InstrumentFile) -> dict[str, str]:
    """Everything but the words, by the name of its place."""

    def joined(values: Iterable[object]) -> str:
        return " ".join(map(str, values)) or Sentence("none")

    places: dict[str, str] = {
        Sentence("Items"): joined(item.number for item in form.items),
        Sentence("Reversed items"): joined(item.number for item in form.items if item.reverse),
        Sentence("Level"): form.level,
        Sentence("Scoring version"): form.scoring_version,
        Sentence("Demonstration"): str(form.demonstration).lower(),
        Sentence("Scales"): joined(scale.code for scale in form.scales),
    }
    for scale in form.scales:
        for key, value in (
            ("items", joined(scale.items)),
            ("min_share", str(scale.min_share)),
            ("unverified", str(scale.unverified).lower()),
        ):
            places[Sentence("Scale %(code)s, %(key)s", code=scale.code, key=key)] = value
    return places


def _build(raw: object) -> InstrumentFile:
    if not isinstance(raw, Mapping):
        raise InstrumentFileError([Sentence("File: must be a table of keys and values.")])
    table = Table(raw, Sentence("File"), [], required=_FILE_KEYS)
    options = _options(table)
    items = _items(table)
    form = InstrumentFile(
        code=table.matching("code", *NAME),
        version=table.matching("version", *VERSION),
        rater=table.choice("rater", RATERS),
        language=table.matching("language", *LANGUAGE),
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


def _options(table: Table) -> tuple[Option, ...]:
    options = tuple(
        Option(value=row.integer("value", 0, MAX_NUMBER), label=row.text("label", 80))
        for row in table.rows("options", MAX_OPTIONS, ("value", "label"))
    )
    values = [option.value for option in options]
    table.check_no_doubles("options", values, Sentence("value"))
    if not options or FAULTY in values:
        return options
    if values[0] >= values[-1]:
        table.fault("options", Sentence("must lead from a lower value to a higher one."))
    if any(after - before != 1 for before, after in pairwise(values)):
        table.fault("options", Sentence("must have consecutive values in rising order."))
    return options


def _items(table: Table) -> tuple[Item, ...]:
    rows = [
        (row.integer("number", 1, MAX_NUMBER), row.text("text", 500))
        for row in table.rows("items", MAX_ITEMS, ("number", "text"))
    ]
    numbers = [number for number, _ in rows]
    table.check_no_doubles("items", numbers, Sentence("item number"))
    turned = frozenset(table.item_numbers("reversed", frozenset(numbers)))
    return tuple(Item(number=number, text=text, reverse=number in turned) for number, text in rows)


def _is_reserved(code: str) -> bool:
    """Whether a scale of this code would stand in another column of the dataset."""
    return code in RESERVED_COLUMNS or code.endswith("_answered") or _ITEM_COLUMN.fullmatch(code) is not None


def _scales(table: Table, on_form: frozenset[int]) -> tuple[Scale, ...]:
    scales = []
    for row in table.rows("scales", MAX_SCALES, ("code", "title", "items", "min_share"), ("unverified",)):
        members = row.item_numbers("items", on_form)
        if row.raw.get("items") == []:
            row.fault("items", Sentence("is empty: a scale needs at least one item."))
        scales.append(
            Scale(
                code=row.matching("code", *CODE),
                title=row.text("title", 80),
                items=members,
                min_share=row.share("min_share"),
                unverified=row.flag("unverified"),
            )
        )
        if _is_reserved(scales[-1].code):
            row.fault("code", Sentence("is the name of another column of the dataset; choose another one."))
    table.check_no_doubles("scales", [scale.code for scale in scales], Sentence("scale code"))
    return tuple(scales)
