"""What a draft still lacks before it may come into force: the one list that the check page shows and that
activation refuses by."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys.licences import missing_licences, uses_of
from surveys.models import Instrument, Patient, PlanLine, Rater, StudyVersion


@dataclass(frozen=True)
class Gap:
    """One thing that is missing, and the step of the set-up that mends it."""

    step: str
    sentence: str


def form_languages() -> dict[str, str]:
    """The languages of patients' pages: tag and name in its own words."""
    return {tag.partition("-")[0]: name for tag, name in settings.LANGUAGES}


def language_name(tag: str) -> str:
    return form_languages().get(tag, tag)


def gaps(version: StudyVersion) -> list[Gap]:
    """Everything that is missing, in the order of the steps; empty where the version may be activated."""
    lines = list(version.lines.select_related("instrument"))
    return [
        *_plan_gaps(version, lines),
        *_visibility_gaps(version, lines),
        *_text_gaps(version),
        *_reminder_gaps(version, lines),
    ]


def shown_wordings(lines: Iterable[PlanLine]) -> list[Instrument]:
    """Every wording that a rater may meet under these lines: the planned forms and their translations."""
    rule = Q(pk=None)
    for line in lines:
        form = line.instrument
        rule |= Q(code=form.code, version=form.version, rater=form.rater, clinic=form.clinic_id)
    return list(Instrument.objects.filter(rule).order_by("code", "rater", "language"))


def _plan_gaps(version: StudyVersion, lines: Sequence[PlanLine]) -> list[Gap]:
    found = []
    if not any(line.instrument.rater == Rater.PATIENT and not line.period for line in lines):
        found.append(Gap("forms", _("No form of patients is planned. Add one and say after which sessions.")))
    sentences = missing_licences(
        version.study.clinic, shown_wordings(lines), timezone.localdate(), uses_of(version)
    )
    return found + [Gap("forms", sentence) for sentence in sentences]


def _visibility_gaps(version: StudyVersion, lines: Sequence[PlanLine]) -> list[Gap]:
    if not version.visibility:
        return [Gap("visibility", _("Who sees the patients’ answers is not chosen yet."))]
    rates = any(line.instrument.rater == Rater.THERAPIST and not line.period for line in lines)
    if version.visibility == StudyVersion.Visibility.FEEDBACK and not rates:
        return [
            Gap(
                "forms",
                _(
                    "Therapists are to see a rating after giving their own, but no form of therapists is "
                    "planned. Plan one, or choose another rule for who sees the answers."
                ),
            )
        ]
    return []


def _text_gaps(version: StudyVersion) -> list[Gap]:
    texts = {text.language: text for text in version.texts.all()}
    found = [
        Gap(
            "texts",
            _("The privacy information in %(language)s is empty.") % {"language": language_name(language)},
        )
        for language, text in sorted(texts.items())
        if not text.information.strip()
    ]
    if not texts:
        found.append(Gap("texts", _("There is no privacy information for patients yet.")))
    declared = {language for language, text in texts.items() if text.declaration.strip()}
    found += [
        Gap(
            "texts",
            _("The declaration of consent is there in another language, but not in %(language)s.")
            % {"language": language_name(language)},
        )
        for language in sorted(texts)
        if declared and language not in declared
    ]
    return found + [
        Gap(
            "texts",
            ngettext(
                "%(n)d patient of this study reads %(language)s, and there is no text in it.",
                "%(n)d patients of this study read %(language)s, and there is no text in it.",
                n,
            )
            % {"n": n, "language": language_name(language)},
        )
        for language, n in _languages_of_patients(version).items()
        if language not in texts
    ]


def _languages_of_patients(version: StudyVersion) -> dict[str, int]:
    """How many patients with a running therapy in the study read each language."""
    running = Patient.objects.filter(therapies__study=version.study, therapies__ended_on=None).distinct()
    counts: dict[str, int] = {}
    for language in running.values_list("language", flat=True):
        counts[language] = counts.get(language, 0) + 1
    return dict(sorted(counts.items()))


def _reminder_gaps(version: StudyVersion, lines: Sequence[PlanLine]) -> list[Gap]:
    windows = [
        line.window_hours for line in lines if line.instrument.rater == Rater.PATIENT and not line.period
    ]
    longest = max(windows, default=0)
    return [
        Gap(
            "reminders",
            _(
                "A reminder after %(hours)d hours would come when every form is closed: they stay open for "
                "%(longest)d hours at most."
            )
            % {"hours": hours, "longest": longest},
        )
        for hours in version.reminder_hours
        if windows and hours >= longest
    ]
