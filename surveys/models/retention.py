"""How long a clinic keeps what it may choose about. Rows are only ever added, and approved once."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.models.clinic import Clinic, User


class KeepRule(models.Model):
    """How long rows of one class are kept, as somebody wished it; in force once approved, until the next one
    of the class is. Without a row all are kept."""

    class Kind(models.TextChoices):
        """The codes of `surveys.retention.CHOSEN`."""

        ANSWERS = "answers", _("Answers and results, of patients and therapists")
        CONTACTS = "contacts", _("Patients’ e-mail addresses")
        MESSAGES = "messages", _("The list of e-mails sent")
        IMPORTS = "imports", _("Imported files that are not stored, and rejected rows")

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="keep_rules")
    kind = models.CharField(max_length=12, choices=Kind)
    days = models.PositiveIntegerField(null=True, help_text="Empty: kept for good")
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    proposed_at = models.DateTimeField()
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    approved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["answers", "contacts", "messages", "imports"]),
                name="keep_rule_kind_is_known",
            ),
            models.CheckConstraint(condition=Q(days=None) | Q(days__gte=30), name="keep_rule_is_not_at_once"),
        ]
        indexes = [models.Index(fields=["clinic", "kind", "-id"], name="keep_rule_latest")]

    def __str__(self) -> str:
        return f"{self.clinic_id} {self.kind}: {self.days or 'kept'}"
