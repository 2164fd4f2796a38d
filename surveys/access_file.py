"""All that is kept about one patient, as they may ask for it: one structure, of which the JSON file and the
readable page are made.

`INCLUDED` and `LEFT_OUT` name every model from which a way leads to a patient; a test fails on one in
neither.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Prefetch
from django.utils.translation import gettext, gettext_lazy

from surveys import hindrances
from surveys.models import (
    Assignment,
    Consent,
    FormLink,
    Message,
    Patient,
    Rater,
    Response,
    Session,
    Therapy,
    Withdrawal,
)
from surveys.parts import MISSING
from surveys.scoring import NOT_SHOWN
from surveys.sentences import translated
from surveys.trace_access import reading_days

# By model, under which name its rows stand in the file.
INCLUDED: Mapping[str, str] = {
    "surveys.Patient": "patient",
    "surveys.ImportedPerson": "patient",
    "surveys.Consent": "consents",
    "surveys.Withdrawal": "withdrawals",
    "surveys.Therapy": "therapies",
    "surveys.Session": "therapies.sessions",
    "surveys.Assignment": "therapies.sessions.forms",
    "surveys.FormLink": "therapies.sessions.forms.links",
    "surveys.Message": "therapies.sessions.forms.messages",
    "surveys.DraftAnswer": "therapies.sessions.forms.begun",
    "surveys.Opening": "therapies.sessions.forms.opened",
    "surveys.Response": "therapies.sessions.forms.received",
    "surveys.Score": "therapies.sessions.forms.received.scores",
    "surveys.AuditEvent": "looked_at",
}
_NOTES = gettext_lazy(
    "The therapist’s own ratings of the therapy, and what the therapist wrote for themselves about them. "
    "They are the therapist’s private notes; ask the clinic about them."
)
_MODELS = gettext_lazy(
    "What was computed from the answers of many patients together. No single person can be read from it."
)
_TECHNICAL = gettext_lazy(
    "Technical marks, such as the hash of a link, of a code for a tablet or of a browser. They say nothing "
    "that is not in this file."
)
# By model, why its rows do not stand in the file: these sentences stand there instead.
LEFT_OUT: Mapping[str, Any] = {
    "analytics.DipReview": _NOTES,
    "analytics.TherapySums": _MODELS,
    "analytics.RatingChange": _TECHNICAL,
    # The reading itself is among those who looked, by role and day.
    "surveys.EmergencyAccess": _TECHNICAL,
    "surveys.StartCode": _TECHNICAL,
}

Content = dict[str, Any]


def access_content(patient: Patient, made_at: datetime) -> Content:
    """In the language that is active. Times are aware, texts of forms in the language in which they were
    shown."""
    therapies = list(_therapies(patient))
    return {
        "made_at": made_at,
        "clinic": {"name": patient.clinic.name, "contact": patient.clinic.contact},
        "patient": _person(patient),
        "consents": [_consent(row) for row in patient.consents.select_related("text__version__study")],
        "withdrawals": [_withdrawal(row) for row in patient.withdrawals.select_related("study")],
        "therapies": [_therapy(row) for row in therapies],
        "looked_at": [{"role": role, "days": days} for role, days in reading_days(patient)],
        "frozen": _frozen(patient, therapies),
        "left_out": [
            *dict.fromkeys(str(reason) for reason in LEFT_OUT.values()),
            gettext("Copies in backups, which go when the backups are deleted."),
        ],
    }


def _therapies(patient: Patient) -> Any:
    own = Assignment.objects.filter(rater=Rater.PATIENT).select_related("instrument", "response__instrument")
    forms = own.prefetch_related("links", "messages", "drafts", "openings", "response__scores")
    sessions = Session.objects.order_by("held_at").prefetch_related(
        Prefetch("assignments", forms.order_by("opens_at", "pk"), to_attr="own_forms")
    )
    rows = patient.therapies.select_related("study", "therapist__user").order_by("started_on", "pk")
    return rows.prefetch_related(Prefetch("sessions", sessions))


def _person(patient: Patient) -> Content:
    imported = getattr(patient, "imported", None)
    return {
        "code": patient.code,
        "language": patient.language,
        "email": patient.contact,
        "email_entered_at": patient.contact_at,
        "code_in_imported_file": imported.code if imported else "",
    }


def _consent(row: Consent) -> Content:
    return {
        "study": row.text.version.study.name,
        "agreed": row.agreed,
        "at": row.at,
        "channel": row.get_channel_display(),
        "language": row.text.language,
        "information": row.text.information,
        "declaration": row.text.declaration,
    }


def _withdrawal(row: Withdrawal) -> Content:
    return {
        "study": row.study.name,
        "choice": row.get_choice_display(),
        "at": row.at,
        "on_paper": row.recorded_by_id is not None,
        "forms_erased": row.n_erased,
    }


def _therapy(row: Therapy) -> Content:
    account = row.therapist.user
    return {
        "code": row.code,
        "study": row.study.name,
        "therapist": (account.name if account else "") or row.therapist.code,
        "arm": row.arm,
        "started_on": row.known_start,
        "ended_on": row.known_end,
        "end_reason": row.get_end_reason_display(),
        "asked_no_more_since": row.stopped_at,
        "left_out_of_research_since": row.excluded_at,
        "sessions": [_session(session) for session in row.sessions.all()],
    }


def _session(row: Any) -> Content:
    is_known = row.timing != Session.Timing.ORDER
    return {
        "number": row.number,
        "held_at": row.held_at if is_known else None,
        "status": row.get_status_display(),
        "reason": row.get_reason_display(),
        "forms": [_form(form) for form in row.own_forms],
    }


def _form(row: Assignment) -> Content:
    response = getattr(row, "response", None)
    return {
        "title": row.instrument.form.title,
        "form": row.instrument.code,
        "version": row.instrument.version,
        "state": row.get_state_display(),
        "opens_at": row.opens_at,
        "closes_at": row.closes_at,
        "links": [_link(link) for link in row.links.all()],
        "messages": [_message(message) for message in row.messages.all()],
        "opened": [
            {"at": opening.opened_at, "device": opening.device, "channel": opening.get_channel_display()}
            for opening in row.openings.all()
        ],
        "begun": [
            {"item": draft.item, "value": draft.value, "saved_at": draft.saved_at}
            for draft in row.drafts.all()
        ],
        "received": _response(response) if response else None,
    }


def _link(row: FormLink) -> Content:
    return {"issued_at": row.issued_at, "via": row.get_via_display(), "revoked_at": row.revoked_at}


def _message(row: Message) -> Content:
    return {
        "kind": row.get_kind_display(),
        "state": row.get_state_display(),
        "due_at": row.due_at,
        "sent_at": row.sent_at,
    }


def _response(row: Response) -> Content:
    form = row.instrument.form
    titles = {scale.code: scale.title for scale in form.scales}
    labels = {option.value: option.label for option in form.options}
    return {
        "title": form.title,
        "language": row.instrument.language,
        "version": row.instrument.version,
        "received_at": row.submitted_at,
        "started_at": row.started_at,
        "channel": row.get_channel_display(),
        "device": row.device,
        "receipt_code": row.receipt_code,
        "therapist_may_see": row.get_sharing_display(),
        "therapist_may_see_since": row.reveal_at,
        "instruction": form.instruction,
        "answers": [
            _answer(item.number, item.text, row.answers.get(str(item.number), NOT_SHOWN), labels)
            for item in form.items
        ],
        "scores": [
            {
                "scale": titles.get(score.scale, score.scale),
                "mean": score.mean,
                "answered": score.n_answered,
                "items": score.n_items,
                "computed_by": score.scoring_version,
            }
            for score in row.scores.all()
        ],
    }


def _answer(item: int, text: str, value: int, labels: Mapping[int, str]) -> Content:
    missing = MISSING.get(value)
    words = labels.get(value, "") if missing is None else str(missing)
    return {"item": item, "text": text, "value": None if missing else value, "answer": words}


def _frozen(patient: Patient, therapies: list[Therapy]) -> list[str]:
    """What was made of the answers elsewhere, as those rooms say it themselves."""
    studies = {row.study_id: row.study for row in therapies}
    return [
        f"{study.name}: {translated(sentence, gettext)}"
        for study in studies.values()
        for sentence in hindrances.found(study.pk, [patient.pk])
    ]
