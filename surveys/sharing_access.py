"""Which therapists let their supervisor see something of their own: one rule for their ratings of the
alliance and for what they say of their practice.

Three things hold today: the supervisor has that role in the clinic and still supervises the therapist, the
therapist's choice names this supervisor, and the therapist works in the clinic with an account that is open,
and so can take the choice back.
"""

from typing import Literal

from django.contrib.auth.models import AnonymousUser
from django.db.models import Exists, OuterRef, QuerySet

from surveys.models import Membership, Role, Therapist, User

Shared = Literal["ratings_shared_with", "practice_shared_with"]


def sharing_therapists(user: User | AnonymousUser, what: Shared) -> QuerySet[Therapist]:
    """Supervisees who share this with the user."""
    if not isinstance(user, User) or not user.is_active:
        return Therapist.objects.none()
    in_clinic = Membership.objects.filter(clinic=OuterRef("clinic"))
    return Therapist.objects.filter(
        Exists(in_clinic.filter(user=user, role=Role.SUPERVISOR)),
        Exists(in_clinic.filter(user=OuterRef("user"), role=Role.THERAPIST)),
        user__is_active=True,
        supervisor=user,
        **{what: user},
    )
