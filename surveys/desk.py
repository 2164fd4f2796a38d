"""Questions of the clinic's desk: how far the set-up of its studies is, its people, what needs attention."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db.models import Count, Exists, Max, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from surveys.access import Actor, LinkState, clinic_therapies, form_state
from surveys.clinic_access import clinic_instruments, clinic_patients, clinic_staff, open_resets
from surveys.licences import FormVersion, form_versions, licences_that_count, standing
from surveys.models import (
    Assignment,
    Clinic,
    FactorReset,
    Instrument,
    Membership,
    Patient,
    PlanLine,
    Rater,
    Response,
    Role,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.plans import Place, in_words, picture
from surveys.readiness import shown_wordings


@dataclass(frozen=True)
class PlannedForm:
    """One form that a clinic may ask for, and what a version plans for it."""

    form: FormVersion
    lines: tuple[PlanLine, ...]

    @property
    def instrument(self) -> Instrument:
        """The wording that the plan names whoever reads the page: the English one, or the first."""
        by_language = {wording.instrument.language: wording.instrument for wording in self.form.wordings}
        return by_language.get("en") or self.form.wordings[0].instrument

    @property
    def is_trait(self) -> bool:
        return self.instrument.form.level == "trait"

    @property
    def words(self) -> list[tuple[str, str]]:
        """Arm and plan of each line, the one of all therapies first."""
        return [(line.arm, in_words(line)) for line in self.lines]


def planned_forms(version: StudyVersion) -> list[PlannedForm]:
    """Every form that the clinic may ask for, with the version's lines for it; patients' forms first."""
    clinic = version.study.clinic
    lines = list(version.lines.select_related("instrument").order_by("arm", "pk"))
    rows = clinic_instruments(clinic)
    forms = []
    for form in form_versions(clinic, rows, timezone.localdate()):
        wordings = {wording.instrument.pk for wording in form.wordings}
        own = tuple(line for line in lines if line.instrument_id in wordings)
        forms.append(PlannedForm(form, own))
    return sorted(
        forms, key=lambda row: (row.form.rater != Rater.PATIENT, row.form.code, not row.form.is_own)
    )


def planned_form(version: StudyVersion, instrument: Instrument) -> PlannedForm | None:
    """The form that this wording belongs to; None for one that the clinic may not ask for."""
    for row in planned_forms(version):
        if instrument.pk in {wording.instrument.pk for wording in row.form.wordings}:
            return row
    return None


def counterpart(version: StudyVersion, row: PlannedForm) -> PlannedForm | None:
    """The same form of the other rater, where it is not planned yet."""
    key = (row.form.code, row.form.version, row.form.is_own)
    for other in planned_forms(version):
        if (other.form.code, other.form.version, other.form.is_own) == key and (
            other.form.rater != row.form.rater and not other.lines
        ):
            return other
    return None


@dataclass(frozen=True)
class ArmPicture:
    """What is asked of one arm, session by session; the arm "" is every therapy without one."""

    arm: str
    places: Sequence[Place]


def pictures(lines: Iterable[PlanLine]) -> list[ArmPicture]:
    lines = [line for line in lines if not line.period]
    arms = dict.fromkeys(["", *(line.arm for line in lines)])
    of_arm = {arm: [line for line in lines if line.arm in ("", arm)] for arm in arms}
    return [ArmPicture(arm, picture(of_arm[arm])) for arm in arms if of_arm[arm]]


def draft_of(study: Study) -> StudyVersion | None:
    return study.versions.filter(active_from=None).select_related("study__clinic").first()


def study_versions(study: Study) -> QuerySet[StudyVersion]:
    """All versions, the newest first, with lines and texts."""
    lines = PlanLine.objects.select_related("instrument").order_by("-instrument__rater", "instrument", "arm")
    return (
        study.versions.select_related("study__clinic", "activated_by")
        .prefetch_related(Prefetch("lines", queryset=lines), "texts")
        .order_by("-number")
    )


def with_progress(studies: QuerySet[Study]) -> QuerySet[Study]:
    """Studies with their draft, version in force and number of running therapies."""
    return studies.annotate(
        n_running=Count("therapies", filter=Q(therapies__ended_on=None), distinct=True),
        n_drafts=Count("versions", filter=Q(versions__active_from=None), distinct=True),
    ).order_by("name", "code")


def studies_in_draft(clinic: Clinic) -> QuerySet[Study]:
    """Studies with a version that is being set up."""
    return own_studies(clinic).filter(versions__active_from=None)


def own_studies(clinic: Clinic) -> QuerySet[Study]:
    return with_progress(Study.objects.filter(clinic=clinic, test_of=None))


# People


def own_patients(user: Actor, clinic: Clinic, code: str = "") -> QuerySet[Patient]:
    """Patients of the clinic by code, the newest first, with their running therapies."""
    running = Therapy.objects.filter(ended_on=None).select_related("therapist", "study")
    own = clinic_patients(user).filter(clinic=clinic)
    rows = own.prefetch_related(Prefetch("therapies", queryset=running, to_attr="running"))
    if code:
        treated = Therapy.objects.filter(patient=OuterRef("pk"), code__icontains=code)
        rows = rows.filter(Q(code__icontains=code) | Exists(treated))
    return rows.order_by("-id")


def therapies_of(patient: Patient) -> QuerySet[Therapy]:
    """The latest first."""
    rows = patient.therapies.select_related("therapist__user", "study", "previous__therapist")
    return rows.order_by("-started_on", "-id")


def own_therapists(clinic: Clinic, *, without: Therapist | None = None) -> QuerySet[Therapist]:
    """Therapists who may be given a patient today: with the role, or without an account of their own."""
    treats = Membership.objects.filter(clinic=clinic, user=OuterRef("user"), role=Role.THERAPIST)
    in_tests = Therapy.objects.filter(therapist=OuterRef("pk"), study__test_of__isnull=False)
    rows = clinic.therapists.filter(Q(user=None) | Exists(treats)).filter(~Exists(in_tests))
    if without is not None:
        rows = rows.exclude(pk=without.pk)
    return rows.select_related("user").order_by("user__name", "code")


def active_studies(clinic: Clinic) -> QuerySet[Study]:
    """Studies in which a therapy may begin today."""
    in_force = StudyVersion.objects.filter(study=OuterRef("pk"), active_from__lte=timezone.now())
    return Study.objects.filter(Exists(in_force), clinic=clinic, test_of=None).order_by("name", "code")


def study_arms(studies: Iterable[Study]) -> list[str]:
    """The arms that plans in force have lines for, beside the common ones."""
    arms = {line.arm for study in studies if study.current for line in study.current.lines.all()}
    return sorted(arms - {""})


def own_supervisors(clinic: Clinic, *, without: User | None = None) -> QuerySet[User]:
    rows = User.objects.filter(
        memberships__clinic=clinic, memberships__role=Role.SUPERVISOR, is_active=True
    ).distinct()
    return (rows.exclude(pk=without.pk) if without else rows).order_by("name", "email")


@dataclass(frozen=True)
class Colleague:
    """An account of the clinic."""

    user: User
    roles: Sequence[str]
    n_running: int


def own_staff(user: Actor, clinic: Clinic) -> list[Colleague]:
    """Accounts by name, each with its roles in the clinic and the number of running therapies."""
    labels = {role.value: str(role.label) for role in Role}
    roles: dict[UUID, list[str]] = {}
    for row in Membership.objects.filter(clinic=clinic).order_by("role"):
        roles.setdefault(row.user_id, []).append(labels[row.role])
    running: dict[UUID | None, int] = {}
    therapies = clinic_therapies(user).filter(ended_on=None, therapist__clinic=clinic)
    for therapy in therapies.select_related("therapist"):
        running[therapy.therapist.user_id] = running.get(therapy.therapist.user_id, 0) + 1
    people = clinic_staff(clinic).order_by("name", "email")
    return [Colleague(person, roles.get(person.pk, []), running.get(person.pk, 0)) for person in people]


def roles_in(clinic: Clinic, user: User) -> list[str]:
    return list(Membership.objects.filter(clinic=clinic, user=user).values_list("role", flat=True))


@dataclass(frozen=True)
class FactorState:
    """How somebody's second factor stands, for an administrator who looks at the account."""

    is_set: bool
    reset: FactorReset | None
    n_others: int
    """Administrators of the clinic beside the person: two of them can reset it."""


def factor_state(clinic: Clinic, user: User) -> FactorState:
    others = Membership.objects.filter(clinic=clinic, role=Role.CLINIC_ADMIN, user__is_active=True)
    return FactorState(
        is_set=Authenticator.objects.filter(user=user).exists(),
        reset=open_resets(clinic).filter(user=user).first(),
        n_others=others.exclude(user=user).count(),
    )


def therapist_in(clinic: Clinic, user: User) -> Therapist | None:
    return clinic.therapists.filter(user=user).select_related("supervisor").first()


# What needs attention

QUIET_AFTER = timedelta(days=14)


def quiet_therapies(user: Actor, clinic: Clinic) -> QuerySet[Therapy]:
    """Running therapies of the clinic whose session log has been silent for more than two weeks."""
    before = timezone.now() - QUIET_AFTER
    return (
        clinic_therapies(user)
        .filter(ended_on=None, therapist__clinic=clinic)
        .annotate(last_logged=Max("sessions__held_at"))
        .filter(Q(last_logged__lt=before) | Q(last_logged=None, started_on__lt=timezone.localdate(before)))
        .select_related("therapist", "patient")
        .order_by("last_logged", "started_on", "code")
    )


def licence_warnings(clinic: Clinic) -> list[tuple[Instrument, str]]:
    """Forms that studies in force ask for, whose licence has ended or ends soon, and in what words."""
    in_force = [study.current for study in active_studies(clinic)]
    lines = PlanLine.objects.filter(version__in=[row for row in in_force if row]).select_related("instrument")
    licences, today = licences_that_count(clinic), timezone.localdate()
    found = [(form, standing(form, licences, today)) for form in shown_wordings(lines)]
    return [(form, state.words) for form, state in found if state.state in ("ending", "lapsed", "missing")]


# Test runs


@dataclass(frozen=True)
class TestForm:
    """One form of a test run, and whether it can be filled in now."""

    assignment: Assignment
    is_open: bool


def test_forms(test: Study) -> list[TestForm]:
    """The forms of the made-up patient."""
    rows = Assignment.objects.filter(study=test, rater=Rater.PATIENT).select_related("instrument", "session")
    now = timezone.now()
    return [TestForm(row, form_state(row, now) is LinkState.OPEN) for row in rows.order_by("-opens_at")]


def stored_answers(response: Response) -> list[tuple[int, str, int]]:
    """Item number, what it says and the value that is stored, missing codes too."""
    form = response.instrument.form
    return [(item.number, item.text, response.answers[str(item.number)]) for item in form.items]
