"""Two machines, two clocks: when a form is open is for the database to say. Days on which clocks are put
forward or back."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from alliance_site.checks import clocks
from surveys.forms import SessionForm
from surveys.models import Assignment, Response
from surveys.planning import HELD, LoggedSession, PlanLine, PlanVersion, due_forms
from surveys.services.invitations import link_issue
from tests.conftest import Cast, signed_in
from tests.surveys.test_respond import send, started

ZURICH = ZoneInfo("Europe/Zurich")
REAL = timezone.now


@pytest.fixture
def web_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(hours: float) -> None:
        monkeypatch.setattr("django.utils.timezone.now", lambda: REAL() + timedelta(hours=hours))

    return put


def closes(form: Assignment, ahead: timedelta) -> None:
    at = REAL() + ahead
    Assignment.objects.filter(pk=form.pk).update(opens_at=at - timedelta(days=3), closes_at=at)


@pytest.mark.parametrize("hours", [-2, 2])
@pytest.mark.parametrize(("seconds", "status"), [(60, 200), (-60, 410)])
def test_a_link_is_open_by_the_clock_of_the_database(
    patient_form: Assignment, web_clock: Any, hours: float, seconds: int, status: int
) -> None:
    token = link_issue(assignment=patient_form)
    closes(patient_form, timedelta(seconds=seconds))
    web_clock(hours)
    assert Client().get(f"/r/{token}/").status_code == status


@pytest.mark.parametrize("hours", [-2, 2])
@pytest.mark.parametrize(("seconds", "is_stored"), [(60, True), (-60, False)])
def test_a_form_is_sent_within_its_day_by_the_clock_of_the_database(
    patient_form: Assignment, web_clock: Any, hours: float, seconds: int, is_stored: bool
) -> None:
    client = started(patient_form)
    closes(patient_form, timedelta(days=-1, seconds=seconds))
    web_clock(hours)
    send(client, patient_form)
    assert Response.objects.filter(assignment=patient_form).exists() == is_stored


def test_what_the_clocks_differ_by_is_shown_and_said_at_the_start(
    cast: Cast, web_clock: Any, settings: Any
) -> None:
    settings.METRICS_TOKEN = "a token of at least thirty-two characters"

    def shown() -> tuple[str, float]:
        page = signed_in(cast.superuser).get("/status/").content.decode()
        text = Client().get("/metrics", headers={"authorization": f"Bearer {settings.METRICS_TOKEN}"})
        lines = dict(
            line.rsplit(" ", 1) for line in text.content.decode().splitlines() if not line.startswith("#")
        )
        return page, float(lines["alliance_clock_offset_seconds"])

    page, offset = shown()
    assert "Web process and database agree." in page
    assert abs(offset) < 1
    assert clocks(databases=["default"]) == clocks() == []
    # Half a minute is not yet what somebody must mend.
    web_clock(30 / 3600)
    page, offset = shown()
    assert "s ahead of the database’s." in page
    assert "time server" not in page
    assert clocks(databases=["default"]) == []
    web_clock(-0.025)
    page, offset = shown()
    assert "The web process’s is 90 s behind the database’s." in page
    assert "Set the clocks of both machines by the same time server." in page
    assert offset == pytest.approx(-90, abs=1)
    assert [warning.id for warning in clocks(databases=["default"])] == ["alliance_site.W001"]


@pytest.mark.parametrize(
    ("time", "is_taken"),
    [
        ("2026-03-29T01:59", True),
        ("2026-03-29T02:30", False),
        ("2026-03-29T03:00", True),
        ("2025-10-26T01:59", True),
        ("2025-10-26T02:30", False),
        ("2025-10-26T03:00", True),
    ],
)
def test_a_time_that_does_not_exist_or_exists_twice_is_not_guessed(
    cast: Cast, settings: Any, time: str, is_taken: bool
) -> None:
    settings.TIME_ZONE = "Europe/Zurich"
    cast.therapy.started_on = datetime(2025, 1, 1).date()
    with timezone.override(ZURICH):
        form = SessionForm({"held_at": time, "status": "held", "key": ""}, therapy=cast.therapy)
        assert ("held_at" not in form.errors) == is_taken, form.errors


def test_forms_of_a_weekly_therapy_come_once_each_across_both_changes() -> None:
    first = datetime(2026, 3, 15, 3, 30, tzinfo=ZURICH)
    log = [LoggedSession(week, first + timedelta(weeks=week), HELD) for week in range(35)]
    assert log[0].held_at.hour == log[-1].held_at.hour == 2
    assert log[10].held_at.hour == 1
    plan = PlanVersion(first - timedelta(days=1), (PlanLine("patient", "wai-s", every=1, window_hours=48),))
    forms = due_forms([plan], log, "")
    assert [form.session_id for form in forms] == list(range(35))
    assert {form.closes_at - form.opens_at for form in forms} == {timedelta(hours=48)}
