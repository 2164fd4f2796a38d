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

from surveys.models import Clinic, Instrument, Licence, StudyVersion

ENDS_SOON = timedelta(days=60)


@dataclass(frozen=True)
class Standing:
    """What the records say about one form on one day, in a word and in a sentence."""

    state: str
    """demonstration, valid, ending, future, lapsed, missing, care or research (the use that is not
    permitted), or (of one record) replaced"""
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
            _standing([row], on)
            if row.pk in counting
            else Standing("replaced", _("Replaced by a later record of the same reference")),
        )
        for row in rows
    ]


def uses_of(version: StudyVersion) -> frozenset[str]:
    """What a study does with its forms: care where therapists may see the answers, research where they may
    not, and both where patients are asked to agree to the research as well."""
    if not version.visibility:
        return frozenset()
    if version.visibility == StudyVersion.Visibility.BLIND:
        return frozenset({Licence.Use.RESEARCH})
    has_declaration = version.texts.exclude(declaration="").exists()
    return frozenset({Licence.Use.CARE, Licence.Use.RESEARCH} if has_declaration else {Licence.Use.CARE})


def standing(
    instrument: Instrument, licences: Iterable[Licence], on: date, uses: Iterable[str] = ()
) -> Standing:
    """`licences` are those of the clinic that count; each of the uses must be permitted."""
    if instrument.form.demonstration:
        return Standing("demonstration", _("Demonstration wording"))
    own = [
        row
        for row in licences
        if (row.code, row.language) == (instrument.code, instrument.language)
        and row.rater in ("", instrument.rater)
    ]
    whole = _standing(own, on)
    for use in sorted(uses) if whole.is_usable else ():
        if not _standing([row for row in own if row.use in (use, Licence.Use.BOTH)], on).is_usable:
            return Standing(use, str(Licence.Use(use).label))
    return whole


def _standing(licences: Iterable[Licence], on: date) -> Standing:
    return period_standing([(row.valid_from, row.valid_until or date.max) for row in licences], on)


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
    version: StudyVersion, wordings: Iterable[Instrument], planned: Instrument, on: date
) -> list[Instrument]:
    """Of a form that a study asks for: the planned wording, licensed when the study was activated, and the
    translations that are licensed now. One that was uploaded since then waits for its licence."""
    rows = list(wordings)
    # The languages of a shipped form came with it, and none of them is licensed wording.
    if planned.clinic_id is None or rows == [planned] or not needs_licences(version.study.clinic):
        return rows
    clinic = version.study.clinic
    licences, uses = licences_that_count(clinic), uses_of(version)
    return [row for row in rows if row == planned or standing(row, licences, on, uses).is_usable]


def missing_licences(
    clinic: Clinic, instruments: Iterable[Instrument], on: date, uses: Iterable[str] = ()
) -> list[str]:
    """Why these forms may not be put to these uses with patients of the clinic on that day, a sentence for
    each with what to do; empty where they may."""
    if not needs_licences(clinic):
        return []
    licences = licences_that_count(clinic)
    sentences = []
    for instrument in instruments:
        found = standing(instrument, licences, on, uses)
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
    if state == Licence.Use.RESEARCH:
        return _(
            "The licence for “%(title)s” (%(code)s, %(language)s) permits care only, and the answers of this "
            "study are used for research. Record a licence that permits research on the page Licences."
        )
    if state == Licence.Use.CARE:
        return _(
            "The licence for “%(title)s” (%(code)s, %(language)s) permits research only, and in this study "
            "therapists work with the answers. Record a licence that permits care on the page Licences."
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
