"""How the columns of a file are read: who is who, which session, and which cells are answers.

A file is long (one row a form) or wide (one row a therapy). The columns of answers are named by a pattern,
for example `wai_{item}` or `WAI_{rater}_s{session}_{item}`, or in a long file one by one, in the order of the
items.
"""

import hashlib
import json
import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from surveys.packs import RATERS, InstrumentFile
from surveys.scoring import MISSING_CODES, SKIPPED
from surveys.sentences import Sentence

LONG, WIDE = "long", "wide"
ANSWERS, SCORES = "answers", "scores"
ISO, DOTS, DAY_FIRST, MONTH_FIRST = "iso", "dots", "day_first", "month_first"
DAY_FORMATS = (ISO, DOTS, DAY_FIRST, MONTH_FIRST)
MAX_SESSION = 1_000

_PLACE = re.compile(r"\{(\w*)\}")
# What else files call the scales that every form of the alliance has.
SCALE_WORDS = {"tot": "total", "goals": "goal", "tasks": "task", "bonds": "bond"}


@dataclass(frozen=True)
class Mapping:
    """What somebody chose; texts as they were typed. `forms` are ids of instruments by rater."""

    layout: str = LONG
    content: str = ANSWERS
    patient: str = ""
    therapist: str = ""
    session: str = ""
    day: str = ""
    day_format: str = ISO
    rater: str = ""
    patient_words: str = ""
    therapist_words: str = ""
    pattern: str = ""
    missing: str = ""
    forms: Dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Dict[str, Any]) -> "Mapping":
        return cls(**{one.name: found[one.name] for one in fields(cls) if one.name in found})

    @property
    def fixed_rater(self) -> str:
        """Whose forms the whole file holds, where one of the two was chosen in place of a column."""
        rater = self.rater.removeprefix("=")
        return rater if self.rater == f"={rater}" and rater in RATERS else ""


class MappingRefused(ValueError):
    """The file cannot be read in this way; `problems` holds field and sentence of each fault."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(" ".join(sentence for _, sentence in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Place:
    """The cells of one form in a row: of whom and after which session, where the names of the columns say so;
    the column of its day; and for every cell its column and its item number or scale."""

    rater: str
    session: int | None
    day: int | None
    cells: tuple[tuple[int, int | str], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A mapping that fits the columns of a file; columns as indexes."""

    patient: int
    therapist: int
    session: int | None
    rater: int | None
    places: tuple[Place, ...]
    words: Dict[str, str]
    missing: Dict[str, int]


def columns_sha256(names: Sequence[str]) -> str:
    """Files with the same columns have the same one."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()


def read(mapping: Mapping, names: Sequence[str], forms: Dict[str, InstrumentFile]) -> Reading:
    """The mapping on the columns of a file; `forms` by rater. Raises MappingRefused with every fault."""
    faults: list[tuple[str, str]] = []
    index = {name: place for place, name in enumerate(names)}
    chosen = {name: index.get(getattr(mapping, name)) for name in ("patient", "therapist", "session")}
    is_long = mapping.layout == LONG
    if chosen["patient"] is None:
        faults.append(("patient", Sentence("Choose the column that says who the patient is.")))
    if chosen["therapist"] is None:
        faults.append(("therapist", Sentence("Choose the column that says who the therapist is.")))
    if is_long and chosen["session"] is None:
        faults.append(("session", Sentence("Choose the column with the number of the session.")))
    words = _words(mapping, faults)
    missing = _missing(mapping, faults)
    rater = index.get(mapping.rater)
    has_rater = mapping.fixed_rater in RATERS or (
        rater is not None if is_long else "{rater}" in mapping.pattern
    )
    if not has_rater:
        faults.append(("rater", Sentence("Choose who rated, or the column that says so.")))
    used = _used(mapping)
    if not any(one in forms for one in used):
        faults.append(("forms", Sentence("Choose the form that was filled.")))
    places: tuple[Place, ...] = ()
    try:
        places = _places(mapping, names, words, forms)
    except ValueError as error:
        faults.append(("pattern", error.args[0]))
    if not faults:
        faults += [("pattern", fault) for fault in _gaps(mapping, places, forms)]
    if faults or chosen["patient"] is None or chosen["therapist"] is None:
        raise MappingRefused(faults)
    return Reading(
        chosen["patient"],
        chosen["therapist"],
        chosen["session"] if is_long else None,
        rater if is_long and not mapping.fixed_rater else None,
        places,
        words,
        missing,
    )


def _used(mapping: Mapping) -> tuple[str, ...]:
    return (mapping.fixed_rater,) if mapping.fixed_rater in RATERS else RATERS


def _words(mapping: Mapping, faults: list[tuple[str, str]]) -> dict[str, str]:
    """Every word for a rater, in lower case, and whom it means."""
    if mapping.fixed_rater:
        return {}
    found: dict[str, str] = {}
    for rater, text in zip(RATERS, (mapping.patient_words, mapping.therapist_words), strict=True):
        for word in _listed(text):
            if found.setdefault(word.lower(), rater) != rater:
                sentence = Sentence("“%(word)s” stands for both. Leave it with one of them.", word=word)
                faults.append((f"{rater}_words", sentence))
    return found


def _missing(mapping: Mapping, faults: list[tuple[str, str]]) -> dict[str, int]:
    """Every code that means no answer, as text, and as what it is stored: our own three as themselves,
    others as skipped, or as what stands behind an equals sign."""
    found: dict[str, int] = {}
    for entry in _listed(mapping.missing):
        code, _, meaning = (part.strip() for part in entry.partition("="))
        try:
            value = int(meaning or code)
        except ValueError:
            value = SKIPPED if not meaning else 0
        if meaning and value not in MISSING_CODES:
            sentence = Sentence(
                "“%(entry)s”: behind the equals sign stands -99 (skipped), -98 (prefers not to answer) or "
                "-97 (not shown).",
                entry=entry,
            )
            faults.append(("missing", sentence))
        found[code] = value if value in MISSING_CODES else SKIPPED
    return found


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _places(
    mapping: Mapping, names: Sequence[str], words: Dict[str, str], forms: Dict[str, InstrumentFile]
) -> tuple[Place, ...]:
    """The forms of a row by the names of the columns. A ValueError holds the sentence of what is wrong."""
    if "{" not in mapping.pattern:
        if mapping.layout == WIDE:
            raise ValueError(Sentence("Name the columns by a pattern with {session} in it."))
        return _named_one_by_one(mapping, names)
    cell = "item" if mapping.content == ANSWERS else "scale"
    allowed = {cell} if mapping.layout == LONG else {cell, "session", "rater"}
    needed = {cell} if mapping.layout == LONG else {cell, "session"}
    found = set(_PLACE.findall(mapping.pattern))
    if mapping.content == SCORES and "scale" not in found:
        needed, allowed = needed - {"scale"}, allowed - {"scale"}
    if found - allowed or needed - found:
        raise ValueError(
            Sentence(
                "The pattern must hold %(needed)s, and may hold nothing else in braces but %(allowed)s.",
                needed=", ".join(f"{{{name}}}" for name in sorted(needed)),
                allowed=", ".join(f"{{{name}}}" for name in sorted(allowed)),
            )
        )
    scales = _scales(forms)
    pattern = _compiled(mapping.pattern, words, scales)
    cells: dict[tuple[str, int | None], dict[int | str, int]] = {}
    for column, name in enumerate(names):
        if not (match := pattern.fullmatch(name)):
            continue
        parts = match.groupdict()
        rater = words.get(parts.get("rater", "").lower(), mapping.fixed_rater)
        session = int(parts["session"]) if "session" in parts else None
        if cell == "item":
            what: int | str = int(parts["item"])
        else:
            what = scales[parts.get("scale", "total").lower()]
        own = cells.setdefault((rater, session), {})
        if what in own:
            raise ValueError(Sentence("The pattern fits two columns for the same cell: %(name)s.", name=name))
        own[what] = column
    if not cells:
        raise ValueError(Sentence("No column of the file fits the pattern."))
    days = _days(mapping, names)
    return tuple(
        Place(
            rater, session, days.get(session), tuple(sorted((column, what) for what, column in own.items()))
        )
        for (rater, session), own in sorted(cells.items(), key=lambda pair: (pair[0][1] or 0, pair[0][0]))
    )


def _named_one_by_one(mapping: Mapping, names: Sequence[str]) -> tuple[Place, ...]:
    """`a, b, c` are items 1, 2, 3; `total=a, bond=b` are scales."""
    listed = _listed(mapping.pattern)
    if not listed:
        raise ValueError(Sentence("Name the columns of the answers."))
    pairs: list[tuple[int | str, str]] = []
    for number, entry in enumerate(listed, start=1):
        scale, is_scale, name = (part.strip() for part in entry.partition("="))
        if mapping.content == SCORES:
            pairs.append((scale.lower(), name) if is_scale else ("total", scale))
        else:
            pairs.append((number, entry))
    unknown = [name for _, name in pairs if name not in names]
    if unknown:
        raise ValueError(
            Sentence("The file has no column of this name: %(names)s.", names=", ".join(unknown[:10]))
        )
    if len({what for what, _ in pairs}) < len(pairs):
        raise ValueError(Sentence("A scale is named twice."))
    day = names.index(mapping.day) if mapping.day in names else None
    return (Place(mapping.fixed_rater, None, day, tuple((names.index(name), what) for what, name in pairs)),)


def _days(mapping: Mapping, names: Sequence[str]) -> dict[int | None, int]:
    """The column of the day by session; of a long file by None."""
    if not mapping.day:
        return {}
    if mapping.layout == LONG:
        return {None: names.index(mapping.day)} if mapping.day in names else {}
    if _PLACE.findall(mapping.day) != ["session"]:
        raise ValueError(
            Sentence("The columns of the days are named by a pattern, too, with {session} in it.")
        )
    pattern = _compiled(mapping.day, {}, {})
    return {
        int(match["session"]): column
        for column, name in enumerate(names)
        if (match := pattern.fullmatch(name))
    }


def _scales(forms: Dict[str, InstrumentFile]) -> dict[str, str]:
    """Words for the scales of the forms, in lower case."""
    codes = {scale.code for form in forms.values() for scale in form.scales}
    return {code: code for code in codes} | {
        word: code for word, code in SCALE_WORDS.items() if code in codes
    }


def _compiled(pattern: str, words: Dict[str, str], scales: Dict[str, str]) -> re.Pattern[str]:
    """Letters of either case; a place that stands twice must be filled twice alike."""
    parts = {
        "session": r"\d{1,4}",
        "item": r"\d{1,3}",
        "rater": "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)",
        "scale": "|".join(re.escape(word) for word in sorted(scales, key=len, reverse=True)) or r"(?!)",
    }
    seen: set[str] = set()
    written = ""
    for place, text in enumerate(_PLACE.split(pattern)):
        if place % 2 == 0:
            written += re.escape(text)
        elif text in seen:
            written += f"(?P={text})"
        else:
            seen.add(text)
            written += f"(?P<{text}>{parts[text]})"
    return re.compile(written, re.IGNORECASE | re.ASCII)


def _gaps(mapping: Mapping, places: Sequence[Place], forms: Dict[str, InstrumentFile]) -> list[str]:
    """Items or scales of the columns that no form has, and items of a form that have no column."""
    faults: list[str] = []
    for place in places:
        own = [forms[rater] for rater in ([place.rater] if place.rater else _used(mapping)) if rater in forms]
        there = {what for _, what in place.cells}
        if mapping.content == SCORES:
            known: set[int | str] = {scale.code for form in own for scale in form.scales}
        else:
            known = {item.number for form in own for item in form.items}
        if not own:
            faults.append(Sentence("Choose a form for this rater, too: %(rater)s.", rater=place.rater))
        elif extra := sorted(map(str, there - known)):
            faults.append(
                Sentence(
                    "The chosen form does not have these: %(names)s. Choose another form or pattern.",
                    names=", ".join(extra[:10]),
                )
            )
        for form in own if mapping.content == ANSWERS else []:
            lost = [item.number for item in form.items if item.number not in there]
            if lost:
                faults.append(
                    Sentence(
                        "These items of the form “%(form)s” have no column: %(items)s. Is it another form?",
                        form=form.title,
                        items=", ".join(map(str, lost[:10])),
                    )
                )
        if place.session is not None and not 1 <= place.session <= MAX_SESSION:
            faults.append(Sentence("Session %(n)d is no number from 1 to 1000.", n=place.session))
    return list(dict.fromkeys(faults))
