"""The people of a clinic: patients under a code, and staff with their roles."""

from collections.abc import Collection

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from surveys import audit, scope
from surveys.access import Actor
from surveys.models import AuditEvent, Clinic, Membership, Patient, Role, Therapist, User
from surveys.readiness import form_languages
from surveys.services.codes import free_code
from surveys.services.grants import grant_ask, needs_second
from surveys.services.instruments import built_in_load
from surveys.services.roles import PeopleRefused, roles_of, roles_set, works_elsewhere
from surveys.services.sign_ins import sign_ins_end

# The role that sees coded data is not the clinic's own to give: an operator grants it.
GRANTABLE = (Role.THERAPIST, Role.SUPERVISOR, Role.CLINIC_ADMIN)


@transaction.atomic
def clinic_create(*, name: str, contact: str, admin_email: str, admin_name: str = "") -> tuple[Clinic, User]:
    """A clinic with its first administrator, who sets a password by a link; the forms that ship with the
    product are there from then on."""
    if Clinic.objects.filter(name=name).exists():
        raise PeopleRefused(_("There is a clinic of this name already. Choose another name."), "name")
    built_in_load()
    clinic = Clinic.objects.create(name=name, contact=contact)
    audit.record("clinic.create", subject=clinic, clinic=clinic)
    user = _account(admin_email, admin_name)
    roles_set(clinic, user, {Role.CLINIC_ADMIN}, None)
    return clinic, user


def operator_account(email: str) -> User:
    """The account that is to be an operator's: one that is there, or a new one without a role or a password.
    Raises PeopleRefused for what is no e-mail address."""
    _refuse_address(email, "email")
    return _account(email, "")


@transaction.atomic
def clinic_describe(*, clinic: Clinic, name: str, contact: str, actor: Actor | None = None) -> Clinic:
    """Name and contact as patients read them from now on. Raises PeopleRefused for another clinic's name."""
    if Clinic.objects.filter(name=name).exclude(pk=clinic.pk).exists():
        raise PeopleRefused(_("There is a clinic of this name already. Choose another name."), "name")
    row = Clinic.objects.select_for_update(no_key=True).get(pk=clinic.pk)
    before, row.name, row.contact = (row.name, row.contact), name, contact
    if before != (name, contact):
        row.save(update_fields=["name", "contact"])
        audit.record("clinic.describe", subject=row, actor=actor, clinic=row, name=name, contact=contact)
    return row


@transaction.atomic
def patient_add(*, clinic: Clinic, language: str, contact: str = "", actor: Actor | None = None) -> Patient:
    """A new patient under a code of their own. Raises PeopleRefused for what is no e-mail address."""
    _refuse_language(language)
    if contact:
        _refuse_address(contact, "contact")
    patient = Patient.objects.create(
        clinic=clinic,
        code=free_code(clinic.patients.all()),
        language=language,
        contact=contact,
        contact_at=timezone.now() if contact else None,
    )
    audit.record(
        "patient.add", subject=patient, actor=actor, clinic=clinic, language=language, contact=bool(contact)
    )
    return patient


@transaction.atomic
def patient_language_set(*, patient: Patient, language: str, actor: Actor | None = None) -> Patient:
    """The language that the patient's forms and mails begin in."""
    _refuse_language(language)
    row = Patient.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=patient.pk)
    if row.language != language:
        row.language = language
        row.save(update_fields=["language"])
        audit.record("patient.language", subject=row, actor=actor, clinic=row.clinic, language=language)
    return row


@transaction.atomic
def staff_add(
    *, clinic: Clinic, email: str, name: str, roles: Collection[str], actor: Actor | None = None
) -> User:
    """An account with roles in the clinic; somebody who has an account elsewhere keeps it and its name. To
    whom nothing but the role of administrator is given, an account without a role stands ready until a second
    person has confirmed it.

    Raises PeopleRefused, e.g. for somebody who works in the clinic already.
    """
    _refuse_address(email, "email")
    user = User.objects.select_for_update(no_key=True).get(pk=_account(email, name).pk)
    if user.is_superuser:
        raise PeopleRefused(_("This account runs the machine and takes no roles. Use another one."), "email")
    if Membership.objects.filter(clinic=clinic, user=user).exists():
        raise PeopleRefused(
            _("Somebody with this address works in the clinic already. Open their account instead."), "email"
        )
    if not user.is_active:
        _reopen(clinic, user, actor)
    _staff_roles_set(clinic, user, roles, actor)
    return user


@transaction.atomic
def staff_roles_set(
    *, clinic: Clinic, user: User, roles: Collection[str], actor: Actor | None = None
) -> None:
    """The roles of somebody else in the clinic, in place of those so far; that of an administrator is asked
    for, and holds once another administrator has confirmed it.

    Raises PeopleRefused for one's own, for a researcher's account, for roles that an administrator may not
    grant, and where nothing but the wait would be left.
    """
    if frozenset(roles) == {Role.CLINIC_ADMIN.value} and Role.CLINIC_ADMIN not in roles_of(clinic, user):
        raise PeopleRefused(
            _("The role of administrator waits for a second person. Leave another role until then."), "roles"
        )
    _staff_roles_set(clinic, user, roles, actor)


def _staff_roles_set(clinic: Clinic, user: User, roles: Collection[str], actor: Actor | None) -> None:
    person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    wanted = frozenset(roles)
    if actor == person:
        raise PeopleRefused(_("Nobody changes their own roles. Ask another administrator."))
    if roles_of(clinic, person) & {Role.RESEARCHER}:
        raise PeopleRefused(_("A researcher’s account is kept by whoever runs the server."))
    if not wanted or wanted - frozenset(GRANTABLE):
        raise PeopleRefused(_("Choose at least one of the roles."), "roles")
    waits = (wanted - roles_of(clinic, person)) & {Role.CLINIC_ADMIN.value}
    if waits and needs_second(clinic=clinic, role=Role.CLINIC_ADMIN):
        asked_by = actor if isinstance(actor, User) else None
        grant_ask(clinic=clinic, user=person, role=Role.CLINIC_ADMIN, asked_by=asked_by)
        wanted -= waits
    roles_set(clinic, person, wanted, actor)


@transaction.atomic
def staff_leave(*, clinic: Clinic, user: User, actor: Actor | None = None) -> None:
    """Takes all roles in the clinic, at once; an account without a role anywhere is closed."""
    person = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if actor == person:
        raise PeopleRefused(_("Nobody closes their own account. Ask another administrator."))
    if roles_of(clinic, person) & {Role.RESEARCHER}:
        raise PeopleRefused(_("A researcher’s account is kept by whoever runs the server."))
    roles_set(clinic, person, (), actor)
    if not Membership.objects.filter(user=person).exists():
        User.objects.filter(pk=person.pk).update(is_active=False)
        audit.record("account.close", subject=person, actor=actor, clinic=clinic)


@transaction.atomic
def staff_sign_out(*, clinic: Clinic, user: User, actor: Actor | None = None) -> int:
    """Ends all sessions of somebody; how many there were. Raises PeopleRefused for who also works in another
    clinic."""
    if works_elsewhere(clinic, user):
        raise PeopleRefused(
            _("This person also works in another clinic. The operator of this site ends their sessions.")
        )
    return sign_ins_end(user=user, actor=actor, clinic=clinic)


@transaction.atomic
def supervisor_set(*, therapist: Therapist, supervisor: User | None, actor: Actor | None = None) -> None:
    """Who supervises a therapist: somebody with that role in the clinic, and not the therapist."""
    row = Therapist.objects.select_for_update(of=("self",)).select_related("clinic").get(pk=therapist.pk)
    if supervisor is not None and (
        supervisor.pk == row.user_id or Role.SUPERVISOR not in roles_of(row.clinic, supervisor)
    ):
        raise PeopleRefused(_("Choose one of the supervisors, and somebody else."), "supervisor")
    if row.supervisor_id != (supervisor.pk if supervisor else None):
        row.supervisor = supervisor
        # What was shared was shared with one person; the next one begins with nothing.
        row.ratings_shared_with = row.practice_shared_with = None
        row.save(update_fields=["supervisor", "ratings_shared_with", "practice_shared_with"])
        audit.record(
            "therapist.supervisor",
            subject=row,
            actor=actor,
            clinic=row.clinic,
            supervisor=str(supervisor.pk) if supervisor else "",
        )


def _account(email: str, name: str) -> User:
    address = User.objects.normalize_email(email).lower()
    user = User.objects.filter(email=address).first()
    return user or User.objects.create_user(address, name=name)


@scope.everything()
def _reopen(clinic: Clinic, user: User, actor: Actor | None) -> None:
    """Closed when they left the last clinic, the account opens again; closed by the operator, it does not. Of
    the two, the first alone is the newest thing in the trace that happened to the account, and a clinic's."""
    acts = ("account.close", "account.open", "account.roles", "role.give", "role.take")
    of_account = AuditEvent.objects.filter(subject=f"user:{user.pk}", act__in=acts)
    newest = of_account.order_by("-pk").first()
    was_left = newest is not None and newest.act == "account.close" and newest.clinic_id is not None
    if not was_left or Membership.objects.filter(user=user).exists():
        raise PeopleRefused(
            _("The operator of this site closed this account, and can open it again. Ask them first."),
            "email",
        )
    User.objects.filter(pk=user.pk).update(is_active=True)
    audit.record("account.open", subject=user, actor=actor, clinic=clinic)


def _refuse_language(language: str) -> None:
    if language not in form_languages():
        raise PeopleRefused(_("Choose one of the languages."), "language")


def _refuse_address(address: str, field: str) -> None:
    try:
        validate_email(address)
    except ValidationError as error:
        raise PeopleRefused(_("Enter one e-mail address, like name@example.org."), field) from error
