"""Treatment episodes: a therapy begins, ends, or goes on with another therapist."""

from collections.abc import Mapping
from datetime import date

from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from surveys import audit, scope
from surveys.access import Actor
from surveys.ids import new_code
from surveys.models import Patient, Study, Therapist, Therapy
from surveys.services.assignments import trait_forms_assign


class TherapyRefused(Exception):
    """Nothing was changed; the sentence says why and what to do, `field` where it belongs on the page."""

    def __init__(self, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class TherapyRuns(TherapyRefused):
    """The patient has a running therapy in the study."""


@transaction.atomic
def therapy_begin(
    *,
    patient: Patient,
    therapist: Therapist,
    study: Study,
    started_on: date,
    arm: str = "",
    actor: Actor | None = None,
) -> Therapy:
    """A new therapy of a patient with a therapist, in a study of their clinic that is in force today. The
    forms about practice in general that the therapist now owes become due at once.

    Raises TherapyRuns where the patient has a running therapy in this study, or TherapyRefused.
    """
    # Of two that begin at the same moment one must see the other.
    Patient.objects.select_for_update().get(pk=patient.pk)
    if started_on > timezone.localdate():
        raise TherapyRefused(_("This day is still to come. Enter the day the therapy began."), "started_on")
    if study.current is None:
        raise TherapyRefused(
            _("The study {code} is not active yet. Activate it first.").format(code=study.code), "study"
        )
    if not study.clinic_id == therapist.clinic_id == patient.clinic_id:
        raise TherapyRefused(_("Patient, therapist and study must belong to the same clinic."))
    running = Therapy.objects.filter(patient=patient, study=study, ended_on=None).first()
    if running is not None:
        raise TherapyRuns(
            _(
                "This patient has a running therapy in the study, {code}. End it first, or transfer it to "
                "the other therapist."
            ).format(code=running.code),
            "patient",
        )
    # A patient who withdrew from a study is asked no more in it, whoever treats them next.
    earlier = Therapy.objects.filter(patient=patient, study=study)
    since = earlier.aggregate(stopped_at=Max("stopped_at"), excluded_at=Max("excluded_at"))
    therapy = _create(patient, therapist, study, {"started_on": started_on, "arm": arm, **since})
    audit.record("therapy.begin", subject=therapy, actor=actor, clinic=study.clinic)
    trait_forms_assign(study=study, therapist=therapist)
    return therapy


@transaction.atomic
def therapy_end(*, therapy: Therapy, ended_on: date, reason: str, actor: Actor | None = None) -> Therapy:
    """Ends a therapy. Forms that are open stay open until their time is over: they are about sessions that
    were held. Raises TherapyRefused, e.g. where the log has a later session."""
    row = _lock(therapy)
    _close(row, ended_on, reason)
    audit.record(
        "therapy.end",
        subject=row,
        actor=actor,
        clinic=row.study.clinic,
        ended_on=ended_on.isoformat(),
        reason=reason,
    )
    return row


@transaction.atomic
def therapy_transfer(
    *, therapy: Therapy, therapist: Therapist, on: date, actor: Actor | None = None
) -> Therapy:
    """The patient goes on with another therapist: closes the therapy on this day and opens another of the
    same patient, study and arm, whose sessions count from 1. Returns the new one.

    Everything about the old sessions stays with the old therapy and its therapist: ratings, the log, and the
    forms that are open now, which may still be filled until their time is over. The new therapist sees the
    new therapy alone. A patient who was to be asked no more is asked no more. Raises TherapyRefused.
    """
    old = _lock(therapy)
    if therapist.pk == old.therapist_id:
        raise TherapyRefused(_("This therapist treats the patient already. Choose another one."), "therapist")
    if therapist.clinic_id != old.study.clinic_id:
        raise TherapyRefused(_("Choose a therapist of the same clinic."), "therapist")
    _close(old, on, Therapy.EndReason.TRANSFER, "on")
    new = _create(
        old.patient,
        therapist,
        old.study,
        {
            "started_on": on,
            "arm": old.arm,
            "previous": old,
            "stopped_at": old.stopped_at,
            "excluded_at": old.excluded_at,
        },
    )
    audit.record("therapy.transfer", subject=old, actor=actor, clinic=old.study.clinic, to=str(new.pk))
    trait_forms_assign(study=old.study, therapist=therapist)
    return new


def _lock(therapy: Therapy) -> Therapy:
    rows = Therapy.objects.select_for_update(of=("self",)).select_related("study__clinic", "patient")
    return rows.get(pk=therapy.pk)


def _close(therapy: Therapy, on: date, reason: str, field: str = "ended_on") -> None:
    if therapy.ended_on is not None:
        raise TherapyRefused(
            _("This therapy ended on {day} already.").format(day=date_format(therapy.ended_on)), field
        )
    if on > timezone.localdate():
        raise TherapyRefused(_("This day is still to come. Enter it once it is there."), field)
    if on < therapy.started_on:
        raise TherapyRefused(
            _("The therapy began on {day}. Enter a later day.").format(day=date_format(therapy.started_on)),
            field,
        )
    last = therapy.sessions.aggregate(at=Max("held_at"))["at"]
    if last is not None and timezone.localdate(last) > on:
        raise TherapyRefused(
            _("The log has a session on {day}. Enter that day or a later one, or correct the log.").format(
                day=date_format(timezone.localdate(last))
            ),
            field,
        )
    therapy.ended_on, therapy.end_reason = on, reason
    therapy.save(update_fields=["ended_on", "end_reason"])


def _create(patient: Patient, therapist: Therapist, study: Study, fields: Mapping[str, object]) -> Therapy:
    code = new_code()
    # Among thousands, two equal draws are likely.
    with scope.everything():
        while Therapy.objects.filter(code=code).exists():
            code = new_code()
    return Therapy.objects.create(
        code=code, patient=patient, therapist=therapist, study=study, **dict(fields)
    )
