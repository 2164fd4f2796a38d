"""A disk that is nearly full: large things wait, answers do not, and nothing that was typed is lost."""

import json
from collections import namedtuple
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from alliance_site.policy import POLICY
from alliance_site.room import LARGE
from surveys.models import Assignment, Response
from tests.conftest import Cast, signed_in
from tests.surveys.test_respond import send, started

Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    def leave(free: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda folder: Disk(1000, 1000 - free, free))

    return leave


def test_all_that_needs_room_is_sent_to_a_route_that_exists() -> None:
    assert {(route, "POST") for route in LARGE} <= set(POLICY)


@pytest.mark.parametrize(("free", "status"), [(101, 422), (100, 507)])
def test_from_nine_tenths_on_an_import_is_refused(cast: Cast, disk: Any, free: int, status: int) -> None:
    disk(free)
    file = SimpleUploadedFile("table.csv", b"not a table")
    page = signed_in(cast.clinic_admin).post(f"/clinic/studies/{cast.study.pk}/import/", {"file": file})
    assert page.status_code == status
    words = page.content.decode()
    assert ("Keep the file, and send it again when there is room." in words) == (status == 507)


def test_what_was_typed_is_on_the_page_to_be_sent_again(cast: Cast, disk: Any) -> None:
    disk(50)
    address = f"/studies/{cast.study.pk}/data/"
    page = signed_in(cast.researcher).post(address, {"arms": ["a", 'b"<'], "purpose": "trends"})
    words = page.content.decode()
    assert page.status_code == 507
    assert f'<form method="post" action="{address}">' in words
    for name, value in (("arms", "a"), ("arms", "b&quot;&lt;"), ("purpose", "trends")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in words


def test_the_api_says_it_in_its_own_shape(cast: Cast, disk: Any) -> None:
    disk(50)
    answer = signed_in(cast.researcher).post(
        f"/api/v1/studies/{cast.study.pk}/snapshots/",
        json.dumps({}),
        content_type="application/json",
        headers={"Idempotency-Key": str(uuid4())},
    )
    assert answer.status_code == 507
    assert list(answer.json()) == ["detail"]


def test_lists_and_what_is_there_are_shown(cast: Cast, disk: Any) -> None:
    disk(0)
    assert signed_in(cast.researcher).get(f"/studies/{cast.study.pk}/data/").status_code == 200
    assert signed_in(cast.clinic_admin).get("/clinic/imports/").status_code == 200


def test_answers_are_taken_to_the_last(cast: Cast, patient_form: Assignment, disk: Any) -> None:
    disk(0)
    assert send(started(patient_form), patient_form).status_code == 303
    assert Response.objects.filter(assignment=patient_form).exists()
