"""Rows for tests, made through the services wherever a service makes them in real use."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from surveys.access import browser_hash
from surveys.models import (
    Assignment,
    Clinic,
    ConsentText,
    Instrument,
    Membership,
    Opening,
    Patient,
    PlanLine,
    Response,
    Role,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.services.assignments import trait_form_assign
from surveys.services.instruments import built_in_load
from surveys.services.responses import Paradata, form_open, response_submit
from surveys.services.sessions import session_close

PASSWORD = "correct horse battery staple"


def make_clinic(name: str = "Harbour Clinic") -> Clinic:
    return Clinic.objects.create(name=name, contact="Reception, 555 0100")


def make_user(email: str, *roles: Role, clinic: Clinic | None = None, **fields: object) -> User:
    user = User.objects.create_user(email, PASSWORD, **fields)
    Membership.objects.bulk_create(Membership(user=user, clinic=clinic, role=role) for role in roles)
    return user


def instrument(code: str, rater: str, language: str = "en") -> Instrument:
    found = Instrument.objects.filter(code=code, rater=rater, language=language).first()
    if found is None:
        built_in_load()
        found = Instrument.objects.get(code=code, rater=rater, language=language)
    return found


def make_study(
    clinic: Clinic, code: str = "S1", visibility: str = "feedback", sessions: tuple[int, ...] = (1, 2, 3)
) -> Study:
    study = Study.objects.create(clinic=clinic, code=code, name=f"Study {code}")
    version = StudyVersion.objects.create(study=study, number=1, visibility=visibility)
    for rater in ("patient", "therapist"):
        PlanLine.objects.create(
            version=version, instrument=instrument("wai-s", rater), sessions=list(sessions)
        )
    activate(version)
    return study


def activate(version: StudyVersion, active_from: datetime | None = None) -> None:
    """In force since long ago, so that a test may hold sessions in the past."""
    version.active_from = active_from or timezone.now() - timedelta(days=1000)
    version.save(update_fields=["active_from"])


def replan(
    study: Study,
    keep: Sequence[str] = ("patient", "therapist"),
    extra: Sequence[dict] = (),
    reminder_hours: Sequence[int] | None = None,
    **fields: object,
) -> None:
    """A new version from before any session: the lines of the raters to keep, with these fields changed, and
    extra ones. What is in force is frozen."""
    old = study.current
    version = StudyVersion.objects.create(
        study=study,
        number=old.number + 1,
        visibility=old.visibility,
        is_open_to_supervisors=old.is_open_to_supervisors,
        reminder_hours=old.reminder_hours if reminder_hours is None else list(reminder_hours),
    )
    for line in old.lines.filter(instrument__rater__in=keep):
        line.pk, line.version = None, version
        for name, value in fields.items():
            setattr(line, name, value)
        line.save()
    for line in extra:
        PlanLine.objects.create(version=version, **line)
    activate(version, old.active_from + timedelta(seconds=1))
    del study.current


def ask_consent(
    study: Study, declaration: str = "My answers may be used.", information: str = "Who asks, and why."
) -> ConsentText:
    """A new version in force, with the plan as it was, that tells patients this and asks them to agree; as if
    open forms had been asked for under it."""
    old = study.current
    version = StudyVersion.objects.create(study=study, number=old.number + 1, visibility=old.visibility)
    for line in old.lines.all():
        line.pk, line.version = None, version
        line.save()
    text = ConsentText.objects.create(
        version=version, language="en", information=information, declaration=declaration
    )
    activate(version, old.active_from + timedelta(seconds=1))
    study.assignments.filter(response=None).update(version=version)
    del study.current
    return text


def set_visibility(study: Study, visibility: str, *, is_open_to_supervisors: bool = False) -> None:
    """As if the study had begun with this policy: its forms were asked for under it, too."""
    old = study.current
    version = StudyVersion.objects.create(
        study=study,
        number=old.number + 1,
        visibility=visibility,
        is_open_to_supervisors=is_open_to_supervisors,
    )
    for line in old.lines.all():
        line.pk, line.version = None, version
        line.save()
    activate(version, old.active_from + timedelta(seconds=1))
    study.assignments.update(version=version)
    del study.current


def make_therapy(study: Study, user: User | None = None, supervisor: User | None = None) -> Therapy:
    therapist, _ = (
        Therapist.objects.get_or_create(clinic=study.clinic, user=user, defaults={"supervisor": supervisor})
        if user
        else (Therapist.objects.create(clinic=study.clinic, supervisor=supervisor), True)
    )
    patient = Patient.objects.create(clinic=study.clinic)
    started = timezone.localdate() - timedelta(days=90)
    return Therapy.objects.create(patient=patient, therapist=therapist, study=study, started_on=started)


def hold_session(therapy: Therapy, held_at: datetime | None = None) -> Session:
    return session_close(
        therapy=therapy, held_at=held_at or timezone.now() - timedelta(hours=1), status="held"
    ).session


def form_of(session: Session, rater: str) -> Assignment:
    return Assignment.objects.get(session=session, rater=rater)


def form_about_practice(therapist: Therapist, study: Study, code: str, period: str) -> Assignment:
    return trait_form_assign(
        therapist=therapist, study=study, instrument=instrument(code, "therapist"), period=period
    )


def open_form(assignment: Assignment, browser: str = "browser", user: User | None = None) -> Opening:
    return form_open(assignment_id=assignment.pk, browser_hash=browser_hash(user, browser), device="phone")


def give(
    assignment: Assignment,
    answers: dict[int, int] | int = 5,
    sharing: str = "scores",
    key: UUID | None = None,
    user: User | None = None,
    browser: str = "browser",
) -> Response:
    """A whole form, with one value for every item or the given answers."""
    opening = open_form(assignment, browser=browser, user=user)
    items = [item.number for item in assignment.instrument.form.items]
    values = dict.fromkeys(items, answers) if isinstance(answers, int) else answers
    return response_submit(
        opening=opening,
        answers=values,
        sharing=sharing,
        client_key=key or opening.client_key,
        paradata=Paradata(device="phone", channel="link"),
    )
