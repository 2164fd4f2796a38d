"""A job that is done while the page about it is read: the page watches on, or shows what was made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

import surveys.tasks  # noqa: F401  both register their jobs
from analytics.selection import Selection
from analytics.services.exports import export_approve, export_ask
from analytics.services.plans import plan_ask
from analytics.services.snapshots import snapshot_ask
from surveys import jobs
from surveys.models import ImportBatch, Role
from tests import factories
from tests.analytics.clinics import frozen, rated_clinic, research_clinic
from tests.analytics.test_analyses import asked
from tests.analytics.test_plans import SPEC
from tests.conftest import Cast, signed_in
from tests.surveys.test_import_pages import brought
from tests.surveys.test_import_store import form

pytestmark = pytest.mark.django_db
WATCHES = 'hx-trigger="every 2s"'


@contextmanager
def done_after_reading(table: str, nth: int) -> Iterator[None]:
    """What waits is done at the moment at which the table, or the list of jobs, was read the nth time."""
    names = [f'FROM "{name}"' for name in (table, "surveys_job")]
    n_read = 0

    def wrapped(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal n_read
        found = execute(sql, params, many, context)
        if sql.startswith("SELECT") and any(name in sql for name in names):
            n_read += 1
            if n_read == nth:
                # The rows of the statement are with the client already; another process does this then.
                assert jobs.run_due(30, is_long=True)
        return found

    with connection.execute_wrapper(wrapped):
        yield
    assert n_read >= nth


def read_meanwhile(client: Client, address: str, table: str, nth: int = 1) -> tuple[str, str]:
    """The page read while the job was done, and the next one."""
    with done_after_reading(table, nth):
        page = client.get(address).content.decode()
    return page, client.get(address).content.decode()


def test_an_analysis_is_watched_until_its_answer_is_there() -> None:
    study, _ = rated_clinic(n_therapists=6, n_therapies=3)
    client = signed_in(factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic))
    address = reverse("desk-analysis", args=[asked(study).pk])
    page, after = read_meanwhile(client, address, "analytics_analysis")
    assert "There is no answer" not in page
    assert WATCHES in page or "Publish the table" in page
    assert WATCHES not in after and "Publish the table" in after


@pytest.mark.slow
def test_a_plan_is_watched_until_its_numbers_are_there() -> None:
    study = research_clinic()
    researcher = factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic)
    address = reverse("desk-plan", args=[plan_ask(study=study, title="T", spec=SPEC, asked_by=researcher).pk])
    page, after = read_meanwhile(signed_in(researcher), address, "analytics_powerplan")
    assert WATCHES in page or "power-0" in page
    assert WATCHES not in after and "power-0" in after


def test_a_snapshot_is_not_said_to_be_lost_when_it_is_just_frozen() -> None:
    study = research_clinic()
    researcher = factories.make_user("r@example.org", Role.RESEARCHER, clinic=study.clinic)
    snapshot_ask(study=study, selection=Selection(), actor=researcher)
    page, after = read_meanwhile(
        signed_in(researcher), reverse("desk-data", args=[study.pk]), "analytics_snapshot"
    )
    snapshot = study.snapshots.get()
    assert "was not frozen" not in page
    assert WATCHES in page or snapshot.sha256[:8] in page
    assert WATCHES not in after and snapshot.sha256[:8] in after


@pytest.mark.parametrize("nth", [1, 2])
def test_a_file_is_not_asked_for_again_when_it_is_just_built(nth: int) -> None:
    snapshot = frozen(research_clinic())
    clinic = snapshot.study.clinic
    researcher = factories.make_user("r@example.org", Role.RESEARCHER, clinic=clinic)
    admin = factories.make_user("a@example.org", Role.CLINIC_ADMIN, clinic=clinic)
    export = export_ask(snapshot=snapshot, tier="scores", purpose="A thesis", agreement="", actor=researcher)
    export_approve(export=export, actor=admin, is_admin=True)
    address = reverse("desk-export", args=[export.pk])
    page, after = read_meanwhile(signed_in(researcher), address, "analytics_export", nth)
    assert "Make it again" not in page
    assert WATCHES in page or "The file is ready" in page
    assert WATCHES not in after and "The file is ready" in after


def test_an_import_is_watched_until_it_is_checked(cast: Cast) -> None:
    client = signed_in(cast.clinic_admin)
    batch = brought(client, cast, [form()])
    client.post(f"/clinic/imports/{batch.pk}/store/", {"consent": "Signed in 2015."})
    page, after = read_meanwhile(client, f"/clinic/imports/{batch.pk}/", "surveys_importbatch")
    assert ImportBatch.objects.get().state == "stored"
    assert WATCHES in page or page == after
    assert WATCHES not in after
