"""What the models found. A fit is added, never changed."""

from django.db import models
from django.db.models import Q

from surveys.ids import uuid7
from surveys.models import Rater, Study


class GrowthFit(models.Model):
    """One growth model of one study, for the ratings by one rater on one scale."""

    class Status(models.TextChoices):
        OK = "ok", "Fitted"
        SINGULAR = "singular", "Fitted; a variance is estimated as zero"
        NOT_CONVERGED = "not_converged", "The estimation did not settle"
        NO_VARIATION = "no_variation", "All ratings are the same"
        INSUFFICIENT_DATA = "insufficient_data", "Too few ratings"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="growth_fits")
    perspective = models.CharField(max_length=12, choices=Rater, help_text="Whose ratings are modelled")
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    status = models.CharField(max_length=20, choices=Status)
    message = models.CharField(max_length=500, blank=True)
    spec = models.JSONField()
    result = models.JSONField(
        null=True, help_text="Estimates with their provenance; empty where there are none"
    )
    read_at = models.DateTimeField(help_text="When the ratings were read")
    data_fingerprint = models.CharField(max_length=64)
    n_ratings = models.PositiveIntegerField()
    n_therapies = models.PositiveIntegerField()
    n_therapists = models.PositiveIntegerField()
    engine_version = models.CharField(max_length=40)
    seconds = models.FloatField()
    fitted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(result__isnull=False) | ~Q(status__in=["ok", "singular"]),
                name="growth_fit_has_a_result",
            ),
        ]
        indexes = [
            models.Index(
                fields=["study", "perspective", "instrument", "scale", "-fitted_at"], name="growth_fit_latest"
            )
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.perspective} {self.scale}: {self.status}"
