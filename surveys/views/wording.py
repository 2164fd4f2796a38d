"""In which language a form is shown, and the page around it."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone, translation

from surveys.licences import wordings_to_show
from surveys.models import Assignment, Instrument, Opening, Rater
from surveys.wordings import form_wordings


@dataclass(frozen=True)
class Wording:
    """The questionnaire as it is shown, and every other language it can be shown in."""

    instrument: Instrument
    choices: Sequence[tuple[str, str]]


def wording_of(assignment: Assignment, opening: Opening | None = None, wish: str = "") -> Wording:
    """The first language that there is: as wished, as chosen here before, the patient's, the browser's, that
    of the plan. The rest of the request speaks it, too."""
    wording = find_wording(assignment, opening, wish)
    speak(wording.instrument.language)
    return wording


def find_wording(assignment: Assignment, opening: Opening | None = None, wish: str = "") -> Wording:
    """The same, for a page that goes on in the reader's own language."""
    rows = wordings_to_show(
        assignment.version, form_wordings(assignment), assignment.instrument, timezone.localdate()
    )
    wishes = [
        wish,
        opening.language if opening else "",
        _patients(assignment),
        translation.get_language() or "",
    ]
    instrument = next(filter(None, (_row(rows, wished) for wished in wishes)), assignment.instrument)
    return Wording(instrument, [(row.language, _name(row.language)) for row in rows])


def speak(language: str) -> None:
    """The middleware gives the next request its own language again."""
    variant = _variant(language)
    if variant:
        translation.activate(variant)


def _patients(assignment: Assignment) -> str:
    is_patients = assignment.rater == Rater.PATIENT and assignment.session is not None
    return assignment.session.therapy.patient.language if is_patients and assignment.session else ""


def _row(rows: Sequence[Instrument], language: str) -> Instrument | None:
    """The wording in the language, also where only its country differs."""
    same = [row for row in rows if row.language.lower() == language.lower()]
    near = [row for row in rows if language and row.language.split("-")[0] == language.split("-")[0]]
    return next(iter(same + near), None)


def _variant(language: str) -> str:
    """What the pages call this language; empty where they do not speak it."""
    try:
        return translation.get_supported_language_variant(language)
    except LookupError:
        return ""


def _name(language: str) -> str:
    """The language in its own words."""
    names = dict(settings.LANGUAGES)
    if (variant := _variant(language)) in names:
        return names[variant]
    try:
        return str(translation.get_language_info(language)["name_local"])
    except KeyError:
        return language
