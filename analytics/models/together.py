"""What is said of many people together, renewed in batches."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from surveys.models import Clinic, Rater, Study, User


class PracticeBasis(models.Model):
    """Which scores the comparison of therapists with the others of their clinic is made of, for one scale of
    a form about practice in general: the latest of every therapist, as of one moment. Renewed only in batches
    (`analytics.services.practice_bands`). Holds no value: one that is erased is gone from the comparison."""

    clinic = models.ForeignKey(Clinic, on_delete=models.CASCADE, related_name="+")
    instrument = models.CharField(max_length=40)
    minimum = models.SmallIntegerField(help_text="Of the answer scale, as maximum")
    maximum = models.SmallIntegerField()
    scale = models.CharField(max_length=40)
    scores = ArrayField(models.BigIntegerField(), help_text="Ids of scores, one of each therapist")
    made_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "practice bases"
        constraints = [
            models.UniqueConstraint(
                fields=["clinic", "instrument", "minimum", "maximum", "scale"], name="practice_basis_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.clinic_id} {self.instrument} {self.scale}: {len(self.scores)}"


class Panel(models.Model):
    """What is said of the ratings of a clinic's or a team's patients together, with one form, as of one
    moment. Only ever added, and only when enough new forms came in (`analytics.services.panels`), so that no
    two in a row differ by one form. The newest counts."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    supervisor = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        help_text="Of whose team; empty: of the whole clinic",
    )
    rater = models.CharField(max_length=12, choices=Rater)
    instrument = models.CharField(max_length=40)
    figures = models.JSONField(
        help_text="Numbers as `analytics.disclosure.Figures` names them, or what it lacks"
    )
    made_at = models.DateTimeField(help_text="The moment that it is of; what came later is not in it")

    class Meta:
        indexes = [
            models.Index(fields=["study", "supervisor", "rater", "instrument", "-id"], name="panel_latest")
        ]

    def __str__(self) -> str:
        return f"{self.study_id} {self.rater} {self.instrument} as of {self.made_at}"
