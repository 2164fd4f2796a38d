"""When each therapy was last held is kept by the database, whoever changes its sessions."""

from datetime import datetime, timedelta
from importlib import import_module
from threading import Barrier, Thread

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

from surveys.models import Session, Therapy
from surveys.worklist import clinic_caseload
from tests import factories
from tests.conftest import Cast

NOW = timezone.now().replace(microsecond=0)


def line(therapy: Therapy, days_ago: float, number: int | None = 1, status: str = "held") -> Session:
    at = NOW - timedelta(days=days_ago)
    return Session(therapy=therapy, held_at=at, status=status, number=number)


def last(therapy: Therapy) -> datetime | None:
    return Therapy.objects.values_list("last_held_at", flat=True).get(pk=therapy.pk)


@pytest.mark.django_db
def test_rows_that_no_service_writes_count_as_well(cast: Cast) -> None:
    one, other = cast.therapy, cast.colleague_therapy
    Session.objects.bulk_create(
        [line(one, 3), line(one, 2, 2), line(one, 1, None, "no_show"), line(other, 5)]
    )
    assert (last(one), last(other)) == (NOW - timedelta(days=2), NOW - timedelta(days=5))
    one.sessions.filter(number=2).update(status="cancelled", number=None)
    assert last(one) == NOW - timedelta(days=3)
    one.sessions.filter(number=1).update(therapy=other, number=2)
    assert (last(one), last(other)) == (None, NOW - timedelta(days=3))
    Session.objects.filter(therapy=other).delete()
    assert last(other) is None


@pytest.mark.django_db
def test_reception_has_the_therapy_on_top_that_was_last_held(cast: Cast) -> None:
    never = factories.make_therapy(cast.study)
    Session.objects.bulk_create(
        [line(cast.therapy, 3), line(cast.colleague_therapy, 2), line(never, 1, None, "cancelled")]
    )
    ended = factories.make_therapy(cast.study)
    Session.objects.bulk_create([line(ended, 1)])
    Therapy.objects.filter(pk=ended.pk).update(ended_on=NOW.date(), end_reason="completed")
    rows = clinic_caseload(cast.clinic_admin, cast.clinic, is_all=True)
    assert [row.pk for row in rows] == [cast.colleague_therapy.pk, cast.therapy.pk, never.pk, ended.pk]


@pytest.mark.django_db
def test_what_was_there_before_is_filled_in(cast: Cast) -> None:
    Session.objects.bulk_create([line(cast.therapy, 3), line(cast.colleague_therapy, 2)])
    Therapy.objects.update(last_held_at=None)
    import_module("surveys.migrations.0032_keep_when_each_therapy_was_last_held").fill(apps, None)
    assert last(cast.therapy) == NOW - timedelta(days=3)
    assert last(cast.colleague_therapy) == NOW - timedelta(days=2)


@pytest.mark.django_db(transaction=True)
def test_of_two_sessions_that_come_at_once_the_later_one_stands(cast: Cast) -> None:
    """The earlier session is committed last, and its transaction could not read the later one."""
    started = Barrier(2)

    def enter() -> None:
        try:
            with transaction.atomic():
                started.wait(10)
                line(cast.therapy, 1, 2).save()
        finally:
            connection.close()

    other = Thread(target=enter)
    with transaction.atomic():
        line(cast.therapy, 3).save()
        other.start()
        started.wait(10)
        other.join(0.3)
        assert other.is_alive(), "it waits for the therapy"
    other.join(10)
    assert last(cast.therapy) == NOW - timedelta(days=1)
    line(cast.therapy, 2, 3).save()
    assert last(cast.therapy) == NOW - timedelta(days=1)
