"""The simulated clinic in the database, made by the services that real use goes through.

Everything is one transaction: a load that is interrupted leaves nothing behind. The same seed on the same
day gives the same sessions and answers; ids, codes and passwords are always new.
"""

import uuid
from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from surveys.access import browser_hash
from surveys.demo.cohort import Course, Meeting, Practitioner, simulate
from surveys.demo.parameters import EVERY_SESSION, OCCASIONS, SIZES, Parameters, Size
from surveys.demo.setup import addresses_add, draft_study_add, shared_practices_add, texts_add
from surveys.ids import new_code
from surveys.models import (
    Assignment,
    Clinic,
    Instrument,
    Membership,
    Patient,
    PlanLine,
    Rater,
    Role,
    Sharing,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.planning import ENTRY
from surveys.services.assignments import trait_form_assign
from surveys.services.entry import FilledForm, responses_enter
from surveys.services.instruments import built_in_load
from surveys.services.responses import Paradata
from surveys.services.sessions import Entry, sessions_close
from surveys.tokens import new_token

CLINIC = "Demonstration Clinic"
STUDY = "DEMO"
SEED = 514
OUTCOME = "wai-s"
TRAIT_FORMS = ("dpccq-difficulties", "dpccq-feelings-general", "dpccq-coping", "dpccq-manner")
# Wide enough that a demo which is started again after a week still has forms to fill.
WINDOW_HOURS = {Rater.PATIENT: 28 * 24, Rater.THERAPIST: 42 * 24}
MINUTES_PER_FORM = timedelta(minutes=4)

ACCOUNTS = {
    "therapist": ("therapist@demo.example", (Role.THERAPIST,)),
    "supervisor": ("supervisor@demo.example", (Role.SUPERVISOR,)),
    "clinic_admin": ("clinic-admin@demo.example", (Role.CLINIC_ADMIN,)),
    "researcher": ("researcher@demo.example", (Role.RESEARCHER,)),
    "superuser": ("superuser@demo.example", ()),
}


class DemoRefused(Exception):
    """The demonstration clinic may not be made or shown here; the text says why."""


def require_demo_mode() -> None:
    if not settings.DEMO:
        raise DemoRefused(
            "Demonstration accounts have passwords that stand in a file, so they are made in demo mode only. "
            "Set ALLIANCE_DEMO=1 to allow it."
        )


def is_demo_account(user: User) -> bool:
    """Whether it is an account of the demonstration: in demo mode alone, and of somebody who works nowhere
    but in simulated clinics."""
    if not settings.DEMO:
        return False
    simulated = list(Membership.objects.filter(user=user).values_list("clinic__is_simulated", flat=True))
    is_own = user.email in {email for email, _roles in ACCOUNTS.values()}
    return all(simulated) and (is_own or bool(simulated))


@transaction.atomic
def build(size: Size | None = None, *, seed: int = SEED) -> bool:
    """Loads the demonstration clinic; False, and nothing done, where it is loaded already.

    Raises DemoRefused outside demo mode and in a database that holds a clinic of real people.
    """
    require_demo_mode()
    if Clinic.objects.filter(is_simulated=False).exists():
        raise DemoRefused(
            "This database holds a clinic that is not simulated; the demo needs one of its own."
        )
    if Study.objects.filter(code=STUDY).exists():
        return False
    instruments = {(row.code, row.rater): row for row in built_in_load() if row.language == "en"}
    clinic = Clinic.objects.create(name=CLINIC, contact="Front desk, 555 0100 (simulated)", is_simulated=True)
    study = _study(clinic, instruments)
    accounts = _accounts(clinic)
    today = timezone.localdate()
    cohort = simulate(
        size or SIZES["study"],
        {rater: instruments[OUTCOME, rater].form for rater in Rater.values},
        [instruments[code, Rater.THERAPIST].form for code in TRAIT_FORMS],
        seed=seed,
        today=today,
    )
    n_supervised = team_size(len(cohort))
    for index, practitioner in enumerate(cohort):
        therapist = Therapist.objects.create(
            clinic=clinic,
            code=_free_code(clinic.therapists.all()),
            user=accounts["therapist"] if index == 0 else None,
            supervisor=accounts["supervisor"] if index < n_supervised else None,
        )
        own = _trait_forms(therapist, study, instruments, practitioner, today)
        of_patients = []
        for course in practitioner.courses:
            forms = _therapy(therapist, study, course, today)
            own += forms[Rater.THERAPIST]
            of_patients += forms[Rater.PATIENT]
        responses_enter(study=study, forms=own, actor=therapist.user)
        responses_enter(study=study, forms=of_patients)
    running = Therapy.objects.filter(study=study, therapist__user=accounts["therapist"], ended_on=None)
    addresses_add(list(running.order_by("started_on", "pk")))
    draft_study_add(clinic, instruments["wai-sr", Rater.PATIENT])
    shared_practices_add(clinic, accounts["supervisor"])
    return True


def team_size(n_therapists: int) -> int:
    """How many of the first therapists the supervisor supervises: so many that the very first, with by far
    the largest caseload, has less than half of the team's patients, and so few that the rest is somebody.
    Else numbers of the team together could never be shown (`docs/completion.md`)."""
    return min(12, 3 * n_therapists // 4)


def _study(clinic: Clinic, instruments: dict[tuple[str, str], Instrument]) -> Study:
    study = Study.objects.create(
        clinic=clinic,
        code=STUDY,
        name="Working alliance over the course of therapy (simulated)",
    )
    version = StudyVersion.objects.create(
        study=study,
        number=1,
        visibility=StudyVersion.Visibility.FEEDBACK,
        is_open_to_supervisors=True,
        reminder_hours=[24],
    )
    for rater, hours in WINDOW_HOURS.items():
        line = {"version": version, "instrument": instruments[OUTCOME, rater], "window_hours": hours}
        PlanLine.objects.create(**line, sessions=list(OCCASIONS))
        PlanLine.objects.create(**line, arm=EVERY_SESSION, every=1)
    for code in TRAIT_FORMS:
        PlanLine.objects.create(
            version=version, instrument=instruments[code, Rater.THERAPIST], period=PlanLine.Period.YEARLY
        )
    texts_add(version)
    version.active_from = moment(timezone.localdate() - timedelta(weeks=Parameters().weeks + 3), 9)
    version.save(update_fields=["active_from"])
    return study


def _accounts(clinic: Clinic) -> dict[str, User]:
    """Without passwords: `surveys.demo.manifest` sets them when it writes down what they are."""
    users = {}
    for name, (email, roles) in ACCOUNTS.items():
        users[name] = User.objects.create_user(
            email,
            name=f"{name.replace('_', ' ').capitalize()} (demonstration)",
            is_superuser=name == "superuser",
        )
        Membership.objects.bulk_create(
            Membership(clinic=clinic, user=users[name], role=role) for role in roles
        )
    return users


def _trait_forms(
    therapist: Therapist,
    study: Study,
    instruments: dict[tuple[str, str], Instrument],
    practitioner: Practitioner,
    today: date,
) -> list[FilledForm]:
    """Makes the forms about practice in general due, before anybody's first session and at each anniversary;
    the filled ones."""
    begins = today - timedelta(weeks=Parameters().weeks + 2)
    filled = []
    for year, answers in enumerate((practitioner.trait_answers, *practitioner.later_answers)):
        opens = moment(begins + timedelta(days=366 * year), 9)
        for code in TRAIT_FORMS:
            assignment = trait_form_assign(
                therapist=therapist,
                study=study,
                instrument=instruments[code, Rater.THERAPIST],
                period=f"year-{year}" if year else ENTRY,
                opens_at=opens,
            )
            if code in answers:
                sent = opens + timedelta(days=3)
                filled.append(filled_form(assignment.pk, answers[code], sent, therapist=therapist))
    return filled


def _therapy(therapist: Therapist, study: Study, course: Course, today: date) -> dict[str, list[FilledForm]]:
    """One therapy with its session log; the forms that were filled, by rater."""
    held = {row.number: _held_at(row, today) for row in course.meetings if row.number is not None}
    therapy = therapy_begin(therapist, study, course.arm, min(held.values()).date())
    entries = [Entry(_held_at(row, today), row.status) for row in course.meetings]
    sessions = sessions_close(therapy=therapy, entries=entries, actor=therapist.user).sessions
    rows = Assignment.objects.filter(session__in=sessions)
    due = {(number, rater): pk for number, rater, pk in rows.values_list("session__number", "rater", "pk")}
    filled: dict[str, list[FilledForm]] = {rater: [] for rater in Rater.values}
    browser = new_token()
    for form in course.forms:
        sent = held[form.number] + timedelta(hours=form.hours)
        filled[form.rater].append(
            filled_form(
                due[form.number, form.rater],
                form.answers,
                sent,
                therapist=therapist if form.rater == Rater.THERAPIST else None,
                browser=browser,
                sharing=form.sharing,
                device=form.device,
            )
        )
    if course.end_reason:
        therapy.ended_on, therapy.end_reason = max(held.values()).date(), course.end_reason
        therapy.save(update_fields=["ended_on", "end_reason"])
    return filled


def therapy_begin(therapist: Therapist, study: Study, arm: str, started_on: date) -> Therapy:
    """The therapy of a new patient."""
    clinic = study.clinic
    return Therapy.objects.create(
        code=_free_code(Therapy.objects.all()),
        patient=Patient.objects.create(clinic=clinic, code=_free_code(clinic.patients.all())),
        therapist=therapist,
        study=study,
        arm=arm,
        started_on=started_on,
    )


def _free_code(rows: QuerySet[Therapist] | QuerySet[Patient] | QuerySet[Therapy]) -> str:
    """A code that none of the rows has: among thousands, two equal draws are likely."""
    code = new_code()
    while rows.filter(code=code).exists():
        code = new_code()
    return code


def filled_form(
    assignment_id: uuid.UUID,
    answers: dict[int, int],
    sent_at: datetime,
    *,
    therapist: Therapist | None = None,
    browser: str = "",
    sharing: str = Sharing.NONE,
    device: str = "desktop",
) -> FilledForm:
    """A form as a patient's browser or a signed-in therapist would have sent it."""
    # Only the first of the simulated therapists has an account to sign in with.
    user = therapist.user if therapist is not None else None
    return FilledForm(
        assignment_id=assignment_id,
        answers=answers,
        opened_at=sent_at - MINUTES_PER_FORM,
        submitted_at=sent_at,
        browser_hash=browser_hash(user or AnonymousUser(), browser or str(assignment_id)),
        paradata=Paradata(device=device, channel="link" if therapist is None else "staff"),
        sharing=sharing,
    )


def _held_at(meeting: Meeting, today: date) -> datetime:
    return moment(today + timedelta(days=meeting.day), meeting.hour)


def moment(day: date, hour: int) -> datetime:
    """The full hour of a day in the clinic's time zone."""
    return datetime.combine(day, time(hour), tzinfo=timezone.get_current_timezone())
