"""A patient's part in studies: what they were told, agreed to and sent, and how they ended it."""

from collections.abc import Sequence

from django.db.models import Exists, OuterRef, QuerySet

from surveys.models import (
    Assignment,
    Consent,
    ConsentText,
    Patient,
    Rater,
    Response,
    Study,
    StudyVersion,
    Withdrawal,
)


def consent_text(version: StudyVersion, languages: Sequence[str]) -> ConsentText | None:
    """The study's text in the first of these languages that it has, else English, else whatever there is."""
    texts = {text.language: text for text in version.texts.order_by("language")}
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


def latest_consents(patient: Patient) -> QuerySet[Consent]:
    """What the patient answered last in each study."""
    return (
        Consent.objects.filter(patient=patient)
        .select_related("text__version__study")
        .order_by("text__version__study", "-at", "-pk")
        .distinct("text__version__study")
    )


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
