"""A questionnaire in one version, for one rater, in one language: loaded from an instrument file."""

from functools import cached_property

from django.db import models
from django.db.models import Q

from surveys.ids import uuid7
from surveys.packs import InstrumentFile


class Rater(models.TextChoices):
    PATIENT = "patient", "Patient"
    THERAPIST = "therapist", "Therapist"


class Instrument(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(max_length=40)
    version = models.CharField(max_length=20)
    rater = models.CharField(max_length=12, choices=Rater)
    language = models.CharField(max_length=12)
    definition = models.JSONField(help_text="The validated content of the instrument file; never changed")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "version", "rater", "language"], name="instrument_once"),
            models.CheckConstraint(condition=Q(rater__in=Rater.values), name="instrument_rater_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.code} ({self.rater}, {self.language}, {self.version})"

    @cached_property
    def form(self) -> InstrumentFile:
        return InstrumentFile.from_definition(self.definition)
