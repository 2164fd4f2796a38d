"""The research desk: questions asked of frozen data, what was fixed before they were asked, what was
published, and plans of further studies."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from analytics.models.data import Snapshot
from surveys.ids import uuid7
from surveys.models import Study, User


class AnalysisLock(models.Model):
    """A model and the rules of leaving data out, fixed before the data were looked at. Only ever added."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="analysis_locks")
    title = models.CharField(max_length=120)
    spec = models.JSONField(help_text="As `analytics.research.spec.AnalysisSpec` writes it")
    exclusions = models.TextField(
        max_length=4000, blank=True, help_text="In words: what is left out, and why"
    )
    sha256 = models.CharField(max_length=64, help_text="Of title, spec and exclusions in one canonical form")
    locked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    locked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.title} ({self.locked_at})"


class Analysis(models.Model):
    """One question asked of one snapshot; the job `analyse` with this id answers it, once."""

    class Status(models.TextChoices):
        ANSWERED = "answered", _("Answered")
        REFUSED = "refused", _("The data cannot carry it")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="analyses")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="analyses")
    number = models.PositiveIntegerField(help_text="Of the study's analyses, from 1")
    title = models.CharField(max_length=120)
    spec = models.JSONField(help_text="As `analytics.research.spec.AnalysisSpec` writes it")
    spec_sha256 = models.CharField(max_length=64)
    lock = models.ForeignKey(AnalysisLock, on_delete=models.PROTECT, null=True, related_name="analyses")
    asked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Empty: the operator"
    )
    asked_at = models.DateTimeField()
    status = models.CharField(max_length=12, choices=Status, blank=True, help_text="Empty: not done yet")
    message = models.CharField(max_length=500, blank=True)
    result = models.JSONField(null=True, help_text="As `analytics.research.run` writes it")
    engine_version = models.CharField(max_length=40, blank=True)
    seconds = models.FloatField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "analyses"
        constraints = [
            models.UniqueConstraint(fields=["study", "number"], name="analysis_number_once"),
            models.CheckConstraint(
                condition=Q(status="", result__isnull=True)
                | Q(status="answered", result__isnull=False)
                | Q(status="refused"),
                name="analysis_has_its_result",
            ),
        ]

    def __str__(self) -> str:
        return f"analysis {self.number} of {self.study_id}"


class PublishedTable(models.Model):
    """A table of an analysis under a permanent address. A newer version is added; one that is withdrawn
    leaves its stone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="published_tables")
    code = models.SlugField(max_length=40, help_text="Of all versions; the address")
    version = models.PositiveIntegerField()
    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="published_tables")
    title = models.CharField(max_length=200)
    content = models.JSONField(help_text="What the table shows, as it was published")
    sha256 = models.CharField(max_length=64, help_text="Of the content in one canonical form")
    published_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    published_at = models.DateTimeField()
    withdrawn_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True)
    reason = models.TextField(max_length=1000, blank=True, help_text="Why it was withdrawn")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code", "version"], name="published_table_version_once"),
            models.CheckConstraint(
                condition=Q(withdrawn_at=None, reason="") | (Q(withdrawn_at__isnull=False) & ~Q(reason="")),
                name="published_table_withdrawn_with_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} version {self.version}"


class PowerPlan(models.Model):
    """How often a planned study would show an effect: simulated by the job `plan` with this id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="power_plans")
    number = models.PositiveIntegerField(help_text="Of the study's plans, from 1")
    title = models.CharField(max_length=120)
    spec = models.JSONField(help_text="Truth, designs and seed, as `analytics.research.plan` writes them")
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    result = models.JSONField(null=True)
    engine_version = models.CharField(max_length=40, blank=True)
    seconds = models.FloatField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["study", "number"], name="power_plan_number_once")]

    def __str__(self) -> str:
        return f"plan {self.number} of {self.study_id}"
