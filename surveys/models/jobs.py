"""The job list and the signs of life of those who work on it."""

from django.db import models
from django.db.models import Q


class Job(models.Model):
    """Work to be done once for (kind, scope), whatever number of changes asked for it."""

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    kind = models.CharField(max_length=40)
    scope = models.CharField(max_length=80)
    state = models.CharField(max_length=12, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()
    requested_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(
        default=0, help_text="Grows with every claim; a result is written only by the last one"
    )
    finished_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    # Of long kinds alone: how far the work is, and whether somebody wants it ended.
    stage = models.CharField(max_length=40, blank=True, db_default="", help_text="A code of the kind's own")
    n_done = models.PositiveIntegerField(db_default=0)
    n_total = models.PositiveIntegerField(db_default=0, help_text="0: not known")
    cancel_at = models.DateTimeField(null=True, help_text="When somebody asked for its end")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "scope"], condition=Q(state="pending"), name="job_pending_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "running", "done", "failed", "cancelled"]),
                name="job_state_is_known",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state__in=["pending", "running"]), name="job_open"),
            models.Index(fields=["kind", "scope", "-id"], name="job_by_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.scope}: {self.state}"

    @property
    def is_open(self) -> bool:
        return self.state in (Job.State.PENDING, Job.State.RUNNING)


class Heartbeat(models.Model):
    """When a part of the system was last seen at work."""

    part = models.CharField(primary_key=True, max_length=20)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.part} {self.at}"
