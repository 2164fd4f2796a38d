"""What an administrator of the demonstration finds set up: texts, addresses, and a study half done."""

from django.utils import timezone

from surveys.models import (
    Clinic,
    Instrument,
    Membership,
    Patient,
    Role,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.services.sharing import sharing_set
from surveys.services.studies import LineSpec, plan_set, reminders_set, study_create, text_set

DRAFT = "ROUTINE-2027"
N_ADDRESSES = 6

INFORMATION = {
    "en": (
        "This is a demonstration with simulated people. In a real clinic this text tells patients who "
        "collects their answers and why.\n\n"
        "After some sessions you and your therapist each fill in a short form about how you work together. "
        "Your answers are stored in the clinic under a code, without your name. You decide on every form "
        "what your therapist may see. The research team works with coded answers.\n\n"
        "Taking part is voluntary. You may leave out any question and end your part at any time without a "
        "disadvantage; ask at the front desk."
    ),
    "de": (
        "Dies ist eine Vorführung mit erfundenen Personen. In einer echten Klinik steht hier, wer die "
        "Antworten erhebt und wozu.\n\n"
        "Nach einigen Sitzungen füllen Sie und Ihre Therapeutin oder Ihr Therapeut je einen kurzen Bogen "
        "über die Zusammenarbeit aus. Ihre Antworten liegen in der Klinik unter einem Code, ohne "
        "Ihren Namen. Auf jedem Bogen entscheiden Sie, was Ihre Therapeutin oder Ihr Therapeut sehen "
        "darf. Die Forschung arbeitet mit codierten Antworten.\n\n"
        "Die Teilnahme ist freiwillig. Sie können jede Frage auslassen und jederzeit ohne Nachteil aufhören; "
        "wenden Sie sich an den Empfang."
    ),
}


def texts_add(version: StudyVersion) -> None:
    """Privacy information without a declaration: nobody is asked for consent in the demonstration."""
    for language, information in INFORMATION.items():
        text_set(version=version, language=language, information=information)


def draft_study_add(clinic: Clinic, patients_form: Instrument) -> None:
    """A study on its way: forms and reminders are chosen, who sees the answers and the texts are not."""
    version = study_create(clinic=clinic, code=DRAFT, name="Routine care 2027")
    lines = [LineSpec(sessions=(3, 12, 20, 40), tolerance=1, catch_up=True, window_hours=72)]
    plan_set(version=version, instruments=[patients_form], lines=lines)
    reminders_set(version=version, hours=[24])


def addresses_add(therapies: list[Therapy]) -> None:
    """E-mail addresses for some patients. Mails of the demonstration stay in a folder of the machine."""
    for therapy in therapies[:N_ADDRESSES]:
        patient = Patient.objects.get(pk=therapy.patient_id)
        patient.contact = f"patient-{patient.code.lower()}@example.org"
        patient.contact_at = timezone.now()
        patient.save(update_fields=["contact", "contact_at"])


def shared_practices_add(clinic: Clinic, supervisor: User) -> None:
    """Two of the supervisees let the supervisor see something: one all there is, one their practice alone.
    The therapist whose account stands in the manifest shares nothing, so that a visitor makes the choice."""
    supervisees = Therapist.objects.filter(clinic=clinic, supervisor=supervisor, user=None).order_by("pk")
    for number, (therapist, ratings) in enumerate(zip(supervisees, (True, False), strict=False), start=1):
        user = User.objects.create_user(
            f"supervisee-{number}@demo.example", name=f"Supervisee {number} (demonstration)"
        )
        Membership.objects.create(user=user, clinic=clinic, role=Role.THERAPIST)
        therapist.user = user
        therapist.save(update_fields=["user"])
        sharing_set(
            therapist=therapist, supervisor=str(supervisor.pk), ratings=ratings, practice=True, actor=user
        )
