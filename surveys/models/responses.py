"""What was answered: the form while it is open, the response once it is received, its scores."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.ids import new_receipt_code, uuid7
from surveys.models.clinic import User
from surveys.models.instruments import Instrument
from surveys.models.schedule import Assignment


class Sharing(models.TextChoices):
    NONE = "none", _("Nothing")
    SCORES = "scores", _("My scores")
    ANSWERS = "answers", _("My scores and each answer")


class Channel(models.TextChoices):
    LINK = "link", _("Link")
    TABLET = "tablet", _("Tablet of the clinic")
    STAFF = "staff", _("After signing in")
    PAPER = "paper", _("Paper, entered by staff")
    IMPORT = "import", _("Taken over from a file")


class Opening(models.Model):
    """An assignment begun in one browser. Only that browser is shown the answers given in it."""

    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="openings")
    browser_hash = models.CharField(max_length=64)
    client_key = models.UUIDField(default=uuid.uuid4, unique=True)
    device = models.CharField(max_length=12)
    channel = models.CharField(max_length=12, choices=Channel, default=Channel.LINK)
    language = models.CharField(max_length=12, blank=True, help_text="In which the form is shown here")
    opened_at = models.DateTimeField()
    sharing = models.CharField(
        max_length=8, choices=Sharing, blank=True, help_text="Chosen on this page while the form is open"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["assignment", "browser_hash"], name="opening_once_per_browser")
        ]

    def __str__(self) -> str:
        return f"{self.assignment_id} on {self.device}"


class DraftAnswer(models.Model):
    """One answer of a form that is not yet sent; deleted when it is."""

    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="drafts")
    opening = models.ForeignKey(Opening, on_delete=models.CASCADE, related_name="drafts")
    item = models.PositiveSmallIntegerField()
    value = models.SmallIntegerField()
    saved_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["assignment", "item"], name="draft_once_per_item")]

    def __str__(self) -> str:
        return f"{self.assignment_id} item {self.item}"


class Response(models.Model):
    """A received form. Append-only: a database trigger refuses a change of what was answered."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="response")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="+")
    answers = models.JSONField(
        help_text="Item number to value, or -99 skipped, -98 prefer not to answer, -97 not shown"
    )
    elsewhere = models.JSONField(
        default=list, help_text="Items that were answered in another browser than the one that sent the form"
    )
    client_key = models.UUIDField(unique=True)
    receipt_code = models.CharField(max_length=9, default=new_receipt_code)
    layout = models.CharField(max_length=12, default="cards")
    device = models.CharField(max_length=12)
    channel = models.CharField(max_length=12, choices=Channel)
    language = models.CharField(max_length=12, blank=True, help_text="In which the form was shown when sent")
    entered_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Who typed in a form that was filled on paper",
    )
    with_staff_session = models.BooleanField(
        default=False, help_text="A member of staff was signed in on the same browser"
    )
    started_at = models.DateTimeField()
    submitted_at = models.DateTimeField(db_index=True)
    sharing = models.CharField(
        max_length=8, choices=Sharing, help_text="What the patient lets the therapist see"
    )
    reveal_at = models.DateTimeField(
        null=True, blank=True, help_text="When the therapist had given or declined their own rating"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(sharing__in=Sharing.values), name="response_sharing_is_known"),
            models.CheckConstraint(condition=Q(channel__in=Channel.values), name="response_channel_is_known"),
            models.CheckConstraint(
                condition=Q(channel="paper", entered_by__isnull=False)
                | (~Q(channel="paper") & Q(entered_by=None)),
                name="response_on_paper_was_entered_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(submitted_at__gte=models.F("started_at")), name="response_sent_after_start"
            ),
        ]
        indexes = [models.Index(fields=["reveal_at"], name="response_by_reveal")]

    def __str__(self) -> str:
        return f"response to {self.assignment_id}"


class Score(models.Model):
    """One scale of one response. `mean` is the item mean, null where too few items were answered, or where
    a file that gave scores without answers did not give it."""

    # The scoring version of a score that was not made here.
    GIVEN = "given"

    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="scores")
    scale = models.CharField(max_length=40)
    mean = models.FloatField(null=True)
    n_answered = models.PositiveSmallIntegerField(
        null=True, help_text="Null where a file gave the score without the answers"
    )
    n_items = models.PositiveSmallIntegerField()
    scoring_version = models.CharField(max_length=20)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["response", "scale"], name="score_once_per_scale"),
            models.CheckConstraint(
                condition=Q(n_answered__lte=models.F("n_items")), name="score_answered_within_items"
            ),
            models.CheckConstraint(
                condition=Q(mean=None) | Q(n_answered__gte=1), name="score_needs_an_answer"
            ),
            models.CheckConstraint(
                condition=Q(n_answered__isnull=False) | Q(scoring_version="given"),
                name="score_counts_its_answers",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scale} {self.mean}"
