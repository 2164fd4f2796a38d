"""A questionnaire in one version, for one rater, in one language: loaded from an instrument file."""

from functools import cached_property

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User
from surveys.packs import InstrumentFile

# The scale that alliance instruments, and they alone, have in common, and that growth models are fitted to.
OUTCOME_SCALE = "total"


class Rater(models.TextChoices):
    PATIENT = "patient", _("Patient")
    THERAPIST = "therapist", _("Therapist")


class Instrument(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(
        Clinic,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="instruments",
        help_text="Whose upload it is; empty for what ships with the product",
    )
    code = models.CharField(max_length=40)
    version = models.CharField(max_length=20)
    rater = models.CharField(max_length=12, choices=Rater)
    language = models.CharField(max_length=12)
    definition = models.JSONField(help_text="The validated content of the instrument file; never changed")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["clinic", "code", "version", "rater", "language"],
                nulls_distinct=False,
                name="instrument_once",
            ),
            models.CheckConstraint(condition=Q(rater__in=Rater.values), name="instrument_rater_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.code} ({self.rater}, {self.language}, {self.version})"

    @cached_property
    def form(self) -> InstrumentFile:
        return InstrumentFile.from_definition(self.definition)


class Licence(models.Model):
    """A clinic's right to use an instrument's wording in one language. Records are added, never changed."""

    class Use(models.TextChoices):
        CARE = "care", _("Care")
        RESEARCH = "research", _("Research")
        BOTH = "both", _("Care and research")

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="licences")
    code = models.CharField(max_length=40, help_text="Of the instrument, in all its versions")
    rater = models.CharField(
        max_length=12, choices=Rater, blank=True, help_text="Whose form it is for; empty: for both raters"
    )
    language = models.CharField(max_length=12)
    holder = models.CharField(max_length=200, help_text="Who holds the rights")
    reference = models.CharField(max_length=200, help_text="Letter, contract or number that grants the use")
    use = models.CharField(max_length=8, choices=Use, default=Use.BOTH, help_text="What it permits")
    permitted_use = models.TextField(max_length=1000, help_text="The same in the words of the licence")
    valid_from = models.DateField()
    valid_until = models.DateField(null=True, blank=True, help_text="Empty: without an end")
    recorded_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    recorded_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gte=F("valid_from")),
                name="licence_ends_after_its_beginning",
            ),
            models.CheckConstraint(
                condition=Q(use__in=["care", "research", "both"]), name="licence_use_is_known"
            ),
            models.CheckConstraint(condition=Q(rater__in=["", *Rater.values]), name="licence_rater_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.code} ({self.language}) from {self.valid_from}"
