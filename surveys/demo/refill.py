"""Recent sessions for the demonstration's therapist account, so that its patients have forms to fill."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from surveys.demo.build import MINUTES_PER_FORM, OUTCOME, SEED, filled_form, moment, therapy_begin
from surveys.demo.cohort import N_OPEN_FORMS, OPEN_FORM_DAYS, answers_near
from surveys.demo.parameters import EVERY_SESSION, Parameters
from surveys.models import Assignment, Instrument, Rater, Score, Session, Study, Therapist, Therapy
from surveys.services.entry import responses_enter
from surveys.services.sessions import Entry, sessions_close

LEAST_OPEN_FORMS = 20
LEAST_TIME_LEFT = timedelta(days=1)
WEEK = timedelta(weeks=1)
NEW_THERAPY_DAYS = (15, 8, 1)


def forms_to_fill(study: Study, therapist: Therapist, now: datetime) -> list[Assignment]:
    """Patients' forms that nobody has begun, of sessions that the therapist has rated; at least twenty.

    Where too few are left, weekly sessions of running therapies are added up to now, then new patients.
    """
    forms = list(_open_forms(study, therapist, now)[:N_OPEN_FORMS])
    if len(forms) >= LEAST_OPEN_FORMS:
        return forms
    _sessions_add(study, therapist, N_OPEN_FORMS - len(forms), now)
    return list(_open_forms(study, therapist, now)[:N_OPEN_FORMS])


def _open_forms(study: Study, therapist: Therapist, now: datetime) -> QuerySet[Assignment]:
    own = Assignment.objects.filter(session=OuterRef("session"), rater=Rater.THERAPIST)
    return Assignment.objects.filter(
        ~Exists(own.filter(~Q(state=Assignment.State.SUBMITTED))),
        Exists(own),
        study=study,
        rater=Rater.PATIENT,
        state=Assignment.State.DUE,
        session__therapy__therapist=therapist,
        closes_at__gt=now + LEAST_TIME_LEFT,
    ).order_by("-opens_at", "id")


def _sessions_add(study: Study, therapist: Therapist, n_needed: int, now: datetime) -> None:
    running = Therapy.objects.filter(therapist=therapist, study=study, arm=EVERY_SESSION, ended_on=None)
    for therapy in running.order_by("started_on", "id"):
        n_needed -= _weeks_enter(therapy, _weeks_since_last(therapy, now), now)
    today = timezone.localdate(now)
    for hour in range(8, 8 + max(0, -(-n_needed // len(NEW_THERAPY_DAYS)))):
        times = [moment(today - timedelta(days=days), hour % 24) for days in NEW_THERAPY_DAYS]
        therapy = therapy_begin(therapist, study, EVERY_SESSION, timezone.localdate(times[0]))
        _weeks_enter(therapy, times, now)


def _weeks_since_last(therapy: Therapy, now: datetime) -> list[datetime]:
    """The weekly times after the last session of the log that are recent and past."""
    last = therapy.sessions.latest("held_at").held_at
    n_weeks = (now - MINUTES_PER_FORM - last) // WEEK
    times = [last + WEEK * week for week in range(1, n_weeks + 1)]
    return [at for at in times if now - at < timedelta(days=OPEN_FORM_DAYS)]


def _weeks_enter(therapy: Therapy, times: Sequence[datetime], now: datetime) -> int:
    """Sessions held at these times, each rated by the therapist; how many."""
    entries = [Entry(at, Session.Status.HELD) for at in times]
    sessions = sessions_close(therapy=therapy, entries=entries, actor=therapy.therapist.user).sessions
    level, noise = _usual_rating(therapy), Parameters().perspectives[1].noise_sd
    form = Instrument.objects.get(code=OUTCOME, rater=Rater.THERAPIST, language="en").form
    rng = np.random.default_rng([SEED, timezone.localdate(now).toordinal()])
    filled = [
        filled_form(
            pk,
            answers_near(form, level, rng, noise),
            opens_at + MINUTES_PER_FORM,
            therapist=therapy.therapist,
        )
        for pk, opens_at in Assignment.objects.filter(session__in=sessions, rater=Rater.THERAPIST)
        .order_by("opens_at")
        .values_list("pk", "opens_at")
    ]
    responses_enter(study=therapy.study, forms=filled, actor=therapy.therapist.user)
    return len(sessions)


def _usual_rating(therapy: Therapy) -> float:
    last = (
        Score.objects.filter(
            response__assignment__session__therapy=therapy,
            response__assignment__rater=Rater.THERAPIST,
            scale="total",
            mean__isnull=False,
        )
        .order_by("-response__submitted_at")
        .first()
    )
    level = last.mean if last is not None else None
    return Parameters().perspectives[1].level if level is None else level
