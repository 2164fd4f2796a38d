"""What is asked of whom and when: study and plan, session log, assignments."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from surveys import planning
from surveys.ids import uuid7
from surveys.models.clinic import Clinic, User
from surveys.models.instruments import Instrument, Rater


class Study(models.Model):
    """Ratings of one kind of care, by a plan. Routine care is a study too.

    What may change between two therapies of a study stands in its versions.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="studies")
    code = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    test_of = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="test_runs",
        help_text="A test run is a study of its own, so that nothing of it mixes with real answers",
    )

    class Meta:
        verbose_name_plural = "studies"
        constraints = [
            models.CheckConstraint(condition=~Q(test_of=F("id")), name="study_is_no_test_of_itself")
        ]

    def __str__(self) -> str:
        return self.code

    @cached_property
    def current(self) -> "StudyVersion | None":
        """The version in force now; None while the study is being set up."""
        return self.versions.filter(active_from__lte=timezone.now()).order_by("active_from").last()

    @property
    def visibility(self) -> str:
        return self.current.visibility if self.current else ""


class StudyVersion(models.Model):
    """Plan, visibility, texts and reminders of a study from one moment on. A trigger freezes it, its lines
    and its texts once it is active; a change is a new version."""

    class Visibility(models.TextChoices):
        BLIND = "blind", _("The therapist never sees the patient's ratings")
        DELAYED = "delayed", _("The therapist sees the patient's ratings after the therapy has ended")
        FEEDBACK = "feedback", _("The therapist sees the patient's rating after giving their own")

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveSmallIntegerField()
    visibility = models.CharField(
        max_length=12, choices=Visibility, blank=True, help_text="Empty only in a draft: there is no default"
    )
    is_open_to_supervisors = models.BooleanField(
        default=False,
        help_text="Whether supervisors see of the patients' ratings what therapists see",
    )
    reminder_hours = ArrayField(
        models.PositiveSmallIntegerField(),
        default=list,
        blank=True,
        help_text="Hours after the invitation; empty: nobody is reminded",
    )
    active_from = models.DateTimeField(null=True, blank=True, help_text="Empty: a draft")
    activated_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "number"], name="study_version_number_once"),
            models.UniqueConstraint(fields=["study", "active_from"], name="study_version_time_once"),
            models.UniqueConstraint(fields=["study"], condition=Q(active_from=None), name="study_draft_once"),
            models.CheckConstraint(
                condition=Q(visibility__in=["blind", "delayed", "feedback"])
                | Q(visibility="", active_from=None),
                name="study_version_visibility_is_known",
            ),
            models.CheckConstraint(
                condition=Q(is_open_to_supervisors=False) | ~Q(visibility="blind"),
                name="study_version_blind_is_blind_for_all",
            ),
            models.CheckConstraint(
                condition=Q(reminder_hours__len__lte=2), name="study_version_reminds_twice_at_most"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.study_id} version {self.number}"

    @property
    def begins(self) -> datetime:
        """Of a version that is or was in force."""
        if self.active_from is None:
            raise ValueError("A draft is not in force.")
        return self.active_from

    @cached_property
    def all_texts(self) -> list["ConsentText"]:
        """Asked for more than once by a page; they are frozen with the version."""
        return list(self.texts.order_by("language"))

    def pure(self) -> planning.PlanVersion:
        """The version as planning reads it, without its lines about practice in general."""
        lines = tuple(line.pure() for line in self.lines.all() if not line.period)
        return planning.PlanVersion(self.begins, lines)


class ConsentText(models.Model):
    """What patients are told before their first form, and what they are asked to agree to."""

    version = models.ForeignKey(StudyVersion, on_delete=models.CASCADE, related_name="texts")
    language = models.CharField(max_length=12)
    information = models.TextField(max_length=20_000, help_text="Who collects what, why, and for how long")
    declaration = models.TextField(
        max_length=4_000, blank=True, help_text="Empty: nobody is asked for consent"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "language"], name="consent_text_once_per_language")
        ]

    def __str__(self) -> str:
        return f"{self.version_id} ({self.language})"


class PlanLine(models.Model):
    """One line of a plan: this instrument at these sessions, at every n-th, or (about practice in general)
    once in a period."""

    class Period(models.TextChoices):
        ENTRY = "entry", _("Once, when the therapist joins the study")
        YEARLY = "yearly", _("Every year")

    version = models.ForeignKey(StudyVersion, on_delete=models.CASCADE, related_name="lines")
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="+")
    arm = models.CharField(max_length=40, blank=True, help_text="Empty: for every therapy of the study")
    sessions = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)
    every = models.PositiveSmallIntegerField(null=True, blank=True)
    period = models.CharField(max_length=8, choices=Period, blank=True)
    tolerance = models.PositiveSmallIntegerField(
        default=0, help_text="A form this many sessions from a listed one still counts for it"
    )
    catch_up = models.BooleanField(
        default=False, help_text="A form that was missed is asked for again at the next sessions within it"
    )
    window_hours = models.PositiveIntegerField(
        default=48, help_text="How long after the session the form stays open"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(every=None, sessions__len__gt=0, period="")
                | Q(every__gte=1, sessions__len=0, period="")
                | Q(every=None, sessions__len=0, period__in=["entry", "yearly"]),
                name="plan_line_has_sessions_interval_or_period",
            ),
            models.CheckConstraint(
                condition=Q(tolerance=0, catch_up=False) | Q(tolerance__range=(1, 5), sessions__len__gt=0),
                name="plan_line_tolerance_is_of_listed_sessions",
            ),
            models.CheckConstraint(condition=Q(window_hours__gte=1), name="plan_line_window_is_open"),
            models.UniqueConstraint(fields=["version", "instrument", "arm"], name="plan_line_once"),
        ]

    def __str__(self) -> str:
        when = self.period or (f"every {self.every}" if self.every else ", ".join(map(str, self.sessions)))
        return f"{self.instrument.code} ({self.instrument.rater}) at {when}"

    def pure(self) -> planning.PlanLine:
        """The line as planning reads it; not for a line with a period."""
        return planning.PlanLine(
            rater=self.instrument.rater,
            instrument=str(self.instrument_id),
            sessions=tuple(self.sessions),
            every=self.every,
            arm=self.arm,
            tolerance=self.tolerance,
            catch_up=self.catch_up,
            window_hours=self.window_hours,
        )


class Session(models.Model):
    """A clinical meeting. Only held sessions have a number; it is derived, never typed."""

    class Status(models.TextChoices):
        HELD = "held", _("Held")
        CANCELLED = "cancelled", _("Cancelled")
        NO_SHOW = "no_show", _("Patient did not come")

    class Reason(models.TextChoices):
        BY_PATIENT = "by_patient", _("Cancelled by the patient")
        BY_THERAPIST = "by_therapist", _("Cancelled by the therapist")
        ILLNESS = "illness", _("Illness")
        HOLIDAY = "holiday", _("Holiday")
        NO_WORD = "no_word", _("No word from the patient")
        TOO_LATE = "too_late", _("Came too late to be seen")
        # Nobody takes a line out of the log; one that should never have been there says so.
        MISTAKE = "mistake", _("Entered by mistake")
        OTHER = "other", _("Another reason")

    class Timing(models.TextChoices):
        EXACT = "exact", _("Day and time are known")
        DAY = "day", _("The day is known")
        ORDER = "order", _("Only its place in the order is known")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    therapy = models.ForeignKey("surveys.Therapy", on_delete=models.PROTECT, related_name="sessions")
    held_at = models.DateTimeField()
    status = models.CharField(max_length=12, choices=Status)
    reason = models.CharField(
        max_length=12, choices=Reason, blank=True, help_text="Why a session was not held, where it is known"
    )
    number = models.PositiveSmallIntegerField(null=True, editable=False)
    timing = models.CharField(
        max_length=5,
        choices=Timing,
        default=Timing.EXACT,
        db_default=Timing.EXACT,
        help_text="What of `held_at` is known: of a session from a file perhaps its place alone",
    )
    batch = models.ForeignKey(
        "surveys.ImportBatch",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="sessions",
    )
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
            models.CheckConstraint(
                condition=Q(reason="") | Q(status__in=["cancelled", "no_show"]),
                name="session_reason_only_when_not_held",
            ),
            models.CheckConstraint(
                condition=Q(timing__in=["exact", "day", "order"]), name="session_timing_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["batch"], condition=Q(batch__isnull=False), name="session_by_import"),
            # When each therapy of a clinic was last held, from the index alone.
            models.Index(fields=["therapy", "held_at"], condition=Q(status="held"), name="session_last_held"),
        ]

    def __str__(self) -> str:
        return f"{self.therapy_id} session {self.number or self.status}"


class Assignment(models.Model):
    """One form due from one rater: for one session, or for a period if it is about practice in general."""

    class State(models.TextChoices):
        DUE = "due", _("Due")
        OPENED = "opened", _("Opened")
        SUBMITTED = "submitted", _("Received")
        DECLINED = "declined", _("Declined")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="assignments")
    version = models.ForeignKey(
        StudyVersion,
        on_delete=models.PROTECT,
        related_name="assignments",
        help_text="Under whose visibility, texts and reminders it was asked for",
    )
    session = models.ForeignKey(
        Session, on_delete=models.PROTECT, null=True, blank=True, related_name="assignments"
    )
    therapist = models.ForeignKey(
        "surveys.Therapist", on_delete=models.PROTECT, null=True, blank=True, related_name="trait_assignments"
    )
    period = models.CharField(
        max_length=20, blank=True, help_text="Of a form about practice in general: entry, year-1, year-2 …"
    )
    occasion = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="The planned session number that the form stands for"
    )
    rater = models.CharField(max_length=12, choices=Rater)
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, related_name="+")
    opens_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    state = models.CharField(max_length=12, choices=State, default=State.DUE)
    batch = models.ForeignKey(
        "surveys.ImportBatch",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="assignments",
        help_text="The file that brought it; nobody was asked for it here",
    )

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
                fields=["study", "therapist", "instrument", "period"], name="assignment_once_per_period"
            ),
            models.CheckConstraint(
                condition=Q(closes_at__gt=F("opens_at")), name="assignment_closes_after_opening"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["due", "opened", "submitted", "declined", "withdrawn"]),
                name="assignment_state_is_known",
            ),
        ]
        indexes = [
            models.Index(fields=["study", "rater", "state"], name="assignment_by_study"),
            models.Index(fields=["study", "opens_at"], name="assignment_by_opening"),
            models.Index(fields=["batch"], condition=Q(batch__isnull=False), name="assignment_by_import"),
        ]

    def __str__(self) -> str:
        return f"{self.instrument_id} for {self.session_id or self.therapist_id}"

    @property
    def period_words(self) -> str:
        """Of a form about practice in general: which of them it is."""
        if self.period == planning.ENTRY:
            return gettext("on joining the study")
        years = self.period.removeprefix("year-")
        if years == self.period or not years.isdigit():
            return self.period
        return ngettext("after {n} year", "after {n} years", int(years)).format(n=years)


class FormLink(models.Model):
    """A link to a patient's form. A message that is sent again carries another one, and both work."""

    class Via(models.TextChoices):
        SCREEN = "screen", _("Shown on screen")
        MAIL = "mail", _("Sent by e-mail")
        PAPER = "paper", _("Printed")
        COMMAND = "command", _("By the operator")

    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="links")
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    via = models.CharField(max_length=8, choices=Via)
    issued_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(via__in=["screen", "mail", "paper", "command"]), name="form_link_via_is_known"
            )
        ]

    def __str__(self) -> str:
        return f"link to {self.assignment_id} ({self.via})"
