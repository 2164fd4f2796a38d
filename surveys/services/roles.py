"""The roles of one person in one clinic, as they are set; who may ask for that is said elsewhere."""

from collections.abc import Iterable

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit
from surveys.access import Actor
from surveys.models import OPERATOR, Clinic, Membership, Role, RoleGrant, Therapist, User
from surveys.services.api_tokens import tokens_end
from surveys.services.codes import free_code
from surveys.services.sign_ins import sign_ins_end


class PeopleRefused(Exception):
    """Nothing was changed; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


def roles_of(clinic: Clinic, user: User) -> frozenset[str]:
    return frozenset(Membership.objects.filter(clinic=clinic, user=user).values_list("role", flat=True))


def works_elsewhere(clinic: Clinic, user: User) -> bool:
    """Whoever adds somebody of another clinic to their own has not won a say in that one: what holds for the
    whole account is the operator's then."""
    return Membership.objects.filter(user=user).exclude(clinic=clinic).exists()


def refuse_combination(clinic: Clinic, user: User, wanted: Iterable[str]) -> None:
    """Raises PeopleRefused for roles that exclude each other."""
    roles = frozenset(wanted)
    if user.is_superuser and roles:
        raise PeopleRefused(_("This account runs the machine and takes no roles. Use another one."), "email")
    waiting = RoleGrant.objects.filter(user=user, role=OPERATOR, decided_at=None)
    if roles and waiting.filter(asked_at__gt=timezone.now() - RoleGrant.LASTS).exists():
        raise PeopleRefused(
            _("This account is asked for as an operator’s, and that waits for an answer. Use another one."),
            "email",
        )
    treats = Therapist.objects.filter(clinic=clinic, user=user).exists()
    if Role.RESEARCHER in roles and (Role.THERAPIST in roles or treats):
        raise PeopleRefused(
            _(
                "Treating patients and analysing their data exclude each other in one clinic: "
                "the codes would not hide people from somebody who knows them."
            ),
            "roles",
        )


def roles_set(clinic: Clinic, user: User, roles: Iterable[str], actor: Actor | None) -> None:
    """In place of those so far, in the caller's transaction; whoever has none left anywhere is signed out."""
    has, wanted = roles_of(clinic, user), frozenset(map(str, roles))
    refuse_combination(clinic, user, wanted)
    Membership.objects.filter(clinic=clinic, user=user, role__in=has - wanted).delete()
    Membership.objects.bulk_create(
        Membership(clinic=clinic, user=user, role=role) for role in sorted(wanted - has)
    )
    if Role.THERAPIST in wanted and not Therapist.objects.filter(clinic=clinic, user=user).exists():
        Therapist.objects.create(clinic=clinic, user=user, code=free_code(clinic.therapists.all()))
    if has != wanted:
        audit.record(
            "account.roles",
            subject=user,
            actor=actor,
            clinic=clinic,
            given=sorted(wanted - has),
            taken=sorted(has - wanted),
        )
    if Role.CLINIC_ADMIN in has - wanted:
        grants_drop(Q(asked_by=user, clinic=clinic), actor)
    if has and not wanted:
        grants_drop(Q(user=user, clinic=clinic), actor)
    if has and not Membership.objects.filter(user=user).exists():
        sign_ins_end(user=user, actor=actor, clinic=clinic)
        tokens_end(user=user, actor=actor, clinic=clinic)


def grants_drop(of: Q, actor: Actor | None) -> None:
    """Declines those that wait for a second person: who gets the role, or who asked for it, is not there any
    more. Their rows are locked in one order, so that two who leave never wait for each other."""
    rows = RoleGrant.objects.select_for_update(of=("self",)).filter(of, decided_at=None).order_by("pk")
    for row in rows.select_related("user", "clinic"):
        row.decided_at, row.decided_by = timezone.now(), actor if isinstance(actor, User) else None
        row.save(update_fields=["decided_at", "decided_by"])
        audit.record("role.decline", subject=row.user, actor=actor, clinic=row.clinic, role=row.role)
