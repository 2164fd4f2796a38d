"""What the papers say of the site: read from its settings and rows at the moment they are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from surveys.access import Actor
from surveys.clinic_access import administered_studies
from surveys.keeping import rules_in_force
from surveys.models import Clinic, KeepRule, Rater, Study, StudyVersion
from surveys.plans import in_words
from surveys.retention import CHOSEN
from surveys.retention_forms import time_words
from surveys.session_store import LONGEST
from surveys.views.notices import who_sees_patient


@dataclass(frozen=True)
class StudyFacts:
    """A study as it is in force."""

    study: Study
    name: str
    visibility: str
    patients_read: str
    is_blind: bool
    forms: Sequence[tuple[str, str, bool]]
    """Title, plan in words, and whether patients fill it."""
    reminders: Sequence[int]
    asks_consent: bool


@dataclass(frozen=True)
class Facts:
    clinic: Clinic
    at: datetime
    studies: Sequence[StudyFacts]
    kept: Sequence[tuple[str, str]]
    """Label of a class and how long it is kept, in words."""
    mail_server: str
    is_https: bool
    has_backup_key: bool
    has_pseudonym_key: bool
    sends_heads: bool
    opens_in_emergencies: bool
    """Not where no mail would tell anybody."""
    idle_minutes: int
    """After which a session without a request ends; the next, at the latest after the sign-in."""
    longest_hours: int
    provider: str
    """Of the organisation, by which people may sign in; empty: none."""
    believes_provider: bool
    """That it asked for a second factor."""


def facts(user: Actor, clinic: Clinic) -> Facts:
    rules = rules_in_force(clinic)
    found = [
        study_facts(study, study.current)
        for study in administered_studies(user).filter(clinic=clinic).order_by("code")
        if study.current is not None
    ]
    return Facts(
        clinic=clinic,
        at=timezone.now(),
        studies=found,
        kept=[(str(kind.label), time_words(rules.get(kind.value))) for kind in map(KeepRule.Kind, CHOSEN)],
        mail_server="" if settings.MAIL_STAYS_HERE else settings.EMAIL_HOST,
        is_https=settings.HTTPS,
        has_backup_key=bool(settings.BACKUP_KEY),
        has_pseudonym_key=bool(settings.PSEUDONYM_KEY),
        sends_heads=bool(settings.AUDIT_HEAD_TO),
        opens_in_emergencies=not settings.MAIL_STAYS_HERE or settings.DEMO,
        idle_minutes=settings.SESSION_COOKIE_AGE // 60,
        longest_hours=int(LONGEST.total_seconds()) // 3600,
        provider=settings.OIDC_NAME,
        believes_provider=settings.OIDC_MFA,
    )


def study_facts(study: Study, version: StudyVersion) -> StudyFacts:
    lines = version.lines.select_related("instrument").order_by("instrument__code", "pk")
    return StudyFacts(
        study=study,
        name=study.name,
        visibility=version.get_visibility_display(),
        patients_read=who_sees_patient(version),
        is_blind=version.visibility == StudyVersion.Visibility.BLIND,
        forms=[
            (line.instrument.form.title, in_words(line), line.instrument.rater == Rater.PATIENT)
            for line in lines
        ],
        reminders=version.reminder_hours,
        asks_consent=version.texts.exclude(declaration="").exists(),
    )


def reminder_words(hours: Sequence[int]) -> str:
    if not hours:
        return _("Nobody is reminded.")
    words = [ngettext("%(n)s hour", "%(n)s hours", n) % {"n": n} for n in hours]
    return _("Reminders go out after: %(hours)s.") % {"hours": ", ".join(words)}


def yes_no(is_so: bool) -> str:
    return _("yes") if is_so else _("no")
