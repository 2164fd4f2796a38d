"""The store of sums: per therapy, rater and alliance form all that the models need, made by the database.

A transaction that changes ratings leaves marks (`RatingChange`), and `sums_refresh` makes the sums of the
marked therapies again in the transaction that deletes the marks. It deletes only marks that it has read, and
reads them before the ratings: of a change that is committed in between the mark stays, whether the sums hold
it or not.

`study_sums_check` makes all sums of a study again and compares. Ratings, marks and sums are read in one
statement, as of one moment, so that a change which only waits for its refit is not taken for an error.
"""

import logging
import math
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from analytics.dataset import ORIGIN, UNIT
from analytics.models import RatingChange, RatingCount, TherapySums
from surveys import audit, jobs
from surveys.models import Job, Study
from surveys.selectors import OUTCOME_SCALE, RatingRow, outcome_forms, study_ratings

log = logging.getLogger(__name__)

# Sums are wrong where they differ by more than rounding. Of sums whose terms cancel nothing is left to be
# relative to; ratings and times are numbers of a few units.
RELATIVE, ABSOLUTE = 1e-9, 1e-10

# The order of the terms makes the sums a function of the ratings to the last digit: made again, they are the
# same, and so is their fingerprint. The logarithm grows with the session, so that one order serves both.
MAKE = """
    SELECT perspective, instrument, scale, therapy AS therapy_id, therapist AS therapist_id, count(*) AS n,
           regr_avgx(value, time ORDER BY time, value) AS mean_time,
           regr_avgy(value, time ORDER BY time, value) AS mean_y,
           regr_sxx(value, time ORDER BY time, value) AS css_time,
           regr_sxy(value, time ORDER BY time, value) AS csp,
           regr_syy(value, time ORDER BY time, value) AS css_y,
           regr_avgx(value, log ORDER BY time, value) AS mean_log,
           regr_sxx(value, log ORDER BY time, value) AS css_log,
           regr_sxy(value, log ORDER BY time, value) AS csp_log
    FROM (SELECT *, (session::float8 - {origin}) / {unit} AS time, ln(session::float8 / {origin}) AS log
          FROM ({ratings}) rating) rating
    GROUP BY perspective, instrument, scale, therapy, therapist
"""
KEY = "perspective, instrument, scale, therapy_id"
# As `MAKE` gives them.
VALUES = (
    *("therapist_id", "n", "mean_time", "mean_y", "css_time", "csp", "css_y"),
    *("mean_log", "css_log", "csp_log"),
)
NAMES = {
    "key": KEY,
    "values": ", ".join(VALUES),
    **{table: ", ".join(f"{table}.{name}" for name in VALUES) for table in ("made", "stored")},
}
STORE = """
    INSERT INTO analytics_therapysums (study_id, {key}, {values})
    SELECT %s, {key}, {values} FROM ({query}) made
"""
COUNT = """
    INSERT INTO analytics_ratingcount (study_id, perspective, instrument, scale, n)
    SELECT study_id, perspective, instrument, scale, sum(n) FROM analytics_therapysums
    WHERE study_id = %s GROUP BY study_id, perspective, instrument, scale
"""
COMPARE = """
    SELECT therapy_id, {made}, {stored}
    FROM ({query}) made
    FULL JOIN (SELECT * FROM analytics_therapysums WHERE study_id = %s) stored USING ({key})
    WHERE ({made}) IS DISTINCT FROM ({stored})
      AND therapy_id NOT IN (SELECT therapy_id FROM analytics_ratingchange WHERE study_id = %s)
"""
# Therapies whose sums are made in one transaction: what is made stays when a task is stopped.
BATCH = 5_000


def sums_refresh(study_id: UUID) -> int:
    """Makes the sums of the therapies whose ratings changed again; of how many."""
    n = last = _refresh_some(study_id)
    while last == BATCH:
        last = _refresh_some(study_id)
        n += last
    return n


@transaction.atomic
def _refresh_some(study_id: UUID) -> int:
    _lock(study_id)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM analytics_ratingchange WHERE study_id = %s AND therapy_id IN (
                SELECT DISTINCT therapy_id FROM analytics_ratingchange WHERE study_id = %s LIMIT %s)
            RETURNING therapy_id
            """,
            [study_id, study_id, BATCH],
        )
        changed = {therapy for (therapy,) in cursor.fetchall()}
    if changed:
        _replace(study_id, changed)
    return len(changed)


def study_sums_check(study_id: str) -> Callable[[], None]:
    """Compares the sums of a study with its ratings. Returns the function that makes wrong ones again, says
    so in the audit trail and the log, and asks for a refit."""
    study = Study.objects.select_related("clinic").get(pk=UUID(study_id))
    wrong = _wrong_therapies(study.pk)

    def write() -> None:
        if wrong:
            _lock(study.pk)
            _replace(study.pk, wrong)
            audit.record("sums.repair", subject=study, clinic=study.clinic, n_therapies=len(wrong))
            log.error("study %s: sums of %s therapies were wrong and are made again", study.pk, len(wrong))
        # Marks without a request are of changes that no service made; a refit that was given up has taken its
        # marks, and nothing else would ask again.
        refit = jobs.latest("refit", study.pk)
        is_given_up = refit is not None and refit.state == Job.State.FAILED
        if wrong or is_given_up or RatingChange.objects.filter(study=study).exists():
            jobs.request("refit", study.pk)

    return write


@transaction.atomic
def sums_checks_request() -> None:
    """Makes the check of every study due. Marks of test runs, there or cleared, ask for nothing."""
    RatingChange.objects.exclude(study__in=Study.objects.filter(test_of=None)).delete()
    for study in Study.objects.filter(test_of=None).order_by("pk").values_list("pk", flat=True):
        jobs.request("check_sums", study)


def _lock(study_id: UUID) -> None:
    """A refit and a repair make the sums of a study one after the other: at once, both would add the same."""
    Study.objects.select_for_update(no_key=True).get(pk=study_id)


def _replace(study_id: UUID, therapies: Collection[UUID]) -> None:
    """A therapy without ratings has no sums afterwards."""
    TherapySums.objects.filter(study=study_id, therapy__in=therapies).delete()
    query, parameters = _make(_ratings(study_id).filter(therapy__in=therapies))
    with connection.cursor() as cursor:
        cursor.execute(STORE.format(query=query, **NAMES), [study_id, *parameters])
        RatingCount.objects.filter(study=study_id).delete()
        cursor.execute(COUNT, [study_id])


def _wrong_therapies(study_id: UUID) -> list[UUID]:
    """Therapies whose sums are not those of their ratings, but for those whose change is marked."""
    query, parameters = _make(_ratings(study_id))
    with connection.cursor() as cursor:
        cursor.execute(COMPARE.format(query=query, **NAMES), [*parameters, study_id, study_id])
        rows = cursor.fetchall()
    return sorted(
        {therapy for therapy, *sums in rows if not _agree(sums[: len(VALUES)], sums[len(VALUES) :])}
    )


def _agree(made: list[Any], stored: list[Any]) -> bool:
    """Whether therapist and number are the same and the other sums differ by rounding at most."""
    return made[:2] == stored[:2] and all(
        math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        for a, b in zip(made[2:], stored[2:], strict=True)
    )


def _ratings(study_id: UUID) -> QuerySet[Any, RatingRow]:
    forms = outcome_forms(Study.objects.get(pk=study_id))
    return study_ratings(study_id, {OUTCOME_SCALE, *(scale for form in forms for scale in form.scales)})


def _make(ratings: QuerySet[Any, RatingRow]) -> tuple[str, list[Any]]:
    """The query for the sums of these ratings, and its parameters."""
    rows, parameters = ratings.query.sql_with_params()
    return MAKE.format(ratings=rows, origin=ORIGIN, unit=UNIT), list(parameters)
