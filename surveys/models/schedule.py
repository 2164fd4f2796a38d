"""What is asked of whom and when: study and plan, session log, assignments."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from surveys import planning
from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User
from surveys.models.instruments import Instrument, Rater


class Study(models.Model):
    """A plan of ratings and who may see them. Routine care is a study too."""

    class Visibility(models.TextChoices):
        BLIND = "blind", "The therapist never sees the patient's ratings"
        DELAYED = "delayed", "The therapist sees the patient's ratings after the therapy has ended"
        FEEDBACK = "feedback", "The therapist sees the patient's rating after giving their own"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="studies")
    code = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    visibility = models.CharField(max_length=12, choices=Visibility)

    class Meta:
        verbose_name_plural = "studies"
        constraints = [
            models.CheckConstraint(
                condition=Q(visibility__in=["blind", "delayed", "feedback"]), name="study_visibility_is_known"
            )
        ]

    def __str__(self) -> str:
        return self.code


class PlanLine(models.Model):
    """One line of a study's plan: this instrument at these sessions (or at every n-th)."""

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="plan_lines")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="+")
    arm = models.CharField(max_length=40, blank=True, help_text="Empty: for every therapy of the study")
    sessions = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)
    every = models.PositiveSmallIntegerField(null=True, blank=True)
    window_hours = models.PositiveIntegerField(
        default=48, help_text="How long after the session the form stays open"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(every=None, sessions__len__gt=0) | Q(every__gte=1, sessions__len=0),
                name="plan_line_has_sessions_or_interval",
            ),
            models.CheckConstraint(condition=Q(window_hours__gte=1), name="plan_line_window_is_open"),
            models.UniqueConstraint(fields=["study", "instrument", "arm"], name="plan_line_once"),
        ]

    def __str__(self) -> str:
        when = f"every {self.every}" if self.every else ", ".join(map(str, self.sessions))
        return f"{self.instrument.code} ({self.instrument.rater}) at {when}"

    def pure(self) -> planning.PlanLine:
        return planning.PlanLine(
            rater=self.instrument.rater,
            instrument=str(self.instrument_id),
            sessions=tuple(self.sessions),
            every=self.every,
            arm=self.arm,
            window_hours=self.window_hours,
        )


class Session(models.Model):
    """A clinical meeting. Only held sessions have a number; it is derived, never typed."""

    class Status(models.TextChoices):
        HELD = "held", "Held"
        CANCELLED = "cancelled", "Cancelled"
        NO_SHOW = "no_show", "Patient did not come"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    therapy = models.ForeignKey("surveys.Therapy", on_delete=models.PROTECT, related_name="sessions")
    held_at = models.DateTimeField()
    status = models.CharField(max_length=12, choices=Status)
    number = models.PositiveSmallIntegerField(null=True, editable=False)
    closed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    closed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            # Deferred: a late entry renumbers the sessions after it inside one transaction.
            models.UniqueConstraint(
                fields=["therapy", "number"],
                name="session_number_once",
                deferrable=models.Deferrable.DEFERRED,
            ),
            models.UniqueConstraint(fields=["therapy", "held_at"], name="session_time_once"),
            models.CheckConstraint(
                condition=Q(status="held", number__gte=1)
                | Q(status__in=["cancelled", "no_show"], number=None),
                name="session_number_only_when_held",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.therapy_id} session {self.number or self.status}"


class Assignment(models.Model):
    """One form due from one rater: for one session, or for a period if it is about practice in general."""

    class State(models.TextChoices):
        DUE = "due", "Due"
        OPENED = "opened", "Opened"
        SUBMITTED = "submitted", "Received"
        DECLINED = "declined", "Declined"
        WITHDRAWN = "withdrawn", "Withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="assignments")
    session = models.ForeignKey(
        Session, on_delete=models.PROTECT, null=True, blank=True, related_name="assignments"
    )
    therapist = models.ForeignKey(
        "surveys.Therapist", on_delete=models.PROTECT, null=True, blank=True, related_name="trait_assignments"
    )
    period = models.CharField(
        max_length=20, blank=True, help_text="Of a form about practice in general, e.g. 2026"
    )
    rater = models.CharField(max_length=12, choices=Rater)
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="+")
    opens_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=State, default=State.DUE)
    # Null and not empty where there is no link: many rows have none, and the links are unique.
    token_hash = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(session__isnull=False, therapist=None, period="")
                | (Q(session=None, therapist__isnull=False, rater="therapist") & ~Q(period="")),
                name="assignment_of_a_session_or_a_period",
            ),
            models.UniqueConstraint(
                fields=["session", "rater", "instrument"], name="assignment_once_per_session"
            ),
            models.UniqueConstraint(
                fields=["therapist", "instrument", "period"], name="assignment_once_per_period"
            ),
            models.CheckConstraint(
                condition=Q(closes_at__gt=F("opens_at")), name="assignment_closes_after_opening"
            ),
            models.CheckConstraint(
                condition=Q(token_hash=None) | Q(rater="patient"), name="assignment_link_is_for_patients"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["due", "opened", "submitted", "declined", "withdrawn"]),
                name="assignment_state_is_known",
            ),
        ]
        indexes = [models.Index(fields=["study", "rater", "state"], name="assignment_by_study")]

    def __str__(self) -> str:
        return f"{self.instrument_id} for {self.session_id or self.therapist_id}"
