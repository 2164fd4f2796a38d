"""What an emergency opens, for one operator, one patient and half an hour (`surveys.services.emergency`).

These querysets are one part of the rule of `surveys.access`: a therapy is read as by who treats the patient,
and the patient's own choice and the study's policy hold. Nothing of it lets anybody write.
"""

from datetime import timedelta

from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet
from django.utils import timezone

from surveys.models import Clinic, EmergencyAccess, Patient, Therapy, User


def open_emergencies(user: User | AnonymousUser) -> QuerySet[EmergencyAccess]:
    """At most one; empty for everybody who is not an operator."""
    if not isinstance(user, User) or not (user.is_superuser and user.is_active):
        return EmergencyAccess.objects.none()
    return user.emergencies.filter(ended_at=None, ends_at__gt=timezone.now())


def open_emergency(user: User | AnonymousUser) -> EmergencyAccess | None:
    return open_emergencies(user).select_related("clinic", "patient").first()


def emergency_patients(user: User | AnonymousUser) -> QuerySet[Patient]:
    return Patient.objects.filter(pk__in=open_emergencies(user).values("patient"))


def emergency_therapies(user: User | AnonymousUser) -> QuerySet[Therapy]:
    return Therapy.objects.filter(patient__in=emergency_patients(user), study__test_of=None)


def recent_emergencies(clinic: Clinic) -> QuerySet[EmergencyAccess]:
    """For the clinic's administrators: those of the last day, the latest first."""
    rows = EmergencyAccess.objects.filter(clinic=clinic, began_at__gt=timezone.now() - timedelta(hours=24))
    return rows.select_related("by", "patient").order_by("-began_at")


def all_clinics(user: User | AnonymousUser) -> QuerySet[Clinic]:
    """Their names, for an operator who says in which one the emergency is."""
    if not isinstance(user, User) or not user.is_superuser:
        return Clinic.objects.none()
    return Clinic.objects.order_by("name")


def patient_of_code(clinic: Clinic, code: str) -> Patient | None:
    """By a code of the patient's own or of one of their therapies; nobody of a test run."""
    named = Q(code__iexact=code) | Q(therapies__code__iexact=code)
    rows = clinic.patients.filter(named).exclude(therapies__study__test_of__isnull=False)
    return rows.distinct().first()
