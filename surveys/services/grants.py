"""Roles that nobody gives alone: one person asks, another confirms within seven days, and both stand in the
trace. Taking a role away needs nobody's leave.

| Role | Asked for by | Confirmed by |
|---|---|---|
| administrator | an administrator of the clinic, or an operator | another administrator of the clinic |
| researcher | an operator | an administrator of the clinic, or another operator |
| operator | an operator | another operator |

The first administrator of a clinic and the first operator of a server have nobody to ask. Where a clinic has
one administrator alone, an operator confirms at the server (`manage.py role_confirm`).
"""

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit, jobs
from surveys.grant_access import administrators, grant_deciders
from surveys.models import OPERATOR, Clinic, Membership, Role, RoleGrant, User
from surveys.services.notices import NOT_TAKEN, notice_send
from surveys.services.roles import PeopleRefused, grants_drop, refuse_combination, roles_of, roles_set
from surveys.services.sign_ins import sign_ins_end

JOB = "role_mail"


def needs_second(*, clinic: Clinic | None, role: str) -> bool:
    """Whether there is somebody who has to confirm this role."""
    if role == OPERATOR:
        return User.objects.filter(is_superuser=True, is_active=True).exists()
    if role == Role.CLINIC_ADMIN:
        return administrators(clinic).exists()
    return role == Role.RESEARCHER


@transaction.atomic
def grant_ask(*, clinic: Clinic | None, user: User, role: str, asked_by: User | None) -> RoleGrant:
    """Asks for a role on behalf of somebody; who can confirm it is told by mail, as are they. What was asked
    already is not asked again. Raises PeopleRefused for what could not be given."""
    person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if asked_by == person:
        raise PeopleRefused(_("Nobody changes their own roles. Ask another administrator."))
    if not person.is_active:
        raise PeopleRefused(_("This account is closed. Open it again first."))
    if clinic is not None:
        refuse_combination(clinic, person, roles_of(clinic, person) | {role})
    elif Membership.objects.filter(user=person).exists():
        raise PeopleRefused(_("An operator has no role in a clinic. Use an account of its own."))
    rows = RoleGrant.objects.select_for_update().filter(user=person, clinic=clinic, role=role)
    earlier = rows.filter(decided_at=None).first()
    if earlier is not None and not earlier.is_over:
        return earlier
    if earlier is not None:
        _decide(earlier, None, is_given=False)
    grant = RoleGrant.objects.create(
        user=person, clinic=clinic, role=role, asked_by=asked_by, asked_at=timezone.now()
    )
    audit.record("role.ask", subject=person, actor=asked_by, clinic=clinic, role=role, grant=str(grant.pk))
    jobs.request(JOB, grant.pk)
    return grant


@transaction.atomic
def grant_confirm(*, grant: RoleGrant, actor: User) -> None:
    """Gives the role, by a second person. Raises PeopleRefused where that is not one, or it is too late."""
    row = _open(grant)
    if actor.pk in (row.user_id, row.asked_by_id):
        raise PeopleRefused(_("A second person confirms this: neither who asked nor who gets the role."))
    if not grant_deciders(row).filter(pk=actor.pk).exists():
        raise PeopleRefused(_("Your role does not include confirming this one."))
    _give(row, actor)


@transaction.atomic
def grant_confirm_at_server(*, grant: RoleGrant) -> None:
    """By the operator, for an administrator whose clinic has no other one."""
    row = _open(grant)
    others = grant_deciders(row)
    is_administrator_s = row.asked_by is not None and not row.asked_by.is_superuser
    if row.role != Role.CLINIC_ADMIN or not is_administrator_s or others.exists():
        names = ", ".join(others.order_by("email").values_list("email", flat=True))
        raise PeopleRefused(
            _("Somebody else confirms this, on the page of roles that wait: %(names)s") % {"names": names}
            if names
            else _("This role is confirmed by a second operator or an administrator, on a page.")
        )
    _give(row, None)


@transaction.atomic
def grant_decline(*, grant: RoleGrant, actor: User) -> None:
    """By who could confirm it, or taken back by who asked."""
    row = _open(grant)
    if actor.pk != row.asked_by_id and not grant_deciders(row).filter(pk=actor.pk).exists():
        raise PeopleRefused(_("Your role does not include confirming this one."))
    _decide(row, actor, is_given=False)
    audit.record("role.decline", subject=row.user, actor=actor, clinic=row.clinic, role=row.role)


def _open(grant: RoleGrant) -> RoleGrant:
    # The person first, as whoever sets their roles does: what is read of them from here on stays true.
    User.objects.select_for_update(no_key=True).get(pk=grant.user_id)
    rows = RoleGrant.objects.select_for_update(of=("self",)).select_related("user", "clinic", "asked_by")
    row = rows.get(pk=grant.pk)
    if row.decided_at is not None:
        raise PeopleRefused(_("This was decided already."))
    if row.is_over:
        raise PeopleRefused(_("Nobody confirmed this within seven days. Ask for the role again."))
    return row


def _give(row: RoleGrant, actor: User | None) -> None:
    if not row.user.is_active:
        raise PeopleRefused(_("This account is closed. Open it again first."))
    if not _may_still_ask(row):
        raise PeopleRefused(
            _("Who asked for this role may not ask for it any more. Decline it; somebody else asks again.")
        )
    if row.clinic is None and Membership.objects.filter(user=row.user).exists():
        raise PeopleRefused(_("An operator has no role in a clinic. Use an account of its own."))
    _decide(row, actor, is_given=True)
    if row.clinic is None:
        User.objects.filter(pk=row.user_id).update(is_superuser=True)
    else:
        roles_set(row.clinic, row.user, roles_of(row.clinic, row.user) | {row.role}, actor)
    audit.record(
        "role.give", subject=row.user, actor=actor, clinic=row.clinic, role=row.role, grant=str(row.pk)
    )
    jobs.request(JOB, row.pk)


def _may_still_ask(row: RoleGrant) -> bool:
    """Whether who asked has the role for it today; who asked at the server has no account."""
    if row.asked_by_id is None:
        return True
    may = Q(is_superuser=True)
    if row.role == Role.CLINIC_ADMIN:
        may |= Q(memberships__clinic=row.clinic_id, memberships__role=Role.CLINIC_ADMIN)
    return User.objects.filter(may, pk=row.asked_by_id, is_active=True).exists()


def _decide(row: RoleGrant, actor: User | None, *, is_given: bool) -> None:
    row.decided_at, row.decided_by, row.is_given = timezone.now(), actor, is_given
    row.save(update_fields=["decided_at", "decided_by", "is_given"])


def grant_mails(scope: str) -> jobs.Write:
    """Tells the person and whoever else has a say; a mail that is sent twice does no harm. Raises TryAgain
    where one of them was not told."""
    grant = RoleGrant.objects.select_related("user", "clinic", "asked_by", "decided_by").get(pk=scope)
    url = settings.SITE_URL + reverse("role-grant", args=[grant.pk])
    context = {"grant": grant, "clinic": grant.clinic, "url": url}
    n_missed = 0
    if grant.decided_at is None:
        n_missed = notice_send("role-asked", context, grant_deciders(grant))
        n_missed += notice_send("role-planned", context, [grant.user])
    elif grant.is_given:
        others = administrators(grant.clinic) if grant.clinic else User.objects.filter(is_superuser=True)
        n_missed = notice_send("role-given", context, [grant.user, *others.exclude(pk=grant.user_id)])
    if n_missed:
        raise jobs.TryAgain(NOT_TAKEN)
    return lambda: None


@transaction.atomic
def role_grant(*, clinic: Clinic | None, user: User, role: str, asked_by: User | None) -> RoleGrant | None:
    """Any role, by the operator of the server: at once where nobody has to confirm it (None), or what waits
    now. Raises PeopleRefused for roles that exclude each other."""
    if needs_second(clinic=clinic, role=role):
        return grant_ask(clinic=clinic, user=user, role=role, asked_by=asked_by)
    person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if clinic is not None:
        roles_set(clinic, person, roles_of(clinic, person) | {role}, None)
    elif Membership.objects.filter(user=person).exists():
        raise PeopleRefused(_("An operator has no role in a clinic. Use an account of its own."))
    else:
        User.objects.filter(pk=person.pk).update(is_superuser=True)
        audit.record("role.give", subject=person, role=role)
    return None


@transaction.atomic
def role_revoke(*, clinic: Clinic | None, user: User, role: str) -> None:
    """Takes one role, by the operator of the server, at once."""
    person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if clinic is not None:
        roles_set(clinic, person, roles_of(clinic, person) - {role}, None)
        return
    User.objects.filter(pk=person.pk).update(is_superuser=False)
    audit.record("role.take", subject=person, role=role)
    grants_drop(Q(asked_by=person), None)
    sign_ins_end(user=person)
