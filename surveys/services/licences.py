"""The register of licences: what a clinic was granted, by whom, for how long."""

from datetime import date

from django.db import transaction

from surveys import audit
from surveys.access import Actor
from surveys.models import Clinic, Licence, User


@transaction.atomic
def licence_record(
    *,
    clinic: Clinic,
    actor: Actor,
    code: str,
    language: str,
    holder: str,
    reference: str,
    permitted_use: str,
    use: str = Licence.Use.BOTH,
    rater: str = "",
    valid_from: date,
    valid_until: date | None = None,
) -> Licence:
    """Adds a record; the newest of a reference counts, so that the same reference again corrects it."""
    licence = Licence.objects.create(
        clinic=clinic,
        code=code,
        rater=rater,
        language=language,
        use=use,
        holder=holder,
        reference=reference,
        permitted_use=permitted_use,
        valid_from=valid_from,
        valid_until=valid_until,
        recorded_by=actor if isinstance(actor, User) else None,
    )
    audit.record("licence.record", subject=licence, actor=actor, clinic=clinic, code=code, language=language)
    return licence
