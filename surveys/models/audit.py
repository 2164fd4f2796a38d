"""Who did or read what. Rows are only ever added: triggers refuse change and deletion."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from surveys.models.clinic import Clinic, Role, User

# What an operator reads with two people told of it is read in no role of a clinic.
EMERGENCY = "emergency"


class Fields(models.TextChoices):
    """What kind of thing somebody read; never what it said."""

    RATINGS = "ratings", _("Ratings and answers")
    PROGRESS = "progress", _("Sessions and forms")
    IDENTITY = "identity", _("Who somebody is")
    PRACTICE = "practice", _("What a therapist says of their practice")
    RESULTS = "results", _("Results of analyses")
    CODED = "coded", _("Coded data")
    TRACE = "trace", _("This trace")


class AuditEvent(models.Model):
    at = models.DateTimeField(auto_now_add=True, db_index=True)
    act = models.CharField(max_length=40, help_text="e.g. response.submit, therapy.view, ratings.export")
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="+",
        help_text="Empty: by a patient's link, or by the system",
    )
    role = models.CharField(
        max_length=20,
        blank=True,
        choices=[*Role.choices, (EMERGENCY, _("Emergency"))],
        help_text="In which the person acted; empty outside of a page",
    )
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, null=True, db_index=False, related_name="+")
    subject = models.CharField(max_length=80, help_text="Kind and id of the row, e.g. therapy:0190...")
    # No foreign key: the trace outlives the people of a test run.
    patient = models.UUIDField(null=True, help_text="Id of the one patient whom the act was about")
    fields = models.CharField(
        max_length=12, blank=True, choices=Fields, help_text="What kind of thing was read; empty: a change"
    )
    status = models.PositiveSmallIntegerField(
        null=True, help_text="403 or 404 where it was refused; empty: it was done"
    )
    request = models.UUIDField(null=True, help_text="What one request did has one id; its answer carries it")
    detail = models.JSONField(default=dict, help_text="Never an answer, a score or a token")

    class Meta:
        indexes = [
            models.Index(fields=["subject"], name="audit_by_subject"),
            models.Index(fields=["clinic", "id"], name="audit_by_clinic"),
            models.Index(fields=["actor", "id"], name="audit_by_actor"),
            models.Index(fields=["patient", "id"], name="audit_by_patient"),
            # A few rows of a million, which every page about therapists one by one asks for.
            models.Index(
                fields=["subject", "act"],
                condition=models.Q(act__in=["therapist.sharing", "therapist.supervisor"]),
                name="audit_of_supervision",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at} {self.act} {self.subject}"


class AuditSeal(models.Model):
    """A batch of rows of the trace under one hash that holds all before it (`surveys.sealing`)."""

    number = models.PositiveIntegerField(primary_key=True)
    made_at = models.DateTimeField()
    rows = models.JSONField(help_text="Ids as ranges: [[first, last], ...], rising")
    digests = models.BinaryField(help_text="16 bytes for each row, in the order of the ids")
    last_id = models.BigIntegerField(help_text="The highest id under this seal and all before it")
    sha256 = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"
