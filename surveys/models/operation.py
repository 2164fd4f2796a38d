"""What was done to keep the data safe. Rows are only ever added."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class BackupRun(models.Model):
    """One backup, drill or restoration of the whole database, and how it ended."""

    class Kind(models.TextChoices):
        BACKUP = "backup", _("Backup")
        DRILL = "drill", _("Restore drill")
        RESTORE = "restore", _("Restoration")

    kind = models.CharField(max_length=8, choices=Kind)
    is_good = models.BooleanField(help_text="Every check passed")
    began_at = models.DateTimeField()
    seconds = models.FloatField(help_text="How long it took")
    taken_at = models.DateTimeField(null=True, help_text="The moment that the data in the file are of")
    file = models.CharField(max_length=200, help_text="Its name, without the folder")
    n_bytes = models.PositiveBigIntegerField(null=True)
    n_rows = models.PositiveBigIntegerField(null=True, help_text="In all tables of the backup")
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["backup", "drill", "restore"]), name="backup_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(is_good=True, problem="") | (Q(is_good=False) & ~Q(problem="")),
                name="backup_failed_with_a_reason",
            ),
        ]
        indexes = [models.Index(fields=["kind", "-began_at"], name="backup_by_kind")]

    def __str__(self) -> str:
        return f"{self.kind} {self.file}: {'good' if self.is_good else self.problem}"
