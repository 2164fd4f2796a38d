"""What programs hold that speak to the API: what a token is for, and the keys of what they sent."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from knox.models import AuthToken

from surveys.ids import uuid7
from surveys.models.clinic import User


class Scope(models.TextChoices):
    """What a token may be used for, within what its owner may do."""

    PATIENTS_READ = "patients:read", _("Read the codes of patients")
    PATIENTS_WRITE = "patients:write", _("Enter patients")
    THERAPIES_READ = "therapies:read", _("Read therapies")
    THERAPIES_WRITE = "therapies:write", _("Begin therapies")
    SESSIONS_READ = "sessions:read", _("Read session logs and which forms are in")
    SESSIONS_WRITE = "sessions:write", _("Enter sessions")
    FORMS_READ = "forms:read", _("Read questionnaires")
    RATINGS_READ = "ratings:read", _("Read ratings that you may see")
    STUDIES_READ = "studies:read", _("Read the list of studies")
    DATASETS_READ = "datasets:read", _("Read what was frozen of studies, and fetch approved files")
    DATASETS_WRITE = "datasets:write", _("Freeze data of studies, and ask for files")


class ApiToken(models.Model):
    """Beside a token of knox, which keeps hash, owner and expiry: its name, and what it is for. A token
    without this row, such as that of the demonstration, may do all that its owner may."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    token = models.OneToOneField(AuthToken, on_delete=models.CASCADE, related_name="line")
    name = models.CharField(max_length=80)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the hour")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(scopes__len__gte=1), name="api_token_is_for_something"),
        ]

    def __str__(self) -> str:
        return self.name


class ClientKey(models.Model):
    """The key under which a program sent something once: sent again, it adds nothing."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.UUIDField()
    digest = models.CharField(max_length=64, help_text="Of what was sent, under the key of the site")
    made = models.UUIDField(null=True, help_text="Id of the row that came of it")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="client_key_once")]

    def __str__(self) -> str:
        return str(self.key)
