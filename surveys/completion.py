"""Completion of a study's forms, counted by the database: what became of each form that was asked for.

Counts and times only, never an answer. Forms of therapies that are left out of the research are not counted.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Case, Count, Q, QuerySet, Value, When

from surveys.access import SEND_GRACE
from surveys.models import Assignment, Channel, Rater, Session, Study
from surveys.selectors import RECEIVED

State = Assignment.State

# What became of a form. Those of `ASKED` count as asked for; the others are asked for no more.
RECEIVED_FORM, OPEN_FORM = "received", "open"
NO_RATING, BEGUN, MISSED = "no_rating", "begun", "missed"
NOT_HELD, STOPPED, NOT_NEEDED = "not_held", "stopped", "not_needed"
ASKED = (RECEIVED_FORM, OPEN_FORM, NO_RATING, BEGUN, MISSED)
# How many forms the time from session to form is taken from.
LATEST = 5_000

BY_THERAPIST = """
    SELECT therapist_id, rater, instrument, fate, sum(n)::int,
           count(DISTINCT patient_id) FILTER (WHERE fate = ANY(%s)), grouping(rater)
    FROM (SELECT rater, instrument, therapy, fate, count(*) AS n
          FROM ({query}) form (rater, instrument, therapy, fate) GROUP BY 1, 2, 3, 4) counted
    LEFT JOIN surveys_therapy ON surveys_therapy.id = therapy
    GROUP BY GROUPING SETS ((therapist_id, rater, instrument, fate), (therapist_id))
"""
QUARTILES = """
    SELECT count(*), count(DISTINCT patient), count(DISTINCT therapist),
           percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (
               ORDER BY (extract(epoch FROM sent - held) / 3600)::float8)
    FROM ({query}) form (held, sent, patient, therapist)
"""


@dataclass(frozen=True)
class Forms:
    """How many forms there are of each fate."""

    by_fate: Mapping[str, int]

    @property
    def n_asked(self) -> int:
        return sum(self.by_fate.get(fate, 0) for fate in ASKED)

    @property
    def n_received(self) -> int:
        return self.by_fate.get(RECEIVED_FORM, 0)

    @property
    def n_open(self) -> int:
        return self.by_fate.get(OPEN_FORM, 0)

    @property
    def n_due(self) -> int:
        """Those whose time is over or that came in: what a share is of."""
        return self.n_asked - self.n_open

    def __add__(self, other: "Forms") -> "Forms":
        return Forms(Counter(self.by_fate) + Counter(other.by_fate))


NONE = Forms({})


@dataclass(frozen=True)
class TherapistForms:
    """Forms by therapist, rater and form; those about practice in general have no therapist here. Of each
    therapist, how many patients any form was asked about."""

    by_key: Mapping[tuple[UUID | None, str, str], Forms]
    n_patients: Mapping[UUID, int]


@dataclass(frozen=True)
class Delay:
    """Hours from a session to one rater's form about it: quartiles of n forms about so many patients of so
    many therapists."""

    n: int
    n_patients: int
    n_therapists: int
    lower: float
    median: float
    upper: float


def _fate(now: datetime) -> Case:
    """What became of a form, by now. An empty form of a patient is received: that it was left empty is an
    answer. A therapist's says that they give no rating."""
    declined = Q(state=State.DECLINED, rater=Rater.THERAPIST)
    is_open = Q(state=State.DUE, closes_at__gte=now) | Q(state=State.OPENED, closes_at__gte=now - SEND_GRACE)
    withdrawn = Q(state=State.WITHDRAWN)
    return Case(
        When(declined, then=Value(NO_RATING)),
        When(state__in=RECEIVED, then=Value(RECEIVED_FORM)),
        When(is_open, then=Value(OPEN_FORM)),
        When(state=State.DUE, then=Value(MISSED)),
        When(state=State.OPENED, then=Value(BEGUN)),
        When(withdrawn & ~Q(session__status=Session.Status.HELD), then=Value(NOT_HELD)),
        When(
            withdrawn & Q(rater=Rater.PATIENT, session__therapy__stopped_at__isnull=False),
            then=Value(STOPPED),
        ),
        default=Value(NOT_NEEDED),
    )


def _forms(study: Study, since: datetime | None) -> QuerySet[Assignment]:
    # Nobody was asked here for what a file brought.
    rows = Assignment.objects.filter(study=study, batch=None, session__therapy__excluded_at=None)
    return rows if since is None else rows.filter(opens_at__gte=since)


def forms_by_therapist(study: Study, now: datetime, since: datetime | None) -> TherapistForms:
    """Forms that were asked for since then, or ever. Therapies are counted first: of these there are few, and
    what is left to tell apart is quick."""
    rows = _forms(study, since).values_list("rater", "instrument__code", "session__therapy", _fate(now))
    query, params = rows.query.sql_with_params()
    fates: dict[tuple[UUID | None, str, str], dict[str, int]] = {}
    patients: dict[UUID, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(BY_THERAPIST.format(query=query), [list(ASKED), *params])
        for therapist, rater, instrument, fate, n, n_patients, is_sum in cursor.fetchall():
            if not is_sum:
                fates.setdefault((therapist, rater, instrument), {})[fate] = n
            elif therapist is not None:
                patients[therapist] = n_patients
    return TherapistForms({key: Forms(own) for key, own in fates.items()}, patients)


def forms_by_session(
    study: Study, now: datetime, since: datetime | None
) -> dict[tuple[str, str], dict[int, Forms]]:
    """By rater and form, in the order of these: the forms by session number, in order."""
    rows = (
        _forms(study, since)
        .filter(session__number__isnull=False)
        .values_list("rater", "instrument__code", "session__number", _fate(now))
        .annotate(n=Count("pk"))
        .order_by("rater", "instrument__code", "session__number")
    )
    found: dict[tuple[str, str], dict[int, dict[str, int]]] = {}
    for rater, instrument, number, fate, n in rows:
        found.setdefault((rater, instrument), {}).setdefault(number, {})[fate] = n
    return {
        key: {number: Forms(fates) for number, fates in numbers.items()} for key, numbers in found.items()
    }


def form_delay(study: Study, rater: str, since: datetime | None) -> Delay | None:
    """Of the latest forms that a rater filled on a screen; None where there are none. When a form was typed
    in from paper says nothing of when it was filled."""
    latest = (
        _forms(study, since)
        .filter(rater=rater, state__in=RECEIVED, session__isnull=False, response__isnull=False)
        .exclude(response__channel=Channel.PAPER)
        .order_by("-opens_at")
        .values_list(
            "session__held_at",
            "response__submitted_at",
            "session__therapy__patient",
            "session__therapy__therapist",
        )[:LATEST]
    )
    query, params = latest.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(QUARTILES.format(query=query), params)
        n, n_patients, n_therapists, quartiles = cursor.fetchone()
    return Delay(n, n_patients, n_therapists, *quartiles) if n else None


def session_counts(study: Study, since: datetime | None) -> dict[str, int]:
    """Lines of the session logs by status, without those that were entered by mistake."""
    rows = Session.objects.filter(therapy__study=study, batch=None, therapy__excluded_at=None)
    rows = rows.exclude(reason=Session.Reason.MISTAKE)
    if since is not None:
        rows = rows.filter(held_at__gte=since)
    return dict(rows.values_list("status").annotate(n=Count("pk")))
