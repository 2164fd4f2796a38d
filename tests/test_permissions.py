"""Every route of the site against the policy list, and the pages of each role. Who gets in where, and finds
what there: tests/doors."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from rest_framework.views import APIView

from alliance_site.policy import POLICY, PolicyPermission
from analytics.models import Export, Snapshot
from surveys.models import Membership, Role, Therapist
from tests import factories
from tests.conftest import Cast, signed_in
from tests.headers import INLINE


def patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from patterns(entry)
        else:
            yield entry


ROUTES = list(patterns(get_resolver()))
NAMES = sorted({route.name or str(route.pattern) for route in ROUTES})


def test_every_route_has_a_line_in_the_policy_and_every_line_a_route() -> None:
    assert {route for route, _ in POLICY} == set(NAMES)


def test_every_api_view_is_guarded_by_the_policy() -> None:
    views = [
        route.callback for route in ROUTES if issubclass(getattr(route.callback, "cls", object), APIView)
    ]
    assert len(views) >= 5
    for view in views:
        assert view.cls.permission_classes == [PolicyPermission], view.cls


def url_of(name: str, cast: Cast) -> str:
    """An address of the route with objects of the therapist's own, so that only the role decides."""
    session = cast.therapy.sessions.get()
    arguments = {
        "token": {"token": "A" * 43},
        "assignment_id": {"assignment_id": factories.form_of(session, "therapist").pk},
        "therapy_id": {"therapy_id": cast.therapy.pk},
        "session_id": {"session_id": session.pk},
        "study_id": {"study_id": cast.study.pk},
        "patient_id": {"patient_id": cast.therapy.patient.pk},
        "user_id": {"user_id": cast.colleague.pk},
        # No test run of this id: 404 for the administrator, as for everybody else's.
        "test_id": {"test_id": uuid4()},
        "slug": {"slug": "name"},
        "instrument_id": {"instrument_id": factories.instrument("wai-s", "patient").pk},
        "therapist_id": {"therapist_id": Therapist.objects.get(user=cast.therapist).pk},
        "tablet_id": {"tablet_id": uuid4()},
        "snapshot_id": {"snapshot_id": snapshot_of(cast).pk},
        "export_id": {"export_id": snapshot_of(cast).exports.get().pk},
        # No rating that a rule points at: 404 for its therapist, as for everybody else's.
        "response_id": {"response_id": uuid4()},
        # Nothing of these ids: 404 for the researcher, as for everybody else.
        "plan_id": {"plan_id": uuid4()},
        "table_id": {"table_id": uuid4()},
        "lock_id": {"lock_id": uuid4()},
        "code": {"code": "nothing-here"},
        "version": {"version": 1},
        # No import of this id.
        "batch_id": {"batch_id": uuid4()},
        # No passkey of this number, and no provider.
        "pk": {"pk": 1},
        "provider_id": {"provider_id": "sso"},
        # No such role waits.
        "grant_id": {"grant_id": uuid4()},
        "prefix": {"prefix": "0123456789abcde"},
        # No such analysis: 404 for the researcher, as for everybody else's.
        "analysis_id": {"analysis_id": uuid4()},
        "model": {"model": "joint"},
        "uidb36": {"uidb36": "1", "key": "set-password"},
    }
    route = next(route for route in ROUTES if route.name == name)
    kwargs: dict[str, object] = {}
    for argument in route.pattern.converters or route.pattern.regex.groupindex:
        kwargs.update(arguments.get(argument, {}))
    return reverse(name, kwargs=kwargs)


def snapshot_of(cast: Cast) -> Snapshot:
    """Frozen data of the study, and a file of them that the researcher asked for."""
    now = timezone.now()
    found = Snapshot.objects.filter(study=cast.study).first()
    if found is None:
        found = Snapshot.objects.create(
            study=cast.study, number=1, asked_at=now, read_at=now, sha256="0" * 64
        )
        Export.objects.create(
            snapshot=found, tier="scores", purpose="A thesis", asked_by=cast.researcher, asked_at=now
        )
    return found


@pytest.fixture
def town(cast: Cast) -> Cast:
    factories.hold_session(cast.therapy)
    return cast


def client_of(actor: str, cast: Cast) -> Client:
    client = Client(enforce_csrf_checks=False) if actor == "anonymous" else signed_in(getattr(cast, actor))
    client.raise_request_exception = True
    return client


OWN_PAGES = {
    "therapist": [
        "mfa_index",
        "therapist-home",
        "agreement",
        "practice",
        "sign-ins",
        "own-trace",
        "therapy",
        "session-log",
        "session-today",
        "session-correct",
        "no-rating",
        "api-tokens",
        "api-therapies",
        "api-therapy",
        "api-sessions",
        "api-session",
        "api-therapy-trend",
        "api-questionnaires",
        "api-questionnaire",
    ],
    "researcher": [
        "study-list",
        "study-codebook",
        "desk-plans",
        "desk-plan-new",
        "desk-tables",
        "api-tokens",
        "api-questionnaires",
        "desk-data",
        "desk-snapshot",
        "desk-export",
        "desk-analyses",
        "desk-analysis-new",
        "api-studies",
        "api-snapshots",
        "api-exports",
        "api-export",
    ],
    "supervisor": ["supervisor-home", "supervision-file", "shared-practices", "api-tokens"],
    "superuser": ["status", "sign-ins", "role-grants", "emergency"],
    "clinic_admin": [
        "status",
        "reception",
        "session-log",
        "session-today",
        "session-correct",
        "instrument-list",
        "instrument-upload",
        "instrument",
        "instrument-file",
        "licences",
        "admin-home",
        "clinic-choose",
        "clinic-describe",
        "retention",
        "privacy-kit",
        "privacy-information",
        "clinic-completion",
        "clinic-messages",
        "clinic-trace",
        "role-grants",
        "people-staff",
        "people-staff-new",
        "people-account",
        "people-patients",
        "people-patient-new",
        "people-patient",
        "people-access-file",
        "people-therapy-new",
        "people-therapy",
        "setup-studies",
        "setup-study-new",
        "setup-study",
        "study-dips",
        "imports",
        "import-new",
        "api-tokens",
        "api-patients",
        "api-patient",
        "api-therapies",
        "api-therapy",
        "api-sessions",
        "api-session",
        "api-questionnaires",
        "clinic-requests",
        "clinic-request",
    ],
}


@pytest.mark.parametrize("actor", OWN_PAGES)
def test_the_pages_of_one_s_own_role_open(town: Cast, actor: str) -> None:
    client = client_of(actor, town)
    answers = {name: client.get(url_of(name, town)) for name in OWN_PAGES[actor]}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 200)
    pages = {name: answer.content.decode() for name, answer in answers.items() if not answer.streaming}
    assert {name: INLINE.search(page) for name, page in pages.items()} == dict.fromkeys(pages)


def test_a_therapist_who_left_the_clinic_sees_nothing(town: Cast) -> None:
    client = signed_in(town.therapist)
    url = reverse("therapy", kwargs={"therapy_id": town.therapy.pk})
    assert client.get(url).status_code == 200
    Membership.objects.filter(user=town.therapist, role=Role.THERAPIST).delete()
    assert client.get(url).status_code == 403
    assert client.get("/api/v1/therapies/").status_code == 403


def test_a_disabled_user_is_signed_out(town: Cast) -> None:
    client = signed_in(town.therapist)
    town.therapist.is_active = False
    town.therapist.save(update_fields=["is_active"])
    assert client.get("/caseload/").status_code == 302
