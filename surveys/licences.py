"""Which wording a clinic may use on which day: questions over its licence records.

A record is never changed. Of the records of one reference (code, language and the letter or contract) the
newest counts: entering a reference again corrects it, or ends it early.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.conf import settings
from django.utils.formats import date_format
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from surveys.models import Clinic, Instrument, Licence

ENDS_SOON = timedelta(days=60)


@dataclass(frozen=True)
class Standing:
    """What the records say about one form on one day, in a word and in a sentence."""

    state: str
    """demonstration, valid, ending, future, lapsed, missing, or (of one record) replaced"""
    words: str

    @property
    def is_usable(self) -> bool:
        """With real patients."""
        return self.state in ("valid", "ending")


def licences_that_count(clinic: Clinic) -> list[Licence]:
    """The newest record of each reference."""
    return list(
        Licence.objects.filter(clinic=clinic)
        .order_by("code", "language", "reference", "-recorded_at", "-pk")
        .distinct("code", "language", "reference")
    )


def licence_register(clinic: Clinic, on: date) -> list[tuple[Licence, Standing]]:
    """Everything that was ever recorded, the newest first, and what it is worth on that day."""
    counting = {row.pk for row in licences_that_count(clinic)}
    rows = Licence.objects.filter(clinic=clinic).select_related("recorded_by").order_by("-recorded_at", "-pk")
    return [
        (
            row,
            period_standing([(row.valid_from, row.valid_until or date.max)], on)
            if row.pk in counting
            else Standing("replaced", _("Replaced by a later record of the same reference")),
        )
        for row in rows
    ]


def standing(instrument: Instrument, licences: Iterable[Licence], on: date) -> Standing:
    """`licences` are those of the clinic that count."""
    if instrument.form.demonstration:
        return Standing("demonstration", _("Demonstration wording"))
    own = [row for row in licences if (row.code, row.language) == (instrument.code, instrument.language)]
    return period_standing([(row.valid_from, row.valid_until or date.max) for row in own], on)


def period_standing(periods: Iterable[tuple[date, date]], on: date) -> Standing:
    spans = sorted(periods)
    if any(first <= on <= last for first, last in spans):
        last = _covered_until(spans, on)
        if last == date.max:
            return Standing("valid", _("Licence without an end"))
        if last - on > ENDS_SOON:
            return Standing("valid", _("Licence until %(day)s") % {"day": date_format(last)})
        days = (last - on).days
        words = ngettext(
            "Licence ends on %(day)s, in %(days)d day: record its renewal",
            "Licence ends on %(day)s, in %(days)d days: record its renewal",
            days,
        )
        if days == 0:
            words = _("Licence ends today, %(day)s: record its renewal")
        return Standing("ending", words % {"day": date_format(last), "days": days})
    coming = [first for first, _last in spans if first > on]
    if coming:
        return Standing("future", _("Licence begins on %(day)s") % {"day": date_format(coming[0])})
    if spans:
        last = max(last for _first, last in spans)
        return Standing("lapsed", _("Licence ended on %(day)s") % {"day": date_format(last)})
    return Standing("missing", _("No licence recorded"))


def _covered_until(spans: Sequence[tuple[date, date]], on: date) -> date:
    """The last day without a gap: a renewal that begins the day after an end goes on with it."""
    until = on
    for first, last in spans:
        if last >= until and (first <= until or first - until == timedelta(days=1)):
            until = last
    return until


def needs_licences(clinic: Clinic) -> bool:
    """A simulated clinic does not: nobody real answers there."""
    return not (settings.DEMO or clinic.is_simulated)


def wordings_to_show(
    clinic: Clinic, wordings: Iterable[Instrument], planned: Instrument, on: date
) -> list[Instrument]:
    """Of a form that a study asks for: the planned wording, licensed when the study was activated, and the
    translations that are licensed now. One that was uploaded since then waits for its licence."""
    rows = list(wordings)
    # The languages of a shipped form came with it, and none of them is licensed wording.
    if planned.clinic_id is None or not needs_licences(clinic):
        return rows
    licences = licences_that_count(clinic)
    return [row for row in rows if row == planned or standing(row, licences, on).is_usable]


def missing_licences(clinic: Clinic, instruments: Iterable[Instrument], on: date) -> list[str]:
    """Why these forms may not be used with patients of the clinic on that day, a sentence for each with what
    to do; empty where they may."""
    if not needs_licences(clinic):
        return []
    licences = licences_that_count(clinic)
    sentences = []
    for instrument in instruments:
        found = standing(instrument, licences, on)
        if not found.is_usable:
            form = instrument.form
            names = {"title": form.title, "code": form.code, "language": form.language}
            sentences.append(_to_do(found.state) % {**names, "state": found.words})
    return sentences


def _to_do(state: str) -> str:
    if state == "demonstration":
        return _(
            "“%(title)s” (%(code)s, %(language)s) carries demonstration wording, which must not be used "
            "with patients. Upload the licensed wording on the page Instruments and choose that form."
        )
    if state == "missing":
        return _(
            "No licence is recorded for “%(title)s” (%(code)s, %(language)s). "
            "Record its holder and reference on the page Licences."
        )
    if state == "lapsed":
        return _(
            "“%(title)s” (%(code)s, %(language)s): %(state)s. "
            "Record the renewed licence on the page Licences."
        )
    return _(
        "“%(title)s” (%(code)s, %(language)s): %(state)s. "
        "Wait until then, or record a licence for the time before on the page Licences."
    )


@dataclass(frozen=True)
class Wording:
    """One form in one language, and what the licence records say about it."""

    instrument: Instrument
    standing: Standing


@dataclass(frozen=True)
class FormVersion:
    """One version of a form for one rater, in the languages it is there in."""

    code: str
    rater: str
    version: str
    is_own: bool
    wordings: tuple[Wording, ...]

    @property
    def in_reader_language(self) -> Instrument:
        """For its title: in the language of the page, else in English, else in the first there is."""
        by_language = {wording.instrument.language: wording.instrument for wording in self.wordings}
        reader = (get_language() or "en").partition("-")[0]
        return by_language.get(reader) or by_language.get("en") or self.wordings[0].instrument

    @property
    def licence_words(self) -> list[tuple[str, list[str]]]:
        """Each standing in words, with the languages it holds for."""
        words: dict[str, list[str]] = {}
        for wording in self.wordings:
            words.setdefault(wording.standing.words, []).append(wording.instrument.language)
        return list(words.items())


def form_versions(clinic: Clinic, instruments: Iterable[Instrument], on: date) -> list[FormVersion]:
    """The forms by code, rater and version, a clinic's own before the shipped ones of the same code."""
    licences = licences_that_count(clinic)
    groups: dict[tuple[str, str, bool, str], list[Wording]] = {}
    for row in instruments:
        key = (row.code, row.rater, row.clinic_id is None, row.version)
        groups.setdefault(key, []).append(Wording(row, standing(row, licences, on)))
    return [
        FormVersion(
            code,
            rater,
            version,
            not is_shipped,
            tuple(sorted(wordings, key=lambda wording: wording.instrument.language)),
        )
        for (code, rater, is_shipped, version), wordings in sorted(groups.items(), key=lambda group: group[0])
    ]
