"""What people chose and did about possible dips. The dips themselves are not rows: they follow from the
ratings that a reader may see (`analytics.dips`)."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.fields import EncryptedText
from surveys.models import Response, Study, User


class DipRules(models.Model):
    """By which rules a study's possible dips are looked for, from a moment on; the newest counts. Only ever
    added. Without a row it is `analytics.dips.DEFAULT`."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    rules = ArrayField(
        models.CharField(max_length=20), blank=True, help_text="Codes of `analytics.dips.RULES`; empty: none"
    )
    chosen_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    chosen_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "dip rules"

    def __str__(self) -> str:
        return f"{self.study_id}: {', '.join(self.rules) or 'none'}"


class DipReview(models.Model):
    """What a therapist did about one possible dip: a rating, and the rule that points at it. Only ever added;
    it goes only with the response. No row: the dip is new."""

    class State(models.TextChoices):
        SEEN = "seen", _("Seen")
        ACTED = "acted", _("Acted on")
        DISMISSED = "dismissed", _("Dismissed")

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    rule = models.CharField(max_length=20)
    state = models.CharField(max_length=12, choices=State)
    reason = EncryptedText(
        max_length=1000, blank=True, help_text="What was done, or why it was dismissed; empty only if seen"
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="seen", reason="") | (Q(state__in=["acted", "dismissed"]) & ~Q(reason="")),
                name="dip_review_has_its_reason",
            )
        ]

    def __str__(self) -> str:
        return f"{self.response_id} {self.rule}: {self.state}"


class DipTally(models.Model):
    """How often each rule points at a rating of a study, and what became of it, as of one moment. Made again
    only in batches of ratings (`analytics.services.dip_tally`), so that nothing can be told of one form."""

    study = models.OneToOneField(Study, on_delete=models.CASCADE, related_name="+")
    counted_at = models.DateTimeField()
    fitted_at = models.DateTimeField(null=True, help_text="Of the oldest model used; empty: there was none")
    n_ratings = models.PositiveIntegerField(help_text="Patients' ratings that their therapists may see")
    rules = ArrayField(models.CharField(max_length=20), blank=True, help_text="Those in force at that time")
    counts = models.JSONField(help_text="By the rule's code: numbers, as `DipCount` names them")

    class Meta:
        verbose_name_plural = "dip tallies"

    def __str__(self) -> str:
        return f"{self.study_id} as of {self.counted_at}"
