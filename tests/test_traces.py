"""Whoever reads something sensitive, or is refused it, leaves one row; no page is shown without it."""

from typing import Any

import pytest
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.urls import reverse
from knox.models import AuthToken

from alliance_site.policy import ANYONE, POLICY
from alliance_site.traces import PLAIN, TRACED
from surveys import audit
from surveys.models import AuditEvent, Fields, Response, User
from surveys.services.invitations import link_issue
from tests import factories
from tests.conftest import Cast, signed_in
from tests.test_permissions import town, url_of  # noqa: F401  a fixture

READABLE = {name for (name, method), allowed in POLICY.items() if method == "GET" and ANYONE not in allowed}


def new_rows(since: int) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(pk__gt=since).order_by("pk"))


def latest() -> int:
    return AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def read(user: User, address: str, **options: Any) -> tuple[Any, list[AuditEvent]]:
    """The answer, and the rows that it left."""
    client, before = signed_in(user), latest()
    client.raise_request_exception = False
    answer = client.get(address, **options)
    b"".join(answer)
    return answer, new_rows(before)


def test_every_page_for_people_who_are_signed_in_is_traced_or_said_to_be_plain() -> None:
    assert set(TRACED) | PLAIN == READABLE
    assert set(TRACED) & PLAIN == set()


@pytest.mark.parametrize("role", ["therapist", "supervisor", "clinic_admin", "researcher"])
def test_every_sensitive_page_leaves_one_row(town: Cast, role: str) -> None:  # noqa: F811
    person, wrong, n_shown = getattr(town, role), [], 0
    for name, trace in TRACED.items():
        if role not in POLICY[name, "GET"]:
            continue
        answer, rows = read(person, url_of(name, town))
        is_shown = answer.status_code == 200
        n_shown += is_shown
        is_own = trace.fields == Fields.PRACTICE and role == "therapist" and is_shown
        expected = [(trace.act, trace.fields, person.pk, role, town.clinic.pk, None)]
        if not is_shown:
            expected = [(*expected[0][:5], answer.status_code)]
        if answer.status_code not in (200, 403, 404) or is_own:
            expected = []
        if answer.status_code == 410:
            # In place of the file, the page that says what it was.
            expected = [("export.view", trace.fields, person.pk, role, town.clinic.pk, None)]
        found = [(row.act, row.fields, row.actor_id, row.role, row.clinic_id, row.status) for row in rows]
        if found != expected or any(str(row.request) != answer["X-Request-ID"] for row in rows):
            wrong.append((name, answer.status_code, found))
    assert wrong == []
    assert n_shown > 1


def test_a_row_names_the_patient_and_what_kind_of_thing_was_read_but_nothing_of_it(town: Cast) -> None:  # noqa: F811
    for rater in ("patient", "therapist"):
        factories.give(factories.form_of(town.therapy.sessions.get(), rater), 6)
    address = reverse("therapy", args=[town.therapy.pk])
    answer, (row,) = read(town.therapist, f"{address}?scale=bond&secret=6.123")
    assert answer.status_code == 200
    assert (row.subject, row.patient, row.fields) == (
        f"therapy:{town.therapy.pk}",
        town.therapy.patient_id,
        "ratings",
    )
    assert row.detail == {"route": "therapy", "query": {"scale": "bond"}}


def test_a_search_for_a_patient_keeps_what_was_searched_for(town: Cast) -> None:  # noqa: F811
    _, (row,) = read(town.clinic_admin, reverse("people-patients") + "?code=K7MN4-X")
    assert (row.act, row.detail["query"]) == ("patients.view", {"code": "K7MN4-X"})


def test_who_is_refused_somebody_else_s_patient_stands_in_the_trace_of_that_patient_s_clinic(
    town: Cast,  # noqa: F811
) -> None:
    answer, (row,) = read(town.stranger, reverse("therapy", args=[town.therapy.pk]))
    assert answer.status_code == 404
    assert (row.status, row.clinic, row.patient) == (404, town.clinic, town.therapy.patient_id)
    assert (row.actor, row.role) == (town.stranger, "therapist")


def test_a_page_of_another_role_is_refused_and_written_down(town: Cast) -> None:  # noqa: F811
    answer, (row,) = read(town.researcher, reverse("therapy", args=[town.therapy.pk]))
    assert answer.status_code == 403
    assert (row.act, row.status, row.role) == ("therapy.view", 403, "researcher")


def test_so_is_a_refused_change(town: Cast) -> None:  # noqa: F811
    before = latest()
    address = reverse("people-therapy-end", args=[town.therapy.pk])
    assert signed_in(town.colleague).post(address).status_code == 403
    (row,) = new_rows(before)
    assert (row.act, row.status, row.detail) == ("page.refuse", 403, {"route": "people-therapy-end"})


def test_a_form_that_is_shown_again_with_a_complaint_was_read(town: Cast) -> None:  # noqa: F811
    before = latest()
    address = reverse("people-patient", args=[town.therapy.patient_id])
    answer = signed_in(town.clinic_admin).post(address, {"contact": "no address", "language": "en"})
    assert answer.status_code == 422
    assert [row.act for row in new_rows(before)] == ["patient.view"]


def test_pages_without_anything_sensitive_and_people_who_are_not_signed_in_leave_nothing(
    town: Cast,  # noqa: F811
) -> None:
    assert read(town.clinic_admin, reverse("setup-studies"))[1] == []
    before = latest()
    assert Client().get(reverse("therapy", args=[town.therapy.pk])).status_code == 302
    token = link_issue(assignment=factories.form_of(town.therapy.sessions.get(), "patient"))
    before = latest()
    assert Client().get(f"/r/{token}/").status_code == 200
    assert new_rows(before) == []


def test_a_program_that_speaks_for_somebody_leaves_the_row_of_that_person(town: Cast) -> None:  # noqa: F811
    _, token = AuthToken.objects.create(user=town.therapist)
    before = latest()
    address = reverse("api-answers") + f"?therapy={town.therapy.pk}"
    answer = Client().get(address, headers={"Authorization": f"Token {token}"})
    assert answer.status_code == 200, answer.content
    (row,) = new_rows(before)
    assert (row.act, row.actor, row.patient) == ("answers.view", town.therapist, town.therapy.patient_id)
    assert token not in str(vars(row))


@pytest.mark.parametrize(("error", "status"), [(DatabaseError, 500), (OperationalError, 503)])
def test_a_page_whose_row_cannot_be_written_is_not_shown(
    town: Cast,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    status: int,
) -> None:
    def fail(read: audit.Reading) -> None:
        raise error("The disk is full.")

    address = reverse("therapy", args=[town.therapy.pk])
    code = town.therapy.code.encode()
    assert code in read(town.therapist, address)[0].content
    monkeypatch.setattr(audit, "record_reading", fail)
    answer, rows = read(town.therapist, address)
    assert (answer.status_code, rows) == (status, [])
    assert code not in answer.content


def test_a_form_whose_row_cannot_be_written_is_not_stored(
    town: Cast,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise DatabaseError("The disk is full.")

    form = factories.form_of(town.therapy.sessions.get(), "patient")
    with monkeypatch.context() as broken:
        broken.setattr(audit, "record_each", fail)
        with pytest.raises(DatabaseError):
            factories.give(form)
        assert not Response.objects.filter(assignment=form).exists()
    form.refresh_from_db()
    factories.give(form)
    assert Response.objects.filter(assignment=form).exists()


def test_what_one_request_does_has_one_id_and_the_role_of_who_did_it(town: Cast) -> None:  # noqa: F811
    before = latest()
    answer = signed_in(town.clinic_admin).post(reverse("people-patient-new"), {"language": "en"})
    assert answer.status_code == 302
    (row,) = new_rows(before)
    assert (row.act, row.role, str(row.request)) == ("patient.add", "clinic_admin", answer["X-Request-ID"])
