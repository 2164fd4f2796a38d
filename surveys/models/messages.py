"""The log of what was sent to patients: when and what for, never a link and never an address."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.models.clinic import User
from surveys.models.schedule import Assignment


class Message(models.Model):
    """One e-mail about one form. Each is sent at most once: a worker that dies while sending leaves it
    `unsure`, and a person decides whether to send another."""

    class Kind(models.TextChoices):
        INVITATION = "invitation", _("Invitation")
        REMINDER = "reminder", _("Reminder")

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENDING = "sending", _("Being sent")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Not sent")
        UNSURE = "unsure", _("Perhaps sent")
        NOT_NEEDED = "not_needed", _("No longer needed")

    class Problem(models.TextChoices):
        """Why it was not sent: what `error` holds, and never the words of a mail server with the address."""

        NO_SITE = "no_site", _("The site does not know its own address. Ask the operator to set SITE_URL.")
        NO_SERVER = "no_server", _("The mail server cannot be reached, or does not let this site in.")
        ADDRESS = "address", _("The mail server does not accept the patient’s address. Please check it.")
        REFUSED = "refused", _("The mail server does not accept the message.")
        BROKEN = (
            "broken",
            _("An error kept it from being sent; the operator of the site finds it in the log."),
        )
        LOST = "lost", _("The connection broke, or the sending stopped, before the mail server had answered.")

    assignment = models.ForeignKey(Assignment, on_delete=models.CASCADE, related_name="messages")
    kind = models.CharField(max_length=12, choices=Kind)
    number = models.PositiveSmallIntegerField(help_text="1, 2, … of this kind for this form")
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    due_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=200, blank=True)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["assignment", "kind", "number"], name="message_once"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "sending", "sent", "failed", "unsure", "not_needed"]),
                name="message_state_is_known",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["invitation", "reminder"]), name="message_kind_is_known"
            ),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(state="waiting"), name="message_waiting")]

    def __str__(self) -> str:
        return f"{self.kind} {self.number} for {self.assignment_id}: {self.state}"

    @property
    def problem(self) -> str:
        """Why it was not sent, as a sentence; empty where nothing went wrong."""
        return str(self.Problem(self.error).label) if self.error else ""
