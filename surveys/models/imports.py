"""Ratings that were collected before this site: the file that brought them, how it was read, what became of
it."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.fields import EncryptedBytes, EncryptedText, EncryptedWithin
from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User
from surveys.models.people import Patient, Therapist
from surveys.models.schedule import Study


class ImportBatch(models.Model):
    """One file and what was made of it. Everything that it brought in points here, so that it can be taken
    out again as a whole."""

    class State(models.TextChoices):
        OPEN = "open", _("Not stored yet")
        STORED = "stored", _("Stored")
        DROPPED = "dropped", _("Dropped before it was stored")
        UNDONE = "undone", _("Taken out again")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="imports")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="imports")
    file_name = EncryptedText(
        max_length=200,
        help_text="As the browser named it, perhaps after people; nothing follows from it",
    )
    sha256 = models.CharField(max_length=64)
    n_bytes = models.PositiveBigIntegerField()
    kind = models.CharField(max_length=4, choices=[("csv", "CSV"), ("sav", "SPSS")])
    head = EncryptedText(
        blank=True, help_text="Columns, labels and first rows as JSON; emptied with the file itself"
    )
    mapping = models.JSONField(
        default=dict, help_text="As `surveys.imports.mapping.Mapping` writes it; empty: not chosen yet"
    )
    counts = models.JSONField(
        default=dict, help_text="What the last check of the whole file found; empty: not checked yet"
    )
    consent = EncryptedText(
        max_length=2000, blank=True, help_text="Under which consent the data were collected, in words"
    )
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    uploaded_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    uploaded_at = models.DateTimeField(auto_now_add=True)
    stored_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    stored_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True, help_text="When it was dropped or taken out again")

    class Meta:
        verbose_name_plural = "import batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["open", "dropped"], stored_at=None)
                | (Q(state__in=["stored", "undone"], stored_at__isnull=False) & ~Q(consent="")),
                name="import_stored_has_its_consent",
            ),
            models.CheckConstraint(condition=Q(kind__in=["csv", "sav"]), name="import_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} into {self.study_id}"


class ImportChunk(models.Model):
    """About a megabyte of the file, encrypted; gone once the batch is stored or dropped."""

    batch = models.ForeignKey(ImportBatch, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    content = EncryptedBytes()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "number"], name="import_chunk_once")]

    def __str__(self) -> str:
        return f"{self.batch_id}: {self.number}"


class ImportRejection(models.Model):
    """One form of the file that is not taken over, and why."""

    # What stood in the cell: of a column that was chosen wrongly, anything about anybody.
    CELL = ("value",)

    batch = models.ForeignKey(ImportBatch, on_delete=models.CASCADE, related_name="rejections")
    row = models.PositiveIntegerField(help_text="As a spreadsheet counts: the names of the columns are row 1")
    column = models.CharField(max_length=120, blank=True)
    reason = models.CharField(max_length=40, help_text="A code of `surveys.imports.reasons`")
    values = EncryptedWithin(
        default=dict, names=CELL, help_text="Of the sentence; what stood in the cell is encrypted"
    )

    class Meta:
        indexes = [models.Index(fields=["batch", "row", "id"], name="import_rejection_by_row")]

    def __str__(self) -> str:
        return f"{self.batch_id} row {self.row}: {self.reason}"


class ImportMapping(models.Model):
    """How files with certain columns are read, under a name; offered for the next file with the same ones."""

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="import_mappings")
    name = models.CharField(max_length=80)
    columns_sha256 = models.CharField(max_length=64)
    mapping = models.JSONField()
    saved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    saved_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["clinic", "name"], name="import_mapping_once_per_clinic")
        ]

    def __str__(self) -> str:
        return self.name


class ImportedPerson(models.Model):
    """Who a code of a file stands for here. The code is kept encrypted, so that a second file about the same
    people finds them; it is shown nowhere and stands in no dataset."""

    batch = models.ForeignKey(ImportBatch, on_delete=models.PROTECT, related_name="people")
    patient = models.OneToOneField(Patient, on_delete=models.PROTECT, null=True, related_name="imported")
    therapist = models.OneToOneField(Therapist, on_delete=models.PROTECT, null=True, related_name="imported")
    code = EncryptedText()

    class Meta:
        verbose_name_plural = "imported people"
        constraints = [
            models.CheckConstraint(
                condition=Q(patient=None, therapist__isnull=False) | Q(patient__isnull=False, therapist=None),
                name="imported_person_is_one_of_both",
            )
        ]

    def __str__(self) -> str:
        return f"person of {self.batch_id}"
