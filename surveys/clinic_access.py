"""The administrator's part of the door (`surveys.access`): studies, forms, people and test runs of their
clinic, never a rating. Another clinic's object does not exist."""

import uuid

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404

from surveys.access import Actor, administered_clinics, clinic_therapies
from surveys.models import Clinic, Instrument, Patient, Response, Study, Tablet, Therapy, User


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


def clinic_patients(user: Actor) -> QuerySet[Patient]:
    """Patients of the clinics that the user administers; those of test runs are nobody."""
    in_tests = Therapy.objects.filter(patient=OuterRef("pk"), study__test_of__isnull=False)
    return Patient.objects.filter(~Exists(in_tests), clinic__in=administered_clinics(user))


def get_patient_or_404(user: Actor, patient_id: uuid.UUID) -> Patient:
    return get_object_or_404(clinic_patients(user).select_related("clinic"), pk=patient_id)


def clinic_staff(clinic: Clinic) -> QuerySet[User]:
    """Everybody with a role in a clinic of the user's."""
    return User.objects.filter(memberships__clinic=clinic).distinct()


def get_staff_or_404(clinic: Clinic, user_id: uuid.UUID) -> User:
    return get_object_or_404(clinic_staff(clinic), pk=user_id)


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
