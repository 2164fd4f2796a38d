"""A patient's request for all that is kept about them: written down, and answered with one zip file."""

import io
import json
import zipfile
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.template.loader import render_to_string
from django.utils import timezone, translation
from django.utils.translation import gettext_lazy as _

from surveys import audit
from surveys.access_file import access_content
from surveys.models import Fields, Patient, User
from surveys.parts import own_language


class Asked(models.TextChoices):
    """How the patient asked. Words of a letter would be one more text about them to keep."""

    IN_PERSON = "in_person", _("In person, with a document that says who they are")
    IN_WRITING = "in_writing", _("In writing, and the clinic made sure who it was")
    BY_SOMEBODY = "by_somebody", _("By somebody else whom they authorised, shown in writing")


@transaction.atomic
def access_file_make(*, patient: Patient, asked: str, actor: User, at: datetime | None = None) -> bytes:
    """The zip with `data.json` and `data.html`, in the language in which the patient reads forms. That it was
    made stands in the trace as a reading of their answers, so also where the patient sees who looked."""
    now = at or timezone.now()
    with translation.override(_language(patient)):
        content = access_content(patient, now)
        page = render_to_string("surveys/access_file.html", {"file": content})
    audit.record_each(
        "patient.access-file",
        [(patient, {"asked": Asked(asked).value, "identity_checked": True})],
        actor=actor,
        clinic=patient.clinic,
        read=Fields.RATINGS,
    )
    return _zip({"data.json": _json(content), "data.html": page})


def _language(patient: Patient) -> str:
    """The patient's language where the application speaks it; English otherwise."""
    wanted = own_language(patient)
    try:
        return translation.get_supported_language_variant(wanted)
    except LookupError:
        return "en"


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)


def _zip(files: dict[str, str]) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, text in files.items():
            whole.writestr(name, text)
    return stored.getvalue()
