"""Rows 76 to 82: what a researcher may try at the desk."""

import io
import json
import zipfile
from datetime import date, timedelta
from uuid import uuid4

import pandas as pd
import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import analytics.tasks  # noqa: F401  registers the jobs
from analytics.models import Export, StoredFile
from analytics.services.exports import export_approve, export_ask, files_drop
from surveys import jobs
from surveys.models import AuditEvent, Role, Therapy
from surveys.services.withdrawals import withdrawal_enter
from tests import factories
from tests.analytics.clinics import frozen
from tests.bad_inputs.conftest import Desk
from tests.bad_inputs.rows import nothing_stored, refused, row
from tests.conftest import signed_in


def approved(desk: Desk) -> Export:
    export = export_ask(
        snapshot=desk.snapshot, tier="scores", purpose="A thesis", agreement="", actor=desk.researcher
    )
    export_approve(export=export, actor=desk.admin, is_admin=True)
    return export


def built(desk: Desk) -> Export:
    export = approved(desk)
    assert jobs.run_due(is_long=True) == 1
    return export


def file_of(export: Export) -> str:
    return reverse("desk-export-file", args=[export.pk])


def confirmed(desk: Desk) -> Client:
    """The researcher, who gave the password again."""
    client = signed_in(desk.researcher)
    answer = client.post(reverse("account_reauthenticate"), {"password": factories.PASSWORD})
    assert answer.status_code == 302
    return client


def bytes_of(answer: HttpResponse) -> bytes:
    assert answer.status_code == 200, answer.status_code
    return b"".join(answer.streaming_content)


@row(76, "researcher guesses another dataset id")
def other_dataset(desk: Desk) -> None:
    export = approved(desk)
    other = factories.make_user("other@example.org", Role.RESEARCHER, clinic=desk.snapshot.study.clinic)
    hill = factories.make_clinic("Hill Clinic")
    stranger = factories.make_user("stranger@hill.org", Role.RESEARCHER, clinic=hill)
    manager = factories.make_user("manager@hill.org", Role.CLINIC_ADMIN, clinic=hill)
    own, request = reverse("desk-export", args=[export.pk]), reverse("clinic-request", args=[export.pk])
    snapshot = reverse("desk-snapshot", args=[desk.snapshot.pk])
    for user, url, status in (
        (stranger, snapshot, 404),
        (stranger, own, 404),
        (stranger, file_of(export), 404),
        (manager, request, 404),
        (other, file_of(export), 404),
        (desk.admin, file_of(export), 403),
        (desk.researcher, reverse("desk-export-file", args=[uuid4()]), 404),
        (desk.researcher, reverse("desk-snapshot", args=[uuid4()]), 404),
    ):
        refused(signed_in(user).get(url), status)
    assert not AuditEvent.objects.filter(act="export.download", status=None).exists(), "only refusals"


@row(77, "request after approval was withdrawn")
def taken_back(desk: Desk) -> None:
    export, client = built(desk), confirmed(desk)
    bytes_of(client.get(file_of(export)))
    decision = {"decision": "withdraw", "reason": "The ethics vote ended"}
    signed_in(desk.admin).post(reverse("clinic-request", args=[export.pk]), decision)
    refused(client.get(file_of(export)), 410, "approval was taken back", "The ethics vote ended")
    assert not StoredFile.objects.filter(export=export).exists()


@row(78, "filter leaving 3 patients or 1 therapist")
def too_few(desk: Desk) -> None:
    client, study = signed_in(desk.researcher), desk.snapshot.study
    url = reverse("desk-data", args=[study.pk])
    first, *others = Therapy.objects.filter(study=study).order_by("pk")
    Therapy.objects.filter(pk__in=[first.pk, *(row.pk for row in others[:2])]).update(arm="few")
    Therapy.objects.filter(study=study, therapist=first.therapist).exclude(arm="few").update(arm="one")
    from_day = (timezone.localdate() - timedelta(days=900)).isoformat()
    with nothing_stored():
        answer = client.post(url, {"arms": ["few"], "started_from": from_day})
        page = refused(answer, 422, "Fewer than 5 patients are in it")
        assert from_day in page, "what was typed is kept"
        refused(client.post(url, {"arms": ["few", "one"]}), 422, "Fewer than 3 therapists")


@row(79, "two filters whose difference is 1 patient")
def differing(desk: Desk) -> None:
    client, study = signed_in(desk.researcher), desk.snapshot.study
    url, keys = reverse("desk-data", args=[study.pk]), list(study.therapies.values_list("pk", flat=True))
    Therapy.objects.filter(pk=keys[0]).update(started_on=date(2001, 1, 1))
    with nothing_stored():
        answer = client.post(url, {"started_from": "2001-01-02"})
        refused(answer, 422, "differ by 1 patient from those of snapshot 1")
    Therapy.objects.filter(pk__in=keys[:5]).update(started_on=date(2001, 1, 1))
    assert client.post(url, {"started_from": "2001-01-02"}).status_code == 302
    assert jobs.run_due(is_long=True) == 1
    assert study.snapshots.get(number=2).counts["n_patients"] == 13
    factories.make_therapy(study, factories.make_user("new@example.org", Role.THERAPIST, clinic=study.clinic))
    assert client.post(url).status_code == 302 and jobs.run_due(is_long=True) == 1
    assert study.snapshots.get(number=3).counts["n_patients"] == 19, "the same selection may grow by one"


@row(80, "same export 50 x/day", pytest.mark.slow)
def fifty_times(desk: Desk) -> None:
    export, client, clinic = built(desk), confirmed(desk), signed_in(desk.admin)
    # Who is refused has fetched nothing.
    assert {clinic.get(file_of(export)).status_code for _ in range(12)} == {403}
    contents = {bytes_of(client.get(file_of(export))) for _ in range(10)}
    assert not AuditEvent.objects.filter(act="export.alarm").exists()
    contents |= {bytes_of(client.get(file_of(export))) for _ in range(40)}
    assert len(contents) == 1
    assert AuditEvent.objects.filter(act="export.download", status=None).count() == 50
    assert AuditEvent.objects.filter(act="export.alarm").count() == 1
    assert "11 times within a day" in clinic.get(reverse("clinic-requests")).content.decode()
    assert "fetched very often" in clinic.get(reverse("admin-home")).content.decode()


def table(content: bytes, name: str) -> pd.DataFrame:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return pd.read_parquet(io.BytesIO(archive.read(f"data/{name}.parquet")))


@row(81, "download link after 24 h or other user", pytest.mark.slow)
def after_a_day(desk: Desk) -> None:
    """Another user: row 76. Made again, the file is the same bytes."""
    export, client = built(desk), confirmed(desk)
    first = bytes_of(client.get(file_of(export)))
    Export.objects.filter(pk=export.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    refused(client.get(file_of(export)), 410, "can be fetched for 24 hours", "Make it again")
    assert files_drop() == 1 and not StoredFile.objects.filter(export=export).exists()
    client.post(reverse("desk-export-again", args=[export.pk]))
    assert jobs.run_due(is_long=True) == 1
    assert bytes_of(client.get(file_of(export))) == first
    desk.snapshot = frozen(desk.snapshot.study)
    twin = bytes_of(client.get(file_of(built(desk))))
    same = table(twin, "therapies").equals(table(first, "therapies"))
    assert same, "the same selection and tier: the same names"


@row(82, "patient withdrew between approval and build")
def left_meanwhile(desk: Desk) -> None:
    client, study = confirmed(desk), desk.snapshot.study
    export = approved(desk)
    first, second = (row.patient for row in study.therapies.order_by("pk")[:2])
    withdrawal_enter(patient=first, study=study, choice="exclude")
    assert jobs.run_due(is_long=True) == 1
    content = bytes_of(client.get(file_of(export)))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert json.loads(archive.read("MANIFEST.json"))["n_patients_left_out_since"] == 1
    assert len(table(content, "therapies")) == 17
    assert table(content, "therapists")["n_patients"].sum() == 17
    withdrawal_enter(patient=second, study=study, choice="exclude")
    refused(client.get(file_of(export)), 410, "asked to be left out since it was made")
    client.post(reverse("desk-export-again", args=[export.pk]))
    assert jobs.run_due(is_long=True) == 1
    page = client.get(reverse("desk-export", args=[export.pk])).content.decode()
    assert "made without 2 patients" in page
