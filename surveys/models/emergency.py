"""That an operator opened one patient's pages in an emergency, why, and who was told."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q

from surveys.fields import EncryptedText
from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User
from surveys.models.people import Patient


class EmergencyAccess(models.Model):
    LASTS = timedelta(minutes=30)
    LEAST_REASON = 20

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="emergencies")
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="emergencies")
    reason = EncryptedText(help_text="In the operator’s words; on the clinic’s page of its trace")
    told = models.JSONField(
        help_text="Ids of the accounts that are to get a mail about it, two at least;"
        " the trace says who got it"
    )
    began_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(
        null=True, help_text="Before its time, by the operator or because not two people could be told"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("began_at"), ends_at__lte=F("began_at") + timedelta(minutes=30)),
                name="emergency_lasts_half_an_hour",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.by} at {self.began_at}"
