"""Roles that one person gives and another one confirms."""

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from surveys.ids import uuid7
from surveys.models.clinic import Clinic, Role, User

# An account that runs the machine is no role of a clinic, and is confirmed as one.
OPERATOR = "superuser"


class RoleGrant(models.Model):
    """A role that somebody asked for on behalf of another; it holds once a second person has confirmed it."""

    LASTS = timedelta(days=7)
    ROLES = (
        (Role.CLINIC_ADMIN.value, Role.CLINIC_ADMIN.label),
        (Role.RESEARCHER.value, Role.RESEARCHER.label),
        (OPERATOR, _("Operator of the server")),
    )

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_grants")
    clinic = models.ForeignKey(
        Clinic, on_delete=models.PROTECT, null=True, related_name="role_grants", help_text="Empty: operator"
    )
    role = models.CharField(max_length=20, choices=ROLES)
    asked_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Empty: at the server, where no operator has an account",
    )
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Empty: at the server"
    )
    decided_at = models.DateTimeField(null=True)
    is_given = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(role=OPERATOR, clinic=None)
                | Q(role__in=[Role.CLINIC_ADMIN, Role.RESEARCHER], clinic__isnull=False),
                name="grant_role_has_its_place",
            ),
            models.CheckConstraint(
                condition=Q(is_given=False)
                | (
                    Q(decided_at__isnull=False)
                    & (
                        Q(decided_by=None)
                        | (~Q(decided_by=F("user")) & (Q(asked_by=None) | ~Q(decided_by=F("asked_by"))))
                    )
                ),
                name="grant_given_by_a_second_person",
            ),
            # Of an operator the clinic is empty, and two empty ones are not the same to the database.
            models.UniqueConstraint(
                fields=["user", "clinic", "role"], condition=Q(decided_at=None), name="grant_asked_once"
            ),
            models.UniqueConstraint(
                fields=["user", "role"],
                condition=Q(decided_at=None, clinic=None),
                name="grant_of_operator_asked_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"

    @property
    def ends_at(self) -> datetime:
        return self.asked_at + self.LASTS

    @property
    def is_over(self) -> bool:
        return timezone.now() >= self.ends_at
