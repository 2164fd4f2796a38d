"""The study's text before a form, and what the patient answers to its declaration."""

from django.http import HttpRequest

from surveys.models import Assignment, Channel, Rater, StudyVersion
from surveys.parts import consent_text, owed_consent
from surveys.services.consent import consent_give

YES, NO = "yes", "no"


def study_text(assignment: Assignment, language: str) -> dict[str, object]:
    """What a start page or form shows of the text: the information always, the declaration while it is
    owed."""
    if assignment.rater != Rater.PATIENT or assignment.session is None:
        return {}
    therapy = assignment.session.therapy
    return {
        "study_text": consent_text(assignment.version, [language]),
        "owed_consent": owed_consent(assignment, [language]),
        "is_left_out": therapy.excluded_at is not None,
        "is_blind": assignment.version.visibility == StudyVersion.Visibility.BLIND,
    }


def take_consent(
    request: HttpRequest, assignment: Assignment, language: str, channel: str = Channel.LINK
) -> bool:
    """Stores the answer to a declaration that is owed; False where it is owed and none was given."""
    text = owed_consent(assignment, [language])
    if text is None or assignment.session is None:
        return True
    answer = request.POST.get("consent")
    if answer not in (YES, NO):
        return False
    patient = assignment.session.therapy.patient
    consent_give(patient=patient, text=text, agreed=answer == YES, channel=channel)
    return True
