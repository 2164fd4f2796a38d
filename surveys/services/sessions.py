"""The session log: closing a session derives its number and what is due because of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from surveys import audit, jobs
from surveys.access import Actor
from surveys.models import (
    Assignment,
    Instrument,
    Session,
    Study,
    StudyVersion,
    Therapist,
    Therapy,
    User,
)
from surveys.planning import DueForm, LoggedSession, PlanVersion, due_forms, number_sessions
from surveys.selectors import active_versions, version_at

TRAIT_WINDOW = timedelta(days=60)


class SessionExists(Exception):
    """The log already has a session of this therapy at this time."""


def session_close(*, therapy: Therapy, held_at: datetime, status: str, actor: Actor | None = None) -> Session:
    """Enters one session into the log; see `sessions_close`."""
    return sessions_close(therapy=therapy, entries=[(held_at, status)], actor=actor)[0]


@transaction.atomic
def sessions_close(
    *, therapy: Therapy, entries: Sequence[tuple[datetime, str]], actor: Actor | None = None
) -> list[Session]:
    """Enters sessions (time, status) into the log, renumbers what comes after them and makes the forms due
    that the study's plan asks for. The result depends on the log alone, never on the order of entry.

    Raises SessionExists, and enters nothing, when the log has a session at one of these times.
    """
    therapy = (
        Therapy.objects.select_for_update(of=("self",)).select_related("study__clinic").get(pk=therapy.pk)
    )
    # Assignments before sessions, as a form that is being sent locks them; nobody can open or send one
    # of these forms until this log is written.
    there = list(
        Assignment.objects.select_for_update(of=("self",)).filter(session__therapy=therapy).order_by("pk")
    )
    logged = list(therapy.sessions.all())
    new = [
        Session(
            therapy=therapy, held_at=at, status=status, closed_by=actor if isinstance(actor, User) else None
        )
        for at, status in entries
    ]
    if len({row.held_at for row in logged + new}) < len(logged) + len(new):
        raise SessionExists("The log already has a session at this time.")
    log = [LoggedSession(row.pk, row.held_at, row.status) for row in logged + new]
    numbers = number_sessions(log)
    moved = [row for row in logged if row.number != numbers.get(row.pk)]
    for row in moved + new:
        row.number = numbers.get(row.pk)
    Session.objects.bulk_update(moved, ["number"])
    Session.objects.bulk_create(new)
    _sync_assignments(therapy, log, there)
    entered = [(row, {"status": row.status}) for row in new]
    audit.record_each("session.close", entered, actor=actor, clinic=therapy.study.clinic)
    if moved:
        jobs.request("refit", therapy.study_id)
    return new


def _sync_assignments(therapy: Therapy, log: list[LoggedSession], there: list[Assignment]) -> None:
    """Asks for the forms that became due, and withdraws those that no plan asks for any more.

    A withdrawn form keeps its row, so that a link to it still says what has become of it. Of a session at
    which any rater has begun, all forms stay: nobody's rating may show because the other's form went away.
    """
    versions = list(active_versions(therapy.study).prefetch_related("lines__instrument"))
    plan = [
        PlanVersion(version.begins, tuple(line.pure() for line in version.lines.all() if not line.period))
        for version in versions
    ]
    received = (Assignment.State.SUBMITTED, Assignment.State.DECLINED)
    given = [(row.session_id, row.rater, str(row.instrument_id)) for row in there if row.state in received]
    due: dict[tuple[UUID, UUID], tuple[StudyVersion, DueForm]] = {}
    for form in due_forms(plan, log, therapy.arm, given):
        version = [row for row in versions if row.begins <= form.opens_at][-1]
        due[form.session_id, UUID(form.instrument)] = (version, form)
    known = {(row.session_id, row.instrument_id): row for row in there}
    untouched = (Assignment.State.DUE, Assignment.State.WITHDRAWN)
    begun = {row.session_id for row in there if row.state not in untouched}
    withdrawn = [
        row.pk
        for key, row in known.items()
        if key not in due and row.state == Assignment.State.DUE and row.session_id not in begun
    ]
    back = [row.pk for key, row in known.items() if key in due and row.state == Assignment.State.WITHDRAWN]
    Assignment.objects.filter(pk__in=withdrawn).update(state=Assignment.State.WITHDRAWN)
    Assignment.objects.filter(pk__in=back).update(state=Assignment.State.DUE)
    Assignment.objects.bulk_create(
        _assignment(version, form) for key, (version, form) in due.items() if key not in known
    )


def _assignment(version: StudyVersion, form: DueForm) -> Assignment:
    return Assignment(
        study=version.study,
        version=version,
        session_id=form.session_id,
        occasion=form.occasion,
        rater=form.rater,
        instrument_id=UUID(form.instrument),
        opens_at=form.opens_at,
        closes_at=form.closes_at,
    )


@transaction.atomic
def trait_form_assign(
    *,
    therapist: Therapist,
    study: Study,
    instrument: Instrument,
    period: str,
    opens_at: datetime | None = None,
) -> Assignment:
    """Makes a form about practice in general due for one therapist and period; once, however often called.
    Raises ValueError where the study has no active version at that time."""
    opens = opens_at or timezone.now()
    version = version_at(study, opens)
    if version is None:
        raise ValueError("The study was not active at that time.")
    assignment, _ = Assignment.objects.get_or_create(
        therapist=therapist,
        instrument=instrument,
        period=period,
        defaults={
            "study": study,
            "version": version,
            "rater": instrument.rater,
            "opens_at": opens,
            "closes_at": opens + TRAIT_WINDOW,
        },
    )
    return assignment
