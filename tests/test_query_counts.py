"""A page asks the database as often for a hundred patients as for one."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import analytics.tasks  # noqa: F401  registers the refit
from surveys import jobs
from tests import factories
from tests.analytics.clinics import follow
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
