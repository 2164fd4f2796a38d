"""The administrator's part of the door (`surveys.access`): studies, forms, people and test runs of their
clinic, never a rating. Another clinic's object does not exist.

Ratings leave it only as sums of many people (`summed_scores`), which jobs make."""

import uuid
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils import timezone

from surveys.access import Actor, administered_clinics, clinic_therapies, revealed_scores
from surveys.emergency_access import emergency_patients
from surveys.models import (
    RESET_DAYS,
    Clinic,
    FactorReset,
    ImportBatch,
    Instrument,
    Patient,
    Rater,
    Response,
    Score,
    Study,
    StudyVersion,
    Tablet,
    Therapist,
    Therapy,
    User,
)
from surveys.sharing_access import ever_shared_with, once_named

# What the administrator's session holds: in which of several clinics they work.
CHOSEN_CLINIC = "clinic"


def get_administered_clinic_or_404(user: Actor, chosen: str = "") -> Clinic:
    """The clinic that the user administers: of several the chosen one, else the one that was there first."""
    rows = list(administered_clinics(user).order_by("pk"))
    clinic = next((row for row in rows if str(row.pk) == chosen), next(iter(rows), None))
    if clinic is None:
        raise Http404("No clinic to administer.")
    return clinic


def clinic_instruments(clinic: Clinic) -> QuerySet[Instrument]:
    """Forms that a clinic may ask for: what ships with the product, and its own uploads."""
    return Instrument.objects.filter(Q(clinic=None) | Q(clinic=clinic))


def get_instrument_or_404(clinic: Clinic, instrument_id: uuid.UUID) -> Instrument:
    """A form that a clinic of the user's may ask for; another clinic's upload does not exist."""
    return get_object_or_404(clinic_instruments(clinic), pk=instrument_id)


def visible_tablets(user: Actor) -> QuerySet[Tablet]:
    """Tablets of the clinics that the user administers."""
    return Tablet.objects.filter(clinic__in=administered_clinics(user))


def get_tablet_or_404(user: Actor, tablet_id: uuid.UUID) -> Tablet:
    return get_object_or_404(visible_tablets(user), pk=tablet_id)


def administered_studies(user: Actor) -> QuerySet[Study]:
    """Studies of the clinics that the user administers: their set-up and their progress, never a rating."""
    return Study.objects.filter(clinic__in=administered_clinics(user), test_of=None)


def get_administered_study_or_404(user: Actor, study_id: uuid.UUID) -> Study:
    return get_object_or_404(administered_studies(user).select_related("clinic"), pk=study_id)


def get_import_or_404(user: Actor, batch_id: uuid.UUID) -> ImportBatch:
    """A file of old ratings that was brought into a clinic of the user's."""
    rows = ImportBatch.objects.filter(clinic__in=administered_clinics(user))
    return get_object_or_404(rows.select_related("clinic", "study__clinic"), pk=batch_id)


def clinic_patients(user: Actor) -> QuerySet[Patient]:
    """Patients of the clinics that the user administers; those of test runs are nobody."""
    in_tests = Therapy.objects.filter(patient=OuterRef("pk"), study__test_of__isnull=False)
    return Patient.objects.filter(~Exists(in_tests), clinic__in=administered_clinics(user))


def get_patient_or_404(user: Actor, patient_id: uuid.UUID) -> Patient:
    return get_object_or_404(clinic_patients(user).select_related("clinic"), pk=patient_id)


def get_patient_to_read_or_404(user: Actor, patient_id: uuid.UUID) -> Patient:
    """For administrators of the clinic, and in an emergency."""
    rows = Patient.objects.filter(Q(pk__in=clinic_patients(user)) | Q(pk__in=emergency_patients(user)))
    return get_object_or_404(rows.select_related("clinic"), pk=patient_id)


def clinic_staff(clinic: Clinic) -> QuerySet[User]:
    """Everybody with a role in a clinic of the user's."""
    return User.objects.filter(memberships__clinic=clinic).distinct()


def get_staff_or_404(clinic: Clinic, user_id: uuid.UUID) -> User:
    return get_object_or_404(clinic_staff(clinic), pk=user_id)


def open_resets(clinic: Clinic) -> QuerySet[FactorReset]:
    """Resets of a second factor that wait for a second administrator."""
    rows = FactorReset.objects.filter(clinic=clinic, settled_at=None)
    return rows.filter(asked_at__gt=timezone.now() - RESET_DAYS).select_related("user", "asked_by", "clinic")


def get_open_reset_or_404(clinic: Clinic, user: User) -> FactorReset:
    return get_object_or_404(open_resets(clinic), user=user)


def get_clinic_therapy_or_404(user: Actor, therapy_id: uuid.UUID) -> Therapy:
    rows = clinic_therapies(user).select_related("study__clinic", "therapist__user", "patient", "previous")
    return get_object_or_404(rows, pk=therapy_id)


def administered_tests(user: Actor) -> QuerySet[Study]:
    """Test runs of studies of the clinics that the user administers."""
    return Study.objects.filter(clinic__in=administered_clinics(user), test_of__isnull=False)


def get_test_or_404(user: Actor, test_id: uuid.UUID) -> Study:
    rows = administered_tests(user).select_related("clinic", "test_of")
    return get_object_or_404(rows, pk=test_id)


def test_responses(user: Actor, test: Study) -> QuerySet[Response]:
    """What was sent in a test run: answers of nobody, to see what is stored."""
    rows = Response.objects.select_related("instrument", "assignment")
    return rows.filter(assignment__study=test, assignment__study__in=administered_tests(user))


_POLICY = "response__assignment__version__visibility"
_FEEDBACK = Q(**{_POLICY: StudyVersion.Visibility.FEEDBACK})
_DELAYED = Q(**{_POLICY: StudyVersion.Visibility.DELAYED})
_ENDED = "response__assignment__session__therapy__ended_on"


def summed_scores(study: Study, rater: str, at: datetime) -> QuerySet[Score]:
    """Scores that sums over a clinic or a team are made of by a job, as they could be counted at a time: of
    patients those that the therapist of each may see, of therapists all their own. Nothing of a test run,
    nothing of a therapy that is left out, and nothing that a file brought: these sums are about care now."""
    if study.test_of_id is not None:
        return Score.objects.none()
    if rater == Rater.PATIENT:
        shown = (_FEEDBACK & Q(response__reveal_at__lte=at)) | (
            _DELAYED & Q(**{f"{_ENDED}__lte": timezone.localdate(at)})
        )
        return revealed_scores(study.pk).filter(shown)
    return Score.objects.filter(
        response__assignment__study=study,
        response__assignment__rater=Rater.THERAPIST,
        response__assignment__batch=None,
        response__assignment__session__therapy__excluded_at=None,
        response__assignment__session__isnull=False,
        response__submitted_at__lte=at,
    )


def new_in_sums(rater: str, since: datetime) -> tuple[Q, ...]:
    """Of summed scores, those that could not be counted at an earlier time yet: any of these conditions, no
    two of which hold for one score. What came to be seen on the day of that time may be left out."""
    if rater == Rater.PATIENT:
        return (
            _FEEDBACK & Q(response__reveal_at__gt=since),
            _DELAYED & Q(**{f"{_ENDED}__gt": timezone.localdate(since)}),
        )
    return (Q(response__submitted_at__gt=since),)


def known_one_by_one(user: Actor, study: Study, rater: str) -> frozenset[uuid.UUID]:
    """Therapists of a study's clinic about whose therapies the user may know one rater's ratings one by one:
    themselves, and whom they supervise or ever supervised while these ratings were open to them."""
    if not isinstance(user, User):
        return frozenset()
    rows = Therapist.objects.filter(clinic=study.clinic_id)
    own = frozenset(rows.filter(user=user).values_list("pk", flat=True))
    if rater == Rater.THERAPIST:
        return own | ever_shared_with(user, study.clinic_id, "ratings_shared_with")
    if not study.versions.filter(active_from__isnull=False, is_open_to_supervisors=True).exists():
        return own
    before = once_named(user, "therapist.supervisor")
    return own | frozenset(rows.filter(Q(supervisor=user) | Q(pk__in=before)).values_list("pk", flat=True))
