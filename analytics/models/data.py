"""Data that leave the live tables: a study's data frozen at one moment, and files made of them that people
ask for. The bytes lie in the database, so that every container reads them and a backup holds them."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.ids import uuid7
from surveys.models import Study, User


class Snapshot(models.Model):
    """A study's data as they were at one moment, under pseudonyms of their own: what every analysis of the
    research desk is computed from, and every file is made of. Its job is `freeze` with this id; frozen once
    `read_at` is set, and then never changed. Gone (`erased_at`) once data of one of its patients are erased.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="snapshots")
    number = models.PositiveIntegerField(help_text="Of the study's snapshots, from 1")
    selection = models.JSONField(
        default=dict, help_text="Which therapies, as `analytics.selection.Selection` writes it"
    )
    asked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Empty: the operator"
    )
    asked_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, help_text="The moment that the data are of")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of its frozen tables, one after another")
    counts = models.JSONField(default=dict, help_text="Numbers, as `analytics.services.freeze` names them")
    patients = ArrayField(models.UUIDField(), default=list, help_text="Whose data are in it")
    erased_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "number"], name="snapshot_number_once"),
            models.CheckConstraint(
                condition=Q(read_at=None, sha256="") | (Q(read_at__isnull=False) & ~Q(sha256="")),
                name="snapshot_has_its_hash",
            ),
        ]

    def __str__(self) -> str:
        return f"snapshot {self.number} of {self.study_id}"


class Export(models.Model):
    """A file of a snapshot that somebody asked for: approved by a second person, built by the job `export`
    with this id, there to be fetched until it expires. Asked for again it is built to the same bytes."""

    class Tier(models.TextChoices):
        SCORES = "scores", _("Scale scores, without dates")
        ITEMS = "items", _("Every answer, with dates")

    class Decision(models.TextChoices):
        APPROVED = "approved", _("Approved")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="exports")
    tier = models.CharField(max_length=8, choices=Tier)
    purpose = models.TextField(max_length=1000)
    agreement = models.CharField(
        max_length=200, blank=True, help_text="Of every answer: where the signed agreement about it is kept"
    )
    asked_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Empty: the operator"
    )
    asked_at = models.DateTimeField()
    decision = models.CharField(max_length=12, choices=Decision, blank=True)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)
    reason = models.TextField(max_length=1000, blank=True)
    report = models.JSONField(default=dict, help_text="What the disclosure check found")
    built_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the file")
    confirmed_at = models.DateTimeField(
        null=True, help_text="When who asked gave their password to fetch the file as it was built"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(decision="", decided_at=None) | (~Q(decision="") & Q(decided_at__isnull=False)),
                name="export_decision_has_its_time",
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None)
                | Q(asked_by=None)
                | ~Q(decided_by=models.F("asked_by"))
                | Q(decision="withdrawn"),
                name="export_is_decided_by_a_second_person",
            ),
            models.CheckConstraint(condition=Q(tier__in=["scores", "items"]), name="export_tier_is_known"),
            models.CheckConstraint(
                condition=~Q(tier="items") | ~Q(agreement=""), name="export_of_items_has_an_agreement"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.tier} of {self.snapshot_id}"


class ExportApproval(models.Model):
    """That somebody agrees to a file leaving. How many of these it takes, and whose, says
    `analytics.services.exports`; a trigger refuses that of who asked for the file."""

    export = models.ForeignKey(Export, on_delete=models.PROTECT, related_name="approvals")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    is_admin = models.BooleanField(help_text="As administrator of the clinic, not as another researcher")
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["export", "by"], name="export_approval_once")]

    def __str__(self) -> str:
        return f"{self.by_id} to {self.export_id}"


class StoredFile(models.Model):
    """Bytes of a snapshot or an export (`analytics.storage` writes and reads them)."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.CASCADE, null=True, related_name="files")
    export = models.ForeignKey(Export, on_delete=models.CASCADE, null=True, related_name="files")
    name = models.CharField(max_length=80)
    n_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(snapshot=None, export__isnull=False) | Q(snapshot__isnull=False, export=None),
                name="stored_file_has_one_owner",
            ),
            models.UniqueConstraint(
                fields=["snapshot", "export", "name"], nulls_distinct=False, name="stored_file_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StoredChunk(models.Model):
    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["file", "number"], name="stored_chunk_once")]

    def __str__(self) -> str:
        return f"{self.file_id}: {self.number}"
