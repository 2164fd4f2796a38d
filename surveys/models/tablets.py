"""Tablets of a clinic, and the codes that bring one form onto one of them."""

from django.db import models
from django.db.models import F, Q

from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User
from surveys.models.schedule import Assignment


class Tablet(models.Model):
    """A device that the clinic hands to patients; known by the secret in its cookie."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="tablets")
    name = models.CharField(max_length=80)
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    pin_hash = models.CharField(
        max_length=200, editable=False, help_text="Of the PIN that leaves the lock page"
    )
    enrolled_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    enrolled_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    code_misses = models.PositiveIntegerField(default=0, help_text="Wrong start codes since a right one")
    code_wait_until = models.DateTimeField(null=True, blank=True, help_text="Until then no code is looked at")
    pin_misses = models.PositiveIntegerField(default=0)
    pin_wait_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class StartCode(models.Model):
    """Six digits that open one form once, on any tablet of the clinic, for some minutes."""

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="start_codes")
    code_hash = models.CharField(max_length=64, editable=False)
    issued_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    tablet = models.ForeignKey(Tablet, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["clinic", "code_hash"], condition=Q(used_at=None), name="start_code_once_while_unused"
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("issued_at")), name="start_code_expires"),
            models.CheckConstraint(
                condition=Q(used_at=None, tablet=None) | Q(used_at__isnull=False),
                name="start_code_on_a_tablet_is_used",
            ),
        ]

    def __str__(self) -> str:
        return f"code for {self.assignment_id}"
