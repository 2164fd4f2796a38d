"""The doors to roles that wait for a second person, and who that may be."""

from uuid import UUID

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.utils import timezone

from surveys.access import Actor, administered_clinics
from surveys.models import OPERATOR, Clinic, Role, RoleGrant, User

# What operators have a say in; administrators of a clinic have a say in all that is given there.
OF_OPERATORS = (Role.RESEARCHER.value, OPERATOR)


def visible_grants(user: Actor) -> QuerySet[RoleGrant]:
    """Of the clinics that the user administers; to an operator, those that operators have a say in."""
    rows = RoleGrant.objects.select_related("user", "clinic", "asked_by", "decided_by")
    if isinstance(user, User) and user.is_superuser:
        return rows.filter(role__in=OF_OPERATORS)
    return rows.filter(clinic__in=administered_clinics(user))


def waiting_grants(user: Actor, clinic: Clinic | None = None) -> QuerySet[RoleGrant]:
    rows = visible_grants(user).filter(decided_at=None, asked_at__gt=timezone.now() - RoleGrant.LASTS)
    return (rows.filter(clinic=clinic) if clinic else rows).order_by("asked_at")


def get_grant_or_404(user: Actor, grant_id: UUID) -> RoleGrant:
    return get_object_or_404(visible_grants(user), pk=grant_id)


def administrators(clinic: Clinic | None) -> QuerySet[User]:
    """Who administers a clinic today."""
    return User.objects.filter(
        is_active=True, memberships__clinic=clinic, memberships__role=Role.CLINIC_ADMIN
    ).distinct()


def grant_deciders(grant: RoleGrant) -> QuerySet[User]:
    """Who may confirm it: neither who asked nor who gets the role."""
    administers = Q(memberships__clinic=grant.clinic_id, memberships__role=Role.CLINIC_ADMIN)
    may = administers if grant.clinic_id else Q(pk=None)
    if grant.role in OF_OPERATORS:
        may |= Q(is_superuser=True)
    people = User.objects.filter(may, is_active=True).exclude(pk=grant.user_id).distinct()
    return people.exclude(pk=grant.asked_by_id) if grant.asked_by_id else people
