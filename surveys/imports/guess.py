"""A first guess at how a file is read, from the names and labels of its columns and its first rows."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Dict

from surveys.imports.mapping import (
    ANSWERS,
    DAY_FIRST,
    DOTS,
    ISO,
    LONG,
    MONTH_FIRST,
    SCALE_WORDS,
    SCORES,
    WIDE,
    Mapping,
)
from surveys.imports.source import Head
from surveys.packs import InstrumentFile

PATIENT_WORDS = ("patient", "pat", "p", "client", "klient", "pasient")
THERAPIST_WORDS = ("therapist", "ther", "t", "therapeut", "terapeut")
# Names of columns, without marks and in lower case; the earlier ones fit better.
_NAMES = {
    "patient": (
        "patient",
        "pat",
        "client",
        "klient",
        "pasient",
        "patientid",
        "patid",
        "patno",
        "pid",
        "case",
    ),
    "therapist": ("therapist", "ther", "therapeut", "terapeut", "therapistid", "therid", "tid", "therno"),
    "session": ("session", "sess", "sessionno", "sessionnumber", "sitzung", "time", "timepoint", "occasion"),
    "rater": ("rater", "perspective", "informant", "source", "respondent", "whorated"),
    "day": ("date", "day", "datum", "dato", "sessiondate", "heldon", "submittedon", "filledon"),
}
_SESSION = re.compile(
    r"(?:(?<=_)|(?<=\.)|^)(s|session|sess|sitzung|time|t)_?(\d{1,3})(?=[_.]|$)", re.IGNORECASE
)
_ITEM = re.compile(r"(\d{1,3})$")
_RATER = re.compile(r"(?:(?<=_)|(?<=\.)|^)(p|t|pat|ther|patient|therapist|client)(?=[_.]|$)", re.IGNORECASE)
_DAY = re.compile(r"(?:date|datum|dato|day)", re.IGNORECASE)
OWN_CODES = ("-99", "-98", "-97")
# Fewer columns that are alike are no list of items.
LEAST_ITEMS = 3


def guess(head: Head, forms: Dict[str, InstrumentFile]) -> Mapping:
    """Only what can be told from the file; what is left empty must be chosen. `forms` are those that the
    study asks for, by rater."""
    names = head.columns.names
    labels = {name: head.columns.labels.get(name, "") for name in names}
    found = {role: _named(words, names, labels) for role, words in _NAMES.items()}
    wide = _wide(names, forms)
    missing = ", ".join(dict.fromkeys([*OWN_CODES, *head.columns.missing]))
    if wide is not None:
        pattern, content = wide
        return Mapping(
            layout=WIDE,
            content=content,
            patient=found["patient"],
            therapist=found["therapist"],
            day=_day_pattern(names),
            day_format=_day_format(_cells(head, [name for name in names if _DAY.search(name)])),
            patient_words=", ".join(PATIENT_WORDS),
            therapist_words=", ".join(THERAPIST_WORDS),
            pattern=pattern,
            missing=missing,
        )
    taken = set(found.values())
    pattern, content = _long([name for name in names if name not in taken], forms)
    patients, therapists = _rater_words(head, found["rater"])
    return Mapping(
        layout=LONG,
        content=content,
        patient=found["patient"],
        therapist=found["therapist"],
        session=found["session"],
        day=found["day"],
        rater=found["rater"],
        day_format=_day_format(_cells(head, [found["day"]] if found["day"] else [])),
        patient_words=", ".join(patients),
        therapist_words=", ".join(therapists),
        pattern=pattern,
        missing=missing,
    )


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()


def _named(words: Sequence[str], names: Sequence[str], labels: Dict[str, str]) -> str:
    """The column whose name, or else whose label, is the earliest of the words, or begins with it."""
    for texts in (
        {name: _plain(name) for name in names},
        {name: _plain(label) for name, label in labels.items()},
    ):
        for word in words:
            if exact := [name for name, text in texts.items() if text == word]:
                return exact[0]
        for word in words:
            begun = [name for name, text in texts.items() if len(word) > 3 and text.startswith(word)]
            if len(begun) == 1:
                return begun[0]
    return ""


def _common(patterns: Iterable[str], least: int) -> str:
    counts = Counter(patterns)
    best, n = max(counts.items(), key=lambda pair: pair[1], default=("", 0))
    return best if n >= least else ""


def _wide(names: Sequence[str], forms: Dict[str, InstrumentFile]) -> tuple[str, str] | None:
    """The pattern that most columns with a session number fit, and what they hold; None for a long file."""
    items, scales, sessions = [], [], set()
    for name in names:
        marks = [match for match in _SESSION.finditer(name) if len(match[1]) > 1 or match[1] in "sS"]
        if not marks or _DAY.search(name):
            continue
        mark = marks[-1]
        sessions.add(mark[2])
        start, end = mark.span(2)
        before, after = _RATER.sub("{rater}", name[:start], count=1), name[end:]
        if number := _ITEM.search(after):
            items.append(f"{before}{{session}}{after[: number.start()]}{{item}}")
        else:
            scales.append(_with_scale(before, forms) + "{session}" + _with_scale(after, forms))
    if len(sessions) < 2 and len(items) + len(scales) < 2:
        return None
    if pattern := _common(items, LEAST_ITEMS):
        return pattern, ANSWERS
    pattern = _common(scales, 1)
    return (pattern, SCORES) if pattern else None


def _with_scale(text: str, forms: Dict[str, InstrumentFile]) -> str:
    codes = {scale.code for form in forms.values() for scale in form.scales} or {
        "total",
        "goal",
        "task",
        "bond",
    }
    words = sorted({*codes, *SCALE_WORDS}, key=len, reverse=True)
    return re.sub(
        rf"(?:(?<=[_.])|^)({'|'.join(words)})(?=[_.]|$)", "{scale}", text, count=1, flags=re.IGNORECASE
    )


def _long(names: Sequence[str], forms: Dict[str, InstrumentFile]) -> tuple[str, str]:
    if pattern := _common(
        (f"{name[: number.start()]}{{item}}" for name in names if (number := _ITEM.search(name))), LEAST_ITEMS
    ):
        return pattern, ANSWERS
    if pattern := _common((shown for name in names if "{scale}" in (shown := _with_scale(name, forms))), 1):
        return pattern, SCORES
    return "", ANSWERS


def _rater_words(head: Head, column: str) -> tuple[list[str], list[str]]:
    """The words of the column itself that are known or whose labels are; else the known words."""
    if not column:
        return list(PATIENT_WORDS), list(THERAPIST_WORDS)
    labels = head.columns.values.get(column, {})
    seen = dict.fromkeys([*labels, *(cell for cell in _cells(head, [column]) if cell)])
    told: dict[str, list[str]] = {"patient": [], "therapist": []}
    for word in seen:
        for rater, known in (("patient", PATIENT_WORDS), ("therapist", THERAPIST_WORDS)):
            if any(_plain(text) in known for text in (word, labels.get(word, "")) if text):
                told[rater].append(word)
                break
    return told["patient"], told["therapist"]


def _cells(head: Head, columns: Sequence[str]) -> list[str]:
    places = [head.columns.names.index(name) for name in columns]
    return [cells[place].strip() for _, cells in head.rows for place in places if place < len(cells)]


def _day_pattern(names: Sequence[str]) -> str:
    patterns = []
    for name in names:
        if _DAY.search(name) and (mark := next(_SESSION.finditer(name), None)):
            start, end = mark.span(2)
            patterns.append(f"{name[:start]}{{session}}{name[end:]}")
    return _common(patterns, 1)


def _day_format(cells: Sequence[str]) -> str:
    """The format that the first rows show; where day and month could be either, day first is only a guess."""
    kinds = Counter(mark for cell in cells for mark in "-./" if cell.count(mark) == 2)
    mark = max(kinds, key=lambda one: kinds[one], default="-")
    if mark != "/":
        return DOTS if mark == "." else ISO
    seconds = [cell.split("/")[1] for cell in cells if cell.count("/") == 2]
    return MONTH_FIRST if any(part.isdecimal() and int(part) > 12 for part in seconds) else DAY_FIRST
