"""What a patient agreed to, and how a patient ended it. Rows are only ever added."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from surveys.models.clinic import User
from surveys.models.people import Patient
from surveys.models.responses import Channel
from surveys.models.schedule import ConsentText, Study


class Consent(models.Model):
    """A patient's answer to one declaration, in the wording that was shown. The latest one counts."""

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="consents")
    text = models.ForeignKey(ConsentText, on_delete=models.PROTECT, related_name="+")
    agreed = models.BooleanField()
    at = models.DateTimeField()
    channel = models.CharField(max_length=12, choices=Channel)
    recorded_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Of a consent given on paper"
    )

    def __str__(self) -> str:
        return f"{self.patient_id} {'agreed' if self.agreed else 'declined'} {self.at}"


class Withdrawal(models.Model):
    """The end of a patient's part in a study; it holds for all therapies of the patient in it."""

    class Choice(models.TextChoices):
        STOP = "stop", _("Ask me no more; what I gave may be used")
        EXCLUDE = "exclude", _("Ask me no more, and use nothing of what I gave from now on")
        ERASE = "erase", _("Ask me no more, and erase what I gave")

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="withdrawals")
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="withdrawals")
    choice = models.CharField(max_length=8, choices=Choice)
    at = models.DateTimeField()
    n_erased = models.PositiveIntegerField(default=0, help_text="Responses that were erased because of it")
    recorded_by = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Of a request made on paper"
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(choice__in=["stop", "exclude", "erase"]), name="withdrawal_choice_is_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.patient_id} {self.choice} {self.at}"
