"""What the models are made of and what they found. Sums follow the ratings; a fit is added, never changed."""

from django.db import models
from django.db.models import Q

from surveys.ids import uuid7
from surveys.models import Rater, Study, Therapist, Therapy


class RatingChange(models.Model):
    """Something of a therapy's ratings is new, gone or moved since its sums were made.

    Written by database triggers in the transaction of the change, whoever makes it; only ever added, so that
    no two changes wait for each other, and deleted by those who make the sums.
    """

    # A mark outlives its therapy: what is gone must leave the sums as well.
    study = models.ForeignKey(Study, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+")
    therapy = models.ForeignKey(
        Therapy, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.therapy_id} of {self.study_id}"


class TherapySums(models.Model):
    """All that the models need of one therapy's ratings by one rater on one scale: number, means, and
    corrected sums of squares and products of time and rating y, for each coding of time
    (`analytics.dataset.CODINGS`). Made by `analytics.services.sums`."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, db_index=False, related_name="+")
    perspective = models.CharField(max_length=12, choices=Rater, help_text="Whose ratings are summed")
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    therapy = models.ForeignKey(Therapy, on_delete=models.CASCADE, related_name="+")
    therapist = models.ForeignKey(Therapist, on_delete=models.CASCADE, db_index=False, related_name="+")
    n = models.PositiveIntegerField()
    mean_time = models.FloatField()
    mean_y = models.FloatField()
    css_time = models.FloatField(help_text="Sum of (time - mean_time)^2")
    csp = models.FloatField(help_text="Sum of (time - mean_time) (y - mean_y)")
    css_y = models.FloatField(help_text="Sum of (y - mean_y)^2")
    mean_log = models.FloatField(help_text="As mean_time, of the logarithm of the session")
    css_log = models.FloatField(help_text="As css_time, of the logarithm of the session")
    csp_log = models.FloatField(help_text="As csp, of the logarithm of the session")

    class Meta:
        verbose_name_plural = "therapy sums"
        constraints = [
            models.UniqueConstraint(
                fields=["study", "perspective", "instrument", "scale", "therapy"],
                # How many ratings a study has is counted whenever sums are made.
                include=["n"],
                name="therapy_sums_once",
            ),
            models.CheckConstraint(condition=Q(n__gte=1), name="therapy_sums_of_a_rating"),
            models.CheckConstraint(
                condition=Q(css_time__gte=0, css_log__gte=0, css_y__gte=0),
                name="therapy_sums_of_squares_are_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.therapy_id} {self.perspective} {self.scale}: {self.n}"


class RatingCount(models.Model):
    """How many ratings the sums of a study hold, by rater, form and scale. Every page of a therapy asks; made
    with the sums, so that nobody counts them again."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, db_index=False, related_name="+")
    perspective = models.CharField(max_length=12, choices=Rater)
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    n = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "perspective", "instrument", "scale"], name="rating_count_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.perspective} {self.scale}: {self.n}"


class GrowthFit(models.Model):
    """One growth model of one study, for the ratings by one rater on one scale, in one coding of time."""

    class Status(models.TextChoices):
        OK = "ok", "Fitted"
        SINGULAR = "singular", "Fitted; a variance is estimated as zero"
        NOT_CONVERGED = "not_converged", "The estimation did not settle"
        NO_VARIATION = "no_variation", "All ratings are the same"
        INSUFFICIENT_DATA = "insufficient_data", "Too few ratings"
        TIMED_OUT = "timed_out", "The estimation took too long"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="growth_fits")
    perspective = models.CharField(max_length=12, choices=Rater, help_text="Whose ratings are modelled")
    instrument = models.CharField(max_length=40)
    scale = models.CharField(max_length=40)
    coding = models.CharField(max_length=12, default="linear", help_text="How the model counts time")
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
                fields=["study", "perspective", "instrument", "coding", "scale", "-fitted_at"],
                name="growth_fit_latest",
            )
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.perspective} {self.scale}: {self.status}"
