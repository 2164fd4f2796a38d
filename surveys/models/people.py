"""Who treats, who is treated, and the treatment episode that joins them."""

from datetime import date

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from surveys.fields import EncryptedText
from surveys.ids import new_code, uuid7
from surveys.models.clinic import Clinic, User
from surveys.models.schedule import Study

# Where a file does not say when a therapy began or ended: no day that could be taken for one.
UNKNOWN_DAY = date(1900, 1, 1)


class Therapist(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="therapists")
    code = models.CharField(max_length=12, default=new_code)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="therapists")
    supervisor = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="supervisees"
    )
    # A choice holds for one person: another supervisor begins with nothing.
    ratings_shared_with = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The supervisor who may see the therapist's own ratings of the alliance",
    )
    practice_shared_with = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The supervisor who may see what the therapist says of their own practice (DPCCQ)",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["clinic", "code"], name="therapist_code_once_per_clinic"),
            models.UniqueConstraint(fields=["clinic", "user"], name="therapist_user_once_per_clinic"),
            models.CheckConstraint(
                condition=Q(user=None) | Q(supervisor=None) | ~Q(user=F("supervisor")),
                name="therapist_is_not_own_supervisor",
            ),
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def shares_ratings(self) -> bool:
        """With the present supervisor: a choice for another one holds no more."""
        return self.supervisor_id is not None and self.ratings_shared_with_id == self.supervisor_id

    @property
    def shares_practice(self) -> bool:
        return self.supervisor_id is not None and self.practice_shared_with_id == self.supervisor_id


class Patient(models.Model):
    """A person treated, known by a random code; no initials, no birth date."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="patients")
    code = models.CharField(max_length=12, default=new_code)
    language = models.CharField(max_length=12, default="en")
    contact = EncryptedText(
        blank=True, help_text="E-mail address for links; encrypted, never part of a dataset"
    )
    contact_at = models.DateTimeField(
        null=True, blank=True, help_text="When the address was entered; empty: not known, or there is none"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["clinic", "code"], name="patient_code_once_per_clinic")
        ]

    def __str__(self) -> str:
        return self.code


class Therapy(models.Model):
    """One treatment episode of a patient with a therapist: the level-2 unit of the models."""

    class EndReason(models.TextChoices):
        COMPLETED = "completed", _("Completed")
        DROPOUT = "dropout", _("Ended early by the patient")
        TRANSFER = "transfer", _("Transferred to another therapist")
        IMPORTED = "imported", _("Taken over from a file; how it ended is not known")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    code = models.CharField(max_length=12, default=new_code, unique=True)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="therapies")
    therapist = models.ForeignKey(Therapist, on_delete=models.PROTECT, related_name="therapies")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="therapies")
    arm = models.CharField(
        max_length=40, blank=True, help_text="Which lines of the study's plan apply, beside the common ones"
    )
    started_on = models.DateField()
    ended_on = models.DateField(null=True, blank=True)
    end_reason = models.CharField(max_length=12, choices=EndReason, blank=True)
    previous = models.OneToOneField(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="next",
        help_text="The therapy that was transferred to this therapist",
    )
    stopped_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when the patient wants to be asked no more"
    )
    excluded_at = models.DateTimeField(
        null=True, blank=True, help_text="Since when its answers are in no dataset and no model"
    )
    batch = models.ForeignKey(
        "surveys.ImportBatch", on_delete=models.PROTECT, null=True, blank=True, related_name="therapies"
    )
    # Written by triggers in the transaction that changes a session; no service writes it.
    last_held_at = models.DateTimeField(
        null=True, editable=False, help_text="Of its last held session; the database keeps it"
    )

    class Meta:
        verbose_name_plural = "therapies"
        constraints = [
            models.CheckConstraint(
                condition=Q(ended_on=None, end_reason="")
                | (Q(ended_on__gte=F("started_on")) & ~Q(end_reason="")),
                name="therapy_end_has_date_and_reason",
            ),
            models.UniqueConstraint(
                fields=["patient", "study"],
                condition=Q(ended_on=None),
                name="therapy_open_once_per_patient_and_study",
            ),
        ]
        indexes = [
            # As `surveys.selectors.LAST_HELD_FIRST`.
            models.Index(
                F("ended_on").desc(nulls_first=True),
                F("last_held_at").desc(nulls_last=True),
                "code",
                name="therapy_last_held_first",
            )
        ]

    def __str__(self) -> str:
        return self.code

    @property
    def known_start(self) -> date | None:
        return None if self.started_on == UNKNOWN_DAY else self.started_on

    @property
    def known_end(self) -> date | None:
        return None if self.ended_on == UNKNOWN_DAY else self.ended_on
