"""A page asks the database as often for a hundred patients as for one, and for many questions as for one."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the refit
from analytics.models import Analysis, AnalysisLock, Export, PowerPlan, PublishedTable, Snapshot
from analytics.plan_forms import PlanForm, first_values
from analytics.services.analyses import analysis_answer
from analytics.services.locks import lock_make, lock_run
from analytics.services.plans import plan_ask, plan_simulate
from surveys import jobs
from surveys.models import Role, Study, User
from surveys.progress import silent
from tests import factories
from tests.analytics.clinics import follow, rated_clinic
from tests.analytics.test_publishing import SPEC, publish
from tests.conftest import Cast, signed_in
from tests.test_permissions import OWN_PAGES, url_of

pytestmark = pytest.mark.django_db

PAGES = sorted({(actor, name) for actor, names in OWN_PAGES.items() for name in names})


def n_queries(cast: Cast) -> dict[tuple[str, str], int]:
    found = {}
    for actor, name in PAGES:
        client, url = signed_in(getattr(cast, actor)), url_of(name, cast)
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(url)
            assert b"".join(answer) or answer.status_code == 302
        found[actor, name] = len(queries)
    return found


@pytest.mark.slow
def test_a_page_asks_as_often_for_a_hundred_patients_as_for_one(cast: Cast) -> None:
    factories.hold_session(cast.therapy)
    for rater in ("patient", "therapist"):
        factories.give(factories.form_of(cast.therapy.sessions.get(), rater), 5)
    jobs.run_due(60)
    n_queries(cast)
    before = n_queries(cast)
    for _ in range(100):
        follow(cast.study, cast.therapist, [5])
    jobs.run_due(60)
    after = n_queries(cast)
    assert {page: (before[page], after[page]) for page in PAGES if before[page] != after[page]} == {}


def one_of_each(study: Study, researcher: User, client: Client) -> dict[str, Any]:
    """The arguments of the desk's pages: a locked question with its answer, published, a file, and a plan."""
    spec = replace(SPEC, ranges={"wai-s": (1, 7)})
    lock = lock_make(study=study, title="Course", spec=spec, exclusions="", actor=researcher)
    analysis = lock_run(lock=lock, snapshot=None, actor=researcher)
    analysis_answer(str(analysis.pk), silent)()
    publish(client, analysis)
    values = first_values() | {"title": "A plan", "n_therapists": "5", "effects": ["patient.level"]}
    form = PlanForm(values)
    assert form.is_valid(), form.errors
    small = replace(form.cleaned_data["spec"], n_studies=2)
    plan = plan_ask(study=study, title="A plan", spec=small, asked_by=researcher)
    plan_simulate(str(plan.pk), silent)()
    Export.objects.create(
        snapshot=analysis.snapshot, tier="scores", purpose="", asked_by=researcher, asked_at=timezone.now()
    )
    return {
        "study_id": study.pk,
        "analysis_id": analysis.pk,
        "snapshot_id": analysis.snapshot_id,
        "lock_id": lock.pk,
        "plan_id": plan.pk,
        "table_id": PublishedTable.objects.get().pk,
    }


DESK = {
    "study_id": [
        "desk-data",
        "desk-analyses",
        "desk-analysis-new",
        "desk-tables",
        "desk-plans",
        "desk-plan-new",
    ],
    "analysis_id": ["desk-analysis", "desk-analysis-table", "desk-publish"],
    "snapshot_id": ["desk-snapshot"],
    "lock_id": ["desk-lock"],
    "plan_id": ["desk-plan"],
    "table_id": ["desk-table-withdraw"],
}


def n_queries_of_the_desk(client: Client, arguments: dict[str, Any]) -> dict[str, int]:
    addresses = {name: reverse(name, args=[arguments[key]]) for key, names in DESK.items() for name in names}
    addresses["table"] = reverse("table", args=["course", 1])
    addresses["trace"] = reverse(
        "desk-analysis-trace", args=[arguments["analysis_id"], "patient.unconditional"]
    )
    addresses["clinic-requests"] = reverse("clinic-requests")
    found = {}
    for name, address in addresses.items():
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200, name
        found[name] = len(queries)
    return found


def repeat(rows: Any, n: int, **changed: Any) -> None:
    """`n` more rows like the first; numbers count on, `changed` is called with the place of each."""
    row = rows.order_by("pk").first()
    for place in range(2, n + 2):
        row.pk = row._meta.pk.get_default()
        row._state.adding = True
        for name, value in changed.items():
            setattr(row, name, value(place))
        row.save(force_insert=True)


@pytest.mark.slow
def test_the_research_desk_asks_as_often_for_many_rows_as_for_one() -> None:
    study = rated_clinic(n_therapists=6, n_therapies=3)[0]
    researcher = factories.make_user(
        "researcher@example.org", Role.RESEARCHER, Role.CLINIC_ADMIN, clinic=study.clinic
    )
    client = signed_in(researcher)
    arguments = one_of_each(study, researcher, client)
    n_queries_of_the_desk(client, arguments)
    before = n_queries_of_the_desk(client, arguments)
    for rows in (Snapshot.objects, Analysis.objects, PowerPlan.objects):
        repeat(rows, 9, number=int)
    repeat(PublishedTable.objects, 9, version=int)
    for rows in (AnalysisLock.objects, Export.objects):
        repeat(rows, 9)
    after = n_queries_of_the_desk(client, arguments)
    assert {name: (before[name], after[name]) for name in before if before[name] != after[name]} == {}
