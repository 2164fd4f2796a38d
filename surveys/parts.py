"""A patient's part in studies: what they were told, agreed to and sent, and how they ended it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.http import Http404
from django.utils.translation import gettext_lazy

from surveys.models import (
    Assignment,
    AuditEvent,
    Consent,
    ConsentText,
    Patient,
    Rater,
    Response,
    Study,
    StudyVersion,
    Withdrawal,
)
from surveys.scoring import NOT_SHOWN, PREFER_NOT, SKIPPED

# Why an item has no answer, for who filled the form.
MISSING = {
    SKIPPED: gettext_lazy("Left out"),
    PREFER_NOT: gettext_lazy("Prefer not to answer"),
    NOT_SHOWN: gettext_lazy("Not asked"),
}


def consent_text(version: StudyVersion, languages: Sequence[str]) -> ConsentText | None:
    """The study's text in the first of these languages that it has, else English, else whatever there is."""
    texts = {text.language: text for text in version.all_texts}
    wanted = next((language for language in (*languages, "en") if language in texts), None)
    return texts[wanted] if wanted else next(iter(texts.values()), None)


def consent_of(patient: Patient, version: StudyVersion) -> Consent | None:
    """The patient's latest answer to the declaration of a version, or of another one of the study that reads
    the same: nobody is asked twice because a plan was changed."""
    same = ConsentText.objects.filter(
        version=version,
        language=OuterRef("text__language"),
        information=OuterRef("text__information"),
        declaration=OuterRef("text__declaration"),
    )
    answers = Consent.objects.filter(Exists(same), patient=patient, text__version__study=version.study_id)
    return answers.select_related("text__version").order_by("-at", "-pk").first()


def owed_consent(assignment: Assignment, languages: Sequence[str]) -> ConsentText | None:
    """The text whose declaration the patient has to answer before this form; None where there is none."""
    if assignment.rater != Rater.PATIENT or assignment.session is None:
        return None
    text = consent_text(assignment.version, languages)
    if text is None or not text.declaration:
        return None
    return None if consent_of(assignment.session.therapy.patient, assignment.version) else text


def strongest_withdrawal(patient: Patient, study: Study) -> Withdrawal | None:
    """How far the patient went in ending their part in the study."""
    rows = list(Withdrawal.objects.filter(patient=patient, study=study).order_by("at", "pk"))
    return max(rows, key=lambda row: Withdrawal.Choice.values.index(row.choice), default=None)


def own_responses(patient: Patient) -> QuerySet[Response]:
    """What the patient sent, the latest on top."""
    return (
        Response.objects.filter(
            assignment__rater=Rater.PATIENT, assignment__session__therapy__patient=patient
        )
        .select_related("instrument", "assignment__version", "assignment__session__therapy__study")
        .order_by("-submitted_at", "-pk")
    )


@dataclass(frozen=True)
class OwnPart:
    """How a patient stands to one study: what they answered last, how they ended it, since when they are
    left out of the research."""

    study: Study
    consent: Consent | None
    withdrawal: Withdrawal | None
    left_out_since: datetime | None

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The choices that go further than what was chosen before."""
        order = Withdrawal.Choice.values
        first = order.index(self.withdrawal.choice) + 1 if self.withdrawal else 0
        return [(choice.value, str(choice.label)) for choice in list(Withdrawal.Choice)[first:]]


def own_parts(patient: Patient) -> list[OwnPart]:
    """The patient's part in every study in which they have a therapy."""
    studies = Study.objects.filter(therapies__patient=patient).distinct().order_by("code")
    return [_own_part(patient, study) for study in studies]


def declarations(study: Study) -> list[ConsentText]:
    """The declarations of the version in force, by language; none where it asks for no consent."""
    if study.current is None:
        return []
    return [text for text in study.current.texts.order_by("language") if text.declaration]


def entered_at(consent: Consent | None) -> datetime | None:
    """When somebody of the clinic typed in an answer that was given on paper."""
    if consent is None or consent.recorded_by_id is None:
        return None
    events = AuditEvent.objects.filter(act="consent.give", subject=f"consent:{consent.pk}")
    return events.values_list("at", flat=True).first()


def own_part_or_404(patient: Patient, study_id: UUID) -> OwnPart:
    study = Study.objects.filter(therapies__patient=patient, pk=study_id).distinct().first()
    if study is None:
        raise Http404("No such study.")
    return _own_part(patient, study)


def _own_part(patient: Patient, study: Study) -> OwnPart:
    consents = Consent.objects.filter(patient=patient, text__version__study=study)
    left_out = study.therapies.filter(patient=patient, excluded_at__isnull=False).order_by("excluded_at")
    return OwnPart(
        study=study,
        consent=consents.select_related("text__version", "recorded_by").order_by("-at", "-pk").first(),
        withdrawal=strongest_withdrawal(patient, study),
        left_out_since=left_out.values_list("excluded_at", flat=True).first(),
    )


def own_language(patient: Patient) -> str:
    """The language in which the patient read the last form that they sent, else the one on record."""
    last = own_responses(patient).first()
    return last.instrument.language if last else patient.language
