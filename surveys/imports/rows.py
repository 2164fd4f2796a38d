"""From a row of cells to the forms in it: each becomes an entry, or is rejected with its reason.

What one row alone cannot tell (a form that stands twice, a patient with two therapists, days out of order,
what the database holds already) is looked for by `surveys.services.import_rows`.
"""

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from datetime import date

from surveys.imports.mapping import (
    ANSWERS,
    DAY_FIRST,
    DOTS,
    ISO,
    LONG,
    MAX_SESSION,
    MONTH_FIRST,
    Mapping,
    Place,
    Reading,
    read,
)
from surveys.imports.reasons import Reason
from surveys.packs import InstrumentFile
from surveys.scoring import MISSING_CODES, SKIPPED, score

MAX_PERSON = 80
_NUMBER = re.compile(r"[+-]?\d{1,12}(?:[.,]\d{1,17})?")
_DAYS = {
    ISO: re.compile(r"(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"),
    DOTS: re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})"),
    DAY_FIRST: re.compile(r"(?P<d>\d{1,2})/(?P<m>\d{1,2})/(?P<y>\d{4})"),
    MONTH_FIRST: re.compile(r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})"),
}
FIRST_YEAR = 1950
# Cells repeat; what they mean is worked out once, for so many of them.
REMEMBERED = 20_000
SHOWN = 40


@dataclass(frozen=True, slots=True)
class Entry:
    """One form of the file as it would be stored. `answers` are complete, missing codes too, or empty where
    the file gives scores alone; `scores` hold scale, mean, answered items (None: not told) and items."""

    row: int
    patient: str
    therapist: str
    session: int
    day: date | None
    rater: str
    answers: Dict[int, int]
    scores: tuple[tuple[str, float | None, int | None, int], ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """One form of the file that is not taken over."""

    row: int
    reason: Reason


class RowReader:
    """Reads rows by a mapping. `n_blank` counts the places of a wide file where nobody rated: no forms.

    Raises MappingRefused where the mapping does not fit the columns."""

    def __init__(
        self, mapping: Mapping, names: Sequence[str], forms: Dict[str, InstrumentFile], today: date
    ) -> None:
        self._mapping, self._names, self._forms, self._today = mapping, names, forms, today
        self._reading: Reading = read(mapping, names, forms)
        self._days: dict[str, date | Reason] = {}
        self._values: dict[str, dict[str, int | Reason]] = {rater: {} for rater in forms}
        self._items = {rater: [item.number for item in form.items] for rater, form in forms.items()}
        self.n_blank = 0

    def __call__(self, number: int, cells: Sequence[str]) -> Iterator[Entry | Rejected]:
        """Every form of the row; a row without any gives one rejection."""
        if len(cells) != len(self._names):
            if any(cells[len(self._names) :]) or len(cells) < len(self._names):
                yield Rejected(number, Reason("ragged"))
                return
            cells = cells[: len(self._names)]
        places = self._reading.places
        if self._mapping.layout == LONG:
            yield self._form(number, cells, places[0])
            return
        n = 0
        for place in places:
            if all(self._is_blank(cells[column]) for column, _ in place.cells):
                self.n_blank += 1
            else:
                n += 1
                yield self._form(number, cells, place)
        if not n:
            yield Rejected(number, Reason("empty"))

    def _is_blank(self, cell: str) -> bool:
        text = cell.strip()
        return not text or text in self._reading.missing

    def _form(self, number: int, cells: Sequence[str], place: Place) -> Entry | Rejected:
        found = self._entry(number, cells, place)
        return Rejected(number, found) if isinstance(found, Reason) else found

    def _entry(self, number: int, cells: Sequence[str], place: Place) -> Entry | Reason:
        reading = self._reading
        patient, therapist = cells[reading.patient].strip(), cells[reading.therapist].strip()
        for text, column, code in (
            (patient, reading.patient, "no_patient"),
            (therapist, reading.therapist, "no_therapist"),
        ):
            if not text or text in reading.missing:
                return Reason(code, self._names[column])
            if len(text) > MAX_PERSON:
                return Reason("long_code", self._names[column])
        session = self._session(cells) if place.session is None else place.session
        if isinstance(session, Reason):
            return session
        rater = self._rater(cells) if reading.rater is not None else place.rater
        if isinstance(rater, Reason):
            return rater
        if rater not in self._forms:
            return Reason("no_form", self._names[reading.rater] if reading.rater is not None else "")
        day = None if place.day is None else self._day(cells[place.day].strip(), self._names[place.day])
        if isinstance(day, Reason):
            return day
        read_cells = self._answers if self._mapping.content == ANSWERS else self._scores
        found = read_cells(cells, place, rater)
        if isinstance(found, Reason):
            return found
        answers, scores = found
        return Entry(number, patient, therapist, session, day, rater, answers, scores)

    def _session(self, cells: Sequence[str]) -> int | Reason:
        assert self._reading.session is not None, "of a long file"
        column = self._reading.session
        text = cells[column].strip()
        if not text or text in self._reading.missing:
            return Reason("no_session", self._names[column])
        value = _number(text)
        if value is None or not value.is_integer() or not 1 <= value <= MAX_SESSION:
            return Reason("bad_session", self._names[column])
        return int(value)

    def _rater(self, cells: Sequence[str]) -> str | Reason:
        assert self._reading.rater is not None, "where a column says it"
        column = self._reading.rater
        text = cells[column].strip()
        if not text:
            return Reason("no_rater", self._names[column])
        rater = self._reading.words.get(text.lower())
        return rater or Reason("bad_rater", self._names[column], {"value": text[:SHOWN]})

    def _day(self, text: str, column: str) -> date | Reason | None:
        if not text or text in self._reading.missing:
            return None
        if text not in self._days:
            if len(self._days) > REMEMBERED:
                self._days.clear()
            self._days[text] = _day(text, self._mapping.day_format, self._today)
        found = self._days[text]
        return Reason(found.code, column, found.values) if isinstance(found, Reason) else found

    def _answers(
        self, cells: Sequence[str], place: Place, rater: str
    ) -> tuple[dict[int, int], tuple[tuple[str, float | None, int | None, int], ...]] | Reason:
        form, known = self._forms[rater], self._values[rater]
        answers = dict.fromkeys(self._items[rater], SKIPPED)
        for column, what in place.cells:
            text = cells[column].strip()
            value = known.get(text)
            if value is None:
                if len(known) > REMEMBERED:
                    known.clear()
                value = known[text] = _answer(text, form, self._reading.missing)
            if isinstance(value, Reason):
                return Reason(value.code, self._names[column], value.values)
            if what in answers:
                answers[int(what)] = value
            elif value not in MISSING_CODES:
                return Reason("no_such_item", self._names[column], {"item": what})
        if MISSING_CODES.issuperset(answers.values()):
            return Reason("empty")
        scores = tuple((row.scale, row.mean, row.n_answered, row.n_items) for row in score(form, answers))
        return answers, scores

    def _scores(
        self, cells: Sequence[str], place: Place, rater: str
    ) -> tuple[dict[int, int], tuple[tuple[str, float | None, int | None, int], ...]] | Reason:
        form = self._forms[rater]
        sizes = {scale.code: len(scale.items) for scale in form.scales}
        found: list[tuple[str, float | None, int | None, int]] = []
        for column, what in place.cells:
            text = cells[column].strip()
            if str(what) not in sizes:
                if text and text not in self._reading.missing:
                    return Reason("no_such_scale", self._names[column], {"scale": what})
                continue
            mean = None
            if text and text not in self._reading.missing:
                mean = _number(text)
                if mean is None:
                    return Reason("not_a_number", self._names[column], {"value": text[:SHOWN]})
                if not form.minimum <= mean <= form.maximum:
                    return _outside(text, form, self._names[column])
            found.append((str(what), mean, None, sizes[str(what)]))
        if all(mean is None for _, mean, _, _ in found):
            return Reason("empty")
        return {}, tuple(found)


def _number(text: str) -> float | None:
    """A number with a point or a comma before its decimals, ASCII digits alone; None for anything else."""
    if not text.isascii() or not _NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", "."))


def _answer(text: str, form: InstrumentFile, missing: Dict[str, int]) -> int | Reason:
    """An option of the form or a missing code; a blank is skipped."""
    if not text:
        return SKIPPED
    if text in missing:
        return missing[text]
    value = _number(text)
    if value is None:
        return Reason("not_a_number", values={"value": text[:SHOWN]})
    if not value.is_integer():
        return Reason("not_whole", values={"value": text[:SHOWN]})
    if not form.minimum <= value <= form.maximum:
        return _outside(text, form, "")
    return int(value)


def _outside(text: str, form: InstrumentFile, column: str) -> Reason:
    values = {"value": text[:SHOWN], "low": form.minimum, "high": form.maximum}
    return Reason("out_of_range", column, values)


def _day(text: str, format_: str, today: date) -> date | Reason:
    match = _DAYS[format_].fullmatch(text) if text.isascii() else None
    try:
        found = date(int(match["y"]), int(match["m"]), int(match["d"])) if match else None
    except ValueError:
        found = None
    if found is None or found.year < FIRST_YEAR:
        return Reason("bad_date", values={"value": text[:SHOWN]})
    return Reason("future") if found > today else found


def looks_like_names(codes: Sequence[str]) -> bool:
    """Whether codes of people look like names or e-mail addresses: an @, or mostly words of letters, with a
    capital letter and a small one. Initials and numbers do not."""
    given = [code for code in codes if code]
    named = [code for code in given if _NAME.fullmatch(code)]
    return any("@" in code for code in given) or len(named) * 2 > len(given)


_NAME = re.compile(r"[^\W\d_]*[A-ZÀ-Þ][^\W\d_]*[a-zß-ÿ]{2,}[^\W\d_]*(?:[ ,.'-]+[^\W\d_]+)*")
