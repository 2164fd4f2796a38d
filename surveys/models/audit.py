"""Who did what to which row. Rows are only ever added: triggers refuse change and deletion."""

from django.db import models

from surveys.models.clinic import Clinic, User


class AuditEvent(models.Model):
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    act = models.CharField(max_length=40, help_text="e.g. response.submit, therapy.view, ratings.export")
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        help_text="Empty: by a patient's link, or by the system",
    )
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, null=True, related_name="+")
    subject = models.CharField(max_length=80, help_text="Kind and id of the row, e.g. therapy:0190...")
    detail = models.JSONField(default=dict, help_text="Never an answer, a score or a token")

    class Meta:
        indexes = [models.Index(fields=["subject"], name="audit_by_subject")]

    def __str__(self) -> str:
        return f"{self.at} {self.act} {self.subject}"
