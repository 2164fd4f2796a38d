"""Taking somebody's second factor away, who lost the phone: one administrator asks, another one confirms."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q

from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User

# A request that nobody confirmed is over; whoever still needs it asks again.
RESET_DAYS = timedelta(days=7)


class FactorReset(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="factor_resets")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", help_text="Whose factor it is")
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    settled_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    settled_at = models.DateTimeField(
        null=True, help_text="When it was confirmed or dropped; empty: it waits"
    )
    is_done = models.BooleanField(default=False, help_text="Confirmed: the factor was taken away")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["clinic", "user"], condition=Q(settled_at=None), name="factor_reset_waits_once"
            ),
            models.CheckConstraint(
                condition=~Q(user=F("asked_by")) & (Q(settled_by=None) | ~Q(user=F("settled_by"))),
                name="factor_reset_is_by_others",
            ),
            models.CheckConstraint(
                condition=Q(is_done=False)
                | (Q(settled_at__isnull=False, settled_by__isnull=False) & ~Q(asked_by=F("settled_by"))),
                name="factor_reset_is_by_two",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.clinic}"
