"""Whatever a patient narrows, in whatever order, of one form or all: what is seen of each form follows from
the narrowest choice that was ever made for it, for therapist and supervisor, for old forms as for new."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from surveys.access import visible_scores
from surveys.models import Response, Sharing, User
from surveys.services.consent import sharing_narrow
from tests import factories
from tests.conftest import Cast

CHOICES = Sharing.values
N = 3


@pytest.fixture
def answered(cast: Cast) -> Cast:
    """Three sessions that both have rated, in a study that is open to supervisors."""
    factories.set_visibility(cast.study, "feedback", is_open_to_supervisors=True)
    for number in range(N):
        session = factories.hold_session(cast.therapy, timezone.now() - timedelta(hours=30 - number))
        factories.give(factories.form_of(session, "patient"), 6, sharing="answers")
        factories.give(factories.form_of(session, "therapist"), 5, user=cast.therapist)
    return cast


def seen(cast: Cast, user: User) -> set[object]:
    rows = visible_scores(user, cast.therapy).filter(response__assignment__rater="patient")
    return set(rows.values_list("response", flat=True))


@pytest.mark.django_db
@hypothesis(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(CHOICES), st.one_of(st.none(), st.integers(0, N - 1))), max_size=6
    )
)
def test_later_narrowing_acts_on_old_forms_and_is_never_undone(
    answered: Cast, steps: list[tuple[str, int | None]]
) -> None:
    undo = transaction.savepoint()
    patient = answered.therapy.patient
    rows = list(Response.objects.filter(assignment__rater="patient").order_by("pk"))
    told = dict.fromkeys((row.pk for row in rows), len(CHOICES) - 1)
    for choice, one in steps:
        sharing_narrow(patient=patient, choice=choice, response_id=None if one is None else rows[one].pk)
        for number, row in enumerate(rows):
            if one is None or one == number:
                told[row.pk] = min(told[row.pk], CHOICES.index(choice))
    stored = dict(Response.objects.filter(pk__in=told).values_list("pk", "sharing"))
    visible = {key for key, level in told.items() if CHOICES[level] != Sharing.NONE}
    found = {name: seen(answered, getattr(answered, name)) for name in ("therapist", "supervisor")}
    transaction.savepoint_rollback(undo)
    assert stored == {key: CHOICES[level] for key, level in told.items()}
    assert found == {"therapist": visible, "supervisor": visible}


@pytest.mark.django_db
def test_nobody_can_widen_what_was_narrowed(answered: Cast) -> None:
    row = Response.objects.filter(assignment__rater="patient").order_by("pk")[0]
    sharing_narrow(patient=answered.therapy.patient, choice="none", response_id=row.pk)
    with pytest.raises(DatabaseError, match="append-only"):
        Response.objects.filter(pk=row.pk).update(sharing="scores")
