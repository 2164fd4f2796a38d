"""A database from before studies had versions keeps its plan, its links, its answers and who sees them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from surveys.access import visible_scores
from surveys.ids import uuid7
from surveys.models import Assignment, FormLink, Response, StudyVersion, Therapy
from surveys.tokens import new_token, token_hash
from tests import factories
from tests.conftest import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def _forward_again() -> Iterator[None]:
    yield
    call_command("migrate", verbosity=0)


def insert(table: str, **values: Any) -> Any:
    """A row of the old database; what it does not name gets a value that says nothing."""
    columns = ", ".join(values)
    places = ", ".join(["%s"] * len(values))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO surveys_{table} ({columns}) VALUES ({places}) RETURNING id", list(values.values())
        )
        return cursor.fetchone()[0]


@pytest.mark.slow
@pytest.mark.usefixtures("_forward_again")
def test_studies_links_and_answers_survive(cast: Cast) -> None:
    form = factories.form_of(factories.hold_session(cast.therapy), "patient")
    instrument, clinic, user = form.instrument_id, cast.clinic.pk, cast.therapist.pk
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE surveys_study, surveys_patient, surveys_therapist CASCADE")
    call_command("migrate", "analytics", "0004", verbosity=0)
    call_command("migrate", "surveys", "0004", verbosity=0)

    now, token = timezone.now(), new_token()
    study = insert("study", id=uuid7(), clinic_id=clinic, code="OLD", name="Old", visibility="feedback")
    blind = insert("study", id=uuid7(), clinic_id=clinic, code="BLIND", name="Blind", visibility="blind")
    for row in (study, blind):
        insert("planline", study_id=row, instrument_id=instrument, arm="", sessions=[1, 3], window_hours=48)
    therapist = insert("therapist", id=uuid7(), clinic_id=clinic, code="T1", user_id=user)
    therapies, forms = {}, {}
    for place in (study, blind):
        patient = insert("patient", id=uuid7(), clinic_id=clinic, code=f"P{place.hex[-8:]}", language="en")
        therapy = therapies[place] = insert(
            "therapy", id=uuid7(), code=f"C{place.hex[-8:]}", patient_id=patient, therapist_id=therapist,
            study_id=place, arm="", started_on=now - timedelta(days=60), end_reason="",
        )  # fmt: skip
        for number, state in ((1, "submitted"), (2, "due")):
            held = now - timedelta(days=30 // number)
            session = insert(
                "session", id=uuid7(), therapy_id=therapy, held_at=held, status="held", number=number,
                closed_at=held,
            )  # fmt: skip
            is_linked = place == study and state == "due"
            forms[place, number] = insert(
                "assignment", id=uuid7(), study_id=place, session_id=session, period="", rater="patient",
                instrument_id=instrument, opens_at=held, closes_at=now + timedelta(days=1), state=state,
                token_hash=token_hash(token) if is_linked else None,
            )  # fmt: skip
        response = insert(
            "response", id=uuid7(), assignment_id=forms[place, 1], instrument_id=instrument,
            answers=json.dumps({str(item): 5 for item in range(1, 13)}), client_key=uuid7(),
            receipt_code="ABCD-2345", layout="cards", device="phone", channel="link",
            with_staff_session=False, started_at=now - timedelta(days=29),
            submitted_at=now - timedelta(days=29), sharing="scores", reveal_at=now - timedelta(days=28),
        )  # fmt: skip
        insert(
            "score", response_id=response, scale="total", mean=5.0, n_answered=12, n_items=12,
            scoring_version="1",
        )  # fmt: skip

    call_command("migrate", verbosity=0)

    versions = {row.study.code: row for row in StudyVersion.objects.select_related("study")}
    assert {code: (row.number, row.visibility) for code, row in versions.items()} == {
        "OLD": (1, "feedback"),
        "BLIND": (1, "blind"),
    }
    for row in versions.values():
        assert row.begins < now - timedelta(days=30)
        assert [line.sessions for line in row.lines.all()] == [[1, 3]]
        assert {form.version for form in Assignment.objects.filter(study=row.study)} == {row}
    link = FormLink.objects.get()
    assert (link.assignment_id, link.token_hash) == (forms[study, 2], token_hash(token))
    assert Client().get(f"/r/{token}/").status_code == 200
    assert {tuple(row.answers.values()) for row in Response.objects.all()} == {(5,) * 12}
    seen = {
        place: visible_scores(cast.therapist, Therapy.objects.get(pk=therapy)).count()
        for place, therapy in therapies.items()
    }
    assert seen == {study: 1, blind: 0}
