"""Roles that no administrator may give alone, by the operator of the server."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from surveys.models import OPERATOR, Clinic, Membership, Role, RoleGrant, User
from surveys.services.accounts import password_link
from surveys.services.grants import needs_second, role_grant, role_revoke
from surveys.services.people import operator_account
from surveys.services.roles import PeopleRefused


def account(email: str) -> User:
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        raise CommandError("There is no account with this address. An administrator adds it first.")
    return user


def clinic_of_name(name: str) -> Clinic:
    place = Clinic.objects.filter(name=name).first()
    if place is None:
        names = ", ".join(Clinic.objects.order_by("name").values_list("name", flat=True))
        raise CommandError(f"There is no clinic of this name. There are: {names or 'none'}.")
    return place


class Command(BaseCommand):
    help = (
        "Give somebody a role in a clinic, or the operator's (superuser), or take it. A second person "
        "confirms administrators, researchers and operators on a page of the site."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email")
        parser.add_argument("role", choices=[*Role.values, OPERATOR])
        parser.add_argument("--clinic", help="its name; not for an operator")
        parser.add_argument("--by", metavar="EMAIL", help="the operator's account that asks for it")
        parser.add_argument("--revoke", action="store_true", help="take the role, at once")
        parser.add_argument("--base-url", default=settings.SITE_URL, help="instead of SITE_URL")

    @transaction.atomic
    def handle(
        self,
        *_args: object,
        email: str,
        role: str,
        clinic: str | None,
        by: str | None,
        revoke: bool,
        base_url: str,
        **_options: object,
    ) -> None:
        if (role == OPERATOR) != (clinic is None):
            raise CommandError("Name the clinic with --clinic; an operator is one of none.")
        place = clinic_of_name(clinic) if clinic else None
        user = account(email) if place or revoke else _operator(email)
        what = f"the role {role} in {place.name}" if place else "the role of an operator"
        had = (
            Membership.objects.filter(user=user, clinic=place, role=role).exists()
            if place
            else user.is_superuser
        )
        try:
            if revoke:
                role_revoke(clinic=place, user=user, role=role)
            elif not had and (grant := _granted(place, user, role, by)):
                self.stdout.write(f"{user.email} gets {what} once a second person confirms it, at /roles/,")
                self.stdout.write(
                    f"until {grant.ends_at:%Y-%m-%d %H:%M} UTC. Mails about it are on their way."
                )
                self._say_password(user, "")
                return
        except PeopleRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        state = "has no longer" if revoke else "has"
        self.stdout.write(f"{user.email} {state} {what}{', as before' if had != revoke else ''}.")
        if role == OPERATOR and not revoke:
            self._say_password(user, base_url)

    def _say_password(self, user: User, base_url: str) -> None:
        """How who has no password gets one; of an operator to come, once a second person has confirmed it."""
        if user.has_usable_password():
            return
        if base_url:
            self.stdout.write("They set their password once, within three days, here:")
            self.stdout.write(password_link(user, base_url))
        else:
            self.stdout.write(
                "They have no password yet: manage.py password_link prints a link that sets one."
            )


def _operator(email: str) -> User:
    try:
        return operator_account(email)
    except PeopleRefused as refusal:
        raise CommandError(str(refusal)) from refusal


def _granted(place: Clinic | None, user: User, role: str, by: str | None) -> RoleGrant | None:
    asker = _asker(by) if needs_second(clinic=place, role=role) else None
    return role_grant(clinic=place, user=user, role=role, asked_by=asker)


def _asker(by: str | None) -> User | None:
    """Where operators have accounts, who sits at the server says who they are, and another one confirms."""
    operators = User.objects.filter(is_superuser=True, is_active=True)
    if by is None:
        if operators.exists():
            raise CommandError("Say which operator asks: --by EMAIL. Another person confirms it.")
        return None
    asker = operators.filter(email=by.lower()).first()
    if asker is None:
        raise CommandError("--by names no operator's account.")
    return asker
