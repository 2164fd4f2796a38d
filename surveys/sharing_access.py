"""Which therapists let their supervisor see something of their own: one rule for their ratings of the
alliance and for what they say of their practice.

Three things hold today: the supervisor has that role in the clinic and still supervises the therapist, the
therapist's choice names this supervisor, and the therapist works in the clinic with an account that is open,
and so can take the choice back.
"""

from typing import Literal
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Exists, OuterRef, Q, QuerySet

from surveys.models import AuditEvent, Membership, Role, Therapist, User

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


def ever_shared_with(user: User | AnonymousUser, clinic_id: UUID, what: Shared) -> frozenset[UUID]:
    """Therapists of a clinic who share this with the user, or once did: what somebody has read they still
    know when the choice or the role has ended."""
    if not isinstance(user, User):
        return frozenset()
    before = once_named(user, "therapist.sharing", **{f"detail__{what.removesuffix('_shared_with')}": True})
    rows = Therapist.objects.filter(Q(**{what: user}) | Q(pk__in=before), clinic=clinic_id)
    return frozenset(rows.values_list("pk", flat=True))


def once_named(user: User, act: str, **rule: object) -> set[UUID]:
    """Therapists, of any clinic, for whom the trace of these acts names the user as supervisor. By the acts,
    of which there are few with an index of their own; by its therapists a large clinic would send thousands
    of names."""
    events = AuditEvent.objects.filter(act=act, detail__supervisor=str(user.pk), **rule)
    subjects = events.filter(subject__startswith="therapist:").values_list("subject", flat=True)
    return {UUID(subject.partition(":")[2]) for subject in subjects}
