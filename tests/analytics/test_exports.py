"""A file of coded data on its way out: asked for, approved by somebody else, built, fetched, gone."""

import io
import json
import zipfile
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from knox.models import AuthToken

import analytics.tasks  # noqa: F401  registers the jobs
from analytics.models import Export, ExportApproval, Snapshot, StoredFile
from analytics.services.exports import (
    ExportRefused,
    State,
    export_approve,
    export_ask,
    export_state,
)
from surveys import jobs
from surveys.models import AuditEvent, Membership, Role, Study, User
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import frozen, research_clinic
from tests.conftest import signed_in

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture
def snapshot() -> Snapshot:
    return frozen(research_clinic())


def make(snapshot: Snapshot, name: str, role: Role) -> User:
    user = factories.make_user(f"{name}@example.org", role, clinic=snapshot.study.clinic)
    user.set_password(PASSWORD)
    user.save(update_fields=["password"])
    return user


@pytest.fixture
def researcher(snapshot: Snapshot) -> User:
    return make(snapshot, "researcher", Role.RESEARCHER)


@pytest.fixture
def admin(snapshot: Snapshot) -> User:
    return make(snapshot, "admin", Role.CLINIC_ADMIN)


def ask(snapshot: Snapshot, actor: User, tier: str = "scores") -> Export:
    agreement = "2026-03-01, folder 7" if tier == "items" else ""
    return export_ask(snapshot=snapshot, tier=tier, purpose="A thesis", agreement=agreement, actor=actor)


def approved(snapshot: Snapshot, researcher: User, admin: User) -> Export:
    export = ask(snapshot, researcher)
    export_approve(export=export, actor=admin, is_admin=True)
    return export


def built(snapshot: Snapshot, researcher: User, admin: User) -> Export:
    export = approved(snapshot, researcher, admin)
    assert jobs.run_due(is_long=True) == 1
    export.refresh_from_db()
    return export


def confirm(client: Client) -> None:
    answer = client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert answer.status_code == 302


def fetch(client: Client, export: Export) -> bytes:
    answer = client.get(reverse("desk-export-file", args=[export.pk]))
    assert answer.status_code == 200, answer.status_code
    return b"".join(answer.streaming_content)


def state(export: Export) -> State:
    return export_state(Export.objects.select_related("snapshot").get(pk=export.pk))


def test_from_the_request_to_the_file(snapshot: Snapshot, researcher: User, admin: User) -> None:
    client, clinic = signed_in(researcher), signed_in(admin)
    own = reverse("desk-snapshot", args=[snapshot.pk])
    answer = client.post(own, {"purpose": "A thesis on bonds", "tier": "scores"})
    export = Export.objects.get()
    assert answer["Location"] == reverse("desk-export", args=[export.pk])
    assert "waits for approval" in client.get(answer["Location"]).content.decode()
    assert "1 request for data waits" in clinic.get(reverse("admin-home")).content.decode()
    assert "Read and decide" in clinic.get(reverse("clinic-requests")).content.decode()
    decide = reverse("clinic-request", args=[export.pk])
    body = clinic.get(decide).content.decode()
    assert "A thesis on bonds" in body and "each patient is one of at least 18" in body
    assert clinic.post(decide, {"decision": "decline"}).status_code == 422, "a reason is needed"
    assert clinic.post(decide, {"decision": "approve"}).status_code == 302
    assert jobs.run_due(is_long=True) == 1
    page = client.get(answer["Location"]).content.decode()
    assert "The file is ready" in page and "asked for your password once more" in page
    file = reverse("desk-export-file", args=[export.pk])
    late = signed_in(researcher, is_confirmed=False)
    asked = late.get(file)
    assert asked.status_code == 302 and asked["Location"].startswith(reverse("account_reauthenticate"))
    assert not AuditEvent.objects.filter(act="export.download").exists()
    confirm(late)
    content = fetch(late, export)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {"MANIFEST.sha256", "MANIFEST.json", "data/therapies.parquet"} <= set(archive.namelist())
        about = json.loads(archive.read("MANIFEST.json"))
    assert about["snapshot"]["sha256"] == snapshot.sha256 and about["n_patients_left_out_since"] == 0
    assert AuditEvent.objects.get(act="export.download", actor=researcher).fields == "coded"
    assert client.head(file).status_code == 200
    assert AuditEvent.objects.filter(act="export.download").count() == 1, "nothing was fetched"


def test_nobody_approves_what_they_asked_for(snapshot: Snapshot, researcher: User, admin: User) -> None:
    both = make(snapshot, "both", Role.RESEARCHER)
    Membership.objects.create(user=both, clinic=snapshot.study.clinic, role=Role.CLINIC_ADMIN)
    export = ask(snapshot, both)
    answer = signed_in(both).post(reverse("clinic-request", args=[export.pk]), {"decision": "approve"})
    assert answer.status_code == 422 and "somebody else has to decide" in answer.content.decode()
    with pytest.raises(IntegrityError, match="second person"), transaction.atomic():
        ExportApproval.objects.create(export=export, by=both, is_admin=True, at=timezone.now())
    given = ExportApproval.objects.create(export=export, by=admin, is_admin=True, at=timezone.now())
    with pytest.raises(DatabaseError), transaction.atomic():
        given.delete()


def test_every_answer_needs_an_agreement_and_two_others(
    snapshot: Snapshot, researcher: User, admin: User
) -> None:
    client = signed_in(researcher)
    own = reverse("desk-snapshot", args=[snapshot.pk])
    refused = client.post(own, {"purpose": "A thesis", "tier": "items"})
    assert refused.status_code == 422 and "only with a signed agreement" in refused.content.decode()
    with pytest.raises(IntegrityError), transaction.atomic():
        Export.objects.create(snapshot=snapshot, tier="items", purpose="x", asked_at=timezone.now())
    export = ask(snapshot, researcher, "items")
    second, third = (make(snapshot, name, Role.RESEARCHER) for name in ("second", "third"))
    for other in (second, third):
        signed_in(other).post(reverse("desk-export-approve", args=[export.pk]))
    assert state(export) is State.WAITING, "one at least is an administrator"
    with pytest.raises(ExportRefused, match="twice"):
        export_approve(export=export, actor=second, is_admin=False)
    signed_in(admin).post(reverse("clinic-request", args=[export.pk]), {"decision": "approve"})
    assert state(export) is State.BUILDING
    again = ask(snapshot, researcher, "items")
    export_approve(export=again, actor=admin, is_admin=True)
    assert state(again) is State.WAITING
    export_approve(export=again, actor=make(snapshot, "admin2", Role.CLINIC_ADMIN), is_admin=True)
    assert state(again) is State.BUILDING
    # Who has left by the time of the last approval has not approved.
    left = ask(snapshot, researcher, "items")
    export_approve(export=left, actor=second, is_admin=False)
    Membership.objects.filter(user=second).delete()
    export_approve(export=left, actor=admin, is_admin=True)
    assert state(left) is State.WAITING
    Membership.objects.create(user=second, clinic=snapshot.study.clinic, role=Role.RESEARCHER)
    scores = ask(snapshot, researcher)
    signed_in(second).post(reverse("desk-export-approve", args=[scores.pk]))
    assert state(scores) is State.WAITING, "of scores an administrator decides"


def test_a_decline_says_why_and_a_request_can_be_taken_back(
    snapshot: Snapshot, researcher: User, admin: User
) -> None:
    client, clinic = signed_in(researcher), signed_in(admin)
    other = ask(snapshot, researcher)
    clinic.post(reverse("clinic-request", args=[other.pk]), {"decision": "decline", "reason": "Too vague"})
    assert "Too vague" in client.get(reverse("desk-export", args=[other.pk])).content.decode()
    late = clinic.post(reverse("clinic-request", args=[other.pk]), {"decision": "approve"})
    assert late.status_code == 422 and "decided meanwhile" in late.content.decode()
    third = ask(snapshot, researcher)
    client.post(reverse("desk-export-withdraw", args=[third.pk]))
    assert state(third) is State.WITHDRAWN


def table(content: bytes, name: str) -> io.BytesIO:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return io.BytesIO(archive.read(f"data/{name}.parquet"))


def test_who_left_is_not_in_a_file_because_somebody_else_came_back(
    snapshot: Snapshot, researcher: User, admin: User
) -> None:
    client, study = signed_in(researcher), snapshot.study
    export = approved(snapshot, researcher, admin)
    first, second = study.therapies.order_by("pk")[:2]
    withdrawal_enter(patient=first.patient, study=study, choice="exclude")
    assert jobs.run_due(is_long=True) == 1
    confirm(client)
    assert fetch(client, export)
    # As an answer to a new declaration takes somebody in again who had said no to an earlier one.
    study.therapies.filter(pk=first.pk).update(excluded_at=None)
    withdrawal_enter(patient=second.patient, study=study, choice="exclude")
    assert client.get(reverse("desk-export-file", args=[export.pk])).status_code == 410
    assert state(export) is State.OUTDATED


def test_a_file_of_too_few_is_not_made(snapshot: Snapshot, researcher: User, admin: User) -> None:
    export = approved(snapshot, researcher, admin)
    for row in list(snapshot.study.therapies.order_by("pk"))[4:]:
        row.excluded_at = timezone.now()
        row.save(update_fields=["excluded_at"])
    assert jobs.run_due(is_long=True) == 1
    assert state(export) is State.REFUSED
    with pytest.raises(ExportRefused, match="patients"):
        ask(snapshot, researcher)


def test_a_group_of_few_keeps_scores_in(researcher: User, snapshot: Snapshot) -> None:
    study: Study = snapshot.study
    long = study.therapies.order_by("pk").first()
    for n in range(21):
        factories.hold_session(long, timezone.now() - timedelta(days=30 - n))
    alone = frozen(study)
    answer = signed_in(researcher).post(
        reverse("desk-snapshot", args=[alone.pk]), {"purpose": "A thesis", "tier": "scores"}
    )
    assert answer.status_code == 422 and "fewer than 5 patients share" in answer.content.decode()
    assert "A thesis" in answer.content.decode()


def test_an_erasure_ends_the_file(snapshot: Snapshot, researcher: User, admin: User) -> None:
    export = built(snapshot, researcher, admin)
    patient = snapshot.study.therapies.order_by("pk").first().patient
    withdrawal_enter(patient=patient, study=snapshot.study, choice="erase")
    gone = signed_in(researcher).get(reverse("desk-export-file", args=[export.pk]))
    assert gone.status_code == 410 and "has had their data erased" in gone.content.decode()
    assert not StoredFile.objects.filter(export=export).exists()


def test_the_api_asks_for_a_file_and_fetches_it(snapshot: Snapshot, researcher: User, admin: User) -> None:
    _, token = AuthToken.objects.create(researcher)
    api = Client(headers={"Authorization": f"Token {token}"})
    study = snapshot.study
    (listed,) = api.get(reverse("api-snapshots", args=[study.pk])).json()
    assert (listed["sha256"], listed["counts"]["n_patients"]) == (snapshot.sha256, 18)
    exports = reverse("api-exports", args=[study.pk])

    def send(**values: object) -> tuple[int, dict[str, object]]:
        headers = {"Idempotency-Key": str(uuid4())}
        answer = api.post(exports, values, content_type="application/json", headers=headers)
        return answer.status_code, answer.json()

    asked = {"snapshot": str(snapshot.pk), "tier": "scores", "purpose": "A thesis"}
    status, wrong = send(**asked, owner="me")
    assert status == 400 and wrong.keys() == {"owner"}
    assert send(**asked | {"tier": "items"})[1].keys() == {"agreement"}
    status, made = send(**asked)
    assert (status, made["state"], made["n_approvals_missing"]) == (201, "waiting", 1)
    export = Export.objects.get()
    file = reverse("api-export-file", args=[export.pk])
    assert api.get(file).status_code == 410 and api.head(file).status_code == 410
    export_approve(export=export, actor=admin, is_admin=True)
    jobs.run_due(is_long=True)
    assert api.get(reverse("api-export", args=[export.pk])).json()["state"] == "ready"
    assert api.get(file).status_code == 403, "the password is asked for on the page"
    client = signed_in(researcher)
    confirm(client)
    content = fetch(client, export)
    answer = api.get(file)
    assert b"".join(answer.streaming_content) == content
    assert api.head(file).status_code == 200
    fetched = AuditEvent.objects.filter(act="export.download", status=None)
    assert fetched.count() == 2, "nothing was fetched"
    _, other = AuthToken.objects.create(make(snapshot, "other", Role.RESEARCHER))
    assert Client().get(file, headers={"Authorization": f"Token {other}"}).status_code == 404


def test_the_api_freezes(snapshot: Snapshot, researcher: User) -> None:
    client = signed_in(researcher)
    url = reverse("api-snapshots", args=[snapshot.study_id])

    def send(key: UUID | None = None, **values: object) -> Any:
        headers = {"Idempotency-Key": str(key or uuid4())}
        return client.post(url, values, content_type="application/json", headers=headers)

    key = uuid4()
    made = send(key, only_ended=False)
    assert made.status_code == 201 and made.json()["number"] == 2
    again = send(key, only_ended=False)
    assert again.status_code == 200 and again.json()["id"] == made.json()["id"]
    few = send(only_ended=True)
    assert few.status_code == 400 and "being frozen just now" in few.json()["selection"][0]
    wrong = send(started_from="yesterday")
    assert wrong.status_code == 400 and wrong.json().keys() == {"started_from"}


def test_the_page_of_requests_asks_as_much_for_many_as_for_one(
    snapshot: Snapshot, researcher: User, admin: User
) -> None:
    client = signed_in(admin)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse("clinic-requests")).status_code == 200
        return len(queries)

    built(snapshot, researcher, admin)
    ask(snapshot, researcher)
    client.get(reverse("clinic-requests"))
    one = n_queries()
    for _ in range(3):
        built(snapshot, researcher, admin)
        ask(snapshot, researcher)
    assert n_queries() == one
